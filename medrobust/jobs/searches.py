"""Cells that readings search for once the tables are computed: each is stored, and resumed."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from medrobust.base.wording import counted
from medrobust.evaluation.cells import head_fingerprint
from medrobust.evaluation.cells_of_searches import plan_beside
from medrobust.evaluation.plan import DatasetPlan, PlannedCell
from medrobust.evaluation.run import read_cells
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.readings.cells.curves import Curves
from medrobust.reporting import by_variant
from medrobust.reporting.measure import Measured

from .radius import next_severities
from .worst_pair import next_pairs

if TYPE_CHECKING:
    from medrobust.evaluation.run.encoding import OnCell

    from .run import Prepared

log = logging.getLogger(__name__)

Next: TypeAlias = Callable[[Any, DatasetPlan, Sequence[StoredCell], Measured], "Wanted"]
"""Settings, data set, its cells so far -> what each row wants next."""

Wanted: TypeAlias = list[tuple[Curves, list[Any]]]
"""Row -> columns that it wants."""

SEARCHES: Mapping[str, Next] = {"robustness_radius": next_severities, "worst_pair": next_pairs}
"""Reading -> what it wants next."""


def check_searches(readings: Mapping[str, Any], processes: int, methods: Sequence[Any]) -> None:
    """Refuse a search in processes that share cells, and of methods that go on between cells.

    Raises:
        ConfigurationError: Naming the key.
    """
    found = next((name for name in SEARCHES if name in readings), None)
    if found is not None and processes > 1:
        raise ConfigurationError(
            f"readings={found} searches in one process, and trainer=ddp runs {processes}: leave "
            f"one of them out. A store that has its cells can be reported."
        )
    streams = ("continual", "mixed")
    going_on = [one for one in methods if one.parameters().get("protocol") in streams]
    if found is not None and going_on:
        raise ConfigurationError(
            f"readings={found} adds cells that a method which goes through several of them "
            f"({going_on[0].label}) has not gone through: choose per_cell."
        )


def run_searches(prepared: "Prepared", readings: Mapping[str, Any], on_cell: "OnCell") -> None:
    """Compute cells beside the tables until each reading knows what it was asked.

    Args:
        prepared: A job whose tables are computed.
        readings: From `medrobust.readings.lookup.asked`.
        on_cell: Hears of each cell.

    Raises:
        MedRobustError: As a cell raises it that stops the others.
    """
    chosen = [name for name in SEARCHES if name in readings]
    if not chosen:
        return
    measured = Measured(by_variant(read_cells(prepared.store, prepared.further.validation)))
    for name in chosen:
        for planned in prepared.plans:
            _search(prepared, planned, name, readings[name], measured, on_cell)


def _search(
    prepared: "Prepared",
    planned: DatasetPlan,
    name: str,
    settings: Any,
    measured: Measured,
    on_cell: "OnCell",
) -> None:
    """Search on one data set."""
    cells = read_cells(prepared.store, [planned])
    while cells and (wanted := SEARCHES[name](settings, planned, cells, measured)):
        of_heads = {
            _head(cell): frozenset(columns)
            for row, columns in wanted
            for cell in row["none", "clean"][0.0]
        }
        columns = dict.fromkeys(column for _, asked in wanted for column in asked)
        keep = partial(_asked_for, of_heads=of_heads)
        further = plan_beside(
            prepared.experiment, prepared.runner.resources, planned, columns, keep
        )
        log.info("%s on %s: %s", name, planned.record.name, counted(len(further.cells), "cell"))
        prepared.runner.run([further], on_cell)
        found = read_cells(prepared.store, [further])
        if len(found) < len(further.cells):  # one has failed: without it the search cannot go on
            return
        cells += found


def _head(cell: StoredCell | PlannedCell) -> tuple[str, str]:
    """What tells the cells of one condition apart within a job."""
    if isinstance(cell, PlannedCell):
        return (cell.key.spec.adapter, head_fingerprint(cell.key.head))
    return (cell.spec.adapter, head_fingerprint(cell.head))


def _asked_for(cell: PlannedCell, of_heads: Mapping[tuple[str, str], frozenset[Any]]) -> bool:
    """Say of a planned cell whether its row asked for it."""
    return cell.corruption in of_heads.get(_head(cell), ())
