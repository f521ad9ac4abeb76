"""The lossy part of JPEG for a GPU: a lane holds a block of 8 x 8 values in registers."""

from typing import Any

import torch
import triton.language as tl

from medrobust.types import UInt8Batch

from . import jpeg_numba
from .fused import cover, fused, launch, on_device

CELLS, BLOCKS, PIXELS = 512, 128, 1024
"""Cells of 2 x 2 pixels, blocks, and pixels of a program."""

C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11 = (
    tl.constexpr(getattr(jpeg_numba, f"C{i}")) for i in range(12)
)


def compress(images: UInt8Batch, steps: Any) -> UInt8Batch:
    """Do to every image what JPEG with steps[0] for luma and steps[1] for chroma, (2, 64), does."""
    count, channels, height, width = images.shape
    images, steps = images.contiguous(), on_device(steps, images.device)
    out = torch.empty_like(images)
    if channels == 1:
        quantise_planes(out, images, steps[0])
        return out
    rows, columns = cover(height, 2), cover(width, 2)
    padded = cover(columns, 8) * 8
    luma = images.new_empty(count, height, width)
    chroma = images.new_empty(count, 2, rows, padded)
    sizes = (height, width, rows, columns, padded)
    launch(_split, (count, cover(rows * padded, CELLS)), luma, chroma, images, *sizes, CELLS=CELLS)
    quantise_planes(luma, luma, steps[0])
    quantise_planes(chroma, chroma, steps[1])
    launch(_join, (count, cover(height * width, PIXELS)), out, luma, chroma, *sizes, PIXELS=PIXELS)
    return out


def quantise_planes(out: UInt8Batch, planes: UInt8Batch, steps: Any) -> None:
    """Transform, round to multiples of `steps` (64,) and transform back, perhaps in place.

    `planes` is uint8 (..., H, W), continued by its last row and column to sides that are multiples
    of 8.
    """
    height, width = planes.shape[-2:]
    across = cover(width, 8)
    blocks = cover(height, 8) * across
    grid = (planes.numel() // (height * width), cover(blocks, BLOCKS))
    launch(_quantise, grid, out, planes, steps, height, width, across, blocks, BLOCKS=BLOCKS)


@fused
def _split(
    luma, chroma, images, height, width, rows, columns, padded, CELLS: tl.constexpr
):  # fmt: skip
    """Convert to luma, and to chroma averaged over 2 x 2 values, rounding up and down in turns."""
    image = tl.program_id(0).to(tl.int64)
    cells = tl.program_id(1) * CELLS + tl.arange(0, CELLS)
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
def _quantise(out, planes, steps, height, width, across, blocks, BLOCKS: tl.constexpr):
    """Transform one block a lane; value (v, u) stands at 8 v + u, or transposed at 8 u + v."""
    plane = tl.program_id(0).to(tl.int64) * height * width
    number = tl.program_id(1) * BLOCKS + tl.arange(0, BLOCKS)
    inside = number < blocks
    top, left = number // across * 8, number % across * 8
    out += plane
    planes += plane
    block = ()
    for i in tl.static_range(64):
        row, column = tl.minimum(top + i % 8, height - 1), tl.minimum(left + i // 8, width - 1)
        value = tl.load(planes + row * width + column, inside, 128)
        block = block + (value.to(tl.int32) - 128,)  # noqa: RUF005
    block = _forward_pass(_forward_pass(block, 11), 15)
    levels = ()
    for i in tl.static_range(64):
        step, value = tl.load(steps + i), block[i % 8 * 8 + i // 8]
        level = (tl.abs(value) + 4 * step) // (8 * step) * step
        levels = levels + (tl.where(value < 0, -level, level),)  # noqa: RUF005
    block = _inverse_pass(_inverse_pass(levels, 11), 18)
    for i in tl.static_range(64):
        row, column = top + i // 8, left + i % 8
        value = tl.minimum(tl.maximum(block[i] + 128, 0), 255).to(tl.uint8)
        real = inside & (row < height) & (column < width)
        tl.store(out + row * width + column, value, real)


@fused
def _join(out, luma, chroma, height, width, rows, columns, padded, PIXELS: tl.constexpr):
    """Enlarge the chroma: 9, 3, 3 and 1 sixteenths of the nearest four; and convert to colours."""
    image = tl.program_id(0).to(tl.int64)
    pixels = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
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
def _forward_pass(block, SHIFT: tl.constexpr):
    """Transform along the first of two axes and exchange them."""
    done = ()
    for k in tl.static_range(8):
        done = done + _forward_cosine(
            block[k], block[8 + k], block[16 + k], block[24 + k],
            block[32 + k], block[40 + k], block[48 + k], block[56 + k], SHIFT,
        )  # fmt: skip
    return done


@fused
def _inverse_pass(block, SHIFT: tl.constexpr):
    done = ()
    for k in tl.static_range(8):
        done = done + _inverse_cosine(
            block[k], block[8 + k], block[16 + k], block[24 + k],
            block[32 + k], block[40 + k], block[48 + k], block[56 + k], SHIFT,
        )  # fmt: skip
    return done


@fused
def _odd_part(a, b, c, d):
    """Rotate the odd half, which both transforms share: `odd_part` of the CPU."""
    both = (a + c + b + d) * C5
    ad, bc = (a + d) * C4, (b + c) * C10
    ac, bd = both - (a + c) * C8, both - (b + d) * C1
    return a * C0 - ad + ac, b * C9 - bc + bd, c * C11 - bc + ac, d * C6 - ad + bd


@fused
def _forward_cosine(x0, x1, x2, x3, x4, x5, x6, x7, SHIFT: tl.constexpr):
    half = 1 << (SHIFT - 1)
    a0, a3, a1, a2 = x0 + x7, x3 + x4, x1 + x6, x2 + x5
    even, odd, inner, outer = a0 + a3, a1 + a2, a1 - a2, a0 - a3
    turned = (inner + outer) * C2 + half
    y7, y5, y3, y1 = _odd_part(x3 - x4, x2 - x5, x1 - x6, x0 - x7)
    return (
        ((even + odd) * 8192 + half) >> SHIFT, (y1 + half) >> SHIFT,
        (turned + outer * C3) >> SHIFT, (y3 + half) >> SHIFT,
        ((even - odd) * 8192 + half) >> SHIFT, (y5 + half) >> SHIFT,
        (turned - inner * C7) >> SHIFT, (y7 + half) >> SHIFT,
    )  # fmt: skip


@fused
def _inverse_cosine(y0, y1, y2, y3, y4, y5, y6, y7, SHIFT: tl.constexpr):
    half = 1 << (SHIFT - 1)
    turned = (y2 + y6) * C2
    inner, outer = turned - y6 * C7, turned + y2 * C3
    even, odd = (y0 + y4) * 8192 + half, (y0 - y4) * 8192 + half
    a0, a3, a1, a2 = even + outer, even - outer, odd + inner, odd - inner
    b3, b2, b1, b0 = _odd_part(y7, y5, y3, y1)
    return (
        (a0 + b0) >> SHIFT, (a1 + b1) >> SHIFT, (a2 + b2) >> SHIFT, (a3 + b3) >> SHIFT,
        (a3 - b3) >> SHIFT, (a2 - b2) >> SHIFT, (a1 - b1) >> SHIFT, (a0 - b0) >> SHIFT,
    )  # fmt: skip
