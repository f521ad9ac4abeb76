"""Noise: independent draws a pixel and channel."""

from decimal import Context, Decimal, localcontext
from functools import lru_cache
from math import ceil
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medrobust.keys import NORMAL_SCALE, Draws, normal_table
from medrobust.types import UInt8Batch

from .batches import Int32Array, check_batch
from .dispatch import compiled

UInt32Array: TypeAlias = NDArray[np.uint32]
SPECKLE_BITS = 20
"""Fixed point of the factors of `speckle_noise`: products fit 32 bits and every device agrees."""


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
    fast = compiled(images, "noise.add_from_table", _steps(std), draws=noise)
    if fast is not None:
        return fast
    if isinstance(noise, Draws):
        noise = noise.normal_planes(images)
    moves = torch.floor(255.0 * std * noise.to(images.device, torch.float64)).clamp(-255, 255)
    return (images + moves.short()).clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=8)
def _steps(std: float) -> NDArray[np.int16]:
    """Tabulate what the normal at a 16-bit draw adds."""
    steps = np.floor(255.0 * std * (normal_table() / NORMAL_SCALE)).clip(-255, 255)
    return steps.astype(np.int16)


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
    fast = compiled(images, "noise.salt_and_pepper", *_limits(amount), draws=uniform)
    if fast is not None:
        return fast
    if isinstance(uniform, Draws):
        uniform = uniform.uniform_planes(images)
    uniform = uniform.to(images.device)
    out = torch.where(uniform < amount, 255, images)
    return torch.where(uniform < amount / 2, 0, out)


def _limits(amount: float) -> tuple[int, int]:
    """Give the 32-bit draws below which a value turns black, and black or white."""
    return ceil(amount / 2 * 2**32), ceil(amount * 2**32)


def speckle_noise(images: UInt8Batch, std: float, *, noise: Tensor | Draws) -> UInt8Batch:
    """Add Gaussian noise whose standard deviation grows with the value: x + x n.

    Factors are rounded to 2^-20 and cut off at 8, so that every device agrees.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        std: Standard deviation of n.
        noise: Standard normal draws, same shape as `images`, or keyed draws.

    Returns:
        uint8 batch of the same shape: clipped, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:1903.12261, arXiv:2406.17536.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8)
        >>> speckle_noise(grey, 0.25, noise=torch.ones(1, 1, 28, 28)).unique().tolist()
        [125]
    """
    check_batch(images)
    unit = std * (1 << SPECKLE_BITS)
    limit = 8 << SPECKLE_BITS
    table = _factors(unit, limit)
    fast = compiled(images, "noise.scale_from_table", table, SPECKLE_BITS, draws=noise)
    if fast is not None:
        return fast
    if isinstance(noise, Draws):
        noise = noise.normal_planes(images)
    factors = torch.round(unit * noise.to(images.device, torch.float64)).clamp(1 - limit, limit - 1)
    moves = (images * factors.int()) >> SPECKLE_BITS
    return (images + moves).clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=8)
def _factors(unit: float, limit: int) -> Int32Array:
    """Tabulate the factor at a 16-bit draw."""
    factors = np.rint(unit * (normal_table() / NORMAL_SCALE)).clip(1 - limit, limit - 1)
    return factors.astype(np.int32)


def shot_noise(images: UInt8Batch, rate: float, *, uniform: Tensor | Draws) -> UInt8Batch:
    """Replace every value by a Poisson count about it: Poisson(x rate) / rate.

    Counts come from 256 tabulated distributions, one a grey level, in steps of 2^-24 by the alias
    method (Walker 1977), in integers: bit-identical on every device.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        rate: Expected count at full scale; fewer counts are more noise.
        uniform: Draws in [0, 1), same shape as `images`, or keyed draws. The alias method does not
            keep their order: a larger draw may give a smaller count.

    Returns:
        uint8 batch of the same shape: clipped, truncated. Zeros stay zero.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:1903.12261, arXiv:2406.17536.

    Example:
        >>> black = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> shot_noise(black, 60, uniform=torch.rand(1, 1, 28, 28)).unique().tolist()
        [0]
    """
    check_batch(images)
    return chosen_by_alias(images, poisson_table(rate), uniform)


def chosen_by_alias(images: UInt8Batch, table: UInt32Array, uniform: Tensor | Draws) -> UInt8Batch:
    """Replace every value by a draw from its distribution.

    Args:
        images: uint8 batch, on any device; not modified.
        table: uint32 (256, 256), a row a value, as `poisson_table` has it.
        uniform: Draws in [0, 1), of the shape of `images`, or keyed draws.
    """
    fast = compiled(images, "noise.choose_by_alias", table, draws=uniform)
    if fast is not None:
        return fast
    if isinstance(uniform, Draws):
        uniform = uniform.uniform_planes(images)
    words = (uniform.to(images.device, torch.float64) * 2**32).long()
    slots = words >> 24
    entries = torch.from_numpy(table.astype(np.int64)).to(images.device)[images.long(), slots]
    keep = (words >> 8 & 0xFFFF) < entries >> 8
    chosen: Tensor = torch.where(keep, slots, entries & 0xFF).to(torch.uint8)
    return chosen


HALF = Decimal(2) ** -25
"""Half of the least share that a table has."""


@lru_cache(maxsize=256)
def poisson_table(rate: float) -> UInt32Array:
    """Tabulate the new value at [old value, slot]: uint32 (256, 256), threshold * 256 + alias.

    Slot s (the upper 8 bits of a 32-bit draw) means value s where the next 16 bits are below the
    threshold, else the alias. In decimals of 30 digits and integers: the same on every machine.
    """
    table = np.empty((256, 256), np.uint32)
    values = [int(count / rate * 255) for count in range(ceil(rate))]
    with localcontext(Context(prec=30)):
        for old in range(256):
            mean = old * Decimal(rate) / 255
            share, below, edge = (-mean).exp(), Decimal(0), 0
            counts = [0] * 256
            for count, value in enumerate(values, 1):
                below += share
                if below > HALF:  # else it is nothing yet
                    last, edge = edge, round(below * (1 << 24))
                    counts[value] += edge - last
                    if edge == 1 << 24:
                        break
                share *= mean / count
            counts[255] += (1 << 24) - edge
            table[old] = alias_slots(counts)
    return table


def alias_slots(counts: list[int]) -> list[int]:
    """Fill 256 slots of 65536 with `counts` (sum 2^24), at most two values a slot.

    Example:
        >>> alias_slots([1 << 24, *[0] * 255])[1]  # never itself, always its alias 0
        0
    """
    slots = list(range(256))  # threshold 0, alias itself
    poor = [s for s in range(256) if counts[s] < 1 << 16]
    rich = [s for s in range(256) if counts[s] > 1 << 16]
    while poor:
        slot, giver = poor.pop(), rich[-1]
        slots[slot] = counts[slot] * 256 + giver
        counts[giver] -= (1 << 16) - counts[slot]
        if counts[giver] <= 1 << 16:
            rich.pop()
            if counts[giver] < 1 << 16:
                poor.append(giver)
    return slots
