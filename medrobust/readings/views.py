"""Views of a study: which of them saves a study whose other view is corrupted, and do they agree?

Each view of a study is corrupted in turn, beside the clean answers of the others, and all are fused
to one answer: from stored clean and corrupted cells, without a model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from medrobust.base.csv_text import Why, ends
from medrobust.base.wording import counted
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics import Estimate
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.intervals import share_interval
from medrobust.metrics.joining import How
from medrobust.metrics.scores import predictions
from medrobust.readings.aggregation import Aggregation, check_way
from medrobust.readings.cells.pages import part_of_page
from medrobust.readings.cells.rows import (
    CELL_COLUMNS,
    NO_FEATURES,
    RowCells,
    losses,
    rows_with_logits,
)
from medrobust.readings.cells.views import mixed, turns
from medrobust.reporting.aggregates import Place
from medrobust.reporting.figures import place as table_name
from medrobust.reporting.figures import with_range
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Cell, Section, Units
from medrobust.types import Float32Array, Float64Array, Int64Array

NUMBERS = ("wrong_alone", "saved", "wrong_fused", "spoiled", "agreement")
COLUMNS = (
    *CELL_COLUMNS, "view", *(f"{name}{end}" for name in NUMBERS for end in ("", "_low", "_high")),
    "cosine", "views", "studies", "cell",
)  # fmt: skip
ALL = "all"
OF_ALL = ("it is of all views together", NO_FEATURES)
EMPTY: Mapping[str, Why] = {
    **dict.fromkeys(ends("wrong_alone", "wrong_fused"), "no study of several views has this one"),
    **dict.fromkeys(ends("saved"), "no view is wrong alone"),
    **dict.fromkeys(ends("spoiled"), "no study is right with all views clean"),
    **dict.fromkeys((*ends("agreement"), "cosine"), lambda row: OF_ALL[row["view"] == ALL]),
}
"""Why numbers are empty."""


@dataclass(frozen=True, slots=True)
class Views:
    """What is asked of studies of several views.

    Args:
        by: "groups", or the metadata column that tells studies apart.
        how: How the answers of views become one, as `conf/aggregate` has it.
        view: Metadata column that names views ("ViewPosition"); null: by their order in a study.

    Raises:
        ConfigurationError: If answers cannot be joined so.
    """

    by: str = "study"
    how: How = "mean"
    view: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_way("readings.views.how", self.how)


SETTINGS = Views


@dataclass(frozen=True, slots=True)
class Studies:
    """The studies of a split that have several views.

    Attributes:
        units: All studies.
        turn: int64 (N,), number of each view within its study.
        several: bool (N,), whether its study has others.
        names: (N,) strings, what each view is called.
        patients: int64 (N,), who or which study each view belongs to: one unit of intervals.
    """

    units: Units
    turn: Int64Array
    several: NDArray[np.bool_]
    names: NDArray[np.str_]
    patients: Int64Array


@dataclass(frozen=True, slots=True)
class OfCell:
    """What one cell says of views: view -> metric -> estimate, and the mean cosine of views."""

    place: Place
    cell: StoredCell
    views: dict[str, dict[str, Estimate]]
    counts: dict[str, int]
    cosine: float | None


@dataclass(frozen=True, slots=True)
class RowViews:
    """What is found of one model, cell by cell."""

    row: RowCells
    studies: Studies
    cells: tuple[OfCell, ...]


def section(report: Report) -> Section | None:
    """Return which view saves a study, where it was asked for."""
    settings = report.readings.get("views")
    if settings is None:
        return None
    found, left_out = [], []
    for row in rows_with_logits(report.matrices):
        if row.matrix.data.unit != "image":
            continue
        one = _of_row(row, settings)
        found.append(one) if isinstance(one, RowViews) else left_out.append(one)
    if not found and not left_out:
        return None
    files = {"views.csv": csv_bytes(list(_lines(found)), COLUMNS)} if found else {}
    about = (
        f"Each view of a study is corrupted in turn, and joined by {escape(settings.how)} to the "
        f"clean answers of the others. Saved: studies whose corrupted view is wrong alone and "
        f"whose joined answer is right. Spoiled: right with all views clean, wrong with that one "
        f"corrupted. Agreement: studies whose views all give one answer, all of them corrupted. In "
        f"brackets: 95 % intervals over patients, or studies."
    )
    return Section(
        "Views of a study",
        order=53,
        shows="how often studies of several views are wrong (plain error)",
        html=part_of_page("Views of a study", about, found, left_out, _of_matrix),
        files=files,
        empty={"views.csv": EMPTY},
        rows={"views.csv": "a cell and view"} if found else {},
        curves={"views.csv": [("severity", name, "view") for name in ("saved", "wrong_fused")]},
    )


def _of_row(row: RowCells, settings: Views) -> RowViews | str:
    """Read one model, or say why it is left out."""
    data = row.matrix.data
    way = Aggregation("study", settings.by, settings.how)
    if lacking := way.lacking(data, row.matrix.task.kind):
        return f"{row.title}: {lacking.replace('aggregate.by', 'readings.views.by')}"
    if settings.view is not None and settings.view not in data.metadata_columns:
        return f"{row.title}: there is no metadata column {settings.view!r} that names views"
    clean = next((cell for place, cell in row.places if not place.severity), None)
    if clean is None:
        return f"{row.title}: there is no clean cell to take the other views from"
    studies = _studies(row, way, settings)
    if not studies.several.any():
        return f"{row.title}: no study has several views"
    try:
        cells = tuple(_of_cell(row, studies, clean, *one) for one in row.places)
    except ConfigurationError as error:
        return f"{row.title}: {error}"
    return RowViews(row, studies, cells)


def _studies(row: RowCells, way: Aggregation, settings: Views) -> Studies:
    data = row.matrix.data
    units = way.units(data)
    turn = turns(units.codes)
    if settings.view is None:
        names = np.array([f"view {number + 1}" for number in turn.tolist()])
    else:
        assert data.metadata is not None
        names = data.metadata[:, data.metadata_columns.index(settings.view)]
    several = np.bincount(units.codes)[units.codes] > 1
    patients = units.codes if row.groups is None else row.groups
    return Studies(units, turn, several, names, patients)


def _of_cell(
    row: RowCells, studies: Studies, clean: StoredCell, place: Place, cell: StoredCell
) -> OfCell:
    """Corrupt each view in turn, and count what becomes of its study."""
    given, kept = row.seen(cell), row.seen(clean)
    alone = losses(given, predictions(cell.arrays["logits"], row.kind))
    fused, before = _fused(row, studies, kept, given), _joined_losses(row, studies, kept)
    terms = {
        "wrong_alone": alone,
        "saved": np.where(alone > 0, fused == 0, np.nan).astype(np.float64),
        "wrong_fused": fused,
        "spoiled": np.where(before[studies.units.codes] == 0, fused > 0, np.nan).astype(np.float64),
    }
    agree = _agreement(studies, predictions(cell.arrays["logits"], row.kind))
    views: dict[str, dict[str, Estimate]] = {}
    counts = {}
    for view in (ALL, *sorted(set(studies.names[studies.several].tolist()))):
        rows = studies.several & ((studies.names == view) | (view == ALL))
        counts[view] = int(rows.sum())
        views[view] = {name: _share(values, rows, studies) for name, values in terms.items()}
    first = studies.several & (studies.turn == 0)
    views[ALL]["agreement"] = _share(agree[studies.units.codes], first, studies)
    return OfCell(place, cell, views, counts, _cosine(studies, row.matrix.measured.features(cell)))


def _fused(row: RowCells, studies: Studies, clean: Cell, corrupted: Cell) -> Float64Array:
    """Return how wrong a study is if this view of it is corrupted: float64 (N,)."""
    found = np.zeros(len(studies.turn))
    for turn in range(int(studies.turn.max()) + 1):
        rows = studies.turn == turn
        arrays = mixed(row.matrix.task.arrays, clean.arrays, corrupted.arrays, rows)
        wrong = _joined_losses(row, studies, Cell("", arrays, corrupted.head, corrupted.data))
        found[rows] = wrong[studies.units.codes[rows]]
    return found


def _joined_losses(row: RowCells, studies: Studies, cell: Cell) -> Float64Array:
    """Return how wrong the joined answer of each study is: float64 (U,)."""
    task, units = row.matrix.task, studies.units
    target = task.joined_target(cell.data, units)
    predicted = predictions(task.joined(cell, units)["logits"], row.kind)
    wrong = (predicted != target.values).astype(np.float64)
    found: Float64Array = wrong.mean(axis=1) if wrong.ndim == 2 else wrong
    return found


def _agreement(studies: Studies, predicted: Int64Array) -> Float64Array:
    """Say of each study whether all of its views give one answer: float64 (U,)."""
    codes = studies.units.codes
    unlike = predicted != predicted[studies.units.first][codes]
    if unlike.ndim == 2:
        unlike = unlike.any(axis=1)
    found: Float64Array = (np.bincount(codes, weights=unlike) == 0).astype(np.float64)
    return found


def _share(values: Float64Array, rows: NDArray[np.bool_], studies: Studies) -> Estimate:
    """Return the mean over some views of those that have a value, with its interval."""
    known = rows & np.isfinite(values)
    if not known.any():
        return Estimate(None)
    _, groups = np.unique(studies.patients[known], return_inverse=True)
    terms = values[known]
    return with_bounds(float(terms.mean()), share_interval(terms, groups.astype(np.int64)))


def _cosine(studies: Studies, features: Float32Array | None) -> float | None:
    """Return the mean over studies of the mean cosine of two views; None without features."""
    if features is None:
        return None
    codes, counts = studies.units.codes, np.bincount(studies.units.codes)
    unit = features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    sums = np.zeros((len(counts), unit.shape[1]))
    np.add.at(sums, codes, unit)
    several = counts > 1
    pairs = (counts * (counts - 1))[several]
    return float((((sums[several] ** 2).sum(axis=1) - counts[several]) / pairs).mean())


def _lines(found: Sequence[RowViews]) -> Iterator[dict[str, str]]:
    for one in found:
        for own in one.cells:
            for view, numbers in own.views.items():
                line = one.row.named(own.place, own.cell) | {
                    "view": view,
                    "cosine": number(own.cosine) if view == ALL else "",
                    "views": str(own.counts[view]),
                    "studies": str(int((one.studies.several & (one.studies.turn == 0)).sum())),
                    "cell": own.cell.fingerprint,
                }
                for name, estimate in numbers.items():
                    for end, value in (("", "value"), ("_low", "low"), ("_high", "high")):
                        line[f"{name}{end}"] = number(getattr(estimate, value))
                yield line


def _of_matrix(matrix: Matrix, found: Sequence[RowViews]) -> str:
    head = (
        "model", "corruption", "severity", "view", "wrong alone, %", "of these saved, %",
        "wrong joined, %", "spoiled, %", "views agree, %", "cosine of views",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for one in found:
        hardest = max(own.place.severity for own in one.cells)
        for own in one.cells:
            if own.place.severity not in (0, hardest):
                continue
            rows += _rows_of(one, own)
    several = counted(int((found[0].studies.several & (found[0].studies.turn == 0)).sum()), "study")
    return (
        f"<h3>{escape(table_name(matrix))}</h3><p>{several} of several views; clean and the "
        f"highest severity, all others in views.csv.</p>{plain_table(head, rows, tight=True)}"
    )


def _rows_of(one: RowViews, own: OfCell) -> Iterator[tuple[str, ...]]:
    for view, numbers in own.views.items():
        first = view == ALL
        shown = [with_range(numbers[name]) for name in NUMBERS[:4]]
        yield (
            one.row.row.label if first else "",
            (own.place.corruption if own.place.severity else "clean") if first else "",
            str(own.place.severity) if first and own.place.severity else "",
            view,
            *shown,
            with_range(numbers["agreement"]) if first else "",
            f"{own.cosine:.3f}" if first and own.cosine is not None else "",
        )
