"""Deferral: what a model is worth that leaves the images it is unsure of to a person.

A threshold is set on clean validation images and kept: how many images are still accepted under
each corruption, and are the accepted ones as good as validation promised?
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

import numpy as np

from medrobust.base.csv_text import Why, ends
from medrobust.base.wording import counted
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.metrics import Estimate
from medrobust.metrics.deferral import Limit, curve_points, deferral, limit_for, selective_risk
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.intervals import share_interval
from medrobust.metrics.scores import predictions
from medrobust.readings.cells.pages import part_of_page
from medrobust.readings.cells.rows import (
    CELL_COLUMNS,
    MULTI_LABEL,
    RowCells,
    losses,
    rows_with_logits,
)
from medrobust.readings.cells.sureness import ALL_SCORES, Sureness
from medrobust.reporting.aggregates import Place
from medrobust.reporting.figures import place as table_name
from medrobust.reporting.figures import with_range
from medrobust.reporting.markup import details, plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.panels import Line, Panel, panels_svg
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section
from medrobust.types import Float64Array

NUMBERS = (
    "coverage", "selective_risk", "error", "system_error", "failure_auroc", "aurc", "augrc",
    "excess_aurc", "risk_at_coverage", "coverage_at_risk", "balanced_selective_risk",
    "balanced_augrc",
)  # fmt: skip
BOUNDED = NUMBERS[:7]
COLUMNS = (
    *CELL_COLUMNS, "score", "threshold", "validation_coverage", "validation_risk", "reader_error",
    *(f"{name}{end}" for name in NUMBERS for end in ("", "_low", "_high")[: 3 if name in BOUNDED
                                                                         else 1]),
    "n", "cell",
)  # fmt: skip
EMPTY: Mapping[str, Why] = {
    **dict.fromkeys(ends("selective_risk"), "no image is accepted"),
    "failure_auroc": "all answers are right, or all wrong, or each is of several labels",
    **dict.fromkeys(
        ends("failure_auroc")[1:], "right or wrong answers are too few for an interval, or none"
    ),
    **dict.fromkeys(NUMBERS[-2:], "images of several labels have no one class"),
}
"""Why numbers of a cell are empty."""

CURVE_COLUMNS = (*CELL_COLUMNS, "score", "coverage", "risk", "low", "high", "n", "cell")
DRAWN = ("coverage", "selective_risk", "system_error")
"""What is drawn over severity."""

GRID = np.arange(1, 11) / 10
MOST_DRAWN = 7
MOST_CURVES = 3
"""Models whose risk is drawn over coverage, corruption by corruption."""


@dataclass(frozen=True, slots=True)
class Selective:
    """Deferral, as a run asks for it.

    Args:
        score: What says how sure a model is: msp, margin, entropy, gini, max_logit, energy; of a
            model with a text side mcm; with store.features=true mahalanobis, relative_mahalanobis,
            knn; with several prompt sets mutual_information.
        coverage: Share of clean validation images that the threshold accepts.
        risk: Error of the accepted on clean validation images instead; null: by coverage.
        reader_error: Error of the person who reads what is deferred.

    Raises:
        ConfigurationError: If a number is no share.
        UnknownNameError: If there is no such score.
    """

    score: str = "msp"
    coverage: float = 0.9
    risk: float | None = None
    reader_error: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.score not in ALL_SCORES:
            raise unknown_name("readings.selective.score", self.score, ALL_SCORES)
        if not 0 < self.coverage <= 1:
            raise ConfigurationError(
                f"readings.selective.coverage={self.coverage} must be above 0 and at most 1."
            )
        for name, value in (("risk", self.risk), ("reader_error", self.reader_error)):
            if value is not None and not 0 <= value <= 1:
                raise ConfigurationError(f"readings.selective.{name}={value} must lie from 0 to 1.")


SETTINGS = Selective


@dataclass(frozen=True, slots=True)
class RowDeferral:
    """What deferral makes of one model.

    Attributes:
        row: The model and its cells.
        limit: What is accepted.
        cells: Numbers of each cell, clean ones first.
        levels: Severity -> coverage, selective risk and system error, mean over corruptions.
        curves: Rows of risk_coverage.csv.
    """

    row: RowCells
    limit: Limit
    cells: tuple[tuple[Place, StoredCell, dict[str, Estimate]], ...]
    levels: dict[int, dict[str, Estimate]]
    curves: list[dict[str, str]]

    @property
    def broken(self) -> list[Place]:
        """Places where the accepted err more than validation promised, beyond chance."""
        return [
            place for place, _, found in self.cells if self.limit.broken_by(found["selective_risk"])
        ]


def section(report: Report) -> Section | None:
    """Return curves and tables of deferral, where it was asked for."""
    settings = report.readings.get("selective")
    if settings is None:
        return None
    rows = list(rows_with_logits(report.matrices))
    found, left_out = [], []
    for row in rows:
        one = _of_row(row, settings, [kin for kin in rows if kin.matrix is row.matrix])
        found.append(one) if isinstance(one, RowDeferral) else left_out.append(one)
    if not rows:
        return None
    files = {}
    if found:
        files = {
            "selective.csv": csv_bytes(list(_lines(found, settings)), COLUMNS),
            "risk_coverage.csv": csv_bytes([x for one in found for x in one.curves], CURVE_COLUMNS),
        }
    return Section(
        "Deferral",
        order=52,
        shows="how often an accepted answer is wrong (plain error)",
        html=_html(found, left_out, settings),
        files=files,
        empty={"selective.csv": EMPTY},
        rows={"selective.csv": "a cell", "risk_coverage.csv": "a cell and coverage"}
        if found else {},
        curves={
            "selective.csv": [("severity", name, "") for name in DRAWN],
            "risk_coverage.csv": [("coverage", "risk", "severity")],
        },
    )  # fmt: skip


def _of_row(row: RowCells, settings: Selective, kin: Sequence[RowCells]) -> RowDeferral | str:
    """Read one model, or say why it is left out."""
    if row.lacking is not None:
        return row.lacking
    assert row.validation is not None
    sureness = Sureness(row, settings.score, kin)
    if sureness.lacking is not None:
        return sureness.lacking
    limit = limit_for(
        sureness(row.validation),
        _loss(row, row.validation),
        row.seen(row.validation).patients,
        coverage=settings.coverage,
        risk=settings.risk,
    )
    if limit is None:
        return f"{row.title}: no part of its validation images has a risk of {settings.risk:g}"
    return _measured(row, settings, sureness, limit)


def _loss(row: RowCells, cell: StoredCell) -> Float64Array:
    return losses(row.seen(cell), predictions(cell.arrays["logits"], row.kind))


def _measured(row: RowCells, settings: Selective, sureness: Sureness, limit: Limit) -> RowDeferral:
    cells, curves = [], []
    sums: dict[int, list[tuple[Float64Array, Float64Array]]] = {}
    labels = None if row.kind == MULTI_LABEL else row.matrix.data.labels
    for place, cell in row.places:
        confidence, loss = sureness(cell), _loss(row, cell)
        found = deferral(
            confidence, loss, limit, labels=labels, groups=row.groups,
            coverage=settings.coverage, reader_error=settings.reader_error,
        )  # fmt: skip
        cells.append((place, cell, found))
        accepted = (confidence >= limit.threshold).astype(np.float64)
        sums.setdefault(place.severity, []).append((accepted, accepted * loss))
        for coverage, risk in curve_points(confidence, loss, row.groups, GRID):
            curves.append(
                row.named(place, cell)
                | {"score": settings.score, "coverage": number(coverage), "n": str(len(loss))}
                | {"risk": number(risk.value), "low": number(risk.low), "high": number(risk.high)}
                | {"cell": cell.fingerprint}
            )
    levels = {level: _joint(row, parts, settings) for level, parts in sums.items()}
    return RowDeferral(row, limit, tuple(cells), levels, curves)


def _joint(
    row: RowCells,
    parts: Sequence[tuple[Float64Array, Float64Array]],
    settings: Selective,
) -> dict[str, Estimate]:
    """Return the numbers of a severity, mean over its cells, image by image."""
    accepted: Float64Array = np.mean([part[0] for part in parts], axis=0)
    loss: Float64Array = np.mean([part[1] for part in parts], axis=0)
    together = loss + (1 - accepted) * settings.reader_error
    shares = (
        with_bounds(float(terms.mean()), share_interval(terms, row.groups))
        for terms in (accepted, together)
    )
    coverage, system = shares
    risk = selective_risk(loss, accepted, row.groups)
    return {"coverage": coverage, "selective_risk": risk, "system_error": system}


def _lines(found: Sequence[RowDeferral], settings: Selective) -> Iterator[dict[str, str]]:
    for one in found:
        for place, cell, numbers in one.cells:
            line = one.row.named(place, cell) | {
                "score": settings.score,
                "threshold": number(one.limit.threshold),
                "validation_coverage": number(one.limit.coverage),
                "validation_risk": number(one.limit.risk),
                "reader_error": number(settings.reader_error),
                "n": str(len(one.row.matrix.data)),
                "cell": cell.fingerprint,
            }
            for name in NUMBERS:
                estimate = numbers[name]
                line[name] = number(estimate.value)
                if name in BOUNDED:
                    line[f"{name}_low"] = number(estimate.low)
                    line[f"{name}_high"] = number(estimate.high)
            yield line


def _html(found: Sequence[RowDeferral], left_out: Sequence[str], settings: Selective) -> str:
    set_by = (
        f"{100 * settings.coverage:g} % of them are accepted"
        if settings.risk is None
        else f"the accepted of them err on {100 * settings.risk:g} %"
    )
    about = (
        f"An image is accepted where the model is sure enough ({escape(settings.score)}), else a "
        f"person reads it, who errs on {100 * settings.reader_error:g} %. The limit is set on "
        f"clean validation images so that {set_by}, and kept. AUGRC: mean risk of an error that "
        f"passes undetected, over all limits. In brackets: 95 % intervals."
    )
    of_matrix = partial(_of_matrix, settings=settings)
    return part_of_page("Deferral", about, found, left_out, of_matrix)


def _of_matrix(matrix: Matrix, found: Sequence[RowDeferral], settings: Selective) -> str:
    """Write findings, chart and table of one matrix."""
    head = (
        "model", "severity", "accepted, %", "error of the accepted, %", "model and reader, %",
        "AUGRC, %", "AUROC of failure, %",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for one in found:
        name = one.row.row.label
        promised = (f"{100 * one.limit.coverage:.1f}", f"{100 * one.limit.risk:.1f}")
        rows.append((name, "validation", *promised, "", "", ""))
        for level, numbers in one.levels.items():
            own = [cell for place, _, cell in one.cells if place.severity == level]
            shown = [
                with_range(numbers[key]) for key in ("coverage", "selective_risk", "system_error")
            ]
            rows.append(
                (
                    "",
                    str(level or "clean"),
                    *shown,
                    _mean(own, "augrc"),
                    _mean(own, "failure_auroc"),
                )
            )
    chart = panels_svg(_panels(found), f"deferral {table_name(matrix)} {settings.score}")
    return (
        f"<h3>{escape(table_name(matrix))}</h3>{''.join(map(_finding, found))}"
        f'<div class="curves" style="--panels:3">{chart}</div>{plain_table(head, rows, tight=True)}'
        f"{''.join(_risk_curves(one) for one in found[:MOST_CURVES])}"
    )


def _risk_curves(one: RowDeferral) -> str:
    """Draw risk over coverage, corruption by corruption."""
    drawn = panels_svg(risk_panels(one), f"risk over coverage {one.row.title}")
    return details(
        f"Risk over coverage, {one.row.title}: a line a severity, paler ones milder, with 95 % "
        f"intervals",
        f'<div class="curves" style="--panels:4">{drawn}</div>',
    )


def risk_panels(one: RowDeferral) -> list[Panel]:
    """Return a panel a corruption, with a line a severity, and clean, and its band."""
    clean = [row for row in one.curves if row["severity"] == "0"]
    corrupted = [row for row in one.curves if row["severity"] != "0"]
    columns = dict.fromkeys(row["corruption"] for row in corrupted) or {"clean": None}
    hardest = max(int(row["severity"]) for row in one.curves)
    panels = []
    for column in columns:
        rows = [*clean, *(row for row in corrupted if row["corruption"] == column)]
        cells: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row in rows:
            cells.setdefault((row["severity"], row["seed"]), []).append(row)
        lines = [_risk_line(rows, int(level), hardest) for (level, _), rows in cells.items()]
        panels.append(Panel(column, lines, "accepted, %", "error of the accepted, %"))
    return panels


def _risk_line(rows: Sequence[dict[str, str]], level: int, hardest: int) -> Line:
    known = [row for row in rows if row["risk"]]
    bounded = all(row["low"] and row["high"] for row in known)
    x, y, low, high = (
        [100 * float(row[name] or "nan") for row in known]
        for name in ("coverage", "risk", "low", "high")
    )
    faint = 1 - level / max(hardest, 1)
    bands = (low, high) if bounded else ([], [])
    return Line("", 0, x, y, bands[0], bands[1], faint=faint, marked=False)


def _mean(cells: Sequence[dict[str, Estimate]], name: str) -> str:
    values = [cell[name].value for cell in cells]
    known = [value for value in values if value is not None]
    return f"{100 * float(np.mean(known)):.1f}" if len(known) == len(values) else "–"


def _finding(one: RowDeferral) -> str:
    """Say where the promise of validation does not hold."""
    name, promised = escape(one.row.title), f"{100 * one.limit.risk:.1f} %"
    total = counted(len(one.cells), "cell")
    if not one.broken:
        return (
            f"<p>{name}: in none of {total} do the accepted err beyond chance more than the "
            f"{promised} that validation promised.</p>"
        )
    mildest = min(one.broken, key=lambda place: place.severity)
    where = f"{mildest.corruption} s{mildest.severity}" if mildest.severity else "clean images"
    return (
        f'<p class="note"><strong>{name}: in {len(one.broken)} of {total} the accepted err more '
        f"than the {promised} that validation promised</strong>, from {escape(where)} on.</p>"
    )


def _panels(found: Sequence[RowDeferral]) -> list[Panel]:
    shown = found[:MOST_DRAWN]
    titles = {
        "coverage": "accepted, %",
        "selective_risk": "error of the accepted, %",
        "system_error": "model and reader, %",
    }
    return [
        Panel(title, [_line(one, style, name) for style, one in enumerate(shown)])
        for name, title in titles.items()
    ]


def _line(one: RowDeferral, style: int, name: str) -> Line:
    known = {level: e[name] for level, e in one.levels.items() if e[name].value is not None}
    value, low, high = (
        [100 * float(getattr(e, end) or 0.0) for e in known.values()]
        for end in ("value", "low", "high")
    )
    return Line(one.row.row.label, style, list(known), value, low, high)
