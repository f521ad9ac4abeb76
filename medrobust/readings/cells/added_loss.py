"""What a corruption adds to the loss of clean images, with paired intervals."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import StoredCell
from medrobust.metrics.aggregates import error_influence
from medrobust.metrics.intervals import mean_interval
from medrobust.reporting.measure import Measured
from medrobust.types import Float64Array, Int64Array

Added: TypeAlias = tuple[float, float, float]
"""Value, lower and upper bound of what is added, as a share."""


def added_loss(
    measured: Measured,
    data: SplitFacts,
    clean: Sequence[StoredCell],
    corrupted: Mapping[float, Sequence[StoredCell]],
    of: str,
) -> dict[float, Added] | None:
    """Return what each severity adds to the clean loss, with its paired 95 % interval.

    Args:
        measured: Numbers of cells.
        data: Of all of them.
        clean: Cells of clean images, of all orders.
        corrupted: Severity -> its cells, of all seeds and orders.
        of: The loss.

    Returns:
        In the order of `corrupted`; None where a cell has no terms of the loss.
    """
    before = measured.mean_terms(clean, of)
    found = {}
    for severity, cells in corrupted.items():
        after = measured.mean_terms(cells, of)
        if before is None or after is None:
            return None
        groups = measured.groups(data, after.unit)
        difference = error_influence(after.values, after.strata)
        difference = difference - error_influence(before.values, before.strata)
        found[severity] = _with_interval(difference, groups, after.value - before.value)
    return found


def _with_interval(influence: Float64Array, groups: Int64Array | None, value: float) -> Added:
    low, high = mean_interval(influence, groups, value=value, limits=(-1.0, 1.0))
    return value, min(low, value), max(high, value)
