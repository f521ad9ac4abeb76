"""Filters for a GPU: a program makes a block of places of one plane, in the order of the CPU."""

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from medrobust.types import Float32Array, Float64Array, Int64Array, UInt8Batch

from .batches import Int32Array
from .fused import BLOCK, cover, fused, launch, on_device


def soften(images: UInt8Batch, exact: Float64Array) -> UInt8Batch:
    """Filter every plane in float64 on values of 0 to 1, truncated: scipy's sums in their order.

    Down first, from the rim of the window to its middle; edges replicated.
    """
    count, channels, height, width = images.shape
    device = images.device
    levels, weights = on_device(np.arange(256) / 255.0, device), on_device(exact, device)
    images = images.contiguous()
    values, middle = torch.empty(2, *images.shape, dtype=torch.float64, device=device)
    out = torch.empty_like(images)
    grid = (count * channels, cover(height * width, BLOCK))
    sizes = (len(exact) // 2, height, width)
    launch(_levels, grid, values, images, levels, height * width, BLOCK=BLOCK)
    launch(_sums, grid, middle, values, weights, *sizes, ACROSS=False, BLOCK=BLOCK)
    launch(_sums, grid, out, middle, weights, *sizes, ACROSS=True, BLOCK=BLOCK)
    return out


@fused
def _levels(out, images, levels, pixels, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * pixels
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(levels + tl.load(images + start + places, places < pixels, 0))
    tl.store(out + start + places, value, places < pixels)


@fused
def _sums(out, values, weights, radius, height, width, ACROSS: tl.constexpr, BLOCK: tl.constexpr):
    """Sum float64 along one axis; across, the sums are brought to 0 to 255."""
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    y, x = places // width, places % width
    start = tl.program_id(0).to(tl.int64) * height * width
    base = values + start
    if ACROSS:
        at, last, step, rest = x, width - 1, 1, y * width
    else:
        at, last, step, rest = y, height - 1, width, x
    total = tl.load(base + places, inside, 0.0) * tl.load(weights + radius)
    for k in range(radius):
        before = tl.maximum(at + k - radius, 0) * step + rest
        after = tl.minimum(at + radius - k, last) * step + rest
        pair = tl.load(base + before, inside, 0.0) + tl.load(base + after, inside, 0.0)
        total += pair * tl.load(weights + k)
    if ACROSS:
        total = (tl.minimum(tl.maximum(total, 0.0), 1.0) * 255.0).to(tl.uint8)
    tl.store(out + start + places, total, inside)


def smooth(
    fields: Tensor,
    row_weights: Float32Array,
    column_weights: Float32Array,
    row_map: Int64Array,
    column_map: Int64Array,
) -> Tensor:
    """Filter planes (..., H, W), uint8 or float32, to float32, from the middle outwards."""
    height, width = fields.shape[-2:]
    fields = fields.contiguous()
    middle = torch.empty(fields.shape, dtype=torch.float32, device=fields.device)
    out = torch.empty_like(middle)
    grid = (fields.numel() // (height * width), cover(height * width, BLOCK))
    given = (
        (middle, fields, row_weights, row_map, 0),
        (out, middle, column_weights, column_map, 1),
    )
    for target, source, weights, places, along in given:
        tables = (on_device(t, fields.device) for t in (weights, places.astype(np.int32)))
        sizes = (len(weights) // 2, height, width)
        launch(_smooth, grid, target, source, *tables, *sizes, ACROSS=along, BLOCK=BLOCK)
    return out


@fused
def _smooth(
    out, fields, weights, where, radius, height, width, ACROSS: tl.constexpr, BLOCK: tl.constexpr
):
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    y, x = places // width, places % width
    start = tl.program_id(0).to(tl.int64) * height * width
    base = fields + start
    if ACROSS:
        at, step, rest = x, 1, y * width
    else:
        at, step, rest = y, width, x
    total = tl.load(weights + radius) * tl.load(base + places, inside, 0).to(tl.float32)
    for i in range(1, radius + 1):
        before = tl.load(where + at + radius - i, inside, 0) * step + rest
        after = tl.load(where + at + radius + i, inside, 0) * step + rest
        pair = tl.load(base + before, inside, 0).to(tl.float32)
        pair += tl.load(base + after, inside, 0).to(tl.float32)
        total += tl.load(weights + radius + i) * pair
    tl.store(out + start + places, total, inside)


def boxes(
    images: UInt8Batch,
    row_map: Int64Array,
    column_map: Int64Array,
    box: Int32Array,
    first: Int64Array,
    reach: int,
    bits: int,
) -> UInt8Batch:
    """Sum boxes over pairs of rows, as the kernel for the CPU does."""
    count, channels, height, width = images.shape
    device = images.device
    given = (row_map, column_map, box, first)
    rows, columns, box_, first_ = (on_device(t.astype(np.int32), device) for t in given)
    images, planes = images.contiguous(), count * channels
    length = width + 2 * reach + 1
    prefix = torch.empty(planes, height, length, dtype=torch.int32, device=device)
    lanes = 1 << (length - 1).bit_length()
    launch(_prefix, (planes * height,), prefix, images, columns, length, width, LANES=lanes)
    out = torch.empty_like(images)
    grid = (planes, cover(height * width, BLOCK))
    sizes = (reach, length, height, width)
    launch(_boxes, grid, out, prefix, rows, box_, first_, *sizes, BITS=bits, BLOCK=BLOCK)
    return out


@fused
def _prefix(out, images, columns, length, width, LANES: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, LANES)
    counted = (lane > 0) & (lane < length)
    at = tl.load(columns + lane - 1, counted, 0)
    value = tl.load(images + row * width + at, counted, 0).to(tl.int32)
    tl.store(out + row * length + lane, tl.cumsum(value, 0), lane < length)


@fused
def _boxes(
    out, prefix, rows, box, first, reach, length, height, width,
    BITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    y, x = places // width, places % width
    plane = tl.program_id(0).to(tl.int64)
    base, at = prefix + plane * height * length, x + reach
    total = tl.zeros((BLOCK,), tl.int32)
    for d in range(reach + 1):
        above = tl.load(rows + y + reach - d, inside, 0) * length
        below = tl.load(rows + y + reach + d, inside, 0) * length
        twice = tl.where(d > 0, 1, 0)
        for b in range(tl.load(first + d), tl.load(first + d + 1)):
            half, weight = tl.load(box + 2 * b), tl.load(box + 2 * b + 1)
            right, left = at + (half + 1), at - half
            pair = tl.load(base + (above + right), inside, 0)
            pair -= tl.load(base + (above + left), inside, 0)
            other = tl.load(base + (below + right), inside, 0)
            other -= tl.load(base + (below + left), inside, 0)
            total += weight * (pair + twice * other)
    value = tl.minimum(tl.maximum(total >> BITS, 0), 255)
    tl.store(out + plane * height * width + places, value.to(tl.uint8), inside)
