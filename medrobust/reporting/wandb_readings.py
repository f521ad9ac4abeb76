"""What Weights & Biases shows of readings: a table a file, and the curves that a section names."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medrobust.tasks.base import Section

MOST_LINES = 20
"""In one chart."""


def of_section(section: Section) -> dict[str, Any]:
    """Return tables `reading/FILE` and charts `reading_curve/FILE/COLUMN`."""
    content: dict[str, Any] = {}
    for name, text in section.files.items():
        if name.endswith(".csv"):
            columns, *rows = list(csv.reader(io.StringIO(text.decode(), newline="")))
            stem = name.removesuffix(".csv")
            content[f"reading/{stem}"] = _table(columns, rows)
            named = [dict(zip(columns, row, strict=True)) for row in rows]
            for x, y, by in section.curves.get(name, ()):
                if (chart := _chart(section.title, named, x, y, by)) is not None:
                    content[f"reading_curve/{stem}/{y}"] = chart
    return content


def lines_of(
    rows: Sequence[Mapping[str, str]], x: str, y: str, by: str
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the mean of a column over the rows of each x, a line a model and value of `by`.

    Args:
        rows: Texts; those without a value are left out.
        x: Column across.
        y: Column up.
        by: Column that tells further lines apart; empty: none.

    Example:
        >>> rows = [{"label": "m", "x": "1", "y": v} for v in ("0.5", "1", "")]
        >>> lines_of(rows, "x", "y", "")
        {'m': ([1.0], [0.75])}
    """
    found: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        if row[x] and row[y]:
            key = ", ".join(part for part in (row["label"], by and f"{by} {row[by]}") if part)
            found.setdefault(key, {}).setdefault(float(row[x]), []).append(float(row[y]))
    return {
        key: (sorted(points), [float(np.mean(points[at])) for at in sorted(points)])
        for key, points in list(found.items())[:MOST_LINES]
    }


def _chart(title: str, rows: Sequence[Mapping[str, str]], x: str, y: str, by: str) -> Any:
    import wandb

    lines = lines_of(rows, x, y, by)
    if not lines:
        return None
    return wandb.plot.line_series(
        xs=[across for across, _ in lines.values()],
        ys=[up for _, up in lines.values()],
        keys=list(lines),
        title=f"{title}: {y} over {x}",
        xname=x,
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """Return the table of a reading's CSV; columns of numbers alone are numbers."""
    import wandb

    numeric = [all(_is_number(row[k]) for row in rows) for k in range(len(columns))]
    data = [
        [(float(value) if value else None) if number else value
         for value, number in zip(row, numeric, strict=True)]
        for row in rows
    ]  # fmt: skip
    return wandb.Table(columns=list(columns), data=data, allow_mixed_types=True)


def _is_number(text: str) -> bool:
    try:
        return not text or isinstance(float(text), float)
    except ValueError:
        return False
