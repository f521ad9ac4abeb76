"""The parts of a page that belong to one matrix."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from medrobust.base.wording import agreeing, counted
from medrobust.metrics import Estimate
from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.estimates import written

from .aggregates import Place
from .by_metric import doubts, printed_estimates, without_mce
from .changes import changes_html
from .compare import Standing
from .figures import (
    curves_svg,
    heat_cells,
    interval_text,
    printed_shares,
    scale_top,
    scatter_svg,
    shade,
    title,
    with_range,
)
from .markup import breakable, by_metric, details, plain_table
from .matrix import Matrix
from .rank_tables import comparisons_html, ranks_html

if TYPE_CHECKING:
    from medrobust.evaluation.store import StoredCell

THUMBNAIL = 208
"""Pixels a side of an example picture: twice the size it is shown at."""

WORST = 5
"""Cells that are told apart as the worst of a matrix."""

MOST_UPRIGHT = 9
"""Corruptions of a table that an upright sheet of paper has room for."""

LEAST_LOSS = 5e-4
"""Loss below which a cell is no worse than clean images, in what is printed."""


def matrix_section(
    number: int,
    matrix: Matrix,
    ranks: Mapping[str, Sequence[Standing]],
    comparisons: Sequence[dict[str, str]],
    *,
    own_examples: bool,
) -> str:
    """Write heat table, curves, scatter, ranks, comparisons, classes, worst cells and pictures."""
    anchor = f"m{number}"
    data = matrix.data
    facts = counted(len(data), data.unit)
    if data.label_kind is not None:
        facts += f" · {counted(len(data.class_names), 'class')} · {data.label_kind}"
    if (codes := group_codes(data.groups)) is not None:
        facts += f" · {counted(len(np.unique(codes)), 'patient')}"
    pictures = own_examples or data.origin != "own"
    parts = [
        f'\n<section id="{anchor}" data-matrix="{number}" aria-labelledby="{anchor}-title">',
        f'<div class="{_sheet(matrix)}">',
        f'<h2 id="{anchor}-title" data-heading="{number}">{escape(title(matrix))}</h2>',
        f'<p class="soft small">{escape(facts)}</p>',
        *(f'<p class="small"><em>{escape(mark)}</em></p>' for mark in matrix.remarks),
        _heat_table(matrix),
        "</div>",
    ]
    if matrix.table.corruptions and matrix.rows:
        parts += [_curves(matrix), _scatter(matrix)]
    parts += [
        ranks_html(matrix, ranks),
        _sanity(matrix),
        comparisons_html(matrix, ranks.get(matrix.shown, ()), comparisons),
        changes_html(matrix),
        *(section.html for section in matrix.sections),
        _worst(matrix, pictures=pictures),
        _strip(matrix) if pictures else "",
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _sheet(matrix: Matrix) -> str:
    """Return how a table is printed: on one sheet, which lies on its side for many columns."""
    return "top wide" if len(matrix.table.corruptions) > MOST_UPRIGHT else "top"


def _heat_table(matrix: Matrix) -> str:
    top = scale_top(matrix)
    columns = ["clean", *matrix.table.corruptions, "mean", "mCE"]
    head = "".join(f'<th scope="col">{breakable(c)}</th>' for c in columns)
    bounds, shares = printed_estimates(matrix), printed_shares(matrix)
    lines = []
    for row, cells in enumerate(heat_cells(matrix)):
        shown = [
            _heat_cell(
                text,
                value,
                top,
                bounds[row][column],
                share,
                f'data-row="{row}" data-column="{column}"',
            )
            for column, ((text, value), share) in enumerate(zip(cells, shares, strict=True))
        ]
        lines.append(
            f'<tr><th scope="row">{escape(matrix.rows[row].marked)}</th>{"".join(shown)}</tr>'
        )
    label = escape(f"Table: {title(matrix)}")
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table class="heat">'
        f'<thead><tr><th scope="col">model</th>{head}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
        f'<p class="caption soft small" aria-live="polite">{escape(caption(matrix))}</p>\n'
        + _scale(top, share=matrix.metric.share)
    )


def _heat_cell(
    text: str,
    value: float | None,
    top: float,
    bounds: Estimate,
    share: bool,
    place: str,
) -> str:
    first, _, rest = text.partition(" ")
    interval = interval_text(bounds, share=share) if first != "–" else ""
    shown = escape(first) + "".join(f"<small>{escape(t)}</small>" for t in (interval, rest) if t)
    if value is None:
        return f'<td class="ratio" {place}>{shown}</td>'
    back, ink = shade(value / top)
    return f'<td style="background:{back};color:{ink}" {place}>{shown}</td>'


def caption(matrix: Matrix, of: str | None = None) -> str:
    """Say below a table what its numbers are.

    Args:
        matrix: The table.
        of: Metric that a reader has chosen; None: the one that is shown.
    """
    name = of or matrix.shown
    parts = [f"{words(matrix, name)}{_unit(matrix, name)}{averaged(matrix)}."]
    if len(matrix.seeds) > 1:
        parts.append(f"Means over corruption seeds {', '.join(map(str, matrix.seeds))}.")
    if reason := without_mce(matrix, name):
        parts.append(f"{reason}." if matrix.table.corruptions else "")
    elif matrix.reference:
        parts.append(f"mCE: {matrix.reference} is 100 by definition, and less is better.")
    parts.append(f"Small: {intervals(matrix)}.")
    if name not in matrix.losses and matrix.table.corruptions:
        parts.append("Those of means are the mean of the cells' bounds: too wide rather than not.")
    parts += [f"{said}." for said in [doubts(matrix, name)] if said]
    parts += ["A dash: not computed, or not defined.", *(f"{line}." for line in matrix.legend)]
    return " ".join(filter(None, parts))


def _unit(matrix: Matrix, of: str) -> str:
    return " in percent" if matrix.task.metrics[of].share else ""


def averaged(matrix: Matrix) -> str:
    """Say what corrupted numbers of a table are averaged over."""
    levels = ", ".join(map(str, matrix.table.severities))
    over = "severity" if len(matrix.table.severities) == 1 else "mean over severities"
    return f", {over} {levels}" if levels else ""


def intervals(matrix: Matrix) -> str:
    """Say what intervals stand beside the numbers of a table, and what they are over."""
    clustered = group_codes(matrix.data.groups) is not None
    units = "patients" if clustered else agreeing(2, matrix.data.unit)
    return f"95 % intervals over {units}"


def words(matrix: Matrix, of: str | None = None) -> str:
    """Name a metric, the one shown by default, to begin a sentence."""
    name = matrix.task.metrics[of or matrix.shown].title
    return name[0].upper() + name[1:]


def _scale(top: float, *, share: bool) -> str:
    stops = ", ".join(shade(step / 10)[0] for step in range(11))
    return (
        f'<p class="scale soft small" aria-hidden="true"><span>0</span> <span class="bar" '
        f'style="background:linear-gradient(90deg, {stops})"></span> '
        f"<span>{f'{100 * top:.0f}&nbsp;%' if share else f'{top:.3g}'}</span></p>"
    )


def _curves(matrix: Matrix) -> str:
    name = words(matrix)
    over = f"{name}{_unit(matrix, matrix.shown)} over severity"
    label = f"{over}, one panel a corruption; numbers in the table"
    panels = f"--panels:{len(matrix.table.corruptions)}"
    return (
        f'<h3><span data-metric>{name}</span> over severity</h3>\n<div class="curves" '
        f'data-figure="curves" role="img" style="{panels}" aria-label="{escape(label)}">'
        f"{curves_svg(matrix)}</div>"
    )


def _scatter(matrix: Matrix) -> str:
    if sum(matrix.mean(matrix.shown, row).value is not None for row in range(len(matrix.rows))) < 2:
        return ""
    label = f"{words(matrix)} on corrupted images over that on clean ones, one mark a model"
    return (
        '<h3>Clean against corrupted</h3>\n<div class="scatter" data-figure="scatter" role="img" '
        f'aria-label="{escape(label)}">{scatter_svg(matrix)}</div>'
    )


def _sanity(matrix: Matrix) -> str:
    """Show what a model scores that does not look at the image."""
    tables = {of: _sanity_table(matrix, of) for of in matrix.losses}
    if not any(tables.values()):
        return ""
    unit = "In percent: blank" if matrix.metric.share else "Blank"
    note = (
        f'<p class="soft small">{unit} (one grey) and noise images were run '
        "like any other where <code>sanity=true</code> asked for it; the others are the stored "
        "answers torn from their images or classes. A model that scores no better on clean images "
        "does not look at them. No rank, mean or comparison counts these numbers.</p>"
    )
    shown = by_metric(tables, matrix.shown, none="Not computed: {metric}.")
    return details("Without looking at the image", note + shown, shown=matrix.asked_sanity)


def _sanity_table(matrix: Matrix, of: str) -> str:
    lines = []
    for row in range(len(matrix.rows)):
        clean = matrix.estimate(of, row, "clean")
        found = [clean, *(matrix.estimate(of, row, name) for name in matrix.controls)]
        if clean.value is not None:
            numbers = (with_range(one, share=matrix.task.metrics[of].share) for one in found)
            lines.append((matrix.rows[row].marked, *numbers))
    head = (f"{matrix.task.metrics[of].title} of", "clean images", *matrix.controls.values())
    return plain_table(head, lines, tight=True) if lines else ""


def _worst(matrix: Matrix, *, pictures: bool) -> str:
    """Show the cells that lose most against the same model's clean images."""
    of, share = matrix.shown, matrix.metric.share
    losses = []
    for (row, corruption, severity), cell in matrix.cells.items():
        if severity == 0 or np.isnan(matrix.clean[of][row]):
            continue
        place = (
            row,
            matrix.table.corruptions.index(corruption),
            matrix.table.severities.index(severity),
        )
        loss = float(matrix.values[of][place] - matrix.clean[of][row])
        losses.append(
            (loss if not matrix.task.metrics[of].higher_is_better else -loss, place, cell)
        )
    if not losses:
        return ""
    losses = [entry for entry in losses if entry[0] >= LEAST_LOSS]
    losses.sort(key=lambda entry: (-entry[0], entry[1]))
    lines = []
    for loss, (row, c, s), cell in losses[:WORST]:
        value = matrix.values[of][row, c, s]
        bounds = Estimate(None, float(matrix.low[of][row, c, s]), float(matrix.high[of][row, c, s]))
        seen = image(cell, "worst cell") if pictures and cell.examples else "–"
        place_ = f"{matrix.table.corruptions[c]} s{matrix.table.severities[s]}"
        lines.append(
            f"<tr><td>{escape(matrix.rows[row].label)}</td><td>{escape(place_)}</td>"
            f"<td>{written(value, share=share)} ({interval_text(bounds, share=share)})</td>"
            f"<td>{written(loss, share=share, sign='+')}</td>"
            f"<td>{seen}</td></tr>"
        )
    if not lines:
        least = "a tenth of a point" if share else f"{LEAST_LOSS:g}"
        none = f"No cell is worse than the clean images of its model by {least}."
        return f'<p class="soft small">{none}</p>'
    value_head = f"value{matrix.metric.percent_sign}"
    loss_head = f"worse than clean by{', points' if share else ''}"
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("model", "cell", value_head, loss_head, "example")
    )
    table = (
        f'<div class="scroll strip"><table class="plain"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
    return details(f"Worst cells, by {matrix.metric.title}", table)


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
        name = breakable(corruption)
        lines.append(f'<tr><th scope="row">{name}</th>{clean}{pictures}</tr>')
    head = "".join(f'<th scope="col">{level}</th>' for level in ("clean", *levels))
    return (
        "<h3>One image under every corruption</h3>\n"
        '<div class="scroll strip" role="region" tabindex="0" aria-label="Example images"><table>'
        f'<thead><tr><th scope="col">severity</th>{head}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _row_with_examples(matrix: Matrix) -> int | None:
    found = [place.row for place, cell in matrix.cells.items() if cell.examples]
    return min(found) if found and matrix.table.corruptions else None


def _picture(matrix: Matrix, row: int, corruption: str, severity: int) -> str:
    cell = matrix.cells.get(Place(row, corruption, severity))
    if cell is None or not cell.examples:
        return "<td>–</td>"
    what = "clean image" if severity == 0 else f"{corruption}, severity {severity}"
    return f"<td>{image(cell, what)}</td>"


def image(cell: "StoredCell", what: str) -> str:
    """Show the first example picture of a cell."""
    return f'<img loading="lazy" alt="{escape(what)}" src="{thumbnail(cell.picture())}">'


def thumbnail(png: bytes) -> str:
    """Shrink a picture to a JPEG data URI."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        small = opened.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
