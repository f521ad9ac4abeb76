"""Intervals of Brier score, NLL and calibration errors where few answers are wrong, or right.

Part of `python -m benchmarks coverage`, under `small`. Three classes; the answer of an image is
sure by a drawn margin, and wrong (or right) with a chance that gives the stated number of such
answers. "sure": rare answers are as sure as the others, which is the hard case; "unsure": the
surest is wrong most seldom, as of a model that knows what it does not know. Bounds below five rare
answers are counted apart: of those the tables warn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medrobust.metrics import Reading, cell_estimates
from medrobust.metrics.calibration_bounds import FEWEST_RARE, rare_answers
from medrobust.tasks.classification.fits import Fit

MANY = 150_000
NUMBERS = ("brier", "nll_calibrated", "ece", "adaptive_ece")
COLUMNS = ("images", "expected", "rare answers", *NUMBERS, "warned of, %")


@dataclass(frozen=True)
class Few:
    """Cells of which few answers are wrong, or right.

    Attributes:
        count: Images.
        expected: Wrong (or right) answers of a cell, on average.
        rare: "wrong" or "right".
        surety: "sure" or "unsure".
        patients: Whether patients of four images share their answers' chance to be rare.
    """

    count: int
    expected: float
    rare: str = "wrong"
    surety: str = "sure"
    patients: bool = False

    def draw(self, rng: np.random.Generator, count: int | None = None) -> Reading:
        """Draw one cell of that many images, or of another number."""
        count = count or self.count
        labels = rng.integers(3, size=count)
        margin = 4 + rng.normal(size=count)
        weight = np.exp(-1.5 * (margin - 4)) if self.surety == "unsure" else np.ones(count)
        mean = np.exp(1.125) if self.surety == "unsure" else 1.0
        chance = np.minimum(1, self.expected / self.count * weight / mean)
        groups = np.arange(count) // 4 if self.patients else None
        unit = rng.random(count) if groups is None else rng.random(count)[groups]
        off = (unit < chance) == (self.rare == "wrong")
        said = (labels + np.where(off, rng.integers(1, 3, size=count), 0)) % 3
        logits = margin[:, None] * np.eye(3)[said] + 0.3 * rng.normal(size=(count, 3))
        return Reading(logits, labels, "multi-class", groups=groups)

    @cached_property
    def many(self) -> Reading:
        """What stands for all images there could be."""
        return self.draw(np.random.default_rng(23), MANY)

    @cached_property
    def fit(self) -> Fit:
        """The temperature of very many validation images: what is left is chance of the cell."""
        return Fit(self.many)

    def estimates(self, given: Reading) -> dict[str, tuple[float | None, float | None]]:
        """Return the bounds of every number of `NUMBERS`."""
        found = {**cell_estimates(given), **self.fit.estimates(given)}
        return {name: (found[name].low, found[name].high) for name in NUMBERS}

    def truths(self) -> dict[str, float]:
        """Return what very many images have."""
        found = {**cell_estimates(self.many), **self.fit.estimates(self.many)}
        return {name: float(found[name].value or 0.0) for name in NUMBERS}

    def __str__(self) -> str:
        return f"{self.rare}, {self.surety}" + (", patients of four" if self.patients else "")


SETTINGS = (
    *(Few(100, expected) for expected in (0.5, 1, 2, 5, 10, 20)),
    *(Few(1000, expected) for expected in (1, 2, 5, 10, 20)),
    *(Few(200, expected, "right") for expected in (1, 2, 5, 10)),
    *(Few(200, expected, surety="unsure") for expected in (1, 2, 5, 10)),
    *(Few(800, expected, patients=True) for expected in (4, 8, 20, 40)),
)


def few_rows(repetitions: int, seed: int = 0) -> Iterator[Sequence[str]]:
    """Simulate every setting."""
    rng = np.random.default_rng([23, seed])
    for setting in SETTINGS:
        truths = setting.truths()
        held: dict[str, list[bool]] = {name: [] for name in NUMBERS}
        warned = 0
        for _ in range(repetitions):
            given = setting.draw(rng)
            warned += rare_answers(given.predicted, given.labels, given.groups) < FEWEST_RARE
            for name, (low, high) in setting.estimates(given).items():
                if low is not None and high is not None:
                    held[name].append(low <= truths[name] <= high)
        shares = [f"{100 * np.mean(one):.1f}" if one else "" for one in held.values()]
        yield (
            f"{setting.count}",
            f"{setting.expected:g}",
            str(setting),
            *shares,
            f"{100 * warned / repetitions:.0f}",
        )


TABLES = {"One cell: few answers wrong, or right": (COLUMNS, few_rows, 1.0)}
"""Title -> columns, rows, and share of the repetitions."""
