"""Intervals of means over few patients: error, Brier score, NLL, and what a severity costs.

Part of `python -m benchmarks coverage`, under `small`. Patients of five images share three fifths
of the variance of an answer. "often" and "seldom" wrong: about 24 and 7 % of answers, the latter
with all certainty of a sharp model, which is the hard case. Weighted degradation: each image loses
a share of what is left of its Dice, patients a common one, so that few lose much. The alternative
is value +- t sqrt(V) over patients, cut to the range of the number.
"""

from collections.abc import Callable, Iterator, Sequence
from math import sqrt

import numpy as np

from medrobust.metrics.aggregates import change_interval
from medrobust.metrics.calibration import brier_terms, likelihood_terms
from medrobust.metrics.intervals import Bounds, mean_interval, share_interval
from medrobust.metrics.paired import FEWEST_UNITS
from medrobust.metrics.robustness import severity_weighted
from medrobust.metrics.scores import probabilities
from medrobust.tasks.classification.intervals import cost_interval
from medrobust.types import Float64Array, Int64Array

IMAGES = 5
MANY = 100_000
PATIENTS = (2, 3, 4, 5, 8, 20)
KIND = "multi-class"
COLUMNS = ("number", "interval", *(f"{count} patients" for count in PATIENTS))
Rule = Callable[[Float64Array, Int64Array], Bounds | None]


def answered(patients: int, skill: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw logits (N, 3) and labels (N,) of patients of one class each."""
    labels = np.repeat(rng.integers(3, size=patients), IMAGES)
    own = np.repeat(rng.normal(size=(patients, 3)), IMAGES, axis=0)
    logits = sqrt(0.6) * own + sqrt(0.4) * rng.normal(size=own.shape)
    return (logits + skill * np.eye(3)[labels]) * (2 if skill > 2 else 1), labels


def errors(patients: int, skill: float, rng: np.random.Generator) -> Float64Array:
    """Draw whether images are answered wrongly: float64 (N,)."""
    logits, labels = answered(patients, skill, rng)
    return (logits.argmax(axis=1) != labels).astype(float)


def scores(patients: int, skill: float, rng: np.random.Generator) -> Float64Array:
    """Draw what images add to the Brier score: float64 (N,)."""
    logits, labels = answered(patients, skill, rng)
    return brier_terms(probabilities(logits, KIND), labels, KIND)


def costs(patients: int, skill: float, rng: np.random.Generator) -> Float64Array:
    """Draw what images add to the NLL: float64 (N,)."""
    logits, labels = answered(patients, skill, rng)
    return likelihood_terms(logits, labels, KIND, temperature=1.0)


def losses(patients: int, mean: float, rng: np.random.Generator) -> Float64Array:
    """Draw the weighted degradation of images: float64 (N,)."""
    own = mean + np.repeat(1.3 * rng.normal(size=patients), IMAGES)
    own = own + 0.7 * rng.normal(size=len(own))
    clean = 1 / (1 + np.exp(2 - 0.5 * rng.normal(size=len(own))))
    share = 1 / (1 + np.exp(4 - own - np.arange(1, 6)[:, None] / 2))
    lost: Float64Array = severity_weighted(clean, clean + (1 - clean) * share)[1]
    return lost


def brier_bounds(terms: Float64Array, groups: Int64Array) -> Bounds:
    """Return the interval of a Brier score of several classes, as cells have it."""
    low, high = share_interval(terms / 2, groups)
    return 2 * low, 2 * high


def lost_bounds(terms: Float64Array, groups: Int64Array) -> Bounds | None:
    """Return the interval of a weighted degradation, as `summary.csv` has it."""
    return change_interval(terms, groups) if groups[-1] + 1 >= FEWEST_UNITS else None


SETTINGS: tuple[tuple[str, Callable[..., Float64Array], float, Rule, Bounds], ...] = (
    ("error, often wrong", errors, 1.5, share_interval, (0, 1)),
    ("error, seldom wrong", errors, 2.5, share_interval, (0, 1)),
    ("Brier score, often wrong", scores, 1.5, brier_bounds, (0, 2)),
    ("Brier score, seldom wrong", scores, 2.5, brier_bounds, (0, 2)),
    ("NLL, often wrong", costs, 1.5, cost_interval, (0, float("inf"))),
    ("NLL, seldom wrong", costs, 2.5, cost_interval, (0, float("inf"))),
    ("weighted degradation, small", losses, 0.0, lost_bounds, (-1, 1)),
    ("weighted degradation, large", losses, 2.0, lost_bounds, (-1, 1)),
)


def patient_rows(repetitions: int, seed: int = 0) -> Iterator[Sequence[str]]:
    """Yield two lines for each setting: coverage in percent, median width in hundredths."""
    for name, draw, given, rule, limits in SETTINGS:
        true = float(draw(MANY, given, np.random.default_rng(21)).mean())
        ours, theirs = [], []
        for patients in PATIENTS:
            rng, groups = np.random.default_rng([23, seed]), np.repeat(np.arange(patients), IMAGES)
            found = []
            for _ in range(repetitions):
                terms = draw(patients, given, rng)
                found.append((rule(terms, groups), mean_interval(terms, groups, limits=limits)))
            own, other = zip(*found, strict=True)
            ours.append(_covered(own, true))
            theirs.append(_covered(other, true))
        yield name, "as in tables", *ours
        yield name, "± t √V", *theirs


def _covered(bounds: Sequence[Bounds | None], true: float) -> str:
    there = [one for one in bounds if one is not None]
    if not there:
        return "empty"
    low, high = np.array(there).T
    held = (low <= true) & (true <= high)
    return f"{100 * held.mean():.1f}; {100 * np.median(high - low):.0f}"


TABLES = {"Means over few patients": (COLUMNS, patient_rows, 0.5)}
"""Title -> columns, rows, and share of the repetitions."""
