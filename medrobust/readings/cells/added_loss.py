"""What a corruption adds to the loss of clean images, with paired intervals."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from medrobust.evaluation.store import StoredCell
from medrobust.metrics.aggregates import error_influence
from medrobust.metrics.paired import parts_of, too_few
from medrobust.metrics.simultaneous import difference_interval, simultaneous_interval
from medrobust.reporting.measure import Measured

Added: TypeAlias = tuple[float, float, float]
"""Value, lower and upper bound of what is added, as a share."""


def added_loss(
    measured: Measured,
    clean: Sequence[StoredCell],
    corrupted: Mapping[float, Sequence[StoredCell]],
    of: str,
) -> dict[float, Added] | None:
    """Return what each severity adds to the clean loss, with its paired 95 % interval.

    Args:
        measured: Numbers of cells.
        clean: Cells of clean images, of all orders.
        corrupted: Severity -> its cells, of all seeds and orders.
        of: The loss.

    Returns:
        In the order of `corrupted`; None where a cell has no terms of the loss.
    """
    found = {}
    for severity, cells in corrupted.items():
        if any(measured.mean_terms(each, of) is None for each in (clean, cells)):
            return None
        found[severity] = difference(measured, clean, cells, of)
    return found


def difference(
    measured: Measured,
    before: Sequence[StoredCell],
    after: Sequence[StoredCell],
    of: str,
    *,
    comparisons: int = 1,
) -> Added:
    """Return a paired difference of a loss, with its interval.

    Of losses that are shares it is a score interval, so that none is a point (`metrics.paired`).

    Args:
        measured: Numbers of cells.
        before: Cells that are taken off.
        after: Cells of the same units.
        of: The loss, which all cells have.
        comparisons: Numbers that hold together by 95 % (Bonferroni).
    """
    less, more = (measured.mean_terms(cells, of) for cells in (before, after))
    assert less is not None
    assert more is not None
    groups = measured.groups(after[0].data, more)
    value = more.value - less.value
    if more.unbounded:
        return value, -1.0, 1.0
    ends = [bound for terms in (less, more) for bound in (terms.values.min(), terms.values.max())]
    if more.first_order or min(ends) < 0 or max(ends) > 1:
        influence = error_influence(more.values, more.strata, groups)
        influence = influence - error_influence(less.values, less.strata, groups)
        low, high = simultaneous_interval(influence, groups, value=value, comparisons=comparisons)
    else:
        change = more.values.astype(float) - less.values.astype(float)
        change = change.mean(axis=1) if more.strata is None and change.ndim == 2 else change
        parts = parts_of(more.strata, groups, len(change))
        if too_few(parts) or min(len(part.units) for part in parts) < 2:
            return value, -1.0, 1.0
        low, high = difference_interval(change, parts, comparisons)
    return value, min(low, value), max(high, value)
