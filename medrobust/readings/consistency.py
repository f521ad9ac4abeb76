"""Consistency: are images of one patient answered alike, and as they were when they were clean?

Numbers of patients, eyes or lesions, from stored answers and, where kept, features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from medrobust.base.csv_text import Why, ends
from medrobust.base.missing import names_nobody
from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics import Estimate
from medrobust.metrics.aggregates import bounded_interval
from medrobust.metrics.consistency import agreement, cosine_within, kept_agreement
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.intervals import share_interval
from medrobust.metrics.joining import How
from medrobust.metrics.scores import predictions
from medrobust.readings.aggregation import GROUPS, Aggregation
from medrobust.readings.cells.pages import part_of_page
from medrobust.readings.cells.rows import (
    CELL_COLUMNS,
    NO_FEATURES,
    ON_CLEAN,
    RowCells,
    corrupted_only,
    rows_with_logits,
)
from medrobust.reporting.aggregates import Place
from medrobust.reporting.figures import place as table_name
from medrobust.reporting.figures import with_range
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section, Units
from medrobust.types import Float32Array, Float64Array, Int64Array

SHARES = ("agreement", "kept_agreement", "flip_rate", "decision_agreement")
OF_FEATURES = ("drift", "cosine_within")
NUMBERS = (*SHARES, *OF_FEATURES)
NO_SIDE = -1
"""Of images whose column `between` is empty."""

NOT_TWO = "no two images are to be compared"
COLUMNS = (
    *CELL_COLUMNS, *(f"{name}{end}" for name in NUMBERS for end in ("", "_low", "_high")),
    "units", "images", "cell",
)  # fmt: skip
EMPTY: Mapping[str, Why] = {
    **dict.fromkeys(ends("agreement"), NOT_TWO),
    **dict.fromkeys(ends("cosine_within"), f"{NO_FEATURES}, or {NOT_TWO}"),
    **dict.fromkeys(ends("kept_agreement"), corrupted_only("no two images agree when clean")),
    **dict.fromkeys(ends("flip_rate", "decision_agreement"), ON_CLEAN),
    **dict.fromkeys(ends("drift"), corrupted_only(NO_FEATURES)),
}
"""Why numbers of a cell are empty."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """Which images belong together, and how their answers become one decision.

    Args:
        by: "groups", images of one patient; or a metadata column (an eye, a lesion, "image"), whose
            values tell units of each patient apart.
        between: Metadata column in which two images must differ to be compared ("side", "visit"),
            those without a value never; null: all of a unit are.
        how: How answers are joined to the decision of a unit, as `conf/aggregate` has it.

    Raises:
        ConfigurationError: If answers cannot be joined so.
    """

    by: str = "groups"
    between: str | None = None
    how: How = "mean"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        Aggregation("unit", self.by, self.how)

    def check(self, sets: Sequence[SplitFacts]) -> None:
        """Refuse columns that no data set has, before anything is computed.

        Raises:
            ConfigurationError: Naming the key.
        """
        there = sorted({name for data in sets for name in data.metadata_columns})
        for key, column in (("by", self.by), ("between", self.between)):
            if column not in (None, GROUPS, *there):
                raise ConfigurationError(
                    f"readings.consistency.{key}={column} is no metadata column of the data sets; "
                    f"there are: {', '.join(there) or 'none'} (dataset.metadata_columns)."
                )


SETTINGS = Consistency


@dataclass(frozen=True, slots=True)
class OfCell:
    """What is found of one cell."""

    place: Place
    cell: StoredCell
    numbers: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class RowConsistency:
    """What is found of one model, cell by cell."""

    row: RowCells
    units: Units
    cells: tuple[OfCell, ...]


def section(report: Report) -> Section | None:
    """Return how consistent answers are, where it was asked for."""
    settings = report.readings.get("consistency")
    if settings is None:
        return None
    rows = [row for row in rows_with_logits(report.matrices) if row.matrix.data.unit == "image"]
    found: list[RowConsistency] = []
    left_out: list[str] = []
    for row in rows:
        one = _of_row(row, settings)
        found.append(one) if isinstance(one, RowConsistency) else left_out.append(one)
    if not found and not left_out:
        return None
    pairs = "two images of a unit"
    if settings.between is not None:
        pairs += f" that differ in {escape(settings.between)}"
    about = (
        f"Agreement: of {pairs}, how often both get one answer, mean over units. Still agree: of "
        f"those that agree on clean images. Changed answers: images whose answer is not that of "
        f"the clean image. Same decision: units whose answers, joined by {escape(settings.how)}, "
        f"give the decision of their clean images. Drift: 1 − cosine of the features of an image "
        f"and its clean self. None of them says that an answer is right: of images that truly "
        f"differ, agreement is no virtue. In brackets: 95 % intervals over patients, or units."
    )
    return Section(
        "Consistency",
        order=53,
        shows="how alike images of one patient are answered",
        html=part_of_page("Consistency", about, found, left_out, _of_matrix),
        files={"consistency.csv": csv_bytes(list(_lines(found)), COLUMNS)} if found else {},
        empty={"consistency.csv": EMPTY},
        rows={"consistency.csv": "a cell"} if found else {},
        curves={"consistency.csv": [("severity", name, "") for name in NUMBERS]},
    )


def _of_row(row: RowCells, settings: Consistency) -> RowConsistency | str:
    """Read one model, or say why it is left out."""
    data = row.matrix.data
    way = Aggregation("unit", settings.by, settings.how)
    if lacking := way.lacking(data, row.matrix.task.kind):
        return f"{row.title}: {lacking.replace('aggregate.by', 'readings.consistency.by')}"
    if settings.between is not None and settings.between not in data.metadata_columns:
        return f"{row.title}: there is no metadata column {settings.between!r} to compare between"
    try:
        units = way.units(data)
    except ConfigurationError as error:
        return f"{row.title}: {error}"
    sides = None
    if settings.between is not None:
        assert data.metadata is not None
        column = data.metadata[:, data.metadata_columns.index(settings.between)]
        sides = np.unique(column, return_inverse=True)[1].astype(np.int64)
        sides[np.array([names_nobody(str(value)) for value in column])] = NO_SIDE
    clean = next((cell for place, cell in row.places if not place.severity), None)
    if clean is None:
        return f"{row.title}: there is no clean cell to compare with"
    patients = units.codes if row.groups is None else row.groups
    try:
        cells = tuple(
            OfCell(place, cell, _numbers(row, units, sides, patients, clean, cell))
            for place, cell in row.places
        )
    except ConfigurationError as error:
        return f"{row.title}: {error}"
    return RowConsistency(row, units, cells)


def _numbers(
    row: RowCells,
    units: Units,
    sides: Int64Array | None,
    patients: Int64Array,
    clean: StoredCell,
    cell: StoredCell,
) -> dict[str, Estimate]:
    """Compute the numbers of a cell; of the clean one those that compare with it are empty."""
    answers = [predictions(one.arrays["logits"], row.kind) for one in (clean, cell)]
    of_units = patients[units.first]
    codes, paired = units.codes, len(units.names)
    if sides is not None and (bare := sides == NO_SIDE).any():  # alone, each beside the units
        codes = codes.copy()
        codes[bare] = paired + np.arange(int(bare.sum()))
    found = {"agreement": _share(agreement(codes, answers[1], sides)[:paired], of_units)}
    features = [row.matrix.measured.features(one) for one in (clean, cell)]
    if features[1] is not None:
        within = cosine_within(codes, features[1], sides)[:paired]
        found["cosine_within"] = _mean(within, of_units, (-1.0, 1.0))
    if cell is clean:
        return found
    kept = kept_agreement(codes, answers[0], answers[1], sides)[:paired]
    flips = (answers[0] != answers[1]).reshape(len(answers[0]), -1).any(axis=1)
    decisions = [_decisions(row, units, one) for one in (clean, cell)]
    same = (decisions[0] == decisions[1]).reshape(len(of_units), -1).all(axis=1)
    found |= {
        "kept_agreement": _share(kept, of_units),
        "flip_rate": _share(flips.astype(np.float64), patients),
        "decision_agreement": _share(same.astype(np.float64), of_units),
    }
    before, after = features
    if before is not None and after is not None:
        found["drift"] = _mean(_drift(before, after), patients, (0.0, 2.0))
    return found


def _drift(clean: Float32Array, corrupted: Float32Array) -> Float64Array:
    """Return 1 - cosine of the features of each image and its clean self: float64 (N,)."""
    norms = np.linalg.norm(clean, axis=1) * np.linalg.norm(corrupted, axis=1)
    found: Float64Array = 1 - (clean.astype(np.float64) * corrupted).sum(axis=1) / norms
    return found


def _decisions(row: RowCells, units: Units, cell: StoredCell) -> Int64Array:
    """Return the joined answer of each unit: int64 (U,) or (U, L)."""
    joined = row.matrix.task.joined(row.seen(cell), units)
    return predictions(joined["logits"], row.kind)


def _share(values: Float64Array, patients: Int64Array) -> Estimate:
    """Return the mean of shares that are there, with its interval over patients."""
    known, groups = _known(values, patients)
    if not len(known):
        return Estimate(None)
    return with_bounds(float(known.mean()), share_interval(known, groups))


def _mean(values: Float64Array, patients: Int64Array, limits: tuple[float, float]) -> Estimate:
    known, groups = _known(values, patients)
    if not len(known):
        return Estimate(None)
    bounds = bounded_interval(known, groups, limits=limits, most=limits[1] - limits[0])
    return with_bounds(float(known.mean()), bounds)


def _known(values: Float64Array, patients: Int64Array) -> tuple[Float64Array, Int64Array | None]:
    """Return the values that are numbers, and their patients; None where each has one."""
    there = np.isfinite(values)
    codes = np.unique(patients[there], return_inverse=True)[1].reshape(-1).astype(np.int64)
    return values[there], None if len(set(codes.tolist())) == len(codes) else codes


def _lines(found: Sequence[RowConsistency]) -> Iterator[dict[str, str]]:
    for one in found:
        for own in one.cells:
            line = one.row.named(own.place, own.cell) | {
                "units": str(len(one.units.names)),
                "images": str(len(one.units.codes)),
                "cell": own.cell.fingerprint,
            }
            for name in NUMBERS:
                estimate = own.numbers.get(name, Estimate(None))
                for end, value in (("", "value"), ("_low", "low"), ("_high", "high")):
                    line[f"{name}{end}"] = number(getattr(estimate, value))
            yield line


def _of_matrix(matrix: Matrix, found: Sequence[RowConsistency]) -> str:
    head = (
        "model", "corruption", "severity", "agreement, %", "still agree, %", "changed answers, %",
        "same decision, %", "drift, %", "cosine within, %",
    )  # fmt: skip
    rows = [
        (
            one.row.row.label if own is one.cells[0] else "",
            own.place.corruption if own.place.severity else "clean",
            str(own.place.severity or ""),
            *(with_range(own.numbers.get(name, Estimate(None))) for name in NUMBERS),
        )
        for one in found
        for own in one.cells
        if own.place.severity in (0, max(each.place.severity for each in one.cells))
    ]
    return (
        f"<h3>{escape(table_name(matrix))}</h3><p>Clean and the highest severity, all others in "
        f"consistency.csv.</p>{plain_table(head, rows, tight=True)}"
    )
