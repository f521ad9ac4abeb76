"""Boxes that prompt a segmenter: drawn around what the true masks show. Knows numpy alone."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from zlib import crc32

import numpy as np

from medrobust.exceptions import unknown_name
from medrobust.types import Float32Array, Float64Array, UInt8Array

Box: TypeAlias = Literal["tight", "jittered", "whole"]
"""Around the mask; the same with each side moved outwards by a draw; the whole image."""

BOXES: tuple[Box, ...] = get_args(Box)

JITTER = 20 / 1024
"""Share of the image that a side moves outwards at most: MedSAM's 20 pixels of 1024."""


@dataclass(frozen=True, slots=True)
class BoxProtocol:
    """How boxes are drawn. A box tells where something is: numbers with one say so.

    Attributes:
        kind: "tight", "jittered" or "whole".
        seed: Of the jitter; each mask has a draw of its own.
    """

    kind: Box = "tight"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what does not exist.

        Raises:
            UnknownNameError: Naming what there is.
        """
        if self.kind not in BOXES:
            raise unknown_name("box of task=segmentation", self.kind, BOXES)


def boxes_of(masks: UInt8Array, classes: int, protocol: BoxProtocol) -> Float32Array:
    """Return a box around all pixels of each class in each image.

    Args:
        masks: uint8 (n, H, W), the class of each pixel.
        classes: How many there are, the background among them.
        protocol: How boxes are drawn.

    Returns:
        float32 (n, classes - 1, 4): left, top, right and bottom as shares of the image, NaN where
        an image has none of a class.

    Example:
        >>> mask = np.zeros((1, 4, 4), np.uint8)
        >>> mask[0, 1:3, 2:] = 1
        >>> boxes_of(mask, 2, BoxProtocol()).tolist()
        [[[0.5, 0.25, 1.0, 0.75]]]
    """
    boxes = np.full((len(masks), classes - 1, 4), np.nan)
    for n, mask in enumerate(masks):
        for kind in range(1, classes):
            rows, columns = np.nonzero(mask == kind)
            if len(rows):
                own = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                boxes[n, kind - 1] = own
    boxes /= np.array([masks.shape[2], masks.shape[1]] * 2)
    if protocol.kind == "whole":
        boxes[~np.isnan(boxes).any(axis=2)] = 0, 0, 1, 1
    elif protocol.kind == "jittered":
        boxes += np.stack([_jitter(mask, classes, protocol.seed) for mask in masks])
    inside: Float32Array = np.clip(boxes, 0, 1).astype(np.float32)
    return inside


def _jitter(mask: UInt8Array, classes: int, seed: int) -> Float64Array:
    """Draw how far the sides of an image's boxes move, by the mask alone."""
    random = np.random.default_rng([seed, crc32(mask.tobytes())])
    moved: Float64Array = random.uniform(0, JITTER, (classes - 1, 4)) * (-1, -1, 1, 1)
    return moved
