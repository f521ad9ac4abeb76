"""Noise: independent draws a pixel and channel."""

from math import ceil

import numpy as np
import torch
from torch import Tensor

from medrobust.keys import NORMAL_SCALE, Draws, normal_table
from medrobust.types import UInt8Batch

from .batches import check_batch, keyed, run_native, uses_native


def gaussian_noise(images: UInt8Batch, std: float, *, noise: Tensor | Draws) -> UInt8Batch:
    """Add zero-mean Gaussian noise.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        std: Standard deviation as a fraction of full scale (0.08 is 8 % of 255).
        noise: Standard normal draws, same shape as `images`, or keyed draws.

    Returns:
        uint8 batch of the same shape: clipped to [0, 1], scaled by 255, truncated (not rounded).

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        Hendrycks and Dietterich, ImageNet-C, arXiv:1903.12261; Di Salvo et al., MedMNIST-C,
        arXiv:2406.17536.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 128, dtype=torch.uint8)
        >>> gaussian_noise(grey, 0.1, noise=torch.ones(1, 1, 28, 28)).unique().tolist()
        [153]
    """
    check_batch(images)
    if isinstance(noise, Draws) and uses_native(images):
        from .noise_numba import add_from_table

        steps = np.floor(255.0 * std * (normal_table() / NORMAL_SCALE)).clip(-255, 255)
        return run_native(add_from_table, images, steps.astype(np.int16), *keyed(noise))
    if isinstance(noise, Draws):
        noise = noise.normal_planes(images)
    moves = torch.floor(255.0 * std * noise.to(images.device, torch.float64)).clamp(-255, 255)
    return (images + moves.short()).clamp(0, 255).to(torch.uint8)


def impulse_noise(images: UInt8Batch, amount: float, *, uniform: Tensor | Draws) -> UInt8Batch:
    """Set a share of the values to black or white, half of them each.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        amount: Share of values that are set, below 1.
        uniform: Draws in [0, 1), same shape as `images`, or keyed draws: a value turns black where
            its draw is below amount / 2, white where it is below `amount`.

    Returns:
        uint8 batch of the same shape.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        As `gaussian_noise`; the reference draws "set" and "white" one after the other, which has
        the same distribution.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 128, dtype=torch.uint8)
        >>> impulse_noise(grey, 0.1, uniform=torch.full((1, 1, 28, 28), 0.04)).unique().tolist()
        [0]
    """
    check_batch(images)
    if isinstance(uniform, Draws) and uses_native(images):
        from .noise_numba import salt_and_pepper

        pepper, either = ceil(amount / 2 * 2**32), ceil(amount * 2**32)
        return run_native(salt_and_pepper, images, pepper, either, *keyed(uniform))
    if isinstance(uniform, Draws):
        uniform = uniform.uniform_planes(images)
    uniform = uniform.to(images.device)
    out = torch.where(uniform < amount, 255, images)
    return torch.where(uniform < amount / 2, 0, out)
