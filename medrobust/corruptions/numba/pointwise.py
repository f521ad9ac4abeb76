"""Table look-ups for the CPU: photometric kernels and the resampling of `pixelate`."""

from typing import Any

import numpy as np
from numba import uint32

from medrobust.base.numba_jit import native, native_helper

_BATCH = "uint8[:,:,:,::1], uint8[:,:,:,::1]"


@native(f"void({_BATCH}, int64, int64, uint8[:,::1])")
def look_up_by_maximum(images: Any, out: Any, start: int, stop: int, table: Any) -> None:
    """Replace value u of a pixel whose largest channel is m by table[m, u]; (256, 256)."""
    channels, pixels = images.shape[1], images.shape[2] * images.shape[3]
    for n in range(start, stop):
        source, target = images[n].reshape(channels, pixels), out[n].reshape(channels, pixels)
        if channels == 1:
            for p in range(pixels):
                target[0, p] = table[source[0, p], source[0, p]]
            continue
        red, green, blue = source[0], source[1], source[2]
        for p in range(pixels):
            values = table[max(red[p], green[p], blue[p])]
            target[0, p] = values[red[p]]
            target[1, p] = values[green[p]]
            target[2, p] = values[blue[p]]


@native(f"void({_BATCH}, int64, int64, float64)")
def scale_about_mean(images: Any, out: Any, start: int, stop: int, factor: float) -> None:
    """Scale each channel about its own spatial mean, in float64 as the reference does."""
    _, channels, height, width = images.shape
    pixels = height * width
    table = np.empty(256, np.uint8)
    for n in range(start, stop):
        for c in range(channels):
            source, target = images[n, c].reshape(pixels), out[n, c].reshape(pixels)
            total = np.int64(0)
            for p in range(pixels):
                total += source[p]
            mean = total / (255.0 * pixels)
            for u in range(256):
                value = (u / 255.0 - mean) * factor + mean
                table[u] = np.uint8(min(max(value, 0.0), 1.0) * 255.0)
            for p in range(pixels):
                target[p] = table[source[p]]


@native(f"void({_BATCH}, int64, int64, float64, float64)")
def scale_saturation(
    images: Any, out: Any, start: int, stop: int, factor: float, shift: float
) -> None:
    """Scale and shift the saturation in HSV, in float64 and without branches."""
    pixels = images.shape[2] * images.shape[3]
    for n in range(start, stop):
        source, target = images[n].reshape(3, pixels), out[n].reshape(3, pixels)
        reds, greens, blues = source[0], source[1], source[2]
        for p in range(pixels):
            red, green, blue = reds[p] / 255.0, greens[p] / 255.0, blues[p] / 255.0
            value = max(red, green, blue)
            span = value - min(red, green, blue)
            is_blue, is_green = blue == value, green == value
            ahead = red - green if is_blue else (blue - red if is_green else green - blue)
            base = 4.0 if is_blue else (2.0 if is_green else 0.0)
            hue = (base + ahead / (span if span > 0.0 else 1.0)) / 6.0
            hue = hue + 1.0 if hue < 0.0 else hue
            sixth = hue * 6 if span > 0.0 else 0.0
            whole = np.int32(sixth)
            share = sixth - whole
            saturation = span / (value if value > 0.0 else 1.0) * factor + shift
            saturation = min(max(saturation, 0.0), 1.0)
            top = np.uint8(value * 255.0)
            low = np.uint8(value * (1 - saturation) * 255.0)
            even = whole & 1 == 0
            mixed = (1 - share) * saturation if even else share * saturation
            middle = np.uint8(value * (1 - mixed) * 255.0)
            whole %= np.int32(6)
            first = top if (whole == 0) | (whole == 5) else low
            target[0, p] = middle if (whole == 1) | (whole == 4) else first
            second = top if (whole == 1) | (whole == 2) else low
            target[1, p] = middle if (whole == 0) | (whole == 3) else second
            third = top if (whole == 3) | (whole == 4) else low
            target[2, p] = middle if (whole == 2) | (whole == 5) else third


def _across(taps: int) -> Any:
    """Make a helper that resamples a row with `taps` weights: a constant, so that loops unroll."""

    @native_helper
    def across(source: Any, column: Any, weights: Any, target: Any) -> None:
        for x in range(len(target)):
            value, first = np.int32(1 << 21), uint32(column[x])
            for i in range(taps):
                value += weights[x, i] * source[first + uint32(i)]
            target[x] = value >> 22

    return across


_across_1, _across_2, _across_3, _across_4, _across_5 = (_across(taps) for taps in range(1, 6))


@native(f"void({_BATCH}, int64, int64, int32[::1], int32[:,::1], int32[::1], int32[:,::1])")
def resize(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    column: Any,
    column_weights: Any,
    row: Any,
    row_weights: Any,
) -> None:
    """Resample columns, then rows, in 22-bit fixed point with a rounded uint8 in between.

    Output column x is the sum over i of column_weights[x, i] * input column column[x] + i; rows
    likewise. Windows stay inside the image.
    """
    channels, height = images.shape[1:3]
    out_height, out_width = out.shape[2], out.shape[3]
    half, taps = np.int32(1 << 21), column_weights.shape[1]
    between = np.empty((height, out_width), np.uint8)
    total = np.empty(out_width, np.int32)
    for n in range(start, stop):
        for c in range(channels):
            for y in range(height):
                source, target = images[n, c, y], between[y]
                if taps == 1:
                    _across_1(source, column, column_weights, target)
                elif taps == 2:
                    _across_2(source, column, column_weights, target)
                elif taps == 3:
                    _across_3(source, column, column_weights, target)
                elif taps == 4:
                    _across_4(source, column, column_weights, target)
                elif taps == 5:
                    _across_5(source, column, column_weights, target)
                else:
                    for x in range(out_width):
                        value, first = half, uint32(column[x])
                        for i in range(taps):
                            value += column_weights[x, i] * source[first + uint32(i)]
                        target[x] = value >> 22
            for y in range(out_height):
                total[:] = half
                for i in range(row_weights.shape[1]):
                    weight = row_weights[y, i]
                    source = between[row[y] + i]
                    for x in range(out_width):
                        total[x] += weight * source[x]
                for x in range(out_width):
                    out[n, c, y, x] = total[x] >> 22


@native(f"void({_BATCH}, int64, int64, int32[::1], int32[::1])")
def pick(images: Any, out: Any, start: int, stop: int, row: Any, column: Any) -> None:
    """Copy out[y, x] from images[row[y], column[x]]."""
    for n in range(start, stop):
        for c in range(out.shape[1]):
            for y in range(out.shape[2]):
                if y and row[y] == row[y - 1]:
                    for x in range(out.shape[3]):
                        out[n, c, y, x] = out[n, c, y - 1, x]
                    continue
                source = images[n, c, row[y]]
                for x in range(out.shape[3]):
                    out[n, c, y, x] = source[uint32(column[x])]


@native(f"void({_BATCH}, int64, int64, uint8[::1])")
def look_up(images: Any, out: Any, start: int, stop: int, table: Any) -> None:
    """Replace every value u by table[u]."""
    values = images.shape[1] * images.shape[2] * images.shape[3]
    for n in range(start, stop):
        source, target = images[n].reshape(values), out[n].reshape(values)
        for i in range(values):
            target[i] = table[source[i]]


@native(f"void({_BATCH}, int64, int64, float32)")
def scale(images: Any, out: Any, start: int, stop: int, factor: float) -> None:
    """Multiply every value by `factor` in float32, clip and truncate."""
    values = images.shape[1] * images.shape[2] * images.shape[3]
    for n in range(start, stop):
        source, target = images[n].reshape(values), out[n].reshape(values)
        for i in range(values):
            target[i] = min(np.int32(np.float32(source[i]) * factor), np.int32(255))


@native(f"void({_BATCH}, int64, int64, float32, int64, int64, int64)")
def scale_about_luma(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    factor: float,
    red_weight: int,
    green_weight: int,
    blue_weight: int,
) -> None:
    """Scale every value about the rounded mean luma of its image, in float32."""
    channels, pixels = images.shape[1], images.shape[2] * images.shape[3]
    by_red, by_green = np.int32(red_weight), np.int32(green_weight)
    by_blue, half = np.int32(blue_weight), np.int32(32768)
    for n in range(start, stop):
        source = images[n].reshape(channels * pixels)
        target = out[n].reshape(channels * pixels)
        total = np.int64(0)
        if channels == 1:
            for p in range(pixels):
                total += source[p]
        else:
            red, green, blue = source[:pixels], source[pixels : 2 * pixels], source[2 * pixels :]
            for p in range(pixels):
                total += (by_red * red[p] + by_green * green[p] + by_blue * blue[p] + half) >> 16
        mean = np.float32((2 * total + pixels) // (2 * pixels))
        for i in range(channels * pixels):
            value = mean + factor * (np.float32(source[i]) - mean)
            target[i] = np.int32(min(max(value, np.float32(0)), np.float32(255)))
