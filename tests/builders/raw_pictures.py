"""PNG, TIFF and Netpbm files written sample by sample, of every depth and kind of pixels."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

KINDS = {"grey": 0, "rgb": 2, "palette": 3, "grey+alpha": 4, "rgb+alpha": 6}
"""Colour types of PNG."""


def png(
    samples: np.ndarray,
    bits: int,
    kind: str = "grey",
    *,
    transparent: bytes = b"",
    palette: bytes = b"",
    orientation: int = 0,
) -> bytes:
    """A PNG file; `samples` (H, W) or (H, W, C)."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    height, width = samples.shape[:2]
    rows = packed_rows(samples.reshape(height, -1), bits)
    made = b"\x89PNG\r\n\x1a\n"
    made += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, KINDS[kind], 0, 0, 0))
    if palette:
        made += chunk(b"PLTE", palette)
    if transparent:
        made += chunk(b"tRNS", transparent)
    if orientation:
        made += chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01" + entry(274, 3, 1, orientation) + bytes(4))
    return (
        made
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows)))
        + chunk(b"IEND", b"")
    )


def packed_rows(rows: np.ndarray, bits: int, order: str = ">") -> list[bytes]:
    if bits >= 8:
        return [row.astype(f"{order}u{bits // 8}").tobytes() for row in rows]
    written = ["".join(f"{value:0{bits}b}" for value in row) for row in rows.tolist()]
    return [
        int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8)) for row in written
    ]


def entry(tag: int, kind: int, count: int, value: int, order: str = ">") -> bytes:
    """One entry of a TIFF directory; short values stand at the left of their field."""
    field = (
        struct.pack(f"{order}HH", value, 0)
        if kind == 3 and count == 1
        else struct.pack(f"{order}I", value)
    )
    return struct.pack(f"{order}HHI", tag, kind, count) + field


def tiff(
    samples: np.ndarray,
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    planar: int = 1,
    extra: Sequence[int] = (),
    orientation: int = 0,
    sample_format: int = 0,
    colours: np.ndarray | None = None,
) -> bytes:
    """An uncompressed TIFF file.

    Args:
        samples: (H, W) or (H, W, C).
        bits: Of a sample.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK.
        order: Of bytes.
        planar: 2 keeps each channel by itself.
        extra: What samples beyond the colours are: 0 anything, 1 or 2 alpha.
        orientation: As in EXIF.
        sample_format: 2 signed, 3 floating.
        colours: The palette, (3, 256), of 16 bits.
    """
    height, width = samples.shape[:2]
    count = 1 if samples.ndim == 2 else samples.shape[2]
    planes = [samples.reshape(height, -1)]
    if planar == 2:
        planes = [samples[..., n] for n in range(count)]
    body = b"".join(b"".join(packed_rows(plane, bits, order)) for plane in planes)
    extended = b""  # behind the pixels: what takes more than four bytes
    start = 8 + len(body) + len(body) % 2

    def beyond(values: bytes) -> int:
        nonlocal extended
        extended += values
        return start + len(extended) - len(values)

    shorts = struct.pack(f"{order}{count}H", *[bits] * count)
    if count == 1:
        bit_field = bits
    elif count == 2:
        bit_field = int.from_bytes(shorts, "little" if order == "<" else "big")
    else:
        bit_field = beyond(shorts)
    strips, length = [8], len(body) // len(planes)
    offsets = struct.pack(f"{order}{len(planes)}I", *[8 + n * length for n in range(len(planes))])
    lengths = struct.pack(f"{order}{len(planes)}I", *[length] * len(planes))
    many = len(planes) > 1
    entries = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, count, bit_field),
        259: (3, 1, 1),
        262: (3, 1, photometric),
        273: (4, len(planes), beyond(offsets) if many else strips[0]),
        277: (3, 1, count),
        278: (4, 1, height),
        279: (4, len(planes), beyond(lengths) if many else length),
        284: (3, 1, planar),
    }
    if orientation:
        entries[274] = (3, 1, orientation)
    if extra:
        entries[338] = (3, 1, extra[0])
    if sample_format:
        entries[339] = (3, 1, sample_format)
    if colours is not None:
        entries[320] = (3, colours.size, beyond(colours.astype(f"{order}u2").tobytes()))
    directory = start + len(extended) + len(extended) % 2
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory)
    made = head + body + bytes(len(body) % 2) + extended + bytes(len(extended) % 2)
    made += struct.pack(f"{order}H", len(entries))
    for tag, (kind, number, value) in sorted(entries.items()):
        made += entry(tag, kind, number, value, order)
    return made + bytes(4)


def netpbm(samples: np.ndarray, top: int) -> bytes:
    """A PGM or PPM file."""
    height, width = samples.shape[:2]
    head = f"P{5 if samples.ndim == 2 else 6}\n{width} {height}\n{top}\n".encode()
    return head + samples.astype(">u2" if top > 255 else "u1").tobytes()
