"""Blur kernels for a GPU: a program makes a block of places of one plane."""

from typing import Any

import triton.language as tl

from medrobust.corruptions.batches import Int32Array
from medrobust.types import Float32Array, Int64Array, UInt8Batch

from .launch import fused, on_device, over_planes


def shifted_sum(
    images: UInt8Batch,
    weights: Int32Array,
    dx: Int32Array,
    dy: Int32Array,
    taps: Int64Array,
    bits: int,
) -> UInt8Batch:
    """Sum weights[i] * image(x + dx[n, i], y + dy[n, i]) / 2^bits, as on the CPU."""
    tables = (on_device(table, images.device) for table in (weights, dx, dy, taps))
    return over_planes(_shifted_sum, images, *tables, *images.shape[1:], len(weights), BITS=bits)


@fused
def _shifted_sum(
    out, images, weights, dx, dy, taps, channels, height, width, length,
    BITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    plane = tl.program_id(0)
    image = plane // channels
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    y, x = places // width, places % width
    base = images + plane.to(tl.int64) * height * width
    total = tl.zeros((BLOCK,), tl.int32)
    for i in range(tl.load(taps + image)):
        row = tl.minimum(tl.maximum(y + tl.load(dy + image * length + i), 0), height - 1)
        column = tl.minimum(tl.maximum(x + tl.load(dx + image * length + i), 0), width - 1)
        value = tl.load(base + row * width + column, inside, 0).to(tl.int32)
        total += tl.load(weights + i) * value
    target = out + plane.to(tl.int64) * height * width
    tl.store(target + places, (total >> BITS).to(tl.uint8), inside)


def zoom_mean(
    images: UInt8Batch,
    row: Int32Array,
    row_share: Float32Array,
    column: Int32Array,
    column_share: Float32Array,
) -> UInt8Batch:
    """Average the image with its bilinear zooms, as on the CPU."""
    given: tuple[Any, ...] = (row, row_share, column, column_share)
    tables = (on_device(table, images.device) for table in given)
    return over_planes(_zoom_mean, images, *tables, len(row), *images.shape[2:])


@fused
def _zoom_mean(
    out, images, row, row_share, column, column_share, layers, height, width, BLOCK: tl.constexpr
):
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < height * width
    y, x = places // width, places % width
    start = tl.program_id(0).to(tl.int64) * height * width
    base = images + start
    total = tl.load(base + places, inside, 0).to(tl.float32)
    for z in range(layers):
        above = tl.load(row + z * height + y, inside, 0)
        left = tl.load(column + z * width + x, inside, 0)
        down = tl.load(row_share + z * height + y, inside, 0)
        across = tl.load(column_share + z * width + x, inside, 0)
        seen = inside & (above < height) & (left < width)
        below = tl.minimum(above + 1, height - 1) * width
        right = tl.minimum(left + 1, width - 1)
        above = above * width
        a = tl.load(base + above + left, seen, 0).to(tl.float32)
        b = tl.load(base + above + right, seen, 0).to(tl.float32)
        d = tl.load(base + below + left, seen, 0).to(tl.float32)
        e = tl.load(base + below + right, seen, 0).to(tl.float32)
        first = a + down * (d - a)
        second = b + down * (e - b)
        total += first + across * (second - first)
    mean = tl.div_rn(total, tl.zeros_like(total) + (layers + 1))
    tl.store(out + start + places, tl.minimum(mean, 255.0).to(tl.uint8), inside)
