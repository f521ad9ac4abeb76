"""Where a disc stands out, and which drawn place is like its own, for the CPU."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native, native_helper


@native_helper
def _square(sums: Any, row: int, column: int, half: int) -> Any:
    """Sum over a square about a middle, from sums over all upper left rectangles."""
    top, left, bottom, right = row - half, column - half, row + half + 1, column + half + 1
    return sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]


@native("void(uint8[:,:,:,::1], int64[:,::1], int64, int64, int64, int64[:,:,::1])")
def find_places(images: Any, out: Any, start: int, stop: int, wide: int, drawn: Any) -> None:
    """Write row and column of the disc that stands out most, and of the place that it goes to.

    Without drawn places the second two are left as they are.
    """
    _, channels, height, width = images.shape
    times = 3 // channels
    inner, outer = (2 * wide + 1) ** 2, (4 * wide + 1) ** 2
    sums = np.zeros((height + 1, width + 1), np.int64)
    apart = np.empty((2 * wide + 1, 2 * wide + 1), np.int64)
    for n in range(start, stop):
        for y in range(height):
            line = 0
            for x in range(width):
                for c in range(channels):
                    line += times * images[n, c, y, x]
                sums[y + 1, x + 1] = sums[y, x + 1] + line
        most, row, column = -1, 0, 0
        for y in range(2 * wide, height - 2 * wide):
            for x in range(2 * wide, width - 2 * wide):
                inside = _square(sums, y, x, wide)
                ring = _square(sums, y, x, 2 * wide) - inside
                difference = abs(inside * (outer - inner) - ring * inner)
                if difference > most:
                    most, row, column = difference, y, x
        ring = _square(sums, row, column, 2 * wide) - _square(sums, row, column, wide)
        most = 0
        for y in range(2 * wide + 1):
            for x in range(2 * wide + 1):
                own = _square(sums, row - wide + y, column - wide + x, 0)
                apart[y, x] = abs(own * (outer - inner) - ring)
                most = max(most, apart[y, x])
        total, down, right = 0, 0, 0
        for y in range(2 * wide + 1):
            for x in range(2 * wide + 1):
                weight = max(apart[y, x] - most // 2, 0)
                total += weight
                down += weight * (y - wide)
                right += weight * (x - wide)
        total = max(total, 1)
        row = min(max(row + (2 * down + total) // (2 * total), 2 * wide), height - 1 - 2 * wide)
        column = column + (2 * right + total) // (2 * total)
        column = min(max(column, 2 * wide), width - 1 - 2 * wide)
        out[n, 0], out[n, 1] = row, column
        ring = _square(sums, row, column, 2 * wide) - _square(sums, row, column, wide)
        best, overlaps = -1, True
        for k in range(drawn.shape[1]):
            y, x = drawn[n, k, 0], drawn[n, k, 1]
            other = _square(sums, y, x, 2 * wide) - _square(sums, y, x, wide)
            over = max(abs(y - row), abs(x - column)) <= 2 * wide
            unlike = abs(other - ring)
            if best < 0 or (overlaps and not over) or (overlaps == over and unlike < best):
                best, overlaps = unlike, over
                out[n, 2], out[n, 3] = y, x
