"""Variances of means and their degrees of freedom: what intervals and tests of means stand on."""

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from medrobust.types import Float64Array, Int64Array

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
FEWEST = 4.0
"""Degrees of freedom are taken to be at least this, so that one odd image cannot blow up t."""
OF_FEW = {2: 12.706205, 3: 4.302653, 4: 3.182446}
"""Units -> upper 97.5 % point of Student's t with one degree of freedom less."""
BORROWED = 4.0
"""Units at the mean of all parts that the variance of a part is computed with."""
SHORT = 4096
"""Images up to which the units of a set are remembered: longer ones are no dearer to count."""


def t_quantile(degrees: float) -> float:
    """Return the upper 97.5 % point of Student's t, within 0.5 % from 4 degrees on.

    Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5).

    Example:
        >>> round(t_quantile(10), 2), round(t_quantile(1e9), 2)
        (2.23, 1.96)
    """
    z, d = Z, max(degrees, FEWEST)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / d ** (power + 1) for power, term in enumerate(terms))


def few_quantile(degrees: float, units: int) -> float:
    """Return `t_quantile`, exact where fewer than five units give one to three degrees.

    Example:
        >>> few_quantile(3, 4), few_quantile(10, 40) == t_quantile(10)
        (3.182446, True)
    """
    return OF_FEW.get(units) or t_quantile(degrees)


def variance_of_mean(
    terms: Float64Array, groups: Int64Array | None = None
) -> tuple[float, float, int]:
    """Estimate the variance of the mean of terms, images of one group taken together.

    Args:
        terms: float64 (N,).
        groups: int64 (N,) from 0, or None.

    Returns:
        The variance; its degrees of freedom 2 V^2 / Var(V), from the kurtosis: few images with a
        large share of the spread mean few degrees; and the number of groups that occur.

    Example:
        >>> variance_of_mean(np.array([0.0, 1.0, 1.0, 1.0]))
        (0.0625, 3.0, 4)
    """
    count = len(terms)
    centered = terms - float(np.add.reduce(terms)) / count
    if groups is not None:
        units = _units(groups)
        sums = np.bincount(groups, weights=centered).astype(np.float64, copy=False)
        own = sums if units.all_occur else sums[units.occur]
        return *_one_unit_variance(own, units), units.count
    squares = centered**2
    spread = float(squares.sum())
    if count < 2 or spread <= 1e-18 * count:
        return 0.0, 0.0, count
    kurtosis = float((squares**2).sum()) * count / spread**2
    degrees = 2 * count / max(kurtosis - (count - 3) / (count - 1), 1e-9)
    variance = spread * count / (count - 1) / len(terms) ** 2
    return variance, min(degrees, count - 1.0), count


def unit_variance(sums: Float64Array, sizes: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the variance of B means and its degrees of freedom, from centered sums of units.

    A unit that holds a share h of the images pulls the mean towards itself: its square is divided
    by 1 - h (Bell and McCaffrey, Survey Methodology 28 (2002) 169; of equal units that is
    U / (U - 1)). Degrees are 2 V^2 / Var(V), from the kurtosis.

    Args:
        sums: float64 (B, U).
        sizes: float64 (U,).
    """
    count, total = len(sizes), float(sizes.sum())
    if count < 2:
        return np.zeros(len(sums)), np.zeros(len(sums))
    squares = sums**2 / (1 - sizes / total)
    spread = squares.sum(axis=1)
    some = spread > 1e-18 * count
    with np.errstate(divide="ignore", invalid="ignore"):
        kurtosis = (squares**2).sum(axis=1) * count / spread**2
        degrees = 2 * count / np.maximum(kurtosis - (count - 3) / (count - 1), 1e-9)
    degrees = np.where(some, np.minimum(degrees, count - 1.0), 0.0)
    return np.where(some, spread / total**2, 0.0), degrees


@dataclass(frozen=True, slots=True)
class _Units:
    """What a variance needs of the units that images fall into, whatever the terms.

    Attributes:
        occur: int64 (U,), numbers of the units that hold images.
        all_occur: Whether these are all numbers up to the largest.
        rest: float64 (U,), 1 - h, h being the share of the images that a unit holds.
        count: How many units.
        total: How many images.
    """

    occur: Int64Array
    all_occur: bool
    rest: Float64Array
    count: int
    total: float


def _units(groups: Int64Array) -> _Units:
    """Count the images of each unit; of short sets, which many cells share, but once."""
    if len(groups) <= SHORT and groups.dtype == np.int64:
        return _remembered(groups.tobytes())
    return _counted(groups)


@lru_cache(maxsize=64)
def _remembered(groups: bytes) -> _Units:
    return _counted(np.frombuffer(groups, np.int64))


def _counted(groups: Int64Array) -> _Units:
    counts = np.bincount(groups)
    occur = np.flatnonzero(counts)
    sizes = counts[occur].astype(np.float64)
    total = float(sizes.sum())
    return _Units(occur, len(occur) == len(counts), 1 - sizes / total, len(occur), total)


def _one_unit_variance(sums: Float64Array, units: _Units) -> tuple[float, float]:
    """Return `unit_variance` of one mean, in a third of its time."""
    count = units.count
    if count < 2:
        return 0.0, 0.0
    squares = sums**2 / units.rest
    spread = float(np.add.reduce(squares))
    if not spread > 1e-18 * count:
        return 0.0, 0.0
    kurtosis = float(np.add.reduce(squares**2)) * count / spread**2
    degrees = 2 * count / max(kurtosis - (count - 3) / (count - 1), 1e-9)
    return spread / units.total**2, min(degrees, count - 1.0)
