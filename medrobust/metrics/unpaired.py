"""Differences between groups of images: intervals joined from those of both, and their p-values.

Groups share no image, so nothing is paired; they may share patients (two sites, both eyes), which
correlates them. `benchmarks/coverage.py` measures what these intervals cover.
"""

from math import erfc, sqrt

import numpy as np

from medrobust.types import Float64Array, Int64Array

from .comparisons import Comparison
from .estimates import Estimate
from .variances import Z


def unpaired_difference(first: Estimate, second: Estimate, likeness: float = 0.0) -> Comparison:
    """Return the first less the second, of means over images that they do not share.

    On each side the distances of both to their own bounds are joined (MOVER), which for shares with
    Wilson's bounds is Newcombe's interval. The p-value is the one that goes with that interval: it
    is below .05 where, and only where, the interval excludes 0.

    Args:
        first: With its interval.
        second: With its interval.
        likeness: Correlation of both, from `likeness_of`.

    Raises:
        ValueError: If one of them has no interval.

    References:
        Newcombe, Statistics in Medicine 17 (1998) 873, method 10; Zou and Donner, 27 (2008) 1693;
        Altman and Bland, BMJ 343 (2011) d2304, for the p-value.

    Example:
        >>> from medrobust.metrics.intervals import wilson
        >>> shares = [Estimate(k / n, *wilson(k / n, n)) for k, n in ((56, 70), (48, 80))]
        >>> found = unpaired_difference(*shares)
        >>> round(found.low, 4), round(found.high, 4)
        (0.0524, 0.3339)
    """
    one, two = _known(first), _known(second)
    difference = one[0] - two[0]
    low = difference - _joined(one[0] - one[1], two[2] - two[0], likeness)
    high = difference + _joined(one[2] - one[0], two[0] - two[1], likeness)
    nearer = difference - low if difference > 0 else high - difference
    p = 1.0
    if difference != 0:
        p = erfc(Z * abs(difference) / nearer / sqrt(2)) if nearer > 0 else 0.0
    return Comparison(difference, low, high, p, "MOVER")


def _known(found: Estimate) -> tuple[float, float, float]:
    if found.value is None or found.low is None or found.high is None:
        raise ValueError("a difference needs two numbers with intervals")
    return found.value, found.low, found.high


def _joined(own: float, other: float, likeness: float) -> float:
    return sqrt(max(own**2 + other**2 - 2 * likeness * own * other, 0.0))


def likeness_of(first: Float64Array, second: Float64Array, groups: Int64Array | None) -> float:
    """Return the correlation of two means over patients that both may hold images of.

    Args:
        first: float64 (N,), influence of each image on the first mean; 0 where it is not of it.
        second: float64 (N,), on the second.
        groups: int64 (N,) from 0, or None: images stand alone, and the means are independent.

    Example:
        >>> ends = np.array([[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
        >>> likeness_of(*ends, np.array([0, 0, 1, 1])), likeness_of(*ends, None)
        (1.0, 0.0)
    """
    if groups is None:
        return 0.0
    sums = [np.bincount(groups, weights=one) for one in (first, second)]
    scale = sqrt(float((sums[0] ** 2).sum() * (sums[1] ** 2).sum()))
    return float((sums[0] * sums[1]).sum()) / scale if scale > 0 else 0.0
