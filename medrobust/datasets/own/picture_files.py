"""One picture file to eight bits, by rules that are stated and lose no grey levels."""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.safe_files import system_errors_named
from medrobust.exceptions import InvalidImageError, MedRobustError
from medrobust.types import UInt8Array

from .codestream import codestream
from .jpeg_scans import decoded_jpeg, is_whole
from .picture_depth import (
    BITS,
    HEIGHT,
    WIDTH,
    Declared,
    check_small_samples,
    declared,
    grey_values,
    is_plain_grey,
    of_tags,
    refuse_depth,
    tiff_tags,
    told_tags,
    undiminished,
    widen_palette,
)
from .pictures import Framing, check_area, eight_bits, fitted

if TYPE_CHECKING:
    from PIL.Image import Image

GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N", "LA")
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
ALPHA_MODES = ("LA", "PA", "RGBA", "La", "RGBa")
PLAIN_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    LookupError,
    TypeError,
    MemoryError,
    OverflowError,
)
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
"""What is opened. Pillow knows more, some of which call other programs."""


SEVERAL = ("MPO",)
"""Formats whose first picture is the one that is meant; others are views and previews of it."""

ALPHA = "transparency was laid over black"
OPAQUE = "an alpha channel that hides nothing was left out"
FIRST = "of several pictures in one file the first was taken"
CMYK = "CMYK became RGB without a colour profile"
FEW_GREYS = "one or two greys are left of more values"
DEEP = "values of 16 bits"
NOTES = (ALPHA, OPAQUE, FIRST, CMYK, FEW_GREYS, DEEP)
"""All that may be said of a picture; of `DEEP` the greatest value is kept, for the whole set."""

UNREAD = (
    (4, b"ftyp", "HEIC, AVIF or a film"),
    (128, b"DICM", "DICOM"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"\x5c\x01\0\0", "NIfTI"),
    (0, b"nrrd", "NRRD"),
    (0, b"objecttype", "a header of MetaImage"),
    (0, b"\x89hdf", "HDF5"),
    (0, b"pk\x03\x04", "a ZIP archive"),
    (0, b"8bps", "Photoshop"),
    (0, b"\0\0\x01\0", "an icon"),
    (0, b"dds ", "DDS"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\0\x05\x16\x07", "a companion file of macOS"),
    (0, b"<!doctype html", "a page of HTML, as of a login"),
    (0, b"<html", "a page of HTML, as of a login"),
    (0, b"version https://git-lfs", "a pointer of Git LFS"),
)
"""Place, first bytes (of text in lower case) and name of what people take for pictures."""

REMEDIES = {
    "DICOM": "pass dataset=dicom",
    "a companion file of macOS": "take it off the table, the picture lies beside it",
    "a pointer of Git LFS": "fetch its content (git lfs pull)",
    "a page of HTML, as of a login": "fetch the picture again",
}
"""What to do about some of them; the others are to be saved in another format."""


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """One picture.

    Attributes:
        pixels: uint8 (H, W) or (H, W, 3).
        notes: What the owner should know of it (`NOTES`) -> a detail, or "".
    """

    pixels: UInt8Array
    notes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def is_grey(file: Path) -> bool:
    """Say from its header whether an image file is grey.

    Raises:
        InvalidImageError: If it is not a readable image file; names it.
    """
    with _read_errors_named(file), _opened(file) as image:
        return image is None or image.mode in GREY_MODES


def read_picture(file: Path, framing: Framing, *, grey: bool) -> UInt8Array:
    """Read one image file; as `read_noted` does, without its notes."""
    return read_noted(file, framing, grey=grey).pixels


def read_noted(file: Path, framing: Framing, *, grey: bool) -> SeenPicture:
    """Read one image file.

    EXIF orientation is applied, transparency is laid over black, colour spaces become RGB without
    their profiles, white is made the greatest value. What has more than 8 bits is scaled from
    `2**bit_depth - 1`, or from the greatest value that the file declares, if that is less; colours
    of 16 bits keep their upper 8.

    Args:
        file: PNG, JPEG, TIFF or whatever Pillow reads, with one image in it; of an MPO file (of
            cameras and phones) the first.
        framing: Size and the way to it.
        grey: Return (H, W); otherwise (H, W, 3), grey replicated.

    Raises:
        InvalidImageError: If it cannot be read, or holds values beyond `bit_depth`; names it.
    """
    notes: dict[str, str] = {}
    with _read_errors_named(file), _opened(file) as opened:
        if opened is None:
            values, said = _foreign_grey(file)
            image = _narrow(values, framing.bit_depth, said, file.name, notes)
        else:
            if opened.format in SEVERAL:
                notes[FIRST] = f"1 of {getattr(opened, 'n_frames', 1)}"
            image = _eight_bit(opened, framing, file, notes)
        final = fitted(image.convert("L" if grey else "RGB"), framing)
        return SeenPicture(np.asarray(final, dtype=np.uint8), notes)


def _eight_bit(opened: "Image", framing: Framing, file: Path, notes: dict[str, str]) -> "Image":
    """Return what is seen of a file, without transparency, in a mode of 8 bits."""
    from PIL import ImageOps

    said = declared(opened, file)
    widen_palette(opened)
    check_small_samples(opened, file)
    if opened.mode == "F":
        raise InvalidImageError(
            f"{file.name} holds floating-point pixels, whose scale is unknown: convert it to "
            f"8 or 16 bits first."
        )
    if opened.mode not in (*WIDE_MODES, *ALPHA_MODES, *PLAIN_MODES):
        raise InvalidImageError(
            f"{file.name} holds pixels of a kind that is not read ({opened.mode}): save it as RGB."
        )
    if said.bits > 8 and opened.mode not in WIDE_MODES:
        deep = _deep_colours(opened, said, framing, file, notes)
        if deep is not None:
            return deep
    if opened.format in ("JPEG", "MPO"):
        _check_whole(file)
    image = ImageOps.exif_transpose(opened)
    if image.mode in WIDE_MODES:
        bits = min(framing.bit_depth, said.bits)
        return _narrow(grey_values(image, said), bits, said, file.name, notes)
    if image.mode == "CMYK":
        notes[CMYK] = ""
    if "transparency" in image.info or image.mode in ALPHA_MODES:
        return _over_black(image, said, notes)
    return image


def _check_whole(file: Path) -> None:
    """Refuse a JPEG file that was cut off and closed again."""
    if not is_whole(file.read_bytes(), decoded_jpeg):
        raise InvalidImageError(
            f"{file.name} is damaged: its compressed pixels (JPEG) stop before the end of the "
            f"image; fetch or export it again."
        )


def _narrow(
    values: NDArray[Any], bits: int, said: Declared, name: str, notes: dict[str, str]
) -> "Image":
    """Scale grey values of so many bits to 8, white as the greatest."""
    from PIL import Image

    top = said.top if said.scaled and bits == said.bits else None
    narrow = eight_bits(values, bits, name, top)
    if bits == 16 and said.top > 1 << 15:
        notes[DEEP] = str(int(values.max()))
    if len(np.unique(narrow)) <= 2 < len(np.unique(values)):
        notes[FEW_GREYS] = f"dataset.bit_depth={bits}"
    narrow = 255 - narrow if said.inverted else narrow
    if said.transparent:
        hidden = values == said.transparent[0]
        narrow = np.where(hidden, 0, narrow).astype(np.uint8)
        if hidden.any():
            notes[ALPHA] = ""
    return Image.fromarray(narrow)


def _foreign_grey(file: Path) -> tuple[NDArray[Any], Declared]:
    """Read grey values of a TIFF file that Pillow does not know."""
    found = undiminished(file)
    if found is None or found[0].ndim != 2:
        raise _tiff_refused(file)
    return found[0].astype(np.int64), of_tags(tiff_tags(file))


def _tiff_refused(file: Path) -> InvalidImageError:
    return InvalidImageError(
        f"{file.name} is a TIFF file of a kind that is not read ({told_tags(tiff_tags(file))}): "
        f"save it as PNG, or as TIFF with interleaved samples of 8 or 16 bits."
    )


def _deep_colours(
    opened: "Image", said: Declared, framing: Framing, file: Path, notes: dict[str, str]
) -> "Image | None":
    """Read colours of more than 8 bits; None where their upper bits, as Pillow reads them, will do.

    Raises:
        InvalidImageError: If `bit_depth` asks for lower bits that cannot be had.
    """
    narrower = framing.bit_depth < said.bits
    if opened.format == "TIFF" and not said.colours and opened.mode != "CMYK":
        raise _tiff_refused(file)
    if said.scaled and not narrower:
        return None
    opened.load()  # refuses what is damaged, of which OpenCV would read a part
    found = undiminished(file) if said.colours else None
    if found is None or (said.associated and not narrower):
        if narrower or said.transparent:
            raise refuse_depth(file.name, said, framing.bit_depth)
        return None
    return _scaled_colours(opened, said, found, framing, file.name, notes)


def _scaled_colours(
    opened: "Image",
    said: Declared,
    found: tuple[NDArray[Any], NDArray[Any] | None],
    framing: Framing,
    name: str,
    notes: dict[str, str],
) -> "Image":
    from PIL import Image, ImageOps

    values, alpha = found
    bits = min(framing.bit_depth, 16)
    if values.ndim == 2:
        values = np.stack([values] * 3, axis=-1)
    seen = (values >> 8).astype(np.uint8) if bits == 16 else eight_bits(values, bits, name)
    if bits == 16:
        notes[DEEP] = str(int(values.max()))
    if len(np.unique(seen)) <= 2 < len(np.unique(values)):
        notes[FEW_GREYS] = f"dataset.bit_depth={bits}"
    image = Image.fromarray(seen)
    if said.transparent:
        hidden = (values == np.array(said.transparent)).all(axis=-1)
        alpha = np.where(hidden, 0, 65535)
    elif opened.mode not in ALPHA_MODES:  # a fourth sample that is not called alpha
        alpha = None
    if alpha is not None and not said.associated:
        whole = bits == 16 or alpha.max() >= 1 << bits
        opacity = (alpha >> 8).astype(np.uint8) if whole else eight_bits(alpha, bits, name)
        image.putalpha(Image.fromarray(opacity))
    if opened.format == "PNG":  # of a TIFF file it is applied already
        image.getexif()[0x0112] = opened.getexif().get(0x0112, 1)
        image = ImageOps.exif_transpose(image)
    return _over_black(image, said, notes) if image.mode == "RGBA" else image


def _over_black(image: "Image", said: Declared, notes: dict[str, str]) -> "Image":
    """Lay what is transparent over black, and say so."""
    from PIL import Image

    has_alpha = image.mode in ALPHA_MODES
    if said.bits < 8 and said.transparent and image.mode in ("1", "L"):  # stretched, unlike the key
        image = image.convert("L")
        image.info["transparency"] = min(said.transparent[0], said.top) * 255 // said.top
    seen = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
    if np.asarray(seen.getchannel("A")).min() < 255:
        notes[ALPHA] = ""
    elif has_alpha:
        notes[OPAQUE] = ""
    return Image.alpha_composite(Image.new("RGBA", seen.size, (0, 0, 0, 255)), seen)


@contextmanager
def _opened(file: Path) -> "Iterator[Image | None]":
    """Open a file; None for a grey TIFF file that Pillow does not know, and OpenCV does."""
    from PIL import Image, UnidentifiedImageError

    try:
        opened = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        tags = tiff_tags(file)
        if tags is None:
            raise _unknown(file, error) from error
        check_area(file.name, tags.get(WIDTH, 0), tags.get(HEIGHT, 0))
        if BITS not in tags or not is_plain_grey(tags):
            raise _tiff_refused(file) from error
        yield None
        return
    with opened as image:
        check_area(file.name, *image.size)
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in SEVERAL:
            raise InvalidImageError(f"{file.name} holds {frames} images: write one file an image.")
        yield image


def _unknown(file: Path, error: Exception) -> Exception:
    """Name what a file is, where its first bytes say it; else return the error as it is."""
    with file.open("rb") as stream:
        head = stream.read(512)
    for place, mark, kind in UNREAD:
        if mark in (head[place : place + len(mark)], head[place : place + len(mark)].lower()):
            remedy = REMEDIES.get(kind, "save it as PNG, JPEG or TIFF")
            return InvalidImageError(f"{file.name} is {kind}, which is not read here: {remedy}.")
    return error if head else InvalidImageError(f"{file.name} is empty.")


def _told(file: Path, error: Exception) -> str:
    """Say why a file cannot be decoded, in half a sentence."""
    if "decoder" in str(error) and "not available" in str(error):
        return "the Pillow that is installed lacks its decoder: pip install --upgrade pillow"
    try:
        with file.open("rb") as stream:
            found = codestream(stream.read(1 << 16))
    except OSError:
        found = None
    if found is not None and found.bits > 8 and not isinstance(error, MemoryError):
        return f"it is damaged, or compressed with {found.bits} bits, which no decoder here reads"
    return "it is damaged, too large or of an unknown format"


@contextmanager
def _read_errors_named(file: Path) -> Iterator[None]:
    """Turn what decoders raise into one sentence that names the file, not its folder."""
    from PIL.Image import DecompressionBombError, DecompressionBombWarning

    try:
        with system_errors_named(file):
            yield
    except MedRobustError:
        raise
    except (*READ_ERRORS, DecompressionBombError, DecompressionBombWarning) as error:
        raise InvalidImageError(
            f"{file.name} cannot be read as an image ({type(error).__name__}): "
            f"{_told(file, error)}."
        ) from error
