"""A small stroke font of our own, a to z, and its anti-aliased pictures; integers only.

Strokes lie on a grid: baseline 0, x-height 14, ascenders 21, descenders -7. A picture is the share
of 8 x 8 points a pixel that lie within the pen, found in integers, so that every machine has the
same letters.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from medrobust.types import Int64Array, UInt8Array

Point = tuple[int, int]
Stroke = Sequence[Point]

_BOWL = ((0, 5), (0, 9), (3, 13), (6, 14), (9, 13), (11, 10), (11, 4), (9, 1), (6, 0), (3, 1))
_RING = (*_BOWL, (0, 5))
_ARCH = ((0, 10), (3, 13), (6, 14), (9, 13), (10, 10), (10, 0))
_OPEN = ((9, 13), (6, 14), (3, 13), (0, 9), (0, 5), (3, 1), (6, 0), (9, 1), (11, 3))

STROKES: Sequence[Sequence[Stroke]] = (
    (_RING, ((11, 14), (11, 0))),
    (((0, 21), (0, 0)), _RING),
    (((11, 11), *_OPEN),),
    (_RING, ((11, 21), (11, 0))),
    (((0, 8), (11, 8), (11, 10), *_OPEN),),
    (((8, 21), (5, 21), (3, 18), (3, 0)), ((0, 14), (7, 14))),
    (_RING, ((11, 14), (11, -3), (9, -6), (6, -7), (3, -6), (1, -5))),
    (((0, 21), (0, 0)), _ARCH),
    (((0, 14), (0, 0)), ((0, 20), (0, 21))),
    (((4, 14), (4, -4), (2, -7), (0, -7)), ((4, 20), (4, 21))),
    (((0, 21), (0, 0)), ((10, 14), (0, 4)), ((4, 8), (11, 0))),
    (((0, 21), (0, 0)),),
    (
        ((0, 14), (0, 0)),
        _ARCH,
        ((10, 10), (13, 13), (16, 14), (19, 13), (20, 10), (20, 0)),
    ),
    (((0, 14), (0, 0)), _ARCH),
    (_RING,),
    (((0, 14), (0, -7)), _RING),
    (_RING, ((11, 14), (11, -7))),
    (((0, 14), (0, 0)), ((0, 8), (2, 12), (5, 14), (8, 14))),
    (
        ((10, 11), (8, 13), (5, 14), (2, 13), (0, 11), (2, 8), (8, 6)),
        ((8, 6), (10, 3), (8, 1), (5, 0), (2, 1), (0, 3)),
    ),
    (((3, 21), (3, 3), (5, 0), (8, 0)), ((0, 14), (7, 14))),
    (((0, 14), (0, 4), (1, 1), (4, 0), (7, 1), (10, 4)), ((10, 14), (10, 0))),
    (((0, 14), (6, 0), (12, 14)),),
    (((0, 14), (4, 0), (8, 14), (12, 0), (16, 14)),),
    (((0, 14), (11, 0)), ((11, 14), (0, 0))),
    (((0, 14), (6, 0)), ((12, 14), (6, 0), (3, -5), (0, -7))),
    (((0, 14), (11, 14), (0, 0), (11, 0)),),
)
"""a to z."""

GAP = 8
"""Grid units between letters."""

PHASES = 4
"""Places inside a pixel at which a letter may start."""

POINTS = 8
"""Points a pixel and axis."""

BEARING = 1
"""Columns of a picture before the letter's start."""

PENS = (100, 240)
"""Widths of the pens in hundredths of a pixel, at every size: half of the ink comes from each."""

UNIT = 100 * 2 * POINTS
"""Steps a pixel in which all lengths are whole."""

_ASCENT, _DESCENT, _WIDEST = 21, 7, 20
_MARGIN = 1


def advances() -> Int64Array:
    """Give the width of each letter with its gap, in grid units: (26,)."""
    widths = [max(x for s in strokes for x, _ in s) + GAP for strokes in STROKES]
    return np.array(widths, np.int64)


@lru_cache(maxsize=8)
def font(smallest: int, largest: int) -> tuple[UInt8Array, Int64Array]:
    """Draw every letter at every size and phase.

    Args:
        smallest: Least grid unit in hundredths of a pixel.
        largest: Greatest one.

    Returns:
        Opacity, uint8 (sizes, 26, PHASES, h, w), and rows above the baseline, int64 (sizes,). A
        letter starts at column BEARING, plus its phase.
    """
    sizes = np.arange(smallest, largest + 1)
    ascents = -(-_ASCENT * sizes // 100) + _MARGIN
    height = int(ascents[-1]) - (-_DESCENT * largest // 100) + _MARGIN
    width = BEARING - (-_WIDEST * largest // 100) + _MARGIN
    points = (2 * np.arange(POINTS * max(height, width)) + 1) * (UNIT // (2 * POINTS))
    out = np.zeros((len(sizes), len(STROKES), PHASES, height, width), np.uint8)
    for place in np.ndindex(*out.shape[:3]):
        size, letter, phase = place
        y = ascents[size] * UNIT - points[: POINTS * height, None]
        x = points[: POINTS * width] - BEARING * UNIT - phase * UNIT // PHASES
        ink = np.zeros((len(y), len(x)), np.int64)
        step = int(sizes[size]) * UNIT // 100
        for pen in PENS:
            lines = [line for stroke in STROKES[letter] for line in pairwise(stroke)]
            ink += np.logical_or.reduce([_within_pen(x, y, *line, step, pen) for line in lines])
        total = ink.reshape(height, POINTS, width, POINTS).sum((1, 3))
        whole = len(PENS) * POINTS**2
        out[place] = (total * 255 + whole // 2) // whole
    return out, ascents


def _within_pen(x: Int64Array, y: Int64Array, begin: Point, end: Point, step: int, pen: int
) -> Int64Array:
    """Say which points lie within half a pen's width of a segment, without a division."""
    x0, y0 = begin[0] * step, begin[1] * step
    dx, dy = end[0] * step - x0, end[1] * step - y0
    reach = (pen * UNIT // 200) ** 2
    along, length = (x - x0) * dx + (y - y0) * dy, dx * dx + dy * dy
    across = (x - x0) * dy - (y - y0) * dx
    at_begin = (x - x0) ** 2 + (y - y0) ** 2 <= reach
    at_end = (x - x0 - dx) ** 2 + (y - y0 - dy) ** 2 <= reach
    beside = (along >= 0) & (along <= length) & (across**2 <= reach * length)
    return np.asarray(at_begin | at_end | beside)
