"""FROC: how many lesions are found, for how many false positives an image.

    sensitivity(t) = lesions hit by a detection with a score >= t / lesions
    FP(t)          = detections with a score >= t that hit no lesion / images

A detection hits a lesion if its centre lies in the lesion's box ("centre", CAMELYON16), or if the
boxes overlap by an IoU of at least a stated number ("iou"). Detections are taken from the surest
on; each hits the best of the lesions in reach that is not hit yet. One detection a lesion counts:
those that reach only lesions which are hit already are ignored, and are no false positives.

The FROC score is the mean sensitivity at 1/4, 1/2, 1, 2, 4 and 8 false positives an image, linear
between points (MONAI's `compute_froc_score`; LUNA16 begins at 1/8). Outside the curve the nearest
point counts, which flatters a detector that says little: `Froc.range` tells how far the curve goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array, Int64Array

Rule: TypeAlias = Literal["centre", "iou"]

CAMELYON16 = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LUNA16 = (0.125, *CAMELYON16)
"""False positives an image at which the sensitivity is averaged."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of several images.

    Attributes:
        corners: Left, top, right, bottom in pixels, float64 (B, 4), right and bottom outside.
        images: Which image each lies in, int64 (B,), from 0 on.
    """

    corners: Float64Array
    images: Int64Array

    def __post_init__(self) -> None:
        """Refuse boxes that hold no pixel.

        Raises:
            ConfigurationError: Naming the first.
        """
        if self.corners.shape != (len(self.images), 4):
            raise ConfigurationError(
                f"boxes need four numbers each (left, top, right, bottom) and an image, got "
                f"{self.corners.shape} and {self.images.shape}."
            )
        left, top, right, bottom = self.corners.T
        hollow = np.flatnonzero(~((right > left) & (bottom > top)))
        if len(hollow):
            raise ConfigurationError(
                f"box {int(hollow[0])} ({', '.join(f'{v:g}' for v in self.corners[hollow[0]])}) is "
                f"empty: its right and bottom must lie beyond its left and top."
            )


@dataclass(frozen=True, slots=True)
class Froc:
    """The curve, and the mean sensitivity at stated numbers of false positives.

    Attributes:
        thresholds: Scores, falling, float64 (T,).
        false_positives: An image, float64 (T,), rising.
        sensitivity: float64 (T,), rising.
        score: Mean sensitivity at the asked numbers of false positives.
        range: Least and most false positives an image that the curve reaches.
    """

    thresholds: Float64Array
    false_positives: Float64Array
    sensitivity: Float64Array
    score: float
    range: tuple[float, float]


def hits(
    detections: Boxes, scores: Float64Array, lesions: Boxes, *, rule: Rule, least_iou: float = 0.5
) -> Int64Array:
    """Say what each detection hits.

    Args:
        detections: Boxes that a model gave.
        scores: Of each, float64 (D,); of equal ones the first is surer.
        lesions: Boxes of the truth.
        rule: "centre" or "iou".
        least_iou: For "iou": the least that counts.

    Returns:
        The lesion of each detection, int64 (D,); -1: none (a false positive); -2: one that a surer
        detection has hit (ignored).

    Raises:
        ConfigurationError: If there is no such rule, or scores are no numbers or not one each.
    """
    if rule not in get_args(Rule):
        raise ConfigurationError(f"froc rule {rule!r} is none of {get_args(Rule)}.")
    if len(scores) != len(detections.images) or not np.isfinite(scores).all():
        raise ConfigurationError("every detection needs one score, which is a finite number.")
    if rule == "iou" and not 0 < least_iou <= 1:
        raise ConfigurationError(f"froc least_iou={least_iou} must be above 0 and at most 1.")
    found = np.full(len(scores), -1, np.int64)
    taken = np.zeros(len(lesions.images), dtype=np.bool_)
    for number in np.argsort(-scores, kind="stable"):
        reach = _closeness(detections, int(number), lesions, rule, least_iou)
        if not (reach > 0).any():
            continue
        free = np.where(taken, 0.0, reach)
        best = int(free.argmax())
        found[number] = best if free[best] > 0 else -2
        taken[best] |= free[best] > 0
    return found


def froc(
    detections: Boxes,
    scores: Float64Array,
    lesions: Boxes,
    images: int,
    *,
    rule: Rule,
    least_iou: float = 0.5,
    at: Sequence[float] = CAMELYON16,
) -> Froc:
    """Return the curve over all thresholds, and its score.

    Args:
        detections: As for `hits`.
        scores: As for `hits`.
        lesions: As for `hits`.
        images: How many images there are, those without a lesion or a detection among them.
        rule: As for `hits`.
        least_iou: As for `hits`.
        at: False positives an image at which the sensitivity is averaged.

    Raises:
        ConfigurationError: If there is no lesion, no image, or a box of an image that there is not.

    Example:
        >>> lesions = Boxes(np.array([[0.0, 0, 4, 4]]), np.array([0]))
        >>> found = Boxes(np.array([[1.0, 1, 3, 3], [6, 6, 9, 9]]), np.array([0, 1]))
        >>> curve = froc(found, np.array([0.9, 0.4]), lesions, 2, rule="centre")
        >>> curve.sensitivity.tolist(), curve.false_positives.tolist(), curve.range
        ([1.0, 1.0], [0.0, 0.5], (0.0, 0.5))
    """
    if not len(lesions.images):
        raise ConfigurationError("FROC needs a lesion, and no image has one.")
    for boxes in (detections, lesions):
        if len(boxes.images) and not 0 <= boxes.images.min() <= boxes.images.max() < images:
            raise ConfigurationError(f"a box lies in an image beyond the {images} that there are.")
    hit = hits(detections, scores, lesions, rule=rule, least_iou=least_iou)
    thresholds = np.unique(scores)[::-1]
    true, false = np.sort(scores[hit >= 0]), np.sort(scores[hit == -1])
    sensitivity = _at_least(true, thresholds) / len(lesions.images)
    false_positives = _at_least(false, thresholds) / images
    curve = np.r_[0.0, false_positives], np.r_[0.0, sensitivity]
    reached = _rightmost(*curve, at) if len(scores) else np.zeros(len(at))
    span = (float(false_positives.min()), float(false_positives.max())) if len(scores) else (0, 0)
    return Froc(
        thresholds.astype(np.float64),
        false_positives,
        sensitivity,
        float(reached.mean()),
        (float(span[0]), float(span[1])),
    )


def _at_least(sorted_scores: Float64Array, thresholds: Float64Array) -> Float64Array:
    """Count scores that reach each threshold."""
    counts: Float64Array = (
        len(sorted_scores) - np.searchsorted(sorted_scores, thresholds, side="left")
    ).astype(np.float64)
    return counts


def _rightmost(
    false_positives: Float64Array, sensitivity: Float64Array, at: Sequence[float]
) -> Float64Array:
    """Interpolate the sensitivity; of points with equal false positives the best counts."""
    last = np.flatnonzero(np.r_[np.diff(false_positives) > 0, True])
    values: Float64Array = np.interp(np.asarray(at), false_positives[last], sensitivity[last])
    return values


def _closeness(
    detections: Boxes, number: int, lesions: Boxes, rule: Rule, least_iou: float
) -> NDArray[np.float64]:
    """Return how well a detection fits each lesion, float64 (L,); 0 where it does not reach it."""
    box, same = detections.corners[number], lesions.images == detections.images[number]
    left, top, right, bottom = lesions.corners.T
    area = (right - left) * (bottom - top)
    if rule == "centre":
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        inside = same & (left <= x) & (x < right) & (top <= y) & (y < bottom)
        return np.where(inside, 1 / area, 0.0)  # of several the smallest
    wide = np.minimum(right, box[2]) - np.maximum(left, box[0])
    tall = np.minimum(bottom, box[3]) - np.maximum(top, box[1])
    shared = np.maximum(wide, 0) * np.maximum(tall, 0)
    iou = shared / (area + (box[2] - box[0]) * (box[3] - box[1]) - shared)
    return np.where(same & (iou >= least_iou), iou, 0.0)
