"""A small stroke font of our own, a to z, and its anti-aliased pictures; integers only.

Strokes lie on a grid: baseline 0, x-height 16, ascenders 24, descenders -8. A soft round pen is
pressed down at every grid step along them, and each time covers a share of the paper that is still
blank, found in integers, so that every machine has the same letters.

The reference draws its font in short lines, each with a soft rim of 1.5 pixels, at a fraction of a
pixel a font unit: joints and double strokes fill in. `WIDE`, `TALL`, `GAP`, `LIFT`, `REACH` and
`PRESSURE` were fitted to its words (OpenCV 4.10, white on black, scales 0.14, 0.16 and 0.18):
spectrum in 12 bands, mean opacity, its mean square, and pixels touched.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import isqrt

import numpy as np

from medrobust.types import Int64Array, UInt8Array

Point = tuple[int, int]
Stroke = Sequence[Point]

_BOWL = ((0, 6), (0, 10), (3, 15), (6, 16), (9, 15), (11, 12), (11, 5), (9, 1), (6, 0), (3, 1))
_RING = (*_BOWL, (0, 6))
_ARCH = ((0, 12), (3, 15), (6, 16), (9, 15), (10, 12), (10, 0))
_OPEN = ((9, 15), (6, 16), (3, 15), (0, 10), (0, 6), (3, 1), (6, 0), (9, 1), (11, 3))

STROKES: Sequence[Sequence[Stroke]] = (
    (_RING, ((11, 16), (11, 0))),
    (((0, 24), (0, 0)), _RING),
    (((11, 13), *_OPEN),),
    (_RING, ((11, 24), (11, 0))),
    (((0, 9), (11, 9), (11, 12), *_OPEN),),
    (((8, 24), (5, 24), (3, 21), (3, 0)), ((0, 16), (7, 16))),
    (_RING, ((11, 16), (11, -3), (9, -7), (6, -8), (3, -7), (1, -6))),
    (((0, 24), (0, 0)), _ARCH),
    (((0, 16), (0, 0)), ((0, 23), (0, 24))),
    (((4, 16), (4, -5), (2, -8), (0, -8)), ((4, 23), (4, 24))),
    (((0, 24), (0, 0)), ((10, 16), (0, 5)), ((4, 9), (11, 0))),
    (((0, 24), (0, 0)),),
    (
        ((0, 16), (0, 0)),
        _ARCH,
        ((10, 12), (13, 15), (16, 16), (19, 15), (20, 12), (20, 0)),
    ),
    (((0, 16), (0, 0)), _ARCH),
    (_RING,),
    (((0, 16), (0, -8)), _RING),
    (_RING, ((11, 16), (11, -8))),
    (((0, 16), (0, 0)), ((0, 9), (2, 14), (5, 16), (8, 16))),
    (
        ((10, 13), (8, 15), (5, 16), (2, 15), (0, 13), (2, 9), (8, 7)),
        ((8, 7), (10, 3), (8, 1), (5, 0), (2, 1), (0, 3)),
    ),
    (((3, 24), (3, 3), (5, 0), (8, 0)), ((0, 16), (7, 16))),
    (((0, 16), (0, 5), (1, 1), (4, 0), (7, 1), (10, 5)), ((10, 16), (10, 0))),
    (((0, 16), (6, 0), (12, 16)),),
    (((0, 16), (4, 0), (8, 16), (12, 0), (16, 16)),),
    (((0, 16), (11, 0)), ((11, 16), (0, 0))),
    (((0, 16), (6, 0)), ((12, 16), (6, 0), (3, -6), (0, -8))),
    (((0, 16), (11, 16), (0, 0), (11, 0)),),
)
"""a to z."""

STEPS = 10_000
"""Steps a pixel, in which all lengths below are whole."""

WIDE, TALL, GAP = 107, 86, 612
"""Steps along x and y a grid unit, and between letters, for every hundredth of the scale."""

LIFT, REACH = 800, 15_100
"""How far the letters float above their baseline, and the radius of the pen."""

PRESSURE = 234
"""Share of the paper covered under the middle of the pen, in percent a pixel of its way."""

PHASES = 4
"""Places inside a pixel at which a letter may start."""

BEARING = 2
"""Columns of a picture before the one in whose middle the letter starts."""

_ASCENT, _DESCENT, _WIDEST = 24, 8, 20
_BITS = 15


def advances() -> Int64Array:
    """Give the width of each letter with its gap, in steps for a scale of 0.01: (26,)."""
    widths = [max(x for s in strokes for x, _ in s) * WIDE + GAP for strokes in STROKES]
    return np.array(widths, np.int64)


@lru_cache(maxsize=8)
def font(smallest: int, largest: int) -> tuple[UInt8Array, Int64Array]:
    """Draw every letter at every size and phase.

    Args:
        smallest: Least scale in hundredths.
        largest: Greatest one.

    Returns:
        Opacity, uint8 (sizes, 26, PHASES, h, w), and rows above that of the baseline, int64
        (sizes,). A letter starts in the middle of column BEARING, plus its phase.
    """
    sizes = np.arange(smallest, largest + 1)
    ascents = -(-(_ASCENT * TALL * sizes + LIFT + REACH) // STEPS)
    height = int(ascents[-1]) + 1 - (-(_DESCENT * TALL * largest + REACH) // STEPS)
    width = BEARING + 2 - (-(_WIDEST * WIDE * largest + REACH) // STEPS)
    phases = np.arange(PHASES)[:, None] * STEPS // PHASES
    columns = (np.arange(width) - BEARING) * STEPS - phases
    out = np.zeros((len(sizes), len(STROKES), PHASES, height, width), np.uint8)
    for size, letter in np.ndindex(*out.shape[:2]):
        rows = (ascents[size] - np.arange(height)) * STEPS - LIFT
        blank = _blank(STROKES[letter], int(sizes[size]), rows, columns)
        out[size, letter] = (((1 << _BITS) - blank) * 255 + (1 << _BITS - 1)) >> _BITS
    return out, ascents


def _blank(
    strokes: Sequence[Stroke], size: int, rows: Int64Array, columns: Int64Array
) -> Int64Array:
    """Give the share of paper left blank, of 2^15, at rows (h,) and columns (PHASES, w)."""
    left = np.full((PHASES, len(rows), columns.shape[1]), 1 << _BITS, np.int64)
    area = REACH * REACH
    for x, y, way in _presses(strokes):
        away = (rows[:, None] - y * size * TALL // 100) ** 2
        away = away + (columns[:, None] - x * size * WIDE // 100) ** 2
        near = ((area - away).clip(min=0) << _BITS) // area
        cover = (near * near >> _BITS) * near >> _BITS
        cover = (cover * way * size * PRESSURE // 1_000_000).clip(max=1 << _BITS)
        left -= left * cover >> _BITS
    return left


def _presses(strokes: Sequence[Stroke]) -> list[tuple[int, int, int]]:
    """Give where the pen is pressed down, x and y, and how far it came, in hundredths of units."""
    found = []
    for stroke in strokes:
        for (x0, y0), (x1, y1) in pairwise(stroke):
            dx, dy = x1 - x0, y1 - y0
            count = max(abs(dx), abs(dy))
            way = isqrt(10_000 * (dx * dx + dy * dy)) // count
            for k in range(count):
                x, y = (100 * c + 50 * d * (2 * k + 1) // count for c, d in ((x0, dx), (y0, dy)))
                found.append((x, y, way))
    return found
