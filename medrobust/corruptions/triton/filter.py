"""Filters for a GPU: a program makes a tile of one plane, in the order of the CPU's sums."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from medrobust.corruptions import batches
from medrobust.corruptions.batches import Int32Array
from medrobust.types import Float32Array, Float64Array, Int64Array, UInt8Array, UInt8Batch

from .launch import BLOCK, cover, fused, launch, on_device

ROWS, LANES, UNROLL = 32, 32, 4
"""Height and width of a tile that a program of `_filter` makes, and sums of a round of its loop."""

TALL, WIDE = 16, 32
"""Height and width of a tile that a program of `soften` makes."""

FIXED = 22
"""Bits behind the point of the sums down a column that `soften` keeps, as int32."""

NEAR = 2.0**-20
"""A sum of those that is closer than this to a whole number does not say on which side of it it
lies: they are off by at most 2^-21."""

DISK_ROWS, DISK_LANES = 64, 32
"""Height and width of a tile that a program of `_disk` makes."""


def soften(
    images: UInt8Batch,
    exact: Float64Array,
    flat: UInt8Array,
    row_map: Int64Array,
    column_map: Int64Array,
) -> UInt8Batch:
    """Filter every plane, truncated as scipy's float64 sums on values of 0 to 1 would be.

    Sums are kept in fixed point. Only where one is near a whole number does it matter in which
    order it is made; there it is made anew in scipy's: down first, from the rim of the window to
    its middle. Windows of one value are looked up in `flat`.
    """
    *many, height, width = images.shape
    images = images.contiguous()
    arrays = (exact, row_map.astype(np.int32), column_map.astype(np.int32))
    weights, rows, columns = (on_device(array, images.device) for array in arrays)
    ends, levels = (on_device(t, images.device) for t in (flat, batches.LEVELS))
    down = torch.empty(*many, width, height, dtype=torch.int32, device=images.device)
    out = torch.empty_like(images)
    grid = (images.numel() // (height * width), cover(height, TALL) * cover(width, WIDE))
    unsure = torch.empty(grid, dtype=torch.int8, device=images.device)
    sizes = (len(exact) // 2, height, width)
    tile = {"TALL": TALL, "WIDE": WIDE}
    form = tile | {"UNROLL": UNROLL, "FIXED": FIXED}
    launch(_sum_down, grid, down, images, weights, rows, *sizes, **form)
    launch(_sum_across, grid, out, unsure, down, ends, weights, columns, *sizes, **form, NEAR=NEAR)
    launch(_sum_anew, grid, out, unsure, images, levels, weights, rows, columns, *sizes, **tile)
    return out


@fused
def _tile(height, width, TALL: tl.constexpr, WIDE: tl.constexpr):
    """Give the place of this program's plane, and the rows and columns of its tile."""
    plane = tl.program_id(0).to(tl.int64) * height * width
    tiles = tl.cdiv(width, WIDE)
    y = tl.program_id(1) // tiles * TALL + tl.arange(0, TALL)
    x = tl.program_id(1) % tiles * WIDE + tl.arange(0, WIDE)
    return plane, y, x


@fused
def _sum_down(
    out, images, weights, where, radius, height, width,
    TALL: tl.constexpr, WIDE: tl.constexpr, UNROLL: tl.constexpr, FIXED: tl.constexpr,
):  # fmt: skip
    """Sum columns, and transpose: fixed point, of which the last bit says that pixels differ."""
    plane, y, x = _tile(height, width, TALL, WIDE)
    inside = (y < height)[:, None] & (x < width)[None, :]
    base = images + plane + x[None, :]
    centre = tl.load(base + y[:, None] * width, inside, 0).to(tl.int32)
    total = tl.load(weights + radius) * centre.to(tl.float64)
    differ = tl.zeros_like(centre)
    for k in tl.range(radius, loop_unroll_factor=UNROLL):
        above = tl.load(where + y + k, y < height, 0)[:, None] * width
        below = tl.load(where + y + (2 * radius - k), y < height, 0)[:, None] * width
        above = tl.load(base + above, inside, 0).to(tl.int32)
        below = tl.load(base + below, inside, 0).to(tl.int32)
        differ |= (above ^ centre) | (below ^ centre)
        total += tl.load(weights + k) * (above + below).to(tl.float64)
    fixed = (total * (1 << (FIXED - 1)) + 0.5).to(tl.int32) * 2 + (differ != 0).to(tl.int32)
    tl.store(out + plane + x[None, :] * height + y[:, None], fixed, inside)


@fused
def _sum_across(
    out, unsure, down, flat, weights, where, radius, height, width,
    TALL: tl.constexpr, WIDE: tl.constexpr, UNROLL: tl.constexpr, FIXED: tl.constexpr,
    NEAR: tl.constexpr,
):  # fmt: skip
    """Sum what `_sum_down` left, transpose and truncate; say where a sum is near a whole number."""
    plane, y, x = _tile(height, width, TALL, WIDE)
    inside = (x < width)[:, None] & (y < height)[None, :]
    base = down + plane + y[None, :]
    centre = tl.load(base + x[:, None] * height, inside, 0)
    total = tl.load(weights + radius) * centre.to(tl.float64)
    differ = centre & 1
    for k in tl.range(radius, loop_unroll_factor=UNROLL):
        left = tl.load(where + x + k, x < width, 0)[:, None] * height
        right = tl.load(where + x + (2 * radius - k), x < width, 0)[:, None] * height
        left, right = tl.load(base + left, inside, 0), tl.load(base + right, inside, 0)
        differ |= (left ^ centre) | (right ^ centre)
        total += tl.load(weights + k) * (left + right).to(tl.float64)
    total *= 1.0 / (1 << FIXED)
    whole = tl.floor(total + 0.5)
    near = inside & (whole > 0) & (tl.abs(total - whole) < NEAR)
    level = tl.minimum(total, 255.0).to(tl.int32)
    level = tl.where(near & (differ == 0), tl.load(flat + whole.to(tl.int32)), level)
    tl.store(out + plane + y[None, :] * width + x[:, None], level.to(tl.uint8), inside)
    found = tl.max((near & (differ != 0)).to(tl.int32))
    tl.store(unsure + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1), found)


@fused
def _sum_anew(
    out, unsure, images, levels, weights, row_map, column_map, radius, height, width,
    TALL: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Sum the windows of unsure tiles in scipy's order."""
    if tl.load(unsure + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)) != 0:
        plane, y, x = _tile(height, width, TALL, WIDE)
        rows, columns = row_map + tl.minimum(y, height - 1), column_map + tl.minimum(x, width - 1)
        given = (images + plane, width, rows, levels, weights, radius)
        total = tl.load(weights + radius) * _column(tl.load(columns + radius), *given)
        for k in range(radius):
            pair = _column(tl.load(columns + k), *given)
            pair += _column(tl.load(columns + (2 * radius - k)), *given)
            total += tl.load(weights + k) * pair
        level = (tl.minimum(tl.maximum(total, 0.0), 1.0) * 255.0).to(tl.uint8)
        inside = (y < height)[:, None] & (x < width)[None, :]
        tl.store(out + plane + y[:, None] * width + x[None, :], level, inside)


@fused
def _column(x, plane, width, rows, levels, weights, radius):
    """Sum down columns x of a plane, from the rim of the window to its middle."""
    total = tl.load(weights + radius) * _value(x, plane, width, rows + radius, levels)
    for k in range(radius):
        pair = _value(x, plane, width, rows + k, levels)
        pair += _value(x, plane, width, rows + (2 * radius - k), levels)
        total += tl.load(weights + k) * pair
    return total


@fused
def _value(x, plane, width, rows, levels):
    return tl.load(levels + tl.load(plane + tl.load(rows)[:, None] * width + x[None, :]))


def smooth(
    fields: Tensor,
    row_weights: Float32Array | Float64Array,
    column_weights: Float32Array | Float64Array,
    row_map: Int64Array,
    column_map: Int64Array,
) -> Tensor:
    """Filter planes (..., H, W) in the type of the weights, from the middle outwards."""
    down = _along_rows(fields.contiguous(), row_weights, row_map)
    return _along_rows(down, column_weights, column_map)


def _along_rows(
    fields: Tensor,
    weights: Float32Array | Float64Array,
    where: Int64Array,
) -> Tensor:
    """Sum planes (..., H, W) over rows in the type of the weights, and transpose: (..., W, H).

    Twice, it filters both axes, and reads whole lines of memory each time.
    """
    *many, height, width = fields.shape
    tables = [on_device(t, fields.device) for t in (weights, where.astype(np.int32))]
    out = torch.empty(*many, width, height, dtype=tables[0].dtype, device=fields.device)
    grid = (fields.numel() // (height * width), cover(height, ROWS) * cover(width, LANES))
    sizes = (len(weights) // 2, height, width)
    tile = {"ROWS": ROWS, "LANES": LANES, "UNROLL": UNROLL}
    launch(_filter, grid, out, fields, *tables, *sizes, **tile)
    return out


@fused
def _filter(
    out, fields, weights, where, radius, height, width,
    ROWS: tl.constexpr, LANES: tl.constexpr, UNROLL: tl.constexpr,
):  # fmt: skip
    plane, y, x = _tile(height, width, ROWS, LANES)
    inside = (y < height)[:, None] & (x < width)[None, :]
    base = fields + plane + x[None, :]
    weight = tl.load(weights + radius)
    total = weight * tl.load(base + y[:, None] * width, inside, 0).to(weight.dtype)
    for k in tl.range(1, radius + 1, loop_unroll_factor=UNROLL):
        before = tl.load(where + y + (radius - k), y < height, 0)[:, None] * width
        after = tl.load(where + y + (radius + k), y < height, 0)[:, None] * width
        pair = tl.load(base + before, inside, 0).to(weight.dtype)
        pair += tl.load(base + after, inside, 0).to(weight.dtype)
        total += tl.load(weights + radius + k) * pair
    tl.store(out + plane + x[None, :] * height + y[:, None], total, inside)


def separable(
    images: UInt8Batch,
    weights: Float32Array,
    row_map: Int64Array,
    column_map: Int64Array,
    bias: np.float32,
) -> UInt8Batch:
    """Smooth along both axes by the same weights, in float32; add `bias`, clip and truncate."""
    smoothed = smooth(images, weights, weights, row_map, column_map)
    return (smoothed + float(bias)).clamp(max=255).to(torch.uint8)


def boxes(
    images: UInt8Batch,
    row_map: Int64Array,
    column_map: Int64Array,
    box: Int32Array,
    first: Int64Array,
    reach: int,
    bits: int,
) -> UInt8Batch:
    """Sum boxes over pairs of rows to the integers of the kernel for the CPU, by tensor cores.

    A tile of pairs of rows times a band matrix of weights sums along x. Weights are cut into parts
    of so few bits that float16 holds them and float32 their sums exactly, in any order.
    """
    count, channels, height, width = images.shape
    device = images.device
    taps = 1 << (DISK_LANES + 2 * reach - 1).bit_length()
    bands, shift, parts = _bands(box.tobytes(), tuple(first.tolist()), reach, bits, taps)
    stride = cover(width, DISK_LANES) * DISK_LANES + taps - DISK_LANES
    places = column_map[np.minimum(np.arange(stride), len(column_map) - 1)]
    rows, columns = (on_device(t.astype(np.int32), device) for t in (row_map, places))
    images, planes = images.contiguous(), count * channels
    shape = (planes, len(row_map), stride)
    padded = torch.empty(shape, dtype=torch.float16, device=device)
    grid = (planes, cover(shape[1] * stride, BLOCK))
    launch(_padded, grid, padded, images, rows, columns, *shape[1:], height, width, BLOCK=BLOCK)
    out = torch.empty_like(images)
    grid = (planes, cover(height, DISK_ROWS) * cover(width, DISK_LANES))
    form: dict[str, Any] = {"BITS": bits, "SHIFT": shift, "PARTS": parts, "TAPS": taps}
    form |= {"ROWS": DISK_ROWS, "LANES": DISK_LANES}
    launch(_disk, grid, out, padded, on_device(bands, device), reach, stride, height, width, **form)
    return out


@lru_cache(maxsize=64)
def _bands(
    box: bytes, first: tuple[int, ...], reach: int, bits: int, taps: int
) -> tuple[Any, int, int]:
    """Write boxes as a band matrix for each distance of rows, part beside part.

    Returns:
        float16 (reach + 1, taps, parts * DISK_LANES), the bits of a part, and how many parts.
    """
    weights = np.zeros((reach + 1, reach + 1), np.int64)
    pairs = np.frombuffer(box, np.int32).reshape(-1, 2)
    for d, row in enumerate(weights):
        for half, weight in pairs[first[d] : first[d + 1]]:
            row[: half + 1] += weight
    away = np.abs(np.arange(taps)[:, None] - np.arange(DISK_LANES) - reach)
    band = np.where(away <= reach, weights[:, np.minimum(away, reach)], 0)
    parts, largest = 2, 1 << 24
    while 255 * largest >= 1 << 24:
        parts *= 2
        shift = cover(bits + 1, parts)
        pieces = [band >> shift * part & (1 << shift) - 1 for part in range(parts)]
        largest = max(2 * int(piece[:, :, 0].sum()) for piece in pieces)
    return np.concatenate(pieces, 2).astype(np.float16), shift, parts


@fused
def _padded(out, images, rows, columns, tall, stride, height, width, BLOCK: tl.constexpr):
    plane = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < tall * stride
    row = tl.load(rows + places // stride, inside, 0)
    column = tl.load(columns + places % stride, inside, 0)
    value = tl.load(images + plane * height * width + row * width + column, inside, 0)
    tl.store(out + plane * tall * stride + places, value.to(tl.float16), inside)


@fused
def _disk(
    out, padded, bands, reach, stride, height, width,
    BITS: tl.constexpr, SHIFT: tl.constexpr, PARTS: tl.constexpr,
    TAPS: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    plane = tl.program_id(0).to(tl.int64)
    tiles = tl.cdiv(width, LANES)
    left = tl.program_id(1) % tiles * LANES
    y = tl.program_id(1) // tiles * ROWS + tl.arange(0, ROWS)
    inside = (y < height)[:, None]
    tap = tl.arange(0, TAPS)
    middle = padded + plane * (height + 2 * reach) * stride + (y + reach)[:, None] * stride
    middle += left + tap[None, :]
    band = bands + tap[:, None] * (PARTS * LANES) + tl.arange(0, PARTS * LANES)[None, :]
    total = tl.dot(tl.load(middle, inside, 0.0), tl.load(band), out_dtype=tl.float32)
    for d in range(1, reach + 1):
        pair = tl.load(middle - d * stride, inside, 0.0) + tl.load(middle + d * stride, inside, 0.0)
        total = tl.dot(pair, tl.load(band + d * (TAPS * PARTS * LANES)), total)
    shifts = SHIFT * tl.arange(0, PARTS)
    pieces = tl.reshape(total.to(tl.int32), (ROWS, PARTS, LANES)) << shifts[None, :, None]
    value = tl.minimum(tl.sum(pieces, 1) >> BITS, 255).to(tl.uint8)
    x = left + tl.arange(0, LANES)
    place = out + plane * height * width + y[:, None] * width + x[None, :]
    tl.store(place, value, inside & (x < width)[None, :])
