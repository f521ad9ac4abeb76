"""Tables for papers and for other programs: LaTeX, Markdown, Parquet."""

import io
import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from medrobust.evaluation.store import safe_name
from medrobust.metrics import Estimate
from medrobust.metrics.estimates import written

from .by_metric import printed_estimates
from .figures import parts, printed_shares, title, with_range
from .matrix import Matrix
from .sections import intervals
from .tables import SUMMARY_COLUMNS, in_markdown, one_line

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


_SIGNS = str.maketrans({"†": r"$^\dagger$", "‡": r"$^\ddagger$"})


def text_tables(report: "Report") -> dict[str, bytes]:
    """Write each matrix as a LaTeX table (booktabs) and a Markdown table: name -> bytes."""
    files: dict[str, bytes] = {}
    for number, matrix in enumerate(report.matrices):
        name = safe_name(f"matrix-{number}-{matrix.table.dataset}-{matrix.table.suite}")
        files[f"{name}.tex"] = latex(matrix).encode()
        files[f"{name}.md"] = markdown(matrix).encode()
    return files


def _header(matrix: Matrix) -> list[str]:
    return ["clean", *matrix.table.corruptions, "mean", "mCE"]


def latex(matrix: Matrix) -> str:
    """Write one matrix: values with the bounds of the 95 % interval below and above."""
    head = " & ".join(["model", *(name.translate(_ESCAPES) for name in _header(matrix))])
    printed = printed_estimates(matrix)
    lines, shares = [], printed_shares(matrix)
    for row, line in enumerate(matrix.rows):
        cells = [
            _latex_cell(found, share=share) + part
            for found, share, part in zip(printed[row], shares, parts(matrix, row), strict=True)
        ]
        mark = line.signs.translate(_SIGNS)
        lines.append(" & ".join([one_line(line.label).translate(_ESCAPES) + mark, *cells]) + r" \\")
    columns = "l" + "r" * len(_header(matrix))
    ranges = f"Below and above: {intervals(matrix)}"
    said = ". ".join(map(one_line, (title(matrix), ranges, *matrix.remarks, *matrix.legend)))
    caption = said.translate(_ESCAPES).translate(_SIGNS).replace("·", r"\textperiodcentered{}")
    return "\n".join(
        [
            rf"% {one_line(title(matrix))}; needs booktabs",
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


def _latex_cell(found: Estimate, *, share: bool) -> str:
    if found.value is None:
        return "--"
    value, low, high = (written(n, share=share) for n in (found.value, found.low, found.high))
    return value if found.low is None or found.high is None else f"${value}_{{{low}}}^{{{high}}}$"


def markdown(matrix: Matrix) -> str:
    """Write one matrix: values with 95 % intervals in brackets."""
    names = ["model", *map(in_markdown, _header(matrix))]
    lines = [f"**{in_markdown(title(matrix))}**", "", "| " + " | ".join(names) + " |"]
    lines.append("|" + "---|" + "--:|" * (len(names) - 1))
    printed, shares = printed_estimates(matrix), printed_shares(matrix)
    for row, line in enumerate(matrix.rows):
        cells = [
            with_range(found, share=share) + part
            for found, share, part in zip(printed[row], shares, parts(matrix, row), strict=True)
        ]
        label = in_markdown(line.label) + line.signs
        lines.append("| " + " | ".join([label, *cells]) + " |")
    ranges = f"In brackets: {intervals(matrix)}"
    said = (in_markdown(line) for line in (ranges, *matrix.remarks, *matrix.legend))
    return "\n".join([*lines, *(f"\n{line}" for line in said), ""])


def parquet_files(report: "Report") -> dict[str, bytes]:
    """Write both long tables with typed columns; nothing where pyarrow is not installed."""
    try:
        import_module("pyarrow")
    except ImportError:
        log.warning("Parquet files are left out: pip install pyarrow")
        return {}
    return {
        "results.parquet": parquet(report.results, report.result_columns),
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
