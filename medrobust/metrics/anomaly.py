"""Numbers of a score that tells what is abnormal from what is normal."""

from typing import Any

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


def share_influence(hit: NDArray[Any], among: NDArray[np.bool_]) -> Float64Array:
    """Influence values of the share of some images that are hit, over all images.

    Args:
        hit: (N,), bool, or real for a mean over some images.
        among: bool (N,), the images that the share is over, at least one.

    Returns:
        float64 (N,) with mean 0, enlarged as an unbiased variance has it.

    Example:
        >>> hit, among = np.array([1, 0, 1, 1], bool), np.array([1, 1, 0, 0], bool)
        >>> share_influence(hit, among).round(3).tolist()
        [1.414, -1.414, 0.0, 0.0]
    """
    count = int(among.sum())
    share = float(np.where(among, hit, 0).sum()) / count
    unbiased = np.sqrt(count / (count - 1)) if count > 1 else 1.0
    return np.where(among, hit - share, 0.0) * (unbiased * len(hit) / count)
