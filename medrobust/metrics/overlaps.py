"""How much two masks have in common, from counts of pixels: Dice and IoU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array, UInt8Array


def count_overlaps(
    truth: UInt8Array, predicted: UInt8Array, classes: int
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Count the pixels of each class but the first, the background.

    Args:
        truth: uint8 (H, W), the class of each pixel.
        predicted: uint8 (H, W), the same.
        classes: How many there are, the background among them.

    Returns:
        int64 (classes - 1,): in both masks, in the truth, in the prediction.

    Example:
        >>> truth, predicted = np.array([[0, 1, 1]], np.uint8), np.array([[1, 1, 2]], np.uint8)
        >>> [counts.tolist() for counts in count_overlaps(truth, predicted, 3)]
        [[1, 0], [2, 0], [2, 1]]
    """
    joint = np.bincount(
        (truth.astype(np.int64) * classes + predicted).ravel(), minlength=classes * classes
    ).reshape(classes, classes)
    return joint.diagonal()[1:].copy(), joint.sum(axis=1)[1:], joint.sum(axis=0)[1:]


def dice(both: NDArray[Any], truth: NDArray[Any], predicted: NDArray[Any]) -> Float64Array:
    """Return 2 |A ∩ B| / (|A| + |B|): 1 where both are empty, 0 where one of them is.

    Args:
        both: Pixels in both masks, of any shape.
        truth: Pixels of the one.
        predicted: Pixels of the other.

    Example:
        >>> dice(np.array([80, 0, 0]), np.array([100, 0, 5]), np.array([100, 0, 0])).tolist()
        [0.8, 1.0, 0.0]
    """
    return _share(2 * both, truth + predicted)


def iou(both: NDArray[Any], truth: NDArray[Any], predicted: NDArray[Any]) -> Float64Array:
    """Return |A ∩ B| / |A ∪ B|: 1 where both are empty, 0 where one of them is.

    Args: as those of `dice`.

    Example:
        >>> iou(np.array([80, 0]), np.array([100, 0]), np.array([100, 0])).round(4).tolist()
        [0.6667, 1.0]
    """
    return _share(both, truth + predicted - both)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Float64Array:
    share: Float64Array = np.where(whole > 0, part / np.maximum(whole, 1), 1.0)
    return share
