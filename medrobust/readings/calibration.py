"""Calibration: whether confidences mean what they say, before and after scaling on clean images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

import numpy as np

from medrobust.base.wording import counted
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.metrics import Estimate
from medrobust.metrics.calibration import calibration_errors, confidences, likelihood_terms
from medrobust.metrics.calibration_bounds import (
    FEWEST_CALIBRATED,
    FEWEST_RARE,
    calibration_bounds,
    rare_answers,
)
from medrobust.metrics.estimates import DOUBTFUL, with_bounds
from medrobust.metrics.intervals import mean_interval, share_interval
from medrobust.metrics.recalibration import Scaling, temperature_scaling, vector_scaling
from medrobust.metrics.reliability import bins, classwise_error, kolmogorov_smirnov_error
from medrobust.metrics.scores import predictions, probabilities
from medrobust.readings.cells.pages import part_of_page
from medrobust.readings.cells.rows import (
    CELL_COLUMNS,
    MULTI_LABEL,
    RowCells,
    rows_with_logits,
)
from medrobust.reporting.aggregates import Place
from medrobust.reporting.figures import place as table_name
from medrobust.reporting.figures import with_range
from medrobust.reporting.markup import details, plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.panels import Line, Panel, panels_svg
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section
from medrobust.types import Float64Array, Int64Array

SCALINGS = {"temperature": temperature_scaling, "vector": vector_scaling}
NUMBERS = (
    "confidence", "accuracy", "shift", "ece", "ece_equal_mass", "ece_debiased", "classwise_ece",
    "ks", "nll",
)  # fmt: skip
COLUMNS = (
    *CELL_COLUMNS, "scaling", *NUMBERS[:3], "shift_low", "shift_high", "ece", "ece_low", "ece_high",
    *NUMBERS[4:], "n", "cell",
)  # fmt: skip
EMPTY = dict.fromkeys(
    ("ece_low", "ece_high"), f"fewer than {FEWEST_CALIBRATED} images or patients, or all alike"
)
BIN_COLUMNS = (
    *CELL_COLUMNS, "scaling", "bin", "images", "confidence", "share_right", "low", "high", "cell",
)  # fmt: skip
MOST_DRAWN = 4
FEWEST_DRAWN = 10
"""Images of a bin that a reliability diagram shows; the table has all."""


MOST_BINS = 1000
"""Beyond which a diagram has more bins than a split has images, or the memory holds."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration, as a run asks for it.

    Args:
        scaling: temperature (one number) or vector (a factor and an offset a class), fitted on
            clean validation images.
        bins: Bins of reliability diagrams and calibration errors.

    Raises:
        ConfigurationError: If there are fewer than two bins, or more than `MOST_BINS`.
        UnknownNameError: If there is no such scaling.
    """

    scaling: str = "temperature"
    bins: int = 15

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.scaling not in SCALINGS:
            raise unknown_name("readings.calibration.scaling", self.scaling, list(SCALINGS))
        if not 2 <= self.bins <= MOST_BINS:
            raise ConfigurationError(
                f"readings.calibration.bins={self.bins} must be from 2 to {MOST_BINS}."
            )


SETTINGS = Calibration


@dataclass(frozen=True, slots=True)
class Measured:
    """A cell under one scaling.

    Attributes:
        place: Where it stands.
        cell: The cell.
        scaling: "none", or what was fitted.
        numbers: Name -> value.
        shift: Mean confidence less share right, with its interval over patients.
        ece: The error over bins of equal width, with its interval, empty on few images.
        terms: float64 (N,), confidence less truth of each image: its mean is the shift.
        diagram: Bin -> images, mean confidence, share right, and its bounds.
    """

    place: Place
    cell: StoredCell
    scaling: str
    numbers: dict[str, float]
    shift: Estimate
    ece: Estimate
    terms: Float64Array
    diagram: tuple[tuple[float, float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class RowCalibration:
    """One model: its cells before scaling and after.

    Attributes:
        row: The model and its cells.
        cells: Those before scaling first.
        levels: (scaling, severity) -> shift, mean over corruptions.
        diagrams: (scaling, severity) -> bins of all its cells together: confidence, share right.
    """

    row: RowCells
    cells: tuple[Measured, ...]
    levels: dict[tuple[str, int], Estimate]
    diagrams: dict[tuple[str, int], tuple[Float64Array, Float64Array]]


def section(report: Report) -> Section | None:
    """Return reliability diagrams and tables, where calibration was asked for."""
    settings = report.readings.get("calibration")
    if settings is None:
        return None
    rows = list(rows_with_logits(report.matrices))
    if not rows:
        return None
    left_out = [why for row in rows if (why := row.lacking) is not None]
    found = [_of_row(row, settings) for row in rows if row.lacking is None]
    files = {}
    if found:
        files = {
            "calibration.csv": csv_bytes([x for one in found for x in _lines(one)], COLUMNS),
            "reliability.csv": csv_bytes([x for one in found for x in _bins(one)], BIN_COLUMNS),
        }
    return Section(
        "Calibration",
        order=54,
        shows="confidences against the share of right answers, and calibration errors",
        html=_html(found, left_out, settings),
        files=files,
        empty={"calibration.csv": EMPTY},
        doubts={"calibration.csv": _doubts(found)},
        rows={"calibration.csv": "a cell and scaling", "reliability.csv": "a cell and bin"}
        if found else {},
        curves={"calibration.csv": [("severity", y, "scaling") for y in ("shift", "ece")]},
    )  # fmt: skip


def _of_row(row: RowCells, settings: Calibration) -> RowCalibration:
    assert row.validation is not None
    fitted = SCALINGS[settings.scaling](
        row.validation.arrays["logits"], row.validation.data.labels, row.kind
    )
    classes = row.validation.arrays["logits"].shape[1]
    scalings = {"none": Scaling(np.ones(classes), np.zeros(classes)), settings.scaling: fitted}
    cells = tuple(
        _measured(row, place, cell, name, scaling, settings.bins)
        for name, scaling in scalings.items()
        for place, cell in row.places
    )
    keys = dict.fromkeys((one.scaling, one.place.severity) for one in cells)
    parts = {
        key: [one for one in cells if (one.scaling, one.place.severity) == key] for key in keys
    }
    levels = {key: _shift(row, [one.terms for one in own]) for key, own in parts.items()}
    diagrams = {key: _joint(own) for key, own in parts.items()}
    return RowCalibration(row, cells, levels, diagrams)


def _measured(
    row: RowCells, place: Place, cell: StoredCell, name: str, scaling: Scaling, count: int
) -> Measured:
    logits, labels, kind = scaling(cell.arrays["logits"]), cell.data.labels, row.kind
    chances = probabilities(logits, kind)
    pairs = confidences(chances, labels, kind)
    terms = np.mean([sure - right for sure, right in pairs], axis=0)
    each = [_errors(sure, right, count) for sure, right in pairs]
    numbers = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    numbers["classwise_ece"] = (
        numbers["ece"] if kind == MULTI_LABEL else classwise_error(chances, labels, count=count)
    )
    numbers["nll"] = float(likelihood_terms(logits, labels, kind).mean())
    diagram = _diagram(row, pairs, count)
    found = calibration_errors(chances, labels, kind, bins=count)["ece"]
    note = _note(row, predictions(logits, kind), labels)
    ece = with_bounds(numbers["ece"], calibration_bounds(found, row.groups), note)
    return Measured(place, cell, name, numbers, _shift(row, [terms]), ece, terms, diagram)


def _note(row: RowCells, predicted: Int64Array, labels: Int64Array) -> str:
    rare = rare_answers(predicted, labels, row.groups)
    return f"{counted(rare, 'rare answer')}" if rare < FEWEST_RARE else ""


def _errors(sure: Float64Array, right: Float64Array, count: int) -> dict[str, float]:
    mass = bins(sure, right, count=count, mass="equal_mass")
    return {
        "confidence": float(sure.mean()),
        "accuracy": float(right.mean()),
        "ece": bins(sure, right, count=count).error,
        "ece_equal_mass": mass.error,
        "ece_debiased": float(np.sqrt(max(mass.debiased_square, 0.0))),
        "ks": kolmogorov_smirnov_error(sure, right),
    }


def _diagram(
    row: RowCells, pairs: Sequence[tuple[Float64Array, Float64Array]], count: int
) -> tuple[tuple[float, float, float, float, float], ...]:
    """Return the bins of equal width of all labels together."""
    sure, right = (np.concatenate([pair[part] for pair in pairs]) for part in (0, 1))
    groups = None if row.groups is None else np.tile(row.groups, len(pairs))
    found, lines = bins(sure, right, count=count), []
    for place in range(len(found.counts)):
        own = found.places == place
        low, high = share_interval(right[own], None if groups is None else groups[own])
        count_, sure_, share = (
            float(column[place]) for column in (found.counts, found.confidences, found.shares)
        )
        lines.append((count_, sure_, share, low, high))
    return tuple(lines)


def _shift(row: RowCells, terms: Sequence[Float64Array]) -> Estimate:
    mean = np.mean(terms, axis=0)
    bounds = mean_interval(mean, row.groups, limits=(-1, 1))
    return with_bounds(float(mean.mean()), bounds)


def _joint(cells: Sequence[Measured]) -> tuple[Float64Array, Float64Array]:
    """Join the bins of several cells to tenths: mean confidence and share right of each."""
    lines = np.array([line[:3] for one in cells for line in one.diagram])
    edges = np.minimum((lines[:, 1] * 10).astype(int), 9)
    held = [lines[edges == k] for k in np.unique(edges)]
    held = [part for part in held if part[:, 0].sum() >= FEWEST_DRAWN]
    sure = np.array([part[:, 0] @ part[:, 1] / part[:, 0].sum() for part in held])
    right = np.array([part[:, 0] @ part[:, 2] / part[:, 0].sum() for part in held])
    return sure, right


def _doubts(found: Sequence[RowCalibration]) -> dict[int, tuple[str, str]]:
    """Return line of calibration.csv -> the interval that is to be doubted, and why."""
    every = enumerate((cell.ece for one in found for cell in one.cells), 2)
    return {line: ("ece_low, ece_high", ece.note) for line, ece in every if ece.doubtful}


def _lines(one: RowCalibration) -> Iterator[dict[str, str]]:
    for found in one.cells:
        numbers = {**found.numbers, "shift": found.shift.value}
        yield (
            one.row.named(found.place, found.cell)
            | {"scaling": found.scaling, "n": str(len(found.terms)), "cell": found.cell.fingerprint}
            | {name: number(numbers[name]) for name in NUMBERS}
            | {"shift_low": number(found.shift.low), "shift_high": number(found.shift.high)}
            | {"ece_low": number(found.ece.low), "ece_high": number(found.ece.high)}
        )


def _bins(one: RowCalibration) -> Iterator[dict[str, str]]:
    for found in one.cells:
        for place, (count, sure, right, low, high) in enumerate(found.diagram):
            yield (
                one.row.named(found.place, found.cell)
                | {"scaling": found.scaling, "bin": str(place + 1), "images": str(int(count))}
                | {"confidence": number(sure), "share_right": number(right)}
                | {"low": number(low), "high": number(high), "cell": found.cell.fingerprint}
            )


def _html(found: Sequence[RowCalibration], left_out: Sequence[str], settings: Calibration) -> str:
    about = (
        f"Shift: mean confidence less share right; above 0 the model is too sure of itself. "
        f"Scaling by {escape(settings.scaling)} is fitted on clean validation images and kept. In "
        f"brackets: 95 % intervals; calibration errors (ECE) have them from {FEWEST_CALIBRATED} "
        f"images or patients on, and are too large by chance on fewer; {DOUBTFUL} marks those of "
        f"fewer than {FEWEST_RARE} wrong answers, or right ones, which hold less often than 95 %."
    )
    of_matrix = partial(_of_matrix, settings=settings)
    return part_of_page("Calibration", about, found, left_out, of_matrix)


def _of_matrix(matrix: Matrix, found: Sequence[RowCalibration], settings: Calibration) -> str:
    head = ("model", "severity", "shift, %", f"after {settings.scaling}, %", "ECE, %", "after, %")
    rows = []
    for one in found:
        for number_, level in enumerate(dict.fromkeys(level for _, level in one.levels)):
            shifts = [with_range(one.levels[name, level]) for name in ("none", settings.scaling)]
            errors = [_mean_ece(one, name, level) for name in ("none", settings.scaling)]
            label = "" if number_ else one.row.row.label
            rows.append((label, str(level or "clean"), *shifts, *errors))
    lines = [_line(one, style, name) for style, one in enumerate(found[:MOST_DRAWN])
             for name in one_of(settings)]  # fmt: skip
    chart = panels_svg(
        [Panel("shift, %", lines, target=0.0)], f"calibration shift {table_name(matrix)}"
    )
    diagrams = panels_svg(
        [panel for one in found[:MOST_DRAWN] for panel in _diagrams(one, settings)],
        f"reliability {table_name(matrix)}",
    )
    drawn = details("Reliability diagrams: paler lines are milder severities",
                    f'<div class="curves" style="--panels:4">{diagrams}</div>')  # fmt: skip
    return (
        f"<h3>{escape(table_name(matrix))}</h3>{''.join(_finding(one, settings) for one in found)}"
        f'<div class="curves" style="--panels:1">{chart}</div>{plain_table(head, rows, tight=True)}'
        f"{drawn}"
    )


def one_of(settings: Calibration) -> tuple[str, str]:
    """Return the two scalings of a row: none, and what was fitted."""
    return "none", settings.scaling


def _mean_ece(one: RowCalibration, scaling: str, level: int) -> str:
    """Write the mean over cells, with the mean of their bounds: as if all erred together."""
    parts = [
        found.ece
        for found in one.cells
        if (found.scaling, found.place.severity) == (scaling, level)
    ]
    value = float(np.mean([part.value for part in parts]))
    if any(part.low is None for part in parts):
        return with_range(Estimate(value))
    low, high = (float(np.mean([getattr(part, end) for part in parts])) for end in ("low", "high"))
    note = next((part.note for part in parts if part.note), "")
    return with_range(Estimate(value, low, high, note))


def _finding(one: RowCalibration, settings: Calibration) -> str:
    """Say where confidences that were right on clean validation images are not."""
    own = [found for found in one.cells if found.scaling == settings.scaling]
    over = [found for found in own if found.shift.low is not None and found.shift.low > 0]
    name, total = escape(one.row.title), counted(len(own), "cell")
    if not over:
        return f"<p>{name}: scaled confidences are beyond chance too high in none of {total}.</p>"
    worst = max(over, key=lambda found: found.shift.value or 0.0)
    where = f"{worst.place.corruption} s{worst.place.severity}"
    return (
        f'<p class="note"><strong>{name}: scaled on clean images, it is too sure in {len(over)} '
        f"of {total}</strong>, by {100 * (worst.shift.value or 0):.1f} points at worst "
        f"({escape(where)}).</p>"
    )


def _line(one: RowCalibration, style: int, scaling: str) -> Line:
    levels = [level for name, level in one.levels if name == scaling]
    shifts = [one.levels[scaling, level] for level in levels]
    value, low, high = (
        [100 * float(getattr(shift, end) or 0.0) for shift in shifts]
        for end in ("value", "low", "high")
    )
    label = one.row.row.label + ("" if scaling == "none" else f", {scaling}")
    faint = 0.6 if scaling == "none" else 0.0
    return Line(label, style, levels, value, low, high, faint=faint)


def _diagrams(one: RowCalibration, settings: Calibration) -> Iterator[Panel]:
    for scaling in one_of(settings):
        drawn = {level: points for (name, level), points in one.diagrams.items()
                 if name == scaling}  # fmt: skip
        lines = [
            Line(
                "", 0, points[0].tolist(), points[1].tolist(),
                faint=1 - level / max(max(drawn), 1),
            )
            for level, points in drawn.items()
        ]  # fmt: skip
        title = one.row.row.label + ("" if scaling == "none" else f", {scaling}")
        yield Panel(title, lines, "confidence", "share right", diagonal=True, unit=True)
