"""One DICOM frame unpacked: what its header says of its bytes is checked against them first.

Uncompressed pixels follow the header, compressed ones their stream (PS3.5, 8.2); what neither can
explain is refused by the value of the header.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import numpy as np
from numpy.typing import NDArray

from medrobust.base.wording import counted
from medrobust.exceptions import InvalidImageError, MissingDependencyError
from medrobust.types import UInt8Array

from .codestream import Codestream, Kind, codestream, is_cut_off
from .cut_frames import J2K, RLE, stops_early
from .dicom_frames import check_frames, frames_against, frames_of_header
from .dicom_headers import DEFLATED, dicom_errors_named, library
from .jpeg_scans import decoded_jpeg, is_whole

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset
    from pydicom.pixels import Decoder

JPEG_LS: Final = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")

INTEGERS: Final = 0x7FE00010
PIXELS: Final = {0x7FE00008: 32, 0x7FE00009: 64, INTEGERS: None}
"""Tag of pixels -> bits of the floating ones."""

UNDEFINED: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A frame as its decoder leaves it.

    Attributes:
        array: (H, W) or (H, W, 3), in containers of whole bytes.
        stream: Head of the compressed stream, if it is one.
        ready: Whether sign and unused bits are already as they should be.
        converted: Whether the decoder has turned YCbCr into RGB by itself.
    """

    array: NDArray[Any]
    stream: Codestream | None = None
    ready: bool = False
    converted: bool = False


def unpacked(
    header: "FileDataset",
    stream: BinaryIO,
    index: int,
    file: Path,
    whole: "FileDataset | None" = None,
) -> Unpacked:
    """Decompress a frame, without a change of colours.

    Args:
        header: Of the file.
        stream: The file, where its pixels begin.
        index: Of the frame, from 0.
        file: Its name.
        whole: The file with its pixels, if it has been read: packed ones are in memory as a whole.

    Raises:
        InvalidImageError: If header and pixels cannot be told from one another; names the file and
            the value of the header.
        MissingDependencyError: If its compression needs a package that is not installed.
    """
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise InvalidImageError(f"{file.name} does not say how its pixels are packed.")
    decoder = _decoder(syntax, file.name)
    with dicom_errors_named(file):
        if syntax == DEFLATED:
            return _deflated(header, index, file, whole)
        start = stream.tell()
        tag, length = _pixel_element(header, stream)
        if tag not in PIXELS:
            raise InvalidImageError(f"{file.name} is a DICOM file without pixels.")
        check_layout(header, tag, file.name)
        if syntax.is_encapsulated:
            return _encapsulated(header, index, file, decoder, whole)
        if length == UNDEFINED:
            raise InvalidImageError(
                f"{file.name} says that its pixels are uncompressed (TransferSyntaxUID "
                f"{syntax.name}), but they are not."
            )
        begin = stream.tell()
        held = min(length, file.stat().st_size - begin)
        last = partial(_last, stream, begin + held)
        check_length(header, PIXELS[tag], held, last, file.name)
        stream.seek(start)
        return _plain(header, stream, index, file)


def plain_bits(header: "FileDataset", stream: BinaryIO, index: int, file: Path) -> UInt8Array:
    """Return a frame of unpacked single bits, uint8 (H, W): frames follow one another bit by bit.

    Args:
        header: Of the file.
        stream: The file, where its pixels begin.
        index: Of the frame, from 0.
        file: Its name.

    Raises:
        InvalidImageError: As `unpacked` raises it, and for words of big endian; names the file.
    """
    tag, length = _pixel_element(header, stream)
    if tag != INTEGERS or length == UNDEFINED or header.original_encoding[1] is False:
        raise InvalidImageError(f"{file.name} has no unpacked bits of little endian: save it anew.")
    check_layout(header, tag, file.name)
    begin = stream.tell()
    held = min(length, file.stat().st_size - begin)
    check_length(header, None, held, partial(_last, stream, begin + held), file.name)
    bits = header.Rows * header.Columns
    first = index * bits
    stream.seek(begin + first // 8)
    packed = np.frombuffer(stream.read((first % 8 + bits + 7) // 8), np.uint8)
    found = np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + bits]
    return found.reshape(header.Rows, header.Columns)


def _decoder(syntax: Any, name: str) -> "Decoder":
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InvalidImageError(
            f"{name} is packed as {syntax.name}, which is not read: unpack it with other "
            f"software first."
        ) from error
    if not decoder.is_available:
        raise MissingDependencyError(
            f"{name} is packed as {syntax.name}, which needs a decoder: "
            f"pip install 'medrobust[dicom]'."
        )
    return decoder


def _pixel_element(header: "FileDataset", stream: BinaryIO) -> tuple[int, int]:
    """Read tag and length of the element at which the stream stands, up to its value."""
    order: Literal["big", "little"]
    order = "big" if header.original_encoding[1] is False else "little"
    head = stream.read(8)
    head += stream.read(4) if _is_explicit(head) else b""
    group, element = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
    return group << 16 | element, int.from_bytes(head[-4:], order)


def _is_explicit(head: bytes) -> bool:
    """Say whether an element names its kind: no even length looks like these letters."""
    return head[4:6] in (b"OB", b"OW", b"OF", b"OD", b"UN")


def check_layout(header: "FileDataset", tag: int, name: str) -> None:
    """Refuse whole pixels whose bits or sign the header does not name.

    Raises:
        InvalidImageError: Naming the file and the value of the header.
    """
    if tag != INTEGERS:
        return
    allocated, stored = header.BitsAllocated, header.get("BitsStored")
    if not isinstance(stored, int) or not 1 <= stored <= allocated:
        raise InvalidImageError(
            f"{name} has {stored or 'no'} bits stored (BitsStored) of {allocated} allocated "
            f"(BitsAllocated)."
        )
    if header.get("PixelRepresentation") not in (0, 1):
        raise InvalidImageError(
            f"{name} does not say whether its pixels are signed (PixelRepresentation "
            f"{header.get('PixelRepresentation', 'missing')})."
        )
    if header.SamplesPerPixel > 1 and header.get("PlanarConfiguration") not in (None, 0, 1):
        raise InvalidImageError(
            f"{name} has a PlanarConfiguration of {header.PlanarConfiguration}; there are 0 and 1."
        )


def check_length(
    header: "FileDataset",
    floating: int | None,
    held: int,
    last: Callable[[int], bytes],
    name: str,
) -> None:
    """Refuse uncompressed pixels of another length than the header says.

    Padding at the end, of one value, is passed over; rows of pixels, a second image, or colours
    that were not thinned out, are not: what is read in their place would be sheared or cut off.

    Args:
        header: Of the file.
        floating: Bits of a floating value; None for whole ones.
        held: Bytes of the pixels.
        last: Returns so many of their last bytes.
        name: Of the file.

    Raises:
        InvalidImageError: Naming the file and the values of the header.
    """
    kind, frames = header.PhotometricInterpretation, frames_of_header(header)
    bits = floating or header.BitsAllocated
    one = header.Rows * header.Columns * header.SamplesPerPixel * bits / 8
    one *= 2 / 3 if kind == "YBR_FULL_422" else 1
    told = (
        f"Rows {header.Rows}, Columns {header.Columns}, SamplesPerPixel {header.SamplesPerPixel}, "
        f"BitsAllocated {bits}, PhotometricInterpretation {kind}, NumberOfFrames {frames}"
    )
    against = frames_against(header, held / one)
    if held < int(frames * one):
        raise InvalidImageError(
            f"{name} cannot be read as DICOM: it holds {held} bytes of pixels, its header asks for "
            f"{ceil(frames * one)} ({told}); it is damaged or cut off{against}."
        )
    most = 1.5 if kind == "YBR_FULL_422" else 2
    beyond = held - ceil(frames * one)
    many = held - frames * one > 1 and held >= (frames + most - 1) * one
    if many or (beyond >= max(one / header.Rows, 2) and _varies(last(beyond))):
        raise InvalidImageError(
            f"{name} holds {held} bytes of pixels, of which its header explains "
            f"{ceil(frames * one)} ({told}){against}."
        )


def _last(stream: BinaryIO, end: int, number: int) -> bytes:
    """Read the bytes before a place."""
    stream.seek(end - number)
    return stream.read(number)


def _varies(held: bytes) -> bool:
    return held.count(held[:1]) != len(held)


def _plain(header: "FileDataset", stream: BinaryIO, index: int, file: Path) -> Unpacked:
    from pydicom.pixels import pixel_array

    options: dict[str, Any] = {"raw": True, "correct_unused_bits": False}
    if header.SamplesPerPixel > 1 and header.get("PlanarConfiguration") is None:
        raise InvalidImageError(
            f"{file.name} does not say how its colours are ordered (PlanarConfiguration)."
        )
    if _is_explicit(stream.read(8)) != header.file_meta.TransferSyntaxUID.is_implicit_VR:
        stream.seek(0)
        return Unpacked(np.asarray(pixel_array(stream, index=index, **options)))  # that frame only
    whole = library().dcmread(file)  # the file meta information names the other encoding
    return Unpacked(np.asarray(pixel_array(whole, index=index, **options)))


def _deflated(
    header: "FileDataset", index: int, file: Path, whole: "FileDataset | None"
) -> Unpacked:
    from pydicom.pixels import pixel_array

    whole = library().dcmread(file) if whole is None else whole
    tag = next((tag for tag in PIXELS if tag in whole), 0)
    if not tag:
        raise InvalidImageError(f"{file.name} is a DICOM file without pixels.")
    check_layout(header, tag, file.name)
    held = whole[tag].value
    check_length(header, PIXELS[tag], len(held), lambda n: held[-n:], file.name)
    options: dict[str, Any] = {"raw": True, "correct_unused_bits": False}
    return Unpacked(np.asarray(pixel_array(whole, index=index, **options)))


def _encapsulated(
    header: "FileDataset", index: int, file: Path, decoder: "Decoder", whole: "FileDataset | None"
) -> Unpacked:
    from pydicom.pixels import pixel_array

    whole = library().dcmread(file) if whole is None else whole
    syntax = header.file_meta.TransferSyntaxUID
    options: dict[str, Any] = {"raw": True, "correct_unused_bits": False}
    if header.SamplesPerPixel > 1:
        options["planar_configuration"] = header.get("PlanarConfiguration") or 0
    check_frames(whole, file.name)
    found = None
    if syntax == RLE:
        _check_rle(whole, index, file.name)
    else:
        found = _checked_stream(whole, index, file.name)
        options |= {
            "bits_allocated": 8 if found.bits <= 8 else 16 if found.bits <= 16 else 32,
            "bits_stored": found.bits,
            "apply_jls_sign_correction": False,
        }
    try:
        array = np.asarray(pixel_array(whole, index=index, **options))
    except RuntimeError as error:  # of all decoders that are there
        packed = _packed_frame(whole, index)
        if stops_early(packed, syntax, whole.Rows * whole.Columns):
            raise _cut_off(file.name, syntax.name) from error
        raise _not_decoded(decoder, syntax, file.name) from error
    ready = syntax.startswith(J2K)
    alone = "pylibjpeg" not in decoder.available_plugins
    converted = alone and found is not None and found.adobe and not ready
    return Unpacked(array, found, ready, converted)


def _not_decoded(decoder: "Decoder", syntax: Any, name: str) -> InvalidImageError:
    """Say that no installed decoder reads a file, and what might."""
    tried = decoder.available_plugins
    all_there = "pylibjpeg" in tried or syntax == RLE
    lacking = "python-gdcm" if all_there else "'medrobust[dicom]'"
    return InvalidImageError(
        f"{name} is packed as {syntax.name}, of a kind that no installed decoder reads (tried: "
        f"{', '.join(tried)}): pip install {lacking}, or unpack it with other software first "
        f"(dcmdjpeg, gdcmconv --raw), unless it is damaged."
    )


def _checked_stream(whole: "FileDataset", index: int, name: str) -> Codestream:
    """Refuse compressed pixels of another size or number of samples than the header declares."""
    packed = _packed_frame(whole, index)
    found = codestream(packed)
    if found is None or (found.width, found.height) != (whole.Columns, whole.Rows):
        declared = "no size" if found is None else f"{found.width} × {found.height}"
        raise InvalidImageError(
            f"{name} is damaged: its compressed pixels declare {declared}, its header "
            f"{whole.Columns} × {whole.Rows}."
        )
    _check_kind(found, packed, whole, name)
    if found.components != whole.SamplesPerPixel:
        raise InvalidImageError(
            f"{name} has {counted(found.components, 'sample')} in each compressed pixel, and "
            f"{whole.SamplesPerPixel} in its header (SamplesPerPixel)."
        )
    return found


def _packed_frame(whole: "FileDataset", index: int) -> bytes:
    from pydicom.encaps import get_frame

    offsets = whole.get("ExtendedOffsetTable"), whole.get("ExtendedOffsetTableLengths")
    packed: bytes = get_frame(
        whole.PixelData,
        index,
        number_of_frames=frames_of_header(whole),
        extended_offsets=offsets if all(offsets) else None,
    )
    return packed


def _check_rle(whole: "FileDataset", index: int, name: str) -> None:
    """Refuse a stream of another kind, whose head is none of RLE (PS3.5, G.5)."""
    found = codestream(_packed_frame(whole, index))
    if found is not None:
        raise _other_kind(found, whole.file_meta.TransferSyntaxUID, name)


def _other_kind(found: Codestream, syntax: Any, name: str) -> InvalidImageError:
    return InvalidImageError(
        f"{name} says that its pixels are packed as {syntax.name} (TransferSyntaxUID), but they "
        f"are a stream of {found.kind}: correct the transfer syntax."
    )


def _check_kind(found: Codestream, packed: bytes, whole: "FileDataset", name: str) -> None:
    """Refuse a stream of another kind than the transfer syntax names, and one that is cut off."""
    syntax = whole.file_meta.TransferSyntaxUID
    asked = "JPEG 2000" if syntax.startswith(J2K) else "JPEG-LS" if syntax in JPEG_LS else "JPEG"
    if found.kind != asked:
        raise _other_kind(found, syntax, name)
    if is_cut_off(packed) or not is_whole(packed, _probe(found.kind)):
        raise _cut_off(name, found.kind)


def _cut_off(name: str, kind: str) -> InvalidImageError:
    return InvalidImageError(
        f"{name} is damaged: its compressed pixels ({kind}) stop before the end of the image; "
        f"fetch or export it again."
    )


def _probe(kind: Kind) -> Callable[[bytes], NDArray[Any]] | None:
    """Return what decodes a stream that cannot be counted, if it is installed."""
    if kind == "JPEG":
        return decoded_jpeg
    try:
        libjpeg = import_module("libjpeg")
    except ImportError:
        return None
    decode: Callable[[bytes], NDArray[Any]] = libjpeg.decode
    return decode if kind == "JPEG-LS" else None
