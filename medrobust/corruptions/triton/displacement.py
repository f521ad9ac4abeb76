"""Kernels for a GPU that move pixels: frosted glass and elastic fields."""

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from medrobust.keys import Draws
from medrobust.types import Float32Array, Float64Array, Int64Array, UInt8Array, UInt8Batch

from .filter import smooth, soften
from .launch import BLOCK, cover, fused, keyed, launch, on_device, over_planes
from .philox import make_words

BLOCKS = 256
"""Philox blocks of a program: four words each."""


def word_planes(draws: Draws, planes: int, pixels: int, device: torch.device) -> Tensor:
    """Make a 32-bit word for every place of each plane: int32 (N, planes, pixels), wrapped."""
    out = torch.empty(len(draws.index), planes, pixels, dtype=torch.int32, device=device)
    grid = (len(draws.index) * planes, cover(pixels, 4 * BLOCKS))
    launch(_words, grid, out, *keyed(draws, device), planes, pixels, BLOCKS=BLOCKS)
    return out


@fused
def _words(out, index, number, key0, key1, planes, pixels, BLOCKS: tl.constexpr):
    plane = tl.program_id(0)
    first = tl.program_id(1) * BLOCKS
    row = tl.load(index + plane // planes)
    words = make_words(first, number + plane % planes, row, key0, key1, BLOCKS)
    places = 4 * first + tl.arange(0, 4 * BLOCKS)
    at = out + plane.to(tl.int64) * pixels + places
    tl.store(at, words.to(tl.int32, bitcast=True), places < pixels)


def displace(images: UInt8Batch, words: Tensor, delta: int) -> UInt8Batch:
    """Let every pixel take the value of a neighbour, as `displace` on the CPU without `swap`.

    Args:
        images: uint8 (N, C, H, W).
        words: int32 (N, iterations, H * W).
        delta: Neighbours are -delta to delta - 1 away.
    """
    count, channels, height, width = images.shape
    images = images.contiguous()
    out = torch.empty_like(images)
    grid = (count, cover(height * width, BLOCK))
    sizes = (words.shape[1], delta, channels, height, width)
    launch(_displace, grid, out, images, words, *sizes, BLOCK=BLOCK)
    return out


@fused
def _moves(places, height, width, delta):
    y, x = places // width, places % width
    return (y > delta) & (y <= height - delta) & (x > delta) & (x <= width - delta)


@fused
def _displace(out, images, words, iterations, delta, channels, height, width, BLOCK: tl.constexpr):
    image = tl.program_id(0).to(tl.int64)
    pixels = height * width
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < pixels
    at = places
    # Back from the last iteration: where the pixel is from, and where that one was from before.
    for back in range(1, iterations + 1):
        word = words + (image * iterations + iterations - back) * pixels
        # A neighbour further on was displaced before: what it took counts, and so on.
        goes_on = inside & _moves(at, height, width, delta)
        while tl.max(goes_on.to(tl.int32), 0) > 0:
            halves = tl.load(word + at, goes_on, 0).to(tl.uint32, bitcast=True)
            dx = (((halves & 0xFFFF) * 2 * delta) >> 16).to(tl.int32) - delta
            dy = (((halves >> 16) * 2 * delta) >> 16).to(tl.int32) - delta
            nearby = tl.where(goes_on, at + dy * width + dx, at)
            goes_on = goes_on & (nearby > at) & _moves(nearby, height, width, delta)
            at = nearby
    for c in range(channels):
        plane = (image * channels + c) * pixels
        tl.store(out + plane + places, tl.load(images + plane + at, inside, 0), inside)


def glass(
    images: UInt8Batch,
    exact: Float64Array,
    flat: UInt8Array,
    row_map: Int64Array,
    column_map: Int64Array,
    delta: int,
    iterations: int,
    draws: Draws,
) -> UInt8Batch:
    """Soften, copy every pixel from a place near it, again and again, and soften once more."""
    tables = (exact, flat, row_map, column_map)
    pixels = images.shape[2] * images.shape[3]
    words = word_planes(draws, iterations, pixels, images.device)
    return soften(displace(soften(images, *tables), words, delta), *tables)


def elastic(
    images: UInt8Batch,
    row_weights: Float32Array,
    column_weights: Float32Array,
    row_map: Int64Array,
    column_map: Int64Array,
    scale: float,
    draws: Draws,
) -> UInt8Batch:
    """Move pixels by smoothed uniform fields, as the kernel for the CPU does."""
    fields = _uniform_fields(images, draws)
    moves = smooth(fields, row_weights, column_weights, row_map, column_map)
    return over_planes(_sample, images, moves, float(scale), *images.shape[1:])


def elastic_affine(
    images: UInt8Batch,
    maps: Float64Array,
    weights: Float64Array,
    row_map: Int64Array,
    column_map: Int64Array,
    scale: float,
    draws: Draws,
) -> UInt8Batch:
    """Map images by `maps` (N, 2, 3), then move pixels by uniform fields smoothed in float64."""
    moves = smooth(_uniform_fields(images, draws), weights, weights, row_map, column_map).float()
    table = on_device(maps.astype(np.float32), images.device)
    warped = over_planes(_warp, images, table, *images.shape[1:], dtype=torch.float32)
    return over_planes(_sample, warped, moves, float(scale), *images.shape[1:])


def _uniform_fields(images: UInt8Batch, draws: Draws) -> Tensor:
    """Draw moves along x and y: float32 (N, 2, H, W), within (-1, 1)."""
    count, _, height, width = images.shape
    pixels = height * width
    words = word_planes(draws, 1, pixels, images.device)
    fields = torch.empty(count, 2, height, width, dtype=torch.float32, device=images.device)
    launch(_fields, (count, cover(pixels, BLOCK)), fields, words, pixels, BLOCK=BLOCK)
    return fields


@fused
def _fields(out, words, pixels, BLOCK: tl.constexpr):
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < pixels
    word = tl.load(words + image * pixels + places, inside, 0).to(tl.uint32, bitcast=True)
    unit = 0.0000152587890625  # 2^-16
    low = (2 * (word & 0xFFFF).to(tl.int32) - 65535).to(tl.float32) * unit
    high = (2 * (word >> 16).to(tl.int32) - 65535).to(tl.float32) * unit
    tl.store(out + 2 * image * pixels + places, low, inside)
    tl.store(out + (2 * image + 1) * pixels + places, high, inside)


@fused
def _fold(place, side, MIRROR: tl.constexpr):
    """Bring places back into the image: cbabcba, or with the edges twice, baabccb."""
    if MIRROR:
        place = tl.abs(place) % (2 * side - 2)
        place = tl.where(place >= side, 2 * side - 2 - place, place)
    else:
        place = tl.where(place < 0, -1 - place, place)
        place = tl.where(place >= side, 2 * side - 1 - place, place)
        place = tl.minimum(tl.maximum(place, 0), side - 1)
    return place


@fused
def _read(base, at_x, at_y, height, width, inside, MIRROR: tl.constexpr):
    """Read a plane between its places."""
    low_x, low_y = tl.floor(at_x), tl.floor(at_y)
    share_x, share_y = at_x - low_x, at_y - low_y
    left, above = low_x.to(tl.int32), low_y.to(tl.int32)
    right, below = _fold(left + 1, width, MIRROR), _fold(above + 1, height, MIRROR) * width
    left, above = _fold(left, width, MIRROR), _fold(above, height, MIRROR) * width
    a = tl.load(base + above + left, inside, 0).to(tl.float32)
    b = tl.load(base + above + right, inside, 0).to(tl.float32)
    d = tl.load(base + below + left, inside, 0).to(tl.float32)
    e = tl.load(base + below + right, inside, 0).to(tl.float32)
    top, bottom = a + share_x * (b - a), d + share_x * (e - d)
    return top + share_y * (bottom - top)


@fused
def _sample(out, images, moves, scale, channels, height, width, BLOCK: tl.constexpr):
    plane = tl.program_id(0).to(tl.int64)
    pixels = height * width
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < pixels
    move = moves + (plane // channels) * 2 * pixels + places
    at_x = (places % width).to(tl.float32) + scale * tl.load(move, inside, 0.0)
    at_y = (places // width).to(tl.float32) + scale * tl.load(move + pixels, inside, 0.0)
    value = _read(images + plane * pixels, at_x, at_y, height, width, inside, False)
    tl.store(out + plane * pixels + places, value.to(tl.uint8), inside)


@fused
def _warp(out, images, maps, channels, height, width, BLOCK: tl.constexpr):
    plane = tl.program_id(0).to(tl.int64)
    pixels = height * width
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < pixels
    x, y = (places % width).to(tl.float32), (places // width).to(tl.float32)
    m = maps + 6 * (plane // channels)
    at_x = (tl.load(m) * x + tl.load(m + 1) * y) + tl.load(m + 2)
    at_y = (tl.load(m + 3) * x + tl.load(m + 4) * y) + tl.load(m + 5)
    value = _read(images + plane * pixels, at_x, at_y, height, width, inside, True)
    tl.store(out + plane * pixels + places, value, inside)
