"""One frame of a DICOM file to uint8, by the rules of the standard (PS3.3, C.7.6.3 and C.11).

Grey: stored values, modality transformation, window, inversion of MONOCHROME1. Colour: RGB, also
from YBR and palettes. Pixels that are not square are made so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidImageError, MissingDependencyError
from medrobust.types import Float64Array, UInt8Array

from .dicom_headers import DEFLATED, dicom_errors_named, library, opened
from .pictures import check_area, eight_bits

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

Window: TypeAlias = Literal["header", "range", "stored"] | Sequence[float]

RLE: Final = "1.2.840.10008.1.2.5"
GREY: Final = ("MONOCHROME1", "MONOCHROME2")
PALETTE: Final = "PALETTE COLOR"
COLOUR: Final = (
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
)
OVERLAY_DATA: Final = range(0x60003000, 0x60200000, 0x20000)
"""Tags of the pixels of up to sixteen overlays."""

STEEPEST: Final = 8
"""Height of a pixel over its width, or the reverse, beyond which a header is not believed."""

ROWS: Final = 256
"""Rows that are looked up at a time."""

NO_WINDOW: Final = "no usable window in the header: the range of the image itself was used"
VOI_TABLE: Final = "no usable window in the header: its VOI table was used"
AS_STORED: Final = "no usable window in the header: values of up to 8 bits were taken as they are"
WINDOWLESS: Final = (NO_WINDOW, VOI_TABLE, AS_STORED)
"""What stands in for a window that was asked for and is not there."""

BURNT_IN: Final = "text burnt into the pixels, as the header says"
OVERLAYS: Final = "overlays (drawings or masks over the image) were left out"
PROFILE: Final = "a colour profile was left aside: colours are those stored"
CONTRADICTION: Final = (
    "the presentation LUT shape contradicts the photometric interpretation, which was followed"
)
NOTES: Final = (*WINDOWLESS, BURNT_IN, OVERLAYS, PROFILE, CONTRADICTION)
"""All that may be said of an image."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame.

    Attributes:
        pixels: uint8 (H, W) or (H, W, 3).
        notes: What the owner should know of it (`NOTES`).
    """

    pixels: UInt8Array
    notes: tuple[str, ...] = ()


def is_grey_dicom(file: Path) -> bool:
    """Say from its header whether a file holds grey images.

    Raises:
        InvalidImageError: If its pixels are of no kind that is read; names the file.
    """
    with opened(file) as (header, _):
        _check_header(header, file.name)
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
        InvalidImageError: If it has no pixels, hostile sizes or no such frame, or is damaged.
        MissingDependencyError: If its compression needs a package that is not installed.
    """
    with opened(file) as (header, stream):
        _check_header(header, file.name)
        index = _frame_index(header, frame, file.name)
        array = _decoded(header, stream, index, file)
        notes = _notes(header)
        if header.PhotometricInterpretation not in GREY:
            return Picture(
                _squared(header, index, _colour(header, array, file.name), file.name), notes
            )
        values, back = _distinct(array)
        shown, instead = _windowed(header, values, index, window)
        pixels = back(shown)
        if header.PhotometricInterpretation == "MONOCHROME1":
            pixels = 255 - pixels
        said = notes if instead is None else (*notes, instead)
        return Picture(_squared(header, index, pixels, file.name), said)


def read_notes(
    file: Path, *, frame: int | None = None, window: Window = "header"
) -> tuple[str, ...]:
    """Return the notes of `read_dicom`, from the header alone wherever it decides them.

    Args:
        file: The file.
        frame: As for `read_dicom`.
        window: As for `read_dicom`.

    Raises:
        InvalidImageError: As `read_dicom` raises it.
        MissingDependencyError: As `read_dicom` raises it.
    """
    with opened(file) as (header, _):
        _check_header(header, file.name)
        index, notes = _frame_index(header, frame, file.name), _notes(header)
        if window != "header" or header.PhotometricInterpretation not in GREY:
            return notes
        if _voi(header, index) is not None:
            return notes
        if header.get("VOILUTSequence"):
            return (*notes, VOI_TABLE)
        if _bits(header) > 8:
            return (*notes, NO_WINDOW)
        if not header.get("PixelRepresentation") and _values_as_stored(header, index):
            return (*notes, AS_STORED)
    return read_dicom(file, frame=frame, window=window).notes


def _notes(header: "FileDataset") -> tuple[str, ...]:
    """Say what of a header a viewer might show and this module does not, and what it warns of."""
    inverse = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
    shape = str(header.get("PresentationLUTShape", "")).upper()
    found = {
        BURNT_IN: str(header.get("BurnedInAnnotation", "")).upper() == "YES",
        OVERLAYS: any(tag in OVERLAY_DATA for tag in header.keys()),  # noqa: SIM118  # raw tags
        PROFILE: "ICCProfile" in header,
        CONTRADICTION: shape in inverse.values()
        and inverse.get(header.PhotometricInterpretation, shape) != shape,
    }
    return tuple(note for note, holds in found.items() if holds)


def _check_header(header: "FileDataset", name: str) -> None:
    """Refuse what has no pixels or hostile sizes before a pixel is touched."""
    rows, columns = header.get("Rows"), header.get("Columns")
    if not isinstance(rows, int) or not isinstance(columns, int) or not rows * columns:
        raise InvalidImageError(f"{name} is a DICOM file without an image.")
    check_area(name, columns, rows)
    kind = header.get("PhotometricInterpretation")
    samples = header.get("SamplesPerPixel")
    if samples != (3 if kind in COLOUR else 1) or kind not in (*GREY, PALETTE, *COLOUR):
        raise InvalidImageError(
            f"{name} holds pixels of a kind that is not read (photometric interpretation {kind}, "
            f"{samples} samples); there are: {', '.join((*GREY, PALETTE, *COLOUR))}."
        )
    if header.get("BitsAllocated") not in (1, 8, 16, 32, 64):
        raise InvalidImageError(f"{name} has {header.get('BitsAllocated')} bits a pixel.")


def _frame_index(header: "FileDataset", frame: int | None, name: str) -> int:
    count = int(header.get("NumberOfFrames") or 1)
    number = (count + 1) // 2 if frame is None else frame
    if not 1 <= number <= count:
        raise InvalidImageError(f"{name} has {count} frames; frame {number} was asked for.")
    return number - 1


def _decoded(header: "FileDataset", stream: BinaryIO, index: int, file: Path) -> NDArray[Any]:
    """Return the stored values of a frame, (H, W) or (H, W, 3), YBR turned into RGB."""
    pydicom = library()
    from pydicom.pixels import get_decoder, pixel_array

    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise InvalidImageError(f"{file.name} does not say how its pixels are packed.")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InvalidImageError(
            f"{file.name} is packed as {syntax.name}, which is not read: unpack it with other "
            f"software first."
        ) from error
    if not decoder.is_available:
        raise MissingDependencyError(
            f"{file.name} is packed as {syntax.name}, which needs a decoder: "
            f"pip install 'medrobust[dicom]'."
        )
    with dicom_errors_named(file):
        if syntax != DEFLATED and not stream.read(4):
            raise InvalidImageError(f"{file.name} is a DICOM file without pixels.")
        if syntax.is_encapsulated or syntax == DEFLATED:
            whole = pydicom.dcmread(file)
            if syntax.is_encapsulated and syntax != RLE:
                _check_codestream(whole, index, file.name)
            return np.asarray(pixel_array(whole, index=index))
        stream.seek(0)
        return np.asarray(pixel_array(stream, index=index))  # reads that frame only


def _check_codestream(whole: "FileDataset", index: int, name: str) -> None:
    """Refuse compressed pixels that unpack to another size than the header declares."""
    from pydicom.encaps import get_frame

    offsets = whole.get("ExtendedOffsetTable"), whole.get("ExtendedOffsetTableLengths")
    packed = get_frame(
        whole.PixelData,
        index,
        number_of_frames=int(whole.get("NumberOfFrames") or 1),
        extended_offsets=offsets if all(offsets) else None,
    )
    found = codestream_size(packed)
    if found != (whole.Columns, whole.Rows):
        declared = "no size" if found is None else f"{found[0]} × {found[1]}"
        raise InvalidImageError(
            f"{name} is damaged: its compressed pixels declare {declared}, its header "
            f"{whole.Columns} × {whole.Rows}."
        )


def codestream_size(packed: bytes) -> tuple[int, int] | None:
    """Read (width, height) off a JPEG, JPEG-LS or JPEG 2000 stream, or None.

    Sources: ITU-T T.81 B.2.2 (frame header), T.87 C.2.2, T.800 A.5.1 (SIZ).
    """
    start = packed.find(b"\xff\x4f\xff\x51", 0, 1 << 12)
    if start >= 0 and not packed.startswith(b"\xff\xd8"):
        corners = np.frombuffer(packed, dtype=">u4", count=4, offset=start + 8).astype(np.int64)
        return int(corners[0] - corners[2]), int(corners[1] - corners[3])
    place = 2
    while packed.startswith(b"\xff\xd8") and place + 9 <= len(packed) and packed[place] == 0xFF:
        marker = packed[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = np.frombuffer(packed, dtype=">u2", count=2, offset=place + 5)
            return int(width), int(height)
        place += 2 + int.from_bytes(packed[place + 2 : place + 4], "big")
    return None


def _colour(header: "FileDataset", array: NDArray[Any], name: str) -> UInt8Array:
    """Return uint8 (H, W, 3)."""
    bits = _bits(header)
    if header.PhotometricInterpretation == PALETTE:
        from pydicom.pixels import apply_color_lut

        with dicom_errors_named(Path(name)):
            array = apply_color_lut(array, header)
            bits = array.dtype.itemsize * 8
    return array.astype(np.uint8) if bits == 8 else eight_bits(array, bits, name)


def _distinct(
    stored: NDArray[Any],
) -> tuple[NDArray[Any], Callable[[UInt8Array], UInt8Array]]:
    """Return each stored value once, and the way from what is shown for it back to the image.

    A large image of up to 16 bits then takes a few bytes a pixel instead of several doubles.
    """
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2:
        return stored, lambda shown: shown
    native = np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))
    codes = native.view(f"u{native.itemsize}")
    blocks = [codes[start : start + ROWS] for start in range(0, len(codes), ROWS)]
    present = np.zeros(1 << 8 * native.itemsize, dtype=np.bool_)
    for block in blocks:
        present[block] = True
    found = np.flatnonzero(present)

    def back(shown: UInt8Array) -> UInt8Array:
        table = np.zeros(len(present), dtype=np.uint8)
        table[found] = shown
        return np.concatenate([table[block] for block in blocks])

    return found.astype(codes.dtype).view(native.dtype), back


def _windowed(
    header: "FileDataset", stored: NDArray[Any], index: int, window: Window
) -> tuple[UInt8Array, str | None]:
    """Return uint8 in the shape of `stored`, before inversion, and what stood in for a window.

    Values that the image does not hold are not in `stored`; how often each occurs does not count.
    """
    if window == "stored":
        return _ramp(stored.astype(np.float64), *_stored_range(header, stored)), None
    values = _modality(header, stored, index)
    if not isinstance(window, str):
        return _shown(values, float(window[0]), float(window[1]), "LINEAR"), None
    if window == "header":
        found = _voi(header, index)
        if found is not None:
            return _shown(values, *found), None
        if header.get("VOILUTSequence"):
            return _voi_table(header, values), VOI_TABLE
    if np.array_equal(values, stored) and _bits(header) <= 8 and stored.min() >= 0:
        return _ramp(
            values, 0.0, 2.0 ** _bits(header) - 1
        ), None if window == "range" else AS_STORED
    inside = values[~_padding(header, stored)]
    low, high = (inside.min(), inside.max()) if inside.size else (values.min(), values.max())
    return _ramp(values, float(low), float(high)), None if window == "range" else NO_WINDOW


def _squared(header: "FileDataset", index: int, pixels: UInt8Array, name: str) -> UInt8Array:
    """Enlarge one side of an image whose pixels are not square, as viewers do."""
    from PIL import Image

    ratio = _height_to_width(header, index)
    if abs(ratio - 1) < 0.01 or not 1 / STEEPEST <= ratio <= STEEPEST:
        return pixels
    height, width = pixels.shape[:2]
    size = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    check_area(name, *size)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _height_to_width(header: "FileDataset", index: int) -> float:
    """Return the height of a pixel over its width: of its spacing in mm, else of its ratio."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        sizes = _frame_value(header, index, "PixelMeasuresSequence", keyword)
        if isinstance(sizes, Sequence) and len(sizes) == 2 and min(map(float, sizes)) > 0:
            return float(sizes[0]) / float(sizes[1])
    return 1.0


def _stored_range(header: "FileDataset", stored: NDArray[Any]) -> tuple[float, float]:
    if stored.dtype.kind == "f":
        return float(stored.min()), float(stored.max())
    bits = _bits(header)
    return (
        (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
        if stored.min() < 0 or header.get("PixelRepresentation")
        else (0.0, 2.0**bits - 1)
    )


def _bits(header: "FileDataset") -> int:
    """Return the bits of a stored value; floating pixels name only those that are allocated."""
    return int(header.get("BitsStored") or header.BitsAllocated)


def _modality(header: "FileDataset", stored: NDArray[Any], index: int) -> Float64Array:
    """Return values after the modality transformation: rescale, or its table."""
    if header.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, header), dtype=np.float64)
    where = "PixelValueTransformationSequence"
    slope = _number(_frame_value(header, index, where, "RescaleSlope"))
    intercept = _number(_frame_value(header, index, where, "RescaleIntercept"))
    values = stored.astype(np.float64)
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=float(np.nanmin(values[np.isfinite(values)])))
    return values * (1.0 if slope is None else slope) + (intercept or 0.0)


def _values_as_stored(header: "FileDataset", index: int) -> bool:
    """Say from its header whether the modality transformation of an image changes no value."""
    if header.get("ModalityLUTSequence"):
        return False
    where = "PixelValueTransformationSequence"
    slope = _number(_frame_value(header, index, where, "RescaleSlope"))
    intercept = _number(_frame_value(header, index, where, "RescaleIntercept"))
    return slope in (None, 1.0) and not intercept


def _voi(header: "FileDataset", index: int) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window, or None."""
    where = "FrameVOILUTSequence"
    centre = _number(_frame_value(header, index, where, "WindowCenter"))
    width = _number(_frame_value(header, index, where, "WindowWidth"))
    function = str(_frame_value(header, index, where, "VOILUTFunction") or "LINEAR").upper()
    if centre is None or width is None or not np.isfinite((centre, width)).all() or width <= 0:
        return None
    return centre, width, function


def _voi_table(header: "FileDataset", values: Float64Array) -> UInt8Array:
    from pydicom.pixels import apply_voi

    shown = np.asarray(apply_voi(np.rint(values).astype(np.int64), header), dtype=np.float64)
    bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
    return _ramp(shown, 0.0, 2.0**bits - 1)


def _shown(values: Float64Array, centre: float, width: float, function: str) -> UInt8Array:
    """Apply a window: PS3.3, C.11.2.1.2 (LINEAR) and C.11.2.1.3 (LINEAR_EXACT, SIGMOID)."""
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return _ramp(1 / (1 + np.exp(-4 * (values - centre) / width)), 0.0, 1.0)
    if function == "LINEAR_EXACT":
        return _ramp(values, centre - width / 2, centre + width / 2)
    low = centre - 0.5 - (width - 1) / 2
    return _ramp(values, low, low + (width - 1))


def _ramp(values: Float64Array, low: float, high: float) -> UInt8Array:
    """Map low..high to 0..255, rounded half up; a step behind `low` if both are equal."""
    if high <= low:
        return np.where(values > low, 255, 0).astype(np.uint8)
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.floor(share * 255 + 0.5).astype(np.uint8)


def _padding(header: "FileDataset", stored: NDArray[Any]) -> NDArray[np.bool_]:
    first = _number(header.get("PixelPaddingValue"))
    if first is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    last = _number(header.get("PixelPaddingRangeLimit"))
    ends = (first, first if last is None else last)
    return (stored >= min(ends)) & (stored <= max(ends))


def _frame_value(header: "Dataset", index: int, sequence: str, keyword: str) -> Any:
    """Look a value up where enhanced images keep it: of the frame, of all frames, at the top."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for groups in (*frames[index : index + 1], *shared[:1]):
        for item in (groups.get(sequence) or [])[:1]:
            if item.get(keyword) is not None:
                return item.get(keyword)
    return header.get(keyword)


def _number(value: Any) -> float | None:
    """Return the first of one or several numbers, or None for none."""
    if value is None or isinstance(value, str | bytes):
        return float(value) if value else None
    if isinstance(value, Sequence):
        return float(value[0]) if len(value) else None
    return float(value)
