"""Numbers of a DICOM header, looked up where plain and enhanced images keep them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

OVERLAYS = range(0x6000, 0x6020, 2)
"""Groups of up to sixteen overlays."""

OVERLAY_DATA = range(0x60003000, 0x60200000, 0x20000)
"""Tags of their pixels."""


def frame_value(header: "Dataset", index: int, sequence: str, keyword: str) -> Any:
    """Look a value up where enhanced images keep it: of the frame, of all frames, at the top."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for groups in (*frames[index : index + 1], *shared[:1]):
        for item in (groups.get(sequence) or [])[:1]:
            if item.get(keyword) is not None:
                return item.get(keyword)
    return header.get(keyword)


class NoNumberError(ValueError):
    """A value of a header that should be one number; says its keyword, the value is private."""


def frame_number(header: "Dataset", index: int, sequence: str, keyword: str) -> float | None:
    """Return the first number that `frame_value` finds, or None for none.

    Raises:
        NoNumberError: If it is no number, as `1,5` is none.
    """
    try:
        return number(frame_value(header, index, sequence, keyword))
    except (ValueError, TypeError) as error:
        told = f"{keyword} that is no number (decimals have a point, not a comma)"
        raise NoNumberError(told) from error


def single(value: Any, keyword: str) -> Any:
    """Return a value that decides pixels alone, as it is.

    Raises:
        NoNumberError: If there are several.
    """
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) > 1:
        raise NoNumberError(f"{keyword} with {len(value)} values where one decides the pixels")
    return value


def number(value: Any) -> float | None:
    """Return the first of one or several numbers, or None for none."""
    if value is None or isinstance(value, str | bytes):
        return float(value) if value else None
    if isinstance(value, Sequence):
        return float(value[0]) if len(value) else None
    return float(value)


def short(value: float) -> str:
    """Write a number of a header for a sentence.

    Example:
        >>> short(4096.0), short(0.000244140625)
        ('4096', '0.000244141')
    """
    return f"{value:.6g}"


def stored_bits(header: "FileDataset") -> int:
    """Return the bits of a stored value; floating pixels name only those that are allocated."""
    return int(header.get("BitsStored") or header.BitsAllocated)


def is_signed(header: "FileDataset") -> bool:
    """Say whether stored values are signed."""
    return bool(header.get("PixelRepresentation"))


def has_overlays(header: "FileDataset") -> bool:
    """Say whether overlays are declared, which may lie in unused bits of the pixels."""
    return any(tag >> 16 in OVERLAYS for tag in header.keys())  # noqa: SIM118  # raw tags


def rescale(header: "FileDataset", index: int) -> tuple[float, float] | None:
    """Return slope and intercept of a frame (PS3.3, C.11.1.1.2), or None for a slope of no use.

    A slope of 0, or one that is no number, would make all values one: it is left aside, with its
    intercept.

    Raises:
        NoNumberError: If one is no number or several.
    """
    where = "PixelValueTransformationSequence"
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        single(frame_value(header, index, where, keyword), keyword)
    slope = frame_number(header, index, where, "RescaleSlope")
    intercept = frame_number(header, index, where, "RescaleIntercept")
    found = (1.0 if slope is None else slope), (intercept or 0.0)
    return found if np.isfinite(found).all() and found[0] else None


def first_window(header: "FileDataset", index: int) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window, or None."""
    where = "FrameVOILUTSequence"
    centre = frame_number(header, index, where, "WindowCenter")
    width = frame_number(header, index, where, "WindowWidth")
    function = str(frame_value(header, index, where, "VOILUTFunction") or "LINEAR").upper()
    if centre is None or width is None or not np.isfinite((centre, width)).all() or width <= 0:
        return None
    return centre, width, function
