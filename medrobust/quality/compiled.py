"""What slides windows over pairs of planes, in one pass for the CPU: SSIM, VIF, GMSD and HaarPSI.

A row of the result needs a few rows of the planes, which stay in the nearest cache; no map of the
size of the planes is written. Sums of rows are float64. Windows are symmetric and of odd size.
"""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native, native_any_order

_PLANES = "float32[:,:,::1]"
_PAIR = f"{_PLANES}, {_PLANES}, float32[::1]"

MIDDLE = np.float32(128)
"""Taken off before squares: variances stay, and float32 keeps more of their digits."""

HAAR_ALPHA = 4.2

EIGHTH = np.float32(-HAAR_ALPHA / 8)
INVERSE = tuple(np.float32(1 / k) for k in range(1, 10))

FACTORS = 64
"""Multiplied before a logarithm is taken: each is below 10^4, so that float64 holds them."""


@native_any_order
def _down(rows: Any, i: int, taps: Any, out: Any) -> None:
    """Slide a window down to output row i: two pairs of rows at a time, so as to store less."""
    size, width = len(taps), rows.shape[1]
    half = size // 2
    middle, weight = rows[i + half], taps[half]
    for j in range(width):
        out[j] = weight * middle[j]
    for t in range(0, half - 1, 2):
        a, b, c, d = rows[i + t], rows[i + size - 1 - t], rows[i + t + 1], rows[i + size - 2 - t]
        outer, inner = taps[t], taps[t + 1]
        for j in range(width):
            out[j] += outer * (a[j] + b[j]) + inner * (c[j] + d[j])
    if half % 2:
        a, b, outer = rows[i + half - 1], rows[i + half + 1], taps[half - 1]
        for j in range(width):
            out[j] += outer * (a[j] + b[j])


@native_any_order
def _across(row: Any, taps: Any, out: Any) -> None:
    """Slide a window along a row, as `_down`."""
    size = len(taps)
    half, width = size // 2, len(row) - size + 1
    middle, weight = row[half:], taps[half]
    for j in range(width):
        out[j] = weight * middle[j]
    for t in range(0, half - 1, 2):
        a, b, c, d = row[t:], row[size - 1 - t :], row[t + 1 :], row[size - 2 - t :]
        outer, inner = taps[t], taps[t + 1]
        for j in range(width):
            out[j] += outer * (a[j] + b[j]) + inner * (c[j] + d[j])
    if half % 2:
        a, b, outer = row[half - 1 :], row[half + 1 :], taps[half - 1]
        for j in range(width):
            out[j] += outer * (a[j] + b[j])


@native(f"void({_PAIR}, float32, float32, {_PLANES}, float64[:,::1])", any_order=True)
def similarities(x: Any, y: Any, taps: Any, c1: Any, c2: Any, masks: Any, means: Any) -> None:
    """Write means of light times structure, of structure, and of the former under a mask (N, 3).

    `masks` (N, H, W) hold 0 or 1 at the middles of windows; none (0, H, W) where they do not count.
    """
    count, height, width = x.shape
    size = len(taps)
    rows, columns = height - size + 1, width - size + 1
    maps = np.empty((4, height, width), np.float32)
    down, slid = np.empty(width, np.float32), np.empty((4, columns), np.float32)
    found = np.empty(columns, np.float32)
    two, middle = np.float32(2), MIDDLE
    offset = two * middle * middle + c1
    for n in range(count):
        for i in range(height):
            for j in range(width):
                a, b = x[n, i, j] - middle, y[n, i, j] - middle
                maps[0, i, j], maps[1, i, j] = a, b
                maps[2, i, j], maps[3, i, j] = a * a + b * b, a * b
        whole = structures = masked = places = 0.0
        for i in range(rows):
            for k in range(4):
                _down(maps[k], i, taps, down)
                _across(down, taps, slid[k])
            mean_x, mean_y, both, shared = slid[0], slid[1], slid[2], slid[3]
            for j in range(columns):
                a, b = mean_x[j], mean_y[j]
                squares, product = a * a + b * b, a * b
                spread = max(both[j] - squares, np.float32(0))
                structure = (two * (shared[j] - product) + c2) / (spread + c2)
                light = two * middle * (a + b) + offset  # of means from 0 up
                found[j] = structure * (two * product + light) / (squares + light)
                structures += structure
                whole += found[j]
            if len(masks):
                mask = masks[n, i + size // 2][size // 2 :]
                for j in range(columns):
                    masked += mask[j] * found[j]
                    places += mask[j]
        means[n, 0], means[n, 1] = whole / (rows * columns), structures / (rows * columns)
        means[n, 2] = masked / places  # none where there is no place


@native_any_order
def _information(slid: Any, kept: Any, whole: Any, noise: Any, tiny: Any) -> None:
    """Write one plus the signal over the noise, of what is left of a row and of all of it."""
    zero, one = np.float32(0), np.float32(1)
    for j in range(len(kept)):
        a, b = slid[0, j], slid[1, j]
        var_x, var_y = max(slid[2, j] - a * a, zero), max(slid[3, j] - b * b, zero)
        shared = slid[4, j] - a * b
        flat_x, flat_y = var_x < tiny, var_y < tiny
        gain = zero if flat_x or flat_y else shared / (var_x + tiny)
        rest = var_y if flat_x or gain < zero else var_y - gain * shared
        rest = tiny if flat_y else max(rest, tiny)
        gain, signal = max(gain, zero), zero if flat_x else var_x
        kept[j] = one + gain * gain * signal / (rest + noise)
        whole[j] = one + signal / noise


@native_any_order
def _logarithm(factors: Any) -> float:
    """Return the decimal logarithm of the product of all factors."""
    total = 0.0
    for start in range(0, len(factors), FACTORS):
        product = 1.0
        for j in range(start, min(start + FACTORS, len(factors))):
            product *= factors[j]
        total += np.log10(product)
    return total


@native(f"void({_PAIR}, float32, float32, float64[:,::1])", any_order=True)
def informations(x: Any, y: Any, taps: Any, noise: Any, tiny: Any, sums: Any) -> None:
    """Add what the second and what the first plane of each pair tell to `sums` (N, 2)."""
    count, height, width = x.shape
    size = len(taps)
    rows, columns = height - size + 1, width - size + 1
    maps = np.empty((5, height, width), np.float32)
    down, slid = np.empty(width, np.float32), np.empty((5, columns), np.float32)
    kept, whole = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for n in range(count):
        for i in range(height):
            for j in range(width):
                a, b = x[n, i, j] - MIDDLE, y[n, i, j] - MIDDLE
                maps[0, i, j], maps[1, i, j] = a, b
                maps[2, i, j], maps[3, i, j], maps[4, i, j] = a * a, b * b, a * b
        for i in range(rows):
            for k in range(5):
                _down(maps[k], i, taps, down)
                _across(down, taps, slid[k])
            _information(slid, kept, whole, noise, tiny)
            sums[n, 0] += _logarithm(kept)
            sums[n, 1] += _logarithm(whole)


@native(f"void({_PLANES}, float32[::1], {_PLANES})", any_order=True)
def every_second(planes: Any, taps: Any, out: Any) -> None:
    """Slide a window inside planes and keep every second row and column."""
    down = np.empty(planes.shape[2], np.float32)
    slid = np.empty(planes.shape[2] - len(taps) + 1, np.float32)
    for n in range(len(planes)):
        for i in range(out.shape[1]):
            _down(planes[n], 2 * i, taps, down)
            _across(down, taps, slid)
            for j in range(out.shape[2]):
                out[n, i, j] = slid[2 * j]


@native_any_order
def _halved(plane: Any, out: Any) -> None:
    """Write means of 2 x 2 pixels inside a margin of zeros: 3 before, 4 after."""
    for i in range(len(out) - 7):
        a, b, to = plane[2 * i], plane[2 * i + 1], out[i + 3][3:]
        for j in range(len(a) // 2):
            to[j] = ((a[2 * j] + a[2 * j + 1]) + (b[2 * j] + b[2 * j + 1])) * np.float32(0.25)


@native_any_order
def _steepness(plane: Any, i: int, out: Any) -> None:
    """Write the squared magnitude of Prewitt gradients / 3 of row i of a plane of `_halved`."""
    a, b, c = plane[i + 3][3:], plane[i + 4][3:], plane[i + 5][3:]
    for j in range(len(out)):
        across = (a[j + 2] - a[j]) + (b[j + 2] - b[j]) + (c[j + 2] - c[j])
        down = (c[j] - a[j]) + (c[j + 1] - a[j + 1]) + (c[j + 2] - a[j + 2])
        out[j] = (across * across + down * down) * np.float32(1 / 9)


@native(f"void({_PLANES}, {_PLANES}, float32, float64[::1])", any_order=True)
def gradient_deviations(x: Any, y: Any, t: Any, deviations: Any) -> None:
    """Write the population deviation of how alike gradients of each pair are, halved first."""
    count, height, width = len(x), x.shape[1] // 2, x.shape[2] // 2
    half_x = np.zeros((height + 7, width + 7), np.float32)
    half_y = np.zeros((height + 7, width + 7), np.float32)
    steep_x, steep_y = np.empty(width - 2, np.float32), np.empty(width - 2, np.float32)
    two, one = np.float32(2), np.float32(1)
    for n in range(count):
        _halved(x[n], half_x)
        _halved(y[n], half_y)
        total = squares = 0.0
        for i in range(height - 2):
            _steepness(half_x, i, steep_x)
            _steepness(half_y, i, steep_y)
            for j in range(width - 2):
                a, b = steep_x[j], steep_y[j]
                apart = one - (two * np.sqrt(a * b) + t) / (a + b + t)
                total += apart
                squares += np.float64(apart) * apart
        places = (height - 2) * (width - 2)
        mean = total / places
        deviations[n] = np.sqrt(max(squares / places - mean * mean, 0.0))


@native_any_order
def _edges(plane: Any, i: int, size: int, across: Any, down: Any, apart: Any, total: Any) -> None:
    """Write how far the halves of square windows of a side differ, for row i of windows.

    Of the 7 zeros of `_halved` a window of 8 pixels needs all, and a smaller one those inside.
    """
    half, width = size // 2, len(across)
    skipped = 4 - half
    a, b = plane[i + skipped][skipped:], plane[i + 4][skipped:]
    for j in range(width):
        apart[j], total[j] = b[j] - a[j], a[j] + b[j]
    for k in range(1, half):
        a, b = plane[i + skipped + k][skipped:], plane[i + 4 + k][skipped:]
        for j in range(width):
            apart[j] += b[j] - a[j]
            total[j] += a[j] + b[j]
    scale = np.float32(1 / size)
    if size == 2:
        for j in range(width):
            across[j], down[j] = total[j + 1] - total[j], apart[j] + apart[j + 1]
    elif size == 4:
        for j in range(width):
            across[j] = total[j + 2] + total[j + 3] - (total[j] + total[j + 1])
            down[j] = (apart[j] + apart[j + 1]) + (apart[j + 2] + apart[j + 3])
    else:
        for j in range(width):
            left = (total[j] + total[j + 1]) + (total[j + 2] + total[j + 3])
            right = (total[j + 4] + total[j + 5]) + (total[j + 6] + total[j + 7])
            left_apart = (apart[j] + apart[j + 1]) + (apart[j + 2] + apart[j + 3])
            right_apart = (apart[j + 4] + apart[j + 5]) + (apart[j + 6] + apart[j + 7])
            across[j], down[j] = right - left, left_apart + right_apart
    for j in range(width):
        across[j], down[j] = abs(across[j]) * scale, abs(down[j]) * scale


@native_any_order
def _squashed(similar: Any) -> Any:
    """Return 1 / (1 + exp(-4.2 s)) for s from 0 to 1: the eighth power of a Taylor polynomial."""
    t, one = similar * EIGHTH, INVERSE[0]
    power = one + t * INVERSE[7] * (one + t * INVERSE[8])
    power = one + t * INVERSE[5] * (one + t * INVERSE[6] * power)
    power = one + t * INVERSE[3] * (one + t * INVERSE[4] * power)
    power = one + t * (one + t * INVERSE[1] * (one + t * INVERSE[2] * power))
    power *= power
    power *= power
    power *= power
    return one / (one + power)


@native(f"void({_PLANES}, {_PLANES}, float32, float64[:,::1], {_PLANES})", any_order=True)
def haar_sums(x: Any, y: Any, c: Any, sums: Any, weights: Any) -> None:
    """Add the weighted likeness of edges of each pair to `sums` (N, 2), and the weights.

    The mean of the weights across and down at each place goes to `weights`. Planes are halved
    first; windows meet zeros beyond a border, 3 before and 4 after.
    """
    count, height, width = len(x), x.shape[1] // 2, x.shape[2] // 2
    wide = (width + 7 + 31) // 32 * 32  # whole vectors; beyond the border nothing weighs
    half_x = np.zeros((height + 7, wide + 8), np.float32)
    half_y = np.zeros((height + 7, wide + 8), np.float32)
    found = np.empty((2, 3, 2, wide), np.float32)  # x or y; size; across or down
    one, other = np.zeros(wide + 8, np.float32), np.zeros(wide + 8, np.float32)
    half, two = np.float32(0.5), np.float32(2)
    for n in range(count):
        over = under = 0.0
        _halved(x[n], half_x)
        _halved(y[n], half_y)
        for i in range(height):
            for k in range(3):
                _edges(half_x, i, 2 << k, found[0, k, 0], found[0, k, 1], one, other)
                _edges(half_y, i, 2 << k, found[1, k, 0], found[1, k, 1], one, other)
            for way in range(2):
                a, b, d, e = found[0, 0, way], found[1, 0, way], found[0, 1, way], found[1, 1, way]
                coarse_x, coarse_y = found[0, 2, way], found[1, 2, way]
                coarse_x[width:] = 0
                coarse_y[width:] = 0
                for j in range(wide):
                    fine = (two * a[j] * b[j] + c) / (a[j] * a[j] + b[j] * b[j] + c)
                    middle = (two * d[j] * e[j] + c) / (d[j] * d[j] + e[j] * e[j] + c)
                    weight = max(coarse_x[j], coarse_y[j])
                    over += weight * _squashed(half * (fine + middle))
                    under += weight
            a, b, d, e = found[0, 2, 0], found[1, 2, 0], found[0, 2, 1], found[1, 2, 1]
            to = weights[n, i]
            for j in range(width):
                to[j] = half * (max(a[j], b[j]) + max(d[j], e[j]))
        sums[n, 0] += over
        sums[n, 1] += under
