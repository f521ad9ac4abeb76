"""Cells of tables and beside them, sorted by row, corruption and severity."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from medrobust.evaluation.store import BETWEEN, StoredCell, placed_at
from medrobust.reporting.matrix import Matrix, ratios
from medrobust.reporting.measure import Measured
from medrobust.reporting.rows import identity
from medrobust.tasks.lookup import task_of

RowKey: TypeAlias = tuple[str, str, str, str, str]
"""Data fingerprint, task, and what tells a row from others: model, adapter, variant."""

ColumnKey: TypeAlias = tuple[str, str]
"""Suite and corruption."""

Curves: TypeAlias = Mapping[ColumnKey, Mapping[float, Sequence[StoredCell]]]
"""Column -> severity, 0 for clean -> cells of all seeds and orders."""


def severity_of(cell: StoredCell) -> float:
    """Return the severity of a cell: published, or between the published ones."""
    corruption = cell.record["encoding"].get("corruption", {})
    return float(corruption.get("at", placed_at(cell.spec.suite, cell.spec.severity)))


def by_row(cells: Sequence[StoredCell]) -> dict[RowKey, Curves]:
    """Sort cells by row, column and severity; clean ones lie under ("none", "clean")."""
    rows: dict[RowKey, dict[ColumnKey, dict[float, list[StoredCell]]]] = {}
    for cell in cells:
        row = rows.setdefault((cell.data.fingerprint, cell.task, *identity(cell)), {})
        column = (cell.spec.suite.removesuffix(BETWEEN), cell.spec.corruption)
        row.setdefault(column, {}).setdefault(severity_of(cell), []).append(cell)
    return dict(rows)


def shown_loss(cells: Sequence[StoredCell], measured: Measured) -> str | None:
    """Name the first loss that every cell has and of which less is better; None without one."""
    task = task_of(cells[0].task)
    names = [measured.scores(cell).estimates for cell in cells]
    found = ratios(task, task.losses)
    return next((name for name in found if all(name in each for each in names)), None)


def loss_of(matrix: Matrix) -> str:
    """Name the first loss of a table of which less is better."""
    return next(name for name in ratios(matrix.task, matrix.task.losses) if name in matrix.values)


def task_name(matrix: Matrix) -> str:
    """Name the task of a table as its cells do."""
    return next(iter(matrix.cells.values())).task
