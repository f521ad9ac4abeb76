"""Image files held against a gate: `medrobust gate check`, without a model."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medrobust.datasets.own.dicom_headers import is_dicom, opened, quiet_pydicom
from medrobust.datasets.own.dicom_pixels import read_dicom
from medrobust.datasets.own.picture_files import FORMATS, is_grey, read_picture
from medrobust.datasets.own.pictures import Framing, framed, quiet_decoders
from medrobust.datasets.own.unlisted import belongs_to_people
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, MedRobustError
from medrobust.readings.gate.gate import Gate
from medrobust.types import UInt8Array

COMPANIONS = (
    ".csv", ".db", ".htm", ".html", ".ini", ".json", ".md", ".parquet", ".tsv", ".txt", ".xls",
    ".xlsx", ".xml", ".yaml", ".yml",
)  # fmt: skip
"""Of tables and notes beside images, in lower case: passed over unless an image is in them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of one file.

    Attributes:
        file: As given, or its path below the folder.
        accepted: Whether the model may be used on it.
        reasons: Why not, each a clause; none if accepted.
        measures: Measure -> value; empty where it was not measured.
    """

    file: str
    accepted: bool
    reasons: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return plain values, for JSON; what has no value is null."""
        values = {n: v if np.isfinite(v) else None for n, v in self.measures.items()}
        return {
            "file": self.file,
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "measures": values,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """What lies below a place.

    Attributes:
        files: All that is to be accepted or refused, whatever its name: no image is accepted that
            was not opened, and none is left out because of its suffix.
        passed: Name -> why it is no image to be asked for: hidden ones, tables and notes.
        refused: Name -> why nothing in it was opened: linked and closed folders, pipes.
    """

    files: Sequence[Path]
    passed: Mapping[str, str]
    refused: Mapping[str, str]


def files_below(place: Path) -> Found:
    """Return a file itself, or what lies below a folder, sorted.

    Links to nowhere are among the files: a picture that is not there was not accepted.

    Raises:
        DatasetNotFoundError: If there is nothing there.
        ConfigurationError: If a folder holds nothing that could be an image.
    """
    if place.is_file():
        return Found([place], {}, {})
    if not place.is_dir():
        raise DatasetNotFoundError(f"{place} not found. Name an image, a DICOM file or a folder.")
    files: list[Path] = []
    passed: dict[str, str] = {}
    refused: dict[str, str] = {}

    def closed(error: OSError) -> None:
        refused[_below(Path(error.filename), place)] = f"cannot be read: {error.strerror}"

    for parent, folders, names in os.walk(place, onerror=closed):
        for name in sorted(folders):
            folder = Path(parent, name)
            if not belongs_to_people(name):
                passed[f"{_below(folder, place)}/"] = "belongs to the system"
            elif folder.is_symlink():
                refused[_below(folder, place)] = "a linked folder, not followed: check it by itself"
        folders[:] = filter(belongs_to_people, folders)
        for file in (Path(parent, name) for name in names):
            reason = _beside_images(file)
            if reason:
                passed[_below(file, place)] = reason
            elif file.exists() and not file.is_file():
                refused[_below(file, place)] = "it is no regular file"
            else:
                files.append(file)
    if not files and not refused:
        raise ConfigurationError(f"{place} holds no image or DICOM file.")
    return Found(sorted(files), passed, refused)


def _below(path: Path, place: Path) -> str:
    return path.relative_to(place).as_posix()


def _beside_images(file: Path) -> str:
    """Say why a file is passed over: hidden, or named as a table and no image; "" for others."""
    from PIL import Image, UnidentifiedImageError

    if file.name.startswith("."):
        return "is hidden"
    if file.suffix.lower() not in COMPANIONS or not file.is_file():
        return ""
    try:
        with file.open("rb") as stream:
            if is_dicom(stream):
                return ""
        with Image.open(file, formats=FORMATS):
            return ""
    except UnidentifiedImageError:
        return "is no image"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""  # to be refused by what reads it


def check_files(gate: Gate, found: Found, root: Path) -> Iterator[Verdict]:
    """Measure files one after the other, and say which the gate accepts.

    Args:
        gate: As fitted.
        found: From `files_below`.
        root: Names are given below it.
    """
    size = gate.images["size"]
    verdict(gate, np.zeros((size, size), np.uint8), "")  # loads what measures
    with quiet_pydicom(), quiet_decoders():
        for file in found.files:
            name = file.name if file == root else _below(file, root)
            try:
                pixels, complaint = _read(file, gate)
            except MedRobustError as error:
                yield Verdict(name, False, (f"cannot be read: {str(error).rstrip('.')}",))
                continue
            except OSError as error:
                yield Verdict(name, False, (f"cannot be read: {error.strerror or error}",))
                continue
            yield Verdict(name, False, (complaint,)) if complaint else verdict(gate, pixels, name)
    for name, reason in sorted(found.refused.items()):
        yield Verdict(name, False, (reason,))


def verdict(gate: Gate, pixels: UInt8Array, name: str) -> Verdict:
    """Hold an image, uint8 (H, W) or (H, W, 3) of the gate's size, against a gate."""
    import torch

    from medrobust.quality import measure

    planes = pixels[None, None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)[None]
    names = gate.envelope.names
    with torch.inference_mode():
        found = measure(torch.from_numpy(np.ascontiguousarray(planes)), names)
    values = np.array([found[n].item() for n in names]) + 0.0  # no -0
    distances = gate.envelope.distances(values[None])[0]
    reasons = [
        _reason(gate, m, values[m])
        for m in np.argsort(-distances, kind="stable")
        if not distances[m] <= gate.limit
    ]
    return Verdict(
        name, not reasons, tuple(reasons), dict(zip(names, values.tolist(), strict=True))
    )


def _reason(gate: Gate, measure: int, value: float) -> str:
    """Say what is wrong with the value of a measure that the gate refuses."""
    envelope, name = gate.envelope, gate.envelope.names[measure]
    least, greatest = envelope.least[measure], envelope.greatest[measure]
    if not np.isfinite(value):
        return f"{name} has no value"
    if not least <= value <= greatest:
        return f"{name} {value:.4g} is outside what was tested, {least:.4g} to {greatest:.4g}"
    low, high = (ends[measure] for ends in envelope.limits(gate.limit))
    side = f"above {high:.4g}" if value > high else f"below {low:.4g}"
    return f"{name} {value:.4g} is {side}"


def _read(file: Path, gate: Gate) -> tuple[UInt8Array, str]:
    """Return an image of the gate's size, or why it is none that the gate is of."""
    images = gate.images
    framing = Framing(images["size"], images["fit"], images["bit_depth"])
    grey = images["channels"] == 1
    with file.open("rb") as stream:
        dicom = is_dicom(stream)
    if dicom:
        with opened(file) as (header, _):
            modality = str(header.get("Modality", ""))
        if images["modality"] and modality != images["modality"]:
            wanted = images["modality"]
            return _NOTHING, f"its modality is {modality or 'not named'}, the gate's is {wanted}"
        raw = read_dicom(file).pixels
        is_grey_, sides = raw.ndim == 2, raw.shape[:2]
    else:
        is_grey_, sides = is_grey(file), _sides(file)
    if is_grey_ != grey:
        kinds = ("a colour image", "a grey image")
        return _NOTHING, f"it is {kinds[is_grey_]}, and the gate is of {kinds[grey][2:]}s"
    if min(sides) < images["size"]:
        return _NOTHING, (
            f"it has {sides[0]} x {sides[1]} pixels, and the gate is of {images['size']} a side: "
            f"enlarging would make it soft"
        )
    pixels = framed(raw, framing, grey=grey) if dicom else read_picture(file, framing, grey=grey)
    return pixels, ""


_NOTHING = np.zeros((0, 0), np.uint8)


def _sides(file: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(file) as image:
        return image.height, image.width
