"""Kernels: statistics of the windows of a clean stream that is drawn block by block, and sizes.

As `Digester.statistics` of `window_sums`, in one pass and without copies: `fit` looks at a few
hundred thousand windows. Tests hold the two against each other.
"""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native

ORDERED, CATEGORY, MEAN = 0, 1, 2
KINDS = {"ordered": ORDERED, "category": CATEGORY, "mean": MEAN}
"""Kinds of streams, and their numbers in the kernel."""


@native(
    "void(float64[:,:,::1], float64[:,::1], int64[::1], int64, float64, float64[::1], float64,"
    " int64[:,::1], float64[:,::1])"
)
def drawn_statistics(
    sums: Any,
    counts: Any,
    blocks: Any,
    window: int,
    fewest: float,
    reference: Any,
    size: float,
    streams: Any,
    found: Any,
) -> None:
    """Write the statistics of the window that ends on each day, NaN where it has too few studies.

    Args:
        sums: (B, days of a block, F), of the rows of each day.
        counts: (B, days of a block), its studies.
        blocks: (K,), those that follow each other.
        window: Days of a window.
        fewest: Studies that it must have.
        reference: (F,), sum of the rows of the reference.
        size: Its studies.
        streams: (S, 3), kind, first column and column after the last of each stream.
        found: (K x days of a block, S), written.
    """
    length = sums.shape[1]
    own = np.zeros(sums.shape[2])
    count = 0.0
    for day in range(len(found)):
        new, at = blocks[day // length], day % length
        count += counts[new, at]
        if day >= window:
            past, then = blocks[(day - window) // length], (day - window) % length
            count -= counts[past, then]
            for column in range(len(own)):
                own[column] += sums[new, at, column] - sums[past, then, column]
        else:
            for column in range(len(own)):
                own[column] += sums[new, at, column]
        studies = round(count)
        if studies < max(fewest, 1.0):
            found[day] = np.nan
            continue
        each, known, both = 1 / studies, 1 / size, 1 / (studies + size)
        scale = studies * size * both
        for stream in range(len(streams)):
            kind, start, stop = streams[stream]
            total = 0.0
            if kind == ORDERED:
                reached = 0.0
                for column in range(start, stop):
                    reached += own[column] * each - reference[column] * known
                    total = max(total, abs(reached))
                total *= total
            elif kind == MEAN:
                for column in range(start, stop):
                    off = own[column] * each - reference[column] * known
                    total += off * off
            else:
                for column in range(start, stop):
                    pooled = (own[column] + reference[column]) * both
                    if pooled > 0:
                        off = own[column] * each - reference[column] * known
                        total += off * off / max(pooled, each)
            found[day, stream] = np.sqrt(scale * total)


@native("void(float64[:,::1], int64[:,::1], float64[::1], float64[:,::1])")
def squared_sizes(off: Any, streams: Any, shares: Any, found: Any) -> None:
    """Square differences of mean rows; all columns of a stream have what it sums up to.

    Args:
        off: (K, F).
        streams: (S, 3), kind, first column and column after the last; what follows stands alone.
        shares: (F,), roots of the shares that categories are weighted by.
        found: (K, F), written.
    """
    for row in range(len(off)):
        for stream in range(len(streams)):
            kind, start, stop = streams[stream]
            total, reached = 0.0, 0.0
            for column in range(start, stop):
                part = off[row, column]
                if kind == ORDERED:
                    reached += part
                    part = reached
                elif kind == CATEGORY:
                    part /= shares[column]
                total += part * part
            for column in range(start, stop):
                found[row, column] = total
        for column in range(streams[-1, 2], off.shape[1]):
            found[row, column] = off[row, column] * off[row, column]
