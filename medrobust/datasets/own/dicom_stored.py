"""Stored values of one grey DICOM frame, with the sign and the bits that header and data give.

Uncompressed pixels are read as PS3.5, 8.1.1 has it; compressed ones as their stream says.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Int64Array

from .dicom_packing import Unpacked
from .dicom_values import has_overlays, is_signed, number, single, stored_bits

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

STRAY: Final = 0.01
"""Share of pixels that may lie beyond the declared bits, as lossy compression leaves them."""

ROWS: Final = 256
"""Rows that are looked up at a time."""

UNUSED_BITS: Final = "bits beyond those stored are not empty: left out, as the standard asks"
HIGH_BIT: Final = "the high bit of the header does not suit the pixels: their lowest bits were read"
STREAM_BITS: Final = (
    "the compressed pixels hold more bits than the header says: those of the stream were used"
)
STREAM_SIGN: Final = "the sign of the compressed pixels contradicts the header"


@dataclass(frozen=True, slots=True)
class Stored:
    """Each value that a grey frame holds, once.

    Attributes:
        values: Stored values, of the sign that the header says.
        counts: Pixels of each.
        padding: Which of them pad the image.
        bits: That a stored value takes.
        back: From what stands for each value to the image.
        notes: What is to be said of it -> the numbers of the header.
    """

    values: NDArray[Any]
    counts: Int64Array
    padding: NDArray[np.bool_]
    bits: int
    back: Callable[[NDArray[Any]], NDArray[Any]]
    notes: dict[str, str] = field(default_factory=dict)


def stored_values(header: "FileDataset", frame: Unpacked) -> Stored:
    """Return what a grey frame holds."""
    codes, counts, back = distinct(frame.array)
    if codes.dtype.kind == "f":
        bits = 8 * codes.dtype.itemsize
        return Stored(codes, counts, _floating_padding(header, codes), bits, back)
    notes: dict[str, str] = {}
    if frame.stream is not None:
        _settle_sign(header, frame, notes)
        values, bits = _of_stream(header, frame, codes, counts, notes)
        low, high = _padding_ends(header, bits)
        return Stored(values, counts, (values >= low) & (values <= high), bits, back, notes)
    values, padding, beyond = _of_field(header, codes, notes)
    if not has_overlays(header) and (beyond & ~padding).any():
        notes[UNUSED_BITS] = _told_bits(header)
    if not padding.all():  # padding that the stored bits cannot hold is shown as the least value
        values = np.where(padding & beyond, values[~padding].min(), values)
    return Stored(values, counts, padding, stored_bits(header), back, notes)


def distinct(
    array: NDArray[Any],
) -> tuple[NDArray[Any], Int64Array, Callable[[NDArray[Any]], NDArray[Any]]]:
    """Return each value once, how often it occurs, and the way from what stands for it back.

    A large image of up to 16 bits then takes a few bytes a pixel instead of several doubles. Larger
    values come as they stand.
    """
    if array.dtype.kind not in "iu" or array.dtype.itemsize > 2:
        return array, np.ones(array.shape, dtype=np.int64), lambda shown: shown
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    codes = native.view(f"u{native.itemsize}")
    blocks = [codes[start : start + ROWS] for start in range(0, len(codes), ROWS)]
    counts = np.zeros(1 << 8 * native.itemsize, dtype=np.int64)
    for block in blocks:
        counts += np.bincount(block.ravel(), minlength=len(counts))
    found = np.flatnonzero(counts)

    def back(shown: NDArray[Any]) -> NDArray[Any]:
        table = np.zeros(len(counts), dtype=shown.dtype)
        table[found] = shown
        return np.concatenate([table[block] for block in blocks])

    return found.astype(codes.dtype).view(native.dtype), counts[found], back


def extended(values: NDArray[Any], bits: int, signed: bool) -> Int64Array:
    """Read the lowest bits of whole numbers, as signed numbers or not."""
    if bits > 62:
        return values.astype(np.int64)
    lowest = values.astype(np.int64) & ((1 << bits) - 1)
    half = np.int64(1 << (bits - 1))
    return (lowest ^ half) - half if signed else lowest


def _told_bits(header: "FileDataset") -> str:
    high = header.get("HighBit", "missing")
    return f"BitsAllocated {header.BitsAllocated}, BitsStored {header.BitsStored}, HighBit {high}"


def _of_field(
    header: "FileDataset", codes: NDArray[Any], notes: dict[str, str]
) -> tuple[Int64Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Read the field of bits that the header names.

    Returns:
        The values, which of them are padding, and which of them had bits beyond the field.
    """
    bits, signed = stored_bits(header), is_signed(header)
    container = 8 * codes.dtype.itemsize
    if bits >= min(container, 63):  # of 64 bits all are read
        whole = codes.astype(np.int64)
        low, high = _padding_ends(header, bits)
        return whole, (whole >= low) & (whole <= high), np.zeros(codes.shape, dtype=np.bool_)
    plain, lowest = extended(codes, container, False), extended(codes, bits, signed)
    beyond = (plain >> bits != 0) & (extended(codes, container, True) != lowest)
    high_bit = header.get("HighBit")
    shift = 0 if high_bit is None else int(high_bit) + 1 - bits
    if shift and (
        not 0 < shift <= container - bits
        or ((plain & ((1 << shift) - 1)).any() and not beyond.any())
    ):
        notes[HIGH_BIT] = _told_bits(header)
        shift = 0
    values = extended(plain >> shift, bits, signed) if shift else lowest
    low, high = _padding_ends(header, bits)
    padding = (values >= low) & (values <= high)
    whole = extended(codes, container, signed)  # where padding may lie that the field cannot hold
    padding |= beyond & (whole >= low) & (whole <= high)
    return values, padding, np.zeros(codes.shape, dtype=np.bool_) if shift else beyond


def _of_stream(
    header: "FileDataset",
    frame: Unpacked,
    codes: NDArray[Any],
    counts: Int64Array,
    notes: dict[str, str],
) -> tuple[Int64Array, int]:
    """Read compressed values with the fewer bits of header and stream that hold them."""
    assert frame.stream is not None
    bits, signed, depth = stored_bits(header), is_signed(header), frame.stream.bits
    values = extended(codes, depth, signed)
    if depth <= bits:
        low, high = (-(1 << (depth - 1)), (1 << (depth - 1)) - 1) if signed else (0, 2**depth - 1)
        return values, depth if low <= values.min() and values.max() <= high else bits
    if frame.ready or not signed:
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        beyond = (values < low) | (values > high)
    else:
        lowest = extended(codes, bits, True)
        beyond = (extended(codes, depth, False) >> bits != 0) & (values != lowest)
        values = values if beyond.any() else lowest
    if counts[beyond].sum() > STRAY * counts.sum():
        notes[STREAM_BITS] = f"{_told_bits(header)}, {depth} in the stream"
        return values, depth
    return values, bits


def _settle_sign(header: "FileDataset", frame: Unpacked, notes: dict[str, str]) -> None:
    """Let the header of a frame have the sign of its pixels, where their stream has another.

    The stream governs how it is decompressed (PS3.5, 8.2.4), but encoders are known that pack
    signed values as unsigned ones. Values that lie side by side are alike in one reading and a
    whole range apart in the other, where they wrap around: the smoother one is taken.
    """
    assert frame.stream is not None
    depth, signed = frame.stream.bits, frame.stream.signed
    if signed is None or signed == is_signed(header) or depth > 16:
        return
    steps = {
        sign: int(np.abs(np.diff(extended(frame.array, depth, sign), axis=-1)).sum())
        for sign in (False, True)
    }
    followed = signed if steps[signed] <= steps[not signed] else not signed
    if not (extended(frame.array, depth, True) < 0).any():
        return  # equal in both
    told = "signed" if signed else "unsigned"
    notes[STREAM_SIGN] = (
        f"PixelRepresentation {header.PixelRepresentation}, {told} in the stream, which "
        f"{'was' if followed == signed else 'was not'} followed"
    )
    header.PixelRepresentation = int(followed)


def _padding_ends(header: "FileDataset", bits: int) -> tuple[float, float]:
    """Return the least and greatest padding value; an empty range for none.

    Both are 16 bits that the header may call unsigned: PixelRepresentation decides (PS3.3,
    C.7.5.1.1.2).
    """
    first, last = (
        number(single(header.get(key), key))
        for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")
    )
    if first is None:
        return np.inf, -np.inf
    ends = [
        _as_stored(int(end), bits, is_signed(header)) for end in (first, last) if end is not None
    ]
    return min(ends), max(ends)


def _as_stored(value: int, bits: int, signed: bool) -> int:
    if bits > 16 and (signed or value >= 0):
        return value
    word = value & 0xFFFF
    within = bits if word >> min(bits, 16) == 0 else 16
    return (word ^ (1 << (within - 1))) - (1 << (within - 1)) if signed and within <= 16 else word


def _floating_padding(header: "FileDataset", values: NDArray[Any]) -> NDArray[np.bool_]:
    kind = "Float" if values.dtype.itemsize == 4 else "DoubleFloat"
    kind = kind if f"{kind}PixelPaddingValue" in header else ""
    first, last = (
        number(header.get(f"{kind}PixelPadding{what}")) for what in ("Value", "RangeLimit")
    )
    if first is None:
        return np.zeros(values.shape, dtype=np.bool_)
    ends = (first, first if last is None else last)
    return (values >= min(ends)) & (values <= max(ends))
