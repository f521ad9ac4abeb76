"""JPEG: the losses of the codec, computed directly; no file is written or read."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError
from medrobust.types import UInt8Batch

from .batches import Int32Array, check_batch
from .dispatch import compiled

LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Quantisation steps of brightness at quality 50, row by row (ITU-T T.81, table K.1)."""

CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
) + (99,) * 32  # fmt: skip
"""The same of colour (table K.2)."""

HALF = 1 << 15


def jpeg_compression(images: UInt8Batch, quality: int) -> UInt8Batch:
    """Compress every image as JPEG and decode it.

    Equal to Pillow's (libjpeg's accurate integer transform, half the resolution for colour, smooth
    enlargement), bit for bit, on every device: only the entropy coding, which loses nothing, is
    left out. One channel is compressed as brightness, which equals three equal channels.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        quality: 1 to 100, as libjpeg scales its tables.

    Returns:
        uint8 batch of the same shape.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        ConfigurationError: If there is no such quality.

    References:
        ITU-T T.81; arXiv:1903.12261, arXiv:2406.17536.

    Example:
        >>> flat = torch.full((1, 1, 28, 28), 128, dtype=torch.uint8)
        >>> jpeg_compression(flat, 10).unique().tolist()
        [128]
    """
    check_batch(images)
    steps = quantisation_steps(quality)
    fast = compiled(images, "jpeg.compress", steps)
    if fast is not None:
        return fast
    height, width = images.shape[2:]
    luma_steps, chroma_steps = torch.from_numpy(steps).to(images.device)
    if images.shape[1] == 1:
        return _quantise(images.int(), luma_steps)[:, :, :height, :width].to(torch.uint8)
    r, g, b = (images[:, c : c + 1].int() for c in range(3))
    luma = (19595 * r + 38470 * g + 7471 * b + HALF) >> 16
    cb = (32768 * b - 11059 * r - 21709 * g + 8421375) >> 16
    cr = (32768 * r - 27439 * g - 5329 * b + 8421375) >> 16
    luma = _quantise(luma, luma_steps)[:, :, :height, :width]
    cb, cr = (
        _enlarge(
            _quantise(_shrink(c), chroma_steps)[..., : -(-height // 2), : -(-width // 2)]
        )[..., :height, :width] - 128
        for c in (cb, cr)
    )  # fmt: skip
    red = luma + ((91881 * cr + HALF) >> 16)
    green = luma + ((HALF - 22554 * cb - 46802 * cr) >> 16)
    blue = luma + ((116130 * cb + HALF) >> 16)
    return torch.cat([red, green, blue], 1).clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=32)
def quantisation_steps(quality: int) -> Int32Array:
    """Scale the tables of quality 50: int32 (2, 64), luma and chroma, 1 to 255.

    Example:
        >>> quantisation_steps(50)[0, :4].tolist()  # the standard's own at quality 50
        [16, 11, 10, 16]
    """
    if isinstance(quality, bool) or quality not in range(1, 101):
        raise ConfigurationError(f"JPEG has no quality {quality!r}. Choose 1 to 100.")
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((np.array([LUMA, CHROMA], np.int32) * scale + 50) // 100).clip(1, 255)


def _extend(planes: Tensor, axis: int, side: int) -> Tensor:
    """Repeat the last row or column until the axis has `side` of them."""
    missing = side - planes.shape[axis]
    last = planes.narrow(axis, planes.shape[axis] - 1, 1)
    return torch.cat([planes, last.expand(*[missing if a == axis else -1 for a in range(4)])], axis)


def _quantise(planes: Tensor, steps: Tensor) -> Tensor:
    """Transform 8 x 8 blocks, round to multiples of `steps` (64,) and transform back."""
    from medrobust.corruptions.numba.jpeg import forward_cosine, inverse_cosine

    height, width = (-(-side // 8) * 8 for side in planes.shape[2:])
    planes = _extend(_extend(planes, 3, width), 2, height)
    blocks = planes.reshape(*planes.shape[:2], height // 8, 8, width // 8, 8).transpose(3, 4) - 128
    for axis, shift in ((-1, 11), (-2, 15)):
        blocks = _along(forward_cosine, blocks, axis, shift)
    steps = steps.reshape(8, 8)
    levels = (blocks.abs() + 4 * steps) // (8 * steps) * steps
    blocks = torch.where(blocks < 0, -levels, levels)
    for axis, shift in ((-2, 11), (-1, 18)):
        blocks = _along(inverse_cosine, blocks, axis, shift)
    blocks = (blocks + 128).clamp(0, 255)
    return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def _along(transform: Any, blocks: Tensor, axis: int, shift: int) -> Tensor:
    done = torch.stack(transform(*blocks.unbind(axis)), axis)
    return (done + (1 << (shift - 1))) >> shift


def _shrink(planes: Tensor) -> Tensor:
    """Average 2 x 2 values, rounding up and down in turns."""
    rows, columns = (-(-side // 2) for side in planes.shape[2:])
    planes = _extend(_extend(planes, 3, -(-columns // 8) * 16), 2, 2 * rows)
    pairs = planes[:, :, ::2] + planes[:, :, 1::2]
    total: Tensor = pairs[..., ::2] + pairs[..., 1::2]
    return (total + 1 + (torch.arange(total.shape[3], device=total.device) & 1)) >> 2


def _enlarge(planes: Tensor) -> Tensor:
    """Double both sides: 9, 3, 3 and 1 sixteenths of the nearest four."""
    padded = torch.cat([planes[:, :, :1], planes, planes[:, :, -1:]], 2)
    rows = torch.stack([3 * planes + padded[:, :, :-2], 3 * planes + padded[:, :, 2:]], 3)
    rows = rows.flatten(2, 3)
    padded = torch.cat([rows[..., :1], rows, rows[..., -1:]], 3)
    left, right = 3 * rows + padded[..., :-2] + 8, 3 * rows + padded[..., 2:] + 7
    return (torch.stack([left, right], 4) >> 4).flatten(3, 4)
