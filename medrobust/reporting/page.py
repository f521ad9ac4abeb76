"""The report as one HTML file: no outside requests, readable without JavaScript and on paper.

The page of a run has static curves and a script of a few kilobytes for the switches. The page that
`medrobust report` makes adds plotly (5 MB, inline) for curves and scatter that answer the mouse:
too heavy for every run, and not needed to read the numbers.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from medrobust.base.redaction import command_without_paths
from medrobust.base.wording import counted, listed
from medrobust.tasks.base import Section, in_order

from .audit import audit_section
from .figures import with_range
from .in_words import in_words_html
from .markup import by_metric, plain_table
from .provenance import provenance_html
from .sections import matrix_section
from .switches import form, script

if TYPE_CHECKING:
    from .overview import Average
    from .report import Report

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""No request leaves the page, whatever is in it."""

HEADING = re.compile(r'<h2 id="([^"]+)"( data-heading="\d+")?>(.*?)</h2>', re.DOTALL)
"""A heading of a section that can be linked to."""


def report_html(
    report: "Report", *, interactive: bool = False, own_examples: bool = False
) -> bytes:
    """Write the page: header, one section a data set and suite, what is missing, provenance.

    Args:
        report: From `make_report`.
        interactive: Add plotly figures.
        own_examples: Show example pictures of own data, too.
    """
    matrices = report.matrices
    heading = ", ".join(dict.fromkeys(m.table.dataset for m in matrices)) or "no finished cells"
    own = [
        Section("Means over data sets", order=20, html=_averages(report)),
        Section("Data sets", order=30, html="".join(_sections(report, own_examples=own_examples))),
        Section("What is left out", order=60, html=_missing(report)),
        Section("Audit of the data", order=70, html=audit_section(report)),
        Section("Where this comes from", order=80, html=provenance_html(report)),
    ]
    sections = "".join(_with_metric(section) for section in in_order([*own, *report.sections]))
    body = [
        _header(report, heading),
        _contents(sections),
        form(matrices) if matrices else "",
        sections,
        _footer(report),
        script(matrices) if matrices else "",
    ]
    if interactive and matrices:
        from .interactive import figures_script

        body.append(figures_script(matrices))
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


def _with_metric(section: Section) -> str:
    """Return what a section shows, with a line where it does not follow the choice of a metric."""
    if not section.shows or not section.html:
        return section.html
    line = f"Whatever metric is chosen above, this part shows {escape(section.shows)}."
    return section.html.replace("</h2>", f'</h2><p class="soft small">{line}</p>', 1)


def _sections(report: "Report", *, own_examples: bool) -> Iterable[str]:
    for number, matrix in enumerate(report.matrices):
        table = matrix.table
        place = (table.dataset, table.split, table.suite)
        pairs = [
            row
            for row in report.comparisons
            if (row["dataset"], row["split"], row["suite"]) == place
            and row["of"] in matrix.task.metrics
        ]
        ranked = report.ranks[number] if report.ranks else {}
        yield matrix_section(number, matrix, ranked, pairs, own_examples=own_examples)


def _averages(report: "Report") -> str:
    """Show means over data sets, one line a model and group of sets; by each loss apart."""
    metrics = dict.fromkeys(mean.of for mean in report.averages)
    shown = next((m.shown for m in report.matrices if m.shown in metrics), "")
    tables = {of: _averages_of([m for m in report.averages if m.of == of]) for of in metrics}
    if not any(tables.values()):
        return ""
    none = "No means over data sets: {metric} is no loss of these sets."
    return (
        '\n<section aria-labelledby="averages"><h2 id="averages">Means over data sets</h2>'
        '<p class="soft small">Severities, then corruptions within a set, then sets, every set '
        "counting the same; ratios are formed on each set. A model that lacks a set has no mean. "
        "Sets on which the model or the reference cannot be told from guessing are averaged "
        "apart: "
        "two models at chance both have an mCE of 100 and it means nothing. In brackets: 95 % "
        f"intervals.</p>{by_metric(tables, shown, none=none)}</section>"
    )


def _averages_of(means: "Sequence[Average]") -> str:
    lines: dict[tuple[str, str, str], dict[str, Average]] = {}
    for mean in means:
        if mean.over.startswith("modality") and mean.planned == 1:
            continue  # the matrix of that set says it
        lines.setdefault((mean.over, mean.suite, mean.label), {})[mean.metric] = mean
    order = list(dict.fromkeys(over for over, *_ in lines))
    lines = dict(sorted(lines.items(), key=lambda line: order.index(line[0][0])))
    several = len({suite for _, suite, _ in lines}) > 1
    share = all(mean.metric_of.share for mean in means)
    rows = []
    for (over, suite, label), found in lines.items():
        sets = found["mean"]
        numbers = [
            with_range(found[name].estimate, share=name == "mCE" or share) if name in found else "–"
            for name in ("clean", "mean", "mCE")
        ]
        count = f"{len(sets.sets)} of {sets.planned}"
        named = f"{over}, {suite}" if several else over
        rows.append((named, count, label, sets.metric_of.title, *numbers))
    head = (
        "over",
        "sets",
        "model",
        "of",
        *(f"{name}{', %' * share}" for name in ("clean", "mean")),
        "mCE",
    )
    return plain_table(head, rows, tight=True) if rows else ""


def _header(report: "Report", heading: str) -> str:
    run = report.run
    started = str(run.get("started") or "")
    when = " · ".join(part for part in (_moment(started), _duration(run.get("seconds"))) if part)
    models = len({row.label for matrix in report.matrices for row in matrix.rows})
    counts = f"{counted(models, 'model')} · {report.total - len(report.missing)} of "
    counts += counted(report.total, "cell")
    parts = [
        f"<header>\n<h1>Robustness to image corruptions: {escape(heading)}</h1>",
        f'<p class="soft">{counts}{" · " + when if when else ""}</p>',
    ]
    if run.get("command"):
        parts.append(f"<p><code>{escape(command_without_paths(str(run['command'])))}</code></p>")
    parts += [f'<p class="banner" role="note">{escape(notice)}</p>' for notice in report.notices]
    parts += [f'<p class="note">{escape(command_without_paths(note))}</p>' for note in report.notes]
    parts.append(in_words_html(report))
    return "\n".join([*filter(None, parts), "</header>"])


def _moment(text: str) -> str:
    """Write a moment in UTC; the reader's browser turns it into the time where it stands."""
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return escape(text)
    shown = f"{moment:%Y-%m-%d %H:%M} UTC"
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{shown}</time>'


def _contents(body: str) -> str:
    """List the headings of a page that has several, as links to them."""
    found = HEADING.findall(body)
    items = "".join(
        f'<li><a href="#{anchor}"{marked}>{text}</a></li>' for anchor, marked, text in found
    )
    if len(found) < 2:
        return ""
    return f'\n<nav aria-label="Contents"><h2>Contents</h2><ul>{items}</ul></nav>'


def _missing(report: "Report") -> str:
    """Say which cells are missing, and which numbers are left out for want of what."""
    items = "".join(f"<li>{escape(str(spec))}</li>" for spec in report.missing)
    cells = (
        "<p>A mean that needs one of them is left out, never taken over fewer. Run the same "
        f"command again to compute them.</p><details><summary>List</summary><ul>{items}</ul>"
        "</details>"
    )
    heading = report.missing_line or "What is left out"
    left_out = "".join(f"<li>{escape(line)}</li>" for line in _left_out(report))
    if not report.missing and not left_out:
        return ""
    return (
        f'\n<section aria-labelledby="missing"><h2 id="missing">{escape(heading)}</h2>'
        f"{cells if report.missing else ''}"
        f'<ul class="small">{left_out}</ul></section>'
    )


def _left_out(report: "Report") -> list[str]:
    lines = []
    why = report.run.get("without_validation") or {}
    lacking: dict[str, dict[str, None]] = {}
    for m in report.matrices:
        if m.task.fitted and not any(name in m.values for name in m.task.fitted):
            lacking.setdefault(listed(list(m.task.fitted.values())), {})[m.table.dataset] = None
    for metrics, sets in lacking.items():
        names = [f"{name} ({why[name]})" if name in why else name for name in sets]
        lines.append(
            f"{metrics} need clean validation images under the same model and texts, and there are "
            f"none, or none that they can be fitted on, of: {', '.join(names)}"
        )
    if report.matrices and not any(row["metric"] == "feature_drift" for row in report.summary):
        lines.append("feature drift: no features were kept (run with store.features=true)")
    return [*lines, report.silent_line] if report.silent_line else lines


def _duration(seconds: Any) -> str:
    return "" if seconds is None else f"{float(seconds):.0f} s"


def _footer(report: "Report") -> str:
    links = ['<a href="results.csv">results.csv</a> (one row a cell and metric)']
    links.append('<a href="summary.csv">summary.csv</a> (one row an aggregate)')
    if report.comparisons:
        links.append(
            '<a href="comparisons.csv">comparisons.csv</a> (one row a pair of models, first minus '
            "second)"
        )
    if report.all_reasons:
        links.append('<a href="reasons.csv">reasons.csv</a> (one row an empty number or bound)')
    listed_ = [entry for section in report.with_files for entry in section.rows.items()]
    links += [f'<a href="{name}">{name}</a> (one row {row})' for name, row in listed_]
    links.append('<a href="matrix.csv">matrix.csv</a> (one row a corruption, one column a model)')
    links.append('<a href="matrix.png">matrix.png</a>')
    return (
        f"\n<footer><p>Numbers behind this page: {', '.join(links)}.</p>\n"
        "<p>A bound is empty where a number rests on too few images, patients or positives for an "
        "interval that holds; reasons.csv says why, and names the intervals that hold less "
        "often than they say (§).</p></footer>"
    )
