"""Adaptations compared over draws of shots: each number a mean over draws with a t interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medrobust.metrics.draws import t_interval

from .matrix import Matrix
from .tables import csv_bytes, number

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


@dataclass(frozen=True, slots=True)
class _Line:
    """One adaptation on one table: its number for each draw."""

    model: str
    label: str
    draws: dict[Any, dict[str, float]]


def draw_rows(matrices: Sequence[Matrix]) -> list[dict[str, str]]:
    """Return one row a table, adaptation and metric; none where nothing was adapted.

    A gain is the model as published minus the adapted one, so that more is better; it is paired,
    both saw the same images and corruptions. Nothing is averaged over a missing cell.
    """
    rows: list[dict[str, str]] = []
    for matrix in matrices:
        lines = _lines(matrix)
        if any(line.draws.keys() - {None} for line in lines):
            rows += _rows(matrix, lines)
    return rows


def draw_files(matrices: Sequence[Matrix]) -> dict[str, bytes]:
    """Return `adaptation.csv` and `adaptation.md`, or nothing where nothing was adapted."""
    rows = draw_rows(matrices)
    if not rows:
        return {}
    return {"adaptation.csv": csv_bytes(rows, COLUMNS), "adaptation.md": draw_text(rows).encode()}


def draw_text(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay the rows out as tables of Markdown, in percent."""
    tables: dict[tuple[str, ...], dict[tuple[str, str], dict[str, Mapping[str, str]]]] = {}
    for row in rows:
        place = tuple(row[name] for name in ("dataset", "split", "suite", "severities", "of"))
        line = tables.setdefault(place, {}).setdefault((row["model"], row["adaptation"]), {})
        line[row["metric"]] = row
    parts = []
    for (dataset, split, suite, severities, of), lines in tables.items():
        shown = [name for name in METRICS if any(name in line for line in lines.values())]
        every = [row for line in lines.values() for row in line.values()]
        named = next((row["reference"] for row in every if row["reference"]), "")
        reference = f"; mCE: {named} = 100" if named else ""
        over = f", severities {severities}" if severities else ""
        parts += [
            f"{dataset}/{split} · {suite}{over} · {of.replace('_', ' ')}, % · n = {every[0]['n']}"
            f"{reference}",
            "",
            "| model | adaptation | draws | " + " | ".join(shown) + " |",
            "|--|--|--|" + "--|" * len(shown),
        ]
        for (model, label), line in lines.items():
            draws = next(iter(line.values()))["draws"]
            cells = [_cell(line.get(name)) for name in shown]
            parts.append(f"| {model} | {label} | {draws} | " + " | ".join(cells) + " |")
        parts.append("")
    parts.append(
        "In brackets: 95 % t interval over draws of shots. Gain (+): the model as published minus "
        "the adapted one, on the same images."
    )
    return "\n".join(parts) + "\n"


def _cell(row: Mapping[str, str] | None) -> str:
    if row is None or not row["value"]:
        return "–"
    text = f"{100 * float(row['value']):.1f}"
    if row["low"]:
        text += f" [{100 * float(row['low']):.1f}, {100 * float(row['high']):.1f}]"
    if row["gain"]:
        text += f" ({100 * float(row['gain']):+.1f})"
    return text


def _lines(matrix: Matrix) -> list[_Line]:
    """Join the rows of a matrix that are draws of one recipe."""
    found: dict[tuple[str, str], _Line] = {}
    for index, row in enumerate(matrix.rows):
        cell = matrix.cells.get((index, "clean", 0))
        if cell is None:
            continue
        made = cell.record.get("adaptation") or {}
        label = str(made.get("label") or (row.adapter if row.adapter != "none" else "as published"))
        line = found.setdefault((row.model, label), _Line(row.model, label, {}))
        line.draws[made.get("draw")] = _numbers(matrix, index)
    return list(found.values())


def _numbers(matrix: Matrix, row: int) -> dict[str, float]:
    of = _of(matrix)
    numbers = {"clean error": float(matrix.clean[of][row])}
    values = matrix.values[of][row]  # (corruptions, severities)
    if values.size:
        numbers["mean corruption error"] = float(values.mean(axis=1).mean())
        reference = matrix.reference_values[of][row].sum(axis=1)
        if not np.isnan(reference).any() and (reference > 0).all():
            numbers["mCE"] = float((values.sum(axis=1) / reference).mean())
    return {name: value for name, value in numbers.items() if not np.isnan(value)}


def _of(matrix: Matrix) -> str:
    return "balanced_error" if "balanced_error" in matrix.values else "error"


def _rows(matrix: Matrix, lines: Sequence[_Line]) -> list[dict[str, str]]:
    untouched = {line.model: line.draws[None] for line in lines if None in line.draws}
    rows = []
    for line in lines:
        base = untouched.get(line.model, {}) if None not in line.draws else {}
        for metric in METRICS:
            values = [numbers[metric] for numbers in line.draws.values() if metric in numbers]
            if not values or len(values) < len(line.draws):
                continue
            gains = [base[metric] - value for value in values] if metric in base else []
            rows.append(
                {
                    "dataset": matrix.table.dataset,
                    "split": matrix.table.split,
                    "suite": matrix.table.suite,
                    "severities": ",".join(map(str, matrix.table.severities)),
                    "model": line.model,
                    "adaptation": line.label,
                    "draws": "" if None in line.draws else str(len(values)),
                    "metric": metric,
                    "of": _of(matrix),
                    **_bounds("value", "low", "high", values),
                    **_bounds("gain", "gain_low", "gain_high", gains),
                    "n": str(len(matrix.data.labels)),
                    "reference": (matrix.reference or "") if metric == "mCE" else "",
                }
            )
    return rows


def _bounds(mean: str, low: str, high: str, values: Sequence[float]) -> dict[str, str]:
    over = t_interval(values)
    if over is None:
        return {mean: number(values[0] if values else None), low: "", high: ""}
    return dict(zip((mean, low, high), map(number, over), strict=True))
