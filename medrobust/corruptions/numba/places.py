"""Planes read at other places, linearly between pixels, and written as grey values."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native, native_inline


@native_inline
def _within(row: float, column: float, height: int, width: int) -> bool:
    return row >= 0 and column >= 0 and row <= height - 1 and column <= width - 1


@native("void(float64[:,::1], float64[:,::1], float64[::1], float64[:,::1])")
def read_linearly(plane: Any, turn: Any, start: Any, out: Any) -> None:
    """Read each pixel (y, x) of `out` at start + turn @ (y, x); 0 beyond the outermost pixels."""
    height, width = plane.shape
    flat = plane.reshape(height * width)
    last = height * width - 1
    across, along = turn[0, 1], turn[1, 1]
    for y in range(out.shape[0]):
        row0, column0 = start[0] + turn[0, 0] * y, start[1] + turn[1, 0] * y
        first, end = 0, out.shape[1]
        while first < end and not _within(
            row0 + across * first, column0 + along * first, height, width
        ):
            first += 1
        while end > first and not _within(
            row0 + across * (end - 1), column0 + along * (end - 1), height, width
        ):
            end -= 1
        target = out[y]
        target[:first] = 0.0
        target[end:] = 0.0
        for x in range(first, end):  # a line leaves a rectangle once
            row, column = row0 + across * x, column0 + along * x
            top, left = np.int64(row), np.int64(column)
            down, right = row - top, column - left
            up, back = 1 - down, 1 - right
            at = top * width + left
            total = flat[at] * up * back
            total += flat[min(at + 1, last)] * up * right
            total += flat[min(at + width, last)] * down * back
            total += flat[min(at + width + 1, last)] * down * right
            target[x] = total


@native("void(float64[:,::1], uint8[:,::1])")
def round_greys(values: Any, out: Any) -> None:
    """Round to the nearest, half to even, and cut off at black and white."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = min(max(np.rint(values[y, x]), 0.0), 255.0)
