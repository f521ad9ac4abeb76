"""Conformal sets: answers that hold the right one at a stated rate, and where that breaks.

Quantiles are fitted on clean validation images. Corrupted images are not exchangeable with these:
every cell's coverage stands beside the band in which it would lie if they were.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import numpy as np

from medrobust.base.csv_text import Why
from medrobust.base.wording import agreeing, counted, part_of
from medrobust.metrics import Estimate
from medrobust.metrics.conformal import fewest
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.intervals import share_interval
from medrobust.readings.cells.answer_sets import CellSets, Conformal, RowSets, sets_of
from medrobust.readings.cells.pages import part_of_page
from medrobust.readings.cells.rows import (
    CELL_COLUMNS,
    MULTI_LABEL,
    RowCells,
    rows_with_logits,
)
from medrobust.reporting.figures import place as table_name
from medrobust.reporting.figures import with_range
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.panels import Line, Panel, panels_svg
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section

COLUMNS = (
    *CELL_COLUMNS, "method", "procedure", "alpha", "quantile", "calibration_images", "coverage",
    "coverage_low", "coverage_high", "band_low", "band_high", "verdict", "size", "singletons",
    "empty", "class_gap", "least_class_coverage", "least_coverage_by_size", "effective_size", "n",
    "cell",
)  # fmt: skip
NO_QUANTILE = "each class, or each image, has a quantile of its own"
ONE_CLASS = "images of several labels have no one class"
EMPTY: Mapping[str, Why] = {
    "quantile": NO_QUANTILE,
    **dict.fromkeys(
        ("band_low", "band_high"),
        lambda row: (
            "patients are too few for a band"
            if row["procedure"] == "split"
            else "a band is known for one quantile of all images alone"
        ),
    ),
    **dict.fromkeys(("class_gap", "least_class_coverage", "least_coverage_by_size"), ONE_CLASS),
    "effective_size": "validation images are not weighted",
}
"""Why numbers of a cell are empty."""

MOST_DRAWN = 7

SETTINGS = Conformal


def section(report: Report) -> Section | None:
    """Return coverage beside its band for every cell, where conformal sets were asked for."""
    settings = report.readings.get("conformal")
    if settings is None:
        return None
    rows = list(rows_with_logits(report.matrices))
    if not rows:
        return None
    refused = {id(row): _lacking(row, settings) for row in rows}
    left_out = [why for why in refused.values() if why is not None]
    found = [sets_of(row, settings) for row in rows if refused[id(row)] is None]
    left_out += [why for one in found for why in _partly(one, settings)]
    lines = [line for one in found for line in _lines(one, settings)]
    return Section(
        "Conformal sets",
        order=56,
        shows="coverage and size of sets",
        html=_html(found, left_out, settings),
        files={"conformal.csv": csv_bytes(lines, COLUMNS)} if found else {},
        empty={"conformal.csv": EMPTY},
        rows={"conformal.csv": "a cell and procedure"} if found else {},
        curves={"conformal.csv": [("severity", y, "procedure") for y in ("coverage", "size")]},
    )


def _lacking(row: RowCells, settings: Conformal) -> str | None:
    """Say why a row has no sets, or None where it has."""
    if row.lacking is not None:
        return row.lacking
    assert row.validation is not None
    count = len(row.validation.data)
    if count < fewest(settings.alpha):
        return (
            f"{row.title}: {counted(count, 'validation image')}, and alpha={settings.alpha:g} "
            f"needs {fewest(settings.alpha)}: every set would hold every answer"
        )
    return None


def _partly(one: RowSets, settings: Conformal) -> Iterator[str]:
    """Say which procedure or band a row lacks, or in which classes its sets hold every answer."""
    row = one.row
    assert row.validation is not None
    if without := [cell for cell in one.cells if cell.bandless]:
        yield (
            f"{row.title}: no band in {part_of(len(without), len(row.places), 'cell')}: images of "
            f"a patient are so alike that those of validation count as fewer than the "
            f"{fewest(settings.alpha)} that alpha={settings.alpha:g} needs, and nothing is said of "
            f"the promise there"
        )
    if row.kind == MULTI_LABEL:
        return
    counts = np.bincount(row.validation.data.labels, minlength=len(row.validation.data.class_names))
    few = [
        name
        for name, count in zip(row.validation.data.class_names, counts, strict=True)
        if count < fewest(settings.alpha)
    ]
    if settings.by_class and few:
        yield (
            f"{row.title}: by class, {', '.join(few)} {agreeing(len(few), 'is')} in every "
            f"set: fewer than {fewest(settings.alpha)} validation images"
        )
    if settings.weighted and row.matrix.measured.features(row.validation) is None:
        yield f"{row.title}: weighted sets need features (store.features=true)"


def _lines(one: RowSets, settings: Conformal) -> Iterator[dict[str, str]]:
    assert one.row.validation is not None
    for found in one.cells:
        line: dict[str, Any] = dict.fromkeys(COLUMNS, "") | one.row.named(found.place, found.cell)
        method = "" if found.procedure == "risk_control" else settings.method
        line |= {"method": method, "procedure": found.procedure, "alpha": number(settings.alpha)}
        line |= {"calibration_images": str(len(one.row.validation.data)), "verdict": found.verdict}
        value = found.coverage
        line |= {"coverage": number(value.value), "coverage_low": number(value.low)}
        line |= {"coverage_high": number(value.high)}
        if not np.isnan(found.band[0]):
            line |= {"band_low": number(found.band[0]), "band_high": number(found.band[1])}
        line |= {
            "size": number(float(found.sizes.mean())),
            "singletons": number(float((found.sizes == 1).mean())),
            "empty": number(float((found.sizes == 0).mean())),
        }
        yield line | found.more | {"n": str(len(found.covered)), "cell": found.cell.fingerprint}


def _html(found: Sequence[RowSets], left_out: Sequence[str], settings: Conformal) -> str:
    about = (
        f"Sets of answers ({escape(settings.method)}) that would hold the right one on "
        f"{100 * (1 - settings.alpha):g} % of images if these were exchangeable with clean "
        f"validation images, on which their quantile is fitted. The band is where coverage would "
        f"lie in 95 % of cells then. By class: one quantile a class. In brackets: 95 % intervals."
    )
    of_matrix = partial(_of_matrix, settings=settings)
    return part_of_page("Conformal sets", about, found, left_out, of_matrix)


def _of_matrix(matrix: Matrix, found: Sequence[RowSets], settings: Conformal) -> str:
    head = ("model", "sets", "severity", "coverage, %", "band, %", "mean size", "one answer, %",
            "cells below")  # fmt: skip
    rows = []
    for one in found:
        for procedure in one.procedures:
            cells = one.of(procedure)
            for level in dict.fromkeys(cell.place.severity for cell in cells):
                own = [cell for cell in cells if cell.place.severity == level]
                first = level == 0
                rows.append((
                    one.row.row.label if first and procedure == one.procedures[0] else "",
                    procedure.replace("_", " ") if first else "",
                    str(level or "clean"), with_range(_joint(one.row, own)), _band_text(own),
                    f"{np.mean([cell.sizes.mean() for cell in own]):.2f}",
                    f"{100 * np.mean([(cell.sizes == 1).mean() for cell in own]):.1f}",
                    f"{sum(cell.verdict == 'below' for cell in own)} of {len(own)}",
                ))  # fmt: skip
    panels = _panels(found, settings)
    chart = panels_svg(panels, f"conformal {table_name(matrix)}")
    return (
        f"<h3>{escape(table_name(matrix))}</h3>{''.join(_finding(one, settings) for one in found)}"
        f'<div class="curves" style="--panels:{len(panels)}">{chart}</div>'
        f"{plain_table(head, rows, tight=True)}"
    )


def _joint(row: RowCells, cells: Sequence[CellSets]) -> Estimate:
    mean = np.mean([cell.covered for cell in cells], axis=0)
    return with_bounds(float(mean.mean()), share_interval(mean, row.groups))


def _band_text(cells: Sequence[CellSets]) -> str:
    if cells[0].bandless:
        return "no band"
    low, high = cells[0].band
    return "" if np.isnan(low) else f"{100 * low:.1f}–{100 * high:.1f}"


def _finding(one: RowSets, settings: Conformal) -> str:
    """Say where the promise is broken."""
    cells = [cell for cell in one.of(one.procedures[0]) if not cell.bandless]
    if not cells:
        return f"<p>{escape(one.row.title)}: too few patients to say whether the promise holds.</p>"
    below = [cell for cell in cells if cell.verdict == "below"]
    name, total = escape(one.row.title), counted(len(cells), "cell")
    if not below:
        return f"<p>{name}: coverage is below what is promised in none of {total}.</p>"
    worst = min(below, key=lambda cell: cell.coverage.value or 0.0)
    where = (
        f"{worst.place.corruption} s{worst.place.severity}"
        if worst.place.severity
        else "clean images"
    )
    return (
        f'<p class="note"><strong>{name}: the promise of {100 * (1 - settings.alpha):g} % is '
        f"broken in {len(below)} of {total}</strong>; at worst "
        f"{100 * (worst.coverage.value or 0):.1f} % of sets hold the right answer "
        f"({escape(where)}).</p>"
    )


def _panels(found: Sequence[RowSets], settings: Conformal) -> list[Panel]:
    shown = found[:MOST_DRAWN]
    coverage = [_line(one, style, "coverage") for style, one in enumerate(shown)]
    sizes = [_line(one, style, "size") for style, one in enumerate(shown)]
    return [
        Panel("coverage, %", coverage, target=100 * (1 - settings.alpha)),
        Panel("mean size of a set", sizes),
    ]


def _line(one: RowSets, style: int, what: str) -> Line:
    cells = one.of(one.procedures[0])
    levels = list(dict.fromkeys(cell.place.severity for cell in cells))
    parts = [[cell for cell in cells if cell.place.severity == level] for level in levels]
    if what == "size":
        sizes = [float(np.mean([cell.sizes.mean() for cell in own])) for own in parts]
        return Line(one.row.row.label, style, levels, sizes)
    joint = [_joint(one.row, own) for own in parts]
    value, low, high = (
        [100 * float(getattr(e, end) or 0.0) for e in joint] for end in ("value", "low", "high")
    )
    return Line(one.row.row.label, style, levels, value, low, high)
