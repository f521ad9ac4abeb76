"""Photometric kernels: a value is mapped by a table that at most one other number selects."""

from functools import lru_cache

import numpy as np
import torch

from medrobust.types import UInt8Array, UInt8Batch

from .batches import GREY_WEIGHTS, check_batch, run_native, to_grey, uses_native


def brightness(images: UInt8Batch, shift: float) -> UInt8Batch:
    """Raise the value (largest channel) of every pixel in HSV, keeping hue and saturation.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        shift: Added to the value, as a fraction of full scale.

    Returns:
        uint8 batch of the same shape: clipped, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:1903.12261.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8)
        >>> brightness(grey, 0.1).unique().tolist()
        [125]
    """
    check_batch(images)
    table = _brightness_table(shift)
    if uses_native(images):
        from .pointwise_numba import look_up_by_maximum

        return run_native(look_up_by_maximum, images, table)
    values = images.amax(1, keepdim=True).long() * 256 + images
    return torch.from_numpy(table).to(images.device).flatten()[values]


@lru_cache(maxsize=16)
def _brightness_table(shift: float) -> UInt8Array:
    """Tabulate the new channel at [old value m, old channel u]: V' (1 - (m - u) / m).

    In float64 and in the reference's order, so that truncation falls as it does there.
    """
    value = np.arange(256)[:, None] / 255.0
    channel = np.arange(256)[None] / 255.0
    raised = np.clip(value + shift, 0, 1)
    saturation = np.divide(value - channel, value, out=np.zeros((256, 256)), where=value > 0)
    return np.asarray(np.clip(raised * (1 - saturation), 0, 1) * 255).astype(np.uint8)


def contrast(images: UInt8Batch, factor: float) -> UInt8Batch:
    """Scale every channel about its own mean over the image.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        factor: Below 1 flattens the image.

    Returns:
        uint8 batch of the same shape: clipped, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:1903.12261.
    """
    check_batch(images)
    if uses_native(images):
        from .pointwise_numba import scale_about_mean

        return run_native(scale_about_mean, images, float(factor))
    pixels = images.shape[2] * images.shape[3]
    mean = images.sum((2, 3), dtype=torch.int64).double()[..., None] / (255.0 * pixels)
    levels = torch.arange(256, device=images.device).double() / 255.0
    tables = (((levels - mean) * factor + mean).clamp(0, 1) * 255).to(torch.uint8)
    return tables.gather(2, images.flatten(2).long()).reshape(images.shape)


def brightness_factor(images: UInt8Batch, factor: float) -> UInt8Batch:
    """Multiply every value, as Pillow's brightness enhancement does.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        factor: Above 1 brightens, below 1 darkens; not negative.

    Returns:
        uint8 batch of the same shape: float32 products, clipped, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:2406.17536; `medmnistc:corruptions/brightness.py`.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 101, dtype=torch.uint8)
        >>> brightness_factor(grey, 1.1).unique().tolist()
        [111]
    """
    check_batch(images)
    if uses_native(images):
        from .pointwise_numba import scale

        return run_native(scale, images, np.float32(factor))
    scaled = images.float() * torch.tensor(factor, dtype=torch.float32, device=images.device)
    return scaled.clamp(max=255).to(torch.uint8)


def contrast_factor(images: UInt8Batch, factor: float) -> UInt8Batch:
    """Scale all channels about one number, the rounded mean luma of the image.

    Equal to Pillow's contrast enhancement; `contrast` uses the mean of each channel instead.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        factor: Above 1 raises the contrast, below 1 lowers it; not negative.

    Returns:
        uint8 batch of the same shape: float32, clipped, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:2406.17536.
    """
    check_batch(images)
    if uses_native(images):
        from .pointwise_numba import scale_about_luma

        return run_native(scale_about_luma, images, np.float32(factor), *GREY_WEIGHTS)
    luma = images if images.shape[1] == 1 else to_grey(images)
    pixels = images.shape[2] * images.shape[3]
    total = luma.sum((1, 2, 3), dtype=torch.int64)[:, None, None, None]
    mean = ((2 * total + pixels) // (2 * pixels)).float()
    slope = torch.tensor(factor, dtype=torch.float32, device=images.device)
    moved = slope * (images.float() - mean)
    return (mean + moved).clamp(0, 255).to(torch.uint8)


def gamma_correction(images: UInt8Batch, gamma: float) -> UInt8Batch:
    """Raise every value to a power.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        gamma: Above 1 darkens, below 1 brightens; positive.

    Returns:
        uint8 batch of the same shape: 255.999 (u / 255)^gamma, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:2406.17536, with torchvision's `adjust_gamma`, whose gain is 255.999.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 128, dtype=torch.uint8)
        >>> gamma_correction(grey, 2.0).unique().tolist()
        [64]
    """
    check_batch(images)
    table = np.array([int(255.999 * (u / 255.0) ** gamma) for u in range(256)], np.uint8)
    if uses_native(images):
        from .pointwise_numba import look_up

        return run_native(look_up, images, table)
    return torch.from_numpy(table).to(images.device)[images.long()]
