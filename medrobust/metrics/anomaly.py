"""Numbers of a score that tells what is abnormal from what is normal."""

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array

SENSITIVITY = 0.95
"""That a threshold has on clean validation images; what it flags elsewhere is judged by it."""


def f1_max(scores: Float64Array, abnormal: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Return the largest F1 of all thresholds, and the highest threshold that has it.

    The threshold is chosen on the images that it is judged on: the number says what the order of
    the scores allows, not what anybody would reach.

    Args:
        scores: float64 (N,), more where an image is less normal.
        abnormal: bool (N,).

    Returns:
        None without abnormal images or without normal ones.

    Example:
        >>> scores, abnormal = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1], bool)
        >>> value, threshold = f1_max(scores, abnormal)
        >>> round(value, 3), threshold
        (0.8, 0.35)
    """
    positives = int(abnormal.sum())
    if positives in (0, len(abnormal)):
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.r_[np.flatnonzero(np.diff(ordered)), len(ordered) - 1]
    hits = np.cumsum(abnormal[order])[last]
    f1 = 2 * hits / (last + 1 + positives)
    best = int(np.argmax(f1))
    return float(f1[best]), float(ordered[last[best]])


def f1_influence(
    scores: Float64Array, abnormal: NDArray[np.bool_], threshold: float
) -> Float64Array:
    """Influence values of the F1 of a threshold, float64 (N,) with mean 0.

    Example:
        >>> scores, abnormal = np.array([0.1, 0.4, 0.8]), np.array([0, 1, 1], bool)
        >>> f1_influence(scores, abnormal, 0.5).round(3).tolist()
        [0.0, -0.667, 0.667]
    """
    called = scores >= threshold
    weight = float(called.sum() + abnormal.sum())
    f1 = 2 * float((called & abnormal).sum()) / weight
    found: Float64Array = 2.0 * (called & abnormal) - f1 * (called.astype(float) + abnormal)
    return found * (len(scores) / weight)
