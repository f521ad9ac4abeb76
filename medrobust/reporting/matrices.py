"""From stored cells to matrices: one for each data set, split and suite, never merged."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medrobust.evaluation.store import CellSpec, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.tasks.lookup import task_of
from medrobust.types import Float64Array

from .aggregates import Aggregates, Groups, Place
from .contamination import seen
from .expected import ExpectedTable, belongs
from .matrix import Matrix, ratios
from .measure import Measured
from .reference import References, choose_reference, conditions, reference_of
from .rows import MatrixRow, identity, rows_of
from .sanity import Nothing, nothing_shown, sanity
from .uncertainty import Layout, aggregates, at_chance


def build_matrices(
    cells: Sequence[StoredCell],
    *,
    expected: Sequence[ExpectedTable],
    missing: Sequence[CellSpec] = (),
    reference: References = None,
    reference_cells: Sequence[StoredCell] = (),
    sanity_cells: Sequence[StoredCell] = (),
    measured: Measured | None = None,
) -> list[Matrix]:
    """Lay cells out as one matrix for each expected table, task and data fingerprint.

    Args:
        cells: The plan's cells that are finished, in plan order.
        expected: What the plan wanted, in plan order.
        missing: The plan's cells that are not finished.
        reference: Name of the reference model, or one for each data set.
        reference_cells: From `medrobust.reporting.reference_cells`.
        sanity_cells: Cells of images that show nothing.
        measured: Metrics already computed, whose cells are aligned.

    Raises:
        ConfigurationError: If a cell belongs to no expected table.
    """
    _check_expected(cells, expected)
    if measured is None:
        measured = Measured()
        measured.align([*cells, *reference_cells])
    matrices = []
    for table in expected:
        ours = [c for c in cells if table.holds(c)]
        gaps = [spec for spec in missing if belongs(spec, table)]
        if table.version or _shares_its_place(table, expected):  # a gap may be the other's
            there = {(c.spec.model, c.spec.adapter) for c in ours}
            gaps = [spec for spec in gaps if (spec.model, spec.adapter) in there]
        for alike in _by_data_and_task(ours):
            of_models = task_of(alike[0].task).of_models
            name = reference_of(reference, table.dataset) if of_models else None
            nothing = nothing_shown(sanity_cells, alike[0].data.fingerprint)
            matrices.append(_matrix(table, alike, gaps, name, reference_cells, nothing, measured))
    return matrices


def _by_data_and_task(cells: Sequence[StoredCell]) -> list[list[StoredCell]]:
    """Part cells of other images, or of another question to the model: they share no number."""
    found: dict[tuple[str, str], list[StoredCell]] = {}
    for cell in cells:
        key = (cell.data.fingerprint, cell.task)
        found.setdefault(key, []).append(cell)
    return list(found.values())


def _shares_its_place(table: ExpectedTable, expected: Sequence[ExpectedTable]) -> bool:
    """Say whether another task has a table of the same data and suite."""
    place = (table.dataset, table.split, table.suite)
    same = (t for t in expected if (t.dataset, t.split, t.suite) == place)
    return any(other.task != table.task for other in same)


def _check_expected(cells: Sequence[StoredCell], expected: Sequence[ExpectedTable]) -> None:
    stray = next((c for c in cells if not any(t.holds(c) for t in expected)), None)
    if stray is not None:
        raise ConfigurationError(
            f"the cell {stray.spec} belongs to none of the expected tables. Pass an ExpectedTable "
            f"for its data set, split, suite, corruption and severity."
        )


def _matrix(
    table: ExpectedTable,
    cells: Sequence[StoredCell],
    gaps: Sequence[CellSpec],
    reference: str | None,
    reference_cells: Sequence[StoredCell],
    nothing: Nothing,
    measured: Measured,
) -> Matrix:
    data, task = cells[0].data, task_of(cells[0].task)
    rows = rows_of(cells, gaps)
    groups = _groups(cells, rows, gaps)
    partners = _partners(groups, reference_cells)
    names = _metric_names(cells, measured)
    values, clean = _arrays(table, len(rows), groups, names, measured, "value")
    low, clean_low = _arrays(table, len(rows), groups, names, measured, "low")
    high, clean_high = _arrays(table, len(rows), groups, names, measured, "high")
    losses = tuple(name for name in names if name in task.losses)
    divided = ratios(task, losses)
    reference_values, reference_clean = _arrays(
        table, len(rows), partners, divided, measured, "value"
    )
    layout = Layout(
        table.corruptions,
        table.severities,
        len(rows),
        table.suite,
        table.dataset,
        losses,
        divided,
        groups,
        partners,
        frozenset(name for name in losses if not task.metrics[name].share),
        frozenset(name for name in losses if task.metrics[name].weighted),
    )
    return Matrix(
        table=table,
        data=data,
        rows=_marked(rows, data.name, groups, partners, measured),
        task=task,
        seeds=tuple(sorted({c.spec.seed for c in cells if c.spec.seed is not None})),
        values=values,
        clean=clean,
        reference=reference,
        reference_values=reference_values,
        reference_clean=reference_clean,
        cells={place: group[0] for place, group in groups.items()},
        low=low,
        high=high,
        clean_low=clean_low,
        clean_high=clean_high,
        aggregates=Aggregates(
            [*aggregates(layout, measured), *sanity(groups, rows, nothing, measured, losses)]
        ),
        groups=groups,
        reference_groups=partners,
        measured=measured,
    )


def _groups(
    cells: Sequence[StoredCell], rows: Sequence[MatrixRow], gaps: Sequence[CellSpec]
) -> Groups:
    """Put the cells of all seeds where they stand; none where one of its seeds is missing."""
    numbers = {row.identity: number for number, row in enumerate(rows)}
    found: dict[Place, list[StoredCell]] = {}
    for cell in cells:
        place = Place(numbers[identity(cell)], cell.spec.corruption, cell.spec.severity)
        found.setdefault(place, []).append(cell)
    return {place: group for place, group in found.items() if not _gap(rows, place, group, gaps)}


def _partners(groups: Groups, reference_cells: Sequence[StoredCell]) -> Groups:
    """Return the reference's cells under the same conditions, where it has all of them."""
    candidates = conditions(reference_cells)
    found: dict[Place, list[StoredCell]] = {}
    for place, group in groups.items():
        partners = [choose_reference(cell, candidates) for cell in group]
        known = [cell for cell in partners if cell is not None]
        if len(known) == len(group):
            found[place] = known
    return found


def _marked(
    rows: Sequence[MatrixRow],
    dataset: str,
    groups: Groups,
    partners: Groups,
    measured: Measured,
) -> tuple[MatrixRow, ...]:
    """Add to each row what its cells say of it: at chance, trained on pictures of this set."""
    return tuple(
        replace(
            row,
            at_chance=_chance(groups, number, measured) is True,
            reference_at_chance=_chance(partners, number, measured),
            trained_on=_seen(dataset, groups, number),
        )
        for number, row in enumerate(rows)
    )


def _seen(dataset: str, groups: Groups, row: int) -> tuple[str, ...]:
    """Return the contaminating training data that the load reports of a row name."""
    names = (
        name
        for place, cells in groups.items()
        if place.row == row
        for name in (cells[0].record.get("load_report") or {}).get("trained_on", ())
    )
    return seen(dataset, dict.fromkeys(map(str, names)))


def _chance(groups: Groups, row: int, measured: Measured) -> bool | None:
    """Say whether the first clean cell of a row is at chance; None without one."""
    found = groups.get(Place.clean(row))
    if found is None:
        return None
    return at_chance(measured.scores(found[0]), task_of(found[0].task).metrics)


def _gap(
    rows: Sequence[MatrixRow],
    place: Place,
    group: Sequence[StoredCell],
    gaps: Sequence[CellSpec],
) -> bool:
    """Say whether a seed of this group is missing: then its mean would be over fewer seeds."""
    row, corruption, severity = place
    seeds = {cell.spec.seed for cell in group}
    return None not in seeds and any(
        (gap.model, gap.adapter) == (rows[row].model, rows[row].adapter)
        and (gap.corruption, gap.severity) == (corruption, severity)
        and gap.seed not in seeds
        for gap in gaps
    )


def _metric_names(cells: Sequence[StoredCell], measured: Measured) -> list[str]:
    """List the metrics that every cell has, in the order of the first."""
    estimates = [measured.scores(cell).estimates for cell in cells]
    shared = set.intersection(*map(set, estimates))
    return [name for name in estimates[0] if name in shared]


def _arrays(
    table: ExpectedTable,
    rows: int,
    groups: Groups,
    names: Sequence[str],
    measured: Measured,
    part: str,
) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
    shape = (rows, len(table.corruptions), len(table.severities))
    values = {name: np.full(shape, np.nan) for name in names}
    clean = {name: np.full(rows, np.nan) for name in names}
    columns = {name: index for index, name in enumerate(table.corruptions)}
    levels = {severity: index for index, severity in enumerate(table.severities)}
    for (row, corruption, severity), group in groups.items():
        for name in names:
            found = [measured.scores(cell).estimates[name] for cell in group]
            mean = _mean([getattr(estimate, part) for estimate in found])
            if severity == 0:
                clean[name][row] = mean
            else:
                values[name][row, columns[corruption], levels[severity]] = mean
    return values, clean


def _mean(values: Sequence[Any]) -> float:
    if None in values:
        return float("nan")
    return float(values[0] if len(values) == 1 else np.mean(values))
