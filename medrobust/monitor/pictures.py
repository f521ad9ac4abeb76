"""Pictures of the studies that lie nearest to the reference and farthest from it, when asked for.

A monitor keeps no picture by itself. Asked for, an update keeps small ones of its own studies in
`pictures/`, without names, in place of those of the update before.
"""

import base64
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from medrobust.base.whole_files import write_whole
from medrobust.exceptions import ConfigurationError, StoreError
from medrobust.types import Float64Array, UInt8Array

from .default_windows import digester_of
from .folder import MonitorFolder, json_bytes
from .streams import distances
from .studies import Studies, day_text
from .watch import check_vectors

SIDE = 160
"""Pixels of the longer side."""

INDEX = "pictures/index.json"


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture of one study.

    Attributes:
        png: The file.
        side: "nearest" or "farthest".
        away: How far the study lies from the reference.
        day: Of the study.
    """

    png: bytes
    side: str
    away: float
    day: str


def pictures_of(place: Path, studies: Studies, files: Sequence[Path], count: int) -> list[Picture]:
    """Make small pictures of the nearest and farthest studies; nothing is written.

    Args:
        place: Folder of the monitor, of the default recipe with an embedding.
        studies: Of one update.
        files: The image of each.
        count: Of nearest ones, and as many of farthest ones.

    Raises:
        ConfigurationError: If the monitor has no embedding to measure by.
        InvalidDataError: If the studies have none, or one of another size.
        InvalidImageError: If an image cannot be read.
    """
    away = distances_of(place, studies)
    order = np.argsort(away, kind="stable")
    some = min(count, len(order))
    chosen = [("nearest", row) for row in order[:some]]
    chosen += [("farthest", row) for row in order[::-1][:some]]
    return [
        Picture(_png(files[row]), side, float(away[row]), day_text(int(studies.days[row])))
        for side, row in chosen
    ]


def keep_pictures(place: Path, made: Sequence[Picture]) -> None:
    """Keep pictures in place of those of the update before.

    Raises:
        StoreError: If the disk does not take them.
    """
    folder = MonitorFolder(place)
    try:
        with folder.locked():
            shutil.rmtree(place / "pictures", ignore_errors=True)
            (place / "pictures").mkdir()
            index = []
            for number, one in enumerate(made):
                write_whole(place / "pictures" / f"{number:02d}.png", one.png, lasting=False)
                index.append([f"{number:02d}.png", one.side, one.away, one.day])
            write_whole(place / INDEX, json_bytes(index), lasting=False)
    except OSError as error:
        raise StoreError(f"{place / 'pictures'} cannot be written ({error}).") from error


def distances_of(place: Path, studies: Studies) -> Float64Array:
    """Return how far each study lies from the reference: sqrt of T^2 within its components.

    Raises:
        ConfigurationError: If the monitor has no embedding.
        InvalidDataError: If the studies have none, or one of another size.
    """
    folder = MonitorFolder(place)
    record = folder.record()
    if record["recipe"] != "default" or "embedding" not in record["vectors"]:
        raise ConfigurationError(
            f"{place} has no embedding of the default recipe: nothing says which pictures are near."
        )
    check_vectors(studies, record)
    found = distances(studies.vectors["embedding"], digester_of(record, folder.reference()).arrays)
    return np.sqrt(found["embedding distance"])


def shown(place: Path) -> list[tuple[str, str, float, str]]:
    """Return pictures of the last update: data URI, "nearest" or "farthest", distance, day."""
    index: Any = MonitorFolder(place).read(INDEX) or []
    found = []
    for name, side, away, day in index:
        try:
            png = (place / "pictures" / name).read_bytes()
        except OSError:
            continue  # removed by hand: the page goes on without it
        found.append(("data:image/png;base64," + base64.b64encode(png).decode(), side, away, day))
    return found


def _png(file: Path) -> bytes:
    from PIL import Image

    picture = Image.fromarray(_pixels(file))
    picture.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _pixels(file: Path) -> UInt8Array:
    from medrobust.base.safe_files import system_errors_named
    from medrobust.datasets.own.dicom_headers import is_dicom
    from medrobust.datasets.own.dicom_pixels import read_dicom
    from medrobust.datasets.own.picture_files import read_picture
    from medrobust.datasets.own.pictures import Framing

    with system_errors_named(file), file.open("rb") as stream:
        dicom = is_dicom(stream)
    if dicom:
        return read_dicom(file).pixels
    return read_picture(file, Framing(SIDE), grey=False)
