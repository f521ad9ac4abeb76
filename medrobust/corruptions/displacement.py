"""Kernels that move pixels: frosted glass and elastic fields."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from medrobust.keys import Draws
from medrobust.types import Float32Array, Float64Array, UInt8Batch

from .batches import check_batch
from .dispatch import compiled, route_of
from .smoothing import (
    border_map,
    exact_weights,
    flat_levels,
    gaussian_blur,
    gaussian_weights,
    smooth,
)

Fold: TypeAlias = Callable[[Tensor, int], Tensor]


def glass_blur(
    images: UInt8Batch,
    sigma: float,
    delta: int,
    iterations: int,
    swap: bool = False,
    *,
    words: Tensor | Draws,
) -> UInt8Batch:
    """Look through frosted glass: blur, displace every pixel a little, blur again.

    From the last pixel to the first, each takes the present value of a neighbour at most `delta`
    away. The reference means to swap the two but copies: the neighbour keeps its value, and the
    pixel's own is lost. That is what published numbers mean, and the default here.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        sigma: Standard deviation of both blurs in pixels.
        delta: Neighbours are -delta to delta - 1 away, along x and y; `delta` pixels at the edges
            (one more at the top and left) keep their place.
        iterations: How often every pixel is displaced, at most 16.
        swap: Swap the two pixels, as the reference means to.
        words: 32-bit words, int64 (N, iterations, H, W), or keyed draws: the low half says how far
            along x, the high half along y.

    Returns:
        uint8 batch of the same shape, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        arXiv:1903.12261.
    """
    check_batch(images)
    height, width = images.shape[2:]
    if not swap or route_of(images) == "numba":
        radius = int(4 * sigma + 0.5)
        tables = (
            *(gaussian_weights(sigma, radius), exact_weights(sigma, radius)),
            flat_levels(sigma, radius),
            *(border_map(side, radius, "nearest") for side in (height, width)),
        )
        fast = compiled(
            images,
            "displacement.glass",
            numba=(*tables, delta, iterations, swap),
            triton=(*tables[1:], delta, iterations),
            draws=words,
        )
        if fast is not None:
            return fast
    if isinstance(words, Draws):
        words = words.word_planes(iterations, height, width, images.device)
    words = words.to(images.device)
    out = gaussian_blur(images, sigma)
    sources = _swapped(words, delta) if swap else _copied(words, delta)
    pixels = out.flatten(2).gather(2, sources[:, None].expand(-1, images.shape[1], -1))
    return gaussian_blur(pixels.reshape(images.shape), sigma)


def _swapped(words: Tensor, delta: int) -> Tensor:
    """Say which pixel ends at each place, after swaps: computed on the CPU, in order."""
    from medrobust.corruptions.numba.displacement import displace_all

    count, iterations, height, width = words.shape
    numbers = np.arange(height * width, dtype=np.int32).reshape(1, height, width)
    sources = np.ascontiguousarray(numbers.repeat(count, 0))
    plain = words.cpu().numpy().astype(np.uint32).reshape(count, iterations, height * width)
    displace_all(sources, plain, delta, True)
    return torch.from_numpy(sources).to(words.device).long().flatten(1)


def _copied(words: Tensor, delta: int) -> Tensor:
    """Say which pixel's value ends at each place, after copies.

    A pixel takes what a neighbour that was displaced before it has taken: chains of neighbours,
    which are followed in strides of 1, 2, 4, ..
    """
    height, width = words.shape[2:]
    rows = torch.arange(height, device=words.device)[:, None]
    columns = torch.arange(width, device=words.device)
    moved = (rows > delta) & (rows <= height - delta)
    moved = moved & (columns > delta) & (columns <= width - delta)
    place = rows * width + columns
    sources: Tensor | None = None
    for i in range(words.shape[1]):
        dx = ((words[:, i] & 0xFFFF) * 2 * delta >> 16) - delta
        dy = ((words[:, i] >> 16) * 2 * delta >> 16) - delta
        nearby = torch.where(moved, place + dy * width + dx, place).flatten(1)
        goes_on = moved.flatten()[nearby] & (nearby > place.flatten())
        for _ in range((height * width).bit_length()):
            beyond = nearby.gather(1, nearby)
            further = goes_on & goes_on.gather(1, nearby)
            nearby = torch.where(goes_on, beyond, nearby)
            goes_on = further
        sources = nearby if sources is None else sources.gather(1, nearby)
    assert sources is not None
    return sources


def elastic_transform(images: UInt8Batch, strength: float, *, words: Tensor | Draws) -> UInt8Batch:
    """Distort every image by a smooth random field, as imagecorruptions does.

    Uniform fields of at most 0.005 H pixels are smoothed with sigma 0.01 H along y and 0.01 W along
    x (edges reflected, cut off at three sigma), scaled by 250 `strength`, and the image is read
    there bilinearly, edges reflected. The original ImageNet-C does something else:
    `elastic_transform_affine`.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        strength: 0.05 to 0.12.
        words: 32-bit words, int64 (N, H, W), or keyed draws: the low half is the move along x in
            65536 steps, the high half along y.

    Returns:
        uint8 batch of the same shape, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        bethgelab/imagecorruptions:imagecorruptions/corruptions.py.
    """
    check_batch(images)
    height, width = images.shape[2:]
    row_weights, column_weights = (_cut_at_three(0.01 * side) for side in (height, width))
    scale = np.float32(250 * strength * 0.005 * height)
    rows = border_map(height, len(row_weights) // 2, "reflect")
    columns = border_map(width, len(column_weights) // 2, "reflect")
    tables = (row_weights, column_weights, rows, columns, scale)
    fast = compiled(images, "displacement.elastic", *tables, draws=words)
    if fast is not None:
        return fast
    if isinstance(words, Draws):
        words = words.word_planes(1, height, width, images.device)[:, 0]
    fields = smooth(_fields(words.to(images.device)), row_weights, "reflect", column_weights)
    return _sample(images, float(scale) * fields)


def elastic_transform_affine(
    images: UInt8Batch,
    amplitude: float,
    sigma: float,
    affine: float,
    *,
    words: Tensor | Draws,
    corners: Tensor | Draws,
) -> UInt8Batch:
    """Distort every image by a random affine map and a smooth field, as the original does.

    Three corners of a centred square move by up to `affine` pixels, which defines an affine map
    (bilinear, edges mirrored); then the image is distorted by a uniform field smoothed with `sigma`
    (edges reflected, cut off at three sigma) and scaled by `amplitude`.

    Args:
        images: uint8 batch of shape (N, C, H, W), C = 1 or 3, on any device; not modified.
        amplitude: Of the field before smoothing, in pixels.
        sigma: Of the smoothing, in pixels.
        affine: Largest move of a corner along x and y, in pixels.
        words: As in `elastic_transform`.
        corners: Draws in [0, 1), (N, 6): x and y of each corner's move, or keyed draws.

    Returns:
        uint8 batch of the same shape, truncated.

    Raises:
        InvalidImageError: If `images` is not a uint8 batch with 1 or 3 channels.

    References:
        hendrycks/robustness:ImageNet-C/create_c/make_imagenet_c.py; its affine step rounds places
        to 1/32 pixel, this one does not.
    """
    check_batch(images)
    height, width = images.shape[2:]
    if isinstance(corners, Draws):
        corners = corners.uniform(6)
    maps = _affine_maps(corners, affine, height, width)
    if route_of(images) == "triton":
        exact = _cut_at_three(sigma).astype(np.float64)
        edges = (border_map(side, len(exact) // 2, "reflect") for side in (height, width))
        tables = (maps, exact, *edges, amplitude)
        fast = compiled(images, "displacement.elastic_affine", *tables, draws=words)
        if fast is not None:
            return fast
    if isinstance(words, Draws):
        words = words.word_planes(1, height, width, images.device)[:, 0]
    fields = _fields(words.to(images.device)).double()
    rows, columns = (
        torch.from_numpy(_folded_gaussian(side, sigma)).to(images.device)
        for side in (height, width)
    )
    moves = torch.stack([rows @ field @ columns.mT for field in fields]).float() * amplitude
    warped = _warp(images, maps)
    return _sample(warped, moves)


@lru_cache(maxsize=64)
def _cut_at_three(sigma: float) -> Float32Array:
    return gaussian_weights(sigma, int(3 * sigma + 0.5))


@lru_cache(maxsize=16)
def _folded_gaussian(side: int, sigma: float) -> Float64Array:
    """Write a Gaussian, cut off at three sigma, edges reflected, as a (side, side) matrix."""
    weights = _cut_at_three(sigma)
    places = border_map(side, len(weights) // 2, "reflect")
    matrix = np.zeros((side, side))
    for y in range(side):
        np.add.at(matrix[y], places[y : y + len(weights)], weights)
    return matrix


def _fields(words: Tensor) -> Tensor:
    """Read words (N, H, W) as moves along x and y: float32 (N, 2, H, W), within (-1, 1)."""
    halves = torch.stack([words & 0xFFFF, words >> 16], 1)
    return (2 * halves - 65535).float() * 2.0**-16


def _sample(images: UInt8Batch, moves: Tensor) -> UInt8Batch:
    """Read images at (x + moves[:, 0], y + moves[:, 1]), bilinearly, truncated."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device, dtype=torch.float32) + moves[:, 0]
    y = torch.arange(height, device=images.device, dtype=torch.float32)[:, None] + moves[:, 1]
    return _bilinear(images, x, y, _reflected).to(torch.uint8)


def _bilinear(images: Tensor, x: Tensor, y: Tensor, fold: Fold) -> Tensor:
    """Read (N, C, H, W) at places x and y (N, H, W), which `fold` brings back into the image."""
    height, width = images.shape[2:]
    left, above = x.floor(), y.floor()
    share_x, share_y = (x - left)[:, None], (y - above)[:, None]
    planes = images.float().flatten(2)

    def corner(row: Tensor, column: Tensor) -> Tensor:
        at = fold(row.long(), height) * width + fold(column.long(), width)
        return planes.gather(2, at.flatten(1)[:, None].expand(-1, planes.shape[1], -1)).reshape(
            images.shape
        )

    a, b = corner(above, left), corner(above, left + 1)
    d, e = corner(above + 1, left), corner(above + 1, left + 1)
    top, bottom = a + share_x * (b - a), d + share_x * (e - d)
    return top + share_y * (bottom - top)


def _reflected(place: Tensor, side: int) -> Tensor:
    """Fold places over the edges: baabccb."""
    place = torch.where(place < 0, -1 - place, place)
    return torch.where(place >= side, 2 * side - 1 - place, place).clamp(0, side - 1)


def _mirrored(place: Tensor, side: int) -> Tensor:
    """Fold places over the edge pixels, however far away: cbabcba."""
    place = place.abs() % (2 * side - 2)
    return torch.where(place >= side, 2 * side - 2 - place, place)


def _affine_maps(corners: Tensor, affine: float, height: int, width: int) -> Float64Array:
    """Give the maps from places of the output to places of the input: (N, 2, 3)."""
    middle, reach = np.array([height, width]) // 2, min(height, width) // 3
    old = middle + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    new = old + affine * (2 * corners.cpu().double().numpy().reshape(-1, 3, 2) - 1)
    ones = np.ones((*new.shape[:2], 1))
    solved = np.linalg.solve(np.concatenate([new, ones], 2), old[None].repeat(len(new), 0))
    return np.ascontiguousarray(solved.transpose(0, 2, 1))


def _warp(images: UInt8Batch, maps: Float64Array) -> Tensor:
    height, width = images.shape[2:]
    m = torch.from_numpy(maps.astype(np.float32)).to(images.device)[:, :, :, None, None]
    x = torch.arange(width, device=images.device, dtype=torch.float32)
    y = torch.arange(height, device=images.device, dtype=torch.float32)[:, None]
    at_x = m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2]
    at_y = m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2]
    return _bilinear(images, at_x, at_y, _mirrored)
