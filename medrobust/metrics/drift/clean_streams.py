"""Clean streams drawn from a clean stream by blocks of days, with a reference that they never saw.

Days of one week are alike, studies of one patient mostly come on one day, and a window overlaps
with the next. Blocks of days that stay whole keep all three, so that a limit set on what is drawn
keeps its budget. Patients are not drawn anew within a day: that would add the spread of the draw to
the spread of the day, and make limits far too wide.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.types import Int64Array

FEWEST = 4
"""Blocks that a clean stream must have: half of them are the reference of the other half."""


@dataclass(frozen=True, slots=True)
class CleanStream:
    """A reference and a stream from the same clean studies.

    Attributes:
        reference: bool (days,), the days of the reference, counted from the first.
        sources: int64 (days of the other blocks,), which day stands for each day of the stream;
            every day once, none of the reference.
    """

    reference: NDArray[np.bool_]
    sources: Int64Array


def clean_streams(
    days: int, count: int, rng: np.random.Generator, *, block: int = 7
) -> Iterator[CleanStream]:
    """Cut a clean period into blocks: half are a reference, the others in any order a stream.

    The period is a circle that is cut anew each time. No block is drawn twice: what is odd in a
    block would come twice, and be counted as one alarm.

    Args:
        days: Of the clean period, from the first study to the last.
        count: How many.
        rng: Source of the draws.
        block: Days that stay together.

    Raises:
        InvalidDataError: If the period has fewer than four blocks.
    """
    blocks = days // block
    if blocks < FEWEST:
        raise InvalidDataError(
            f"a clean period of {days} days has fewer than {FEWEST} blocks of {block}: give a "
            f"reference of {FEWEST * block} days or more, or a smaller --block."
        )
    for _ in range(count):
        start = int(rng.integers(0, days))
        place = (np.arange(blocks * block).reshape(blocks, block) + start) % days
        order = rng.permutation(blocks)
        kept = np.zeros(days, dtype=bool)
        kept[place[order[: blocks // 2]].ravel()] = True
        yield CleanStream(kept, place[order[blocks // 2 :]].ravel().astype(np.int64))
