"""Artifacts of magnetic resonance that come from measuring less: thick slices, fewer lines."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array, Int64Array, UInt8Batch

from .artifacts import Choice
from .mri import along
from .planes import by_plane, check_planes


def anisotropy(images: UInt8Batch, factor: float, *, axis: Choice) -> UInt8Batch:
    """Measure one axis coarsely: pixels are taken `factor` apart and drawn as lines between them.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        factor: Spacing along the axis, in pixels, 1 or more.
        axis: Rows (0) or columns (1), (N, 1), or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.
        ConfigurationError: If the factor is below 1.

    References:
        TorchIO 1.2.1, `RandomAnisotropy`, on a slice.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 1, 28, 28), 90, dtype=torch.uint8)
        >>> anisotropy(grey, 3, axis=torch.tensor([[1]])).unique().tolist()
        [90]
    """
    check_planes(images)
    if factor < 1:
        raise ConfigurationError(f"factor={factor} is below 1. Give 1 or more pixels of spacing.")
    axes = along(axis)

    def coarse(plane: Float64Array, n: int) -> Float64Array:
        before, behind, weight = neighbours(plane.shape[axes[n]], factor)
        lines = plane if axes[n] == 0 else plane.T
        out = lines[before] + (lines[behind] - lines[before]) * weight[:, None]
        return out if axes[n] == 0 else out.T

    return by_plane(images, coarse)


def neighbours(side: int, factor: float) -> tuple[Int64Array, Int64Array, Float64Array]:
    """Give, for each pixel of a side, the measured ones around it and the weight of the second.

    Measured are floor(side / factor) pixels, those nearest to points `factor` apart about the
    middle; beyond the first and the last the value stays.

    Example:
        >>> before, behind, weight = neighbours(6, 2)
        >>> before.tolist(), behind.tolist(), weight.tolist()
        ([1, 1, 1, 3, 3, 5], [3, 3, 3, 5, 5, 5], [0.0, 0.25, 0.75, 0.25, 0.75, 0.0])
    """
    count = int(np.floor(side / factor))
    first = (side - 1 - (count - 1) * factor) / 2
    measured = np.floor(first + factor * np.arange(count) + 0.5).astype(np.int64)
    measured = measured.clip(0, side - 1)
    place = ((np.arange(side) - first) / factor).clip(0, count - 1)
    low = np.floor(place).astype(np.int64)
    return measured[low], measured[np.minimum(low + 1, count - 1)], place - low


def undersampling(
    images: UInt8Batch, acceleration: float, centre: float = 0.08, *, axis: Choice, lines: Choice
) -> UInt8Batch:
    """Leave out lines of k-space: what is missing counts as zero, and the magnitude is shown.

    Kept are the lines about the centre and as many others at random as make round(N / acceleration)
    of N.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        acceleration: Lines by lines that are measured, 1 or more.
        centre: Share of lines about the centre that are always measured.
        axis: Along which lines are left out, rows (0) or columns (1), (N, 1), or keyed draws.
        lines: A number a line, the smallest are kept, (N, longest side), or keyed draws.

    Returns:
        uint8 batch of the same shape, rounded.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        Zbontar et al., fastMRI, arXiv:1811.08839, masks at random with 8 % (4 %) of the centre for
        4 (8) times as fast; there the number of lines is random, too.

    Example:
        >>> import torch
        >>> grey, still = torch.full((1, 1, 28, 28), 90, dtype=torch.uint8), torch.tensor([[0]])
        >>> order = torch.arange(28)[None]
        >>> undersampling(grey, 4, axis=still, lines=order).unique().tolist()
        [90]
    """
    check_planes(images)
    longest = max(images.shape[2:])
    words = lines.cpu().long() if isinstance(lines, Tensor) else lines.words(longest)
    order, axes = words.reshape(len(images), -1).numpy(), along(axis)

    def measured(plane: Float64Array, n: int) -> Float64Array:
        side = plane.shape[axes[n]]
        kept = np.fft.ifftshift(kept_lines(order[n, :side], acceleration, centre))
        spectrum = np.fft.fft(plane, axis=axes[n])
        spectrum *= kept[:, None] if axes[n] == 0 else kept
        out: Float64Array = np.abs(np.fft.ifft(spectrum, axis=axes[n]))
        return out

    return by_plane(images, measured)


def kept_lines(order: Int64Array, acceleration: float, centre: float) -> NDArray[np.bool_]:
    """Choose lines of a centred k-space: bool (N,), from a number each of which the least are kept.

    Example:
        >>> kept_lines(np.array([9, 1, 5, 5, 5, 5, 2, 8]), 2, 0.25).astype(int).tolist()
        [0, 1, 0, 1, 1, 0, 1, 0]
    """
    side = len(order)
    middle = max(round(centre * side), 1)
    first = side // 2 - middle // 2
    ranked = order.copy()
    ranked[first : first + middle] = -1
    kept = np.zeros(side, bool)
    kept[np.argsort(ranked, kind="stable")[: max(round(side / acceleration), middle)]] = True
    return kept
