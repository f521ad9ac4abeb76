"""Adaptations compared over draws of shots: means over draws, intervals over draws and images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from math import inf
from typing import Any

import numpy as np

from medrobust.base.fingerprints import fingerprint
from medrobust.evaluation.store import StoredCell
from medrobust.metrics.aggregates import (
    error_influence,
    error_interval,
    mce_interval,
    ratio_influence,
)
from medrobust.metrics.draws import hierarchical_interval
from medrobust.metrics.intervals import Bounds, mean_interval, wilson
from medrobust.reporting.aggregates import Groups, Place
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.reference import as_published, is_probe, without_adapter
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, in_markdown, number
from medrobust.reporting.uncertainty import mean_error
from medrobust.tasks.base import Section, Terms, text_tables
from medrobust.types import Float64Array

COLUMNS = (
    "dataset",
    "split",
    "suite",
    "severities",
    "model",
    "adaptation",
    "draws",
    "metric",
    "of",
    "value",
    "low",
    "high",
    "gain",
    "gain_low",
    "gain_high",
    "n",
    "reference",
)
METRICS = ("clean error", "mean corruption error", "mCE")
LIMITS: Mapping[str, Bounds] = {
    "clean error": (0, 1),
    "mean corruption error": (0, 1),
    "mCE": (0, inf),
}
GAINS = {"clean error": "clean gain", "mean corruption error": "corrupted gain"}
"""Metric -> head of the column that says what was gained."""


PUBLISHED = "as published"
"""Label of the row that gains are counted from."""


@dataclass(frozen=True, slots=True)
class _Draw:
    """One draw on one table: its numbers, and how often it errs on each image.

    Attributes:
        numbers: Metric -> value, those that every cell is there for.
        clean: What each unit adds.
        columns: float64 (C, U) or (C, U, L), mean over severities.
        reference: As `columns`, of the reference; None where a cell of it is missing.
    """

    numbers: Mapping[str, float]
    clean: Terms
    columns: Float64Array | None
    reference: Float64Array | None


@dataclass(frozen=True, slots=True)
class _Line:
    """One adaptation on one table.

    Attributes:
        model: Name of the base model.
        label: Of the recipe, or `PUBLISHED`.
        prompts: Name of the prompt set; empty for probes.
        variant: Fingerprint of the row; of draws of one recipe, of what they share.
        cell: A clean cell of it.
        draws: Draw (None: no draw of several) -> its numbers.
    """

    model: str
    label: str
    prompts: str
    variant: str
    cell: StoredCell
    draws: dict[Any, _Draw]

    @property
    def adapted(self) -> bool:
        """Whether it was tuned."""
        return bool(self.cell.record.get("adaptation"))

    @property
    def published(self) -> bool:
        """Whether gains are counted from it."""
        return self.label == PUBLISHED


def draw_rows(matrices: Sequence[Matrix], untuned: Sequence[Matrix] = ()) -> list[dict[str, str]]:
    """Return one row a table, adaptation and metric; none where nothing was adapted.

    A gain is the model as published minus the adapted one, so that more is better; it is paired,
    both saw the same images and corruptions. Nothing is averaged over a missing cell.

    Args:
        matrices: Tables of the report.
        untuned: The same tables of models as published that have no row in these.
    """
    rows: list[dict[str, str]] = []
    for matrix in matrices:
        if matrix.shown not in matrix.ratios:
            continue
        lines = _lines(matrix)
        if any(line.adapted for line in lines):
            rows += _rows(matrix, lines, _added(matrix, untuned, lines))
    return rows


def _added(matrix: Matrix, untuned: Sequence[Matrix], lines: Sequence[_Line]) -> list[_Line]:
    """Return the models as published of that table, those that it has itself left out."""
    there = {(line.model, line.variant) for line in lines if line.published}
    return [
        line
        for other in untuned
        if other.table == matrix.table and other.data.fingerprint == matrix.data.fingerprint
        for line in _lines(other)
        if (line.model, line.variant) not in there
    ]


def section(report: Report) -> Section | None:
    """Return page and tables of adaptations, or None where nothing was adapted."""
    rows = draw_rows(report.matrices, report.untuned)
    if not rows:
        return None
    files = {"adaptation.csv": csv_bytes(rows, COLUMNS), "adaptation.md": draw_text(rows).encode()}
    return Section(
        "Adaptations and their gains",
        order=40,
        html=draw_html(rows),
        files=files,
        tables=text_tables(draw_tables(rows), EXPLAINED),
    )


EXPLAINED = (
    "In brackets: 95 % intervals over draws of shots (Student's t) and test images together "
    "(one draw: over images alone). Gains are points that the adaptation takes off the error "
    "of the model as published, on the same images; on a data set that was not tuned on, a "
    "gain below zero is forgetting."
)


def draw_tables(
    rows: Sequence[Mapping[str, str]],
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Lay the rows out as tables, in percent: title, heads and lines of each."""
    tables: dict[tuple[str, ...], dict[tuple[str, str], dict[str, Mapping[str, str]]]] = {}
    for row in rows:
        place = tuple(row[name] for name in ("dataset", "split", "suite", "severities", "of"))
        line = tables.setdefault(place, {}).setdefault((row["model"], row["adaptation"]), {})
        line[row["metric"]] = row
    made = []
    for (dataset, split, suite, severities, of), lines in tables.items():
        shown = [name for name in METRICS if any(name in line for line in lines.values())]
        gains = [name for name in GAINS if name in shown]
        heads = ["model", "adaptation", "draws", *shown, *(GAINS[name] for name in gains)]
        every = [row for line in lines.values() for row in line.values()]
        named = next((row["reference"] for row in every if row["reference"]), "")
        reference = f"; mCE: {named} = 100" if named else ""
        over = f", severities {severities}" if severities else ""
        title = (
            f"{dataset}/{split} · {suite}{over} · {of.replace('_', ' ')}, % · n = {every[0]['n']}"
            f"{reference}"
        )
        texts = []
        for (model, label), line in lines.items():
            draws = next(iter(line.values()))["draws"]
            cells = [_cell(line.get(name)) for name in shown]
            cells += [_cell(line.get(name), "gain_", sign="+") for name in gains]
            texts.append([model, label, draws, *cells])
        made.append((title, heads, texts))
    return made


def draw_text(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay the rows out as tables of Markdown, in percent."""
    parts = []
    for title, heads, lines in draw_tables(rows):
        parts += [title, "", "| " + " | ".join(heads) + " |", "|--" * len(heads) + "|"]
        for model, label, *cells in lines:
            named = [in_markdown(model), in_markdown(label), *cells]
            parts.append("| " + " | ".join(named) + " |")
        parts.append("")
    return "\n".join([*parts, EXPLAINED]) + "\n"


def draw_html(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay the rows out as a section of the page."""
    tables = "".join(
        f"<p>{escape(title)}</p>{plain_table(heads, lines, tight=True)}"
        for title, heads, lines in draw_tables(rows)
    )
    return (
        '\n<section aria-labelledby="adaptation"><h2 id="adaptation">Adaptations and their gains'
        f'</h2>{tables}<p class="soft small">{escape(EXPLAINED)}</p></section>'
    )


def _cell(row: Mapping[str, str] | None, of: str = "", sign: str = "") -> str:
    value = "" if row is None else row[of.rstrip("_") or "value"]
    if row is None or not value:
        return "–"
    text = f"{100 * float(value):{sign}.1f}"
    if row[f"{of}low"]:
        text += f" [{100 * float(row[f'{of}low']):.1f}, {100 * float(row[f'{of}high']):.1f}]"
    return text


def _lines(matrix: Matrix) -> list[_Line]:
    """Join the rows of a matrix that are draws of one recipe under one prompt set."""
    found: dict[tuple[str, ...], _Line] = {}
    for index, row in enumerate(matrix.rows):
        cell = matrix.cells.get(Place.clean(index))
        if cell is None:
            continue
        made = cell.record.get("adaptation") or {}
        label = str(made.get("label") or (row.adapter if row.adapter != "none" else PUBLISHED))
        head = cell.record["head"]
        prompts = str(head.get("name", ""))
        draw = made.get("draw")
        shared = fingerprint([without_adapter(cell), "" if is_probe(cell) else head])
        key = (row.model, label, prompts, row.variant if draw is None else shared)
        line = found.setdefault(key, _Line(*key, cell=cell, draws={}))
        line.draws[draw] = _draw(matrix, index)
    return list(found.values())


def _told_apart(line: _Line, lines: Sequence[_Line]) -> str:
    """Return the label of a line, with no more than tells it from the others."""
    same = [o for o in lines if (o.model, o.label) == (line.model, line.label)]
    if len(same) == 1:
        return line.label
    twins = [o for o in same if o.prompts == line.prompts]
    name = line.prompts if len(twins) == 1 else f"{line.prompts} {line.variant[:6]}"
    return f"{line.label} [{name.strip()}]"


def _base(line: _Line, lines: Sequence[_Line], added: Sequence[_Line]) -> _Draw | None:
    """Return the model as published that a line is compared with, the report's own before others.

    None where there is none, or several between which nothing decides.
    """
    if line.published:
        return None
    for known in (lines, added):
        published = {o.cell.fingerprint: o for o in known if o.published}
        same = as_published(line.cell, [o.cell for o in published.values()])
        if same:
            return published[same[0].fingerprint].draws[None] if len(same) == 1 else None
    return None


def _draw(matrix: Matrix, row: int) -> _Draw:
    names, severities = matrix.table.corruptions, matrix.table.severities

    def columns(groups: Groups) -> Float64Array | None:
        keys = [[Place(row, name, severity) for severity in severities] for name in names]
        if not keys or not all(key in groups for column in keys for key in column):
            return None
        return np.stack(
            [_terms(matrix, [c for k in column for c in groups[k]]).values for column in keys]
        )

    return _Draw(
        numbers=_numbers(matrix, row),
        clean=_terms(matrix, matrix.groups[Place.clean(row)]),
        columns=columns(matrix.groups),
        reference=columns(matrix.reference_groups),
    )


def _terms(matrix: Matrix, cells: Sequence[StoredCell]) -> Terms:
    """Return how much each unit adds to the error shown, on average over cells."""
    found = matrix.measured.mean_terms(cells, matrix.shown)
    assert found is not None  # it is a number of every cell of the matrix
    return found


def _numbers(matrix: Matrix, row: int) -> dict[str, float]:
    of = matrix.shown
    numbers = {"clean error": float(matrix.clean[of][row])}
    values = matrix.values[of][row]  # (corruptions, severities)
    if values.size:
        numbers["mean corruption error"] = float(values.mean(axis=1).mean())
        reference = matrix.reference_values[of][row].sum(axis=1)
        if not np.isnan(reference).any() and (reference > 0).all():
            numbers["mCE"] = float((values.sum(axis=1) / reference).mean())
    return {name: value for name, value in numbers.items() if not np.isnan(value)}


def _rows(matrix: Matrix, own: Sequence[_Line], added: Sequence[_Line]) -> list[dict[str, str]]:
    rows = []
    lines = [*added, *own]
    for line in lines:
        base = _base(line, own, added)
        over_images = _OverImages(matrix, list(line.draws.values()), base)
        for metric in METRICS:
            numbers = [draw.numbers for draw in line.draws.values()]
            values = [each[metric] for each in numbers if metric in each]
            if not values or len(values) < len(line.draws):
                continue
            paired = base is not None and metric in base.numbers
            gains = [base.numbers[metric] - value for value in values] if base and paired else []
            rows.append(
                {
                    "dataset": matrix.table.dataset,
                    "split": matrix.table.split,
                    "suite": matrix.table.suite,
                    "severities": ",".join(map(str, matrix.table.severities)),
                    "model": line.model,
                    "adaptation": _told_apart(line, lines),
                    "draws": "" if None in line.draws else str(len(values)),
                    "metric": metric,
                    "of": matrix.shown,
                    **_bounds("", values, over_images.value(metric), LIMITS[metric]),
                    **_bounds("gain", gains, over_images.gain(metric), (-inf, inf)),
                    "n": str(matrix.units(matrix.shown)),
                    "reference": (matrix.reference or "") if metric == "mCE" else "",
                }
            )
    return rows


class _OverImages:
    """Intervals over images of the mean over draws, draws taken as given."""

    def __init__(self, matrix: Matrix, draws: Sequence[_Draw], base: _Draw | None) -> None:
        first = draws[0].clean
        self.strata = first.strata
        self.groups = matrix.measured.groups(matrix.data, first.unit)
        self.base = base
        columns = [draw.columns for draw in draws if draw.columns is not None]
        self.mean = _Draw(
            numbers={},
            clean=replace(first, values=np.mean([draw.clean.values for draw in draws], axis=0)),
            columns=np.mean(columns, axis=0) if len(columns) == len(draws) else None,
            reference=draws[0].reference,
        )

    def value(self, metric: str) -> Bounds | None:
        """Return the interval of a metric; None where it is 1 by definition."""
        if metric == "mCE":
            if self.mean.columns is None or self.mean.reference is None:
                return None
            own, reference = self.mean.columns, self.mean.reference
            if np.array_equal(own, reference):
                if self.base is None:
                    return None
                unseen = self._unseen() * float((1 / self._ratio(reference)[0]).mean())
                return 1 - unseen, 1 + unseen
            return mce_interval(*self._ratio(own), *self._ratio(reference), groups=self.groups)
        wrong = self._wrong(self.mean, metric)
        return None if wrong is None else error_interval(wrong, self.strata, self.groups)

    def gain(self, metric: str) -> Bounds | None:
        """Return the interval of base minus adapted, image by image; None without a base."""
        influences = []
        for draw in (self.base, self.mean):
            if draw is None:
                return None
            if metric == "mCE":
                if draw.columns is None or draw.reference is None:
                    return None
                ratio = (*self._ratio(draw.columns), *self._ratio(draw.reference))
                influences.append((float((ratio[0] / ratio[2]).mean()), ratio_influence(*ratio)))
                continue
            wrong = self._wrong(draw, metric)
            if wrong is None:
                return None
            value = mean_error(wrong, self.strata)
            influences.append((value, error_influence(wrong, self.strata)))
        (first, one), (second, other) = influences
        if np.array_equal(one, other):
            return -self._unseen(), self._unseen()
        return mean_interval(one - other, self.groups, value=first - second)

    def _unseen(self) -> float:
        """Return the share of answers that may change where none of these images' has."""
        images = len(self.mean.clean.values) if self.groups is None else len(np.unique(self.groups))
        return wilson(0.0, images)[1]

    def _wrong(self, draw: _Draw, metric: str) -> Float64Array | None:
        if metric == "clean error":
            return draw.clean.values
        return None if draw.columns is None else draw.columns.mean(axis=0)

    def _ratio(self, columns: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the errors of the columns, and their influence values."""
        values = np.array([mean_error(wrong, self.strata) for wrong in columns])
        return values, np.stack([error_influence(wrong, self.strata) for wrong in columns])


def _bounds(
    of: str, values: Sequence[float], images: Bounds | None, limits: Bounds
) -> dict[str, str]:
    """Return the columns of a value ("value", "low", "high"), or of a gain ("gain", ...)."""
    ends = (f"{of}_low", f"{of}_high") if of else ("low", "high")
    if not values or images is None:
        return {of or "value": number(values[0] if values else None)} | dict.fromkeys(ends, "")
    over = hierarchical_interval(values, images, limits=limits)
    return dict(zip((of or "value", *ends), map(number, over), strict=True))
