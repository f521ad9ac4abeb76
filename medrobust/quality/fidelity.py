"""Mean squared error, PSNR, and visual information fidelity."""

import cv2
import numpy as np
import torch
from torch import Tensor

from medrobust.types import UInt8Array, UInt8Batch

from .compiled import every_second, informations
from .windows import compiled_pair, gaussian, inside

VIF_SCALES = 4

VIF_NOISE = 2.0
"""Variance of the noise of the visual channel."""

TINY = 1e-10


def mse(clean: UInt8Batch, images: UInt8Batch) -> Tensor:
    """Return the mean squared difference over pixels and channels, float64 (N,)."""
    if images.device.type == "cpu":
        pairs = zip(_rows(clean), _rows(images), strict=True)
        sums = [round(cv2.norm(a, b, cv2.NORM_L2SQR)) for a, b in pairs]  # a whole number
        return torch.tensor(sums, dtype=torch.float64) / images[0].numel()
    difference = clean.int() - images.int()
    return (difference * difference).flatten(1).sum(1).double() / difference[0].numel()


def _rows(images: UInt8Batch) -> UInt8Array:
    """Lay the channels of each image below one another: uint8 (N, C * H, W)."""
    rows: UInt8Array = images.contiguous().flatten(1, 2).numpy()
    return rows


def psnr(clean: UInt8Batch, images: UInt8Batch) -> Tensor:
    """Return 10 log10(255² / MSE) in dB, float64 (N,); infinite where nothing differs.

    Example:
        >>> dark = torch.full((1, 1, 4, 4), 100, dtype=torch.uint8)
        >>> round(psnr(dark, dark + 20).item(), 4)
        22.1102
    """
    return 10 * torch.log10(255.0**2 / mse(clean, images))


def vif(clean: Tensor, planes: Tensor) -> Tensor:
    """Return the visual information fidelity in the pixel domain.

    Four scales of Gaussian windows of size 17, 9, 5, 3 and sigma size / 5, each before it blurred
    with its window and every second pixel taken; sums are over places inside the image.

    Args:
        clean: float32 (N, H, W) from 0 to 255, 41 pixels a side or more.
        planes: As `clean`.

    Returns:
        float64 (N,): 1 for the clean image itself.

    References:
        Sheikh and Bovik, Image information and visual quality, 2006.
    """
    if planes.device.type == "cpu":
        kept, whole = vif_sums(clean, planes)
    else:
        kept, whole = vif_sums_of_maps(clean, planes)
    return (kept + TINY) / (whole + TINY)


def vif_sums(clean: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return what degraded and what clean planes tell over all scales, on the CPU."""
    sums = np.zeros((len(clean), 2))
    pair = compiled_pair(clean, planes)
    for scale in range(VIF_SCALES):
        size = 2 ** (VIF_SCALES - scale) + 1
        taps = np.array(gaussian(size, size / 5), np.float32)
        if scale:
            height, width = ((side - size) // 2 + 1 for side in pair[0].shape[1:])
            smaller = [np.empty((len(clean), height, width), np.float32) for _ in pair]
            for plane, out in zip(pair, smaller, strict=True):
                every_second(plane, taps, out)
            pair = smaller[0], smaller[1]
        informations(*pair, taps, np.float32(VIF_NOISE), np.float32(TINY), sums)
    kept, whole = torch.from_numpy(sums).unbind(1)
    return kept, whole


def vif_sums_of_maps(clean: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same on any device."""
    kept = torch.zeros(len(clean), dtype=torch.float64, device=clean.device)
    whole = torch.zeros_like(kept)
    x, y = clean, planes
    for scale in range(VIF_SCALES):
        size = 2 ** (VIF_SCALES - scale) + 1
        window = gaussian(size, size / 5)
        if scale:
            x, y = (inside(p, window)[:, ::2, ::2].contiguous() for p in (x, y))
        at_scale = _information(x, y, window)
        kept, whole = kept + at_scale[0], whole + at_scale[1]
    return kept, whole


def _information(x: Tensor, y: Tensor, window: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return what a degraded and what a clean plane tell at one scale, float64 (N,) each."""
    mean_x, mean_y = inside(x, window), inside(y, window)
    var_x = (inside(x * x, window) - mean_x**2).clamp_min(0)
    var_y = (inside(y * y, window) - mean_y**2).clamp_min(0)
    shared = inside(x * y, window) - mean_x * mean_y
    gain = shared / (var_x + TINY)
    rest = var_y - gain * shared
    flat_x, flat_y = var_x < TINY, var_y < TINY
    gain = gain.masked_fill(flat_x | flat_y, 0.0)
    rest = torch.where(flat_x, var_y, rest)
    rest = rest.masked_fill(flat_y, 0.0)
    var_x = var_x.masked_fill(flat_x, 0.0)
    inverse = gain < 0
    rest = torch.where(inverse, var_y, rest).clamp_min(TINY)
    gain = gain.clamp_min(0)
    kept = torch.log10(1 + gain**2 * var_x / (rest + VIF_NOISE))
    whole = torch.log10(1 + var_x / VIF_NOISE)
    return (
        kept.flatten(1).sum(1, dtype=torch.float64),
        whole.flatten(1).sum(1, dtype=torch.float64),
    )
