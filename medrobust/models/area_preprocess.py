"""Preprocessing by areas, as OpenCV resizes: the longest side, black margins, centre cropped."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medrobust.types import PixelBatch, UInt8Batch

from .preprocess import Fit, Preprocess, check_images, greyed

BITS = 11
"""Binary places of OpenCV's weights of uint8 images."""


@dataclass(frozen=True, slots=True)
class AreaPreprocess:
    """Turn grey, resize the longest side, centre on a black square, crop the centre, normalise.

    Resizing is OpenCV's `INTER_AREA` to the bit: means of areas where an image shrinks, and its own
    kind of linear interpolation where it grows. Grey values of colour images are Pillow's.

    Attributes:
        size: Side of the crop in pixels.
        resize: Length of the longest side before.
        mean: Of the three channels, on the scale of [0, 1].
        std: Of the three channels, on the scale of [0, 1].
    """

    size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    fit: ClassVar[Fit] = "shortest"  # where the crop of a square image lies

    def __call__(self, images: UInt8Batch) -> PixelBatch:
        """Return float32 pixels (N, 3, size, size) on the device of `images`.

        Args:
            images: uint8 batch (N, C, H, W), C = 1 or 3; not modified.

        Raises:
            InvalidImageError: If `images` is anything else.
        """
        check_images(images)
        height, width = images.shape[-2:]
        share = self.resize / max(height, width)
        longest = max(height, width)
        tall, wide = (
            self.resize if side == longest else int(side * share) for side in (height, width)
        )
        sized = resize_by_area(greyed(images), tall, wide)
        left, top = (self.resize - wide) // 2, (self.resize - tall) // 2
        margins = (left, self.resize - wide - left, top, self.resize - tall - top)
        start = round((self.resize - self.size) / 2)
        kept = functional.pad(sized, margins)[..., start : start + self.size, :]
        return Preprocess(None, self.mean, self.std)(
            kept[..., start : start + self.size].contiguous()
        )

    def description(self) -> dict[str, Any]:
        """Return the plain values that decide the output."""
        return {
            "size": self.size,
            "resize": self.resize,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": "area",
            "fit": "longest side, black margins, centre",
            "grey": True,
        }


def resize_by_area(images: UInt8Batch, height: int, width: int) -> UInt8Batch:
    """Resize as `cv2.resize` with `INTER_AREA` does.

    Args:
        images: uint8 batch (N, C, H, W) on any device; not modified.
        height: Rows of the result, at least 1.
        width: Columns of the result, at least 1.

    Returns:
        uint8 (N, C, height, width).

    References:
        opencv/opencv: `modules/imgproc/src/resize.cpp`.
    """
    old = images.shape[-2:]
    if old == (height, width):
        return images
    if old[0] < height or old[1] < width:
        return _grown(images, height, width)
    if old[0] % height == 0 == old[1] % width:
        return _mean_of_blocks(images, old[0] // height, old[1] // width)
    narrow = _shrunk(images.float().transpose(-1, -2), width).transpose(-1, -2)
    return _shrunk(narrow, height).round().clamp(0, 255).to(torch.uint8)


def _mean_of_blocks(images: UInt8Batch, tall: int, wide: int) -> UInt8Batch:
    """Average blocks of whole pixels."""
    count, channels, height, width = images.shape
    blocks = images.view(count, channels, height // tall, tall, width // wide, wide)
    total = blocks.int().sum(dim=(3, 5))
    if tall == wide == 2:
        return ((total + 2) >> 2).to(torch.uint8)
    share = torch.tensor(1 / (tall * wide), dtype=torch.float32)
    return (total.float() * share.to(images.device)).round().to(torch.uint8)


@lru_cache(maxsize=64)
def _areas(old: int, new: int) -> tuple[Tensor, Tensor]:
    """Tabulate which rows an output row covers, and how far: int64 and float32 (taps, new)."""
    scale = old / new
    taps = int(np.ceil(scale)) + 1
    rows = torch.zeros(taps, new, dtype=torch.int64)
    weights = torch.zeros(taps, new, dtype=torch.float32)
    for out in range(new):
        first, last = out * scale, out * scale + scale
        cell = min(scale, old - first)
        start, end = int(np.ceil(first)), min(int(np.floor(last)), old - 1)
        start = min(start, end)
        covered = [(row, 1.0) for row in range(start, end)]
        if start - first > 1e-3:
            covered.insert(0, (start - 1, start - first))
        if last - end > 1e-3:
            covered.append((end, min(last - end, 1.0, cell)))
        for tap, (row, share) in enumerate(covered):
            rows[tap, out] = row
            weights[tap, out] = share / cell
    return rows, weights


def _shrunk(values: Tensor, new: int) -> Tensor:
    """Average the rows (second to last axis) by area, float32, tap after tap."""
    if values.shape[-2] == new:
        return values
    total = torch.zeros((), device=values.device)
    for rows, weights in zip(*_areas(values.shape[-2], new), strict=True):
        taken = values.index_select(-2, rows.to(values.device))
        total = total + taken * weights[:, None].to(values.device)
    return total


def _grown(images: UInt8Batch, height: int, width: int) -> UInt8Batch:
    """Interpolate between two columns, then two rows, in integers."""
    wide = images.to(torch.int32)
    left, right, before, after = _steps(images.shape[-1], width, images.device)
    across = wide[..., left] * before + wide[..., right] * after
    upper, lower, above, below = _steps(images.shape[-2], height, images.device)
    first = (above[:, None] * (across[..., upper, :] >> 4)) >> 16
    second = (below[:, None] * (across[..., lower, :] >> 4)) >> 16
    return ((first + second + 2) >> 2).clamp(0, 255).to(torch.uint8)


def _steps(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return for each output the two inputs it lies between, and their weights of 2048."""
    places = np.arange(new)
    start = np.floor(places * (old / new)).astype(np.int64)
    part = ((places + 1) - (start + 1) * (new / old)).astype(np.float32)
    part = np.where(part <= 0, np.float32(0), part - np.floor(part))
    part[start >= old - 1] = 0
    start = np.minimum(start, old - 1)
    one = np.float32(1 << BITS)
    weights = [np.rint(share * one).astype(np.int32) for share in (1 - part, part)]
    tables = (start, np.minimum(start + 1, old - 1), *weights)
    first, second, before, after = (torch.from_numpy(table).to(device) for table in tables)
    return first, second, before, after
