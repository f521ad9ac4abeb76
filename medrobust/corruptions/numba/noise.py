"""Noise kernels for the CPU: draws are made and used block by block, never stored whole."""

from typing import Any

import numpy as np
from numba import uint32

from medrobust.base.numba_jit import native

from .philox import BLOCKS, fill_words

HALF_WORD = np.uint32(0xFFFF)
HALF = np.uint32(16)
SLOT, BYTE, LAST_BYTE = np.uint32(24), np.uint32(8), np.uint32(0xFF)

_BATCH = "uint8[:,:,:,::1], uint8[:,:,:,::1]"
_KEYED = "int64[::1], int64, int64, int64"


@native(f"void({_BATCH}, int64, int64, int16[::1], {_KEYED})")
def add_from_table(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    table: Any,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Add table[16-bit draw] to every pixel and clip; `table` is int16 (65536,)."""
    channels, pixels = images.shape[1], images.shape[2] * images.shape[3]
    words = np.empty(4 * BLOCKS, np.uint32)
    for n in range(start, stop):
        for c in range(channels):
            source, target = images[n, c].reshape(pixels), out[n, c].reshape(pixels)
            for first in range(0, pixels, 8 * BLOCKS):
                fill_words(words, first // 8, number + c, index[n], key0, key1)
                count = min(8 * BLOCKS, pixels - first)
                for j in range(count // 2):
                    low = source[first + 2 * j] + np.int32(table[words[j] & HALF_WORD])
                    high = source[first + 2 * j + 1] + np.int32(table[words[j] >> HALF])
                    target[first + 2 * j] = min(max(low, 0), 255)
                    target[first + 2 * j + 1] = min(max(high, 0), 255)
                if count % 2:
                    last = source[first + count - 1] + np.int32(
                        table[words[count // 2] & HALF_WORD]
                    )
                    target[first + count - 1] = min(max(last, 0), 255)


@native(f"void({_BATCH}, int64, int64, int64, int64, {_KEYED})")
def salt_and_pepper(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    pepper: int,
    either: int,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Set a pixel to 0 where its 32-bit draw is below `pepper`, else to 255 below `either`."""
    channels, pixels = images.shape[1], images.shape[2] * images.shape[3]
    words = np.empty(4 * BLOCKS, np.uint32)
    for n in range(start, stop):
        for c in range(channels):
            source, target = images[n, c].reshape(pixels), out[n, c].reshape(pixels)
            for first in range(0, pixels, 4 * BLOCKS):
                fill_words(words, first // 4, number + c, index[n], key0, key1)
                for j in range(min(4 * BLOCKS, pixels - first)):
                    value = source[first + j]
                    value = np.uint8(255) if words[j] < uint32(either) else value
                    value = np.uint8(0) if words[j] < uint32(pepper) else value
                    target[first + j] = value


@native(f"void({_BATCH}, int64, int64, int32[::1], int64, {_KEYED})")
def scale_from_table(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    table: Any,
    bits: int,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Add value * table[16-bit draw] / 2^bits to every value and clip; int32 (65536,)."""
    channels, pixels = images.shape[1], images.shape[2] * images.shape[3]
    words = np.empty(4 * BLOCKS, np.uint32)
    padded = np.zeros(8 * BLOCKS, np.int32)
    shift = np.int32(bits)
    for n in range(start, stop):
        for c in range(channels):
            source, target = images[n, c].reshape(pixels), out[n, c].reshape(pixels)
            for first in range(0, pixels, 8 * BLOCKS):
                fill_words(words, first // 8, number + c, index[n], key0, key1)
                count = min(8 * BLOCKS, pixels - first)
                for j in range((count + 1) // 2):
                    padded[2 * j] = table[words[j] & HALF_WORD]
                    padded[2 * j + 1] = table[words[j] >> HALF]
                for j in range(count):
                    old = np.int32(source[first + j])
                    value = old + ((old * padded[j]) >> shift)
                    target[first + j] = min(max(value, 0), 255)


@native(f"void({_BATCH}, int64, int64, uint32[:,::1], {_KEYED})")
def choose_by_alias(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    table: Any,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Replace a value by its slot or the slot's alias; `table` is that of `poisson_table`."""
    channels, pixels = images.shape[1], images.shape[2] * images.shape[3]
    words = np.empty(4 * BLOCKS, np.uint32)
    for n in range(start, stop):
        for c in range(channels):
            source, target = images[n, c].reshape(pixels), out[n, c].reshape(pixels)
            for first in range(0, pixels, 4 * BLOCKS):
                fill_words(words, first // 4, number + c, index[n], key0, key1)
                for j in range(min(4 * BLOCKS, pixels - first)):
                    slot = words[j] >> SLOT
                    entry = table[source[first + j], slot]
                    keep = ((words[j] >> BYTE) & HALF_WORD) < (entry >> BYTE)
                    target[first + j] = slot if keep else entry & LAST_BYTE
