"""Example pictures of a cell: which rows are shown, and how they are written."""

import cv2
import numpy as np

from medrobust.datasets.image_set import ImageSet
from medrobust.types import UInt8Array

EXAMPLES = 2
"""Pictures kept a cell: the first image of the split and the middle one."""


def rows_to_show(image_set: ImageSet, *, asked: bool | None) -> frozenset[int]:
    """Return the rows of a split whose corrupted images are kept.

    Args:
        image_set: The split.
        asked: Whether pictures are kept; None: of phantoms and public sets only.
    """
    if not (image_set.origin != "own" if asked is None else asked):
        return frozenset()
    return frozenset(len(image_set) * part // EXAMPLES for part in range(EXAMPLES))


def png(image: UInt8Array) -> bytes:
    """Encode uint8 (C, H, W) as PNG."""
    channel_last = np.moveaxis(image, 0, -1)
    written, data = cv2.imencode(".png", channel_last[..., ::-1])
    assert written
    return data.tobytes()
