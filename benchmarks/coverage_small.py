"""Intervals of one cell where images are few, or patients uneven.

Part of `python -m benchmarks coverage`: the AUC whose labels belong to patients of uneven size,
accuracy where one patient has a quarter of the images, AUPRC and calibration errors of few images,
kappa and grade error of nearly perfect cells; then `coverage_few`. The alternative is value
+- t sqrt(V) with the infinitesimal jackknife, cut to the range of the number.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import sqrt
from statistics import NormalDist

import numpy as np

from benchmarks import coverage_few
from medrobust.metrics import Reading, cell_estimates, cell_metrics
from medrobust.metrics.influence import kappa_influence, mean_precision
from medrobust.metrics.intervals import mean_interval

NORMAL = NormalDist()
LIKENESS = 0.6
MANY = 200_000


def patients(kind: str, count: int, error: float, rng: np.random.Generator) -> Reading:
    """Draw a binary cell whose labels belong to patients; `error` is 1 - AUC."""
    sizes = {
        "even": np.full(count, 4),
        "uneven": np.maximum(1, 20 * 0.85 ** np.arange(count)).astype(int),
        "one has a quarter": np.r_[np.full(count - 1, 4), 4 * (count - 1) // 3],
    }[kind]
    groups = np.repeat(np.arange(count), sizes)
    labels = np.zeros(count, np.int64)
    labels[: max(2, count * 3 // 10)] = 1
    labels = rng.permutation(labels)[groups]
    own = sqrt(LIKENESS) * rng.normal(size=count)[groups]
    scores = own + sqrt(1 - LIKENESS) * rng.normal(size=len(groups))
    scores = scores + sqrt(2) * NORMAL.inv_cdf(1 - error) * (labels - 0.5)
    return Reading(np.c_[-scores, scores] / 2, labels, "binary-class", 1, groups=groups)


def several(count: int, classes: int, skill: float, rng: np.random.Generator) -> Reading:
    """Draw a cell of classes whose logits have `skill` for the true one."""
    labels = rng.integers(classes, size=count)
    return Reading(
        rng.normal(size=(count, classes)) + skill * np.eye(classes)[labels], labels, "multi-class"
    )


def calibrated(count: int, temperature: float, rng: np.random.Generator) -> Reading:
    """Draw a cell of three classes whose chances are right at temperature 1."""
    labels = rng.integers(3, size=count)
    logits = 1.5 * (rng.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels])
    return Reading(logits / temperature, labels, "multi-class")


def graded(count: int, error: float, rng: np.random.Generator) -> Reading:
    """Draw five grades, a share of which is off by one or (one in five) two."""
    labels = rng.choice(5, size=count, p=(0.5, 0.2, 0.15, 0.1, 0.05))
    step = np.where(rng.random(count) < 0.2, 2, 1) * rng.choice([-1, 1], size=count)
    off = np.abs(labels + step * (rng.random(count) < error))
    return Reading(np.eye(5)[np.where(off > 4, 8 - off, off)], labels, "ordinal-regression")


SETTINGS: tuple[tuple[str, str, Callable[..., Reading], tuple[object, ...]], ...] = (
    *(
        ("auc", f"{kind}, {count} patients, AUC {1 - error:g}", patients, (kind, count, error))
        for kind in ("even", "uneven", "one has a quarter")
        for count in (20, 40, 100)
        for error in (0.25, 0.05)
    ),
    *(
        ("accuracy", f"{kind}, {count} patients", patients, (kind, count, 0.2))
        for kind in ("uneven", "one has a quarter")
        for count in (10, 30, 100)
    ),
    *(
        ("auprc", f"{count} images, {classes} classes, skill {skill:g}", several,
         (count, classes, skill))
        for classes in (2, 8)
        for count in (50, 100, 300)
        for skill in (0.3, 1.0, 2.0)
    ),
    *(
        (name, f"{count} images, {word}", calibrated, (count, temperature))
        for name in ("ece", "adaptive_ece")
        for count in (50, 150, 300, 1000)
        for word, temperature in (("calibrated", 1.0), ("too sure", 0.5))
    ),
    *(
        (name, f"{count} images, {100 * error:g} % off", graded, (count, error))
        for name in ("quadratic_weighted_kappa", "mean_absolute_grade_error")
        for count in (50, 200, 600)
        for error in (0.005, 0.05, 0.3)
    ),
)  # fmt: skip


def truth(name: str, draw: Callable[..., Reading], given: tuple[object, ...]) -> float:
    """Return a number as very many images have it."""
    if draw is patients:
        error = float(given[2])  # type: ignore[arg-type]
        return 1 - error if name == "auc" else NORMAL.cdf(NORMAL.inv_cdf(1 - error) / sqrt(2))
    value = _of_many(draw, given[1:])[name]
    assert value is not None
    return value


@cache
def _of_many(draw: Callable[..., Reading], given: tuple[object, ...]) -> dict[str, float | None]:
    big = draw(MANY, *given, np.random.default_rng(21))
    return cell_metrics(big.logits, big.labels, label_kind=big.label_kind, positive=big.positive)


def jackknife(name: str, given: Reading) -> tuple[float, float]:
    """Return value +- t sqrt(V), cut to the range of the number."""
    if name == "auc":
        found = given.area
        assert found is not None
        return mean_interval(found.influence, given.groups, limits=(0, 1), value=found.value)
    if name == "accuracy":
        right = (given.predicted == given.labels).astype(float)
        return mean_interval(right, given.groups, limits=(0, 1))
    if name == "auprc":
        mean = mean_precision(given.curves, given.truths, given.groups)
        assert mean is not None
        return mean_interval(mean.influence, given.groups, limits=(0, 1), value=mean.value)
    if "ece" in name:
        error = given.calibration[name]
        return mean_interval(error.influence, given.groups, limits=(0, 1), value=error.value)
    distance = np.abs(given.predicted - given.labels).astype(float)
    if name == "mean_absolute_grade_error":
        return mean_interval(distance, given.groups, limits=(0, 4))
    kappa = cell_metrics(given.logits, given.labels, label_kind=given.label_kind)[name]
    influence = kappa_influence(given.predicted, given.labels, classes=5)
    return mean_interval(influence, given.groups, limits=(-1, 1), value=kappa)


def small_rows(repetitions: int, seed: int = 0) -> Iterator[Sequence[str]]:
    """Simulate every setting."""
    rng = np.random.default_rng([22, seed])
    for name, words, draw, arguments in SETTINGS:
        known = truth(name, draw, arguments)
        ours, theirs = [], []
        for _ in range(repetitions):
            given = draw(*arguments, rng)
            found = cell_estimates(given)[name]
            if found.low is not None and found.high is not None:
                ours.append((found.low, found.high))
            theirs.append(jackknife(name, given))
        yield (
            name,
            words,
            *_covered(ours, known),
            f"{100 * (1 - len(ours) / repetitions):.0f}",
            *_covered(theirs, known),
        )


def _covered(bounds: Sequence[tuple[float, float]], known: float) -> tuple[str, str]:
    if not bounds:
        return "", ""
    low, high = np.array(bounds).T
    held = (low <= known + 1e-12) & (known - 1e-12 <= high)
    return f"{100 * held.mean():.1f}", f"{100 * (high - low).mean():.1f}"


TABLES = {
    "One cell: few images, uneven patients": (
        ("number", "setting", "covers", "width", "empty, %", "jackknife", "width"),
        small_rows,
        0.5,
    ),
    **coverage_few.TABLES,
}
"""Title -> columns, rows, and share of the repetitions."""
