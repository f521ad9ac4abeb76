"""A small stroke font of our own, a to z, and its anti-aliased pictures; integers only.

Strokes lie on a grid: baseline 0, x-height 16, ascenders 24, descenders -8. A picture is the share
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

GAP = 7
"""Grid units between letters."""

PHASES = 4
"""Places inside a pixel at which a letter may start."""

POINTS = 8
"""Points a pixel and axis."""

BEARING = 1
"""Columns of a picture before the letter's start."""

PENS = (120, 130, 150, 180)
"""Widths of the pens in hundredths of a pixel, at every size: each gives as much of the ink.

Pens, gap and heights were fitted to the published statistics of `characters`.
"""

UNIT = 100 * 2 * POINTS
"""Steps a pixel in which all lengths are whole."""

_ASCENT, _DESCENT, _WIDEST = 24, 8, 20
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
    out = np.zeros((len(sizes), len(STROKES), PHASES, height, width), np.uint8)
    whole = len(PENS) * POINTS**2
    for size, letter in np.ndindex(*out.shape[:2]):
        ink = _ink(STROKES[letter], int(sizes[size]), int(ascents[size]), height, width)
        for phase in range(PHASES):
            first = POINTS - phase * POINTS // PHASES
            shifted = ink[:, first : first + POINTS * width]
            total = shifted.reshape(height, POINTS, width, POINTS).sum((1, 3))
            out[size, letter, phase] = (total * 255 + whole // 2) // whole
    return out, ascents


def _ink(strokes: Sequence[Stroke], size: int, above: int, height: int, width: int) -> Int64Array:
    """Count the pens that cover each point, from one pixel left of the picture: (8 h, 8 w + 8)."""
    places = 2 * np.arange(POINTS * (max(height, width) + 1)) + 1
    y = above * UNIT - places[: POINTS * height, None] * (UNIT // (2 * POINTS))
    x = places[: POINTS * (width + 1)] * (UNIT // (2 * POINTS)) - (BEARING + 1) * UNIT
    reaches = [(pen * UNIT // 200) ** 2 for pen in PENS]
    covered = np.zeros((len(PENS), len(y), len(x)), bool)
    step = size * UNIT // 100
    for stroke in strokes:
        for begin, end in pairwise(stroke):
            right, up = x - begin[0] * step, y - begin[1] * step
            dx, dy = (end[0] - begin[0]) * step, (end[1] - begin[1]) * step
            along, length = right * dx + up * dy, dx * dx + dy * dy
            across = (right * dy - up * dx) ** 2
            nearest = np.minimum(right**2 + up**2, (right - dx) ** 2 + (up - dy) ** 2)
            beside = (along >= 0) & (along <= length)
            for pen, reach in enumerate(reaches):
                covered[pen] |= (nearest <= reach) | (beside & (across <= reach * length))
    return np.asarray(covered.sum(0))
