"""Computes cells between published severities until each robustness radius is known well enough."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from medrobust.base.wording import counted
from medrobust.corruptions.at_severity import has_severities_between
from medrobust.evaluation.cells import head_fingerprint
from medrobust.evaluation.moved_columns import moved_plan
from medrobust.evaluation.plan import DatasetPlan, PlannedCell
from medrobust.evaluation.run import read_cells
from medrobust.evaluation.store import BETWEEN, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.readings.robustness_radius import (
    ColumnKey,
    RobustnessRadius,
    by_row,
    curve,
    shown_loss,
)
from medrobust.reporting import by_variant
from medrobust.reporting.measure import Measured

if TYPE_CHECKING:
    from medrobust.evaluation.run.encoding import OnCell

    from .run import Prepared

log = logging.getLogger(__name__)


def check_radius(readings: Mapping[str, Any], processes: int) -> None:
    """Refuse a search in several processes that share cells: each would have to know all answers.

    Raises:
        ConfigurationError: Naming the key.
    """
    if "robustness_radius" in readings and processes > 1:
        raise ConfigurationError(
            f"readings=robustness_radius searches in one process, and trainer=ddp runs "
            f"{processes}: leave one of them out. A store that has its cells can be reported."
        )


def search_radius(
    prepared: "Prepared", settings: RobustnessRadius, on_cell: "OnCell"
) -> list[DatasetPlan]:
    """Halve severities until every radius is as fine as asked; each cell is stored, and resumed.

    Args:
        prepared: A job whose tables are computed.
        settings: What is asked.
        on_cell: Hears of each cell.

    Returns:
        What was computed or found, round by round.

    Raises:
        MedRobustError: As a cell raises it that stops the others.
    """
    measured = Measured(by_variant(read_cells(prepared.store, prepared.further.validation)))
    return [
        done
        for planned in prepared.plans
        for done in _search(prepared, planned, settings, measured, on_cell)
    ]


def _search(
    prepared: "Prepared",
    planned: DatasetPlan,
    settings: RobustnessRadius,
    measured: Measured,
    on_cell: "OnCell",
) -> list[DatasetPlan]:
    """Search on one data set."""
    runner, rounds = prepared.runner, list[DatasetPlan]()
    columns = {(str(c.suite), c.name): c for c in planned.columns if has_severities_between(c)}
    cells = read_cells(prepared.store, [planned])
    while cells and (wanted := _wanted(cells, settings, measured, columns)):
        pairs = {(column, at) for asked in wanted.values() for column, at in asked}
        named = [(columns[column], at) for column, at in sorted(pairs)]
        keep = partial(_asked_for, wanted=wanted)
        further = moved_plan(prepared.experiment, runner.resources, planned, named, keep)
        log.info(
            "robustness radius on %s: %s between published severities",
            planned.record.name,
            counted(len(further.cells), "cell"),
        )
        runner.run([further], on_cell)
        rounds.append(further)
        found = read_cells(prepared.store, [further])
        if len(found) < len(further.cells):  # one has failed: without it the search cannot go on
            break
        cells += found
    return rounds


def _wanted(
    cells: Sequence[StoredCell],
    settings: RobustnessRadius,
    measured: Measured,
    columns: Mapping[ColumnKey, Any],
) -> dict[tuple[str, str], set[tuple[ColumnKey, float]]]:
    """Return (adaptation, head) of each row -> columns and severities that it asks for next."""
    of = shown_loss(cells, measured)
    asked: dict[tuple[str, str], set[tuple[ColumnKey, float]]] = {}
    for row in by_row(cells).values() if of is not None else ():
        for column in columns:
            added = curve(row, column, str(of), measured)
            for at in settings.wanted(added) if added else ():
                for cell in row["none", "clean"][0.0]:
                    asked.setdefault(_head(cell), set()).add((column, at))
    return asked


def _head(cell: StoredCell | PlannedCell) -> tuple[str, str]:
    """What tells the cells of one condition apart within a job."""
    if isinstance(cell, PlannedCell):
        return (cell.key.spec.adapter, head_fingerprint(cell.key.head))
    return (cell.spec.adapter, head_fingerprint(cell.head))


def _asked_for(
    cell: PlannedCell, wanted: Mapping[tuple[str, str], set[tuple[ColumnKey, float]]]
) -> bool:
    """Say of a planned cell whether its row asked for it."""
    spec = cell.key.spec
    column = (spec.suite.removesuffix(BETWEEN), spec.corruption)
    at = cell.key.encoding["corruption"]["at"]
    return (column, at) in wanted.get(_head(cell), set())
