"""The lossy part of JPEG for the CPU: everything but the entropy coding, which loses nothing."""

from typing import Any

import numpy as np
from numba import float32, int32

from medrobust.base.numba_jit import native, native_helper, native_inline, native_shared

LANES = 32
"""Blocks transformed at once: value (v, u) of block b stands at (8 v + u) * LANES + b."""

ROW, COLUMN = LANES, 8 * LANES
"""Distances between neighbours of a row (u) and of a column (v)."""

C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11 = (
    2446, 3196, 4433, 6270, 7373, 9633, 12299, 15137, 16069, 16819, 20995, 25172,
)  # fmt: skip
"""2^13 times 0.2986, 0.3902, 0.5412, 0.7654, 0.8999, 1.1759, 1.5013, 1.8478, 1.9616, 2.0531,
2.5629, 3.0727: the rotations of the fast cosine transform."""


@native_shared
def odd_part(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Rotate the odd half, which both transforms share, in steps of 2^-13."""
    both = (a + c + b + d) * C5
    ad, bc = (a + d) * C4, (b + c) * C10
    ac, bd = both - (a + c) * C8, both - (b + d) * C1
    return a * C0 - ad + ac, b * C9 - bc + bd, c * C11 - bc + ac, d * C6 - ad + bd


@native_shared
def forward_cosine(x0: Any, x1: Any, x2: Any, x3: Any, x4: Any, x5: Any, x6: Any, x7: Any) -> Any:
    """Transform eight samples; results are in steps of 2^-13."""
    a0, a3, a1, a2 = x0 + x7, x3 + x4, x1 + x6, x2 + x5
    even, odd, inner, outer = a0 + a3, a1 + a2, a1 - a2, a0 - a3
    turned = (inner + outer) * C2
    y7, y5, y3, y1 = odd_part(x3 - x4, x2 - x5, x1 - x6, x0 - x7)
    return (
        (even + odd) * 8192, y1, turned + outer * C3, y3,
        (even - odd) * 8192, y5, turned - inner * C7, y7,
    )  # fmt: skip


@native_shared
def inverse_cosine(y0: Any, y1: Any, y2: Any, y3: Any, y4: Any, y5: Any, y6: Any, y7: Any) -> Any:
    """Transform eight coefficients back; results are in steps of 2^-13."""
    turned = (y2 + y6) * C2
    inner, outer = turned - y6 * C7, turned + y2 * C3
    even, odd = (y0 + y4) * 8192, (y0 - y4) * 8192
    a0, a3, a1, a2 = even + outer, even - outer, odd + inner, odd - inner
    b3, b2, b1, b0 = odd_part(y7, y5, y3, y1)
    return a0 + b0, a1 + b1, a2 + b2, a3 + b3, a3 - b3, a2 - b2, a1 - b1, a0 - b0


@native_inline
def _forward_pass(block: Any, base: int, step: int, shift: int) -> None:
    half = int32(1 << (shift - 1))
    for b in range(base, base + LANES):
        y = forward_cosine(
            block[b], block[b + step], block[b + 2 * step], block[b + 3 * step],
            block[b + 4 * step], block[b + 5 * step], block[b + 6 * step], block[b + 7 * step],
        )  # fmt: skip
        block[b] = (y[0] + half) >> shift
        block[b + step] = (y[1] + half) >> shift
        block[b + 2 * step] = (y[2] + half) >> shift
        block[b + 3 * step] = (y[3] + half) >> shift
        block[b + 4 * step] = (y[4] + half) >> shift
        block[b + 5 * step] = (y[5] + half) >> shift
        block[b + 6 * step] = (y[6] + half) >> shift
        block[b + 7 * step] = (y[7] + half) >> shift


@native_inline
def _inverse_pass(block: Any, base: int, step: int, shift: int) -> None:
    half = int32(1 << (shift - 1))
    for b in range(base, base + LANES):
        x = inverse_cosine(
            block[b], block[b + step], block[b + 2 * step], block[b + 3 * step],
            block[b + 4 * step], block[b + 5 * step], block[b + 6 * step], block[b + 7 * step],
        )  # fmt: skip
        block[b] = (x[0] + half) >> shift
        block[b + step] = (x[1] + half) >> shift
        block[b + 2 * step] = (x[2] + half) >> shift
        block[b + 3 * step] = (x[3] + half) >> shift
        block[b + 4 * step] = (x[4] + half) >> shift
        block[b + 5 * step] = (x[5] + half) >> shift
        block[b + 6 * step] = (x[6] + half) >> shift
        block[b + 7 * step] = (x[7] + half) >> shift


@native_helper
def quantise_plane(plane: Any, steps: Any, block: Any) -> None:
    """Transform, round to multiples of `steps` (64,) and transform back, in place.

    `plane` is uint8 of sides that are multiples of 8; `block` is int32 scratch (64 * LANES,).
    """
    height, width = plane.shape
    for y in range(0, height, 8):
        for x in range(0, width, 8 * LANES):
            count = min(LANES, (width - x) // 8)
            for v in range(8):
                row = plane[y + v]
                for b in range(count):
                    for u in range(8):
                        block[(8 * v + u) * LANES + b] = int32(row[x + 8 * b + u]) - int32(128)
            for v in range(8):
                _forward_pass(block, v * COLUMN, ROW, 11)
            for u in range(8):
                _forward_pass(block, u * ROW, COLUMN, 15)
            for i in range(64):
                step = steps[i]
                whole, half = float32(8 * step), int32(4 * step)
                for b in range(i * LANES, (i + 1) * LANES):
                    value = block[b]
                    level = int32(float32(abs(value) + half) / whole) * step
                    block[b] = level if value >= 0 else -level
            for u in range(8):
                _inverse_pass(block, u * ROW, COLUMN, 11)
            for v in range(8):
                _inverse_pass(block, v * COLUMN, ROW, 18)
            for v in range(8):
                row = plane[y + v]
                for b in range(count):
                    for u in range(8):
                        value = block[(8 * v + u) * LANES + b] + int32(128)
                        row[x + 8 * b + u] = np.uint8(min(max(value, int32(0)), int32(255)))


@native_helper
def _copy(source: Any, target: Any, count: int) -> None:
    for x in range(count):
        target[x] = source[x]


@native_helper
def _shrink(plane: Any, out: Any, height: int, width: int) -> None:
    """Average 2 x 2 values, rounding up and down in turns; then fill the far sides of `out`.

    Only (height, width) of `plane` counts; it is continued to the right by its last column and to
    an even height by its last row, `out` downwards by its own last row.
    """
    rows = (height + 1) // 2
    for y in range(out.shape[0]):
        if y >= rows:
            _copy(out[rows - 1], out[y], out.shape[1])
            continue
        above, below = plane[2 * y], plane[min(2 * y + 1, height - 1)]
        for x in range(width // 2):
            total = int32(above[2 * x]) + above[2 * x + 1] + below[2 * x] + below[2 * x + 1]
            out[y, x] = (total + 1 + (x & 1)) >> 2
        corner = 2 * (int32(above[width - 1]) + below[width - 1])
        for x in range(width // 2, out.shape[1]):
            out[y, x] = (corner + 1 + (x & 1)) >> 2


@native_helper
def _enlarge_row(plane: Any, y: int, rows: int, columns: int, lines: Any, out: Any) -> None:
    """Interpolate row y of the doubled plane: 9, 3, 3 and 1 sixteenths of the nearest four.

    `lines` is scratch (3, columns); `out` has 2 * columns places.
    """
    near = plane[y // 2]
    other = y // 2 + (1 if y % 2 else -1)
    far = plane[min(max(other, 0), rows - 1)]
    line, even, odd = lines[0], lines[1], lines[2]
    for x in range(columns):
        line[x] = 3 * int32(near[x]) + far[x]
    before, after, later = line[: columns - 1], line[1:], even[1:]
    for x in range(columns - 1):
        later[x] = (3 * after[x] + before[x] + int32(8)) >> 4
        odd[x] = (3 * before[x] + after[x] + int32(7)) >> 4
    even[0] = (4 * line[0] + 8) >> 4
    odd[columns - 1] = (4 * line[columns - 1] + 7) >> 4
    for x in range(columns):
        out[2 * x] = even[x]
        out[2 * x + 1] = odd[x]


@native_inline
def _clip(value: Any) -> Any:
    return np.uint8(min(max(value, int32(0)), int32(255)))


@native("void(uint8[:,:,:,::1], uint8[:,:,:,::1], int64, int64, int32[:,::1])")
def compress(images: Any, out: Any, start: int, stop: int, steps: Any) -> None:
    """Do to every image what JPEG with steps[0] for luma and steps[1] for chroma, (2, 64), does."""
    _, channels, height, width = images.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    luma = np.empty((-(-height // 8) * 8, -(-width // 8) * 8), np.uint8)
    full = np.empty((2, height, width), np.uint8)
    small = np.empty((2, -(-rows // 8) * 8, -(-columns // 8) * 8), np.uint8)
    block = np.zeros(64 * LANES, np.int32)
    lines = np.empty((3, columns), np.int32)
    blue_line, red_line = np.empty(2 * columns, np.int32), np.empty(2 * columns, np.int32)
    half = int32(32768)
    for n in range(start, stop):
        for y in range(height):
            if channels == 1:
                _copy(images[n, 0, y], luma[y], width)
            else:
                red, green, blue = images[n, 0, y], images[n, 1, y], images[n, 2, y]
                target, blues, reds = luma[y], full[0, y], full[1, y]
                for x in range(width):
                    r, g, b = int32(red[x]), int32(green[x]), int32(blue[x])
                    target[x] = (19595 * r + 38470 * g + 7471 * b + half) >> 16
                    blues[x] = (32768 * b - 11059 * r - 21709 * g + 8421375) >> 16
                    reds[x] = (32768 * r - 27439 * g - 5329 * b + 8421375) >> 16
            last = luma[y, width - 1]
            for x in range(width, luma.shape[1]):
                luma[y, x] = last
        for y in range(height, luma.shape[0]):
            _copy(luma[height - 1], luma[y], luma.shape[1])
        quantise_plane(luma, steps[0], block)
        if channels == 1:
            for y in range(height):
                _copy(luma[y], out[n, 0, y], width)
            continue
        for c in range(2):
            _shrink(full[c], small[c], height, width)
            quantise_plane(small[c], steps[1], block)
        for y in range(height):
            _enlarge_row(small[0], y, rows, columns, lines, blue_line)
            _enlarge_row(small[1], y, rows, columns, lines, red_line)
            source = luma[y]
            red, green, blue = out[n, 0, y], out[n, 1, y], out[n, 2, y]
            for x in range(width):
                value = int32(source[x])
                cb, cr = blue_line[x] - int32(128), red_line[x] - int32(128)
                red[x] = _clip(value + ((91881 * cr + half) >> 16))
                green[x] = _clip(value + ((half - 22554 * cb - 46802 * cr) >> 16))
                blue[x] = _clip(value + ((116130 * cb + half) >> 16))
