"""DICOM files of a folder as rows of studies: what their headers say, and what was passed over.

Streams are the elements that CheXstray and MMC+ watch, of those that are in the header of an image
(microsoft and CPBridge/MedImaging-ModelDriftMonitoring: src/model_drift/drift/config.py), with the
model of the device, its software and the part of the body. None of them names a patient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medrobust.base.missing import names_nobody
from medrobust.datasets.own.dicom_headers import opened, quiet_pydicom
from medrobust.datasets.own.dicom_imageless import NO_IMAGE, check_image
from medrobust.datasets.own.dicom_search import dicom_files
from medrobust.datasets.own.dicom_values import number, short
from medrobust.exceptions import InvalidDataError, InvalidImageError

from .studies import seconds_of

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

NUMBERS = (
    "Rows", "Columns", "BitsStored", "PixelRepresentation", "WindowCenter", "WindowWidth", "KVP",
    "XRayTubeCurrent", "Exposure", "ExposureInuAs", "RelativeXRayExposure", "SpatialResolution",
)  # fmt: skip
"""Elements that hold a number; of several the first counts."""

TEXTS = (
    "Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "BodyPartExamined",
    "ViewPosition", "PatientSex", "PhotometricInterpretation", "PixelAspectRatio",
)  # fmt: skip
"""Elements that hold a word; several are joined."""

AGE = "PatientAge"
"""A number and D, W, M or Y; in years as a stream."""

AGES = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}

MOMENTS = ("Study", "Series", "Acquisition", "Content")
"""Before Date and Time: the first that is there says when a study was made."""

STREAMS = (*NUMBERS, AGE, *TEXTS)


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an image says.

    Attributes:
        path: In the folder, POSIX text.
        instance: SOP instance UID.
        time: As DICOM writes it, 20260131083000; without a time of day the date alone.
        patient: PatientID; empty where it names nobody.
        values: Stream -> value; empty where it is missing, or no number.
    """

    path: str
    instance: str
    time: str
    patient: str
    values: Mapping[str, str]


def headers(folder: Path) -> tuple[list[Header], dict[str, str]]:
    """Read the headers of all DICOM images below a folder.

    Returns:
        Headers by path, and path -> reason of what holds no image (reports, plans), or cannot be
        looked at, and was passed over.

    Raises:
        InvalidImageError: For a damaged file; names it, and no value of a header.
        InvalidDataError: For an image without a date.
    """
    files = dicom_files(folder)
    found, passed = [], dict(files.passed)
    with quiet_pydicom():
        for name in files.names:
            try:
                found.append(_header(folder / name, name))
            except InvalidImageError as error:
                if NO_IMAGE not in str(error):
                    raise
                passed[name] = NO_IMAGE
    return found, passed


def _header(file: Path, name: str) -> Header:
    with opened(file) as (header, stream):
        check_image(header, stream, file)
        patient = str(header.get("PatientID", "") or "").strip()
        values = {key: _number(header, key) for key in NUMBERS}
        values |= {AGE: _age(_text(header, AGE)), **{key: _text(header, key) for key in TEXTS}}
        return Header(
            path=name,
            instance=str(header.SOPInstanceUID),
            time=_moment(header, name),
            patient="" if names_nobody(patient) else patient,
            values=values,
        )


def _moment(header: "FileDataset", name: str) -> str:
    """Return date and time of the first pair whose date can be read.

    Raises:
        InvalidDataError: If there is none.
    """
    for kind in MOMENTS:
        date, time = _text(header, f"{kind}Date"), _text(header, f"{kind}Time")
        digits = date.replace(".", "")  # of ACR-NEMA: 2026.01.31
        clock = time.replace(":", "").partition(".")[0].ljust(6, "0")
        for text in (digits + clock if time else "", digits):
            try:
                seconds_of(text)
            except (ValueError, OverflowError):
                continue
            return text
    raise InvalidDataError(
        f"{name} states no date that can be read ({'Date, '.join(MOMENTS)}Date): give a table with "
        f"the columns id, time and path in place of the folder."
    )


def _text(header: "FileDataset", keyword: str) -> str:
    try:
        value = header.get(keyword)
    except (ValueError, TypeError):
        return ""
    if value is None:
        return ""
    several = not isinstance(value, str | bytes | float | int) and hasattr(value, "__iter__")
    return " ".join(map(str, value)).strip() if several else str(value).strip()


def _number(header: "FileDataset", keyword: str) -> str:
    try:
        found = number(header.get(keyword))
    except (ValueError, TypeError):
        return ""
    return "" if found is None else short(found)


def _age(text: str) -> str:
    digits, unit = text[:-1], text[-1:].upper()
    return short(int(digits) * AGES[unit]) if digits.isdecimal() and unit in AGES else ""


def columns_of(found: list[Header], *, whole: bool) -> dict[str, list[Any]]:
    """Return streams as columns.

    Args:
        found: Headers.
        whole: Whether streams without any value are there, too: a monitor may know them.
    """
    columns = {key: [one.values[key] for one in found] for key in STREAMS}
    return {key: values for key, values in columns.items() if whole or any(values)}
