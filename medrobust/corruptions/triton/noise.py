"""Noise kernels for a GPU: draws are made where they are used, and never stored."""

from typing import Any

import numpy as np
import torch
import triton.language as tl

from medrobust.keys import Draws
from medrobust.types import UInt8Batch

from .launch import cover, fused, keyed, launch, on_device
from .philox import make_halves, make_words

BLOCKS = 256
"""Philox blocks of a program: four words, eight halves each."""


def add_from_table(images: UInt8Batch, table: Any, noise: Draws) -> UInt8Batch:
    """Add table[16-bit draw] to every value and clip; `table` is int16 (65536,)."""
    return _with_draws(_add, images, table, noise, 8 * BLOCKS)


def scale_from_table(images: UInt8Batch, table: Any, bits: int, noise: Draws) -> UInt8Batch:
    """Add value * table[16-bit draw] / 2^bits to every value and clip; int32 (65536,)."""
    return _with_draws(_scale, images, table, noise, 8 * BLOCKS, BITS=bits)


def salt_and_pepper(images: UInt8Batch, pepper: int, either: int, uniform: Draws) -> UInt8Batch:
    """Set a value to 0 where its 32-bit draw is below `pepper`, else to 255 below `either`."""
    return _with_draws(_salt, images, np.array([pepper, either]), uniform, 4 * BLOCKS)


def choose_by_alias(images: UInt8Batch, table: Any, uniform: Draws) -> UInt8Batch:
    """Replace a value by its slot or the slot's alias; `table` is that of `poisson_table`."""
    return _with_draws(_choose, images, table.view("int32"), uniform, 4 * BLOCKS)


def _with_draws(
    kernel: Any, images: UInt8Batch, table: Any, draws: Draws, places: int, **constants: int
) -> UInt8Batch:
    count, channels, height, width = images.shape
    pixels = height * width
    images, out = (
        images.contiguous(),
        torch.empty_like(images, memory_format=torch.contiguous_format),
    )
    grid = (count * channels, cover(pixels, places))  # the second axis ends at 65535
    table = on_device(table, images.device)
    given = (images, table, *keyed(draws, images.device), channels, pixels)
    launch(kernel, grid, out, *given, BLOCKS=BLOCKS, **constants)
    return out


@fused
def _add(out, images, table, index, number, key0, key1, channels, pixels, BLOCKS: tl.constexpr):
    plane, block = tl.program_id(0), tl.program_id(1)
    places = block * 8 * BLOCKS + tl.arange(0, 8 * BLOCKS)
    at, inside = plane.to(tl.int64) * pixels + places, places < pixels
    row = tl.load(index + plane // channels)
    halves = make_halves(block * BLOCKS, number + plane % channels, row, key0, key1, BLOCKS)
    old = tl.load(images + at, inside, 0).to(tl.int32)
    new = old + tl.load(table + halves).to(tl.int32)
    tl.store(out + at, tl.minimum(tl.maximum(new, 0), 255).to(tl.uint8), inside)


@fused
def _scale(
    out, images, table, index, number, key0, key1, channels, pixels,
    BLOCKS: tl.constexpr, BITS: tl.constexpr,
):  # fmt: skip
    plane, block = tl.program_id(0), tl.program_id(1)
    places = block * 8 * BLOCKS + tl.arange(0, 8 * BLOCKS)
    at, inside = plane.to(tl.int64) * pixels + places, places < pixels
    row = tl.load(index + plane // channels)
    halves = make_halves(block * BLOCKS, number + plane % channels, row, key0, key1, BLOCKS)
    old = tl.load(images + at, inside, 0).to(tl.int32)
    new = old + ((old * tl.load(table + halves)) >> BITS)
    tl.store(out + at, tl.minimum(tl.maximum(new, 0), 255).to(tl.uint8), inside)


@fused
def _salt(out, images, limits, index, number, key0, key1, channels, pixels, BLOCKS: tl.constexpr):
    plane, block = tl.program_id(0), tl.program_id(1)
    places = block * 4 * BLOCKS + tl.arange(0, 4 * BLOCKS)
    at, inside = plane.to(tl.int64) * pixels + places, places < pixels
    row = tl.load(index + plane // channels)
    words = make_words(block * BLOCKS, number + plane % channels, row, key0, key1, BLOCKS).to(
        tl.int64
    )
    old = tl.load(images + at, inside, 0)
    new = tl.where(words < tl.load(limits + 1), 255, old)
    new = tl.where(words < tl.load(limits), 0, new)
    tl.store(out + at, new.to(tl.uint8), inside)


@fused
def _choose(out, images, table, index, number, key0, key1, channels, pixels, BLOCKS: tl.constexpr):
    plane, block = tl.program_id(0), tl.program_id(1)
    places = block * 4 * BLOCKS + tl.arange(0, 4 * BLOCKS)
    at, inside = plane.to(tl.int64) * pixels + places, places < pixels
    row = tl.load(index + plane // channels)
    words = make_words(block * BLOCKS, number + plane % channels, row, key0, key1, BLOCKS)
    slot = (words >> 24).to(tl.int32)
    old = tl.load(images + at, inside, 0).to(tl.int32)
    entry = tl.load(table + old * 256 + slot).to(tl.uint32, bitcast=True)
    kept = ((words >> 8) & 0xFFFF) < (entry >> 8)
    new = tl.where(kept, slot, (entry & 0xFF).to(tl.int32))
    tl.store(out + at, new.to(tl.uint8), inside)
