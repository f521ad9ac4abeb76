"""Look at a folder of DICOM files before using it: `python scripts/dicom_sheet.py FOLDER OUT.png`.

Draws every image that can be read as it would enter a data set, numbered, on one sheet, and prints
file by file what was read and what was refused, and why. Sheet and list are for your eyes: pixels
may show, and file names may hold, what identifies a patient.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medrobust.datasets.own.dicom_grey import Window
from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_pixels import Picture, read_dicom
from medrobust.datasets.own.dicom_search import dicom_names
from medrobust.datasets.own.pictures import Framing, framed
from medrobust.exceptions import MedRobustError

TILE = 160
COLUMNS = 10


def main(arguments: list[str] | None = None) -> int:
    """Read, draw, list; 1 if nothing could be read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("sheet", type=Path, help="the PNG to write")
    parser.add_argument("--window", default="header", help="header, range, stored or CENTRE,WIDTH")
    parser.add_argument("--most", type=int, default=200, help="images on the sheet")
    given = parser.parse_args(arguments)
    window: Window = given.window
    if "," in given.window:
        centre, width = given.window.split(",")
        window = (float(centre), float(width))
    read, refused = [], 0
    with quiet_pydicom():
        for name in dicom_names(given.folder):
            try:
                picture = read_dicom(given.folder / name, window=window)
            except MedRobustError as error:
                refused += 1
                print(f"refused  {error}")
                continue
            read.append(picture)
            kind = "x".join(map(str, picture.pixels.shape))
            print(f"{len(read):7d}  {name}  {kind}", *picture.notes)
            if len(read) == given.most:
                break
    print(f"{len(read)} read, {refused} refused")
    if not read:
        return 1
    sheet(read).save(given.sheet)
    return 0


def sheet(pictures: list[Picture]) -> Image.Image:
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


if __name__ == "__main__":
    sys.exit(main())
