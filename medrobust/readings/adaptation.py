"""Adaptations compared over draws of shots: means over draws, intervals over draws and images."""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from math import inf
from statistics import fmean

from medrobust.base.csv_text import Why
from medrobust.metrics.draws import hierarchical_interval
from medrobust.metrics.intervals import Bounds
from medrobust.metrics.paired import too_few_of
from medrobust.readings.adapted.efforts import (
    HEADS,
    RECOGNIZED_HEADS,
    effort_lines,
    effort_rows,
    nothing_learned,
    recognized_lines,
)
from medrobust.readings.adapted.lines import Line, base_of, lines_of, told_apart
from medrobust.readings.adapted.over_images import OverImages
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, in_markdown, number
from medrobust.tasks.base import ONLINE, Section, text_tables

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

NO_BASE = "the model as published has no such number of the same images"
EMPTY: Mapping[str, Why] = {
    **dict.fromkeys(("low", "high"), "it is 1 by definition, or no loss of single images makes it"),
    "gain": NO_BASE,
    **dict.fromkeys(
        ("gain_low", "gain_high"),
        lambda row: "no loss of single images makes it" if row["gain"] else NO_BASE,
    ),
}
"""Why numbers are empty."""

METRICS = ("clean error", "mean corruption error", "mCE")

LIMITS: Mapping[str, Bounds] = {
    "clean error": (0, 1),
    "mean corruption error": (0, 1),
    "mCE": (0, inf),
}

GAINS = {"clean error": "clean gain", "mean corruption error": "corrupted gain"}
"""Metric -> head of the column that says what was gained."""

EXPLAINED = (
    "In brackets: 95 % intervals over draws of shots (Student's t) and test images together "
    "(one draw: over images alone). Gains are points that the adaptation takes off the error "
    "of the model as published, on the same images; on a data set that was not tuned on, a "
    "gain below zero is forgetting."
)


ONLINE_EXPLAINED = (
    "What adapts answers online was tuned on nothing: its draws are orders of the images, and a "
    "gain below zero is harm."
)


TOOK = (
    "what adapting online took: images that changed what a method knew (those that a filter let "
    "through), and seconds on the machine that computed"
)


def section(report: Report) -> Section | None:
    """Return page and tables of adaptations, or None where nothing was adapted."""
    rows = draw_rows(report.matrices, report.untuned)
    if not rows:
        return None
    note = explained(report.matrices)
    text = draw_text(rows, note).encode()
    files = {"adaptation.csv": csv_bytes(rows, COLUMNS), "adaptation.md": text}
    return Section(
        "Adaptations and their gains",
        order=40,
        shows="the losses that its tables name",
        html=draw_html(rows, note, effort_rows(report.matrices)) + _recognized(report.matrices),
        files=files,
        empty={"adaptation.csv": _why_empty(report.matrices)},
        tables=text_tables(draw_tables(rows), note),
    )


def _why_empty(matrices: Sequence[Matrix]) -> Mapping[str, Why]:
    """Say why numbers are empty; of tables of too few patients, or units of a class, for that."""
    few = {}
    for matrix in matrices:
        cell = next(iter(matrix.cells.values()), None)
        terms = None if cell is None else matrix.measured.mean_terms([cell], matrix.shown)
        if terms is not None:
            table, groups = matrix.table, matrix.measured.groups(matrix.data, terms)
            place = (table.dataset, table.split, table.suite, matrix.shown)
            few[place] = terms.unbounded or too_few_of(terms.strata, groups, len(terms.values))

    def why(column: str, row: Mapping[str, str]) -> str:
        place = (row["dataset"], row["split"], row["suite"], row["of"])
        known = EMPTY[column]
        usual = known if isinstance(known, str) else known(row)
        return usual if usual == NO_BASE else few.get(place) or usual

    return {column: partial(why, column) for column in EMPTY}


RECOGNIZED = "what the images are nearest to of sentences that name what may be wrong with them"


def _recognized(matrices: Sequence[Matrix]) -> str:
    """Lay out what a model recognises of corruptions without a label; empty where nobody asked."""
    html = ""
    for matrix in matrices:
        if lines := recognized_lines(matrix):
            title = escape(f"{matrix.table.dataset} · {RECOGNIZED}")
            html += f"<p>{title}</p>{plain_table(RECOGNIZED_HEADS, lines, tight=True)}"
    return f'<section aria-label="recognised corruptions">{html}</section>' if html else ""


def explained(matrices: Sequence[Matrix]) -> str:
    """Say what brackets and gains are, online too, and which methods learned nothing."""
    cells = [cell for matrix in matrices for cell in matrix.cells.values()]
    online = any(ONLINE in cell.record["head"] for cell in cells)
    said = [EXPLAINED, *([ONLINE_EXPLAINED] if online else []), *nothing_learned(matrices)]
    return " ".join(said)


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
        lines = lines_of(matrix)
        if any(line.adapted for line in lines):
            rows += _rows(matrix, lines, _added(matrix, untuned, lines))
    return rows


def _added(matrix: Matrix, untuned: Sequence[Matrix], lines: Sequence[Line]) -> list[Line]:
    """Return the models as published of that table, those that it has itself left out."""
    there = {(line.model, line.variant) for line in lines if line.published}
    return [
        line
        for other in untuned
        if other.table == matrix.table and other.data.fingerprint == matrix.data.fingerprint
        for line in lines_of(other)
        if (line.model, line.variant) not in there
    ]


def _rows(matrix: Matrix, own: Sequence[Line], added: Sequence[Line]) -> list[dict[str, str]]:
    rows = []
    lines = [*added, *own]
    for line in lines:
        base = base_of(line, own, added)
        over_images = OverImages(matrix, list(line.draws.values()), base)
        for metric in METRICS:
            numbers = [draw.numbers for draw in line.draws.values()]
            values = [each[metric] for each in numbers if metric in each]
            if not values or len(values) < len(line.draws):
                continue
            paired, most = base is not None and metric in base.numbers, LIMITS[metric][1]
            gains = [base.numbers[metric] - value for value in values] if base and paired else []
            rows.append(
                {
                    "dataset": matrix.table.dataset,
                    "split": matrix.table.split,
                    "suite": matrix.table.suite,
                    "severities": ",".join(map(str, matrix.table.severities)),
                    "model": line.model,
                    "adaptation": told_apart(line, lines),
                    "draws": "" if None in line.draws else str(len(values)),
                    "metric": metric,
                    "of": matrix.shown,
                    **_bounds("", values, over_images.value(metric), LIMITS[metric]),
                    **_bounds("gain", gains, over_images.gain(metric), (-most, most)),
                    "n": str(matrix.units(matrix.shown)),
                    "reference": (matrix.reference or "") if metric == "mCE" else "",
                }
            )
    return rows


def _bounds(
    of: str, values: Sequence[float], images: Bounds | None, limits: Bounds
) -> dict[str, str]:
    """Return the columns of a value ("value", "low", "high"), or of a gain ("gain", ...)."""
    ends = (f"{of}_low", f"{of}_high") if of else ("low", "high")
    if not values or images is None:
        mean = fmean(values) if values else None
        return {of or "value": number(mean)} | dict.fromkeys(ends, "")
    over = hierarchical_interval(values, images, limits=limits)
    return dict(zip((of or "value", *ends), map(number, over), strict=True))


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


def draw_text(rows: Sequence[Mapping[str, str]], note: str = EXPLAINED) -> str:
    """Lay the rows out as tables of Markdown, in percent."""
    parts = []
    for title, heads, lines in draw_tables(rows):
        parts += [title, "", "| " + " | ".join(heads) + " |", "|--" * len(heads) + "|"]
        for model, label, *cells in lines:
            named = [in_markdown(model), in_markdown(label), *cells]
            parts.append("| " + " | ".join(named) + " |")
        parts.append("")
    return "\n".join([*parts, note]) + "\n"


def draw_html(
    rows: Sequence[Mapping[str, str]],
    note: str = EXPLAINED,
    efforts: Sequence[Mapping[str, str]] = (),
) -> str:
    """Lay the rows out as a section of the page, and what adapting online took."""
    tables = "".join(
        f"<p>{escape(title)}</p>{plain_table(heads, lines, tight=True)}"
        for title, heads, lines in draw_tables(rows)
    )
    for table in dict.fromkeys(row["table"] for row in efforts):
        lines = effort_lines(efforts, table)
        tables += f"<p>{escape(f'{table} · {TOOK}')}</p>{plain_table(HEADS, lines, tight=True)}"
    return (
        '\n<section aria-labelledby="adaptation"><h2 id="adaptation">Adaptations and their gains'
        f'</h2>{tables}<p class="soft small">{escape(note)}</p></section>'
    )


def _cell(row: Mapping[str, str] | None, of: str = "", sign: str = "") -> str:
    value = "" if row is None else row[of.rstrip("_") or "value"]
    if row is None or not value:
        return "–"
    text = f"{100 * float(value):{sign}.1f}"
    if row[f"{of}low"]:
        text += f" [{100 * float(row[f'{of}low']):.1f}, {100 * float(row[f'{of}high']):.1f}]"
    return text
