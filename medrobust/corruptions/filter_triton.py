"""Filters for a GPU: a program makes a tile of one plane, in the order of the CPU's sums."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from medrobust.types import Float32Array, Float64Array, Int64Array, UInt8Batch

from .batches import Int32Array
from .fused import BLOCK, cover, fused, launch, on_device, over_planes

ROWS, LANES, UNROLL = 32, 32, 4
"""Height and width of a tile that a program of `_filter` makes, and sums of a round of its loop."""

AT_ONCE = 1 << 27
"""Values that `soften` holds in float64, twice: a gigabyte each."""

DISK_ROWS, DISK_LANES = 64, 32
"""Height and width of a tile that a program of `_disk` makes."""


def soften(
    images: UInt8Batch, exact: Float64Array, row_map: Int64Array, column_map: Int64Array
) -> UInt8Batch:
    """Filter every plane in float64 on values of 0 to 1, truncated: scipy's sums in their order.

    Down first, from the rim of the window to its middle.
    """
    levels = on_device(np.arange(256) / 255.0, images.device)
    parts = images.contiguous().split(max(1, AT_ONCE // images[0].numel()))
    done = [_softened(part, levels, exact, row_map, column_map) for part in parts]
    return done[0] if len(done) == 1 else torch.cat(done)


def _softened(
    images: UInt8Batch,
    levels: Tensor,
    exact: Float64Array,
    row_map: Int64Array,
    column_map: Int64Array,
) -> UInt8Batch:
    pixels = images[0, 0].numel()
    values = over_planes(_levels, images, levels, pixels, dtype=torch.float64)
    down = _along_rows(values, exact, row_map, from_rim=True)
    return _along_rows(down, exact, column_map, from_rim=True, grey=True)


@fused
def _levels(out, images, levels, pixels, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * pixels
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(levels + tl.load(images + start + places, places < pixels, 0))
    tl.store(out + start + places, value, places < pixels)


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
    *,
    from_rim: bool = False,
    grey: bool = False,
) -> Tensor:
    """Sum planes (..., H, W) over rows in the type of the weights, and transpose: (..., W, H).

    Twice, it filters both axes, and reads whole lines of memory each time. With `grey`, sums of
    values of 0 to 1 become grey levels, uint8.
    """
    *many, height, width = fields.shape
    tables = [on_device(t, fields.device) for t in (weights, where.astype(np.int32))]
    dtype = torch.uint8 if grey else tables[0].dtype
    out = torch.empty(*many, width, height, dtype=dtype, device=fields.device)
    grid = (fields.numel() // (height * width), cover(height, ROWS) * cover(width, LANES))
    sizes = (len(weights) // 2, height, width)
    forms = {"FROM_RIM": from_rim, "GREY": grey, "ROWS": ROWS, "LANES": LANES, "UNROLL": UNROLL}
    launch(_filter, grid, out, fields, *tables, *sizes, **forms)
    return out


@fused
def _filter(
    out, fields, weights, where, radius, height, width,
    FROM_RIM: tl.constexpr, GREY: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
    UNROLL: tl.constexpr,
):  # fmt: skip
    plane = tl.program_id(0).to(tl.int64) * height * width
    tiles = tl.cdiv(width, LANES)
    y = tl.program_id(1) // tiles * ROWS + tl.arange(0, ROWS)
    x = tl.program_id(1) % tiles * LANES + tl.arange(0, LANES)
    inside = (y < height)[:, None] & (x < width)[None, :]
    base = fields + plane + x[None, :]
    weight = tl.load(weights + radius)
    total = weight * tl.load(base + y[:, None] * width, inside, 0).to(weight.dtype)
    for k in tl.range(radius, loop_unroll_factor=UNROLL):
        i = radius - k if FROM_RIM else k + 1
        before = tl.load(where + y + (radius - i), y < height, 0)[:, None] * width
        after = tl.load(where + y + (radius + i), y < height, 0)[:, None] * width
        pair = tl.load(base + before, inside, 0).to(weight.dtype)
        pair += tl.load(base + after, inside, 0).to(weight.dtype)
        total += tl.load(weights + radius + i) * pair
    if GREY:
        total = (tl.minimum(tl.maximum(total, 0.0), 1.0) * 255.0).to(tl.uint8)
    tl.store(out + plane + x[None, :] * height + y[:, None], total, inside)


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
