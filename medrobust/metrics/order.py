"""Intervals of order statistics."""

import numpy as np

from medrobust.types import Float64Array

from .intervals import Bounds

COVERAGE = 0.95


def median_interval(values: Float64Array) -> Bounds | None:
    """Return the interval of a median between two of the values, or None where they are too few.

    Binomial, as sign tests have it: at least 95 % whatever the distribution. Fewer than six values
    bound nothing so surely.

    Args:
        values: (N,), independent of one another.

    Example:
        >>> median_interval(np.arange(1.0, 11.0))
        (2.0, 9.0)
        >>> median_interval(np.arange(5.0)) is None
        True
    """
    from scipy import stats  # a second that a report without ranks need not wait

    count = len(values)
    tails = stats.binom.cdf(np.arange(count // 2), count, 0.5)  # P(at most 0, 1, ... below it)
    allowed = int((tails <= (1 - COVERAGE) / 2).sum())
    if allowed == 0:
        return None
    ordered = np.sort(values)
    return float(ordered[allowed - 1]), float(ordered[count - allowed])
