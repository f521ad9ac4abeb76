"""Water on the lens for the CPU: the relief of its drops, bit for bit as OpenCV makes it."""

from typing import Any

import numpy as np
from numba import float32, int16, int32, int64, uint8

from medrobust.base.numba_jit import native, native_helper

WEAK, STRONG = 50, 150
"""Larger gradients, |dx| + |dy| of Sobel, can be edges, and are."""

TANGENT = 13573
"""Of 22.5 degrees in 2^-15, as OpenCV's Canny rounds it."""

FAR = 20
"""Distances are cut here, in pixels."""

STEP, DIAGONAL, KNIGHT = np.float32(1), np.float32(1.4), np.float32(2.1969)
"""Lengths of the moves of a distance: to a neighbor, to a diagonal one, and by two and one."""

CHAINS = 4
"""Parts of a row that a scan takes side by side."""

NINTH = 1.0 / 9.0


@native_helper
def _gradients(drops: Any, sums: Any, rises: Any, across: Any, down: Any, size: Any) -> None:
    """Take Sobel gradients, edges replicated; `size` has a rim of zeros."""
    height, width = drops.shape
    for y in range(height):
        above, here = drops[max(y - 1, 0)], drops[y]
        below = drops[min(y + 1, height - 1)]
        for x in range(width):
            a, b = int16(above[x]), int16(below[x])
            sums[x + 1] = a + b + (int16(here[x]) << 1)
            rises[x + 1] = b - a
        for line in (sums, rises):
            line[0], line[width + 1] = line[1], line[width]
        to_x, to_y, length = across[y], down[y], size[y + 1]
        for x in range(width):
            dx = int16(sums[x + 2] - sums[x])
            dy = int16(rises[x] + rises[x + 2] + (rises[x + 1] << 1))
            to_x[x], to_y[x] = dx, dy
            length[x + 1] = abs(dx) + abs(dy)


@native_helper
def _crests(across: Any, down: Any, size: Any, states: Any) -> None:
    """Mark where the gradient is largest along itself: 1, and 2 where it is strong."""
    height, width = across.shape
    for y in range(height):
        to_x, to_y, state = across[y], down[y], states[y + 1]
        above, here, below = size[y], size[y + 1], size[y + 2]
        for x in range(width):
            dx, dy, most = int32(to_x[x]), int32(to_y[x]), here[x + 1]
            flat = abs(dx) * int32(TANGENT)
            steep, rise = flat + (abs(dx) << int32(16)), abs(dy) << int32(15)
            level = (rise < flat) & (most > here[x]) & (most >= here[x + 2])
            upright = (rise > steep) & (most > above[x + 1]) & (most >= below[x + 1])
            falling = (most > above[x]) & (most > below[x + 2]) & ((dx ^ dy) >= 0)
            rising = (most > above[x + 2]) & (most > below[x]) & ((dx ^ dy) < 0)
            slant = (rise >= flat) & (rise <= steep) & (falling | rising)
            crest = (level | upright | slant) & (most > WEAK)
            state[x + 1] = uint8(crest) + uint8(crest & (most > STRONG))


@native_helper
def _join(states: Any, stack: Any) -> None:
    """Turn every 1 that touches a 2, over others too, into a 2; `stack` is memory for places."""
    height, width = states.shape
    flat = states.reshape(height * width)
    for start in range(width + 1, height * width - width - 1):
        if flat[start] != 1:
            continue
        touches = False
        for at in (start - width, start, start + width):
            touches |= (flat[at - 1] == 2) | (flat[at] == 2) | (flat[at + 1] == 2)
        if not touches:
            continue
        flat[start], stack[0], waiting = 2, start, 1
        while waiting:
            waiting -= 1
            middle = int64(stack[waiting])
            for row in (middle - width, middle, middle + width):
                for at in range(row - 1, row + 2):
                    if flat[at] == 1:
                        flat[at], stack[waiting] = 2, at
                        waiting += 1


@native_helper
def _scan(line: Any, out: Any, length: int) -> None:
    """Let out[x] be the least of line[x - k] + 1 + 1 ... for k of 0 to 20, with sums in order.

    `line` has FAR places in front; chains of `length` begin there, so that they can run at once.
    """
    a = b = c = d = float32(FAR)
    second, third, fourth = line[length:], line[2 * length :], line[3 * length :]
    for x in range(FAR):
        a, b = min(a + STEP, line[x]), min(b + STEP, second[x])
        c, d = min(c + STEP, third[x]), min(d + STEP, fourth[x])
    for x in range(length):
        a, b = min(a + STEP, line[FAR + x]), min(b + STEP, second[FAR + x])
        c, d = min(c + STEP, third[FAR + x]), min(d + STEP, fourth[FAR + x])
        out[x], out[length + x] = a, b
        out[2 * length + x], out[3 * length + x] = c, d


@native_helper
def _shorten(one: Any, two: Any, line: Any) -> None:
    """Take the shortest ways from the row next but `one` and from the next, `two`."""
    for x in range(len(line)):
        near = min(one[x + 1], one[x + 3])
        near = min(near, min(two[x], two[x + 4])) + KNIGHT
        near = min(near, min(two[x + 1], two[x + 3]) + DIAGONAL)
        line[x] = min(near, two[x + 2] + STEP)


@native_helper
def _distances(states: Any, far: Any, line: Any, scanned: Any) -> None:
    """Measure the way to the nearest 2, as IPP's 5 x 5 transform does; at most FAR.

    First by moves from above and the left, then by moves from below and the right.
    """
    height, width = states.shape[0] - 2, states.shape[1] - 2
    length = -(-width // CHAINS)
    ways = line[FAR : FAR + width]
    for y in range(height):
        here, state = far[y + 2], states[y + 1]
        _shorten(far[y], far[y + 1], ways)
        for x in range(width):
            ways[x] = float32(0) if state[x + 1] == 2 else min(ways[x], float32(FAR))
        _scan(line, scanned, length)
        for x in range(width):
            here[x + 2] = scanned[x]
    for y in range(height - 1, -1, -1):
        here = far[y + 2]
        _shorten(far[y + 4], far[y + 3], scanned[:width])
        for x in range(width):
            ways[width - 1 - x] = min(scanned[x], here[x + 2])
        _scan(line, scanned, length)
        for x in range(width):
            here[x + 2] = scanned[width - 1 - x]


@native_helper
def _mirror(plane: Any) -> None:
    """Fill a rim of one pixel: 101 at the borders."""
    height, width = plane.shape
    for y in range(1, height - 1):
        plane[y, 0], plane[y, width - 1] = plane[y, 2], plane[y, width - 3]
    for x in range(width):
        plane[0, x], plane[height - 1, x] = plane[2, x], plane[height - 3, x]


@native_helper
def _soften(far: Any, total: Any, out: Any) -> Any:
    """Average 3 x 3 distances into whole pixels; count how often each comes."""
    height, width = out.shape[0] - 2, out.shape[1] - 2
    counts = np.zeros(256, np.int32)
    for y in range(height):
        above = far[2 + (y - 1 if y else 1)]
        here, below = far[2 + y], far[2 + (y + 1 if y + 1 < height else height - 2)]
        for x in range(width):
            pair = np.float64(above[x + 2]) + np.float64(here[x + 2])
            total[x + 1] = pair + np.float64(below[x + 2])
        total[0], total[width + 1] = total[2], total[width - 1]
        target = out[y + 1]
        for x in range(width):
            mean = float32((total[x] + total[x + 1] + total[x + 2]) * NINTH)
            target[x + 1] = uint8(int32(mean))
        for x in range(width):
            counts[target[x + 1]] += 1
    return counts


@native_helper
def _equalizing(counts: Any, total: int) -> Any:
    """Make OpenCV's table of an equalized histogram."""
    table = np.zeros(256, np.uint8)
    lowest = 0
    while counts[lowest] == 0:
        lowest += 1
    if counts[lowest] == total:
        table[lowest] = lowest
        return table
    scale, below = float32(255) / float32(total - counts[lowest]), 0
    for value in range(lowest + 1, 256):
        below += counts[value]
        table[value] = uint8(np.rint(float32(below) * scale))
    return table


@native_helper
def _emboss(flat: Any, out: Any) -> None:
    """Filter by -2 -1 0, -1 1 1, 0 1 2 into 0 to 255; both planes have a rim of one pixel."""
    height, width = flat.shape[0] - 2, flat.shape[1] - 2
    for y in range(height):
        above, here, below, target = flat[y], flat[y + 1], flat[y + 2], out[y + 1]
        for x in range(width):
            corners = (int16(below[x + 2]) - int16(above[x])) << 1
            sides = int16(here[x + 2]) + int16(below[x + 1]) - int16(above[x + 1]) - int16(here[x])
            value = int16(corners + sides + int16(here[x + 1]))
            target[x + 1] = uint8(min(max(value, int16(0)), int16(255)))


@native_helper
def _raise(drops: Any, relief: Any, total: Any, strength: float, out: Any) -> None:
    """Multiply drops by the 3 x 3 means of the relief, and scale the highest to `strength`."""
    height, width = drops.shape
    highest = int32(1)
    for y in range(height):
        above, here, below = relief[y], relief[y + 1], relief[y + 2]
        for x in range(width + 2):
            total[x] = int32(above[x]) + int32(here[x]) + int32(below[x])
        drop, target = drops[y], out[y]
        for x in range(width):
            mean = ((total[x] + total[x + 1] + total[x + 2] + int32(4)) * int32(7282)) >> 16
            value = int32(drop[x]) * mean
            highest = max(highest, value)
            target[x] = float32(value)
    scale = float32(strength / float(highest))
    for y in range(height):
        target = out[y]
        for x in range(width):
            target[x] *= scale


@native("void(float32[:,:,::1], float32[:,:,::1], int64, int64, float32, float64)")
def relief_of(
    layers: Any, out: Any, start: int, stop: int, threshold: float, strength: float
) -> None:
    """Turn smoothed fields (N, H, W) into how much water lightens."""
    _, height, width = layers.shape
    drops = np.empty((height, width), np.uint8)
    across, down = np.empty((height, width), np.int16), np.empty((height, width), np.int16)
    sums, rises = np.empty(width + 2, np.int16), np.empty(width + 2, np.int16)
    size = np.zeros((height + 2, width + 2), np.int16)
    states = np.zeros((height + 2, width + 2), np.uint8)
    stack = np.empty((height + 2) * (width + 2), np.int32)
    far = np.full((height + 4, width + 4), FAR, np.float32)
    line = np.full(FAR + width + CHAINS, FAR, np.float32)
    scanned = np.empty(width + CHAINS, np.float32)
    means, total = np.empty((height + 2, width + 2), np.float64), np.empty(width + 2, np.int32)
    flat = np.empty((height + 2, width + 2), np.uint8)
    relief = np.empty((height + 2, width + 2), np.uint8)
    for n in range(start, stop):
        for y in range(height):
            source, target = layers[n, y], drops[y]
            for x in range(width):
                value = float32(0) if source[x] < threshold else source[x] * float32(255)
                target[x] = uint8(int32(value))
        _gradients(drops, sums, rises, across, down, size)
        _crests(across, down, size, states)
        _join(states, stack)
        _distances(states, far, line, scanned)
        counts = _soften(far, means[0], flat)
        table = _equalizing(counts, height * width)
        for y in range(1, height + 1):
            target = flat[y]
            for x in range(1, width + 1):
                target[x] = table[target[x]]
        _mirror(flat)
        _emboss(flat, relief)
        _mirror(relief)
        _raise(drops, relief, total, strength, out[n])
