"""What a split of lesions is worth: detections of a grid, FROC over patients, fixed specificity."""

import math

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array

from .froc import CAMELYON16, Boxes, Froc, froc, hits
from .froc import Rule as Rule
from .intervals import Bounds

RESAMPLES = 400
"""Of patients, for the interval of a FROC score."""


def unsuppressed(windows: Boxes, scores: Float64Array, most_iou: float) -> Int64Array:
    """Choose windows of which no surer one of the same image covers as much: int64 rows, ascending.

    Args:
        windows: Those of all images.
        scores: Of each; of equal ones the first is surer.
        most_iou: A window is left out from this IoU on with a surer one that is kept; 1: none is.

    Example:
        >>> windows = Boxes(
        ...     np.array([[0.0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4]]), np.zeros(3, int)
        ... )
        >>> unsuppressed(windows, np.array([0.5, 0.9, 0.4]), 0.3).tolist()
        [1]
        >>> unsuppressed(windows, np.array([0.9, 0.5, 0.4]), 0.3).tolist()
        [0, 2]
    """
    if most_iou >= 1:
        return np.arange(len(scores), dtype=np.int64)
    kept: list[int] = []
    order = np.argsort(-scores, kind="stable")
    for image in np.unique(windows.images):
        own = order[windows.images[order] == image]
        shared = intersection_over_union(windows.corners[own])
        free = np.ones(len(own), dtype=np.bool_)
        for place in range(len(own)):
            if free[place]:
                kept.append(int(own[place]))
                free &= shared[place] < most_iou
    return np.sort(np.array(kept, np.int64))


def intersection_over_union(corners: Float64Array) -> Float64Array:
    """Return how much each pair of boxes shares, float64 (B, B).

    Example:
        >>> boxes = np.array([[0.0, 0, 4, 4], [2, 0, 6, 4]])
        >>> intersection_over_union(boxes).round(3).tolist()
        [[1.0, 0.333], [0.333, 1.0]]
    """
    left, top, right, bottom = corners.T
    wide = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    tall = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    shared = np.maximum(wide, 0) * np.maximum(tall, 0)
    area = (right - left) * (bottom - top)
    found: Float64Array = shared / (area[:, None] + area - shared)
    return found


def froc_with_interval(
    detections: Boxes,
    scores: Float64Array,
    lesions: Boxes,
    patients: Int64Array,
    *,
    rule: Rule,
    least_iou: float,
    seed: int = 0,
) -> tuple[Froc, Bounds]:
    """Return the curve, and the 95 % percentile interval of its score over patients drawn anew.

    Args:
        detections: As for `froc`.
        scores: As for `froc`.
        lesions: As for `froc`.
        patients: int64 (images,) from 0, of each image.
        rule: As for `froc`.
        least_iou: As for `froc`.
        seed: Of the draws.

    Raises:
        ConfigurationError: As `froc` raises it.
    """
    curve = froc(detections, scores, lesions, len(patients), rule=rule, least_iou=least_iou)
    found = hits(detections, scores, lesions, rule=rule, least_iou=least_iou)
    order = np.argsort(-scores, kind="stable")
    true, false = (found >= 0)[order], (found == -1)[order]
    ends = np.flatnonzero(np.r_[np.diff(scores[order]) < 0, True])
    of_detection, of_lesion = patients[detections.images][order], patients[lesions.images]
    draw = np.random.default_rng(seed)
    count, drawn = int(patients.max()) + 1, []
    for _ in range(RESAMPLES):
        weight = np.bincount(draw.integers(0, count, count), minlength=count).astype(np.float64)
        total = weight[of_lesion].sum()
        if not total:
            continue
        each = weight[of_detection]
        images = weight[patients].sum()
        sensitivity = np.r_[0.0, np.cumsum(each * true)[ends] / total]
        wrong = np.r_[0.0, np.cumsum(each * false)[ends] / images]
        last = np.flatnonzero(np.r_[np.diff(wrong) > 0, True])
        drawn.append(float(np.interp(CAMELYON16, wrong[last], sensitivity[last]).mean()))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return curve, (float(low), float(high))


def threshold_at(scores: Float64Array, positive: NDArray[np.bool_], specificity: float) -> float:
    """Return the smallest threshold at which that share of negatives stays below it.

    What reaches the threshold is called positive.

    Args:
        scores: Of clean validation lesions, float64 (N,).
        positive: Which of them are positive, bool (N,); one at least is not.
        specificity: Share of negatives, inside (0, 1].

    Returns:
        One of the scores, or infinity where only that keeps so many negatives below.

    Example:
        >>> scores = np.arange(10.0)
        >>> threshold_at(scores, scores > 8, 0.5), threshold_at(scores, scores > 8, 1.0)
        (5.0, 9.0)
    """
    negatives = np.sort(scores[~positive])
    needed = math.ceil(specificity * len(negatives) - 1e-9)
    above = np.unique(scores[scores > negatives[needed - 1]])
    return float(above[0]) if len(above) else math.inf
