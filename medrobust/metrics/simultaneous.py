"""Intervals that hold together, however one of them is chosen afterwards."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy.special import stdtrit

from medrobust.types import Float64Array, Int64Array

from .paired import Part, paired, quantiles, tango
from .variances import FEWEST, variance_of_mean

MISSED = 0.05
"""Chance that any of the intervals misses."""


def simultaneous_interval(
    influence: Float64Array, groups: Int64Array | None, *, value: float, comparisons: int
) -> tuple[float, float]:
    """Return an interval that holds with all others of a family by 95 % (Bonferroni).

    Args:
        influence: float64 (N,), what each unit adds to a number.
        groups: int64 (N,) from 0, or None.
        value: The number.
        comparisons: How many numbers there are that could have been chosen.

    Example:
        >>> terms = np.array([0.0, 1.0] * 50)
        >>> alone = simultaneous_interval(terms, None, value=0.5, comparisons=1)
        >>> of_many = simultaneous_interval(terms, None, value=0.5, comparisons=100)
        >>> [round(bound, 2) for bound in (*alone, *of_many)]
        [0.4, 0.6, 0.32, 0.68]
    """
    variance, degrees, units = variance_of_mean(influence, groups)
    least = min(FEWEST, max(units - 1, 1))
    quantile = stdtrit(max(degrees, least), 1 - MISSED / (2 * comparisons))
    half = float(quantile) * sqrt(variance)
    return value - half, value + half


def difference_interval(
    differences: Float64Array, parts: Sequence[Part], comparisons: int = 1
) -> tuple[float, float]:
    """Return the score interval of a paired difference that holds with all others of a family.

    Args:
        differences: float64 (N,) or (N, L) in [-1, 1].
        parts: From `parts_of`, each of two units or more.
        comparisons: How many numbers there are that could have been chosen.

    Example:
        >>> from medrobust.metrics.paired import parts_of
        >>> nothing = np.zeros(50)
        >>> low, high = difference_interval(nothing, parts_of(None, None, 50))
        >>> round(low, 2), round(high, 2)
        (-0.07, 0.07)
    """
    found = paired(differences[None], parts)
    if comparisons == 1:
        points = quantiles(found.degrees)
    else:
        free = np.minimum(found.degrees, 1e9)
        points = np.asarray(stdtrit(free, 1 - MISSED / (2 * comparisons)))
    low, high = tango(found.ups, found.downs, found.images, points)
    return float(low[0]), float(high[0])
