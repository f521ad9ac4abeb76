"""One matrix in the terminal: values with their 95 % intervals, laid out to fit its width."""

import re
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Literal

from medrobust.metrics.estimates import written
from medrobust.tasks.base import Section

from .by_metric import doubts, printed_estimates
from .figures import heat_cells, interval_text, printed_shares, title
from .matrix import Matrix
from .sections import intervals

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Place = Literal["below", "beside", "left out"]
"""Where the interval of a number stands."""

LAYOUTS: tuple[tuple[bool, Place], ...] = (
    (True, "below"),
    (False, "beside"),
    (False, "below"),
    (True, "left out"),
    (False, "left out"),
)
"""Whether models are the rows, and where intervals stand: the first that fits is taken.

Where none does, the narrowest: names at the side are broken at spaces, names at the top cut short.
"""


NUMERIC = (*"0123456789+-–", "")
"""How texts of a column begin that is set to the right."""


def print_matrix(matrix: Matrix, console: "Console") -> None:
    """Print heading, table, what not looking scores where it was asked for, and the marks."""
    console.print(heading(matrix), style="bold", markup=False, highlight=False)
    console.print(matrix_table(matrix, console.width))
    if matrix.asked_sanity:
        name = matrix.metric.title
        line = f"without looking at the image · {name}, % (in no rank, mean or comparison)"
        console.print(line, style="bold", markup=False, highlight=False)
        console.print(sanity_table(matrix, console.width))
    for mark in filter(None, (doubts(matrix), *matrix.legend, *matrix.remarks)):
        console.print(mark, style="italic", markup=False, highlight=False)
    console.print()


def print_section(section: Section, console: "Console") -> None:
    """Print the tables of a section, or its Markdown where it has none."""
    from rich.table import Table
    from rich.text import Text

    for shown in section.tables:
        console.print(shown.title, style="bold", markup=False, highlight=False)
        table = Table()
        for place, name in enumerate(shown.heads):
            numbers = all(row[place][:1] in NUMERIC for row in shown.rows)
            table.add_column(Text(name), justify="right" if numbers else "left", overflow="fold")
        for row in shown.rows:
            table.add_row(*map(Text, row))
        console.print(table)
        if shown.note:
            console.print(shown.note, style="italic", markup=False, highlight=False)
    texts = (content for name, content in section.files.items() if name.endswith(".md"))
    for text in () if section.tables else texts:
        console.print(text.decode(), markup=False, highlight=False, soft_wrap=True)


def heading(matrix: Matrix) -> str:
    """Name the table, the severities it is a mean over, and the reference."""
    levels = ",".join(map(str, matrix.table.severities))
    averaged = "severity" if len(matrix.table.severities) == 1 else "mean over severities"
    over = f" ({averaged} {levels})" if levels else ""
    reference = f"; mCE: {matrix.reference} = 100" if matrix.reference else ""
    return f"{title(matrix)}{over}{reference}"


def matrix_table(matrix: Matrix, width: int) -> "Table":
    """Lay out clean, corruptions, mean and mCE of each model, 95 % intervals where they fit."""
    columns = ["clean", *matrix.table.corruptions, "mean", "mCE"]
    texts = [[text for text, _ in line] for line in heat_cells(matrix)]
    ranges = [
        [
            interval_text(found, share=share) if text != "–" else ""
            for text, found, share in zip(*pair, printed_shares(matrix), strict=True)
        ]
        for pair in zip(texts, printed_estimates(matrix), strict=True)
    ]
    return _fitting(matrix, columns, texts, ranges, width)


def sanity_table(matrix: Matrix, width: int) -> "Table":
    """Lay out what each model scores on clean images and on what is none."""
    names = {"clean": "clean images", **matrix.controls}
    found = [
        [matrix.estimate(matrix.shown, row, name) for name in names]
        for row in range(len(matrix.rows))
    ]
    share = matrix.metric.share
    texts = [[written(one.value, share=share) for one in line] for line in found]
    ranges = [[interval_text(one, share=share) for one in line] for line in found]
    return _fitting(matrix, list(names.values()), texts, ranges, width)


def _fitting(
    matrix: Matrix,
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    ranges: Sequence[Sequence[str]],
    width: int,
) -> "Table":
    from rich.table import Table
    from rich.text import Text

    labels = [row.marked for row in matrix.rows]
    broken = [name.replace("_", " ").replace(" ", "\n") for name in columns]
    laid_out = []
    for models_down, place in LAYOUTS:
        cells = [
            [_cell(*pair, place) for pair in zip(*line, strict=True)]
            for line in zip(texts, ranges, strict=True)
        ]
        tops = [folded_label(label) for label in labels] if place != "beside" else labels
        head, side = (broken, labels) if models_down else (tops, list(columns))
        if not models_down:
            cells = [list(line) for line in zip(*cells, strict=True)]
        laid_out.append((_width(head, side, cells), head, side, cells, place))
    narrowest = min(reversed(laid_out), key=itemgetter(0))
    fitting = next((one for one in laid_out if one[0] <= width), narrowest)
    _, head, side, cells, place = fitting
    caption = (
        f"ranges: {intervals(matrix)}" if place != "left out" and any(map(any, ranges)) else None
    )
    table = Table(caption=caption, caption_justify="left")
    table.add_column("")
    for name in head:
        table.add_column(Text(name), justify="right")
    for name, line in zip(side, cells, strict=True):
        row = [Text.assemble(value, (interval, "dim")) for value, interval in line]
        table.add_row(Text(name), *row)
    return table


def folded_label(label: str, longest: int = 12) -> str:
    r"""Break the name of a model behind `_`, `-`, `/` and blanks into lines, where they can be.

    Example:
        >>> folded_label("clip"), folded_label("clip_vit_b16_quick · lora")
        ('clip', 'clip_vit_\nb16_quick ·\nlora')
    """
    lines = [""]
    for part in re.findall(r"[^\s_/-]*(?:[\s_/-]+|$)", label):
        if lines[-1] and len((lines[-1] + part).rstrip()) > longest:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _cell(text: str, interval: str, place: Place) -> tuple[str, str]:
    if place == "left out" or not interval:
        return text, ""
    return text, f"\n{interval}" if place == "below" else f" ({interval})"


def _width(
    head: Sequence[str], side: Sequence[str], cells: Sequence[Sequence[tuple[str, str]]]
) -> int:
    """Return the columns that the table takes, frame included."""
    each = [
        [name, *(value + interval for value, interval in column)]
        for name, column in zip(head, zip(*cells, strict=True), strict=True)
    ]
    parts = (chain.from_iterable(text.split("\n") for text in column) for column in (side, *each))
    return 1 + sum(3 + max(map(len, lines)) for lines in parts)
