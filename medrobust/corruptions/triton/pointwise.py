"""Table look-ups, saturation and the resampling of `pixelate` for a GPU."""

from typing import Any

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from medrobust.corruptions.batches import GREY_WEIGHTS
from medrobust.types import UInt8Batch

from .launch import cover, fused, launch, on_device

PIXELS = 1024
"""Pixels of a program."""

RED, GREEN, BLUE = (tl.constexpr(weight) for weight in GREY_WEIGHTS)


def look_up(images: UInt8Batch, table: Any) -> UInt8Batch:
    """Replace every value u by table[u]; uint8 (256,)."""
    return _look_up_in(images, on_device(table, images.device)[None])


def scale(images: UInt8Batch, factor: np.float32) -> UInt8Batch:
    """Multiply every value by `factor` in float32, clip and truncate, by a table."""
    products = np.arange(256, dtype=np.float32) * factor
    return look_up(images, products.clip(max=255).astype(np.uint8))


def look_up_by_maximum(images: UInt8Batch, table: Any) -> UInt8Batch:
    """Replace value u of a pixel whose largest channel is m by table[m, u]; (256, 256)."""
    count, channels, height, width = images.shape
    images, out = images.contiguous(), _empty(images)
    grid = (count, cover(height * width, PIXELS))
    table = on_device(table, images.device)
    launch(_by_maximum, grid, out, images, table, channels, height * width, PIXELS=PIXELS)
    return out


def scale_about_mean(images: UInt8Batch, factor: float) -> UInt8Batch:
    """Scale each channel about its own spatial mean, in float64 as the reference does."""
    count, channels, height, width = images.shape
    images, pixels = images.contiguous(), height * width
    tables = images.new_empty(count, channels, 256)
    factors = torch.full((1,), factor, dtype=torch.float64, device=images.device)
    launch(_mean_tables, (count * channels,), tables, images, factors, pixels, PIXELS=4 * PIXELS)
    return _look_up_in(images, tables.flatten(0, 1))


def scale_about_luma(images: UInt8Batch, factor: float) -> UInt8Batch:
    """Scale every value about the rounded mean luma of its image, in float32."""
    count, channels, height, width = images.shape
    images, pixels = images.contiguous(), height * width
    tables = images.new_empty(count, 256)
    factors = torch.full((1,), factor, dtype=torch.float32, device=images.device)
    given = (images, factors, channels, pixels)
    launch(_luma_tables, (count,), tables, *given, PIXELS=2 * PIXELS)
    return _look_up_in(images, tables)


def scale_saturation(images: UInt8Batch, factor: float, shift: float) -> UInt8Batch:
    """Scale and shift the saturation in HSV, in float64 and without branches."""
    count, _, height, width = images.shape
    images, out = images.contiguous(), _empty(images)
    grid = (count, cover(height * width, PIXELS // 2))
    numbers = torch.tensor([factor, shift], dtype=torch.float64)
    numbers = numbers.to(images.device, non_blocking=True)
    launch(_saturation, grid, out, images, numbers, height * width, PIXELS=PIXELS // 2)
    return out


def pick(images: UInt8Batch, row: Any, column: Any) -> UInt8Batch:
    """Take the pixel at [row[y], column[x]] for place (y, x)."""
    down, across = (np.full((len(places), 1), 1 << 22, np.int32) for places in (row, column))
    return resize(images, column, across, row, down)


def resize(
    images: UInt8Batch, column: Any, column_weights: Any, row: Any, row_weights: Any
) -> UInt8Batch:
    """Resample columns, then rows, in 22-bit fixed point with a rounded uint8 in between.

    Output column x is the sum over i of column_weights[x, i] * input column column[x] + i; rows
    likewise.
    """
    images = images.contiguous()
    count, channels, height, width = images.shape
    out = images.new_empty(count, channels, len(row), len(column))
    tables = (on_device(t, images.device) for t in (column, column_weights, row, row_weights))
    sizes = (height, width, *out.shape[2:], column_weights.shape[1], row_weights.shape[1])
    grid = (count * channels, cover(len(row) * len(column), PIXELS))
    launch(_resize, grid, out, images, *tables, *sizes, PIXELS=PIXELS)
    return out


def _empty(images: Tensor) -> Tensor:
    return torch.empty_like(images, memory_format=torch.contiguous_format)


def _look_up_in(images: UInt8Batch, tables: Tensor) -> UInt8Batch:
    """Look values up in tables (n, 256): one, or one an image or plane."""
    images, out = images.contiguous(), _empty(images)
    parts = max(len(tables), len(images), 1)
    values = images.numel() // parts
    step = 256 * (len(tables) // parts)
    grid = (parts, cover(values, 4 * PIXELS))
    launch(_look_up, grid, out, images, tables, values, step, PIXELS=4 * PIXELS)
    return out


@fused
def _look_up(out, images, tables, values, step, PIXELS: tl.constexpr):
    part = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = places < values
    old = tl.load(images + part * values + places, inside, 0).to(tl.int32)
    tl.store(out + part * values + places, tl.load(tables + part * step + old), inside)


@fused
def _by_maximum(out, images, table, channels, pixels, PIXELS: tl.constexpr):
    places = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = places < pixels
    first = tl.program_id(0).to(tl.int64) * channels * pixels
    largest = tl.zeros_like(places)
    for c in range(channels):
        old = tl.load(images + first + c * pixels + places, inside, 0).to(tl.int32)
        largest = tl.maximum(largest, old)
    for c in range(channels):
        old = tl.load(images + first + c * pixels + places, inside, 0).to(tl.int32)
        tl.store(out + first + c * pixels + places, tl.load(table + largest * 256 + old), inside)


@fused
def _mean_tables(tables, images, factors, pixels, PIXELS: tl.constexpr):
    """Tabulate the new value at each old one, one table a plane."""
    plane, places = tl.program_id(0).to(tl.int64), tl.arange(0, PIXELS)
    totals = tl.zeros_like(places)
    for first in range(0, pixels, PIXELS):
        at = first + places
        totals += tl.load(images + plane * pixels + at, at < pixels, 0).to(tl.int32)
    levels = tl.arange(0, 256)
    wide = tl.zeros_like(levels).to(tl.float64)
    mean = (wide + tl.sum(totals)) / ((wide + 255.0) * (wide + pixels))
    new = (levels.to(tl.float64) / (wide + 255.0) - mean) * tl.load(factors) + mean
    new = tl.minimum(tl.maximum(new, 0.0), 1.0) * 255.0
    tl.store(tables + plane * 256 + levels, new.to(tl.int32).to(tl.uint8))


@fused
def _luma_tables(tables, images, factors, channels, pixels, PIXELS: tl.constexpr):
    """Tabulate the new value at each old one, one table an image."""
    image, places = tl.program_id(0).to(tl.int64), tl.arange(0, PIXELS)
    images += image * channels * pixels
    totals = tl.zeros_like(places)
    for first in range(0, pixels, PIXELS):
        at = first + places
        inside = at < pixels
        old = tl.load(images + at, inside, 0).to(tl.int32)
        if channels == 3:
            old *= RED
            old += GREEN * tl.load(images + pixels + at, inside, 0).to(tl.int32)
            old += BLUE * tl.load(images + 2 * pixels + at, inside, 0).to(tl.int32)
            old = (old + 32768) >> 16
        totals += tl.where(inside, old, 0)
    total = tl.sum(totals).to(tl.int64)
    levels = tl.arange(0, 256)
    mean = ((2 * total + pixels) // (2 * pixels)).to(tl.float32)
    new = mean + tl.load(factors) * (levels.to(tl.float32) - mean)
    new = tl.minimum(tl.maximum(new, 0.0), 255.0)
    tl.store(tables + image * 256 + levels, new.to(tl.int32).to(tl.uint8))


@fused
def _saturation(out, images, numbers, pixels, PIXELS: tl.constexpr):
    places = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = places < pixels
    images += tl.program_id(0).to(tl.int64) * 3 * pixels
    out += tl.program_id(0).to(tl.int64) * 3 * pixels
    one = tl.full((PIXELS,), 1.0, tl.float64)
    red = tl.load(images + places, inside, 0).to(tl.float64) / 255.0
    green = tl.load(images + pixels + places, inside, 0).to(tl.float64) / 255.0
    blue = tl.load(images + 2 * pixels + places, inside, 0).to(tl.float64) / 255.0
    value = tl.maximum(tl.maximum(red, green), blue)
    span = value - tl.minimum(tl.minimum(red, green), blue)
    is_blue, is_green = blue == value, green == value
    ahead = tl.where(is_blue, red - green, tl.where(is_green, blue - red, green - blue))
    base = tl.where(is_blue, 4 * one, tl.where(is_green, 2 * one, 0 * one))
    hue = (base + ahead / tl.where(span > 0, span, one)) / 6.0
    hue = tl.where(hue < 0, hue + 1.0, hue)
    sixth = tl.where(span > 0, hue * 6.0, 0 * one)
    whole = sixth.to(tl.int32)
    share = sixth - whole.to(tl.float64)
    saturation = span / tl.where(value > 0, value, one) * tl.load(numbers) + tl.load(numbers + 1)
    saturation = tl.minimum(tl.maximum(saturation, 0.0), 1.0)
    top = (value * 255.0).to(tl.int32)
    low = (value * (1.0 - saturation) * 255.0).to(tl.int32)
    mixed = tl.where(whole % 2 == 0, (1.0 - share) * saturation, share * saturation)
    middle = (value * (1.0 - mixed) * 255.0).to(tl.int32)
    whole %= 6
    new = tl.where((whole == 0) | (whole == 5), top, low)
    new = tl.where((whole == 1) | (whole == 4), middle, new)
    tl.store(out + places, new.to(tl.uint8), inside)
    new = tl.where((whole == 1) | (whole == 2), top, low)
    new = tl.where((whole == 0) | (whole == 3), middle, new)
    tl.store(out + pixels + places, new.to(tl.uint8), inside)
    new = tl.where((whole == 3) | (whole == 4), top, low)
    new = tl.where((whole == 2) | (whole == 5), middle, new)
    tl.store(out + 2 * pixels + places, new.to(tl.uint8), inside)


@fused
def _resize(
    out, images, column, column_weights, row, row_weights, height, width, out_height, out_width,
    column_taps, row_taps, PIXELS: tl.constexpr,
):  # fmt: skip
    plane = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = places < out_height * out_width
    y, x = places // out_width, places % out_width
    images += plane * height * width
    first = tl.load(row + y, inside, 0) * width + tl.load(column + x, inside, 0)
    down = tl.full((PIXELS,), 1 << 21, tl.int32)
    for i in range(row_taps):
        across = tl.full((PIXELS,), 1 << 21, tl.int32)
        for j in range(column_taps):
            weight = tl.load(column_weights + x * column_taps + j, inside, 0)
            across += weight * tl.load(images + first + i * width + j, inside, 0).to(tl.int32)
        down += (across >> 22) * tl.load(row_weights + y * row_taps + i, inside, 0)
    tl.store(out + plane * out_height * out_width + places, (down >> 22).to(tl.uint8), inside)
