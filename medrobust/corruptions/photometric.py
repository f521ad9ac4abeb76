"""Photometric kernels: a value is mapped by a table that at most one other number selects."""

from functools import lru_cache

import numpy as np
import torch

from medrobust.exceptions import InvalidImageError
from medrobust.types import UInt8Array, UInt8Batch

from .batches import GREY_WEIGHTS, LEVELS, check_batch, to_grey
from .dispatch import compiled


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
    fast = compiled(images, "pointwise.look_up_by_maximum", table)
    if fast is not None:
        return fast
    values = images.amax(1, keepdim=True).long() * 256 + images
    return torch.from_numpy(table).to(images.device).flatten()[values]


@lru_cache(maxsize=16)
def _brightness_table(shift: float) -> UInt8Array:
    """Tabulate the new channel at [old value m, old channel u]: V' (1 - (m - u) / m).

    In float64 and in the reference's order, so that truncation falls as it does there.
    """
    value = LEVELS[:, None]
    channel = LEVELS[None]
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

    Example:
        >>> dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> dot[..., 14, 14] = 255
        >>> contrast(dot, 0.5).unique().tolist()
        [0, 127]
    """
    check_batch(images)
    fast = compiled(images, "pointwise.scale_about_mean", float(factor))
    if fast is not None:
        return fast
    pixels = images.shape[2] * images.shape[3]
    full = torch.tensor(255.0, dtype=torch.float64, device=images.device)
    mean = images.sum((2, 3), dtype=torch.int64).double()[..., None] / (full * pixels)
    levels = torch.arange(256, device=images.device).double() / full
    tables = (((levels - mean) * factor + mean).clamp(0, 1) * 255).to(torch.uint8)
    return tables.gather(2, images.flatten(2).long()).reshape(images.shape)


def saturate(images: UInt8Batch, factor: float, shift: float) -> UInt8Batch:
    """Change the saturation S of every pixel in HSV to `factor` S + `shift`.

    In float64 and in the reference's order, so that truncation falls as it does there. Pixels
    without colour have hue 0: they turn red where `shift` is above 0, as in the reference.

    Args:
        images: uint8 batch of shape (N, 3, H, W), on any device; not modified.
        factor: Scales the saturation.
        shift: Added to it.

    Returns:
        uint8 batch of the same shape: clipped, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 3 channels.

    References:
        arXiv:1903.12261; arXiv:2406.17536 (factor 1).

    Example:
        >>> pixel = torch.tensor([200, 100, 100], dtype=torch.uint8).reshape(1, 3, 1, 1)
        >>> saturate(pixel.expand(1, 3, 28, 28), 0.5, 0.0)[0, :, 0, 0].tolist()
        [200, 150, 150]
    """
    check_batch(images)
    if images.shape[1] != 3:
        raise InvalidImageError("saturate takes 3 channels, got 1. Repeat the grey channel first.")
    fast = compiled(images, "pointwise.scale_saturation", float(factor), float(shift))
    if fast is not None:
        return fast
    full, six = torch.tensor([255.0, 6.0], dtype=torch.float64, device=images.device)
    red, green, blue = (images[:, c].double() / full for c in range(3))
    value = torch.maximum(torch.maximum(red, green), blue)
    span = value - torch.minimum(torch.minimum(red, green), blue)
    some = torch.where(span > 0, span, 1.0)
    turn = torch.where(green == value, 2.0 + (blue - red) / some, (green - blue) / some)
    turn = torch.where(blue == value, 4.0 + (red - green) / some, turn)
    hue = torch.where(span > 0, turn / six, 0.0)
    sixth = torch.where(hue < 0, hue + 1.0, hue) * 6
    sector = sixth.floor()
    share = sixth - sector
    saturation = span / torch.where(value > 0, value, 1.0)
    saturation = (saturation * factor + shift).clamp(0, 1)
    low = value * (1 - saturation)
    falling, rising = value * (1 - share * saturation), value * (1 - (1 - share) * saturation)
    order = sector.long() % 6
    channels = [
        torch.stack([(value, rising, falling, low)[i] for i in choice]).gather(0, order[None])[0]
        for choice in HUES
    ]
    return (torch.stack(channels, 1) * 255.0).to(torch.uint8)


HUES = ((0, 2, 3, 3, 1, 0), (1, 0, 0, 2, 3, 3), (3, 3, 1, 0, 0, 2))
"""For each channel and sixth of the colour circle: the value, the rising, falling or low one."""


def hue(images: UInt8Batch, shift: float) -> UInt8Batch:
    """Turn the hue of every pixel in HSV: grey pixels have none and stay.

    Args:
        images: uint8 batch of shape (N, 3, H, W), on any device; not modified.
        shift: Of a full turn.

    Returns:
        uint8 batch of the same shape, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 3 channels.

    Example:
        >>> red = torch.tensor([200, 100, 100], dtype=torch.uint8).reshape(1, 3, 1, 1)
        >>> hue(red.expand(1, 3, 28, 28), 1 / 6)[0, :, 0, 0].tolist()
        [200, 200, 100]
    """
    check_batch(images)
    if images.shape[1] != 3:
        raise InvalidImageError("hue takes 3 channels, got 1. Repeat the grey channel first.")
    red, green, blue = (images[:, c].double() for c in range(3))
    value = images.amax(dim=1).double()
    span = value - images.amin(dim=1).double()
    some = torch.where(span > 0, span, 1.0)
    turn = torch.where(green == value, 2.0 + (blue - red) / some, (green - blue) / some)
    turn = torch.where(blue == value, 4.0 + (red - green) / some, turn) + 6 * shift
    out = [value - span * ramp(turn, offset) for offset in (5.0, 3.0, 1.0)]
    return (torch.stack(out, dim=1) + 1e-9).clamp(0, 255).to(torch.uint8)


def ramp(turn: torch.Tensor, offset: float) -> torch.Tensor:
    """Say how much of the span a channel lacks at a hue of sixths: 0 to 1.

    Example:
        >>> ramp(torch.tensor([0.0, 1.5, 3.0]), 5.0).tolist()
        [0.0, 0.5, 1.0]
    """
    sixth = (turn + offset) % 6
    return torch.minimum(sixth, 4 - sixth).clamp(0, 1)


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
        arXiv:2406.17536.

    Example:
        >>> grey = torch.full((1, 1, 28, 28), 101, dtype=torch.uint8)
        >>> brightness_factor(grey, 1.1).unique().tolist()
        [111]
    """
    check_batch(images)
    fast = compiled(images, "pointwise.scale", np.float32(factor))
    if fast is not None:
        return fast
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

    Example:
        >>> dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> dot[..., 14, 14] = 255
        >>> contrast_factor(dot, 0.5).unique().tolist()
        [0, 127]
    """
    check_batch(images)
    weighted = (np.float32(factor), *GREY_WEIGHTS)
    fast = compiled(images, "pointwise.scale_about_luma", numba=weighted, triton=(factor,))
    if fast is not None:
        return fast
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
    return looked_up(images, table)


def looked_up(images: UInt8Batch, table: UInt8Array) -> UInt8Batch:
    """Replace every value by that of a table, uint8 (256,).

    Example:
        >>> ones = torch.ones(1, 1, 28, 28, dtype=torch.uint8)
        >>> looked_up(ones, np.arange(255, -1, -1, dtype=np.uint8)).unique().tolist()
        [254]
    """
    fast = compiled(images, "pointwise.look_up", table)
    if fast is not None:
        return fast
    return torch.from_numpy(table).to(images.device)[images.long()]
