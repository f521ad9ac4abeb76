"""What lets a reader switch metric, severity and data set: a form, numbers and a short script.

Without JavaScript the page shows the usual metric, mean over severities, and no form. A chosen
metric changes headings, tables, means, mCE, ranks and charts; a chosen severity the tables.
"""

import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

from medrobust.metrics import Estimate, Metric
from medrobust.metrics.estimates import DOUBTFUL

from .by_metric import at_severity, clean, mce, mean, mean_at, offered, severity_mean
from .drawing import STYLES
from .figures import drawn_rows, place, shade, title
from .figures import parts as parts_covered
from .matrix import Matrix
from .sections import averaged, caption

SHADES = 64


def form(matrices: Sequence[Matrix]) -> str:
    """Return the form, hidden until the script is there."""
    choices = _offered(matrices).items()
    known = [(name, m.title) for name, m in choices if any(name in one.values for one in matrices)]
    metrics = [("", "as printed"), *known]
    levels = sorted({level for matrix in matrices for level in matrix.table.severities})
    severities = [("", "mean"), *((str(level), str(level)) for level in levels)]
    places = [place(matrix) for matrix in matrices]
    names = places if len(set(places)) == len(places) else [title(matrix) for matrix in matrices]
    sets = [("", "all"), *((str(i), name) for i, name in enumerate(names))]
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
        "styles": STYLES,
        "matrices": [_matrix(matrix) for matrix in matrices],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    folder = resources.files("medrobust.reporting")
    code = "".join(folder.joinpath(name).read_text("utf-8") for name in ("charts.js", "page.js"))
    return f'<script type="application/json" id="cells">{text}</script>\n<script>{code}</script>'


def _matrix(matrix: Matrix) -> dict[str, Any]:
    return {
        "shown": matrix.shown,
        "severities": matrix.table.severities,
        "corruptions": matrix.table.corruptions,
        "labels": [matrix.rows[row].marked for row in range(len(matrix.rows))],
        "drawn": drawn_rows(matrix),
        "averaged": averaged(matrix),
        "metrics": {name: _metric(matrix, name) for name in offered(matrix)},
    }


def _metric(matrix: Matrix, name: str) -> dict[str, Any]:
    """Return the numbers of one metric, and the words that stand by them."""
    return {
        "heading": title(matrix, name),
        "caption": caption(matrix, name),
        "rows": [_row(matrix, name, row) for row in range(len(matrix.rows))],
    }


def _row(matrix: Matrix, of: str, row: int) -> list[list[Any]]:
    """Return clean, corruptions, mean and mCE: each over severities, then at each of them."""
    columns = [[_entry(clean(matrix, of, row))]]
    if not matrix.table.corruptions:
        return columns
    levels = range(len(matrix.table.severities))
    for c in range(len(matrix.table.corruptions)):
        each = [_entry(at_severity(matrix, of, row, c, s)) for s in levels]
        columns.append([_entry(severity_mean(matrix, of, row, c)), *each])
    covers = parts_covered(matrix, row, of)[-2:]
    means = [_entry(mean_at(matrix, of, row, s)) for s in levels]
    columns.append([_entry(mean(matrix, of, row), covers[0]), *means])
    columns.append([_entry(mce(matrix, of, row), covers[1])])
    return columns


def _entry(found: Estimate, covers: str = "") -> list[float | str | None] | None:
    """Round to four digits: the exact numbers are in results.csv and summary.csv."""
    if found.value is None:
        return None
    ends = [None if end is None else round(end, 4) for end in (found.low, found.high)]
    mark = DOUBTFUL if found.doubtful else ""
    said = [covers.strip(), mark] if mark else [covers.strip()] if covers else []
    return [round(found.value, 4), *ends, *said]
