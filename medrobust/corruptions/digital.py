"""Digital kernels: loss of resolution."""

from functools import lru_cache
from math import ceil
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medrobust.base.numba_threads import empty
from medrobust.types import UInt8Batch

from .batches import Int32Array, check_batch
from .dispatch import compiled

RESAMPLE_BITS = 22
"""Fixed point of Pillow's 8-bit resampling."""


def pixelate(
    images: UInt8Batch, scale: float, upsample: Literal["nearest", "box"] = "nearest"
) -> UInt8Batch:
    """Shrink every image with a box filter and enlarge it again.

    Equal to Pillow's resize, bit for bit: BOX down to (int(H scale), int(W scale)), then NEAREST
    up as imagecorruptions does, or BOX up as the original ImageNet-C and MedMNIST-C do; the two
    differ where a pixel lies on the border of two blocks.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        scale: Relative size of the small image, below 1.
        upsample: "nearest" or "box".

    Returns:
        uint8 batch of the same shape.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    Example:
        >>> dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> dot[..., 14, 14] = 255
        >>> pixelate(dot, 0.5)[0, 0, 13:17, 14].tolist()
        [0, 64, 64, 0]
    """
    check_batch(images)
    height, width = images.shape[2:]
    small = _resize(images, int(height * scale), int(width * scale))
    if upsample == "box":
        return _resize(small, height, width)
    row, column = _nearest(small.shape[2], height), _nearest(small.shape[3], width)
    fast = compiled(small, "pointwise.pick", row, column, out=lambda: empty(images.shape))
    if fast is not None:
        return fast
    rows, columns = (torch.from_numpy(t).to(images.device).long() for t in (row, column))
    return small[:, :, rows][..., columns]


def _resize(images: UInt8Batch, height: int, width: int) -> UInt8Batch:
    column, column_weights = _box(images.shape[3], width)
    row, row_weights = _box(images.shape[2], height)
    tables, shape = (column, column_weights, row, row_weights), (*images.shape[:2], height, width)
    fast = compiled(images, "pointwise.resize", *tables, out=lambda: empty(shape))
    if fast is not None:
        return fast
    across = _weighted(images, column, column_weights)
    return _weighted(across.mT, row, row_weights).mT


def _weighted(images: Tensor, first: Int32Array, weights: Int32Array) -> Tensor:
    """Resample the last axis."""
    total = torch.full((1,), 1 << (RESAMPLE_BITS - 1), dtype=torch.int32, device=images.device)
    start = torch.from_numpy(first).to(images.device).long()
    for i in range(weights.shape[1]):
        total = (
            total
            + torch.from_numpy(weights[:, i].copy()).to(images.device)
            * images[..., start + i].int()
        )
    return (total >> RESAMPLE_BITS).to(torch.uint8)


@lru_cache(maxsize=64)
def _box(side: int, target: int) -> tuple[Int32Array, Int32Array]:
    """Give the first source pixel and the weights (2^22 in sum) of each pixel of the target.

    Windows and their order of rounding are Pillow's; windows are moved inwards at the far edge
    (with zero weights in front), so that all have one length.
    """
    scale = side / target
    support = 0.5 * max(scale, 1.0)
    length = ceil(support) * 2 + 1
    first = np.zeros(target, np.int32)
    weights = np.zeros((target, length), np.int32)
    for x in range(target):
        centre = (x + 0.5) * scale
        low = max(int(centre - support + 0.5), 0)
        high = min(int(centre + support + 0.5), side)
        place = (np.arange(low, high) - centre + 0.5) / max(scale, 1.0)
        inside = ((place > -0.5) & (place <= 0.5)).astype(np.float64)
        first[x] = max(min(low, side - length), 0)
        at = low - first[x]
        weights[x, at : at + high - low] = inside / inside.sum() * (1 << RESAMPLE_BITS) + 0.5
    used = np.flatnonzero(weights.any(axis=0))[-1] + 1
    return first, np.ascontiguousarray(weights[:, :used])


@lru_cache(maxsize=64)
def _nearest(side: int, target: int) -> Int32Array:
    """Give the source pixel of each pixel of the target, stepping in float64 as Pillow does."""
    scale = side / target
    steps = np.full(target, scale)
    steps[0] = 0.5 * scale
    return np.add.accumulate(steps).astype(np.int32)
