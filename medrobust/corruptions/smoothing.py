"""Symmetric filters on any device: Gaussian blurs and the defocus disk."""

from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from medrobust.types import Float32Array, Float64Array, Int64Array, UInt8Array, UInt8Batch

from .batches import LEVELS, Int32Array, check_batch
from .dispatch import compiled, route_of

Border: TypeAlias = Literal["nearest", "mirror", "reflect"]
"""abc with a border of two: aaabccc, cbabcba (also called reflect-101), baabccb."""

DISK_BITS = 22

LARGEST_DISK = 16
"""Reach of the disks that Triton sums: larger ones need wider bands of weights than a program of
every card can hold."""


def gaussian_blur(images: UInt8Batch, sigma: float) -> UInt8Batch:
    """Blur by a Gaussian cut off at four sigma, edges replicated.

    Where the result is a whole number, as on flat zones and ramps, the reference loses a grey level
    or not as its float64 sums happen to end; so does this: its sums are made in the same order.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        sigma: Standard deviation in pixels.

    Returns:
        uint8 batch of the same shape, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:1903.12261, with scikit-image's filter.

    Example:
        >>> dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> dot[..., 14, 14] = 255
        >>> gaussian_blur(dot, 1.0)[0, 0, 14, 12:17].tolist()
        [5, 24, 40, 24, 5]
    """
    check_batch(images)
    radius = int(4 * sigma + 0.5)
    exact, flat = exact_weights(sigma, radius), flat_levels(sigma, radius)
    rows, columns = (border_map(side, radius, "nearest") for side in images.shape[2:])
    tables = (exact, flat, rows, columns)
    rounded = (gaussian_weights(sigma, radius), *tables)  # numba sums in float32 first
    fast = compiled(images, "filter.soften", numba=rounded, triton=tables)
    if fast is not None:
        return fast
    values = images.double()
    values = values / values.new_tensor(255)  # a GPU divides by a plain number inexactly
    for axis, where in ((-2, rows), (-1, columns)):
        side = images.shape[axis]
        padded = values.index_select(axis, torch.from_numpy(where).to(images.device))
        values = padded.narrow(axis, radius, side) * float(exact[radius])
        for k in range(radius):
            pair = padded.narrow(axis, k, side) + padded.narrow(axis, 2 * radius - k, side)
            values = values + pair * float(exact[k])
    return (values.clamp(0, 1) * 255).to(torch.uint8)


def gaussian_blur_kernel(images: UInt8Batch, taps: int) -> UInt8Batch:
    """Blur by a Gaussian of `taps` taps and sigma 0.15 taps + 0.35, edges mirrored.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        taps: Odd number.

    Returns:
        uint8 batch of the same shape, rounded (the only kernel of MedMNIST-C that rounds).

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:2406.17536, with torchvision's filter.

    Example:
        >>> dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> dot[..., 14, 14] = 255
        >>> gaussian_blur_kernel(dot, 5)[0, 0, 14, 12:17].tolist()
        [7, 23, 35, 23, 7]
    """
    check_batch(images)
    radius = taps // 2
    weights = gaussian_weights(0.15 * taps + 0.35, radius)
    rows, columns = (border_map(side, radius, "mirror") for side in images.shape[2:])
    fast = compiled(images, "filter.separable", weights, rows, columns, np.float32(0.5))
    if fast is not None:
        return fast
    smoothed = smooth(images.float(), weights, "mirror")
    return (smoothed + 0.5).clamp(max=255).to(torch.uint8)


def defocus_blur(images: UInt8Batch, radius: float, alias: float) -> UInt8Batch:
    """Blur by a disk whose rim is softened by a small Gaussian, edges mirrored.

    The disk is written as a sum of boxes in 22-bit fixed point, so that every device agrees. Where
    the disk touches the border of the kernel (radius 8, 10) the softening mirrors there and the
    weights do not quite sum to 1, in the references and here.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        radius: Of the disk in pixels; a fraction only selects which pixels belong to it.
        alias: Standard deviation of the softening in pixels (3 x 3 taps, 5 x 5 above radius 8).

    Returns:
        uint8 batch of the same shape, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:1903.12261, arXiv:2406.17536.

    Example:
        >>> dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
        >>> dot[..., 14, 14] = 255
        >>> defocus_blur(dot, 2.0, 0.1)[0, 0, 14, 11:18].tolist()
        [0, 19, 19, 19, 19, 19, 0]
    """
    check_batch(images)
    reach, box, first = _disk_boxes(radius, alias)
    row_map = border_map(images.shape[2], reach, "mirror")
    column_map = border_map(images.shape[3], reach, "mirror")
    if reach <= LARGEST_DISK or route_of(images) == "numba":
        tables = (row_map, column_map, box, first)
        fast = compiled(images, "filter.boxes", *tables, reach, DISK_BITS)
        if fast is not None:
            return fast
    height, width = images.shape[2:]
    rows, columns = (torch.from_numpy(m).to(images.device) for m in (row_map, column_map))
    padded = images.int()[:, :, rows][..., columns]
    prefix = torch.nn.functional.pad(padded.cumsum(3, dtype=torch.int32), (1, 0))
    total = torch.zeros_like(images, dtype=torch.int32)
    for d in range(reach + 1):
        pair = prefix[:, :, reach - d : reach - d + height]
        if d:
            pair = pair + prefix[:, :, reach + d : reach + d + height]
        for half, weight in box[first[d] : first[d + 1]].tolist():
            right = pair[..., reach + half + 1 : reach + half + 1 + width]
            total += weight * (right - pair[..., reach - half : reach - half + width])
    return (total >> DISK_BITS).clamp(0, 255).to(torch.uint8)


def exact_weights(sigma: float, radius: int) -> Float64Array:
    """Give the 2 radius + 1 normalised weights of a Gaussian, computed as scipy does.

    Example:
        >>> exact_weights(1.0, 1).round(3).tolist()
        [0.274, 0.452, 0.274]
    """
    places = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 / (sigma * sigma) * places**2)
    weights: Float64Array = kernel / kernel.sum()
    return weights


@lru_cache(maxsize=64)
def flat_levels(sigma: float, radius: int) -> UInt8Array:
    """Sum windows of one value with `exact_weights` as scipy does: what each of the 256 becomes."""
    exact, values = exact_weights(sigma, radius), LEVELS
    for _ in range(2):
        total = values * exact[radius]
        for weight in exact[:radius]:
            total = total + (values + values) * weight
        values = total
    levels: UInt8Array = (values.clip(0, 1) * 255.0).astype(np.uint8)
    return levels


def gaussian_weights(sigma: float, radius: int) -> Float32Array:
    """Give the 2 radius + 1 normalised weights of a Gaussian."""
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights: Float32Array = (kernel / kernel.sum()).astype(np.float32)
    return weights


@lru_cache(maxsize=256)
def border_map(side: int, radius: int, border: Border) -> Int64Array:
    """Say which pixel stands at each place of an axis with a border of `radius` on each side.

    Example:
        >>> border_map(3, 2, "mirror").tolist()
        [2, 1, 0, 1, 2, 1, 0]
        >>> border_map(3, 2, "reflect").tolist()
        [1, 0, 0, 1, 2, 2, 1]
    """
    place = np.arange(-radius, side + radius)
    if border == "nearest":
        return place.clip(0, side - 1)
    period = 2 * side if border == "reflect" else 2 * side - 2
    place = place % period
    last = period - 1 if border == "reflect" else period
    return np.where(place < side, place, last - place)


def smooth(
    fields: Tensor, weights: Float32Array, border: Border, columns: Float32Array | None = None
) -> Tensor:
    """Filter float32 (..., H, W) along both axes, in the order of the native kernel.

    `columns` are the weights along W where they are not those along H.

    Example:
        >>> ridge = torch.tensor([[0.0, 0.0, 4.0, 0.0, 0.0]]).expand(1, 5, 5)
        >>> weights = np.array([0.25, 0.5, 0.25], np.float32)
        >>> smooth(ridge.contiguous(), weights, "nearest")[0, 2].tolist()
        [0.0, 1.0, 2.0, 1.0, 0.0]
    """
    for axis in (-2, -1):
        if axis == -1 and columns is not None:
            weights = columns
        radius = len(weights) // 2
        side = fields.shape[axis]
        where = torch.from_numpy(border_map(side, radius, border)).to(fields.device)
        padded = fields.index_select(axis, where)
        total = float(weights[radius]) * padded.narrow(axis, radius, side)
        for i in range(1, radius + 1):
            left = padded.narrow(axis, radius - i, side)
            total = total + float(weights[radius + i]) * (
                left + padded.narrow(axis, radius + i, side)
            )
        fields = total
    return fields


@lru_cache(maxsize=64)
def _disk_boxes(radius: float, alias: float) -> tuple[int, Int32Array, Int64Array]:
    """Write the disk as boxes a row: (reach, boxes of (half width, weight), first box of a row)."""
    disk = _disk(radius, alias)
    kernel = np.rint(disk * (1 << DISK_BITS)).astype(np.int64)
    middle = len(kernel) // 2
    kernel[middle, middle] += round(disk.sum() * (1 << DISK_BITS)) - kernel.sum()
    used = np.flatnonzero(kernel.any(axis=0))
    reach = int(max(middle - used[0], used[-1] - middle))
    box, first = [], [0]
    for d in range(reach + 1):
        row = np.append(kernel[middle + d, middle : middle + reach + 1], 0)
        steps = row[:-1] - row[1:]
        box += [(half, steps[half]) for half in np.flatnonzero(steps)]
        first.append(len(box))
    return reach, np.array(box, np.int32), np.array(first, np.int64)


def _disk(radius: float, alias: float) -> Float64Array:
    reach, taps = (8, 3) if radius <= 8 else (int(radius), 5)
    axis = np.arange(-reach, reach + 1)
    inside = axis[:, None] ** 2 + axis[None] ** 2 <= radius**2
    disk: Float64Array = inside / inside.sum()
    softening = gaussian_weights(alias, taps // 2).astype(np.float64)
    side = len(axis)
    where = border_map(side, taps // 2, "mirror")
    for _ in range(2):
        shifted = [w * disk[where[i : i + side]] for i, w in enumerate(softening)]
        disk = np.asarray(sum(shifted)).T
    return disk
