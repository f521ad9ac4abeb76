"""How far two borders are apart at each of their pixels, over the images that a page shows.

Knows no torch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.tasks.base import Section, Table
from medrobust.tasks.montages import Montage, jpeg, shrunk
from medrobust.types import Float64Array, UInt8Array

from .contours import SIDE, contour, shown_picture

FAR = 10.0
"""Pixels of the kept mask, at most 224 a side, at which the color of an error is full."""

NEAR_COLOR, FAR_COLOR = np.array([0.0, 200.0, 255.0]), np.array([255.0, 80.0, 0.0])
"""Colors of 0 and of `FAR` or more: told apart by people who see no red or no green."""

MONTAGE = Montage(
    title="Border errors",
    heading="Border errors over an image",
    what="border errors",
    note='<p class="small">Both borders, each pixel by its distance from the other one: blue where '
    f"they coincide, red from {FAR:g} pixels (of masks of at most 224) on, and all red where the "
    "other mask is empty.</p>",
    order=13,
    name="border_errors",
)


def border_errors_over_images(matrix: Table) -> Section:
    """Show the errors of one image, by corruption and severity, for the first models."""
    return MONTAGE.section(matrix, _drawn)


def _drawn(cell: Any) -> bytes | None:
    found = shown_picture(cell)
    if found is None:
        return None
    place, png = found
    truth, predicted = (cell.arrays[name][place] for name in ("shown_truths", "shown_masks"))
    picture = shrunk(png, SIDE)
    errors = at_side(border_errors(truth, predicted), SIDE)
    where = ~np.isnan(errors)
    share = np.clip(errors[where] / FAR, 0, 1)[:, None]
    picture[where] = (1 - share) * NEAR_COLOR + share * FAR_COLOR
    return jpeg(picture, sharp=True)


def border_errors(truth: UInt8Array, predicted: UInt8Array) -> Float64Array:
    """Return the distance of each pixel of either border from the other border.

    Args:
        truth: uint8 (h, w), the class of each pixel.
        predicted: The same.

    Returns:
        float64 (h, w), in pixels; NaN where there is no border, infinite where there is no other.

    Example:
        >>> one, other = np.zeros((2, 9, 9), np.uint8)
        >>> one[2:5, 2:5], other[2:5, 4:7] = 1, 1
        >>> found = border_errors(one, other)
        >>> float(found[2, 2]), float(found[2, 4]), bool(np.isnan(found[8, 8]))
        (2.0, 0.0, True)
    """
    from scipy.ndimage import distance_transform_edt

    borders: list[NDArray[np.bool_]] = [contour(mask) for mask in (truth, predicted)]
    found = np.full(truth.shape, np.nan)
    for own, other in (borders, borders[::-1]):
        away = distance_transform_edt(~other) if other.any() else np.full(truth.shape, np.inf)
        found[own] = away[own]
    return found


def at_side(errors: Float64Array, side: int) -> Float64Array:
    """Bring errors to another size, the largest of those that fall together: (side, side).

    Example:
        >>> errors = np.array([[np.nan, 1.0], [3.0, np.nan]])
        >>> at_side(errors, 1).tolist(), bool(np.isnan(at_side(errors, 4)[0, 0]))
        ([[3.0]], True)
    """
    rows, columns = np.nonzero(~np.isnan(errors))
    found = np.full((side, side), -1.0)
    places = rows * side // errors.shape[0], columns * side // errors.shape[1]
    np.maximum.at(found, places, errors[rows, columns])
    return np.where(found < 0, np.nan, found)
