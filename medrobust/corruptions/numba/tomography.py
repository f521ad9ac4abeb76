"""Projection, back-projection and counting of quanta for the CPU: one slice at a time."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native

PLACE_BITS = 18
"""Bits after the point of a place on the detector or in a slice."""

WEIGHT_BITS = 10
"""Bits of the weight between two pixels of a ray: sums of a ray are whole numbers."""

SMALL_MEAN = 12.0
"""Up to here counts are searched one by one; beyond, their quantile is a series."""

_PLACE, _DROPPED = np.int32(PLACE_BITS), np.int32(PLACE_BITS - WEIGHT_BITS)
_ONE = np.int32(1 << WEIGHT_BITS)
_LOW = np.int32((1 << WEIGHT_BITS) - 1)
_FRACTION = np.int32((1 << PLACE_BITS) - 1)
_UNIT = np.float32(2.0**-PLACE_BITS)


@native("void(int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1])")
def project(rows: Any, columns: Any, lines: Any, out: Any) -> None:
    """Sum a slice along every ray, linearly between the two pixels that it passes.

    `rows` is the slice with two columns of zeros before and behind, `columns` its transpose
    likewise; `lines` (views, 4) hold whether a ray runs down the rows (0) or across the columns
    (1), its place in the first of them, and the steps from bin to bin and from line to line.
    """
    for view in range(out.shape[0]):
        source = rows if lines[view, 0] == 0 else columns
        last = np.int32(source.shape[1] - 4)
        sums = out[view]
        sums[:] = 0
        for line in range(source.shape[0]):
            pixels = source[line]
            first = lines[view, 1] + np.int32(line) * lines[view, 3]
            for bin in range(out.shape[1]):
                place = np.int32(first + np.int32(bin) * lines[view, 2])
                at = min(max(place >> _PLACE, np.int32(-2)), last) + np.int32(2)
                weight = (place >> _DROPPED) & _LOW
                sums[bin] += pixels[at] * (_ONE - weight) + pixels[at + 1] * weight


@native("void(float32[:,::1], int32[:,::1], float32[:,::1])")
def back_project(filtered: Any, places: Any, out: Any) -> None:
    """Add every view to the pixels that it saw, linearly between two bins.

    `places` (views, 3): of the first pixel on the detector, and the steps down and to the right.
    """
    out[:] = 0
    for view in range(filtered.shape[0]):
        values = filtered[view]
        for row in range(out.shape[0]):
            first = places[view, 0] + np.int32(row) * places[view, 1]
            target = out[row]
            for column in range(out.shape[1]):
                place = np.int32(first + np.int32(column) * places[view, 2])
                at = place >> _PLACE
                weight = np.float32(place & _FRACTION) * _UNIT
                low = values[at]
                target[column] += low + (values[at + 1] - low) * weight


@native("void(float64[::1], int64[::1], float64[::1], float64[::1])")
def count_quanta(means: Any, halves: Any, normals: Any, out: Any) -> None:
    """Write the Poisson count of each mean at a quantile of 16 bits.

    Small means are searched from 0 on; of larger ones the series of Temme and Giles is taken:
    m + sqrt(m) w + (2 + w^2) / 6 + ..., w the normal at that quantile, whose error is far below
    one count.
    """
    for i in range(means.shape[0]):
        mean, half = means[i], halves[i]
        if mean < SMALL_MEAN:
            left, chance, count = (half + 0.5) / 65536.0, np.exp(-mean), 0
            while left > chance and count < 100:
                left -= chance
                count += 1
                chance *= mean / count
            out[i] = count
            continue
        w, root = normals[half], np.sqrt(mean)
        series = mean + root * w + (2 + w * w) / 6
        series += (-w / 36 - w * w * w / 72) / root
        square = w * w
        series += (-8.0 / 405 + 7 * w * w / 810 + square * square / 270) / mean
        out[i] = max(np.floor(series), 0.0)
