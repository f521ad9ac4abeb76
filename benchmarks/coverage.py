"""How often the 95 % intervals hold the truth: simulation over a stated grid.

    python -m benchmarks coverage [REPETITIONS] [grid] [pairs] [small] [balanced] [seed=NUMBER]

`grid` is what follows; `pairs` are differences between models, tests and families
(`coverage_pairs`, `coverage_least`), `small` few images and few or uneven patients
(`coverage_small`, `coverage_few`, `coverage_patients`), `balanced` means over classes of few units
(`coverage_balanced`, `coverage_points`), as Markdown tables. Another seed draws other data: what
was chosen on the simulations of one is confirmed on another.

Asked: 93 to 97 % where the smallest class expects five errors (patients where images are
grouped), at least 93 % elsewhere.

Logits are normal with a shift for the true class that gives the stated error, so that accuracy,
balanced accuracy and AUC have known true values; that of the AUPRC, which depends on the
prevalence, is taken from a million images. Imbalance: class sizes fall linearly, the largest ten
times the smallest; sizes are drawn. Grouped: patients of four images of one class share 40 % of
the variance. mCE: three corruptions by three severities around the stated error, model and
reference correlated over images. Draws of shots: five, on the same images, with effects of the
draw, of the image and of both; at least 93 % is asked.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import sqrt
from statistics import NormalDist

import numpy as np

from benchmarks import (
    coverage_balanced,
    coverage_least,
    coverage_pairs,
    coverage_patients,
    coverage_points,
    coverage_small,
)
from medrobust.metrics import Reading
from medrobust.metrics.aggregates import error_influence, mce_interval
from medrobust.metrics.curves import curves
from medrobust.metrics.draws import hierarchical_interval, t_interval
from medrobust.metrics.influence import areas
from medrobust.metrics.intervals import balanced_interval, logit_interval, share_interval
from medrobust.metrics.scores import log_odds
from medrobust.tasks.classification.intervals import precision_interval

SIZES = (150, 600, 3000)
ERRORS = (0.02, 0.2, 0.5)
PATIENT = 4
LIKENESS = 0.4


@dataclass(frozen=True)
class Setting:
    """One place of the grid."""

    count: int
    error: float
    classes: int
    imbalance: int = 1
    grouped: bool = False

    @property
    def prevalence(self) -> np.ndarray:
        """Share of each class."""
        sizes = np.linspace(self.imbalance, 1, self.classes)
        return sizes / sizes.sum()

    @property
    def expected(self) -> float:
        """Errors (or hits) of images, or of patients, that the class with fewest expects."""
        fewest = float(self.prevalence.min()) * self.count / (PATIENT if self.grouped else 1)
        return fewest * min(self.error, 1 - self.error)

    @property
    def plenty(self) -> bool:
        """Whether every class expects five errors: then 93 to 97 % is asked, else 93 %."""
        return self.expected >= 5

    def __str__(self) -> str:
        grouped = " grouped" if self.grouped else ""
        return (
            f"n={self.count:<5}error={self.error:<5}K={self.classes} {self.imbalance:>2}:1{grouped}"
        )


def grid() -> Iterator[Setting]:
    """List every setting."""
    for count, error, classes, imbalance in product(SIZES, ERRORS, (2, 8), (1, 10)):
        yield Setting(count, error, classes, imbalance)
    for count, error, classes in product((600, 3000), ERRORS, (2, 8)):
        yield Setting(count, error, classes, 10, grouped=True)


@cache
def truth(error: float, classes: int) -> tuple[float, float]:
    """Return the shift of the true class's logit that gives the error, and the AUC it gives."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(400_000, classes))
    margin = noise[:, 1:].max(axis=1) - noise[:, 0]
    shift = float(np.quantile(margin, 1 - error))
    labels = np.arange(len(noise)) % classes
    noise[np.arange(len(noise)), labels] += shift
    scores = log_odds(noise)
    found = areas(scores, labels, label_kind="multi-class")
    assert found is not None
    return shift, found.value


@cache
def true_precision(error: float, classes: int, imbalance: int) -> float:
    """Return the AUPRC of a million images: that of the last class of two, else the mean."""
    setting = Setting(1_000_000, error, classes, imbalance)
    logits, labels, _ = sample(setting, np.random.default_rng(5))
    truths = labels[:, None] == np.arange(classes)
    shown = slice(1, None) if classes == 2 else slice(None)
    columns = zip(log_odds(logits).T[shown], truths.T[shown], strict=True)
    return float(np.mean([curves(s[:, None], t[:, None]).precisions[0] for s, t in columns]))


def sample(setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw logits (N, K), labels (N,) and groups (N,)."""
    units = setting.count // (PATIENT if setting.grouped else 1)
    labels = rng.choice(setting.classes, size=units, p=setting.prevalence)
    groups = np.arange(units)
    shape = (setting.count, setting.classes)
    logits = rng.normal(size=shape)
    if setting.grouped:
        labels, groups = np.repeat(labels, PATIENT), np.repeat(groups, PATIENT)
        own = rng.normal(size=(units, setting.classes))
        logits = sqrt(LIKENESS) * own[groups] + sqrt(1 - LIKENESS) * logits
    logits[np.arange(len(logits)), labels] += truth(setting.error, setting.classes)[0]
    return logits, labels, groups


def cells(setting: Setting, repetitions: int, seed: int = 0) -> dict[str, float]:
    """Return the coverage of accuracy, balanced accuracy, AUC and AUPRC."""
    rng = np.random.default_rng([2, seed])
    area = truth(setting.error, setting.classes)[1]
    precision = true_precision(setting.error, setting.classes, setting.imbalance)
    held = {"accuracy": 0, "balanced accuracy": 0, "AUC": 0, "AUPRC": 0}
    for _ in range(repetitions):
        logits, labels, groups = sample(setting, rng)
        given = groups if setting.grouped else None
        right = (logits.argmax(axis=1) == labels).astype(float)
        low, high = share_interval(right, given)
        held["accuracy"] += low <= 1 - setting.error <= high
        low, high = balanced_interval(right, labels, given)
        held["balanced accuracy"] += low <= 1 - setting.error <= high
        binary = {"label_kind": "binary-class", "positive": 1} if setting.classes == 2 else {}
        kind = {"label_kind": "multi-class"} | binary
        found = areas(log_odds(logits), labels, groups=given, **kind)
        if found is None:
            held["AUC"] += 1  # one class alone has no AUC, no AUPRC and no interval
            held["AUPRC"] += 1
            continue
        low, high = logit_interval(
            found.value,
            found.influence,
            given,
            smallest=found.smallest,
            degrees=found.degrees,
            unseen=found.unseen,
        )
        held["AUC"] += low <= area <= high
        bounds = precision_interval(Reading(logits, labels, groups=given, **kind))
        held["AUPRC"] += bounds is None or bounds[0] <= precision <= bounds[1]
    return {name: count / repetitions for name, count in held.items()}


def mce(setting: Setting, repetitions: int, seed: int = 0, *, balanced: bool = False) -> float:
    """Return the coverage of mCE where it is defined."""
    rng = np.random.default_rng([3, seed])
    normal = NormalDist()
    errors = np.clip(setting.error * np.array([0.7, 1.0, 1.3]), 0, 0.9)
    edges = np.array([normal.inv_cdf(error) for error in errors])
    held = defined = 0
    units = setting.count // (PATIENT if setting.grouped else 1)
    groups = np.repeat(np.arange(units), PATIENT) if setting.grouped else None
    for _ in range(repetitions):
        labels = rng.choice(setting.classes, size=units, p=setting.prevalence)
        hard = rng.normal(size=(1, 1, 1, units))
        if groups is not None:
            labels, hard = labels[groups], hard[..., groups]
        wide = (2, 3, 1, setting.count)
        latent = sqrt(0.4) * hard + sqrt(0.3) * rng.normal(size=wide)
        latent = latent + sqrt(0.3) * rng.normal(size=(2, 3, 3, setting.count))
        wrong = (latent < edges[:, None]).mean(axis=2)  # (model, corruption, image)
        given = labels if balanced else None
        influence = error_influence(wrong, given, groups)
        if balanced:
            occurring = np.unique(labels)
            means = np.mean([wrong[..., labels == k].mean(axis=-1) for k in occurring], axis=0)
        else:
            means = wrong.mean(axis=-1)
        if (means[1] == 0).any():
            continue
        defined += 1
        low, high = mce_interval(
            means[0], influence[0], means[1], influence[1], groups, labels=given
        )
        held += low <= 1.0 <= high
    return held / max(defined, 1)


UNEQUAL = (
    ((60, 60), (0.99, 0.02)),
    ((60, 60), (0.9, 0.3)),
    ((200, 20), (0.99, 0.05)),
    ((20, 200), (0.97, 0.5)),
    ((60,) * 8, (0.98, 0.02, 0.01, 0.03, 0.001, 0.1, 0.02, 0.3)),
)
"""Images of each class, and its recall."""


def unequal(
    sizes: Sequence[int], recalls: Sequence[float], repetitions: int, seed: int = 0
) -> tuple[float, float]:
    """Return the coverage and the mean length of the interval of balanced accuracy."""
    rng = np.random.default_rng([6, seed])
    labels = np.repeat(np.arange(len(sizes)), sizes)
    held, length, mean = 0, 0.0, float(np.mean(recalls))
    for _ in range(repetitions):
        right = (rng.random(len(labels)) < np.array(recalls)[labels]).astype(float)
        low, high = balanced_interval(right, labels, None)
        held += low <= mean <= high
        length += high - low
    return held / repetitions, length / repetitions


@dataclass(frozen=True)
class Drawn:
    """An error measured with five draws of shots on the same images.

    Attributes:
        count: Images.
        error: Share of wrong answers over all draws and images there could be.
        draws: Share of the latent variance that a draw has for itself.
        images: Share that an image has for itself; the rest is of both.
    """

    count: int
    error: float
    draws: float
    images: float

    def __str__(self) -> str:
        return f"n={self.count:<5}error={self.error:<5}draws={self.draws} images={self.images}"


def drawn(setting: Drawn, repetitions: int, seed: int = 0, number: int = 5) -> tuple[float, float]:
    """Return the coverage of the hierarchical interval, and of Student's t over draws alone."""
    rng = np.random.default_rng([4, seed])
    edge = NormalDist().inv_cdf(setting.error)
    both = 1 - setting.draws - setting.images
    held = np.zeros(2)
    for _ in range(repetitions):
        latent = (
            sqrt(setting.draws) * rng.normal(size=(number, 1))
            + sqrt(setting.images) * rng.normal(size=setting.count)
            + sqrt(both) * rng.normal(size=(number, setting.count))
        )
        wrong = (latent < edge).astype(float)
        values = wrong.mean(axis=1).tolist()
        images = share_interval(wrong.mean(axis=0))
        over = t_interval(values)
        assert over is not None
        for place, (_, low, high) in enumerate((hierarchical_interval(values, images), over)):
            held[place] += low <= setting.error <= high
    together, alone = (held / repetitions).tolist()
    return together, alone


def main(arguments: Sequence[str]) -> int:
    """Print the tables; the arguments are repetitions, seed and parts, or all parts."""
    numbers = [int(argument) for argument in arguments if argument.isdigit()]
    repetitions = numbers[0] if numbers else 200
    seeds = [int(a.removeprefix("seed=")) for a in arguments if a.startswith("seed=")]
    seed = seeds[0] if seeds else 0
    asked = [a for a in arguments if not a.isdigit() and not a.startswith("seed=")]
    if not asked or "grid" in asked:
        grid_table(repetitions, seed)
    coverage_pairs.fewer_turns()
    of_pairs = coverage_pairs.TABLES | coverage_least.TABLES
    of_classes = coverage_balanced.TABLES | coverage_points.TABLES
    of_few = coverage_small.TABLES | coverage_patients.TABLES
    parts = {"small": of_few, "balanced": of_classes}
    for name, tables in ({"pairs": of_pairs} | parts).items():
        if not asked or name in asked:
            for title, (columns, rows, share) in tables.items():
                runs = max(20, round(repetitions * share))
                print(f"\n{title} ({runs:,} repetitions)\n\n| {' | '.join(columns)} |")
                print("|" + "--|" * len(columns))
                for row in rows(runs, seed):
                    print(f"| {' | '.join(row)} |", flush=True)
    return 0


def grid_table(repetitions: int, seed: int) -> None:
    """Print the grid and what falls outside of what is asked."""
    outside = []
    print(
        f"{'setting':34}{'errors':>8}{'accuracy':>10}{'balanced':>10}{'AUC':>8}{'AUPRC':>8}{'mCE':>8}"
        f"{'balanced mCE':>14}"
    )
    for setting in grid():
        found = cells(setting, repetitions, seed)
        found["mCE"] = mce(setting, repetitions, seed)
        found["balanced mCE"] = mce(setting, repetitions, seed, balanced=True)
        top = 0.97 if setting.plenty else 1.0
        marks = {name: "" if 0.93 <= c <= top else "*" for name, c in found.items()}
        outside += [f"{setting} {name} {found[name]:.4f}" for name in found if marks[name]]
        line = "".join(
            f"{100 * found[name]:>{width}.1f}{marks[name]}"
            for name, width in zip(found, (9, 9, 7, 7, 7, 13), strict=True)
        )
        print(f"{setting!s:34}{setting.expected:>8.1f} {line}", flush=True)
    print("classes told unequally well: coverage and mean length for balanced accuracy")
    for sizes, recalls in UNEQUAL:
        held, length = unequal(sizes, recalls, repetitions, seed)
        outside += [] if held >= 0.93 else [f"{sizes} {recalls} balanced {held:.4f}"]
        print(f"{sizes!s:34}{recalls!s:60}{100 * held:>7.1f}{100 * length:>7.1f}", flush=True)
    print("five draws of shots: draws and images together, and Student's t over draws alone")
    for n, error, draws, images in product((60, 420), (0.05, 0.5), (0.0, 0.002, 0.02), (0.3, 0.6)):
        case = Drawn(n, error, draws, images)
        together, alone = drawn(case, repetitions, seed)
        outside += [] if together >= 0.93 else [f"{case} hierarchical {together:.4f}"]
        print(f"{case!s:44}{100 * together:>7.1f}{100 * alone:>7.1f}", flush=True)
    print(f"{len(outside)} outside of what is asked:", *outside, sep="\n  ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
