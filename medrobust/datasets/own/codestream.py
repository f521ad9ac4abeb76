"""What compressed pixels say of themselves: size, depth, components, and whether they are YCbCr.

PS3.5, 8.2: the stream, not the header, decides how it is decompressed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Colours = Literal["RGB", "YBR"]
Kind = Literal["JPEG", "JPEG-LS", "JPEG 2000"]

START_J2K = b"\xff\x4f\xff\x51"
RGB_IDENTIFIERS = (b"RGB", b"rgb")
NO_LENGTH = (0x01, *range(0xD0, 0xD9))
"""Markers of a JPEG stream that no length follows."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """The head of a JPEG, JPEG-LS or JPEG 2000 stream.

    Attributes:
        width: Columns.
        height: Rows.
        bits: Of a sample.
        components: Samples a pixel.
        colours: What three components are once they are decompressed, where the stream says it.
        adobe: Whether that is said by Adobe's marker, which some decoders follow by themselves.
        kind: What its first markers say it is.
        signed: Whether its samples are signed, where the stream says it (JPEG 2000).
    """

    width: int
    height: int
    bits: int
    components: int
    colours: Colours | None = None
    adobe: bool = False
    kind: Kind = "JPEG"
    signed: bool | None = None


def codestream(packed: bytes) -> Codestream | None:
    """Read the head of a compressed frame; None if there is none.

    Sources: ITU-T T.81 B.2.2 (frame header), T.87 C.2.2, T.800 A.5.1 (SIZ) and A.6.1 (COD), T.871
    (JFIF), T.872 6.5.3 (Adobe).
    """
    try:
        if packed.startswith(b"\xff\xd8"):
            return _jpeg(packed)
        start = packed.find(START_J2K, 0, 1 << 12)
        return _jpeg_2000(packed[start:]) if start >= 0 else None
    except (IndexError, ValueError):  # cut off
        return None


def is_cut_off(packed: bytes) -> bool:
    r"""Say whether a JPEG or JPEG-LS stream stops before the end of its image (T.81, B.1.1.3).

    Padding behind the end is legal. Neither marker can occur within compressed samples.

    Example:
        >>> is_cut_off(b"\xff\xd8...\xff\xda...\xff\xd9\0"), is_cut_off(b"\xff\xd8...\xff\xda..")
        (False, True)
    """
    scan, end = b"\xff\xda", b"\xff\xd9"
    return packed.startswith(b"\xff\xd8") and packed.rfind(end) <= packed.rfind(scan)


def _segments(packed: bytes, place: int) -> Iterator[tuple[int, bytes]]:
    """Yield marker and body of the segments of a head, from a place on."""
    while place + 4 <= len(packed) and packed[place] == 0xFF:
        marker = packed[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in NO_LENGTH:
            place += 2
        else:
            length = int.from_bytes(packed[place + 2 : place + 4], "big")
            yield marker, packed[place + 4 : place + 2 + length]
            place += 2 + length


def _jpeg(packed: bytes) -> Codestream | None:
    jfif, adobe = False, None
    for marker, body in _segments(packed, 2):
        if marker == 0xE0:
            jfif = jfif or body.startswith(b"JFIF")
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) > 11:
            adobe = body[11]
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, components = body[0], body[5]
            height, width = np.frombuffer(body, dtype=">u2", count=2, offset=1).tolist()
            parts = [body[6 + 3 * n : 9 + 3 * n] for n in range(components)]
            colours = _jpeg_colours(parts, jfif, adobe)
            kind: Kind = "JPEG-LS" if marker == 0xF7 else "JPEG"
            return Codestream(width, height, bits, components, colours, adobe is not None, kind)
    return None


def _jpeg_colours(parts: list[bytes], jfif: bool, adobe: int | None) -> Colours | None:
    """Say what three components are: by their names, their sampling, then the markers."""
    if len(parts) != 3:
        return None
    if b"".join(part[:1] for part in parts) in RGB_IDENTIFIERS:
        return "RGB"
    if jfif or len({part[1] for part in parts}) > 1:
        return "YBR"  # JFIF knows no RGB, and no encoder thins out red or blue
    if adobe is not None:
        return "YBR" if adobe == 1 else "RGB"
    return None


def _jpeg_2000(packed: bytes) -> Codestream:
    corners = np.frombuffer(packed, dtype=">u4", count=4, offset=8).astype(np.int64)
    components = int.from_bytes(packed[40:42], "big")
    parts = [packed[42 + 3 * n : 45 + 3 * n] for n in range(components)]
    colours: Colours | None = None
    if components == 3:
        if len({part[1:] for part in parts}) > 1:
            colours = "YBR"
        elif any(marker == 0x52 and body[4] for marker, body in _segments(packed, 2)):
            colours = "RGB"  # of a transformation that decompression undoes
    return Codestream(
        int(corners[0] - corners[2]),
        int(corners[1] - corners[3]),
        (parts[0][0] & 0x7F) + 1,
        components,
        colours,
        kind="JPEG 2000",
        signed=bool(parts[0][0] & 0x80),
    )
