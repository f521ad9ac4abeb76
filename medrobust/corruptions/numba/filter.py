"""Symmetric filters for the CPU: separable ones, and disks as sums of boxes."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import copy_rows, native, native_helper, native_inline
from medrobust.corruptions.batches import LEVELS

_BATCH = "uint8[:,:,:,::1], uint8[:,:,:,::1]"
NEAR = np.float32(2.0**-16)
"""Times radius + 6: how near a whole number a float32 sum does not say on which side of it it lies.

It is off by less than radius + 5 times as much: by 2^-17 an addition in both passes, and by 2^-16
each by products and weights in both and by pairs in the second.
"""


@native_helper
def smooth_plane(
    plane: Any,
    row_weights: Any,
    column_weights: Any,
    row_map: Any,
    column_map: Any,
    line: Any,
    padded: Any,
    out: Any,
) -> None:
    """Filter float32 (H, W) along both axes with symmetric float32 weights.

    There are 2 r + 1 weights over rows and 2 q + 1 over columns. row_map (H + 2 r,) and
    column_map (W + 2 q,) say which row or column stands where, border included. `line` (W,) and
    `padded` (W + 2 q,) are scratch. Sums run from the middle outwards.
    """
    height, width = plane.shape
    radius, reach = len(row_weights) // 2, len(column_weights) // 2
    for y in range(height):
        centre, weight = plane[row_map[y + radius]], row_weights[radius]
        for x in range(width):
            line[x] = weight * centre[x]
        for i in range(1, radius + 1):
            above, below = plane[row_map[y + radius - i]], plane[row_map[y + radius + i]]
            weight = row_weights[radius + i]
            for x in range(width):
                line[x] += weight * (above[x] + below[x])
        for x in range(reach):
            padded[x] = line[column_map[x]]
            padded[width + reach + x] = line[column_map[width + reach + x]]
        for x in range(width):
            padded[reach + x] = line[x]
        target, weight = out[y], column_weights[reach]
        for x in range(width):
            target[x] = weight * line[x]
        for i in range(1, reach + 1):
            left = padded[reach - i : reach - i + width]
            right = padded[reach + i : reach + i + width]
            weight = column_weights[reach + i]
            for x in range(width):
                target[x] += weight * (left[x] + right[x])


@native_helper
def count_steps(plane: Any, steps: Any) -> None:
    """Fill int32 steps (H + 1, W + 1): pixels above and to the left that are not as their next.

    A pixel counts where its right or its lower neighbour has another value.
    """
    height, width = plane.shape
    steps[0] = 0
    for y in range(height):
        found = 0
        steps[y + 1, 0] = 0
        for x in range(width):
            across = x + 1 < width and plane[y, x] != plane[y, x + 1]
            down = y + 1 < height and plane[y, x] != plane[y + 1, x]
            if across or down:
                found += 1
            steps[y + 1, x + 1] = steps[y, x + 1] + found


@native_inline
def is_near(value: Any, near: Any) -> Any:
    """Say whether a sum is so near a whole number that it may be truncated to another; 0 is not."""
    whole = np.floor(value + np.float32(0.5))
    return (whole != 0) & (abs(value - whole) < near)


@native_helper
def truncate_sums(
    plane: Any,
    sums: Any,
    weights: Any,
    row_map: Any,
    column_map: Any,
    line: Any,
    row: Any,
    steps: Any,
    flat: Any,
    out: Any,
) -> None:
    """Truncate the sums of a filtered uint8 plane (H, W); where they are near a whole number, anew.

    Those are summed as scipy does, in float64 on values of 0 to 1, down first, from the rim of the
    window to its middle: only so do they end on the same side of the number. `line` (W,) float64
    and `row` (W,) int64 are scratch: sums down each column, and the row for which they are. Windows
    of one value are looked up in `flat` (256,) uint8; `steps` (H + 1, W + 1) int32 is scratch.
    """
    height, width = plane.shape
    taps = len(weights)
    radius = taps // 2
    near = NEAR * np.float32(radius + 6)
    row[:] = -1
    counted = False
    for y in range(height):
        source, values, target, unsure = plane[y], sums[y], out[y], False
        for x in range(width):
            target[x] = np.uint8(np.int32(values[x]))
            unsure |= is_near(values[x], near)
        if not unsure:
            continue
        for x in range(width):
            if not is_near(values[x], near):
                continue
            level = source[x]
            if source[max(x - 1, 0)] == level == source[min(x + 1, width - 1)]:
                if not counted:
                    count_steps(plane, steps)
                    counted = True
                top, bottom = max(y - radius, 0), min(y + radius + 1, height)
                left, right = max(x - radius, 0), min(x + radius + 1, width)
                inside = steps[bottom, right] - steps[top, right] - steps[bottom, left]
                if inside + steps[top, left] == 0:
                    target[x] = flat[level]
                    continue
            for i in range(taps):
                at = column_map[x + i]
                if row[at] != y:
                    row[at] = y
                    down = LEVELS[plane[row_map[y + radius], at]] * weights[radius]
                    for k in range(radius):
                        above = LEVELS[plane[row_map[y + k], at]]
                        below = LEVELS[plane[row_map[y + taps - 1 - k], at]]
                        down += (above + below) * weights[k]
                    line[at] = down
            total = line[column_map[x + radius]] * weights[radius]
            for k in range(radius):
                pair = line[column_map[x + k]] + line[column_map[x + taps - 1 - k]]
                total += pair * weights[k]
            target[x] = np.uint8(min(max(total, 0.0), 1.0) * 255.0)


@native(
    f"void({_BATCH}, int64, int64, float32[::1], float64[::1], uint8[::1], int64[::1], int64[::1])"
)
def soften(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    weights: Any,
    exact: Any,
    flat: Any,
    row_map: Any,
    column_map: Any,
) -> None:
    """Filter every plane and truncate as scipy's sums would; `exact` are the weights in float64.

    `flat` (256,) says what windows of one value become.
    """
    height, width = images.shape[2:]
    plane, sums = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    line, padded = np.empty(width, np.float32), np.empty(len(column_map), np.float32)
    down, row = np.empty(width), np.empty(width, np.int64)
    steps = np.empty((height + 1, width + 1), np.int32)
    for n in range(start, stop):
        for c in range(images.shape[1]):
            source = images[n, c]
            copy_rows(source, plane)
            smooth_plane(plane, weights, weights, row_map, column_map, line, padded, sums)
            truncate_sums(
                source, sums, exact, row_map, column_map, down, row, steps, flat, out[n, c]
            )


@native(f"void({_BATCH}, int64, int64, float32[::1], int64[::1], int64[::1], float32)")
def separable(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    weights: Any,
    row_map: Any,
    column_map: Any,
    bias: float,
) -> None:
    """Filter every plane, add `bias` and truncate."""
    _, channels, height, width = images.shape
    plane, smooth = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    line, padded = np.empty(width, np.float32), np.empty(len(column_map), np.float32)
    for n in range(start, stop):
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    plane[y, x] = images[n, c, y, x]
            smooth_plane(plane, weights, weights, row_map, column_map, line, padded, smooth)
            for y in range(height):
                for x in range(width):
                    value = smooth[y, x] + bias
                    out[n, c, y, x] = np.uint8(min(value, np.float32(255)))


@native(
    f"void({_BATCH}, int64, int64, int64[::1], int64[::1], int32[:,::1], int64[::1], int64, int64)"
)
def boxes(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    row_map: Any,
    column_map: Any,
    box: Any,
    first: Any,
    reach: int,
    bits: int,
) -> None:
    """Sum boxes over pairs of rows: for distance d, boxes first[d] to first[d + 1].

    A box is (half width a, weight w) and adds w times the sum over columns x - a to x + a of row
    y - d and, if d > 0, row y + d. Maps hold `reach` border rows and columns on each side. Sums
    fit 32 bits; the result is truncated after dividing by 2^bits.
    """
    _, channels, height, width = images.shape
    prefix = np.empty((height + 2 * reach, width + 2 * reach + 1), np.int32)
    pair = np.empty(width + 2 * reach + 1, np.int32)
    total = np.empty(width, np.int32)
    for n in range(start, stop):
        for c in range(channels):
            for y in range(height + 2 * reach):
                source, row = images[n, c, row_map[y]], prefix[y]
                running = np.int32(0)
                row[0] = 0
                for x in range(width + 2 * reach):
                    running += source[column_map[x]]
                    row[x + 1] = running
            for y in range(height):
                total[:] = 0
                for d in range(reach + 1):
                    above, below = prefix[y + reach - d], prefix[y + reach + d]
                    if d:
                        for x in range(width + 2 * reach + 1):
                            pair[x] = above[x] + below[x]
                    else:
                        for x in range(width + 2 * reach + 1):
                            pair[x] = above[x]
                    for b in range(first[d], first[d + 1]):
                        half, weight = box[b]
                        right, left = pair[reach + half + 1 :], pair[reach - half :]
                        for x in range(width):
                            total[x] += weight * (right[x] - left[x])
                for x in range(width):
                    out[n, c, y, x] = min(max(total[x] >> bits, 0), 255)
