"""Occlusion for a GPU: the same bytes and patches as on the CPU."""

from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from medrobust.keys import Draws
from medrobust.types import Int64Array, UInt8Batch

from .launch import BLOCK, cover, fused, keyed, launch, on_device
from .philox import make_halves

BLOCKS = 128
"""Philox blocks of a program: 16 bytes each."""


def fill_patches(
    images: UInt8Batch, covered: Tensor, rows: Int64Array, columns: Int64Array, values: Tensor
) -> UInt8Batch:
    """Set what lies under a covered patch to values[n, c]."""
    return _over(_fill, BLOCK, images, covered, rows, columns, values, BLOCK=BLOCK)


def fill_with_noise(
    images: UInt8Batch, covered: Tensor, rows: Int64Array, columns: Int64Array, noise: Draws
) -> UInt8Batch:
    """Set what lies under a covered patch to a byte of the draws, one a pixel."""
    given = keyed(noise, images.device)
    return _over(_noise, 16 * BLOCKS, images, covered, rows, columns, *given, BLOCKS=BLOCKS)


def _over(
    kernel: Any,
    places: int,
    images: UInt8Batch,
    covered: Tensor,
    rows: Int64Array,
    columns: Int64Array,
    *given: Any,
    **constants: int,
) -> UInt8Batch:
    count, channels, height, width = images.shape
    images = images.contiguous()
    out = torch.empty_like(images)
    grid = (count * channels, cover(height * width, places))
    patches = covered.to(images.device, non_blocking=True)
    tables = (patches, *(on_device(table, images.device) for table in (rows, columns)))
    shape = (int(rows[-1]) + 1, channels, width, height * width)
    launch(kernel, grid, out, images, *tables, *given, *shape, **constants)
    return out


@fused
def _under(covered, rows, columns, image, places, grid, width, inside):
    row, column = (
        tl.load(rows + places // width, inside, 0),
        tl.load(columns + places % width, inside, 0),
    )
    return tl.load(covered + image * grid * grid + row * grid + column, inside, 0) > 0


@fused
def _fill(
    out, images, covered, rows, columns, values, grid, channels, width, pixels, BLOCK: tl.constexpr
):
    plane, places = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside, at = places < pixels, plane.to(tl.int64) * pixels + places
    under = _under(covered, rows, columns, plane // channels, places, grid, width, inside)
    old = tl.load(images + at, inside, 0)
    tl.store(out + at, tl.where(under, tl.load(values + plane), old), inside)


@fused
def _noise(
    out, images, covered, rows, columns, index, number, key0, key1, grid, channels, width, pixels,
    BLOCKS: tl.constexpr,
):  # fmt: skip
    plane, block = tl.program_id(0), tl.program_id(1)
    places = block * 16 * BLOCKS + tl.arange(0, 16 * BLOCKS)
    inside, at = places < pixels, plane.to(tl.int64) * pixels + places
    under = _under(covered, rows, columns, plane // channels, places, grid, width, inside)
    row = tl.load(index + plane // channels)
    halves = make_halves(block * BLOCKS, number, row, key0, key1, BLOCKS)
    value = tl.interleave(halves & 0xFF, halves >> 8)
    old = tl.load(images + at, inside, 0)
    tl.store(out + at, tl.where(under, value.to(tl.uint8), old), inside)
