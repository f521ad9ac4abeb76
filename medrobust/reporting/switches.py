"""What lets a reader switch metric, severity and data set: a form, numbers and a short script.

Without JavaScript the page shows the usual metric, mean over severities, and no form.
"""

import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from medrobust.metrics import Metric

from .figures import shade, title
from .matrix import Matrix

SHADES = 64


def form(matrices: Sequence[Matrix]) -> str:
    """Return the form, hidden until the script is there."""
    offered = _offered(matrices).items()
    known = [(name, m.title) for name, m in offered if any(name in one.values for one in matrices)]
    metrics = [("", "as printed"), *known]
    levels = sorted({level for matrix in matrices for level in matrix.table.severities})
    severities = [("", "mean"), *((str(level), str(level)) for level in levels)]
    sets = [("", "all"), *((str(i), title(matrix)) for i, matrix in enumerate(matrices))]
    return (
        '<form id="switches" hidden aria-label="What the tables show">'
        + _select("metric", "Metric", metrics)
        + _select("severity", "Severity", severities)
        + _select("dataset", "Data set", sets)
        + "</form>"
    )


def _offered(matrices: Sequence[Matrix]) -> dict[str, Metric]:
    """Return the metrics that can be switched to, each once."""
    return {name: m.task.metrics[name] for m in matrices for name in m.task.offered}


def _select(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    choices = "".join(
        f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options
    )
    return (
        f'<label for="{name}">{label} <select id="{name}" name="{name}" autocomplete="off">'
        f"{choices}</select></label>"
    )


def script(matrices: Sequence[Matrix]) -> str:
    """Return the numbers as JSON and the script that shows them."""
    metrics = {
        name: {"title": m.title, "share": m.share, "higher": m.higher_is_better}
        for name, m in _offered(matrices).items()
    }
    data = {
        "metrics": metrics,
        "shades": [shade(step / (SHADES - 1)) for step in range(SHADES)],
        "matrices": [
            {
                "shown": matrix.shown,
                "severities": matrix.table.severities,
                "metrics": {
                    n: _numbers(matrix, n) for n in matrix.task.offered if n in matrix.values
                },
            }
            for matrix in matrices
        ],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    code = resources.files("medrobust.reporting").joinpath("page.js").read_text("utf-8")
    return f'<script type="application/json" id="cells">{text}</script>\n<script>{code}</script>'


def _numbers(matrix: Matrix, name: str) -> list[list[list[Any]]]:
    """Return row, column (clean first), then mean over severities and each of them."""
    rows = []
    for row in range(len(matrix.rows)):
        clean = (matrix.clean[name][row], matrix.clean_low[name][row], matrix.clean_high[name][row])
        columns = [[_entry(*clean)]]
        for c in range(len(matrix.table.corruptions)):
            found = matrix.estimate(name, row, "severity_mean", c)
            mean = matrix.severity_mean(name, row, c)
            entry = None if mean is None else _entry(mean, found.low, found.high)
            parts = (matrix.values[name], matrix.low[name], matrix.high[name])
            each = zip(*(part[row, c] for part in parts), strict=True)
            columns.append([entry, *(_entry(*one) for one in each)])
        rows.append(columns)
    return rows


def _entry(value: Any, low: Any, high: Any) -> list[float | None] | None:
    """Round to four digits: the exact numbers are in results.csv."""
    if np.isnan(value):
        return None
    ends = [None if end is None or np.isnan(end) else round(float(end), 4) for end in (low, high)]
    return [round(float(value), 4), *ends]
