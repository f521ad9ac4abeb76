"""Grey values of one DICOM frame as they are shown: modality, window or VOI table (PS3.3, C.11)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.base.wording import agreeing, part_of
from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.types import Float64Array, UInt8Array

from .dicom_stored import Stored
from .dicom_tables import Lookup, read_lookup
from .dicom_values import first_window, frame_value, is_signed, rescale, short

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

Window: TypeAlias = Literal["header", "range", "stored"] | Sequence[float]

FUNCTIONS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")

MOST_CLIPPED: Final = 0.9
"""Share of the pixels without padding beyond which clipping is said."""

NO_WINDOW: Final = "no usable window in the header: the range of the image itself was used"
VOI_TABLE: Final = "no usable window in the header: its VOI table was used"
AS_STORED: Final = "no usable window in the header: values of up to 8 bits were taken as they are"
NO_SLOPE: Final = "the rescale slope is 0 or no number: values were taken as stored"
NARROW: Final = (
    "the window is narrower than 1, for which LINEAR is not defined: LINEAR_EXACT was used"
)
NO_FUNCTION: Final = "the VOI LUT function is unknown: LINEAR was used"
TABLE_BITS: Final = (
    "entries of the VOI table have other bits than its descriptor says: those of the entries were "
    "used"
)
FEW_GREYS: Final = "one or two greys are left of more stored values"
CLIPPED: Final = f"more than {MOST_CLIPPED:.0%} of the pixels are clipped"


def check_window(window: Window) -> None:
    """Refuse what is no window.

    Raises:
        ConfigurationError: Naming the key.
    """
    if window in ("header", "range", "stored") or (
        not isinstance(window, str)
        and len(window) == 2
        and all(isinstance(value, int | float) and isfinite(value) for value in window)
        and window[1] >= 1
    ):
        return
    raise ConfigurationError(
        f"dataset.window={window!r} must be header, range, stored or [centre,width] with "
        f"a width of at least 1."
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown for each value.

    Attributes:
        greys: uint8, before inversion.
        beyond: Which values lie beyond both ends of what is shown.
        cause: The header values that decide, for a sentence.
        notes: What is to be said -> values of the header.
    """

    greys: UInt8Array
    beyond: NDArray[np.bool_]
    cause: str
    notes: dict[str, str] = field(default_factory=dict)


def greys(
    header: "FileDataset", stored: Stored, index: int, window: Window, name: str
) -> tuple[UInt8Array, dict[str, str]]:
    """Return what is shown for each stored value, before inversion, and what is to be said of it.

    Args:
        header: Of the file.
        stored: Each value of the frame, once.
        index: Of the frame, from 0.
        window: As for `read_dicom`.
        name: Of the file.

    Raises:
        InvalidImageError: If a table contradicts its descriptor, or pixels are no numbers; names
            the file.
    """
    _check_finite(stored, name)
    if window == "stored":
        low, high = _stored_range(stored, is_signed(header))
        shown = _ramp(stored.values.astype(np.float64), low, high, "the stored bits")
        return shown.greys, {**stored.notes, **_lost(shown, stored, "")}
    notes = dict(stored.notes)
    values, (least, most), modality, beside = _modality(header, stored, index, notes, name)
    found = None if isinstance(window, str) else (float(window[0]), float(window[1]), "LINEAR")
    table = None
    if window == "header":
        found = first_window(header, index)
        table = None if found else _voi_table(header, index, least, most, name)
    if found:
        shown = _windowed(values, *found, window != "header")
    elif table:
        shown = _looked_up(values, table)
    else:
        shown = _unwindowed(values, stored, window == "range")
    notes |= shown.notes
    shown = replace(shown, beyond=shown.beyond | beside)
    return shown.greys, {**notes, **_lost(shown, stored, modality)}


def _check_finite(stored: Stored, name: str) -> None:
    """Refuse floating-point pixels that are no numbers, for which no grey can be shown."""
    wrong = 0 if stored.values.dtype.kind != "f" else int((~np.isfinite(stored.values)).sum())
    if wrong:
        raise InvalidImageError(
            f"{name} cannot be shown: {part_of(wrong, stored.values.size, 'pixel')} "
            f"{agreeing(wrong, 'is')} NaN or infinite; write numbers in their place first."
        )


def _lost(shown: Shown, stored: Stored, modality: str) -> dict[str, str]:
    """Say where few greys are left of many values, or most pixels are clipped, and by what."""
    image = ~stored.padding
    kept = np.unique(shown.greys[image])
    cause = ", ".join(filter(None, (shown.cause, modality)))
    if len(kept) <= 2 < len(np.unique(stored.values[image])):
        return {FEW_GREYS: cause}
    total, clipped = stored.counts[image].sum(), stored.counts[image & shown.beyond].sum()
    if clipped > MOST_CLIPPED * total:
        return {CLIPPED: f"{clipped / total:.1%} by {cause}"}
    return {}


def _modality(
    header: "FileDataset", stored: Stored, index: int, notes: dict[str, str], name: str
) -> tuple[Float64Array, tuple[float, float], str, NDArray[np.bool_]]:
    """Apply the modality table, else slope and intercept (PS3.3, C.11.1.1).

    Returns:
        The values, the least and greatest that there may be, what was applied, for a sentence, and
        which values the modality table does not reach.
    """
    low, high = _stored_range(stored, is_signed(header))
    items = header.get("ModalityLUTSequence")
    if items and stored.values.dtype.kind != "f":
        table = read_lookup(
            items[0].get("LUTDescriptor"),
            items[0].get("LUTData"),
            header,
            low=low,
            high=high,
            signed=is_signed(header),
            name=f"{name}: its modality table",
        )
        values = table.of(stored.values).astype(np.float64)
        told, ends = f"modality LUTDescriptor {table.descriptor}", (0.0, 2.0**table.bits - 1)
        return values, ends, told, table.beside(stored.values)
    values = stored.values.astype(np.float64)
    none = np.zeros(values.shape, dtype=np.bool_)
    found = rescale(header, index)
    if found is None:
        notes[NO_SLOPE] = _told_slope(header, index)
        return values, (low, high), "", none
    slope, intercept = found
    least, most = sorted((low * slope + intercept, high * slope + intercept))
    told = "" if found == (1, 0) else f"RescaleSlope {short(slope)}, intercept {short(intercept)}"
    return values * slope + intercept, (least, most), told, none


def _told_slope(header: "FileDataset", index: int) -> str:
    where = "PixelValueTransformationSequence"
    return ", ".join(
        f"{key} {frame_value(header, index, where, key)}"
        for key in ("RescaleSlope", "RescaleIntercept")
    )


def _stored_range(stored: Stored, signed: bool) -> tuple[float, float]:
    """Return the least and greatest value that the stored bits can hold."""
    if stored.values.dtype.kind == "f":
        return float(stored.values.min()), float(stored.values.max())
    if signed or stored.values.min() < 0:
        return -(2.0 ** (stored.bits - 1)), 2.0 ** (stored.bits - 1) - 1
    return 0.0, 2.0**stored.bits - 1


def _voi_table(
    header: "FileDataset", index: int, low: float, high: float, name: str
) -> Lookup | None:
    """Return the first VOI table; its inputs have the sign of the values (PS3.3, C.11.2.1.1)."""
    items = frame_value(header, index, "FrameVOILUTSequence", "VOILUTSequence")
    if not items:
        return None
    descriptor, data = items[0].get("LUTDescriptor"), items[0].get("LUTData")
    told = f"{name}: its VOI table"
    return read_lookup(descriptor, data, header, low=low, high=high, signed=low < 0, name=told)


def _looked_up(values: Float64Array, table: Lookup) -> Shown:
    whole = np.rint(values)
    told = f"VOI LUTDescriptor {table.descriptor}"
    found = _ramp(table.of(whole).astype(np.float64), 0.0, 2.0**table.bits - 1, told)
    notes = {VOI_TABLE: ""}
    if table.bits != table.declared:
        notes[TABLE_BITS] = f"{told}, {table.bits} bits in the entries"
    return Shown(found.greys, table.beside(whole), told, notes)


def _windowed(
    values: Float64Array, centre: float, width: float, function: str, given: bool
) -> Shown:
    """Apply a window: PS3.3, C.11.2.1.2 (LINEAR) and C.11.2.1.3 (LINEAR_EXACT, SIGMOID)."""
    told = f"WindowCenter {short(centre)}, WindowWidth {short(width)}"
    told = f"dataset.window=[{short(centre)},{short(width)}]" if given else told
    notes = {}
    if function not in FUNCTIONS:
        function, notes = "LINEAR", {NO_FUNCTION: "VOILUTFunction"}
    if function == "LINEAR" and width < 1:
        function, notes = "LINEAR_EXACT", {**notes, NARROW: told}
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            shares = 1 / (1 + np.exp(-4 * (values - centre) / width))
        found = _ramp(shares, 0.0, 1.0, told)
        return Shown(found.greys, np.abs(values - centre) > 2 * width, told, notes)
    found = _ramp(values, *_ends(centre, width, function), told)
    return Shown(found.greys, found.beyond, told, notes)


def _ends(centre: float, width: float, function: str) -> tuple[float, float]:
    """Return what is shown black and white."""
    if function == "LINEAR_EXACT" or width < 1:
        return centre - width / 2, centre + width / 2
    low = centre - 0.5 - (width - 1) / 2
    return low, low + (width - 1)


def shown_between(
    header: "FileDataset", stored: Stored, index: int, window: Window
) -> tuple[float, float, bool] | None:
    """Return between which values after slope and intercept a frame is shown, as `greys` does it.

    Of a sigmoid, which is the third, they are its centre, and that and its width.

    Returns:
        None where a VOI table shows them, or stored values of a falling slope.
    """
    slope, intercept = rescale(header, index) or (1.0, 0.0)
    values = stored.values * slope + intercept
    if window == "stored":
        low, high = (slope * end + intercept for end in _stored_range(stored, is_signed(header)))
        return (low, high, False) if slope > 0 else None
    found = None if isinstance(window, str) else (float(window[0]), float(window[1]), "LINEAR")
    if window == "header":
        found = first_window(header, index)
        if not found and frame_value(header, index, "FrameVOILUTSequence", "VOILUTSequence"):
            return None
    if found and found[2] == "SIGMOID":
        return found[0], found[0] + found[1], True
    if found:
        return *_ends(*found), False
    inside = values[~stored.padding] if not stored.padding.all() else values
    return float(inside.min()), float(inside.max()), False


def _unwindowed(values: Float64Array, stored: Stored, asked: bool) -> Shown:
    """Show up to 8 bits as they are, more over the range of the image."""
    if np.array_equal(values, stored.values) and stored.bits <= 8 and stored.values.min() >= 0:
        found = _ramp(values, 0.0, 2.0**stored.bits - 1, "the stored bits")
        return found if asked else Shown(found.greys, found.beyond, found.cause, {AS_STORED: ""})
    inside = values[~stored.padding] if not stored.padding.all() else values
    low, high = float(inside.min()), float(inside.max())
    told = f"the range {short(low)} to {short(high)} of its pixels"
    found = _ramp(values, low, high, told)
    return found if asked else Shown(found.greys, found.beyond, told, {NO_WINDOW: ""})


def _ramp(values: Float64Array, low: float, high: float, cause: str) -> Shown:
    """Map low..high to 0..255, rounded half up; a step behind `low` if both are equal."""
    beyond = (values < low) | (values > high)
    if high <= low:
        return Shown(np.where(values > low, 255, 0).astype(np.uint8), beyond, cause)
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    return Shown(np.floor(share * 255 + 0.5).astype(np.uint8), beyond, cause)
