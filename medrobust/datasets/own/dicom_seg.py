"""Masks of DICOM SEG: frames of segments, brought back to the image that they were drawn on.

References:
    PS3.3, A.51 and C.8.20: segments and frames; C.7.6.16: functional groups of frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidImageError

from .dicom_frames import frames_of_header
from .dicom_headers import DEFLATED, dicom_errors_named, is_dicom, library, opened
from .dicom_imageless import SEGMENTATIONS
from .dicom_packing import plain_bits, unpacked
from .dicom_pixels import check_header
from .dicom_search import SUFFIXES
from .dicom_values import frame_value

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

KINDS: Final = ("BINARY", "FRACTIONAL", "LABELMAP")

WHOLE: Final = 255
"""What a lesion is where no class is named, and a fraction of one: greys of a picture."""

ASKEW, OTHER_SPACING, ASIDE = 0.01, 0.01, 0.1
"""Of two grids: difference of a cosine, share of a spacing, and share of a pixel that the first one
is away, beyond which they are not the same."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where pixels lie in the patient, as far as a header says it.

    Attributes:
        size: Columns and rows.
        position: Of the centre of the first pixel, in millimetres.
        directions: Six cosines, along a row and along a column.
        spacing: Millimetres from row to row and from column to column.
    """

    size: tuple[int, int]
    position: tuple[float, ...] | None
    directions: tuple[float, ...] | None
    spacing: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Imaged:
    """The image that a mask is of.

    Attributes:
        instance: SOP instance UID.
        frame: Number of its frame from 1; None where it has one.
        grid: Of its pixels.
    """

    instance: str
    frame: int | None
    grid: Grid


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame: its place in the pixels from 0, its segment, and image -> frames that it is of."""

    index: int
    segment: int
    sources: dict[str, tuple[int, ...]]
    grid: Grid


@dataclass(frozen=True, slots=True)
class _Segmentation:
    """What is kept of a file: no group of its frames, but what they say."""

    header: "FileDataset"
    start: int
    kind: str
    greatest: int
    frames: Sequence[_Frame]
    listed: frozenset[str]


def named_as_dicom(file: Path) -> bool:
    """Say whether a file is a DICOM file, by its name or its first bytes."""
    if file.suffix.lower() in SUFFIXES:
        return True
    with file.open("rb") as stream:
        return is_dicom(stream)


def grid_of(header: "FileDataset", index: int) -> Grid:
    """Return the grid of a frame, as far as it is stated."""
    spacing = _numbers(header, index, "PixelMeasuresSequence", "PixelSpacing", 2)
    if spacing is not None and not min(spacing) > 0:
        spacing = None
    return Grid(
        (int(header.Columns), int(header.Rows)),
        _numbers(header, index, "PlanePositionSequence", "ImagePositionPatient", 3),
        _numbers(header, index, "PlaneOrientationSequence", "ImageOrientationPatient", 6),
        None if spacing is None else (spacing[0], spacing[1]),
    )


def _numbers(
    header: "FileDataset", index: int, sequence: str, keyword: str, count: int
) -> tuple[float, ...] | None:
    found = frame_value(header, index, sequence, keyword)
    if found is None or isinstance(found, str) or len(found) != count:
        return None
    numbers = tuple(float(one) for one in found)
    return numbers if np.isfinite(numbers).all() else None


class Segmentations:
    """Reads masks; what the headers of files say is kept, and the last packed file."""

    def __init__(self) -> None:
        self._known: dict[Path, _Segmentation] = {}
        self._packed: tuple[Path, FileDataset] | None = None
        self._lock = Lock()

    def spacing(self, file: Path) -> tuple[float, float] | None:
        """Return the millimetres from row to row and from column to column, if they are stated.

        Raises:
            InvalidImageError: As `read` raises it.
        """
        with self._lock:
            return self._found(file).frames[0].grid.spacing

    def read(
        self,
        file: Path,
        image: Imaged | None,
        number: int | None,
        *,
        classes: bool,
        fractions: bool,
    ) -> NDArray[Any]:
        """Return the mask of an image, (rows, columns): 0, or the number of the segment.

        Args:
            file: Of DICOM SEG.
            image: That it is of, if that is DICOM. Frames are those whose source it is; where none
                is and the file lists the image, nothing of it is in a segment.
            number: Else of its plane, from 0, in the order of their positions along the normal;
                None where there is one.
            classes: Whether segments are told apart. If not, all of them are 255.
            fractions: Whether those of a fractional segment are taken: 255 times each.

        Raises:
            InvalidImageError: If it is none, does not say which image or plane its frames are of,
                lies on another grid, has segments that overlap where they are told apart, or
                fractions where none are taken; or as an image of DICOM raises it.
        """
        with self._lock, dicom_errors_named(file):
            found = self._found(file)
            if found.kind == "FRACTIONAL" and not fractions:
                raise InvalidImageError(
                    f"the mask {file.name} holds fractions of segments: pass "
                    f"dataset.mask_threshold=127, beyond which (of 255) a pixel is in one, or "
                    f"export it as binary."
                )
            if image is None:
                frames = _of_plane(found, number, file.name)
            else:
                frames = _of_image(found, image, file.name)
            return self._together(found, frames, file, classes=classes)

    def _found(self, file: Path) -> _Segmentation:
        if file not in self._known:
            self._known[file] = _read_header(file)
        return self._known[file]

    def _together(
        self, found: _Segmentation, frames: Sequence[_Frame], file: Path, *, classes: bool
    ) -> NDArray[Any]:
        """Lay the segments of one image over one another."""
        columns, rows = found.frames[0].grid.size
        mask: NDArray[Any] = np.zeros((rows, columns), np.int64)
        for frame in frames:
            stored = self._pixels(found, frame.index, file)
            if int(stored.max()) > found.greatest:
                raise InvalidImageError(
                    f"the mask {file.name} holds values beyond {found.greatest}, which its header "
                    f"says is the greatest: export it again."
                )
            own: NDArray[Any]
            if found.kind == "FRACTIONAL":
                own = stored * WHOLE / found.greatest
            elif not classes:
                own = (stored != 0) * WHOLE
            else:
                own = stored if found.kind == "LABELMAP" else (stored != 0) * frame.segment
            if classes and ((mask != 0) & (own != 0)).any():
                raise InvalidImageError(
                    f"the mask {file.name} has segments that overlap in this image, and a pixel is "
                    f"of one class: leave dataset.mask_classes out, and all are one, or export a "
                    f"mask of segments that do not."
                )
            mask = np.maximum(mask, own)
        return mask

    def _pixels(self, found: _Segmentation, index: int, file: Path) -> NDArray[np.int64]:
        syntax: Any = found.header.file_meta.get("TransferSyntaxUID")
        whole = None
        if syntax is not None and (syntax.is_encapsulated or syntax == DEFLATED):
            if self._packed is None or self._packed[0] != file:
                self._packed = file, library().dcmread(file)
            whole = self._packed[1]
        with file.open("rb") as stream:
            stream.seek(found.start)
            if found.header.BitsAllocated == 1 and whole is None:
                return plain_bits(found.header, stream, index, file).astype(np.int64)
            return unpacked(found.header, stream, index, file, whole).array.astype(np.int64)


def _read_header(file: Path) -> _Segmentation:
    """Read what a file says of its frames.

    Raises:
        InvalidImageError: If it is no SEG, or does not say it.
    """
    with opened(file) as (header, stream), dicom_errors_named(file):
        if header.get("SOPClassUID") not in SEGMENTATIONS:
            raise InvalidImageError(
                f"the mask {file.name} is a DICOM file and no SEG: name the file of segments, or a "
                f"mask of PNG or NIfTI."
            )
        check_header(header, file.name)
        kind = str(header.get("SegmentationType", "")).upper()
        tiled = str(header.get("DimensionOrganizationType", "")).upper().startswith("TILED")
        count = frames_of_header(header)
        groups = header.get("PerFrameFunctionalGroupsSequence") or []
        if kind not in KINDS or tiled or len(groups) != count:
            raise InvalidImageError(
                f"the mask {file.name} is a SEG that is not read: binary, fractional and label map "
                f"ones are whose every frame has its functional groups, and none in tiles."
            )
        if header.get("PixelPaddingValue", 0) != 0:
            raise InvalidImageError(
                f"the mask {file.name} has a background other than 0 (PixelPaddingValue): export "
                f"it again."
            )
        frames = [_frame(header, index, kind, file.name) for index in range(count)]
        greatest = 1 if kind == "BINARY" else (1 << 16) - 1
        if kind == "FRACTIONAL":
            greatest = int(header.get("MaximumFractionalValue") or 0) or WHOLE
        listed = frozenset(_listed(header))
        del header.PerFrameFunctionalGroupsSequence
        return _Segmentation(header, stream.tell(), kind, greatest, frames, listed)


def _frame(header: "FileDataset", index: int, kind: str, name: str) -> _Frame:
    segment = frame_value(header, index, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
    if kind == "LABELMAP":
        segment = 0  # numbers of segments are the values
    elif not isinstance(segment, int) or segment < 1:
        raise InvalidImageError(
            f"the mask {name} does not say which segment each frame is of "
            f"(ReferencedSegmentNumber): export it again."
        )
    sources: dict[str, tuple[int, ...]] = {}
    derived = frame_value(header, index, "DerivationImageSequence", "SourceImageSequence") or []
    for one in derived:
        numbers = one.get("ReferencedFrameNumber")
        several = numbers if isinstance(numbers, Sequence) else [numbers] * (numbers is not None)
        uid = str(one.get("ReferencedSOPInstanceUID", ""))
        sources[uid] = (*sources.get(uid, ()), *map(int, several))
    return _Frame(index, segment, sources, grid_of(header, index))


def _listed(header: "FileDataset") -> list[str]:
    """Return the images that a file says to be about."""
    found = []
    for series in header.get("ReferencedSeriesSequence") or []:
        found += [*(series.get("ReferencedInstanceSequence") or [])]
    found += [*(header.get("SourceImageSequence") or [])]
    return [str(one.get("ReferencedSOPInstanceUID", "")) for one in found]


def _of_image(found: _Segmentation, image: Imaged, name: str) -> list[_Frame]:
    """Return the frames of an image, none of a segment twice."""
    if not all(frame.sources for frame in found.frames):
        raise InvalidImageError(
            f"the mask {name} does not say which image each frame is of (SourceImageSequence): "
            f"export it with its source images, or write masks of PNG or NIfTI."
        )
    own = [frame for frame in found.frames if image.instance in frame.sources]
    if not own and image.instance not in found.listed:
        raise InvalidImageError(
            f"the mask {name} does not refer to this image (its SOP instance UID is neither a "
            f"source of a frame nor listed): check which mask the row names."
        )
    chosen = []
    for frame in own:
        numbers = frame.sources[image.instance]
        if image.frame is None or not numbers or image.frame in numbers:
            chosen.append(frame)
    if any(len(frame.sources) > 1 for frame in chosen):
        raise InvalidImageError(
            f"the mask {name} has a frame that is of this image and of others: export it on the "
            f"images that it was drawn on."
        )
    for frame in chosen:
        _check_grid(frame.grid, image.grid, name)
    return _once(chosen, name)


def _check_grid(mask: Grid, image: Grid, name: str) -> None:
    """Refuse a mask that lies elsewhere than its image, as far as both say where.

    Raises:
        InvalidImageError: Saying what differs.
    """
    if mask.size != image.size:
        sizes = " and ".join(f"{one[0]}x{one[1]}" for one in (mask.size, image.size))
        raise InvalidImageError(
            f"the mask {name} and its image have {sizes} pixels: they must be of one size."
        )
    pixel = min(image.spacing or mask.spacing or (1.0,))
    compared = {
        "orientation (ImageOrientationPatient)": (mask.directions, image.directions, ASKEW),
        "spacing (PixelSpacing)": (mask.spacing, image.spacing, OTHER_SPACING * pixel),
        "position (ImagePositionPatient)": (mask.position, image.position, ASIDE * pixel),
    }
    for what, (own, other, most) in compared.items():
        if own is not None and other is not None and np.abs(np.subtract(own, other)).max() > most:
            raise InvalidImageError(
                f"the mask {name} and its image differ in their {what}: export it on the images "
                f"that it was drawn on."
            )


def _of_plane(found: _Segmentation, number: int | None, name: str) -> list[_Frame]:
    """Return the frames of a plane: of one position, or where none is stated of one source."""
    planes: dict[Any, list[_Frame]] = {}
    for frame in found.frames:
        planes.setdefault(_place(frame, name, len(found.frames)), []).append(frame)
    keys = [*planes]
    if all(isinstance(key, float) for key in keys):
        keys.sort()
    if number is None and len(keys) > 1:
        raise InvalidImageError(
            f"the mask {name} has {len(keys)} planes: name one of 0 to {len(keys) - 1} in the "
            f"column of dataset.mask_slice_column."
        )
    if not 0 <= (number or 0) < len(keys):
        raise InvalidImageError(
            f"the mask {name} has no plane {number}; there are 0 to {len(keys) - 1}."
        )
    return _once(planes[keys[number or 0]], name)


def _place(frame: _Frame, name: str, frames: int) -> Any:
    """Return where a frame lies along the normal, in hundredths of millimetres, or its source."""
    if frame.grid.position is not None and frame.grid.directions is not None:
        normal = np.cross(frame.grid.directions[:3], frame.grid.directions[3:])
        return float(np.rint(100 * (normal @ np.array(frame.grid.position))))
    if not frame.sources and frames > 1:
        raise InvalidImageError(
            f"the mask {name} does not say where its frames lie: export it with positions "
            f"(ImagePositionPatient) or source images."
        )
    return tuple(sorted(frame.sources.items()))


def _once(frames: list[_Frame], name: str) -> list[_Frame]:
    segments = [frame.segment for frame in frames]
    if len(set(segments)) < len(segments):
        raise InvalidImageError(
            f"the mask {name} has two frames of one segment of this image: export it on the "
            f"images that it was drawn on."
        )
    return frames
