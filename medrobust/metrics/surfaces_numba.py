"""Kernels: where the border of a mask lies, and how far it is from the border of another."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native, native_helper


@native("int64(uint8[:,::1], float64[::1], int64[:,::1], float64[::1])")
def surfels(mask: Any, lengths: Any, places: Any, weights: Any) -> int:
    """Find the corners between pixels that a border runs through, row by row.

    Args:
        mask: (H, W), not 0 inside; everything beyond it is outside.
        lengths: (16,), length of the border by which of the four pixels around a corner are inside.
        places: (M, 2), set to row and column of each corner.
        weights: (M,), set to the length of border at each.

    Returns:
        How many there are; beyond M nothing is written.
    """
    height, width = mask.shape
    count = 0
    for y in range(height + 1):
        upper_left = lower_left = 0
        for x in range(width + 1):
            upper = 1 if y > 0 and x < width and mask[y - 1, x] else 0
            lower = 1 if y < height and x < width and mask[y, x] else 0
            code = 8 * upper_left + 4 * upper + 2 * lower_left + lower
            upper_left, lower_left = upper, lower
            if code in (0, 15):
                continue
            if count < len(places):
                places[count, 0], places[count, 1] = y, x
                weights[count] = lengths[code]
            count += 1
    return count


@native("int64(uint8[:,::1], int64[:,::1])")
def border_pixels(mask: Any, places: Any) -> int:
    """Find pixels inside that have one outside above, below, left or right of them, row by row.

    Args:
        mask: (H, W), not 0 inside; everything beyond it is outside.
        places: (M, 2), set to row and column of each.

    Returns:
        How many there are; beyond M nothing is written.
    """
    height, width = mask.shape
    count = 0
    for y in range(height):
        for x in range(width):
            if not mask[y, x]:
                continue
            inside = 0 < y < height - 1 and 0 < x < width - 1
            if inside and mask[y - 1, x] and mask[y + 1, x] and mask[y, x - 1] and mask[y, x + 1]:
                continue
            if count < len(places):
                places[count, 0], places[count, 1] = y, x
            count += 1
    return count


FAR = 1 << 20
"""Rows to the nearest element of a column that has none."""


@native_helper
def _rows_away(others: Any, height: int, width: int) -> Any:
    """Return for each place how many rows the nearest of `others` in its column lies away."""
    away = np.full((height, width), FAR, np.int32)
    for k in range(len(others)):
        away[others[k, 0], others[k, 1]] = 0
    for y in range(1, height):
        for x in range(width):
            away[y, x] = min(away[y, x], away[y - 1, x] + 1)
    for y in range(height - 2, -1, -1):
        for x in range(width):
            away[y, x] = min(away[y, x], away[y + 1, x] + 1)
    return away


@native("void(int64[:,::1], int64[:,::1], float64, float64, int64, int64, float64[::1])")
def nearest(
    places: Any, others: Any, down: float, across: float, height: int, width: int, out: Any
) -> None:
    """Measure how far each place is from the nearest of others: exact, whatever their number.

    Columns are searched outwards until they alone are farther than what was found.

    Args:
        places: (M, 2) rows and columns.
        others: (K, 2), K at least 1.
        down: From one row to the next.
        across: From one column to the next.
        height: Above every row.
        width: Above every column.
        out: (M,), set to distances.
    """
    away = _rows_away(others, height, width)
    for m in range(len(places)):
        y, x = places[m, 0], places[m, 1]
        best = np.inf
        for step in range(width):
            wide = (step * across) ** 2
            if wide >= best:
                break
            if x - step >= 0:
                best = min(best, wide + (away[y, x - step] * down) ** 2)
            if x + step < width:
                best = min(best, wide + (away[y, x + step] * down) ** 2)
        out[m] = np.sqrt(best)
