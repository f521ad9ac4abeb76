"""Occlusion for the CPU. `out` begins as a copy, and only covered pixels are touched."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native

from .philox import BLOCKS, fill_words

BYTES = 16
"""Of a block of draws."""

BYTE = np.uint32(0xFF)

_BATCH = "uint8[:,:,:,::1], uint8[:,:,:,::1]"
_PATCHES = "uint8[:,::1], int64[::1], int64[::1]"


@native(f"void({_BATCH}, int64, int64, {_PATCHES}, uint8[:,::1])")
def fill_patches(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    covered: Any,
    rows: Any,
    columns: Any,
    values: Any,
) -> None:
    """Set what lies under a covered patch to values[n, c]."""
    _, channels, height, width = images.shape
    grid = rows[height - 1] + 1
    for n in range(start, stop):
        for c in range(channels):
            for y in range(height):
                row, first = out[n, c, y], rows[y] * grid
                for x in range(width):
                    if covered[n, first + columns[x]]:
                        row[x] = values[n, c]


@native(f"void({_BATCH}, int64, int64, {_PATCHES}, int64[::1], int64, int64, int64)")
def fill_with_noise(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    covered: Any,
    rows: Any,
    columns: Any,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Set what lies under a covered patch to a byte of the draws, one a pixel."""
    _, channels, height, width = images.shape
    grid = rows[height - 1] + 1
    words = np.empty(4 * BLOCKS, np.uint32)
    for n in range(start, stop):
        for first in range(0, height * width, BYTES * BLOCKS):
            fill_words(words, first // BYTES, number, index[n], key0, key1)
            for place in range(first, min(first + BYTES * BLOCKS, height * width)):
                y, x = place // width, place % width
                if covered[n, rows[y] * grid + columns[x]]:
                    value = words[(place - first) // 4] >> np.uint32(8 * (place % 4)) & BYTE
                    for c in range(channels):
                        out[n, c, y, x] = value
