"""The lossy part of JPEG for a GPU, in integers.

Transforms pass through memory by rows, columns and rows: lanes hold eight values each. Value (v, u)
of block b stands at (8 u + v) * blocks + b, so that neighbouring lanes touch neighbouring places.
"""

from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from medrobust.corruptions.numba import jpeg as jpeg_numba
from medrobust.types import UInt8Batch

from .launch import cover, fused, launch, on_device

LANES = 512
"""Lanes of a program."""

C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11 = (
    tl.constexpr(getattr(jpeg_numba, f"C{i}")) for i in range(12)
)


def compress(images: UInt8Batch, steps: Any) -> UInt8Batch:
    """Do to every image what JPEG with steps[0] for luma and steps[1] for chroma, (2, 64), does."""
    count, channels, height, width = images.shape
    images, steps = images.contiguous(), on_device(steps, images.device)
    out = torch.empty_like(images)
    if channels == 1:
        _quantise((images,), (out,), steps)
        return out
    rows, columns = cover(height, 2), cover(width, 2)
    padded = cover(columns, 8) * 8
    luma = images.new_empty(count, 1, height, width)
    chroma = images.new_empty(count, 2, rows, padded)
    sizes = (height, width, rows, columns, padded)
    launch(_split, _grid(count, rows * padded), luma, chroma, images, *sizes, LANES=LANES)
    _quantise((luma, chroma), (luma, chroma), steps)
    launch(_join, _grid(count, height * width), out, luma, chroma, *sizes, LANES=LANES)
    return out


def _quantise(sources: tuple[Tensor, ...], targets: tuple[Tensor, ...], steps: Tensor) -> None:
    """Transform, round to multiples of the steps and transform back, perhaps in place.

    Sources are uint8 (N, C, H, W), luma and chroma, continued by their last row and column to
    sides that are multiples of 8.
    """
    across = [cover(source.shape[3], 8) for source in sources]
    blocks = [cover(s.shape[2], 8) * n for s, n in zip(sources, across, strict=True)]
    total = sum(s.shape[1] * n for s, n in zip(sources, blocks, strict=True))
    count, luma = sources[0].shape[0], sources[0].shape[1] * blocks[0]
    values = torch.empty(count, 64, total, dtype=torch.int32, device=steps.device)
    places = list(zip(across, blocks, (0, luma), strict=False))
    for source, place in zip(sources, places, strict=True):
        grid = _grid(count * source.shape[1], 8 * place[1])
        launch(_rows, grid, values, source, *source.shape[1:], *place, total, LANES=LANES)
    launch(_columns, _grid(count, 8 * total), values, steps, luma, total, LANES=LANES)
    for target, place in zip(targets, places, strict=True):
        grid = _grid(count * target.shape[1], 8 * place[1])
        launch(_rows_back, grid, target, values, *target.shape[1:], *place, total, LANES=LANES)


def _grid(count: int, lanes: int) -> tuple[int, int]:
    return count, cover(lanes, LANES)


@fused
def _split(
    luma, chroma, images, height, width, rows, columns, padded, LANES: tl.constexpr
):  # fmt: skip
    """Convert to luma, and to chroma averaged over 2 x 2 values, rounding up and down in turns."""
    image = tl.program_id(0).to(tl.int64)
    cells = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside = cells < rows * padded
    cell_row, cell_column = cells // padded, cells % padded
    shown = inside & (cell_column < columns)
    images += image * 3 * height * width
    luma += image * height * width
    chroma += image * 2 * rows * padded
    blues, reds = tl.zeros_like(cells), tl.zeros_like(cells)
    for corner in range(4):
        row, column = 2 * cell_row + corner // 2, 2 * cell_column + corner % 2
        real = shown & (row < height) & (column < width)
        at = tl.minimum(row, height - 1) * width + tl.minimum(column, width - 1)
        r = tl.load(images + at, inside, 0).to(tl.int32)
        g = tl.load(images + height * width + at, inside, 0).to(tl.int32)
        b = tl.load(images + 2 * height * width + at, inside, 0).to(tl.int32)
        bright = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16
        tl.store(luma + at, bright.to(tl.uint8), real)
        blues += (32768 * b - 11059 * r - 21709 * g + 8421375) >> 16
        reds += (32768 * r - 27439 * g - 5329 * b + 8421375) >> 16
    turn = 1 + cell_column % 2
    tl.store(chroma + cells, ((blues + turn) >> 2).to(tl.uint8), inside)
    tl.store(chroma + rows * padded + cells, ((reds + turn) >> 2).to(tl.uint8), inside)


@fused
def _rows(
    values, planes, channels, height, width, across, blocks, first, total, LANES: tl.constexpr
):  # fmt: skip
    """Transform the rows of blocks `first` and on; lane (v, b)."""
    plane = tl.program_id(0)
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside, v, block = lane < 8 * blocks, lane // blocks, lane % blocks
    planes += plane.to(tl.int64) * height * width
    values += (plane // channels).to(tl.int64) * 64 * total
    planes += tl.minimum(block // across * 8 + v, height - 1) * width
    x = ()
    for u in tl.static_range(8):
        value = tl.load(planes + tl.minimum(block % across * 8 + u, width - 1), inside, 128)
        x = x + (value.to(tl.int32) - 128,)  # noqa: RUF005
    y = _forward_cosine(x, 11)
    place = v * total + first + plane % channels * blocks + block
    for u in tl.static_range(8):
        tl.store(values + 8 * u * total + place, y[u], inside)


@fused
def _columns(values, steps, luma, total, LANES: tl.constexpr):
    """Transform columns, round to multiples of the steps and transform back; lane (u, b)."""
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside, u, block = lane < 8 * total, lane // total, lane % total
    values += tl.program_id(0).to(tl.int64) * 64 * total + 8 * u * total + block
    steps += tl.where(block < luma, 0, 64) + u
    x = ()
    for v in tl.static_range(8):
        x = x + (tl.load(values + v * total, inside, 0),)  # noqa: RUF005
    y = _forward_cosine(x, 15)
    levels = ()
    for v in tl.static_range(8):
        step = tl.load(steps + 8 * v, inside, 1)
        level = (tl.abs(y[v]) + 4 * step) // (8 * step) * step
        levels = levels + (tl.where(y[v] < 0, -level, level),)  # noqa: RUF005
    x = _inverse_cosine(levels, 11)
    for v in tl.static_range(8):
        tl.store(values + v * total, x[v], inside)


@fused
def _rows_back(
    planes, values, channels, height, width, across, blocks, first, total, LANES: tl.constexpr
):  # fmt: skip
    """Transform the rows back to pixels; lane (v, b)."""
    plane = tl.program_id(0)
    lane = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside, v, block = lane < 8 * blocks, lane // blocks, lane % blocks
    planes += plane.to(tl.int64) * height * width
    values += (plane // channels).to(tl.int64) * 64 * total
    place = v * total + first + plane % channels * blocks + block
    y = ()
    for u in tl.static_range(8):
        y = y + (tl.load(values + 8 * u * total + place, inside, 0),)  # noqa: RUF005
    x = _inverse_cosine(y, 18)
    row, left = block // across * 8 + v, block % across * 8
    planes += row * width + left
    for u in tl.static_range(8):
        tl.store(planes + u, _clip(x[u] + 128), inside & (row < height) & (left + u < width))


@fused
def _join(out, luma, chroma, height, width, rows, columns, padded, LANES: tl.constexpr):
    """Enlarge the chroma: 9, 3, 3 and 1 sixteenths of the nearest four; and convert to colours."""
    image = tl.program_id(0).to(tl.int64)
    pixels = tl.program_id(1) * LANES + tl.arange(0, LANES)
    inside = pixels < height * width
    row, column = pixels // width, pixels % width
    near_row, near_column = row // 2, column // 2
    far_row = tl.minimum(tl.maximum(near_row + row % 2 * 2 - 1, 0), rows - 1)
    far_column = tl.minimum(tl.maximum(near_column + column % 2 * 2 - 1, 0), columns - 1)
    luma += image * height * width
    chroma += image * 2 * rows * padded
    out += image * 3 * height * width
    half = 8 - column % 2
    bright = tl.load(luma + pixels, inside, 0).to(tl.int32)
    blue = _enlarge(chroma, near_row, far_row, near_column, far_column, padded, half, inside)
    red = _enlarge(
        chroma + rows * padded, near_row, far_row, near_column, far_column, padded, half, inside
    )
    red_value = bright + ((91881 * red + 32768) >> 16)
    green_value = bright + ((32768 - 22554 * blue - 46802 * red) >> 16)
    blue_value = bright + ((116130 * blue + 32768) >> 16)
    tl.store(out + pixels, _clip(red_value), inside)
    tl.store(out + height * width + pixels, _clip(green_value), inside)
    tl.store(out + 2 * height * width + pixels, _clip(blue_value), inside)


@fused
def _enlarge(plane, near_row, far_row, near_column, far_column, padded, half, inside):
    near = 3 * tl.load(plane + near_row * padded + near_column, inside, 0).to(tl.int32)
    near += tl.load(plane + far_row * padded + near_column, inside, 0).to(tl.int32)
    far = 3 * tl.load(plane + near_row * padded + far_column, inside, 0).to(tl.int32)
    far += tl.load(plane + far_row * padded + far_column, inside, 0).to(tl.int32)
    return ((3 * near + far + half) >> 4) - 128


@fused
def _clip(value):
    return tl.minimum(tl.maximum(value, 0), 255).to(tl.uint8)


@fused
def _odd_part(a, b, c, d):
    """Rotate the odd half, which both transforms share: `odd_part` of the CPU."""
    both = (a + c + b + d) * C5
    ad, bc = (a + d) * C4, (b + c) * C10
    ac, bd = both - (a + c) * C8, both - (b + d) * C1
    return a * C0 - ad + ac, b * C9 - bc + bd, c * C11 - bc + ac, d * C6 - ad + bd


@fused
def _forward_cosine(x, SHIFT: tl.constexpr):
    """Transform eight samples, rounded to multiples of 2^(SHIFT - 13)."""
    half = 1 << (SHIFT - 1)
    a0, a3, a1, a2 = x[0] + x[7], x[3] + x[4], x[1] + x[6], x[2] + x[5]
    even, odd, inner, outer = a0 + a3, a1 + a2, a1 - a2, a0 - a3
    turned = (inner + outer) * C2 + half
    y7, y5, y3, y1 = _odd_part(x[3] - x[4], x[2] - x[5], x[1] - x[6], x[0] - x[7])
    return (
        ((even + odd) * 8192 + half) >> SHIFT, (y1 + half) >> SHIFT,
        (turned + outer * C3) >> SHIFT, (y3 + half) >> SHIFT,
        ((even - odd) * 8192 + half) >> SHIFT, (y5 + half) >> SHIFT,
        (turned - inner * C7) >> SHIFT, (y7 + half) >> SHIFT,
    )  # fmt: skip


@fused
def _inverse_cosine(y, SHIFT: tl.constexpr):
    """Transform eight coefficients back, rounded likewise."""
    half = 1 << (SHIFT - 1)
    turned = (y[2] + y[6]) * C2
    inner, outer = turned - y[6] * C7, turned + y[2] * C3
    even, odd = (y[0] + y[4]) * 8192 + half, (y[0] - y[4]) * 8192 + half
    a0, a3, a1, a2 = even + outer, even - outer, odd + inner, odd - inner
    b3, b2, b1, b0 = _odd_part(y[7], y[5], y[3], y[1])
    return (
        (a0 + b0) >> SHIFT, (a1 + b1) >> SHIFT, (a2 + b2) >> SHIFT, (a3 + b3) >> SHIFT,
        (a3 - b3) >> SHIFT, (a2 - b2) >> SHIFT, (a1 - b1) >> SHIFT, (a0 - b0) >> SHIFT,
    )  # fmt: skip
