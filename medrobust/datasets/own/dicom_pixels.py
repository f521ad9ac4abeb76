"""One frame of a DICOM file to uint8, by the rules of the standard (PS3.3, C.7.6.3 and C.11).

Grey: stored values, modality transformation, window, inversion of MONOCHROME1. Colour: RGB, also
from YBR and palettes. Pixels that are not square are made so. What header and pixels disagree about
is resolved as the standard has it, and said, or refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from medrobust.base.wording import counted
from medrobust.exceptions import InvalidImageError
from medrobust.types import UInt8Array

from .dicom_colour import PALETTE_BITS, STREAM_COLOURS, colours
from .dicom_frames import frames_of_header
from .dicom_grey import (
    AS_STORED,
    CLIPPED,
    FEW_GREYS,
    NARROW,
    NO_FUNCTION,
    NO_SLOPE,
    NO_WINDOW,
    TABLE_BITS,
    VOI_TABLE,
    Window,
    greys,
)
from .dicom_headers import opened
from .dicom_packing import unpacked
from .dicom_stored import HIGH_BIT, STREAM_BITS, STREAM_SIGN, UNUSED_BITS, stored_values
from .dicom_values import OVERLAY_DATA, first_window, frame_value, is_signed, rescale, stored_bits
from .pictures import check_area

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

Grey = TypeVar("Grey", np.uint8, np.float32)
"""What a pixel is: what is shown, or a stored value."""

GREY: Final = ("MONOCHROME1", "MONOCHROME2")
PALETTE: Final = "PALETTE COLOR"
COLOUR: Final = (
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
)

STEEPEST: Final = 8
"""Height of a pixel over its width, or the reverse, beyond which a header is not believed."""

WINDOWLESS: Final = (NO_WINDOW, VOI_TABLE, AS_STORED)
"""What stands in for a window that was asked for and is not there."""

BURNT_IN: Final = "text burnt into the pixels, as the header says"
OVERLAYS: Final = "overlays (drawings or masks over the image) were left out"
PROFILE: Final = "a colour profile was left aside: colours are those stored"
CONTRADICTION: Final = (
    "the presentation LUT shape contradicts the photometric interpretation, which was followed"
)
ONE_FRAME: Final = "of several frames one was taken"

LEAVING_LITTLE: Final = (FEW_GREYS, CLIPPED)
"""What a header may do to an image so that little of it is seen."""

RESOLVED: Final = (
    NO_SLOPE,
    NARROW,
    NO_FUNCTION,
    TABLE_BITS,
    PALETTE_BITS,
    UNUSED_BITS,
    HIGH_BIT,
    STREAM_BITS,
    STREAM_SIGN,
    STREAM_COLOURS,
)
"""Where header and pixels disagree, and what was done."""

NOTES: Final = (
    *WINDOWLESS,
    BURNT_IN,
    OVERLAYS,
    PROFILE,
    CONTRADICTION,
    ONE_FRAME,
    *LEAVING_LITTLE,
    *RESOLVED,
)
"""All that may be said of an image."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame.

    Attributes:
        pixels: uint8 (H, W) or (H, W, 3).
        notes: What the owner should know of it (`NOTES`).
        details: Note -> the numbers of the header that it is about, where there are any.
    """

    pixels: UInt8Array
    notes: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def is_grey_dicom(file: Path) -> bool:
    """Say from its header whether a file holds grey images.

    Raises:
        InvalidImageError: If its pixels are of no kind that is read; names the file.
    """
    with opened(file) as (header, _):
        check_header(header, file.name)
        return header.PhotometricInterpretation in GREY


def read_dicom(file: Path, *, frame: int | None = None, window: Window = "header") -> Picture:
    """Read one frame of a DICOM file.

    Args:
        file: The file.
        frame: Number from 1; None: the middle one (the earlier of two).
        window: For grey images. "header": the first window of the header, its VOI table where it
            has no window, the range of the image where it has neither; "range": least to greatest
            value, padding left out; "stored": all values that the stored bits can hold; or
            (centre, width) in values after the modality transformation (Hounsfield units for CT).
            Images of up to 8 bits without window and transformation are taken as they are.

    Raises:
        InvalidImageError: If it has no pixels, hostile sizes or no such frame, is damaged, or says
            of its pixels what they contradict; names the file and the value of the header.
        MissingDependencyError: If its compression needs a package that is not installed.
    """
    with opened(file) as (header, stream):
        check_header(header, file.name)
        index = frame_index(header, frame, file.name)
        packed = unpacked(header, stream, index, file)
        if header.PhotometricInterpretation not in GREY:
            pixels, found = colours(header, packed, file.name)
        else:
            stored = stored_values(header, packed)
            shown, found = greys(header, stored, index, window, file.name)
            pixels = stored.back(shown)
            if header.PhotometricInterpretation == "MONOCHROME1":
                pixels = 255 - pixels
        notes = _notes(header, index) | found
        details = {note: detail for note, detail in notes.items() if detail}
        return Picture(squared(header, index, pixels, file.name), tuple(notes), details)


def read_notes(
    file: Path, *, frame: int | None = None, window: Window = "header"
) -> dict[str, str]:
    """Return the notes of `read_dicom` with their details, from the header where it decides them.

    Args:
        file: The file.
        frame: As for `read_dicom`.
        window: As for `read_dicom`.

    Raises:
        InvalidImageError: As `read_dicom` raises it.
        MissingDependencyError: As `read_dicom` raises it.
    """
    with opened(file) as (header, _):
        check_header(header, file.name)
        index = frame_index(header, frame, file.name)
        decided = _notes_of_header(header, index, window)
        if decided is not None:
            return _notes(header, index) | decided
    picture = read_dicom(file, frame=frame, window=window)
    return {note: picture.details.get(note, "") for note in picture.notes}


def _notes_of_header(header: "FileDataset", index: int, window: Window) -> dict[str, str] | None:
    """Return what is to be said of the pixels where the header decides it, else None."""
    syntax: Any = header.file_meta.get("TransferSyntaxUID")
    bits = stored_bits(header)
    if (
        not syntax
        or syntax.is_compressed
        or bits != header.BitsAllocated
        or header.get("HighBit", bits - 1) != bits - 1
    ):
        return None
    if header.PhotometricInterpretation in COLOUR:
        return {} if bits <= 8 else None
    scale = rescale(header, index)
    if header.PhotometricInterpretation not in GREY or scale is None:
        return None
    if window == "range":
        return {}
    tables = frame_value(header, index, "FrameVOILUTSequence", "VOILUTSequence")
    if window != "header" or first_window(header, index) or tables:
        return None
    if bits > 8:
        return {NO_WINDOW: ""}
    unchanged = scale == (1.0, 0.0) and not header.get("ModalityLUTSequence")
    return {AS_STORED: ""} if unchanged and not is_signed(header) else None


def _notes(header: "FileDataset", index: int) -> dict[str, str]:
    """Say what of a header a viewer might show and this module does not, and what it warns of."""
    inverse = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
    shape = str(header.get("PresentationLUTShape", "")).upper()
    frames = frames_of_header(header)
    found = {
        BURNT_IN: str(header.get("BurnedInAnnotation", "")).upper() == "YES",
        OVERLAYS: any(tag in OVERLAY_DATA for tag in header.keys()),  # noqa: SIM118  # raw tags
        PROFILE: "ICCProfile" in header,
        CONTRADICTION: shape in inverse.values()
        and inverse.get(header.PhotometricInterpretation, shape) != shape,
        ONE_FRAME: frames > 1,
    }
    details = {ONE_FRAME: f"{index + 1} of {frames}"}
    return {note: details.get(note, "") for note, holds in found.items() if holds}


def check_header(header: "FileDataset", name: str) -> None:
    """Refuse what has no pixels or hostile sizes before a pixel is touched."""
    rows, columns = header.get("Rows"), header.get("Columns")
    if not isinstance(rows, int) or not isinstance(columns, int) or not rows * columns:
        raise InvalidImageError(f"{name} is a DICOM file without an image.")
    check_area(name, columns, rows)
    kind = header.get("PhotometricInterpretation")
    samples = header.get("SamplesPerPixel")
    if samples != (3 if kind in COLOUR else 1) or kind not in (*GREY, PALETTE, *COLOUR):
        told = "no samples" if samples is None else counted(samples, "sample")
        raise InvalidImageError(
            f"{name} holds pixels of a kind that is not read (photometric interpretation {kind}, "
            f"{told}); there are: {', '.join((*GREY, PALETTE, *COLOUR))}."
        )
    if header.get("BitsAllocated") not in (1, 8, 16, 32, 64):
        bits = header.get("BitsAllocated")
        raise InvalidImageError(f"{name} has {bits} bits a pixel (BitsAllocated): 8, 16, 32 go.")


def frame_index(header: "FileDataset", frame: int | None, name: str) -> int:
    """Return the place of a frame, from 0: as `read_dicom` takes it.

    Raises:
        InvalidImageError: If there is no such frame.
    """
    count = frames_of_header(header)
    number = (count + 1) // 2 if frame is None else frame
    if not 1 <= number <= count:
        raise InvalidImageError(
            f"{name} has {counted(count, 'frame')}; frame {number} was asked for."
        )
    return number - 1


def squared(header: "FileDataset", index: int, pixels: NDArray[Grey], name: str) -> NDArray[Grey]:
    """Enlarge one side of an image whose pixels are not square, as viewers do."""
    from PIL import Image

    height, width = pixels.shape[:2]
    size = squared_size(header, index, (width, height), name)
    if size == (width, height):
        return pixels
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=pixels.dtype)


def squared_size(
    header: "FileDataset", index: int, size: tuple[int, int], name: str
) -> tuple[int, int]:
    """Return width and height of an image once its pixels are square.

    Raises:
        InvalidImageError: If no image has such a size.
    """
    ratio = _height_to_width(header, index)
    if abs(ratio - 1) < 0.01 or not 1 / STEEPEST <= ratio <= STEEPEST:
        return size
    width, height = size
    found = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    check_area(name, *found)
    return found


def _height_to_width(header: "FileDataset", index: int) -> float:
    """Return the height of a pixel over its width: of its spacing in mm, else of its ratio."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        sizes = frame_value(header, index, "PixelMeasuresSequence", keyword)
        if isinstance(sizes, Sequence) and len(sizes) == 2 and min(map(float, sizes)) > 0:
            return float(sizes[0]) / float(sizes[1])
    return 1.0
