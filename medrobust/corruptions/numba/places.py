"""Planes read at other places, linearly between pixels, and written as grey values."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native, native_helper, native_inline


@native_inline
def _inside(row: float, column: float, height: int, width: int) -> bool:
    return row >= 0 and column >= 0 and row < height - 1 and column < width - 1


@native_helper
def _read(plane: Any, row: float, column: float) -> float:
    height, width = plane.shape
    if not (row >= 0 and column >= 0 and row <= height - 1 and column <= width - 1):
        return 0.0
    top, left = np.int64(row), np.int64(column)
    below, beside = min(top + 1, height - 1), min(left + 1, width - 1)
    down, right = row - top, column - left
    up, back = 1 - down, 1 - right
    total: float = plane[top, left] * up * back
    total += plane[top, beside] * up * right
    total += plane[below, left] * down * back
    total += plane[below, beside] * down * right
    return total


@native("void(float64[:,::1], float64[:,::1], float64[::1], float64[:,::1])")
def read_linearly(plane: Any, turn: Any, start: Any, out: Any) -> None:
    """Read each pixel (y, x) of `out` at start + turn @ (y, x); 0 beyond the outermost pixels.

    A line leaves a rectangle once: between two places all four neighbours are there, so that what
    is computed of them is computed of several pixels at once. The sums are those of `_read`.
    """
    height, width = plane.shape
    wide = np.int32(width)
    flat = plane.reshape(height * width)
    beside, below = np.uint64(1), np.uint64(width)
    steps = np.empty((2, out.shape[1]))
    for x in range(out.shape[1]):
        steps[0, x], steps[1, x] = turn[0, 1] * x, turn[1, 1] * x
    parts, places = np.empty((2, out.shape[1])), np.empty(out.shape[1], np.uint32)
    for y in range(out.shape[0]):
        row0, column0 = start[0] + turn[0, 0] * y, start[1] + turn[1, 0] * y
        first, end = 0, out.shape[1]
        while first < end and not _inside(
            row0 + steps[0, first], column0 + steps[1, first], height, width
        ):
            out[y, first] = _read(plane, row0 + steps[0, first], column0 + steps[1, first])
            first += 1
        while end > first and not _inside(
            row0 + steps[0, end - 1], column0 + steps[1, end - 1], height, width
        ):
            end -= 1
            out[y, end] = _read(plane, row0 + steps[0, end], column0 + steps[1, end])
        across, along = steps[0, first:end], steps[1, first:end]
        downs, rights, at = parts[0, first:end], parts[1, first:end], places[first:end]
        for x in range(len(at)):
            row, column = row0 + across[x], column0 + along[x]
            top, left = np.int32(row), np.int32(column)
            downs[x], rights[x] = row - top, column - left
            at[x] = top * wide + left
        target = out[y, first:end]
        for x in range(len(at)):
            here = np.uint64(at[x])
            up, back = 1 - downs[x], 1 - rights[x]
            total = flat[here] * up * back
            total += flat[here + beside] * up * rights[x]
            total += flat[here + below] * downs[x] * back
            total += flat[here + below + beside] * downs[x] * rights[x]
            target[x] = total


@native("void(float64[:,::1], uint8[:,::1])")
def round_greys(values: Any, out: Any) -> None:
    """Round to the nearest, half to even, and cut off at black and white."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = min(max(np.rint(values[y, x]), 0.0), 255.0)
