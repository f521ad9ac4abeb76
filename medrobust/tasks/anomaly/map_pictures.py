"""Maps over the images that a page shows: one abnormal image under every corruption. No torch."""

import base64
import io
from html import escape
from typing import Any, TypeAlias

import numpy as np

from medrobust.reporting.markup import breakable, details
from medrobust.tasks.base import Section, Table
from medrobust.types import Float32Array, UInt8Array

SIDE = 112
"""Pixels of a picture."""

MODELS = 3
"""Models whose maps a page shows."""

FROM = 0.5
"""Scaled value from which on is coloured: 0 is the median of normal pixels, 1 what a hundredth of
them exceeds."""

Drawn: TypeAlias = dict[tuple[str, int], bytes]
"""(Corruption or "clean", severity) -> JPEG of a map over its image."""

ORDER = 11
"""Where they stand among the sections of the task."""

COLOR = np.array([255.0, 60.0, 30.0])
OPACITY = 0.85


def maps_over_images(matrix: Table) -> Section:
    """Show where one image is not normal, by corruption and severity, for the first models.

    Nothing is shown of own images, or where a store keeps no pictures.
    """
    montages = {} if matrix.data.origin == "own" else _montages(matrix)
    if not montages:
        return Section("Maps", order=ORDER)
    note = (
        '<p class="small">Coloured from half way between the median of the pixels of normal '
        "validation images and what one in a hundred of them exceeds, and the more the farther "
        "beyond.</p>"
    )
    parts = [_montage(matrix, label, drawn) for label, drawn in montages.items()]
    pictures = [
        (f"{label}: {corruption} s{level}", picture)
        for label, drawn in montages.items()
        for (corruption, level), picture in drawn.items()
    ]
    html = details("Maps over an image", note + "".join(parts))
    return Section("Maps", order=ORDER, html=html, pictures={"maps": pictures})


def _montages(matrix: Table) -> dict[str, Drawn]:
    """Draw the maps of the first models that have one of clean images."""
    found: dict[str, Drawn] = {}
    places = [("clean", 0)]
    places += [
        (name, level) for name in matrix.table.corruptions for level in matrix.table.severities
    ]
    for row, line in enumerate(matrix.rows):
        if len(found) < MODELS and _drawn(matrix, row, *places[0]):
            drawn = {place: _drawn(matrix, row, *place) for place in places}
            found[line.label] = {place: jpeg for place, jpeg in drawn.items() if jpeg is not None}
    return found


def _montage(matrix: Table, label: str, drawn: Drawn) -> str:
    levels = matrix.table.severities
    clean = _cell(drawn.get(("clean", 0)), "clean image")
    lines = []
    for corruption in matrix.table.corruptions:
        pictures = "".join(
            _cell(drawn.get((corruption, level)), f"map under {corruption}, severity {level}")
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


def _cell(jpeg: bytes | None, what: str) -> str:
    if jpeg is None:
        return "<td>–</td>"
    uri = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return f'<td><img loading="lazy" alt="{escape(what)}" src="{uri}"></td>'


def _drawn(matrix: Table, row: int, corruption: str, severity: int) -> bytes | None:
    """Draw the last map that a cell keeps over its picture; None where either lacks."""
    cell = matrix.cells.get((row, corruption, severity))
    if cell is None or not len(cell.arrays["map_rows"]):
        return None
    names = {path.name: number for number, path in enumerate(cell.examples)}
    for place in reversed(range(len(cell.arrays["map_rows"]))):
        name = f"row-{cell.arrays['map_rows'][place]}.png"
        if name in names:
            zoom = float(cell.arrays["map_zoom"][0])
            return overlay(cell.picture(names[name]), cell.arrays["maps"][place], zoom)
    return None


def overlay(png: bytes, values: Float32Array, zoom: float) -> bytes:
    """Draw a scaled map over a picture: a JPEG.

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
    return buffer.getvalue()


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
