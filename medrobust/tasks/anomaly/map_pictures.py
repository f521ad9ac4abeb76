"""Maps over the images that a page shows: one abnormal image under every corruption. No torch."""

from typing import Any

import numpy as np

from medrobust.tasks.base import Section, Table
from medrobust.tasks.montages import Montage, jpeg, last_picture, shrunk
from medrobust.types import Float32Array

SIDE = 112
"""Pixels of a picture."""

FROM = 0.5
"""Scaled value from which on is coloured: 0 is the median of normal pixels, 1 what a hundredth of
them exceeds."""

COLOR = np.array([255.0, 60.0, 30.0])
OPACITY = 0.85


MONTAGE = Montage(
    title="Maps",
    heading="Maps over an image",
    what="map",
    note='<p class="small">Coloured from half way between the median of the pixels of normal '
    "validation images and what one in a hundred of them exceeds, and the more the farther "
    "beyond.</p>",
    order=11,
    name="maps",
)


def maps_over_images(matrix: Table) -> Section:
    """Show where one image is not normal, by corruption and severity, for the first models.

    Nothing is shown of own images, or where a store keeps no pictures.
    """
    return MONTAGE.section(matrix, _drawn)


def _drawn(cell: Any) -> bytes | None:
    """Draw the last map that a cell keeps over its picture; None where either lacks."""
    found = last_picture(cell, cell.arrays["map_rows"])
    if found is None:
        return None
    place, png = found
    return overlay(png, cell.arrays["maps"][place], float(cell.arrays["map_zoom"][0]))


def overlay(png: bytes, values: Float32Array, zoom: float) -> bytes:
    """Draw a scaled map over a picture: a JPEG.

    Args:
        png: The picture, square.
        values: (h, w), scaled.
        zoom: Side of the image in units of the side of the map.
    """
    small = shrunk(png, SIDE)
    beyond = np.clip(spread(values, zoom, SIDE) - FROM, 0, None)[..., None]
    strength = OPACITY * beyond / (1 + beyond)
    return jpeg(small * (1 - strength) + COLOR * strength)


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
