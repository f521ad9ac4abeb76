"""One image under every corruption and severity, as a model's answer is drawn over it. No torch."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

import numpy as np

from medrobust.reporting.markup import breakable, details
from medrobust.types import Float64Array, Int64Array

from .base import Table
from .sections import Section

MODELS = 3
"""Models whose answers a page shows."""

Drawn: TypeAlias = dict[tuple[str, int], bytes]
"""(Corruption or "clean", severity) -> JPEG of an answer over its image."""


@dataclass(frozen=True, slots=True)
class Montage:
    """What a page shows over an image.

    Attributes:
        title: Of the section.
        heading: What opens it.
        what: A picture is, in a word: "map".
        note: Paragraph above the pictures, HTML.
        order: Where it stands among the sections of the task.
        name: Of the pictures, for W&B.
    """

    title: str
    heading: str
    what: str
    note: str
    order: int
    name: str

    def section(self, matrix: Table, draw: Callable[[Any], bytes | None]) -> Section:
        """Draw an image by corruption and severity, for the first models.

        Nothing is shown of own images, or where a store keeps no pictures.

        Args:
            matrix: Of the task.
            draw: Draws what a stored cell answers over its picture, as JPEG; None where it has
                none.
        """
        found = {} if matrix.data.origin == "own" else _of_models(matrix, draw)
        if not found:
            return Section(self.title, order=self.order)
        parts = [self._table(matrix, label, drawn) for label, drawn in found.items()]
        pictures = [
            (f"{label}: {corruption} s{level}", picture)
            for label, drawn in found.items()
            for (corruption, level), picture in drawn.items()
        ]
        html = details(self.heading, self.note + "".join(parts))
        return Section(self.title, order=self.order, html=html, pictures={self.name: pictures})

    def _table(self, matrix: Table, label: str, drawn: Drawn) -> str:
        levels = matrix.table.severities
        clean = _cell(drawn.get(("clean", 0)), "clean image")
        lines = []
        for corruption in matrix.table.corruptions:
            pictures = "".join(
                _cell(
                    drawn.get((corruption, level)),
                    f"{self.what} under {corruption}, severity {level}",
                )
                for level in levels
            )
            lines.append(f'<tr><th scope="row">{breakable(corruption)}</th>{clean}{pictures}</tr>')
        if not lines:
            lines.append(f'<tr><th scope="row">clean</th>{clean}</tr>')
            levels = ()
        head = "".join(f'<th scope="col">{level}</th>' for level in ("clean", *levels))
        return (
            f"<h4>{escape(label)}</h4>"
            '<div class="scroll strip" role="region" tabindex="0" '
            f'aria-label="{escape(self.heading)}">'
            f'<table><thead><tr><th scope="col">severity</th>{head}</tr></thead>\n'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )


def _of_models(matrix: Table, draw: Callable[[Any], bytes | None]) -> dict[str, Drawn]:
    """Draw for the first models that have a picture of clean images."""
    found: dict[str, Drawn] = {}
    places = [("clean", 0)]
    places += [
        (name, level) for name in matrix.table.corruptions for level in matrix.table.severities
    ]
    for row, line in enumerate(matrix.rows):
        if len(found) == MODELS:
            break
        drawn: Drawn = {}
        for corruption, level in places:
            cell = matrix.cells.get((row, corruption, level))
            picture = None if cell is None else draw(cell)
            if picture is not None:
                drawn[corruption, level] = picture
            elif not level:
                break
        if drawn:
            found[line.label] = drawn
    return found


def _cell(jpeg: bytes | None, what: str) -> str:
    if jpeg is None:
        return "<td>–</td>"
    uri = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return f'<td><img loading="lazy" alt="{escape(what)}" src="{uri}"></td>'


def last_picture(cell: Any, rows: Int64Array) -> tuple[int, bytes] | None:
    """Return the last of some rows whose picture a cell keeps: its place among them, and PNG."""
    names = {path.name: number for number, path in enumerate(cell.examples)}
    for place in reversed(range(len(rows))):
        name = f"row-{rows[place]}.png"
        if name in names:
            return place, cell.picture(names[name])
    return None


def shrunk(png: bytes, side: int) -> Float64Array:
    """Read a picture at another size: float64 (side, side, 3), 0 to 255."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        return np.asarray(opened.convert("RGB").resize((side, side)), np.float64)


def size_of(png: bytes) -> tuple[int, int]:
    """Return width and height of a picture."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        return opened.size


def jpeg(pixels: Float64Array, *, sharp: bool = False) -> bytes:
    """Write float64 (H, W, 3), 0 to 255, as JPEG; a sharp one keeps lines of a pixel's width."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(
        buffer, "JPEG", quality=80, subsampling=0 if sharp else 2
    )
    return buffer.getvalue()
