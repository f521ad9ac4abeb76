"""Sums of differences of neighbours in one pass, for the CPU: noise, edges, sharpness."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native

_PLANES = "float32[:,:,::1]"

SUMS = ("noise", "laplacian", "laplacian_squares", "across", "down")
"""What `difference_sums` adds up, in its order."""


@native(f"void({_PLANES}, float64[:,::1])", any_order=True)
def difference_sums(planes: Any, sums: Any) -> None:
    """Add up `SUMS` of each plane: float64 (N, 5)."""
    count, height, width = planes.shape
    two, four = np.float32(2), np.float32(4)
    second = np.empty(width, np.float32)
    for n in range(count):
        noise = laplacian = squares = across = down = 0.0
        for i in range(height):
            row = planes[n, i]
            for j in range(width - 1):
                across += abs(row[j + 1] - row[j])
        for i in range(height - 1):
            row, below = planes[n, i], planes[n, i + 1]
            for j in range(width):
                down += abs(below[j] - row[j])
        for i in range(height - 2):
            a, b, c = planes[n, i], planes[n, i + 1], planes[n, i + 2]
            for j in range(width):
                second[j] = a[j] - two * b[j] + c[j]
            for j in range(width - 2):
                noise += abs(second[j] - two * second[j + 1] + second[j + 2])
                edge = (b[j] + b[j + 2]) + (a[j + 1] + c[j + 1]) - four * b[j + 1]
                laplacian += edge
                squares += np.float64(edge) * edge
        sums[n, 0], sums[n, 1], sums[n, 2] = noise, laplacian, squares
        sums[n, 3], sums[n, 4] = across, down


@native(f"void({_PLANES}, float64[:,::1])", any_order=True)
def smooth_difference_sums(planes: Any, sums: Any) -> None:
    """Add up second differences, and differences two apart, of means of 3 x 3 pixels: (N, 2).

    Both are means over the places of their axis, down plus across.
    """
    count, height, width = planes.shape
    rows, columns = height - 2, width - 2
    smooth, tall = np.empty((rows, columns), np.float32), np.empty(width, np.float32)
    two, ninth = np.float32(2), np.float32(1 / 9)
    for n in range(count):
        for i in range(rows):
            a, b, c, to = planes[n, i], planes[n, i + 1], planes[n, i + 2], smooth[i]
            for j in range(width):
                tall[j] = a[j] + b[j] + c[j]
            for j in range(columns):
                to[j] = (tall[j] + tall[j + 1] + tall[j + 2]) * ninth
        second_down = second_across = apart_down = apart_across = 0.0
        for i in range(rows - 2):
            a, b, c = smooth[i], smooth[i + 1], smooth[i + 2]
            for j in range(columns):
                second_down += abs(a[j] - two * b[j] + c[j])
                apart_down += abs(c[j] - a[j])
        for i in range(rows):
            b = smooth[i]
            for j in range(columns - 2):
                second_across += abs(b[j] - two * b[j + 1] + b[j + 2])
                apart_across += abs(b[j + 2] - b[j])
        by_row, by_column = (rows - 2) * columns, rows * (columns - 2)
        sums[n, 0] = second_down / by_row + second_across / by_column
        sums[n, 1] = apart_down / by_row + apart_across / by_column
