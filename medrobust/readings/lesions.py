"""Lesions: how many are found, at what specificity, and what their number alone does to a unit.

From stored logits of windows (around each lesion, or of a grid), without a model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape

import numpy as np
from numpy.typing import NDArray

from medrobust.base.csv_text import Why, ends
from medrobust.base.targets import WindowLabels
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics import Estimate
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.froc import Boxes, Rule
from medrobust.metrics.intervals import share_interval
from medrobust.metrics.joining import How, family
from medrobust.metrics.lesions import froc_with_interval, threshold_at, unsuppressed
from medrobust.readings.cells.lesion_units import LEVELS, LesionSplit, LesionUnits
from medrobust.readings.cells.pages import part_of_page
from medrobust.readings.cells.rows import CELL_COLUMNS, RowCells, rows_with_logits
from medrobust.reporting.aggregates import Place
from medrobust.reporting.figures import place as table_name
from medrobust.reporting.figures import with_range
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section
from medrobust.types import Float64Array, Int64Array

RULES: tuple[Rule, ...] = ("centre", "iou")
SHARES = ("sensitivity", "specificity")
NUMBERS = tuple(f"{name}_{level}" for level in LEVELS for name in SHARES)
FROC = tuple(f"froc_{rule}" for rule in RULES)
COLUMNS = (
    *CELL_COLUMNS, *(f"{name}{end}" for name in (*NUMBERS, *FROC) for end in ("", "_low", "_high")),
    "false_positives_least", "false_positives_most", "detections", "lesions", "cell",
)  # fmt: skip
NO_THRESHOLD = "clean validation has no negative one to set the threshold on"
EMPTY: Mapping[str, Why] = {
    **dict.fromkeys(
        ends(*NUMBERS), f"there is no such lesion, image or patient, or {NO_THRESHOLD}"
    ),
    **dict.fromkeys(
        (*ends(*FROC), "false_positives_least", "false_positives_most", "detections"),
        "the windows are no grid over whole images, or no image has them",
    ),
}
"""Why numbers of a cell are empty."""

BIAS_COLUMNS = (*CELL_COLUMNS, "unit", "lesions", "units", "probability", "flagged", "cell")


@dataclass(frozen=True, slots=True)
class Lesions:
    """What is asked of lesions.

    Args:
        how: How lesions are joined to images and patients, as `conf/aggregate` has it.
        specificity: Share of clean negative validation lesions (images, patients) below the
            threshold at which sensitivity is counted.
        iou: The least IoU of a window and a lesion that counts, for FROC by IoU.
        suppress: A window of a grid with this IoU or more with a surer one is no detection.

    Raises:
        ConfigurationError: If lesions cannot be joined so, or a share is none.
    """

    how: How = "max"
    specificity: float = 0.9
    iou: float = 0.1
    suppress: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if family(self.how) is None:
            raise ConfigurationError(f"readings.lesions.how={self.how!r} is no way of joining.")
        for name in ("specificity", "iou", "suppress"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ConfigurationError(
                    f"readings.lesions.{name}={value} must be above 0 and at most 1."
                )


SETTINGS = Lesions


@dataclass(frozen=True, slots=True)
class OfCell:
    """What one cell says of lesions."""

    place: Place
    cell: StoredCell
    numbers: dict[str, Estimate]
    span: tuple[float, float] | None = None
    detections: int = 0
    bias: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RowLesions:
    """What is found of one model, cell by cell."""

    row: RowCells
    cells: tuple[OfCell, ...]


def section(report: Report) -> Section | None:
    """Return what is found of lesions, where it was asked for."""
    settings = report.readings.get("lesions")
    if settings is None:
        return None
    rows = [row for row in rows_with_logits(report.matrices) if row.matrix.data.unit == "image"]
    found: list[RowLesions] = []
    left_out: list[str] = []
    for row in rows:
        one = _of_row(row, settings)
        found.append(one) if isinstance(one, RowLesions) else left_out.append(one)
    if not found and not left_out:
        return None
    about = (
        f"Joined by {escape(settings.how)}. Thresholds leave {100 * settings.specificity:g} % of "
        f"clean negative validation lesions (images, patients) below them and never move. FROC: "
        f"mean sensitivity at ¼, ½, 1, 2, 4 and 8 false positives an image, of windows of a grid "
        f"without those that overlap a surer one; a window hits by its centre in a lesion's box, "
        f"or by an IoU of {settings.iou:g}. In brackets: 95 % intervals over patients."
    )
    files = {}
    if found:
        files["lesions.csv"] = csv_bytes(list(_lines(found)), COLUMNS)
        bias = [line for one in found for own in one.cells for line in own.bias]
        files["lesion_counts.csv"] = csv_bytes(bias, BIAS_COLUMNS)
    each = {"lesions.csv": "a cell", "lesion_counts.csv": "a cell, unit and number of lesions"}
    return Section(
        "Lesions",
        order=52,
        shows="which lesions, images and patients are found",
        html=part_of_page("Lesions", about, found, left_out, _of_matrix),
        files=files,
        empty={"lesions.csv": EMPTY, "lesion_counts.csv": {"flagged": NO_THRESHOLD}},
        rows={name: each[name] for name in files},
        curves={"lesions.csv": [("severity", name, "") for name in (*NUMBERS, *FROC)]},
    )


def _of_row(row: RowCells, settings: Lesions) -> RowLesions | str:
    """Read one model, or say why it is left out."""
    data = row.matrix.data
    if not isinstance(data.target, WindowLabels):
        return f"{row.title}: its images are no lesions (dataset=lesions, phantoms_widefield)"
    split = LesionSplit.of(data, data.target)
    thresholds = _thresholds(row, settings)
    cells = tuple(_of_cell(row, split, settings, thresholds, *one) for one in row.places)
    return RowLesions(row, cells)


def _thresholds(row: RowCells, settings: Lesions) -> dict[str, float]:
    """Set a threshold for each level on the clean validation cell; none without one."""
    cell = row.validation
    if cell is None or row.lacking or not isinstance(cell.data.target, WindowLabels):
        return {}
    split = LesionSplit.of(cell.data, cell.data.target)
    suspicion = split.suspicion(cell)
    return {
        level: threshold_at(
            units.joined(suspicion, settings.how), units.positive, settings.specificity
        )
        for level, units in split.levels.items()
        if not units.positive.all()
    }


def _of_cell(
    row: RowCells,
    split: LesionSplit,
    settings: Lesions,
    thresholds: dict[str, float],
    place: Place,
    cell: StoredCell,
) -> OfCell:
    """Count what one cell finds."""
    suspicion = split.suspicion(cell)
    numbers: dict[str, Estimate] = {}
    bias: list[dict[str, str]] = []
    for level, units in split.levels.items():
        joined = units.joined(suspicion, settings.how)
        limit = thresholds.get(level)
        for name, chosen in (("sensitivity", units.positive), ("specificity", ~units.positive)):
            numbers[f"{name}_{level}"] = _share(
                joined, limit, chosen, units.patients, name == "sensitivity"
            )
        if level != "lesion":
            own = _by_count(units, joined, limit)
            named = row.named(place, cell) | {"unit": level, "cell": cell.fingerprint}
            bias += [named | line for line in own]
    if not split.grid:
        return OfCell(place, cell, numbers, bias=bias)
    return _with_froc(OfCell(place, cell, numbers, bias=bias), split, settings, suspicion)


def _share(
    joined: Float64Array,
    limit: float | None,
    chosen: NDArray[np.bool_],
    patients: Int64Array,
    reaches: bool,
) -> Estimate:
    """Return the share of chosen units on the right side of a threshold, over patients."""
    if limit is None or not chosen.any():
        return Estimate(None)
    right = ((joined[chosen] >= limit) == reaches).astype(np.float64)
    codes, counts = np.unique(patients[chosen], return_inverse=True, return_counts=True)[1:]
    groups = None if counts.max() == 1 else codes.astype(np.int64)
    return with_bounds(float(right.mean()), share_interval(right, groups))


def _by_count(
    units: LesionUnits, joined: Float64Array, limit: float | None
) -> Iterator[dict[str, str]]:
    """Say how suspicious negative units of each number of lesions are."""
    chances = 1 / (1 + np.exp(-joined))
    for count in np.unique(units.counts).tolist():
        own = (units.counts == count) & ~units.positive
        if own.any():
            flagged = None if limit is None else float((joined[own] >= limit).mean())
            yield {
                "lesions": str(count),
                "units": str(int(own.sum())),
                "probability": number(float(chances[own].mean())),
                "flagged": number(flagged),
            }


def _with_froc(
    one: OfCell, split: LesionSplit, settings: Lesions, suspicion: Float64Array
) -> OfCell:
    """Add FROC scores of windows that no surer one covers."""
    kept = unsuppressed(split.windows, suspicion, settings.suppress)
    windows = Boxes(split.windows.corners[kept], split.windows.images[kept])
    numbers, span = dict(one.numbers), None
    for rule, name in zip(RULES, FROC, strict=True):
        curve, bounds = froc_with_interval(
            windows,
            suspicion[kept],
            split.lesions,
            split.levels["image"].patients,
            rule=rule,
            least_iou=settings.iou,
        )
        numbers[name] = with_bounds(curve.score, bounds)
        span = span or curve.range
    return replace(one, numbers=numbers, span=span, detections=len(kept))


def _lines(found: Sequence[RowLesions]) -> Iterator[dict[str, str]]:
    for one in found:
        target = one.row.matrix.data.target
        assert isinstance(target, WindowLabels)
        for own in one.cells:
            low, high = own.span or (None, None)
            line = one.row.named(own.place, own.cell) | {
                "false_positives_least": number(low),
                "false_positives_most": number(high),
                "detections": str(own.detections) if own.span else "",
                "lesions": str(len(target.lesions.images)),
                "cell": own.cell.fingerprint,
            }
            for name in (*NUMBERS, *FROC):
                estimate = own.numbers.get(name, Estimate(None))
                for end, value in (("", "value"), ("_low", "low"), ("_high", "high")):
                    line[f"{name}{end}"] = number(getattr(estimate, value))
            yield line


def _of_matrix(matrix: Matrix, found: Sequence[RowLesions]) -> str:
    head = (
        "model", "corruption", "severity", *(f"{name} of {level}s, %" for level in LEVELS
        for name in SHARES), "FROC by centre, %", "FROC by IoU, %",
    )  # fmt: skip
    shown = [
        (one, own)
        for one in found
        for own in one.cells
        if own.place.severity in (0, max(each.place.severity for each in one.cells))
    ]
    rows = [
        (
            one.row.row.label if own is one.cells[0] else "",
            own.place.corruption if own.place.severity else "clean",
            str(own.place.severity or ""),
            *(with_range(own.numbers.get(name, Estimate(None))) for name in (*NUMBERS, *FROC)),
        )
        for one, own in shown
    ]
    counts = [
        (line["label"], line["unit"], line["lesions"], line["units"], *_percent(line))
        for one in found
        for line in one.cells[0].bias
    ]
    counted = plain_table(
        ("model", "unit", "lesions", "negative units", "mean probability, %", "flagged, %"),
        counts,
        tight=True,
    )
    return (
        f"<h3>{escape(table_name(matrix))}</h3><p>Clean and the highest severity, all others in "
        f"lesions.csv.</p>{plain_table(head, rows, tight=True)}<p>Negative images and patients by "
        f"the number of their lesions, on clean images: where the probability grows with it, a "
        f"unit is suspicious for its size.</p>{counted}"
    )


def _percent(line: dict[str, str]) -> tuple[str, ...]:
    values = (line[name] for name in ("probability", "flagged"))
    return tuple(f"{100 * float(value):.1f}" if value else "–" for value in values)
