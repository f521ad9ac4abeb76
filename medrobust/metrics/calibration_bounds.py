"""Intervals of calibration errors: they hold the value without what few images add to it."""

from math import sqrt

import numpy as np

from medrobust.types import Float64Array, Int64Array

from .calibration import CalibrationError
from .intervals import Bounds, mean_interval
from .variances import variance_of_mean

FEWEST_CALIBRATED = 150
"""Images (or patients) that the interval of a calibration error needs: ten a bin."""

FEWEST_RARE = 5
"""Wrong answers, and right ones, from which bounds of means of chances hold."""


def rare_answers(predicted: Int64Array, labels: Int64Array, groups: Int64Array | None) -> int:
    """Count the images, or patients, with wrong answers, or those with right ones: the fewer.

    Args:
        predicted: int64 (N,), or (N, L), where an image may have both.
        labels: The same.
        groups: Patient of each image, int64 (N,); None where each stands alone.

    Example:
        >>> labels = np.zeros(6, np.int64)
        >>> predicted = np.array([1, 1, 0, 0, 0, 0])
        >>> rare_answers(predicted, labels, None)
        2
        >>> rare_answers(predicted, labels, np.array([0, 0, 1, 1, 2, 2]))
        1
    """
    right = (predicted == labels).reshape(len(labels), -1)
    sides = ((~right).any(axis=1), right.any(axis=1))
    if groups is None:
        return min(int(np.count_nonzero(side)) for side in sides)
    return min(int(np.count_nonzero(np.bincount(groups[side]))) for side in sides)


def calibration_bounds(found: CalibrationError, groups: Int64Array | None = None) -> Bounds | None:
    """Return the 95 % interval of a calibration error; None where too few images are there.

    It takes 150 images or patients, not all alike. It is that of a mean, with the bins held fixed;
    its lower end less what chance adds to the error, which is too large on few images.
    docs/metrics.md has its coverage in simulations, beside that of a bootstrap, which holds the
    true error 23 to 95 times of 100.

    Args:
        found: From `calibration_errors`.
        groups: Patient of each image, int64 (N,); None where each stands alone.

    Example:
        >>> few = CalibrationError(0.1, np.zeros(20), 0.05)
        >>> calibration_bounds(few) is None
        True
    """
    units = len(found.influence) if groups is None else np.count_nonzero(np.bincount(groups))
    low, high = mean_interval(found.influence, groups, limits=(0.0, 1.0), value=found.value)
    if units < FEWEST_CALIBRATED or low == high:
        return None
    return max(0.0, low - found.excess * sqrt(likeness(found.influence, groups))), high


def likeness(influence: Float64Array, groups: Int64Array | None) -> float:
    """Return the variance of a mean over what it would be if images stood alone."""
    if groups is None:
        return 1.0
    alone = variance_of_mean(influence)[0]
    return variance_of_mean(influence, groups)[0] / alone if alone > 0 else 1.0
