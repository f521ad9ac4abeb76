"""Clean streams drawn from a clean stream: blocks of days, and patients within them.

Days of one week are alike, and studies of one patient are; a window overlaps with the next. What is
drawn keeps all three, so that a limit set on it keeps its budget.
"""

from collections.abc import Iterator

import numpy as np

from medrobust.exceptions import InvalidDataError
from medrobust.types import Int64Array


def resampled_streams(
    days: Int64Array,
    patients: Int64Array,
    length: int,
    count: int,
    rng: np.random.Generator,
    *,
    block: int = 7,
) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Draw streams of `length` days from a clean one.

    Blocks of consecutive days are drawn with replacement (circular: the first day follows the
    last), and within a day as many patients with replacement as it has, each with all studies of
    that day.

    Args:
        days: int64 (N,), the day of each study, counted from any origin; days between the first and
            the last on which there is no study are part of the stream.
        patients: int64 (N,).
        length: Days of each stream.
        count: How many streams.
        rng: Source of the draws.
        block: Days that stay together.

    Yields:
        Rows drawn, int64 (R,), in order of days; and the day of each from 0, int64 (R,).

    Raises:
        InvalidDataError: If the clean stream is shorter than a block.
    """
    first, last = int(days.min()), int(days.max())
    total = last - first + 1
    if total < block:
        raise InvalidDataError(
            f"blocks of {block} days cannot be drawn from a clean stream of {total}: give a longer "
            f"reference, or shorter blocks."
        )
    rows_of = _by_day_and_patient(days - first, patients, total)
    blocks = -(-length // block)
    for _ in range(count):
        starts = rng.integers(0, total, blocks)
        chosen = ((starts[:, None] + np.arange(block)) % total).ravel()[:length]
        rows, places = [], []
        for day, source in enumerate(chosen.tolist()):
            units = rows_of[source]
            for unit in rng.integers(0, len(units), len(units)).tolist() if units else ():
                rows.append(units[unit])
                places.append(np.full(len(units[unit]), day))
        if rows:
            yield np.concatenate(rows), np.concatenate(places)
        else:
            yield np.empty(0, np.int64), np.empty(0, np.int64)


def _by_day_and_patient(
    days: Int64Array, patients: Int64Array, total: int
) -> list[list[Int64Array]]:
    """Return for each day the rows of each patient who came."""
    found: list[list[Int64Array]] = [[] for _ in range(total)]
    order = np.lexsort((patients, days))
    ends = np.flatnonzero(np.diff(days[order]) | np.diff(patients[order])) + 1
    for rows in np.split(order, ends):
        if len(rows):
            found[int(days[rows[0]])].append(rows)
    return found
