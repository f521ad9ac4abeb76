"""What a page shows of retrieval alone: recall relative to clean images, and to texts as given."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from medrobust.base.csv_text import csv_bytes, number
from medrobust.base.wording import agreeing, counted, part_of
from medrobust.metrics.aggregates import bounded_interval
from medrobust.metrics.estimates import Estimate, with_bounds
from medrobust.reporting.markup import details, plain_table
from medrobust.tasks.base import Cell, Section, Table, deciding
from medrobust.tasks.text_sections import cut_texts_note
from medrobust.types import Float64Array

from .scores import RECALLS, SIDES, ranked, text_groups

CORRUPTED = "text_corruption"
"""Key of a head whose texts are corrupted: how."""

LARGE = 0.25
"""Share of all reports that one unit may hold before the page says so."""

FILE = "relative_recall.csv"

NUMBERS = ("recall", "recall_against", "relative_drop", "low", "high")

COLUMNS = ("dataset", "split", "suite", "label", "side", "at", "severity", "against", *NUMBERS)

CLEAN, GIVEN = "clean images", "texts as given"


def sections(matrix: Table) -> Sequence[Section]:
    """Return the table of relative drops in recall, which reports are shared, and which cut."""
    lines = list(_lines(matrix))
    cell = next(
        (cells[0] for row in range(len(matrix.rows)) if (cells := matrix.cells_at(row, 0))), None
    )
    notes = "" if cell is None else _shared_note(cell) + _joined_note(cell)
    note = notes + cut_texts_note(matrix)
    if not lines and not note:
        return ()
    title = "Recall relative to clean images, and to texts as given"
    table = details(title, _table(lines)) if lines else ""
    files = {FILE: csv_bytes([_row(matrix, line) for line in lines], COLUMNS)} if lines else {}
    rows = dict.fromkeys(files, "a model, side, severity and number of answers")
    empty = {FILE: dict.fromkeys(NUMBERS[2:], "no query finds anything before")}
    section = Section(
        "Relative recall", order=10, html=table + note, files=files, rows=rows, empty=empty
    )
    return (section,)


def _shared_note(cell: Cell) -> str:
    """Say how many images have a report that another one has, too; nothing where none has."""
    images, texts = cell.data.target.pairs.T
    read = np.unique(cell.data.target.values, return_inverse=True)[1][texts]
    reads = np.unique(np.column_stack([images, read]), axis=0)
    shared = len(np.unique(reads[np.bincount(reads[:, 1])[reads[:, 1]] > 1, 0]))
    if not shared:
        return ""
    said = f"{part_of(shared, len(cell.data), 'image')} {agreeing(shared, 'has')}"
    return f'<p class="small">{said} a report that reads as that of another image.</p>'


def _joined_note(cell: Cell) -> str:
    """Say where shared reports make many patients one unit; nothing where they make none large."""
    groups = text_groups(cell)
    if groups is None or cell.patients is None:
        return ""
    units = np.bincount(groups)
    held = int(units.max())
    images, texts = cell.data.target.pairs.T
    patients = np.unique(cell.patients[images[groups[texts] == units.argmax()]])
    if len(patients) == 1 or held <= LARGE * len(groups):
        return ""
    return (
        f'<p class="small">Reports that they share make {counted(len(patients), "patient")}, with '
        f"{part_of(held, len(groups), 'report')}, one unit, so that intervals over reports are "
        f"wide: dataset.study_column with task.relevance=pair keeps reports of different "
        f"studies apart.</p>"
    )


def _row(matrix: Table, line: dict[str, Any]) -> dict[str, str]:
    """Return a line of the file, every value as text."""
    place = {"dataset": matrix.table.dataset, "split": matrix.table.split}
    texts = {key: number(value) if key in NUMBERS else str(value) for key, value in line.items()}
    return {**place, "suite": matrix.table.suite, **texts}


def _lines(matrix: Table) -> Iterator[dict[str, Any]]:
    """Compare each severity with clean images, and corrupted texts with those as given."""
    clean = {row: cells for row in range(len(matrix.rows)) if (cells := matrix.cells_at(row, 0))}
    for row, before in clean.items():
        label = matrix.rows[row].label
        for severity in matrix.severities:
            cells = matrix.cells_at(row, severity)
            if cells:
                yield from _compared(label, severity, CLEAN, before, cells)
        given = _as_given(matrix, clean, row)
        if given is not None:
            yield from _compared(label, 0, GIVEN, given, before)


def _as_given(matrix: Table, clean: dict[int, Sequence[Cell]], row: int) -> Sequence[Cell] | None:
    """Find the row of the same model with texts as given; None where texts are."""
    if CORRUPTED not in clean[row][0].head:
        return None
    wanted = _without(clean[row][0].head), _model(matrix, row)
    for other, cells in clean.items():
        head = cells[0].head
        if CORRUPTED not in head and (_without(head), _model(matrix, other)) == wanted:
            return cells
    return None


def _without(head: Any) -> dict[str, Any]:
    return {key: value for key, value in deciding(head).items() if key != CORRUPTED}


def _model(matrix: Table, row: int) -> tuple[str, str]:
    return matrix.rows[row].model, matrix.rows[row].adapter


def _compared(
    label: str, severity: int, against: str, before: Sequence[Cell], after: Sequence[Cell]
) -> Iterator[dict[str, Any]]:
    sides = [ranked(cell) for cell in (before[0], *after)]
    for side in SIDES:
        patients = sides[0][side].patients
        for cut in RECALLS:
            hits = [(~one[side].missed(cut)).astype(np.float64) for one in sides]
            now: Float64Array = np.mean(hits[1:], axis=0)
            found = relative_drop(hits[0], now, patients)
            yield {
                "label": label,
                "side": side,
                "at": cut,
                "severity": severity,
                "against": against,
                "recall": float(now.mean()),
                "recall_against": float(hits[0].mean()),
                "relative_drop": found.value,
                "low": found.low,
                "high": found.high,
            }


def relative_drop(before: Float64Array, after: Float64Array, groups: Any = None) -> Estimate:
    """Return 1 - R_after / R_before of the same queries, with its interval by linearisation.

    Where no query loses or gains anything, or all lose alike, as many may differ as none has seen.

    Args:
        before: float64 (Q,), 1 where something right is among the first.
        after: Likewise, or the mean over conditions.
        groups: int64 (Q,) from 0, patients; None where each query stands alone.

    Returns:
        No value where nothing was found before.

    Example:
        >>> found = relative_drop(np.array([1.0, 1, 1, 0] * 25), np.array([1.0, 0, 0, 0] * 25))
        >>> round(found.value, 3), round(found.low, 1), round(found.high, 1)
        (0.667, 0.6, 0.8)
    """
    whole = float(before.mean())
    if whole == 0:
        return Estimate(None)
    ratio = float(after.mean()) / whole
    influence = (after - ratio * before) / whole
    limits = 0.0, float("inf")
    low, high = bounded_interval(influence, groups, limits=limits, most=1 / whole, value=ratio)
    return with_bounds(1 - ratio, (1 - high, 1 - low))


def _table(lines: Sequence[dict[str, Any]]) -> str:
    head = ("model", "sought", "at", "images", "against", "recall, %", "relative drop, %")
    rows = [
        (
            line["label"],
            SIDES[line["side"]][2],
            str(line["at"]),
            f"severity {line['severity']}" if line["severity"] else "clean",
            line["against"],
            f"{100 * line['recall']:.1f} of {100 * line['recall_against']:.1f}",
            _percent(line),
        )
        for line in lines
    ]
    return plain_table(head, rows, tight=True)


def _percent(line: dict[str, Any]) -> str:
    if line["relative_drop"] is None:
        return "–"
    low, high = (100 * line[end] for end in ("low", "high"))
    return f"{100 * line['relative_drop']:.1f} ({low:.1f} to {high:.1f})"
