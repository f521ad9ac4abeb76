"""`medrobust sheet FOLDER OUT.png`: what a folder of DICOM files looks like."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medrobust.exceptions import ConfigurationError, MedRobustError

from .parsing import subcommand_parser

if TYPE_CHECKING:
    from medrobust.datasets.own.dicom_grey import Window

ABOUT = """\
Look at a folder of DICOM files before using it.

Draws every image that can be read as it would enter a data set, numbered, on one sheet, and prints
file by file what was read and what was refused, and why. Sheet and list are for your eyes: pixels
may show, and file names may hold, what identifies a patient."""


def main(arguments: Sequence[str]) -> int:
    """Read, draw, list; 1 if nothing could be read."""
    parser = subcommand_parser("sheet", ABOUT, "dicoms sheet.png", "ct sheet.png --window 40,400")
    parser.add_argument("folder", type=Path, help="with DICOM files at any depth")
    parser.add_argument("sheet", type=Path, help="the PNG to write")
    parser.add_argument("--window", default="header", help="header, range, stored or CENTRE,WIDTH")
    parser.add_argument("--most", type=int, default=200, help="images on the sheet")
    given = parser.parse_args(arguments)
    window = read_window(given.window)
    if not given.folder.is_dir():
        raise ConfigurationError(f"folder {given.folder} not found. Name one with DICOM files.")
    from medrobust.datasets.own.sheet import looked_at, sheet

    read, refused = [], 0
    for name, picture in looked_at(given.folder, window):
        if isinstance(picture, MedRobustError):
            refused += 1
            print(f"refused  {picture}")
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


def read_window(text: str) -> "Window":
    """Read header, range, stored or CENTRE,WIDTH.

    Raises:
        ConfigurationError: If it is none of them.

    Example:
        >>> read_window("40,400")
        (40.0, 400.0)
    """
    named: dict[str, Window] = {"header": "header", "range": "range", "stored": "stored"}
    if text in named:
        return named[text]
    match = re.fullmatch(r"(-?[\d.]+),([\d.]+)", text)
    if match is None:
        raise ConfigurationError(f"--window {text}: write header, range, stored or CENTRE,WIDTH.")
    return float(match[1]), float(match[2])
