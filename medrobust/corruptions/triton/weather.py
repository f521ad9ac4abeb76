"""Weather for a GPU: snow, frost, fog and splashes, as the kernels for the CPU make them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from medrobust.corruptions.frost_textures import frost_textures
from medrobust.keys import Draws
from medrobust.types import Int64Array, UInt8Array, UInt8Batch

from .displacement import word_planes
from .filter import smooth
from .launch import BLOCK, cover, fused, keyed, launch, on_device, over_planes
from .philox import make_halves

BLOCKS = 128
"""Philox blocks of a program: eight halves each."""


def look_up_draws(table: Any, draws: Draws, shape: Sequence[int], device: torch.device) -> Tensor:
    """Make table[16-bit draw] for every place: (N, *shape), of the type of `table` (65536,)."""
    values = on_device(table, device)
    out = torch.empty(len(draws.index), *shape, dtype=values.dtype, device=device)
    pixels = out[0].numel()
    grid = (len(draws.index), cover(pixels, 8 * BLOCKS))
    launch(_look_up, grid, out, values, *keyed(draws, device), pixels, BLOCKS=BLOCKS)
    return out


@fused
def _look_up(out, table, index, number, key0, key1, pixels, BLOCKS: tl.constexpr):
    image, first = tl.program_id(0), tl.program_id(1) * BLOCKS
    halves = make_halves(first, number, tl.load(index + image), key0, key1, BLOCKS)
    places = 8 * first + tl.arange(0, 8 * BLOCKS)
    at = out + image.to(tl.int64) * pixels + places
    tl.store(at, tl.load(table + halves), places < pixels)


def liquid_layers(
    layers: Tensor, table: Any, weights: Any, row_map: Any, column_map: Any, draws: Draws
) -> Tensor:
    """Make smoothed layers of table[16-bit draw], float32 of the shape of `layers` (N, H, W)."""
    field = look_up_draws(table, draws, layers.shape[1:], layers.device)
    return smooth(field, weights, weights, row_map, column_map)


def smooth_layers(layers: Tensor, weights: Any, row_map: Any, column_map: Any) -> Tensor:
    """Smooth float32 layers (N, H, W) along both axes."""
    return smooth(layers, weights, weights, row_map, column_map)


def snowfall(
    images: UInt8Batch,
    table: Any,
    row: Any,
    row_share: Any,
    column: Any,
    column_share: Any,
    cut: np.int32,
    weights: Any,
    dx: Any,
    dy: Any,
    taps: Any,
    keep: np.int32,
    draws: Draws,
) -> UInt8Batch:
    """Whiten images and lay streaks over them; arguments as those of the kernel for the CPU."""
    rows, columns, smear = (row, row_share), (column, column_share), (weights, dx, dy, taps)
    cut, keep = int(cut), int(keep)
    count, channels, height, width = images.shape
    device = images.device
    tall, wide = len(rows[0]), len(columns[0])
    small = (int(rows[0][-1]) + 2, int(columns[0][-1]) + 2)
    field = look_up_draws(table, draws, small, device)
    layer = torch.empty(count, tall, wide, dtype=torch.int32, device=device)
    tables = [on_device(t, device) for t in (*rows, *columns)]
    grid = (count, cover(tall * wide, BLOCK))
    launch(_enlarge, grid, layer, field, *tables, *small, tall, wide, int(cut), BLOCK=BLOCK)
    flakes = torch.empty(count, height, width, dtype=torch.int32, device=device)
    tables = [on_device(t, device) for t in smear]
    grid = (count, cover(height * width, BLOCK))
    sizes = (len(smear[0]), tall, wide, height, width)
    launch(_smear, grid, flakes, layer, *tables, *sizes, BLOCK=BLOCK)
    images = images.contiguous()
    out = torch.empty_like(images)
    given = (images, flakes, int(keep), channels, height * width)
    launch(_whiten, grid, out, *given, BLOCK=BLOCK)
    return out


@fused
def _enlarge(
    out, field, row, row_share, column, column_share, small_height, small_width, tall, wide, cut,
    BLOCK: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < tall * wide
    y, x = places // wide, places % wide
    above, left = tl.load(row + y, inside, 0), tl.load(column + x, inside, 0)
    down, across = tl.load(row_share + y, inside, 0), tl.load(column_share + x, inside, 0)
    base = field + image * small_height * small_width + above * small_width + left
    a, b = tl.load(base, inside, 0), tl.load(base + 1, inside, 0)
    d, e = tl.load(base + small_width, inside, 0), tl.load(base + small_width + 1, inside, 0)
    first, second = a + (((d - a) * down) >> 14), b + (((e - b) * down) >> 14)
    value = first + (((second - first) * across) >> 14)
    value = tl.where(value < cut, 0, tl.minimum(tl.maximum(value, 0), 1 << 14))
    tl.store(out + image * tall * wide + places, value, inside)


@fused
def _smear(
    out, layer, weights, dx, dy, taps, length, tall, wide, height, width, BLOCK: tl.constexpr
):
    image = tl.program_id(0)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    y, x = places // width, places % width
    base = layer + image.to(tl.int64) * tall * wide
    total = tl.zeros((BLOCK,), tl.int32)
    for i in range(tl.load(taps + image)):
        row = tl.minimum(tl.maximum(y + tl.load(dy + image * length + i), 0), tall - 1)
        column = tl.minimum(tl.maximum(x + tl.load(dx + image * length + i), 0), wide - 1)
        total += tl.load(weights + i) * tl.load(base + row * wide + column, inside, 0)
    flakes = ((total >> 8) * 255 + (1 << 21)) >> 22
    tl.store(out + image.to(tl.int64) * height * width + places, flakes, inside)


@fused
def _whiten(out, images, flakes, keep, channels, pixels, BLOCK: tl.constexpr):
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < pixels
    snow = tl.load(flakes + image * pixels + places, inside, 0)
    snow += tl.load(flakes + image * pixels + pixels - 1 - places, inside, 0)
    base = images + image * channels * pixels + places
    grey = tl.load(base, inside, 0).to(tl.int32) << 16
    if channels == 3:
        grey = 19595 * (grey >> 16)
        grey += 38470 * tl.load(base + pixels, inside, 0).to(tl.int32)
        grey += 7471 * tl.load(base + 2 * pixels, inside, 0).to(tl.int32)
    for c in range(channels):
        old = tl.load(base + c * pixels, inside, 0).to(tl.int32)
        white = tl.maximum(old << 16, ((3 * grey) >> 1) + 8355840) >> 9
        mixed = (keep * (old << 7) + ((1 << 14) - keep) * white) >> 14
        value = tl.minimum((mixed + (snow << 7)) >> 7, 255)
        at = out + (image * channels + c) * pixels + places
        tl.store(at, value.to(tl.uint8), inside)


@lru_cache(maxsize=4)
def _bank(
    side: int, zoom: float, folder: str | None, device: torch.device
) -> tuple[Tensor, Int64Array]:
    """Put all textures on the device, one after the other: uint8, and where each begins."""
    textures = frost_textures(side, zoom, folder)
    starts = np.cumsum([0, *(texture.size for texture in textures)])[:-1]
    flat: UInt8Array = np.concatenate([texture.ravel() for texture in textures])
    return on_device(flat, device), starts


def blend_crops(
    images: UInt8Batch,
    zoom: float,
    folder: str | None,
    shapes: Any,
    chosen: Any,
    top: Any,
    left: Any,
    shares: tuple[Any, Any],
) -> UInt8Batch:
    """Add shares[0][value] and shares[1][value of the crop]; float64 tables of 256.

    `shapes` are height and width of each texture; `chosen`, `top` and `left` place the crops.
    """
    device = images.device
    height, width = images.shape[2:]
    bank, starts = _bank(max(height, width), zoom, folder, device)
    tall, wide = shapes[chosen].T
    crops = np.stack([starts[chosen] + top * wide + left, tall * wide, wide], 1)
    tables = [on_device(np.asarray(t), device) for t in (crops, *shares)]
    return over_planes(_blend, images, bank, *tables, *images.shape[1:])


@fused
def _blend(
    out, images, bank, crops, image_share, frost_share, channels, height, width,
    BLOCK: tl.constexpr,
):  # fmt: skip
    plane = tl.program_id(0)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    crop = crops + 3 * (plane // channels)
    first = tl.load(crop) + tl.load(crop + 1) * (plane % channels)
    at = first + (places // width) * tl.load(crop + 2) + places % width
    base = plane.to(tl.int64) * height * width + places
    value = tl.load(image_share + tl.load(images + base, inside, 0))
    value += tl.load(frost_share + tl.load(bank + at, inside, 0))
    tl.store(out + base, tl.minimum(value, 255.0).to(tl.uint8), inside)


def fog_over(
    images: UInt8Batch, side: int, amount: float, decay: float, draws: Draws
) -> UInt8Batch:
    """Add `amount` grey levels of a plasma map of `side`, then scale back to the old maximum."""
    count, device = len(images), images.device
    words = word_planes(draws, 1, side * side, device)
    grid = torch.zeros(count, 1, dtype=torch.float32, device=device)
    points, wibble = 1, 100.0
    while points < side:
        reach = float(np.float32(wibble * wibble))
        unit = float(np.float32(2.0 * wibble * wibble * 2.0**-24))
        finer = torch.empty(count, 4 * points * points, dtype=torch.float32, device=device)
        programs = (count, cover(points * points, BLOCK))
        launch(_finer, programs, finer, grid, words, side * side, points, unit, reach, BLOCK=BLOCK)
        grid, points, wibble = finer, 2 * points, wibble / decay
    ends = torch.stack([grid.amin(1), grid.amax(1), images.flatten(1).amax(1).float()], 1)
    return over_planes(_mist, images, grid, ends, amount, side, *images.shape[1:])


@fused
def _wave(words, at, inside, unit, reach):
    noise = (tl.load(words + at, inside, 0).to(tl.uint32, bitcast=True) >> 8).to(tl.int32)
    return noise.to(tl.float32) * unit - reach


@fused
def _middle(grid, words, y, x, points, inside, unit, reach):
    """Centre of the square below and right of point (y, x)."""
    under, after = (y + 1) % points * points, (x + 1) % points
    first = tl.load(grid + y * points + x, inside, 0.0)
    first += tl.load(grid + under + x, inside, 0.0)
    second = tl.load(grid + y * points + after, inside, 0.0)
    second += tl.load(grid + under + after, inside, 0.0)
    wave = _wave(words, points * points - 1 + y * points + x, inside, unit, reach)
    return (first + second) * 0.25 + wave


@fused
def _finer(out, grid, words, total, points, unit, reach, BLOCK: tl.constexpr):
    image = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    count = points * points
    inside = places < count
    y, x = places // points, places % points
    base, draws = grid + image * count, words + image * total
    over, before = (y + points - 1) % points, (x + points - 1) % points
    middle = _middle(base, draws, y, x, points, inside, unit, reach)
    middle_over = _middle(base, draws, over, x, points, inside, unit, reach)
    middle_before = _middle(base, draws, y, before, points, inside, unit, reach)
    here = tl.load(base + places, inside, 0.0)
    after = tl.load(base + y * points + (x + 1) % points, inside, 0.0)
    under = tl.load(base + (y + 1) % points * points + x, inside, 0.0)
    beside = _wave(draws, 2 * count - 1 + places, inside, unit, reach)
    below = _wave(draws, 3 * count - 1 + places, inside, unit, reach)
    across = ((middle + middle_over) + (here + after)) * 0.25 + beside
    down = ((middle + middle_before) + (here + under)) * 0.25 + below
    even = out + 4 * image * count + 4 * y * points + 2 * x
    tl.store(even, here, inside)
    tl.store(even + 1, across, inside)
    tl.store(even + 2 * points, down, inside)
    tl.store(even + 2 * points + 1, middle, inside)


@fused
def _mist(out, images, grid, ends, amount, side, channels, height, width, BLOCK: tl.constexpr):
    plane = tl.program_id(0).to(tl.int64)
    image = plane // channels
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    lowest = tl.load(ends + 3 * image) + tl.zeros((BLOCK,), tl.float32)
    highest, top = tl.load(ends + 3 * image + 1), tl.load(ends + 3 * image + 2)
    scale = tl.div_rn(amount + tl.zeros_like(lowest), highest - lowest)
    keep = tl.div_rn(top + tl.zeros_like(lowest), top + amount + tl.zeros_like(lowest))
    at = image * side * side + (places // width) * side + places % width
    old = tl.load(images + plane * height * width + places, inside, 0).to(tl.float32)
    value = (old + (tl.load(grid + at, inside, 0.0) - lowest) * scale) * keep
    value = tl.minimum(value, 255.0).to(tl.uint8)
    tl.store(out + plane * height * width + places, value, inside)


def spill(images: UInt8Batch, masks: Tensor, color: Any, opaque: bool) -> UInt8Batch:
    """Add `color` (3,) times masks (N, H, W); where `opaque`, the image fades under it."""
    given = (masks.contiguous(), on_device(color, images.device), 3, masks[0].numel())
    return over_planes(_spill, images, *given, OPAQUE=bool(opaque))


@fused
def _spill(out, images, masks, color, channels, pixels, OPAQUE: tl.constexpr, BLOCK: tl.constexpr):
    plane = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < pixels
    mask = tl.load(masks + (plane // channels) * pixels + places, inside, 0.0)
    old = tl.load(images + plane * pixels + places, inside, 0).to(tl.float32)
    if OPAQUE:
        old = old - old * mask
    value = tl.minimum(old + mask * tl.load(color + plane % channels), 255.0)
    tl.store(out + plane * pixels + places, value.to(tl.uint8), inside)
