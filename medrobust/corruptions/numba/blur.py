"""Blur kernels for the CPU, one image at a time, in an order that no batch or thread changes."""

from typing import Any

import numpy as np
from numba import uint32

from medrobust.base.numba_jit import native

_BATCH = "uint8[:,:,:,::1], uint8[:,:,:,::1]"


@native(f"void({_BATCH}, int64, int64, int32[::1], int32[:,::1], int32[:,::1], int64[::1], int64)")
def shifted_sum(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    weights: Any,
    dx: Any,
    dy: Any,
    taps: Any,
    bits: int,
) -> None:
    """Sum weights[i] * image(x + dx[n, i], y + dy[n, i]) / 2^bits, edges replicated, truncated.

    Only the first taps[n] of image n's offsets count. Products and sums fit 32 bits.
    """
    _, channels, height, width = images.shape
    total = np.empty(width, np.int32)
    for n in range(start, stop):
        margin = 0
        for i in range(taps[n]):
            margin = max(margin, abs(dx[n, i]))
        padded = np.empty((height, width + 2 * margin), np.int32)
        for c in range(channels):
            for y in range(height):
                row = padded[y]
                row[:margin] = images[n, c, y, 0]
                row[margin + width :] = images[n, c, y, width - 1]
                for x in range(width):
                    row[margin + x] = images[n, c, y, x]
            for y in range(height):
                total[:] = 0
                for i in range(taps[n]):
                    row = padded[min(max(y + dy[n, i], 0), height - 1)]
                    part = row[margin + dx[n, i] : margin + dx[n, i] + width]
                    weight = weights[i]
                    for x in range(width):
                        total[x] += weight * part[x]
                for x in range(width):
                    out[n, c, y, x] = total[x] >> bits


@native(f"void({_BATCH}, int64, int64, int32[:,::1], float32[:,::1], int32[:,::1], float32[:,::1])")
def zoom_mean(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    row: Any,
    row_share: Any,
    column: Any,
    column_share: Any,
) -> None:
    """Average the image with its bilinear zooms.

    Zoom z at (y, x) lies between rows row[z, y] and row[z, y] + 1 (share row_share[z, y] of the
    latter) and columns likewise; tables of shapes (Z, H) and (Z, W). Row H + 1 and column W + 1
    are black.
    """
    _, channels, height, width = images.shape
    layers = len(row)
    plane = np.zeros((height + 3, width + 1), np.float32)
    across = np.zeros(width + 3, np.float32)
    beyond = across[1:]
    total = np.empty(width, np.float32)
    count = np.float32(layers + 1)
    for n in range(start, stop):
        for c in range(channels):
            for y in range(height + 1):
                source = images[n, c, min(y, height - 1)]
                for x in range(width):
                    plane[y, x] = source[x]
                plane[y, width] = source[width - 1]
            for y in range(height):
                for x in range(width):
                    total[x] = plane[y, x]
                for z in range(layers):
                    top, bottom = plane[row[z, y]], plane[row[z, y] + 1]
                    share = row_share[z, y]
                    for x in range(width + 1):
                        across[x] = top[x] + share * (bottom[x] - top[x])
                    places, shares = column[z], column_share[z]
                    for x in range(width):
                        left, right = across[uint32(places[x])], beyond[uint32(places[x])]
                        total[x] += left + shares[x] * (right - left)
                for x in range(width):
                    out[n, c, y, x] = np.uint8(min(total[x] / count, np.float32(255)))
