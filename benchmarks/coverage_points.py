"""Intervals of sensitivity and specificity at fixed thresholds, over classes of few units.

Part of `python -m benchmarks coverage`, under `balanced`. Thresholds are Youden's on very many
images; units (images, or patients of some) are of one class, or have an image of each, so that they
count in every class; of the last settings a stated share of patients fails as a whole. The
alternative is value +- t sqrt(V) with the infinitesimal jackknife, cut to [0, 1].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from medrobust.metrics import Reading
from medrobust.metrics.aggregates import share_influence
from medrobust.metrics.intervals import mean_interval
from medrobust.tasks.classification.fits import Fit

MANY = 60_000
SIDES = ("sensitivity", "specificity")
RULES = ("width", "± t √V", "width")
COLUMNS = ("classes", "units", "images of a unit", "answers", SIDES[0], *RULES, SIDES[1], *RULES)


@dataclass(frozen=True)
class Points:
    """Cells of a stated design.

    Attributes:
        sizes: Units of each class.
        images: Images of a unit, all of its class; 0 for one of each class.
        skill: What the true class's logit has beyond noise.
        fail: Share of units that answer all images wrongly.
    """

    sizes: tuple[int, ...]
    images: int = 1
    skill: float = 1.5
    fail: float = 0.0

    def design(self, times: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and units, int64 (N,) each, of that many times as many units."""
        sizes = np.array(self.sizes) * times
        if self.images:
            units = np.repeat(np.arange(sizes.sum()), self.images)
            return np.repeat(np.arange(len(sizes)), sizes * self.images), units
        count = int(sizes[0])
        return np.tile(np.arange(len(sizes)), count), np.repeat(np.arange(count), len(sizes))

    def draw(self, rng: np.random.Generator, times: int = 1) -> Reading:
        """Draw a cell; images of a unit share half of the noise of their logits."""
        labels, units = self.design(times)
        shape = len(labels), len(self.sizes)
        count = int(units.max()) + 1
        shared = rng.normal(size=(count, shape[1]))[units]
        logits = sqrt(0.5) * (shared + rng.normal(size=shape))
        signs = np.where(rng.random(count) < self.fail, -1.0, 1.0)[units]
        logits += self.skill * signs[:, None] * np.eye(shape[1])[labels]
        groups = None if self.images == 1 else units
        return Reading(logits, labels, "multi-class", groups=groups)

    def __str__(self) -> str:
        alike = len(set(self.sizes)) == 1
        named = (
            f"{len(self.sizes)} of {self.sizes[0]}" if alike else ", ".join(map(str, self.sizes))
        )
        named = named if self.images else f"{self.sizes[0]} of all"
        answers = f"{100 * self.fail:g} % fail" if self.fail else f"skill {self.skill:g}"
        images = str(self.images) if self.images else "one a class"
        return f"{len(self.sizes)} | {named} | {images} | {answers}"


SETTINGS = (
    Points((1,) * 8),
    Points((2,) * 8),
    Points((5,) * 8),
    Points((5,) * 8, skill=4),
    Points((50, 5)),
    Points((100, 10, 1)),
    Points((2,) * 8, 4),
    Points((5,) * 8, 4),
    Points((5,) * 8, 0),
    Points((10,) * 8, 0),
    Points((10,) * 8, 0, skill=4),
    Points((40,) * 8, 0),
    Points((10,) * 8, 0, skill=5, fail=0.1),
    Points((20,) * 8, 0, skill=5, fail=0.05),
    Points((40,) * 8, 0, skill=5, fail=0.03),
)


def alternative(
    right: np.ndarray, sides: np.ndarray, groups: np.ndarray | None
) -> tuple[float, float]:
    """Return value +- t sqrt(V) of the mean over classes; bool (N, K) each."""
    pairs = list(zip(right.T, sides.T, strict=True))
    value = float(np.mean([hit[among].mean() for hit, among in pairs]))
    influence = np.mean([share_influence(hit, among) for hit, among in pairs], axis=0)
    return mean_interval(influence, groups, limits=(0.0, 1.0), value=value)


def point_rows(repetitions: int, seed: int = 0) -> Iterator[Sequence[str]]:
    """Simulate every setting."""
    for setting in SETTINGS:
        rng = np.random.default_rng([24, seed])
        many = setting.draw(rng, max(1, MANY // len(setting.design()[0])))
        fit = Fit(many)
        thresholds = np.array(fit.thresholds, dtype=float)
        known = {name: fit.estimates(many)[name].value or 0.0 for name in SIDES}
        bounds = np.empty((repetitions, 2, 2, 2))  # (repetition, side, rule, end)
        for place in range(repetitions):
            given = setting.draw(rng)
            found = fit.estimates(given)
            right = (given.scores >= thresholds) == given.truths
            for side, name in enumerate(SIDES):
                among = given.truths if side == 0 else ~given.truths
                bounds[place, side, 0] = found[name].low, found[name].high
                bounds[place, side, 1] = alternative(right, among, given.groups)
        cells: list[str] = []
        for side, name in enumerate(SIDES):
            for low, high in bounds[:, side].transpose(1, 2, 0):
                held = (low <= known[name] + 1e-12) & (known[name] - 1e-12 <= high)
                cells += [f"{100 * held.mean():.1f}", f"{100 * (high - low).mean():.1f}"]
        yield (*str(setting).split(" | "), *cells)


TABLES = {"Sensitivity and specificity of few units": (COLUMNS, point_rows, 1.0)}
"""Title -> columns, rows, and share of the repetitions."""
