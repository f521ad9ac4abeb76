"""Colours of one DICOM frame: palettes, YCbCr and RGB of any depth (PS3.3, C.7.6.3.1)."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidImageError
from medrobust.types import UInt8Array

from .dicom_grey import CLIPPED, FEW_GREYS, MOST_CLIPPED
from .dicom_packing import Unpacked
from .dicom_stored import HIGH_BIT, UNUSED_BITS, extended, stored_values
from .dicom_tables import read_palette
from .dicom_values import has_overlays, stored_bits
from .pictures import eight_bits

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

YBR: Final = ("YBR_FULL", "YBR_FULL_422")
STREAM_COLOURS: Final = (
    "the photometric interpretation contradicts the compressed pixels, which were followed"
)
PALETTE_BITS: Final = "entries of the palette have other bits than its descriptor says"


def colours(header: "FileDataset", frame: Unpacked, name: str) -> tuple[UInt8Array, dict[str, str]]:
    """Return uint8 (H, W, 3), and what is to be said of it -> values of the header.

    Args:
        header: Of the file.
        frame: Samples (H, W, 3), or indices (H, W) of a palette.
        name: Of the file.

    Raises:
        InvalidImageError: If the palette contradicts its descriptor; names the file.
    """
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return _of_palette(header, frame, name)
    notes: dict[str, str] = {}
    array, bits = _samples(header, frame, notes)
    if _is_ybr(header, frame, notes):
        spare = max(bits - 16, 0)
        array, bits = rgb_of_ybr(array >> spare, bits - spare), bits - spare
    if bits == 8:
        return array.astype(np.uint8), notes
    shown = eight_bits(array, bits, name)
    if len(np.unique(shown)) <= 2 < len(np.unique(array)):
        notes[FEW_GREYS] = f"BitsAllocated {header.BitsAllocated}, BitsStored {bits}"
    return shown, notes


def _of_palette(
    header: "FileDataset", frame: Unpacked, name: str
) -> tuple[UInt8Array, dict[str, str]]:
    if frame.array.dtype.kind not in "iu" or frame.array.dtype.itemsize > 2:
        raise InvalidImageError(
            f"{name} has indices of {header.BitsAllocated} bits (BitsAllocated) into its palette."
        )
    stored = stored_values(header, frame)
    tables, bits = read_palette(header, name)
    notes = dict(stored.notes)
    if any(table.bits != table.declared for table in tables):
        notes[PALETTE_BITS] = f"LUTDescriptor {tables[0].descriptor}, {bits} bits in the entries"
    image = ~stored.padding
    beside = tables[0].beside(stored.values) & image
    clipped = stored.counts[beside].sum() / max(stored.counts[image].sum(), 1)
    if clipped > MOST_CLIPPED:
        notes[CLIPPED] = f"{clipped:.1%} by palette LUTDescriptor {tables[0].descriptor}"
    planes = [stored.back(eight_bits(table.of(stored.values), bits, name)) for table in tables]
    return np.stack(planes, axis=-1), notes


def _samples(
    header: "FileDataset", frame: Unpacked, notes: dict[str, str]
) -> tuple[NDArray[Any], int]:
    """Return unsigned samples and their bits: colours have no sign (PS3.3, C.7.6.3.1.2)."""
    if frame.stream is not None:
        return extended(frame.array, frame.stream.bits, False), frame.stream.bits
    bits, container = stored_bits(header), 8 * frame.array.dtype.itemsize
    if bits == container:
        return extended(frame.array, container, False), bits
    plain, high = extended(frame.array, container, False), header.get("HighBit")
    shift = 0 if high is None else int(high) + 1 - bits
    if shift and not 0 < shift <= container - bits:
        shift = 0
        notes[HIGH_BIT] = f"BitsStored {bits}, HighBit {high}"
    elif not shift and (plain >> bits).any() and not has_overlays(header):
        notes[UNUSED_BITS] = f"BitsAllocated {container}, BitsStored {bits}"
    return extended(plain >> shift, bits, False), bits


def _is_ybr(header: "FileDataset", frame: Unpacked, notes: dict[str, str]) -> bool:
    """Say whether samples are YCbCr: the stream knows, where it says so, else the header."""
    if frame.converted:
        return False
    declared = header.PhotometricInterpretation
    if frame.stream is None or frame.stream.colours is None:
        return declared in YBR
    found = frame.stream.colours
    undone = frame.ready and declared in ("YBR_ICT", "YBR_RCT")
    if not undone and declared.startswith("YBR") != (found == "YBR"):
        notes[STREAM_COLOURS] = f"PhotometricInterpretation {declared}, {found} in the stream"
    return found == "YBR"


def rgb_of_ybr(array: NDArray[Any], bits: int) -> NDArray[Any]:
    """Turn YCbCr of full range into RGB (PS3.3, C.7.6.3.1.2), rounded half up.

    Args:
        array: Whole numbers (..., 3), 0 to 2**bits - 1.
        bits: Of a sample, up to 16.
    """
    matrix = np.asarray(
        [
            [1.000, 1.000, 1.000],
            [0.000, -0.114 * 1.772 / 0.587, 1.772],
            [1.402, -0.299 * 1.402 / 0.587, 0.000],
        ],
        dtype=np.float32,
    )
    half = 1 << (bits - 1)
    shifted = array.astype(np.float32) - np.array([0, half, half], dtype=np.float32)
    rgb: NDArray[Any] = np.clip(np.floor(shifted @ matrix + 0.5), 0, (1 << bits) - 1)
    return rgb.astype(np.int64)
