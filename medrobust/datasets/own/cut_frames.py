"""Compressed frames that no decoder reads because they stop before their end."""

from typing import Final

RLE: Final = "1.2.840.10008.1.2.5"

J2K: Final = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")
"""What transfer syntaxes of JPEG 2000 (…4.90 to .93) and HTJ2K (…4.201 to .203) begin with."""

HEAD: Final = 64
"""Bytes before the segments of RLE: their number and where each begins (PS3.5, G.5)."""

END: Final = b"\xff\xd9"
"""Marker that ends a stream of JPEG 2000 (ISO/IEC 15444-1, A.4.4)."""


def stops_early(packed: bytes, syntax: str, pixels: int) -> bool:
    """Say whether a frame that was not decoded stops before the end of its image.

    Args:
        packed: The frame.
        syntax: Transfer syntax UID; of others than RLE and JPEG 2000 nothing is said.
        pixels: Rows times columns, the bytes that each segment of RLE holds.
    """
    if syntax == RLE:
        return _rle_stops(packed, pixels)
    return syntax.startswith(J2K) and not packed.rstrip(b"\0").endswith(END)


def _rle_stops(packed: bytes, pixels: int) -> bool:
    if len(packed) < HEAD:
        return True
    count, *begins = [int.from_bytes(packed[at : at + 4], "little") for at in range(0, HEAD, 4)]
    begins = begins[:count]
    ends = [*begins[1:], len(packed)]
    return any(
        begin >= len(packed) or unpacked_length(packed[begin:end]) < pixels
        for begin, end in zip(begins, ends, strict=True)
    )


def unpacked_length(segment: bytes) -> int:
    """Count the bytes of a segment of RLE that are there (PS3.5, G.3.2).

    Example:
        >>> unpacked_length(bytes([2, 7, 7, 7, 254, 9])), unpacked_length(bytes([2, 7]))
        (6, 1)
    """
    at = found = 0
    while at < len(segment) - 1:
        head = segment[at]
        if head < 128:
            found += min(head + 1, len(segment) - at - 1)
            at += head + 2
        elif head > 128:
            found += 257 - head
            at += 2
        else:
            at += 1
    return found
