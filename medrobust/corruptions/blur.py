"""Blur: weighted sums over neighbours."""

from functools import lru_cache
from math import ceil
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medrobust.keys import Draws
from medrobust.types import Float32Array, Int64Array, UInt8Batch

from .batches import Int32Array, check_batch
from .dispatch import compiled

MOTION_BITS = 20
"""Fixed point of the weights of `motion_blur`: sums fit 32 bits and every device agrees."""


def motion_blur(
    images: UInt8Batch, radius: int, sigma: float, cut: bool = True, *, angle: Tensor | Draws
) -> UInt8Batch:
    """Smear every image along a line, with a one-sided Gaussian tail.

    `y = sum_i k_i x(p + o_i)`, `k_i ~ exp(-i^2 / 2 sigma^2)` for i = 0..2 radius, normalised,
    `o_i = (ceil(i cos - 1/2), ceil(i sin - 1/2))`; edges are replicated. With `cut`, taps from the
    first that leaves an image of that size are dropped and darken the image, as imagecorruptions
    does; without, all count, as in ImageMagick (MedMNIST-C). Weights are rounded to 2^-20 and sum
    to 1, so constant images stay as they are.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        radius: Half the length of the tail in pixels.
        sigma: Standard deviation of the tail in pixels.
        cut: Whether taps longer than a side are dropped.
        angle: Direction in degrees, (N,), or keyed draws: uniform in [-45, 45).

    Returns:
        uint8 batch of the same shape, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        The ImageMagick operator, as arXiv:1903.12261 and arXiv:2406.17536 use it.

    Example:
        >>> dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> dot[..., 14, 14] = 255
        >>> motion_blur(dot, 2, 1.0, angle=torch.tensor([0.0]))[0, 0, 14, 10:16].tolist()
        [0, 1, 19, 88, 145, 0]
    """
    check_batch(images)
    if isinstance(angle, Draws):
        angle = -45.0 + 90.0 * angle.uniform(1)[:, 0]
    height, width = images.shape[2:]
    weights = tail_weights(radius, sigma, MOTION_BITS)
    dx, dy, taps = tail_offsets(angle, len(weights), height, width)
    if not cut:
        taps[:] = len(weights)
    fast = compiled(images, "blur.shifted_sum", weights, dx, dy, taps, MOTION_BITS)
    if fast is not None:
        return fast
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    out = torch.empty_like(images)
    for n, image in enumerate(images.int()):
        total = torch.zeros_like(image)
        for weight, x, y in zip(weights[: taps[n]], dx[n], dy[n], strict=False):
            moved = image[:, (rows + int(y)).clamp(0, height - 1)]
            total += int(weight) * moved[:, :, (columns + int(x)).clamp(0, width - 1)]
        out[n] = total >> MOTION_BITS
    return out


def tail_weights(radius: int, sigma: float, bits: int) -> Int32Array:
    """Give the one-sided Gaussian of 2 radius + 1 taps in fixed point, summing to 2^bits.

    Example:
        >>> tail_weights(1, 1.0, 8).tolist()  # they sum to 2^8
        [147, 89, 20]
    """
    kernel = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    weights = np.rint(kernel / kernel.sum() * (1 << bits)).astype(np.int32)
    weights[0] += (1 << bits) - int(weights.sum())
    return np.asarray(weights, np.int32)


def tail_offsets(
    angle: Tensor, taps: int, height: int, width: int
) -> tuple[Int32Array, Int32Array, Int64Array]:
    """Place taps along lines: dx and dy (N, taps), and how many come before the first outside.

    On the CPU for every device, so that all agree.

    Example:
        >>> dx, dy, taps = tail_offsets(torch.tensor([0.0, 90.0]), 3, 28, 28)
        >>> dx.tolist(), dy.tolist(), taps.tolist()
        ([[0, 1, 2], [0, 0, 0]], [[0, 0, 0], [0, 1, 2]], [3, 3])
    """
    theta = np.deg2rad(angle.cpu().double().numpy())[:, None]
    step = np.arange(taps)
    dx = np.ceil(step * np.cos(theta) - 0.5).astype(np.int32)
    dy = np.ceil(step * np.sin(theta) - 0.5).astype(np.int32)
    outside = (abs(dx) >= width) | (abs(dy) >= height)
    return dx, dy, np.where(outside.any(1), outside.argmax(1), taps)


def zoom_blur(
    images: UInt8Batch,
    count: int,
    step: float,
    trim: Literal["corner", "centre"] = "corner",
    spacing: Literal["published", "even"] = "published",
) -> UInt8Batch:
    """Average every image with magnifications of itself.

    For each factor z = 1, 1 + step, .. (`count` of them; the first is the image once more) the
    centre ceil(H / z) x ceil(W / z) is magnified bilinearly; of the result the H x W pixels at the
    top left (`trim="corner"`, as imagecorruptions does, which shifts the image a little) or in the
    middle (`trim="centre"`, as the original and MedMNIST-C do) count.

    The published code steps by `numpy.arange`, whose factors drift from 1 + i step by rounding: at
    some sides a crop is a pixel larger. And it leaves a last row or column black in a magnification
    where rounding puts its place beyond the crop. Both are kept; neither occurs at 224 pixels.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        count: Number of factors.
        step: From one factor to the next.
        trim: "corner" or "centre".
        spacing: "published", or "even": factors of exactly 1 + i step, and no black edge.

    Returns:
        uint8 batch of the same shape, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        Hendrycks and Dietterich, ImageNet-C, arXiv:1903.12261, with scipy's `ndimage.zoom`.

    Example:
        >>> dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> dot[..., 14, 14] = 255
        >>> zoom_blur(dot, 2, 0.5)[0, 0, 12:17, 14].tolist()
        [0, 0, 179, 28, 9]
    """
    check_batch(images)
    row, row_share = _zoom_axis(images.shape[2], count, step, trim, spacing)
    column, column_share = _zoom_axis(images.shape[3], count, step, trim, spacing)
    fast = compiled(images, "blur.zoom_mean", row, row_share, column, column_share)
    if fast is not None:
        return fast
    last_row, last_column = images.shape[2] - 1, images.shape[3] - 1
    source = images.float()
    total = source.clone()
    for z in range(len(row)):
        y, x = (torch.from_numpy(t[z]).to(images.device).long() for t in (row, column))
        seen = (y <= last_row)[:, None] & (x <= last_column)
        y, x = y.clamp(max=last_row), x.clamp(max=last_column)
        dy, dx = (torch.from_numpy(t[z]).to(images.device) for t in (row_share, column_share))
        top, bottom = source[:, :, y], source[:, :, (y + 1).clamp(max=last_row)]
        across = top + dy[:, None] * (bottom - top)
        left, right = across[..., x], across[..., (x + 1).clamp(max=last_column)]
        total += torch.where(seen, left + dx * (right - left), 0.0)
    layers = total.new_tensor(len(row) + 1)  # a tensor, since a GPU divides by numbers inexactly
    return (total / layers).clamp(max=255).to(torch.uint8)


def zoom_unchanged(
    shape: tuple[int, int],
    count: int,
    step: float,
    trim: str = "corner",
    spacing: str = "published",
) -> bool:
    """Say whether images of that height and width have the pixels of version 1, which was even.

    Example:
        >>> [zoom_unchanged((side, side), 16, 0.01) for side in (224, 448)]
        [True, False]
    """
    return spacing == "even" or all(
        np.array_equal(one, other)
        for side in shape
        for one, other in zip(
            _zoom_axis(side, count, step, trim, "published"),
            _zoom_axis(side, count, step, trim, "even"),
            strict=True,
        )
    )


@lru_cache(maxsize=256)
def _zoom_axis(
    side: int, count: int, step: float, trim: str, spacing: str
) -> tuple[Int32Array, Float32Array]:
    """Give, for each factor and output pixel, the lower source pixel and the share of the next.

    A pixel that lies beyond the crop, and is black, has side + 1 for the lower one.
    """
    lower = np.empty((count, side), np.int32)
    share = np.empty((count, side), np.float32)
    drifting = np.arange(1.0, 1.0 + (count - 0.5) * step, step)
    for z in range(count):
        factor = 1 + z * step if spacing == "even" else float(drifting[z])
        crop = ceil(side / factor)
        zoomed = round(crop * factor)
        first = (zoomed - side) // 2 if trim == "centre" else 0
        place = (np.arange(side) + first) * ((crop - 1) / (zoomed - 1))
        lower[z] = place
        share[z] = place - lower[z]
        lower[z] += (side - crop) // 2
        if spacing == "published":
            lower[z, place > crop - 1] = side + 1
    return lower, share
