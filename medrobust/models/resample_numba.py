"""A kernel for the CPU: an image at a time, so that what is summed stays within its cache."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import copy_rows, native, native_helper

from .resample import PRECISION

HALF = 1 << (PRECISION - 1)


@native_helper
def _rows(source: Any, target: Any, rows: Any, weights: Any, total: Any) -> None:
    """Sum weighted rows of `source` (old, width) to those of `target` (new, width)."""
    width = source.shape[1]
    for out in range(target.shape[0]):
        for x in range(width):
            total[x] = HALF
        for tap in range(rows.shape[0]):
            weight, line = weights[tap, out], source[rows[tap, out]]
            for x in range(width):
                total[x] += np.int32(line[x]) * weight
        for x in range(width):
            target[out, x] = min(max(total[x] >> PRECISION, 0), 255)


@native_helper
def _turned(source: Any, target: Any) -> None:
    for y in range(source.shape[0]):
        for x in range(source.shape[1]):
            target[x, y] = source[y, x]


@native(
    "void(uint8[:,:,:,::1], uint8[:,:,:,::1], int64, int64, "
    "int64[:,::1], int32[:,::1], int64[:,::1], int32[:,::1])"
)
def resample(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    columns: Any,
    column_weights: Any,
    rows: Any,
    row_weights: Any,
) -> None:
    """Resample columns, then rows; tables (taps, new), of an axis left alone without taps."""
    _, channels, height, width = images.shape
    wide = out.shape[3]
    turned = np.empty((width, height), np.uint8)
    narrow = np.empty((wide, height), np.uint8)
    whole = np.empty((height, wide), np.uint8)
    total = np.empty(max(height, wide), np.int32)
    for n in range(start, stop):
        for c in range(channels):
            between = images[n, c]
            if len(columns):
                _turned(images[n, c], turned)
                _rows(turned, narrow, columns, column_weights, total)
                _turned(narrow, whole)
                between = whole
            if len(rows):
                _rows(between, out[n, c], rows, row_weights, total)
            else:
                copy_rows(between, out[n, c])
