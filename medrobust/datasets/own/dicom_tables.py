"""Lookup tables of DICOM headers: modality, VOI and palette (PS3.3, C.11.1.1, C.11.2.1.1, C.7.6.3).

A descriptor names the number of entries, the first value that is mapped and the bits of an entry;
the entries may be packed otherwise than it says, which their length tells.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidImageError
from medrobust.types import Int64Array

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

MOST_ENTRIES = 1 << 16


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table.

    Attributes:
        entries: int64 (N,).
        first: Value that the first entry stands for.
        declared: Bits of an entry, as the descriptor says.
        bits: Bits that the entries have: those of the descriptor, unless they do not fit it.
    """

    entries: Int64Array
    first: int
    declared: int
    bits: int

    def of(self, values: NDArray[Any]) -> Int64Array:
        """Look whole values up; those beside the table take its first or last entry."""
        places = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[places]

    def beside(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which values lie beside the table."""
        beside: NDArray[np.bool_] = (values < self.first) | (
            values >= self.first + len(self.entries)
        )
        return beside

    @property
    def descriptor(self) -> str:
        """The descriptor, as headers write it."""
        return f"{len(self.entries)}\\{self.first}\\{self.declared}"


def read_lookup(
    descriptor: Any,
    data: Any,
    header: "FileDataset",
    *,
    low: float,
    high: float,
    signed: bool,
    name: str,
) -> Lookup:
    """Read a table.

    Args:
        descriptor: Its three numbers, read as signed or unsigned ones.
        data: Its entries: numbers, or bytes in the order of the file.
        header: Of the file.
        low: Least value that may be looked up.
        high: Greatest one.
        signed: Whether the standard takes the first mapped value for a signed number.
        name: What the sentence of an error begins with: file and table.

    Raises:
        InvalidImageError: If descriptor and entries cannot be told from one another.
    """
    little = header.original_encoding[1] is not False
    if isinstance(descriptor, bytes):
        descriptor = np.frombuffer(descriptor, "<u2" if little else ">u2").tolist()
    if not hasattr(descriptor, "__len__") or len(descriptor) != 3:
        raise InvalidImageError(f"{name} has no LUTDescriptor of three numbers.")
    count, first, declared = (int(value) for value in descriptor)
    count = count % MOST_ENTRIES or MOST_ENTRIES
    if not 8 <= declared <= 16:
        raise InvalidImageError(
            f"{name} declares {declared} bits an entry (LUTDescriptor), which is none of 8 to 16."
        )
    entries = _entries(_words(data, little), count, declared, name)
    first = _first_mapped(first, count, low, high, signed)
    return Lookup(entries, first, declared, _bits_of(entries, declared))


def _words(data: Any, little: bool) -> NDArray[np.uint16]:
    """Return the entries as words of 16 bits, whatever a reader has made of them."""
    if isinstance(data, bytes):
        data += b"\0" * (len(data) % 2)
        return np.frombuffer(data, "<u2" if little else ">u2").astype(np.uint16)
    listed = [data] if isinstance(data, int) else list(data or ())
    return (np.array(listed, dtype=np.int64) & 0xFFFF).astype(np.uint16)


def _entries(words: NDArray[np.uint16], count: int, declared: int, name: str) -> Int64Array:
    """Return the entries, of 16 bits each or of 8 bits, two in a word."""
    packed = len(words) == (count + 1) // 2 and count > 1
    if packed:
        return words.astype("<u2").view(np.uint8)[:count].astype(np.int64)
    if len(words) < count:
        raise InvalidImageError(
            f"{name} declares {count} entries of {declared} bits (LUTDescriptor) and holds "
            f"{2 * len(words)} bytes of them."
        )
    return words[:count].astype(np.int64)


def _first_mapped(first: int, count: int, low: float, high: float, signed: bool) -> int:
    """Return the first mapped value with the sign under which the table meets the values.

    The standard's sign holds unless the table would then lie beside all values.
    """
    word = first % MOST_ENTRIES
    readings = (word - MOST_ENTRIES if word >= MOST_ENTRIES // 2 else word, word)
    for reading in readings if signed else readings[::-1]:
        if reading <= high and reading + count > low:
            return reading
    return readings[0] if signed else readings[1]


def _bits_of(entries: Int64Array, declared: int) -> int:
    """Return the bits that entries have: more than declared, or fewer by at least two."""
    needed = max(8, int(entries.max()).bit_length())
    return declared if declared - 2 < needed <= declared else needed


def read_palette(header: "FileDataset", name: str) -> tuple[list[Lookup], int]:
    """Return the tables of red, green and blue, and the bits of their entries.

    Raises:
        InvalidImageError: If there are none, or they contradict their descriptors.
    """
    bits, signed = int(header.BitsStored), bool(header.get("PixelRepresentation"))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    tables = []
    for colour in ("Red", "Green", "Blue"):
        descriptor = header.get(f"{colour}PaletteColorLookupTableDescriptor")
        data = header.get(f"{colour}PaletteColorLookupTableData")
        if data is None:
            data = _expanded(header.get(f"Segmented{colour}PaletteColorLookupTableData"), header)
        if descriptor is None or data is None:
            raise InvalidImageError(f"{name} has no palette for {colour.lower()}.")
        told = f"{name}: its palette for {colour.lower()}"
        tables.append(
            read_lookup(descriptor, data, header, low=low, high=high, signed=signed, name=told)
        )
    return tables, max(table.bits for table in tables)


def _expanded(data: bytes | None, header: "FileDataset") -> list[int] | None:
    """Write the segments of a palette out."""
    if data is None:
        return None
    wide = int(header.RedPaletteColorLookupTableDescriptor[2]) > 8
    order = ">" if header.original_encoding[1] is False else "<"
    size = 2 if wide else 1
    numbers = np.frombuffer(data[: len(data) // size * size], f"{order}u{size}").tolist()
    entries: list[int] = []
    _write_out(numbers, size, 0, len(numbers), entries)
    return entries


def _write_out(numbers: list[int], size: int, place: int, segments: int, out: list[int]) -> None:
    """Write a number of segments out from a place on: discrete, linear, indirect (PS3.3, C.7.9.2).

    Args:
        numbers: The segmented data.
        size: Bytes of each.
        place: Of the first segment.
        segments: How many at most.
        out: Entries so far; grows to `MOST_ENTRIES` at most.
    """
    while place + 2 < len(numbers) and segments and len(out) < MOST_ENTRIES:
        kind, length = numbers[place : place + 2]
        segments, place = segments - 1, place + 2
        if kind == 0:
            out.extend(numbers[place : place + length])
            place += length
        elif kind == 1:
            start, end = (out[-1] if out else 0), numbers[place]
            steps = start + (end - start) * np.arange(1, length + 1) / max(length, 1)
            out.extend(np.rint(steps).astype(int).tolist())
            place += 1
        elif kind == 2:
            parts = numbers[place : place + 4 // size]
            offset = sum(part << 8 * size * n for n, part in enumerate(parts))
            if offset // size + 2 < place:  # segments before this one only: no endless loop
                _write_out(numbers, size, offset // size, length, out)
            place += 4 // size
        else:
            return
