"""Kernels for the CPU that move pixels: frosted glass and elastic fields."""

from typing import Any

import numpy as np
from numba import int32, uint32

from medrobust.base.numba_jit import copy_rows, native, native_helper

from .filter import smooth_plane, truncate_sums
from .philox import BLOCKS, fill_words

_BATCH = "uint8[:,:,:,::1], uint8[:,:,:,::1]"
_KEYED = "int64[::1], int64, int64, int64"
HALF_WORD, HALF = np.uint32(0xFFFF), np.uint32(16)


@native_helper
def fill_all(words: Any, number: int, index: int, key0: int, key1: int) -> None:
    """Fill uint32 words of a draw from its first on; their count is a multiple of 4 * BLOCKS."""
    for first in range(0, len(words), 4 * BLOCKS):
        fill_words(words[first : first + 4 * BLOCKS], first // 4, number, index, key0, key1)


@native_helper
def displace(planes: Any, words: Any, delta: int, swap: bool) -> None:
    """Let every pixel of (C, H, W), from the last to the first, take a neighbour's value.

    The neighbour of pixel p is chosen by the halves of words[p]: x by the low one, y by the high
    one, each from -delta to delta - 1. With `swap` it gets the pixel's value in return.
    """
    channels, height, width = planes.shape
    span = uint32(2 * delta)
    for y in range(height - delta, delta, -1):
        for x in range(width - delta, delta, -1):
            word = words[y * width + x]
            from_x = x + int32(((word & HALF_WORD) * span) >> HALF) - delta
            from_y = y + int32(((word >> HALF) * span) >> HALF) - delta
            for c in range(channels):
                value = planes[c, y, x]
                planes[c, y, x] = planes[c, from_y, from_x]
                if swap:
                    planes[c, from_y, from_x] = value


@native("void(int32[:,:,::1], uint32[:,:,::1], int64, boolean)")
def displace_all(sources: Any, words: Any, delta: int, swap: bool) -> None:
    """Displace (N, H, W) numbered pixels by words (N, iterations, H * W)."""
    for n in range(len(sources)):
        for i in range(words.shape[1]):
            displace(sources[n : n + 1], words[n, i], delta, swap)


@native_helper
def _soften(
    planes: Any,
    weights: Any,
    exact: Any,
    flat: Any,
    row_map: Any,
    column_map: Any,
    floats: Any,
    out: Any,
) -> None:
    """Smooth uint8 (C, H, W) into uint8 `out`, truncated; `floats` is scratch (2, H, W)."""
    channels, height, width = planes.shape
    line, padded = np.empty(width, np.float32), np.empty(len(column_map), np.float32)
    down, row = np.empty(width), np.empty(width, np.int64)
    steps = np.empty((height + 1, width + 1), np.int32)
    for c in range(channels):
        copy_rows(planes[c], floats[0])
        smooth_plane(floats[0], weights, weights, row_map, column_map, line, padded, floats[1])
        truncate_sums(
            planes[c], floats[1], exact, row_map, column_map, down, row, steps, flat, out[c]
        )


@native(
    f"void({_BATCH}, int64, int64, float32[::1], float64[::1], uint8[::1], int64[::1], int64[::1], "
    f"int64, int64, boolean, {_KEYED})"
)
def glass(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    weights: Any,
    exact: Any,
    flat: Any,
    row_map: Any,
    column_map: Any,
    delta: int,
    iterations: int,
    swap: bool,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Smooth, displace and smooth again; iteration i takes its words from draw number + i."""
    _, channels, height, width = images.shape
    floats = np.empty((2, height, width), np.float32)
    planes = np.empty((channels, height, width), np.uint8)
    words = np.empty(-(-height * width // (4 * BLOCKS)) * 4 * BLOCKS, np.uint32)
    for n in range(start, stop):
        _soften(images[n], weights, exact, flat, row_map, column_map, floats, planes)
        for i in range(iterations):
            fill_all(words, number + i, index[n], key0, key1)
            displace(planes, words, delta, swap)
        _soften(planes, weights, exact, flat, row_map, column_map, floats, out[n])


@native_helper
def _reflect(place: Any, side: int) -> Any:
    """Fold a place once over either edge: baabccb."""
    if place < 0:
        place = -1 - place
    if place >= side:
        place = 2 * side - 1 - place
    return min(max(place, 0), side - 1)


@native_helper
def sample(image: Any, move_x: Any, move_y: Any, scale: float, out: Any) -> None:
    """Read uint8 (C, H, W) at (x + scale move_x, y + scale move_y), bilinearly, truncated."""
    channels, height, width = image.shape
    corners = np.empty((4, width), np.uint32)
    share_x, share_y = np.empty(width, np.float32), np.empty(width, np.float32)
    planes = image.reshape(channels, height * width)
    for y in range(height):
        for x in range(width):
            at_x = np.float32(x) + scale * move_x[y, x]
            at_y = np.float32(y) + scale * move_y[y, x]
            low_x, low_y = np.floor(at_x), np.floor(at_y)
            share_x[x], share_y[x] = at_x - low_x, at_y - low_y
            left, above = np.int64(low_x), np.int64(low_y)
            right, below = _reflect(left + 1, width), _reflect(above + 1, height) * width
            left, above = _reflect(left, width), _reflect(above, height) * width
            corners[0, x], corners[1, x] = above + left, above + right
            corners[2, x], corners[3, x] = below + left, below + right
        for c in range(channels):
            plane, target = planes[c], out[c, y]
            for x in range(width):
                a, b = np.float32(plane[corners[0, x]]), np.float32(plane[corners[1, x]])
                d, e = np.float32(plane[corners[2, x]]), np.float32(plane[corners[3, x]])
                top, bottom = a + share_x[x] * (b - a), d + share_x[x] * (e - d)
                target[x] = np.uint8(top + share_y[x] * (bottom - top))


@native(
    f"void({_BATCH}, int64, int64, float32[::1], float32[::1], int64[::1], int64[::1], float32, "
    f"{_KEYED})"
)
def elastic(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    row_weights: Any,
    column_weights: Any,
    row_map: Any,
    column_map: Any,
    scale: float,
    index: Any,
    number: int,
    key0: int,
    key1: int,
) -> None:
    """Move pixels by smoothed uniform fields: x by the low halves of the words, y by the high."""
    _, _, height, width = images.shape
    words = np.empty(-(-height * width // (4 * BLOCKS)) * 4 * BLOCKS, np.uint32)
    fields = np.empty((2, height, width), np.float32)
    raw = np.empty((height, width), np.float32)
    flat = raw.reshape(height * width)
    line, padded = np.empty(width, np.float32), np.empty(len(column_map), np.float32)
    unit = np.float32(2.0**-16)
    for n in range(start, stop):
        fill_all(words, number, index[n], key0, key1)
        for axis in range(2):
            shift = uint32(16 * axis)
            for p in range(height * width):
                half = int32((words[p] >> shift) & HALF_WORD)
                flat[p] = np.float32(2 * half - int32(65535)) * unit
            smooth_plane(
                raw, row_weights, column_weights, row_map, column_map, line, padded, fields[axis]
            )
        sample(images[n], fields[0], fields[1], scale, out[n])
