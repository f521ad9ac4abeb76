"""Whether the compressed samples of a JPEG stream reach the end of its image.

A stream that was cut off and closed with an end mark decodes to a picture whose lower part nobody
took; decoders warn at most. Sources: ITU-T T.81, A.2, B.2 and F.2.2 (sequential and lossless), G
(progressive).
"""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

HUFFMAN: Final = (0xC0, 0xC1, 0xC3)
"""Frames whose units are counted: baseline, extended sequential, lossless."""

LOSSLESS: Final = 0xC3
PROGRESSIVE: Final = 0xC2
JPEG_LS: Final = 0xF7
FRAMES: Final = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), 0xCD, 0xCE, 0xCF, 0xF7)
ALONE: Final = (0x01, *range(0xD0, 0xD9))
END: Final = 0xD9
NEXT: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""The marker that ends the samples of a scan: neither a stuffed byte nor a restart."""

NEXT_LS: Final = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""The same in JPEG-LS, which stuffs bits."""

FAILURES: Final = (RuntimeError, OSError, SyntaxError, ValueError)

MORE: Final = (bytes(range(7, 120, 2)),)
"""Samples that a whole image does not miss; none is a marker."""

OTHERS: Final = (b"\x55\x2a" * 30,)
"""Further ones for JPEG-LS, where a run may take what is added for what it expects."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a frame: its sampling factors."""

    across: int
    down: int


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan.

    Attributes:
        components: Their identifiers, with the numbers of their DC and AC tables.
        spectrum: First and last coefficient.
        last_bit: The lowest bit of them that it gives.
        tables: Huffman tables at that place: class << 4 | number -> a code's length and symbol.
        restart: Units between restarts; 0 for none.
        body: Place of the samples.
    """

    components: tuple[tuple[int, int, int], ...]
    spectrum: tuple[int, int]
    last_bit: int
    tables: Mapping[int, NDArray[np.int32]]
    restart: int
    body: slice


@dataclass(slots=True)
class Stream:
    """A JPEG or JPEG-LS stream: its frame, scans and the place of its end mark (-1 for none)."""

    frame: int = 0
    width: int = 0
    height: int = 0
    components: dict[int, Component] = field(default_factory=dict)
    scans: list[Scan] = field(default_factory=list)
    end: int = -1


def is_whole(
    packed: bytes,
    decode: Callable[[bytes], NDArray[np.generic]] | None,
) -> bool:
    """Say whether the samples of a stream reach the end of its image.

    Sequential and lossless ones are counted. Of the others, which only a decoder follows, an image
    that is whole does not change when samples are added before its end mark.

    Args:
        packed: The stream; behind its end mark may be anything.
        decode: Pixels of such a stream; None where nothing that is installed decodes it.
    """
    found = _read(packed)
    if found is None or found.end < 0 or not found.height:  # a height that follows the scan
        return True  # of what is no such stream the decoder has to judge
    if found.frame in HUFFMAN:
        told = {name for scan in found.scans for name, _, _ in scan.components}
        return told >= set(found.components) and all(
            _counted(packed, found, scan) for scan in found.scans
        )
    if found.frame == PROGRESSIVE and not _covered(found):
        return False
    if found.frame not in (PROGRESSIVE, JPEG_LS) or decode is None:
        return True
    added = MORE if found.frame == PROGRESSIVE else (*MORE, *OTHERS)
    return all(_unchanged(packed, found.end, decode, one) for one in added)


def decoded_jpeg(packed: bytes) -> NDArray[np.generic]:
    """Decode a JPEG stream as Pillow does."""
    from PIL import Image

    with Image.open(io.BytesIO(packed), formats=("JPEG",)) as image:
        return np.asarray(image)


def _unchanged(
    packed: bytes, end: int, decode: Callable[[bytes], NDArray[np.generic]], added: bytes
) -> bool:
    """Say whether an image stays what it is with samples added at its end."""
    try:
        first = decode(packed)
    except FAILURES:
        return True  # not of this decoder's kinds
    try:
        return np.array_equal(first, decode(packed[:end] + added + packed[end:]))
    except FAILURES:
        return False  # it has read on


def _read(packed: bytes) -> Stream | None:
    """Read the segments of a stream; None where they make no sense."""
    stream, restart, place = Stream(), 0, 2
    tables: dict[int, NDArray[np.int32]] = {}
    try:
        while place < len(packed):
            marker = packed[place + 1]
            if packed[place] != 0xFF:
                return None
            if marker == 0xFF or marker in ALONE:
                place += 1 if marker == 0xFF else 2
                continue
            if marker == END:
                stream.end = place
                return stream
            length = int.from_bytes(packed[place + 2 : place + 4], "big")
            body, place = packed[place + 4 : place + 2 + length], place + 2 + length
            if marker in FRAMES:
                _read_frame(stream, marker, body)
            elif marker == 0xC4:
                tables = tables | _read_tables(body)
            elif marker == 0xDD:
                restart = int.from_bytes(body[:2], "big")
            elif marker == 0xDA:
                pattern = NEXT_LS if stream.frame == JPEG_LS else NEXT
                following = pattern.search(packed, place)
                end = following.start() if following else len(packed)
                stream.scans.append(_read_scan(body, tables, restart, slice(place, end)))
                place = end
    except (IndexError, ValueError, KeyError):
        return None
    return stream


def _read_frame(stream: Stream, marker: int, body: bytes) -> None:
    stream.frame = marker
    stream.height, stream.width = (int.from_bytes(body[at : at + 2], "big") for at in (1, 3))
    for number in range(body[5]):
        name, factors = body[6 + 3 * number], body[7 + 3 * number]
        stream.components[name] = Component(factors >> 4, factors & 15)


def _read_scan(
    body: bytes, tables: Mapping[int, NDArray[np.int32]], restart: int, place: slice
) -> Scan:
    number = body[0]
    named = [(body[1 + 2 * n], body[2 + 2 * n]) for n in range(number)]
    components = tuple((name, both >> 4, both & 15) for name, both in named)
    first, last, bits = body[1 + 2 * number : 4 + 2 * number]
    return Scan(components, (first, last), bits & 15, tables, restart, place)


def _read_tables(body: bytes) -> dict[int, NDArray[np.int32]]:
    """Return class and number of each table -> length << 8 | symbol for every 16 bits to come."""
    found, place = {}, 0
    while place < len(body):
        counts = body[place + 1 : place + 17]
        symbols = body[place + 17 : place + 17 + sum(counts)]
        lengths = np.repeat(np.arange(1, 17), list(counts))[: len(symbols)]
        spans = 1 << (16 - lengths)
        codes = (lengths << 8 | np.frombuffer(symbols, np.uint8)).astype(np.int32)
        table = np.zeros(1 << 16, dtype=np.int32)
        filled = np.repeat(codes, spans)[: 1 << 16]
        table[: len(filled)] = filled
        found[body[place]] = table
        place += 17 + sum(counts)
    return found


def _counted(packed: bytes, stream: Stream, scan: Scan) -> bool:
    """Say whether a scan of Huffman codes holds all its units."""
    from .jpeg_counting import whole_units

    lossless = stream.frame == LOSSLESS
    side = 1 if lossless else 8
    parts = [stream.components[name] for name, _, _ in scan.components]
    widest = max(part.across for part in stream.components.values())
    tallest = max(part.down for part in stream.components.values())
    if len(parts) == 1:  # not interleaved
        across = -(-stream.width * parts[0].across // widest)
        down = -(-stream.height * parts[0].down // tallest)
        times = [1]
    else:
        across, down = -(-stream.width // widest), -(-stream.height // tallest)
        times = [part.across * part.down for part in parts]
    known = sorted(scan.tables)
    rows = [
        (known.index(dc), -1 if lossless else known.index(0x10 | ac))
        for (_, dc, ac), count in zip(scan.components, times, strict=True)
        for _ in range(count)
    ]
    units = -(-across // side) * -(-down // side)
    samples = np.frombuffer(packed[scan.body], dtype=np.uint8).copy()  # numba wants its own
    tables = np.stack([scan.tables[name] for name in known])
    found = whole_units(samples, tables, np.array(rows, dtype=np.int64), units, scan.restart)
    return int(found) == units


def _covered(stream: Stream) -> bool:
    """Say whether the scans of a progressive stream give every coefficient to its last bit."""
    left = {(name, number) for name in stream.components for number in range(64)}
    for scan in stream.scans:
        if not scan.last_bit:
            first, last = scan.spectrum
            left -= {(name, n) for name, _, _ in scan.components for n in range(first, last + 1)}
    return not left
