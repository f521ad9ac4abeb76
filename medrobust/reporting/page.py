"""The report as one HTML file: no outside requests, readable without JavaScript and on paper."""

import base64
import io
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from medrobust.metrics import METRICS

from .figures import DEMONSTRATION, curves_svg, heat_cells, scale_top, shade, title
from .matrix import Matrix

if TYPE_CHECKING:
    from pathlib import Path

    from .report import Report

THUMBNAIL = 208
"""Pixels a side of an example picture: twice the size it is shown at."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def report_html(report: "Report") -> bytes:
    """Write the page: header, one section a data set and suite, what is missing, provenance."""
    matrices = report.matrices
    heading = ", ".join(dict.fromkeys(m.table.dataset for m in matrices)) or "no finished cells"
    body = [
        _header(report, heading),
        *(_section(f"m{index}", matrix) for index, matrix in enumerate(matrices)),
        _missing(report),
        _provenance(report),
        _footer(),
    ]
    style = resources.files("medrobust.reporting").joinpath("page.css").read_text("utf-8")
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Robustness: {escape(heading)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
{"".join(body)}
</body>
</html>
"""
    return page.encode()


def _header(report: "Report", heading: str) -> str:
    run = report.run
    when = " · ".join(
        escape(str(part)) for part in (run.get("started"), _duration(run.get("seconds"))) if part
    )
    models = len({row.label for matrix in report.matrices for row in matrix.rows})
    counts = f"{models} models · {report.total - len(report.missing)} of {report.total} cells"
    parts = [
        f"<header>\n<h1>Robustness to image corruptions: {escape(heading)}</h1>",
        f'<p class="soft">{counts}{" · " + when if when else ""}</p>',
    ]
    if run.get("command"):
        parts.append(f"<p><code>{escape(str(run['command']))}</code></p>")
    if any(matrix.demonstration for matrix in report.matrices):
        parts.append(f'<p class="banner" role="note">{escape(DEMONSTRATION)}</p>')
    parts += [f'<p class="note">{escape(note)}</p>' for note in report.notes]
    if len(report.matrices) > 1:
        links = "".join(
            f'<li><a href="#m{index}">{escape(title(matrix))}</a></li>'
            for index, matrix in enumerate(report.matrices)
        )
        parts.append(f'<nav aria-label="Data sets"><ul>{links}</ul></nav>')
    return "\n".join([*parts, "</header>"])


def _section(anchor: str, matrix: Matrix) -> str:
    data = matrix.data
    facts = f"{len(data.labels)} images · {len(data.class_names)} classes · {data.task}"
    marks = [DEMONSTRATION] if matrix.demonstration else []
    parts = [
        f'\n<section id="{anchor}" aria-labelledby="{anchor}-title">',
        f'<h2 id="{anchor}-title">{escape(title(matrix))}</h2>',
        f'<p class="soft small">{escape(facts)}</p>',
        *(f'<p class="small"><em>{escape(mark)}</em></p>' for mark in (*marks, *data.marks)),
        _heat_table(matrix),
    ]
    if matrix.table.corruptions:
        name = _words(matrix)
        label = f"{name} in percent over severity, one panel a corruption; numbers in the table"
        parts.append(
            f'<h3>{name} over severity</h3>\n<div class="curves" role="img" '
            f'aria-label="{escape(label)}">{curves_svg(matrix)}</div>'
        )
    return "\n".join([*parts, _strip(matrix), "</section>"])


def _heat_table(matrix: Matrix) -> str:
    top = scale_top(matrix)
    columns = ["clean", *matrix.table.corruptions, "mean", "mCE"]
    head = "".join(f'<th scope="col">{_breakable(c)}</th>' for c in columns)
    lines = [
        f'<tr><th scope="row">{escape(row.label)}</th>'
        + "".join(_heat_cell(text, value, top) for text, value in cells)
        + "</tr>"
        for row, cells in zip(matrix.rows, heat_cells(matrix), strict=True)
    ]
    label = escape(f"Table: {title(matrix)}")
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>'
        f'<thead><tr><th scope="col">model</th>{head}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
        f'<p class="soft small">{_caption(matrix)}</p>\n' + _scale(top)
    )


def _heat_cell(text: str, value: float | None, top: float) -> str:
    first, _, rest = text.partition(" ")
    shown = escape(first) + (f"<small>{escape(rest)}</small>" if rest else "")
    if value is None:
        return f'<td class="ratio">{shown}</td>'
    back, ink = shade(value / top)
    return f'<td style="background:{back};color:{ink}">{shown}</td>'


def _caption(matrix: Matrix) -> str:
    levels = ", ".join(map(str, matrix.table.severities))
    name = _words(matrix)
    text = f"{name} in percent, mean over severities {levels}." if levels else f"{name} in percent."
    if len(matrix.seeds) > 1:
        text += f" Means over corruption seeds {', '.join(map(str, matrix.seeds))}."
    if matrix.reference:
        text += f" mCE: 100 is as good as {matrix.reference}."
    return escape(text) + " A dash: not computed, or not defined."


def _words(matrix: Matrix) -> str:
    """Name the metric shown, to begin a sentence."""
    name = METRICS[matrix.shown].title
    return name[0].upper() + name[1:]


def _scale(top: float) -> str:
    stops = ", ".join(shade(step / 10)[0] for step in range(11))
    return (
        f'<p class="scale soft small" aria-hidden="true">0 <span class="bar" '
        f'style="background:linear-gradient(90deg, {stops})"></span> {100 * top:.0f}&nbsp;%</p>'
    )


def _breakable(name: str) -> str:
    return escape(name).replace("_", "_<wbr>")


def _strip(matrix: Matrix) -> str:
    """Show one image of the set under every corruption and severity that the store has."""
    row = _row_with_examples(matrix)
    if row is None:
        return ""
    levels = matrix.table.severities
    clean = _picture(matrix, row, "clean", 0)
    lines = []
    for corruption in matrix.table.corruptions:
        pictures = "".join(_picture(matrix, row, corruption, level) for level in levels)
        name = _breakable(corruption)
        lines.append(f'<tr><th scope="row">{name}</th>{clean}{pictures}</tr>')
    head = "".join(f'<th scope="col">{level}</th>' for level in ("clean", *levels))
    return (
        "<h3>One image under every corruption</h3>\n"
        '<div class="scroll strip" role="region" tabindex="0" aria-label="Example images"><table>'
        f'<thead><tr><th scope="col">severity</th>{head}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _row_with_examples(matrix: Matrix) -> int | None:
    rows = [row for (row, _, severity), cell in matrix.cells.items() if severity and cell.examples]
    return min(rows, default=None)


def _picture(matrix: Matrix, row: int, corruption: str, severity: int) -> str:
    cell = matrix.cells.get((row, corruption, severity))
    if cell is None or not cell.examples:
        return "<td>–</td>"
    what = "clean image" if severity == 0 else f"{corruption}, severity {severity}"
    source = thumbnail(cell.examples[0])
    return f'<td><img loading="lazy" alt="{escape(what)}" src="{source}"></td>'


def thumbnail(path: "Path") -> str:
    """Shrink a picture of the store to a JPEG data URI."""
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _missing(report: "Report") -> str:
    if not report.missing:
        return ""
    items = "".join(f"<li>{escape(str(spec))}</li>" for spec in report.missing)
    return (
        f'\n<section aria-labelledby="missing"><h2 id="missing">{escape(report.missing_line)}</h2>'
        "<p>A mean that needs one of them is left out, never taken over fewer. Run the same "
        f"command again to compute them.</p><details><summary>List</summary><ul>{items}</ul>"
        "</details></section>"
    )


def _provenance(report: "Report") -> str:
    data = {m.data.fingerprint: m.data for m in report.matrices}.values()
    sets = [(f"{d.name}/{d.split}", d.origin, d.license or "unknown license") for d in data]
    parts = [
        '\n<section aria-labelledby="provenance"><h2 id="provenance">Where this comes from</h2>',
        "<h3>Data sets</h3>",
        _plain_table(("data set", "origin", "license"), sets),
        "<h3>Models</h3>",
        _plain_table(("model", "weights from", "license", "keys dropped"), _models(report)),
    ]
    versions = report.run.get("versions") or {}
    facts = [(k, str(report.run[k])) for k in ("device", "commit") if report.run.get(k)]
    if versions or facts:
        pairs = [*facts, *((str(k), str(v)) for k, v in versions.items())]
        parts.append(_details("Versions", _plain_table(("part", "version"), pairs)))
    for name, config in _configurations(report):
        text = escape(json.dumps(config, indent=1, sort_keys=True, default=str))
        parts.append(_details(f"Configuration: {name}", f"<pre>{text}</pre>"))
    return "\n".join([*parts, "</section>"])


def _models(report: "Report") -> list[tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for matrix in report.matrices:
        for (row, _, _), cell in matrix.cells.items():
            load = cell.record.get("load_report") or {}
            label = matrix.rows[row].label
            source = str(load.get("source") or "unknown")
            dropped = str(len(load.get("dropped") or {}))
            found.setdefault(label, (label, source, load.get("license") or "unknown", dropped))
    return list(found.values())


def _configurations(report: "Report") -> Iterable[tuple[str, Any]]:
    """Yield each different configuration of the cells once, under the model it was first met."""
    seen: set[str] = set()
    for matrix in report.matrices:
        for (row, _, _), cell in matrix.cells.items():
            config = cell.record.get("config")
            text = json.dumps(config, sort_keys=True, default=str)
            if config and text not in seen:
                seen.add(text)
                yield matrix.rows[row].label, config


def _plain_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll"><table class="plain">'
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _duration(seconds: Any) -> str:
    return "" if seconds is None else f"{float(seconds):.0f} s"


def _footer() -> str:
    return (
        '\n<footer><p>Numbers behind this page: <a href="results.csv">results.csv</a> (one row a '
        'cell and metric), <a href="summary.csv">summary.csv</a> (one row an aggregate), '
        '<a href="matrix.png">matrix.png</a>.</p></footer>'
    )
