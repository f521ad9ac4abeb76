"""Resampling of uint8 images that equals Pillow's to the last bit, batched and on any device."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from medrobust.base.numba_threads import empty, run_native_into
from medrobust.types import UInt8Batch

Interpolation: TypeAlias = Literal["bicubic", "bilinear"]

PRECISION = 22
"""Binary places of the weights: with 8 bits a pixel and overshoot, sums stay within 31 bits."""


def _bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _bicubic(x: float) -> float:
    """Return Keys' cubic kernel with a = -0.5, the choice of Pillow (torch's default is -0.75)."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    if x < 2:
        return ((-0.5 * x + 2.5) * x - 4) * x + 2
    return 0.0


_KERNELS: dict[Interpolation, tuple[Callable[[float], float], float]] = {
    "bicubic": (_bicubic, 2.0),
    "bilinear": (_bilinear, 1.0),
}


@lru_cache(maxsize=512)
def _taps(old: int, new: int, kind: Interpolation, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tabulate which input rows make an output row, and their integer weights.

    Returns:
        int64 and int32 (taps, new); without taps where the length fits.
    """
    if old == new:
        none = torch.zeros(0, new, dtype=torch.int64, device=device)
        return none, none.to(torch.int32)
    kernel, radius = _KERNELS[kind]
    scale = old / new
    stretch = max(scale, 1.0)
    support = radius * stretch
    width = math.ceil(support) * 2 + 1
    rows = torch.zeros(width, new, dtype=torch.int64)
    weights = torch.zeros(width, new, dtype=torch.int32)
    for out in range(new):
        center = (out + 0.5) * scale
        first = max(0, int(center - support + 0.5))
        last = min(old, int(center + support + 0.5))
        inverse = 1.0 / stretch
        raw = [kernel((row - center + 0.5) * inverse) for row in range(first, last)]
        total = sum(raw)
        for tap, value in enumerate(raw):
            scaled = value / total * (1 << PRECISION)
            rows[tap, out] = first + tap
            weights[tap, out] = int(scaled + math.copysign(0.5, scaled))
    used = int((weights != 0).any(dim=1).nonzero().max()) + 1
    return rows[:used].to(device), weights[:used].to(device)


def _resize_rows(images: UInt8Batch, new: int, kind: Interpolation) -> UInt8Batch:
    """Resample the rows (second to last axis) to `new` rows, rounded back to uint8."""
    count, channels, old, width = images.shape
    if old == new:
        return images
    wide = images.to(torch.int32)
    total = wide.new_full((count, channels, new, width), 1 << (PRECISION - 1))
    for rows, weights in zip(*_taps(old, new, kind, images.device), strict=True):
        total.addcmul_(wide.index_select(-2, rows), weights[:, None])
    return (total >> PRECISION).clamp_(0, 255).to(torch.uint8)


def resize(images: UInt8Batch, height: int, width: int, kind: Interpolation) -> UInt8Batch:
    """Resize with antialiasing exactly as `PIL.Image.resize`: along the rows first, then columns.

    That order is Pillow's up to version 12, on which the published models were made. Pillow 13
    takes the cheaper order, which is the same for square images; for others many pixels may differ
    by a grey level, and by more where the first pass clips. All sums are of integers, so the
    result is the same on every device; an axis whose length already fits is left alone.

    Args:
        images: uint8 batch of shape (N, C, H, W) on any device; not modified.
        height: Rows of the result.
        width: Columns of the result.
        kind: "bicubic" or "bilinear".

    Returns:
        uint8 batch of shape (N, C, height, width).
    """
    if images.device.type == "cpu":
        return _resize_native(images, height, width, kind)
    columns = images.transpose(-1, -2)
    narrow = _resize_rows(columns, width, kind).transpose(-1, -2)
    return _resize_rows(narrow, height, kind)


def _resize_native(images: UInt8Batch, height: int, width: int, kind: Interpolation) -> UInt8Batch:
    """As `resize`, on a CPU."""
    from .resample_numba import resample

    tall, wide = images.shape[-2:]
    tables = (*_taps(wide, width, kind, images.device), *_taps(tall, height, kind, images.device))
    out = empty((*images.shape[:2], height, width))
    return run_native_into(resample, images, out, *(table.numpy() for table in tables))
