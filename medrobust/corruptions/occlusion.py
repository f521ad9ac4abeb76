"""Occlusion: patches of a grid are covered, more of them at each severity."""

from functools import lru_cache
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws
from medrobust.types import Int64Array, UInt8Batch

from .artifacts import Choice
from .batches import check_batch
from .dispatch import painted

Fill: TypeAlias = Literal["black", "mean", "noise"]

FILLS: tuple[Fill, ...] = get_args(Fill)


def occlusion(
    images: UInt8Batch,
    share: float,
    grid: int = 14,
    fill: Fill = "black",
    *,
    order: Choice,
    noise: Choice,
) -> UInt8Batch:
    """Cover a share of the patches of a grid.

    Exactly round(share x patches) are covered, half to even: the first ones of the order, so that
    a larger share covers what a smaller one covers, and more.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        share: Of the patches, 0 to 1.
        grid: Patches a side: pixel y lies in patch y x grid div H, so that 14 are patches of 16
            pixels in images of 224.
        fill: "black"; "mean", of the image and channel, rounded; "noise", 0 to 255 equally likely
            and the same in all channels.
        order: Patches, row after row from 0, as they are covered, (N, grid x grid), or keyed
            draws: patches sorted by 32-bit words.
        noise: Values, (N, H, W), or keyed draws: a byte a pixel, the lowest of a word first.

    Returns:
        uint8 batch of the same shape.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        ConfigurationError: If there is no such fill or share, or the grid is finer than the pixels.

    References:
        The occlusion of arXiv:2501.09134, whose patch size, shares and fill could not be read; the
        grid is that of a vision transformer with patches of 16 pixels.

    Example:
        >>> white = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)
        >>> order = torch.tensor([[3, 0, 1, 2]])
        >>> covered = occlusion(white, 0.25, 2, order=order, noise=order)
        >>> covered[0, 0, 13:15, 13:15].tolist()
        [[255, 255], [255, 0]]
    """
    check_batch(images)
    height, width = images.shape[2:]
    _check(share, grid, fill, min(height, width))
    covered = covered_patches(share, grid, order)
    tables = (covered, patch_of(height, grid), patch_of(width, grid))
    if fill == "noise":
        return _with_noise(images, tables, noise)
    values = torch.zeros(images.shape[:2], dtype=torch.uint8, device=images.device)
    if fill == "mean":
        pixels = height * width
        sums = images.sum((2, 3), dtype=torch.int64)
        values = ((2 * sums + pixels) // (2 * pixels)).to(torch.uint8)
    fast = painted(images, "occlusion.fill_patches", *tables, values)
    if fast is not None:
        return fast
    return torch.where(_under(images, tables), values[:, :, None, None], images)


def _with_noise(
    images: UInt8Batch, tables: tuple[Tensor, Int64Array, Int64Array], noise: Choice
) -> UInt8Batch:
    fast = painted(images, "occlusion.fill_with_noise", *tables, draws=noise)
    if fast is not None:
        return fast
    count, _, height, width = images.shape
    if isinstance(noise, Draws):
        words = noise.words(-(-height * width // 4), images.device)
        parts = [words >> shift & 0xFF for shift in (0, 8, 16, 24)]
        noise = torch.stack(parts, dim=2).reshape(count, -1)[:, : height * width]
    values = noise.to(images.device, torch.uint8).reshape(count, 1, height, width)
    return torch.where(_under(images, tables), values, images)


def covered_patches(share: float, grid: int, order: Choice) -> Tensor:
    """Say which patches are covered: uint8 (N, grid x grid) of zeros and ones, on the CPU.

    Example:
        >>> covered_patches(0.5, 2, torch.tensor([[3, 0, 1, 2]])).tolist()
        [[1, 0, 0, 1]]
    """
    patches = grid * grid
    if isinstance(order, Draws):
        from medrobust.corruptions.numba.philox import make_words

        words = torch.empty(len(order.index), patches, dtype=torch.int64)
        make_words(words.numpy(), order.index.numpy(), order.number, *order.key)
        order = words.argsort(dim=1, stable=True)
    first = order.cpu().long().reshape(len(order), patches)[:, : round(share * patches)]
    covered = torch.zeros(len(order), patches, dtype=torch.uint8)
    return covered.scatter_(1, first, 1)


@lru_cache(maxsize=64)
def patch_of(side: int, grid: int) -> Int64Array:
    """Give the patch of each pixel of a side: int64 (side,), from 0 to grid - 1.

    Example:
        >>> patch_of(5, 2).tolist()
        [0, 0, 0, 1, 1]
    """
    return np.arange(side, dtype=np.int64) * grid // side


def _under(images: UInt8Batch, tables: tuple[Tensor, Int64Array, Int64Array]) -> Tensor:
    """Say which pixels lie under a covered patch: bool (N, 1, H, W)."""
    covered, rows, columns = tables
    grid = int(rows[-1]) + 1
    patch = torch.from_numpy(rows[:, None] * grid + columns).to(images.device)
    return covered.to(images.device)[:, patch][:, None] > 0


def _check(share: float, grid: int, fill: str, side: int) -> None:
    if fill not in FILLS:
        raise ConfigurationError(f"fill={fill!r} is unknown. Choose {', '.join(FILLS)}.")
    if not 0 <= share <= 1:
        raise ConfigurationError(f"share={share!r} is no share of patches. Give 0 to 1.")
    if not 1 <= grid <= side:
        raise ConfigurationError(
            f"a grid of {grid} patches a side does not fit images of {side} pixels: give 1 to "
            f"{side}."
        )
