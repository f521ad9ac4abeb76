"""Contours of truth and prediction over the images that a page shows. Knows no torch."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.tasks.base import Section, Table
from medrobust.tasks.montages import MODELS, Montage, jpeg, last_picture, shrunk, size_of
from medrobust.tasks.sections import MaskedPicture
from medrobust.types import UInt8Array

SIDE = 144
"""Pixels of a picture."""

TRUTH, PREDICTION, BOTH = ((0.0, 200.0, 255.0), (255.0, 120.0, 0.0), (255.0, 255.0, 255.0))
"""Colors of contours: told apart by people who see no red or no green."""

MONTAGE = Montage(
    title="Contours",
    heading="Contours over an image",
    what="contours",
    note='<p class="small">The border of the truth, moved as the corruption moves pixels, in blue; '
    "that of the prediction in orange; where they coincide, white.</p>",
    order=12,
    name="contours",
)


def contours_over_images(matrix: Table) -> Section:
    """Show truth and prediction of one image, by corruption and severity, for the first models."""
    section = MONTAGE.section(matrix, _drawn)
    return replace(section, masked={"masks": partial(masked_pictures, matrix)})


def masked_pictures(matrix: Table) -> Iterator[MaskedPicture]:
    """Give the picture of each cell of the first models with truth and prediction beside it.

    Of own images, too, where the store keeps pictures of them.
    """
    for (row, corruption, level), cell in matrix.cells.items():
        found = shown_picture(cell) if row < MODELS else None
        if found is not None:
            place, png = found
            given = {"truth": "shown_truths", "prediction": "shown_masks"}
            side = min(size_of(png))
            masks = {name: resized(cell.arrays[key][place], side) for name, key in given.items()}
            label = f"{matrix.rows[row].label}: {corruption} s{level}"
            yield MaskedPicture(label, png, masks, cell.head["classes"])


def _drawn(cell: Any) -> bytes | None:
    """Draw both contours of the last kept masks over their picture; None where it lacks."""
    found = shown_picture(cell)
    if found is None:
        return None
    place, png = found
    masks = (cell.arrays[name][place] for name in ("shown_truths", "shown_masks"))
    return overlay(png, *masks)


def shown_picture(cell: Any) -> tuple[int, bytes] | None:
    """Return the last kept mask that shows something, or the last: its place, and its picture.

    Returns:
        Place among the kept masks, and PNG; None where the cell keeps no picture of any.
    """
    rows = cell.arrays["shown_rows"]
    shows = cell.arrays["shown_truths"].any(axis=(1, 2))
    for places in (np.flatnonzero(shows), np.arange(len(rows))):
        found = last_picture(cell, rows[places])
        if found is not None:
            return int(places[found[0]]), found[1]
    return None


def overlay(png: bytes, truth: UInt8Array, predicted: UInt8Array) -> bytes:
    """Draw the contours of two masks over a picture: a JPEG.

    Args:
        png: The picture, square.
        truth: uint8 (h, w), the class of each pixel.
        predicted: The same.
    """
    picture = shrunk(png, SIDE)
    one, other = contour(resized(truth, SIDE)), contour(resized(predicted, SIDE))
    for where, color in ((one, TRUTH), (other, PREDICTION), (one & other, BOTH)):
        picture[where] = color
    return jpeg(picture, sharp=True)


def resized(mask: UInt8Array, side: int) -> UInt8Array:
    """Return a mask at another size, by its nearest pixels: (side, side).

    Example:
        >>> resized(np.array([[0, 1], [2, 3]], np.uint8), 4)[1].tolist()
        [0, 0, 1, 1]
    """
    rows, columns = ((np.arange(side) * length) // side for length in mask.shape)
    found: UInt8Array = mask[rows][:, columns]
    return found


def contour(mask: UInt8Array) -> NDArray[np.bool_]:
    """Return the pixels of a foreground that have another class above, below or beside them.

    Example:
        >>> mask = np.zeros((5, 5), np.uint8)
        >>> mask[1:4, 1:4] = 1
        >>> int(contour(mask).sum()), bool(contour(mask)[2, 2])
        (8, False)
    """
    around = np.pad(mask, 1)
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    border = np.any([one != mask for one in neighbours], axis=0)
    found: NDArray[np.bool_] = border & (mask > 0)
    return found
