"""How often answers of one confidence are right: the points of a reliability diagram."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medrobust.types import Float64Array, Int64Array

from .calibration import BINS, equal_width
from .estimates import Estimate, with_bounds
from .intervals import share_interval


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """Answers whose confidence lies in one bin.

    Attributes:
        confidence: Their mean confidence.
        right: The share of them that is right, with its interval.
        count: How many answers.
    """

    confidence: float
    right: Estimate
    count: int


def reliability_points(
    confidence: Float64Array,
    right: Float64Array,
    groups: Int64Array | None = None,
    *,
    bins: int = BINS,
) -> list[ReliabilityPoint]:
    """Sort answers into the bins of equal width that the ECE has; empty ones are left out.

    Args:
        confidence: float64 (N,) in [0, 1], as `confidences` gives it.
        right: float64 (N,), 1 where the answer came true.
        groups: int64 (N,), what belongs together: an image under several corruptions, a patient.
        bins: How many.

    References:
        DeGroot and Fienberg, The Statistician 32 (1983) 12; Guo et al., arXiv:1706.04599.

    Example:
        >>> found = reliability_points(np.array([0.51, 0.52, 0.99]), np.array([0.0, 1.0, 1.0]))
        >>> [(round(one.confidence, 3), one.right.value, one.count) for one in found]
        [(0.515, 0.5, 2), (0.99, 1.0, 1)]
    """
    place = equal_width(confidence, bins)
    return [_bin(confidence, right, groups, np.flatnonzero(place == k)) for k in np.unique(place)]


def _bin(
    confidence: Float64Array, right: Float64Array, groups: Int64Array | None, chosen: Int64Array
) -> ReliabilityPoint:
    own = None
    if groups is not None:
        own = np.unique(groups[chosen], return_inverse=True)[1].reshape(-1).astype(np.int64)
    bounds = share_interval(right[chosen], own)
    share = with_bounds(float(right[chosen].mean()), bounds)
    return ReliabilityPoint(float(confidence[chosen].mean()), share, len(chosen))


def calibration_gap(bins: Sequence[ReliabilityPoint]) -> float:
    """Return the ECE: the mean over answers of how far a bin's confidence is from its share.

    Example:
        >>> calibration_gap([ReliabilityPoint(0.75, Estimate(0.5), 2)])
        0.25
    """
    total = sum(one.count for one in bins)
    gaps = (abs(one.confidence - (one.right.value or 0.0)) * one.count for one in bins)
    return sum(gaps) / total
