"""What a report is asked to show, and the one place that looks up what belongs beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medrobust.evaluation.store import CellSpec, Store, StoredCell
from medrobust.tasks.lookup import task_of

from .cells_beside import cells_beside
from .expected import ExpectedTable
from .parts import Joining, Parts
from .reference import (
    Making,
    References,
    reference_cells,
    reference_of,
    reference_title,
    untuned_cells,
)
from .report import Report, make_report


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A report as a job, a sweep, a store or a notebook asks for it.

    Attributes:
        store: Where the cells lie, and those that they are compared with.
        cells: Finished ones, in plan order.
        expected: Tables, in plan order.
        folder: Of the report.
        run: Content of run.json.
        reference: One reference model, or one for each data set; None: no CE and mCE.
        reference_prompts: Prompt set of the reference; None: the one of each cell, or the only one.
        commands: Reference model -> what makes its cells.
        validation: (variant, data set) -> clean validation cell, for operating points and
            temperature; see `by_variant`.
        sanity: Cells of images that show nothing.
        missing: Planned cells that are not finished.
        notes: Lines for the reader.
        processes: How many measure the cells of a large store side by side.
        aggregations: What images are joined to, in tables beside their own.
        readings: From `medrobust.readings.lookup.asked`.
    """

    store: Store
    cells: Sequence[StoredCell]
    expected: Sequence[ExpectedTable]
    folder: Path
    run: Mapping[str, Any]
    reference: References = None
    reference_prompts: str | None = None
    commands: Mapping[str, Making] = field(default_factory=dict)
    validation: Mapping[tuple[str, str], StoredCell] = field(default_factory=dict)
    sanity: Sequence[StoredCell] = ()
    missing: Sequence[CellSpec] = ()
    notes: Sequence[str] = ()
    processes: int = 1
    aggregations: Sequence[Joining] = ()
    readings: Mapping[str, Any] = field(default_factory=dict)


def build_report(request: ReportRequest) -> Report:
    """Lay out the tables of a request beside the reference's, and beside models as published.

    Nothing is written before `Report.write`.

    Raises:
        StoreError: If a cell of the reference, or of a model as published, is damaged.
        ConfigurationError: If a cell is in no expected table, or images name no units to join.
    """
    images = _parts(request)
    parts = images
    for aggregation in request.aggregations:
        parts += aggregation.beside(images)
    return make_report(
        parts.cells,
        expected=parts.expected,
        missing=parts.missing,
        reference=parts.reference,
        reference_cells=parts.reference_cells,
        notes=parts.notes,
        folder=request.folder,
        run=dict(request.run),
        validation=parts.validation,
        sanity=parts.sanity,
        features=request.store.read_features,
        untuned=parts.untuned,
        processes=request.processes,
        readings=request.readings,
        beside=cells_beside(request.store, request.cells, request.readings),
    )


def _parts(request: ReportRequest) -> Parts:
    """Look up what belongs beside the cells of a request."""
    found, notes = _of_references(request)
    published, lacking = untuned_cells(request.store, request.cells)
    return Parts(
        cells=request.cells,
        expected=request.expected,
        missing=request.missing,
        reference=_title(request),
        reference_cells=found,
        untuned=published,
        validation=request.validation,
        sanity=request.sanity,
        notes=[*request.notes, *notes, *lacking],
    )


def _of_references(request: ReportRequest) -> tuple[list[StoredCell], list[str]]:
    """Find the cells of each reference model; with a line for each that lacks some."""
    corrupted = {table.dataset for table in request.expected if table.corruptions}
    found: list[StoredCell] = []
    notes: list[str] = []
    for name, command in request.commands.items():
        cells = [
            cell
            for cell in request.cells
            if cell.spec.dataset in corrupted
            and task_of(cell.task).of_models
            and reference_of(request.reference, cell.spec.dataset) == name
        ]
        of_it, note = reference_cells(
            request.store, cells, name, command=command, prompts=request.reference_prompts
        )
        found += of_it
        notes += [note] if note else []
    return found, notes


def _title(request: ReportRequest) -> References:
    """Name the reference in tables, with its prompt set where that was chosen."""
    reference, prompts = request.reference, request.reference_prompts
    if isinstance(reference, Mapping):
        return {
            dataset: name and reference_title(name, prompts) for dataset, name in reference.items()
        }
    return reference and reference_title(reference, prompts)
