"""A small stroke font of our own, a to z, and its anti-aliased pictures; integers only.

Strokes lie on a grid of half units: baseline 0, x-height 28, ascenders 42, descenders -14, and
each letter has the advance of the letter it stands for. A soft pen with two tips is pressed down
at every grid step along them, and each time covers a share of the paper that is still blank, found
in integers, so that every machine has the same letters.

The reference draws its font in short double lines, each with a soft rim of 1.5 pixels, at a
fraction of a pixel a unit: joints and double strokes fill in. `RIGHT`, `LIFT`, `REACH`, `CORNER`,
`SOFT` and `PRESSURE` were fitted to its words (OpenCV 4.10, white on black, scales 0.14, 0.16 and
0.18): spectrum in 12 bands, mean opacity, its mean square, pixels touched, correlation.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from medrobust.types import Int64Array, UInt8Array

Point = tuple[int, int]
Stroke = Sequence[Point]
Letter = tuple[int, Sequence[Stroke]]

_ROUND = ((25, 25), (20, 27), (15, 27), (11, 24), (8, 19), (7, 14), (8, 9), (11, 4), (15, 1))
_BOWL = ((30, 22), *_ROUND, (20, 1), (25, 3), (30, 6))
_BELLY = tuple((40 - x, y) for x, y in _BOWL)
_ARCH = ((10, 20), (15, 25), (19, 27), (24, 27), (28, 25), (31, 20), (31, 0))
_HALF = ((16, 27), (11, 24), (8, 19), (7, 14), (8, 9), (11, 4), (16, 1))
_RING = (*_HALF, *((38 - x, y) for x, y in reversed(_HALF)), _HALF[0])
_DOT = ((6, 38), (9, 41), (12, 38), (9, 35), (6, 38))

LETTERS: Sequence[Letter] = (
    (40, (_BOWL, ((31, 28), (31, 0)))),
    (40, (((9, 42), (9, 0)), _BELLY)),
    (36, (((28, 22), *_ROUND, (20, 1), (25, 3), (28, 6)),)),
    (40, (_BOWL, ((31, 42), (31, 0)))),
    (36, (((8, 15), (30, 15), (30, 18), (28, 23), *_ROUND, (20, 1), (25, 3), (29, 7)),)),
    (28, (((22, 41), (17, 41), (14, 38), (13, 34), (13, 0)), ((6, 27), (20, 27)))),
    (
        40,
        (
            _BOWL,
            ((31, 28), (31, -4), (28, -10), (23, -13), (17, -13), (13, -11), (9, -8)),
        ),
    ),
    (40, (((9, 42), (9, 0)), _ARCH)),
    (18, (((9, 28), (9, 0)), _DOT)),
    (18, (((9, 28), (9, -14)), _DOT)),
    (38, (((9, 42), (9, 0)), ((30, 28), (10, 9)), ((17, 16), (30, 0)))),
    (18, (((9, 42), (9, 0)),)),
    (62, (((9, 28), (9, 0)), _ARCH, tuple((x + 22, y) for x, y in _ARCH))),
    (40, (((9, 28), (9, 0)), _ARCH)),
    (38, (_RING,)),
    (40, (((9, 28), (9, -14)), _BELLY)),
    (40, (_BOWL, ((31, 28), (31, -14)))),
    (28, (((9, 28), (9, 0)), ((10, 16), (13, 22), (17, 26), (25, 27)))),
    (
        34,
        (
            (
                *((27, 21), (25, 25), (20, 27), (15, 27), (9, 25), (7, 21), (10, 17)),
                *((24, 11), (27, 7), (25, 3), (20, 1), (14, 1), (9, 3), (7, 6)),
            ),
        ),
    ),
    (22, (((11, 42), (11, 0)), ((4, 27), (18, 27)))),
    (
        40,
        (
            ((9, 28), (9, 8), (12, 3), (15, 1), (20, 1), (25, 4), (30, 8)),
            ((31, 28), (31, 0)),
        ),
    ),
    (32, (((5, 28), (16, 1), (27, 28)),)),
    (48, (((7, 28), (17, 1), (24, 26), (31, 1), (41, 28)),)),
    (36, (((7, 28), (29, 0)), ((29, 28), (7, 0)))),
    (32, (((5, 28), (16, 4)), ((27, 28), (10, -14)))),
    (36, (((7, 27), (29, 27), (7, 1), (29, 1)),)),
)
"""Advance, and strokes, of a to z."""

STEPS = 10_000
"""Steps a pixel, in which all lengths below are whole."""

GRID = 50
"""Steps a half unit, for every hundredth of the scale."""

RIGHT, LIFT, REACH = 1_618, 656, 17_093
"""How far the letters stand to the right, how far they float, and the radius of the pen."""

CORNER = 76
"""How much less the pen reaches along the diagonals, in percent of the product of both ways."""

SOFT = 5
"""Share of the pen that falls off evenly, in percent; the rest falls off by the fourth power."""

PRESSURE = 786
"""Share of the paper covered under the middle of the pen, in 100,000ths a hundredth of scale."""

PHASES = 4
"""Places inside a pixel at which a letter may start."""

BEARING = 2
"""Columns of a picture before the one in whose middle the letter starts."""

TOUCHED = -(-2 * REACH // STEPS)
"""Rows, and columns, that the pen reaches at most."""

_ASCENT, _DESCENT, _WIDEST = 42, 14, 54
_TIPS = (-1, 1)
_BITS = 15


def advances() -> Int64Array:
    """Give the way from each letter to the next, in steps for a scale of 0.01: (26,)."""
    return np.array([advance * GRID for advance, _ in LETTERS], np.int64)


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
    ascents = -(-(_ASCENT * GRID * sizes + LIFT + REACH) // STEPS)
    height = int(ascents[-1]) + 1 - (-(_DESCENT * GRID * largest + REACH) // STEPS)
    width = BEARING + 2 - (-(_WIDEST * GRID * largest + RIGHT + REACH) // STEPS)
    phases = np.arange(PHASES)[:, None] * STEPS // PHASES
    columns = (np.arange(width) - BEARING) * STEPS - phases - RIGHT
    out = np.zeros((len(sizes), len(LETTERS), PHASES, height, width), np.uint8)
    rows = (ascents[:, None] - np.arange(height)) * STEPS - LIFT
    for letter, (_, strokes) in enumerate(LETTERS):
        blank = _blank(strokes, sizes, rows, columns)
        out[:, letter] = (((1 << _BITS) - blank) * 255 + (1 << _BITS - 1)) >> _BITS
    return out, ascents


def _blank(
    strokes: Sequence[Stroke], sizes: Int64Array, rows: Int64Array, columns: Int64Array
) -> Int64Array:
    """Give the share of paper left blank, of 2^15, at rows (sizes, h) and columns (PHASES, w)."""
    shape = (len(sizes), PHASES, rows.shape[1], columns.shape[1])
    left, area = np.full(shape, 1 << _BITS, np.int64), REACH * REACH
    presses, tips = np.array(_presses(strokes)).T[..., None], np.array(_TIPS)[:, None]
    x = (presses[0][:, None] + 100 * tips) * sizes * GRID // 100
    y = presses[1] * sizes * GRID // 100
    column, along = _near(columns[:, 0] - x[..., None], 1, shape[3])
    row, down = _near(rows[:, 0] - y, -1, shape[2])
    along, down = along[..., None, :], down[:, None, :, None, :, None]
    away = down * down + along * along + down * along * CORNER // 100
    near = (np.maximum(area - away, 0) << _BITS) // area
    steep = near * near >> _BITS
    steep = steep * steep >> _BITS
    cover = near * SOFT + steep * (100 - SOFT)
    cover = cover * sizes[:, None, None, None] * PRESSURE // 10_000_000
    cover = np.minimum(cover, 1 << _BITS)
    size, phase = np.ogrid[: shape[0], : shape[1], :1, :1][:2]
    for press in range(len(row)):
        for tip in range(len(_TIPS)):
            at = size, phase, row[press][:, None, :, None], column[press, tip][:, :, None]
            left[at] -= left[at] * cover[press, tip] >> _BITS
    return left


def _near(first: Int64Array, way: int, length: int) -> tuple[Int64Array, Int64Array]:
    """Give the rows or columns that the pen may reach, and how far away they are.

    Args:
        first: How far place 0 lies before or behind the pen, in steps (...).
        way: 1 where that grows by STEPS from a place to the next, -1 where it falls.
        length: Of the picture, in places.

    Returns:
        Places within it, int64 (..., TOUCHED), and their distances.
    """
    start = (-way * first - REACH) // STEPS + 1
    places = start.clip(0, length - TOUCHED)[..., None] + np.arange(TOUCHED)
    return places, abs(first[..., None] + way * STEPS * places)


def _presses(strokes: Sequence[Stroke]) -> list[Point]:
    """Give where the pen is pressed down, x and y in hundredths of half units."""
    found = []
    for stroke in strokes:
        for (x0, y0), (x1, y1) in pairwise(stroke):
            dx, dy = x1 - x0, y1 - y0
            count = max(abs(dx), abs(dy))
            for k in range(count):
                x, y = (100 * c + 50 * d * (2 * k + 1) // count for c, d in ((x0, dx), (y0, dy)))
                found.append((x, y))
    return found
