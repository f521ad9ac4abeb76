"""Tables for papers and for other programs: LaTeX, Markdown, Parquet."""

import io
import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from medrobust.metrics import Estimate

from .figures import title
from .matrix import Matrix
from .tables import RESULT_COLUMNS, SUMMARY_COLUMNS

if TYPE_CHECKING:
    from .report import Report

log = logging.getLogger(__name__)

NUMBERS = ("value", "low", "high")
WHOLE = ("severity", "seed", "n")

_ESCAPES = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
    }
)  # fmt: skip


def text_tables(report: "Report") -> dict[str, bytes]:
    """Write each matrix as a LaTeX table (booktabs) and a Markdown table: name -> bytes."""
    files: dict[str, bytes] = {}
    for number, matrix in enumerate(report.matrices):
        name = f"matrix-{number}-{matrix.table.dataset}-{matrix.table.suite}"
        files[f"{name}.tex"] = latex(matrix).encode()
        files[f"{name}.md"] = markdown(matrix).encode()
    return files


def _header(matrix: Matrix) -> list[str]:
    return ["clean", *matrix.table.corruptions, "mean", "mCE"]


def _estimates(matrix: Matrix, row: int) -> list[tuple[float | None, Estimate]]:
    """Return (value, interval) as the heat map prints them."""
    of, columns = matrix.shown, range(len(matrix.table.corruptions))
    values = [
        matrix.estimate(of, row, "clean").value,
        *(matrix.severity_mean(of, row, c) for c in columns),
        matrix.mean(of, row).value,
        matrix.mce(of, row).value,
    ]
    found = [
        matrix.estimate(of, row, "clean"),
        *(matrix.estimate(of, row, "severity_mean", c) for c in columns),
        matrix.estimate(of, row, "mean"),
        matrix.estimate(of, row, "mCE"),
    ]
    return list(zip(values, found, strict=True))


def latex(matrix: Matrix) -> str:
    """Write one matrix: values with the bounds of the 95 % interval below and above."""
    head = " & ".join(["model", *(name.translate(_ESCAPES) for name in _header(matrix))])
    lines = []
    for row, line in enumerate(matrix.rows):
        cells = [_latex_cell(value, found) for value, found in _estimates(matrix, row)]
        mark = r"$^\dagger$" if matrix.chance_marks(row) else ""
        lines.append(" & ".join([line.label.translate(_ESCAPES) + mark, *cells]) + r" \\")
    columns = "l" + "r" * len(_header(matrix))
    caption = title(matrix).translate(_ESCAPES).replace("·", r"\textperiodcentered{}")
    note = r"% dagger: model or reference no better than guessing on clean images"
    return "\n".join(
        [
            rf"% {title(matrix)}; needs booktabs",
            note,
            r"\begin{table}",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_cell(value: float | None, found: Estimate) -> str:
    if value is None:
        return "--"
    if found.low is None or found.high is None:
        return f"{100 * value:.1f}"
    return f"${100 * value:.1f}_{{{100 * found.low:.1f}}}^{{{100 * found.high:.1f}}}$"


def markdown(matrix: Matrix) -> str:
    """Write one matrix: values with 95 % intervals in brackets."""
    names = ["model", *_header(matrix)]
    lines = [f"**{title(matrix)}**", "", "| " + " | ".join(names) + " |"]
    lines.append("|" + "---|" + "--:|" * (len(names) - 1))
    for row, line in enumerate(matrix.rows):
        cells = [
            "–" if value is None else f"{100 * value:.1f}{_brackets(found)}"
            for value, found in _estimates(matrix, row)
        ]
        mark = "†" if matrix.chance_marks(row) else ""
        label = line.label.replace("|", r"\|") + mark
        lines.append("| " + " | ".join([label, *cells]) + " |")
    return "\n".join([*lines, ""])


def _brackets(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" ({100 * found.low:.1f}–{100 * found.high:.1f})"


def parquet_files(report: "Report") -> dict[str, bytes]:
    """Write both long tables with typed columns; nothing where pyarrow is not installed."""
    try:
        import_module("pyarrow")
    except ImportError:
        log.warning("Parquet files are left out: pip install pyarrow")
        return {}
    return {
        "results.parquet": parquet(report.results, RESULT_COLUMNS),
        "summary.parquet": parquet(report.summary, SUMMARY_COLUMNS),
    }


def parquet(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> bytes:
    """Write rows as Parquet: float64 numbers, int64 counts, booleans, text."""
    values = {name: [_typed(name, row[name]) for row in rows] for name in columns}
    buffer = io.BytesIO()
    import_module("pyarrow.parquet").write_table(import_module("pyarrow").table(values), buffer)
    return buffer.getvalue()


def _typed(name: str, text: str) -> Any:
    if name in NUMBERS:
        return float(text) if text else None
    if name in WHOLE:
        return int(text) if text else None
    return text == "true" if name == "higher_is_better" else text
