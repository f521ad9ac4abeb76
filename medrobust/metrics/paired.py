"""Differences of two errors on the same images: score intervals that stay inside [-1, 1].

Tango's interval needs three numbers: how often the first model alone is wrong, how often the second
alone, and on how many images. Patients, repeated conditions and means over classes change the last
one alone, to the number of images that would give the variance found. Where few units carry that
variance it is drawn towards another, and a class of few images borrows some at the mean of all, so
that no difference has a point interval. Tests draw it to that of a single answer a unit, for a
family of them must not err more often than one; bounds to that of images that stand alone, which
makes them up to 40 % shorter, never longer.

Everything is vectorised over pairs: B is their number, P that of parts (classes) of a mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.base.wording import counted
from medrobust.metrics.intervals import resting_on
from medrobust.metrics.variances import BORROWED, t_quantile, unit_variance
from medrobust.types import Float64Array, Int64Array

FEWEST_DEGREES = 8.0
"""Degrees of freedom that a plain difference has at least: its variance is drawn, not free."""

FEWEST_UNITS = 5
"""Images (or patients) of a class that a difference or ratio of means over classes needs, patients
that a difference of plain means does, and images or patients that a ratio of these does."""

HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Part:
    """A class whose mean counts in a mean over classes, its images sorted by unit.

    Attributes:
        rows: int64 (n,), its images.
        column: Of terms (N, L); 0 for terms (N,).
        starts: int64 (U,), where each unit (image or patient) begins in `rows`.
        units: int64 (U,), which units these are.
        sizes: float64 (U,), images of each.
        apart: Whether every image is a unit.
    """

    rows: Int64Array
    column: int
    starts: Int64Array
    units: Int64Array
    sizes: Float64Array
    apart: bool

    def sums(self, terms: Float64Array) -> Float64Array:
        """Add up terms (B, n) within units: float64 (B, U)."""
        if self.apart:
            return terms
        found: Float64Array = np.add.reduceat(terms, self.starts, axis=1)
        return found


def parts_of(labels: Int64Array | None, groups: Int64Array | None, count: int) -> list[Part]:
    """List the parts of a mean: all images, or the classes of a balanced one.

    Args:
        labels: int64 (N,), or (N, L): present and absent of each label; None for the plain mean.
        groups: int64 (N,) from 0, or None.
        count: N.
    """
    if labels is None:
        return [_part(np.arange(count), 0, groups)]
    if labels.ndim == 1:
        return [_part(np.flatnonzero(labels == k), 0, groups) for k in np.unique(labels)]
    found = []
    for c in range(labels.shape[1]):
        both = [np.flatnonzero(labels[:, c] == k) for k in np.unique(labels[:, c])]
        both = both if len(both) == 2 else both * 2  # as the mean over labels counts it
        found += [_part(rows, c, groups) for rows in both]
    return found


def _part(rows: Int64Array, column: int, groups: Int64Array | None) -> Part:
    if groups is None:
        sizes = np.ones(len(rows))
        return Part(rows, column, np.arange(len(rows)), rows, sizes, apart=True)
    rows = rows[np.argsort(groups[rows], kind="stable")]
    units, starts, counts = np.unique(groups[rows], return_index=True, return_counts=True)
    return Part(rows, column, starts, units, counts.astype(float), apart=False)


def too_few(parts: Sequence[Part]) -> str:
    """Say that too few patients, or units of a class, tell how they differ; empty if enough do.

    Single images of a plain mean are never too few: its interval is one of counts.
    """
    plain = len(parts) == 1 and parts[0].apart
    return "" if plain else _fewer(parts)


def _fewer(parts: Sequence[Part]) -> str:
    fewest, apart = min(len(part.units) for part in parts), all(part.apart for part in parts)
    if fewest >= FEWEST_UNITS:
        return ""
    among = "there are" if len(parts) == 1 else "a class has"
    if len(parts) == 1 and fewest == 1:
        among = "there is"
    unit = "image" if apart else "patient"
    return f"{among} {counted(fewest, unit)}, {FEWEST_UNITS} are needed"


def too_few_of(labels: Int64Array | None, groups: Int64Array | None, count: int) -> str:
    """Say that a ratio of means, or a gain, has too few images, patients, or units of a class.

    Args:
        labels: int64 (N,) or (N, L); None for plain means.
        groups: int64 (N,) from 0, or None.
        count: N.
    """
    return _fewer(parts_of(labels, groups, count))


@dataclass(frozen=True, slots=True)
class Paired:
    """What B differences of two means rest on.

    Attributes:
        difference: float64 (B,).
        ups: float64 (B,), mean of what the first is worse by.
        downs: float64 (B,), mean of what the second is worse by.
        images: float64 (B,), how many images that stand alone would give the variance of tests.
        bounded: float64 (B,), how many would give that of bounds; no fewer.
        degrees: float64 (B,), of freedom of the variance.
        means: float64 (B, P), difference of each part.
        variances: float64 (B, P), of these means.
        whole: bool (B,), whether all differences of images are -1, 0 or 1.
    """

    difference: Float64Array
    ups: Float64Array
    downs: Float64Array
    images: Float64Array
    bounded: Float64Array
    degrees: Float64Array
    means: Float64Array
    variances: Float64Array
    whole: NDArray[np.bool_]


def paired(differences: Float64Array, parts: Sequence[Part]) -> Paired:
    """Sum up differences of B pairs of models.

    Args:
        differences: float64 (B, N) or (B, N, L) in [-1, 1], error of the first minus the second.
        parts: From `parts_of`.
    """
    values = differences if differences.ndim == 3 else differences[:, :, None]
    shares = np.stack([_shares(values[:, part.rows, part.column]) for part in parts], axis=2)
    up, down = shares.mean(axis=2)  # (B,) each
    found = [
        _moments(values[:, part.rows, part.column], part, up, down, alone=len(parts) == 1)
        for part in parts
    ]
    variances = np.stack([one[0] for one in found], axis=1)
    shorter = np.stack([one[1] for one in found], axis=1)
    free = np.stack([one[2] for one in found], axis=1)
    whole = np.logical_and.reduce(np.stack([one[3] for one in found]), axis=0)
    means = shares[0] - shares[1]
    total = variances.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = total**2 / (variances**2 / free).sum(axis=1)
    degrees[np.isnan(degrees)] = np.inf
    if len(parts) == 1:
        degrees = np.maximum(degrees, FEWEST_DEGREES)
    scale = _dependence(values, parts, means) / len(parts) ** 2
    difference = up - down
    sides = [
        _images(difference, up + down, variance * scale, degrees, parts)
        for variance in (total, shorter.sum(axis=1))
    ]
    (images, degrees), (bounded, _) = sides
    if len(parts) == 1:
        most = np.where(whole, float(len(parts[0].rows)), np.inf)
        images, bounded = np.minimum(images, most), np.minimum(bounded, most)
    return Paired(difference, up, down, images, bounded, degrees, means, variances, whole)


def _shares(terms: Float64Array) -> Float64Array:
    up = np.maximum(terms, 0).mean(axis=1)
    down = np.maximum(-terms, 0).mean(axis=1)
    return np.stack([up, down])


def _moments(
    terms: Float64Array, part: Part, up: Float64Array, down: Float64Array, *, alone: bool
) -> tuple[Float64Array, Float64Array, Float64Array, NDArray[np.bool_]]:
    """Return two variances of a part's mean, degrees of freedom, and whether terms are whole.

    The first is for tests, drawn to one answer a unit; the second for bounds, to one an image.
    """
    count, units = terms.shape[1], len(part.sizes)
    mean = terms.mean(axis=1)
    own_up, own_down = _shares(terms) * count
    above = (own_up + BORROWED * up) / (count + BORROWED)
    below = (own_down + BORROWED * down) / (count + BORROWED)
    single = above + below - (above - below) ** 2
    whole = ((terms == 0) | (np.abs(terms) == 1)).all(axis=1)
    sums = part.sums(terms) - mean[:, None] * part.sizes
    variance, degrees = unit_variance(sums, part.sizes)
    drawn = (degrees * variance + single / units) / (degrees + 1)
    shorter = (degrees * variance + single / count) / (degrees + 1)
    degrees = degrees + 1
    if part.apart:
        drawn = shorter = np.where(whole, single / count, drawn)
        degrees = np.where(whole, np.inf if alone else count + BORROWED - 1, degrees)
    return drawn, shorter, degrees, whole


def _dependence(values: Float64Array, parts: Sequence[Part], means: Float64Array) -> Float64Array:
    """Return the variance of the mean over that of independent parts, at least 1/2: (B,)."""
    size = int(max(part.units.max() for part in parts)) + 1
    if len(parts) == 1 or sum(len(part.units) for part in parts) == size:
        return np.ones(len(values))
    total, apart = np.zeros((len(values), size)), np.zeros(len(values))
    for place, part in enumerate(parts):
        terms = values[:, part.rows, part.column]
        sums = (part.sums(terms) - means[:, [place]] * part.sizes) / len(part.rows)
        total[:, part.units] += sums
        apart += (sums**2).sum(axis=1)
    together = (total**2).sum(axis=1)
    ratio: Float64Array = np.where(
        apart > 0, np.maximum(together / np.where(apart > 0, apart, 1.0), 0.5), 1.0
    )
    return ratio


def _images(
    difference: Float64Array,
    discordant: Float64Array,
    variance: Float64Array,
    degrees: Float64Array,
    parts: Sequence[Part],
) -> tuple[Float64Array, Float64Array]:
    """Return how many single images give the variance, and the degrees of freedom of it."""
    own = discordant - difference**2
    some = (own > 1e-12) & (variance > 0)
    units = np.array([len(part.units) for part in parts], dtype=float)
    none = resting_on([part.units for part in parts])
    images = np.where(some, own / np.where(some, variance, 1.0), none)
    free = np.inf if all(part.apart for part in parts) else float(units.min()) - 1
    return images, np.where(some, degrees, free)


def tango(
    ups: Float64Array, downs: Float64Array, images: Float64Array, quantile: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return Tango's score interval of the difference of two shares of the same images.

    The bounds are the differences d at which (D - d) / sqrt(V(d)) is the quantile, V(d) being the
    variance if d were true.

    Args:
        ups: float64 (B,), share of images on which the first alone is wrong.
        downs: float64 (B,), on which the second alone is.
        images: float64 (B,), their number.
        quantile: float64 (B,).

    References:
        Tango, Statistics in Medicine 17 (1998) 891.
    """
    difference = ups - downs
    inner = np.stack([difference, difference])
    outer = np.array([[-1.0], [1.0]])
    for _ in range(HALVINGS):
        middle = (inner + outer) / 2
        inside = (difference - middle) ** 2 * images <= quantile**2 * _spread(ups, downs, middle)
        inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
    return inner[0], inner[1]


def _spread(ups: Float64Array, downs: Float64Array, at: Float64Array) -> Float64Array:
    """Return the variance of one image's difference if the true difference were `at`."""
    # the share `alone` of the second's own errors is the root of 2 x^2 + b x - downs at (1 - at)
    b = -ups - downs + (2 - ups + downs) * at
    product = -downs * at * (1 - at)
    alone = (np.sqrt(np.maximum(b * b - 8 * product, 0.0)) - b) / 4
    return np.maximum(2 * alone + at * (1 - at), 0.0)


def quantiles(degrees: Float64Array) -> Float64Array:
    """Return Student's upper 97.5 % points: float64 (B,)."""
    found, place = np.unique(degrees, return_inverse=True)
    points = np.array([t_quantile(float(free)) for free in found])
    result: Float64Array = points[place.reshape(-1)]
    return result


def bounds_of(found: Paired) -> tuple[Float64Array, Float64Array]:
    """Return the 95 % intervals of paired differences: two float64 (B,)."""
    return tango(found.ups, found.downs, found.bounded, quantiles(found.degrees))


def score_statistic(found: Paired) -> Float64Array:
    """Return the statistic whose 95 % point is where the interval meets 0: float64 (B,)."""
    discordant = found.ups + found.downs
    safe = np.where(discordant > 0, discordant, 1.0)
    result: Float64Array = found.difference * np.sqrt(found.images / safe)
    return result
