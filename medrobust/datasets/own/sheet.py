"""Pictures of a folder on one sheet, numbered, to be looked at before they are used."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medrobust.exceptions import MedRobustError

from .dicom_grey import Window
from .dicom_headers import quiet_pydicom
from .dicom_pixels import Picture, read_dicom
from .dicom_search import dicom_names
from .pictures import Framing, framed

TILE = 160
"""Pixels a side."""

COLUMNS = 10


def looked_at(folder: Path, window: Window) -> Iterator[tuple[str, Picture | MedRobustError]]:
    """Yield the name of every DICOM file below a folder with its picture, or why there is none.

    Args:
        folder: With files at any depth.
        window: As for `read_dicom`.
    """
    with quiet_pydicom():
        for name in dicom_names(folder):
            try:
                yield name, read_dicom(folder / name, window=window)
            except MedRobustError as error:
                yield name, error


def sheet(pictures: Sequence[Picture]) -> Image.Image:
    """Draw pictures in rows, each with its number."""
    rows = -(-len(pictures) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * TILE, rows * TILE), (40, 40, 90))
    pen = ImageDraw.Draw(canvas)
    for number, picture in enumerate(pictures):
        place = (number % COLUMNS * TILE, number // COLUMNS * TILE)
        tile = framed(picture.pixels, Framing(TILE - 4, "pad"), grey=False)
        canvas.paste(Image.fromarray(np.asarray(tile)), place)
        pen.text((place[0] + 3, place[1] + 2), str(number + 1), fill=(255, 255, 0))
    return canvas
