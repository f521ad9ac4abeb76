"""Maps over the images that a page shows: one abnormal image under every corruption. No torch."""

import base64
import io
from html import escape
from typing import Any

import numpy as np

from medrobust.reporting.markup import breakable, details
from medrobust.tasks.base import Table
from medrobust.types import Float32Array, UInt8Array

SIDE = 112
"""Pixels of a picture."""

MODELS = 3
"""Models whose maps a page shows."""

FROM = 0.5
"""Scaled value from which on is coloured: 0 is the median of normal pixels, 1 what a hundredth of
them exceeds."""

COLOR = np.array([255.0, 60.0, 30.0])
OPACITY = 0.85


def maps_over_images(matrix: Table) -> str:
    """Show where one image is not normal, by corruption and severity, for the first models.

    Nothing is shown of own images, or where a store keeps no pictures.
    """
    if matrix.data.origin == "own":
        return ""
    shown = [(row, line) for row, line in enumerate(matrix.rows) if _drawn(matrix, row, "clean", 0)]
    if not shown:
        return ""
    note = (
        '<p class="small">Coloured from half way between the median of the pixels of normal '
        "validation images and what one in a hundred of them exceeds, and the more the farther "
        "beyond.</p>"
    )
    parts = [_montage(matrix, row, line.label) for row, line in shown[:MODELS]]
    return details("Maps over an image", note + "".join(parts))


def _montage(matrix: Table, row: int, label: str) -> str:
    levels = matrix.table.severities
    clean = _cell(_drawn(matrix, row, "clean", 0), "clean image")
    lines = []
    for corruption in matrix.table.corruptions:
        pictures = "".join(
            _cell(
                _drawn(matrix, row, corruption, level), f"map under {corruption}, severity {level}"
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
        '<div class="scroll strip" role="region" tabindex="0" aria-label="Maps over an image">'
        f'<table><thead><tr><th scope="col">severity</th>{head}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(picture: str, what: str) -> str:
    if not picture:
        return "<td>–</td>"
    return f'<td><img loading="lazy" alt="{escape(what)}" src="{picture}"></td>'


def _drawn(matrix: Table, row: int, corruption: str, severity: int) -> str:
    """Draw the last map that a cell keeps over its picture; empty where either lacks."""
    cell = matrix.cells.get((row, corruption, severity))
    if cell is None or not len(cell.arrays["map_rows"]):
        return ""
    names = {path.name: number for number, path in enumerate(cell.examples)}
    for place in reversed(range(len(cell.arrays["map_rows"]))):
        name = f"row-{cell.arrays['map_rows'][place]}.png"
        if name in names:
            zoom = float(cell.arrays["map_zoom"][0])
            return overlay(cell.picture(names[name]), cell.arrays["maps"][place], zoom)
    return ""


def overlay(png: bytes, values: Float32Array, zoom: float) -> str:
    """Draw a scaled map over a picture: a JPEG as data URI.

    Args:
        png: The picture, square.
        values: (h, w), scaled.
        zoom: Side of the image in units of the side of the map.
    """
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        small = np.asarray(opened.convert("RGB").resize((SIDE, SIDE)), np.float64)
    beyond = np.clip(spread(values, zoom, SIDE) - FROM, 0, None)[..., None]
    strength = OPACITY * beyond / (1 + beyond)
    mixed: UInt8Array = (small * (1 - strength) + COLOR * strength).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(mixed).save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def spread(values: Float32Array, zoom: float, side: int) -> Any:
    """Bring a map (h, w) to the pixels of its image, bilinearly: float64 (side, side).

    Example:
        >>> spread(np.array([[0, 1], [0, 1]], np.float32), 1.0, 4)[0].tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    centers = zoom * ((2 * np.arange(side) + 1) / side - 1)
    height, width = values.shape
    (above, below, down), (left, right, across) = (_ends(centers, n) for n in (height, width))
    top = values[above][:, left] * (1 - across) + values[above][:, right] * across
    bottom = values[below][:, left] * (1 - across) + values[below][:, right] * across
    return top * (1 - down[:, None]) + bottom * down[:, None]


def _ends(centers: Any, count: int) -> tuple[Any, Any, Any]:
    """Return the values that each place lies between, and how far from the first it is."""
    place = np.clip(((centers + 1) * count - 1) / 2, 0, count - 1)
    first = np.floor(place).astype(np.int64)
    return first, np.minimum(first + 1, count - 1), place - first
