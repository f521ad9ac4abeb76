"""Masks of own images: files beside them, of their size, framed as they are."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.class_masks import FULL, most_light
from medrobust.base.missing import whole_number
from medrobust.base.once import say_once
from medrobust.base.wording import agreeing, part_of
from medrobust.datasets.cache import CachedArray, cached_array
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError, InvalidImageError, hiding
from medrobust.types import UInt8Array

from .dicom_headers import quiet_pydicom
from .dicom_seg import Segmentations, named_as_dicom
from .nifti import SUFFIXES, Volumes
from .picture_files import ALPHA_MODES
from .picture_sizes import TURNED, UPRIGHT, orientation
from .pictures import Framing, check_area, framed, quiet_decoders, write_images
from .samples import Sample, each_sample, files_key, place_named
from .shown import Shown
from .table import Table

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

LOSSY = (".jpg", ".jpeg")
"""Files whose compression smears a mask."""

PICTURES = (*LOSSY, ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".pgm", ".ppm")
"""Files that have no slices."""

READING = 4
"""Version of the way masks are read."""

BORDER = 255
"""Value of pixels that `dataset.fit=pad` puts around an image."""


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """The masks that the rows of a table name.

    Attributes:
        folder: That paths start from.
        paths: One a row; empty where it has none.
        slices: Row -> slice, of rows that name one.
    """

    folder: Path
    paths: Sequence[str]
    slices: dict[int, int]

    def of(self, sample: Sample) -> Path:
        """Return the file of an image's mask, which it has."""
        return self.folder / self.paths[sample.row]


def mask_files(
    table: Table, folder: Path, column: str, slice_column: str, *, smeared: bool = False
) -> MaskFiles:
    """Return the masks that the rows of a table name.

    Args:
        table: With the rows.
        folder: That paths start from.
        column: Of the masks.
        slice_column: Of the slices of masks of volumes, where the table has it.
        smeared: As of `mask_paths`.

    Raises:
        InvalidDataError: As `mask_paths` raises it, or for what is no number of a slice; names the
            line.
    """
    paths = mask_paths(table, column, smeared=smeared)
    return MaskFiles(folder, paths, _slices(table, slice_column, paths))


def mask_paths(table: Table, column: str, *, smeared: bool = False) -> list[str]:
    """Return the path of each row's mask, empty where it has none.

    Args:
        table: With the rows.
        column: Of the masks.
        smeared: Whether files may be compressed with loss, since a threshold is theirs.

    Raises:
        InvalidDataError: For a path that leaves the folder, or a file whose compression loses
            pixels; names the line.
    """
    paths = [text.replace("\\", "/") for text in table.column(column, "mask_column")]
    for line, path in zip(table.lines, paths, strict=True):
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\0" in path or ":" in path.split("/")[0]:
            raise InvalidDataError(
                f"{table.file}, line {line}: the path of the mask leaves the folder of the images; "
                f"paths are relative to dataset.root."
            )
        if pure.suffix.lower() in LOSSY and not smeared:
            raise InvalidDataError(
                f"{table.file}, line {line}: the mask is a JPEG, which smears its border. Give it "
                f"as PNG, or pass dataset.mask_threshold=127."
            )
    return paths


def read_masks(
    files: MaskFiles,
    samples: Sequence[Sample],
    framing: Framing,
    name: str,
    cache_dir: str | None,
    shown: Callable[[Sample], Shown],
    classes: Sequence[str] | None = None,
    threshold: int | None = None,
) -> CachedArray:
    """Unpack the masks of images to the cache, once: uint8 (N, size, size), 1 in lesions.

    Every value of a file but 0 is a lesion; the border that padding puts around an image is 255. A
    row without a mask has no lesion, which is said. Where classes are asked for, a pixel has the
    number of its class.

    Args:
        files: Of the rows.
        samples: The images.
        framing: Of the images.
        name: Of the set.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.
        shown: Says of an image how it is shown.
        classes: What the values of files stand for, from 0, the background; empty: every value but
            0 is class 1. None: lesions.
        threshold: Value beyond which a pixel is of the only class, for smeared masks and fractions
            of DICOM SEG (of 255); None: 0.

    Raises:
        DatasetNotFoundError: If a mask is not there.
        InvalidImageError: If a mask cannot be read, has another size than its image as it is
            shown, a value that no class has, colours or transparency, or if its image is turned
            (EXIF) and nobody can tell whether the mask is.
    """
    slices = files.slices
    given = {
        sample.name: Sample(
            f"{files.paths[sample.row]}#{slices.get(sample.row, '')}",
            files.of(sample),
            sample.row,
            sample.place,
            slices.get(sample.row),
        )
        for sample in samples
        if files.paths[sample.row]
    }
    lost = [one for one in given.values() if not one.file.exists()]
    if lost:
        told = f"{part_of(len(lost), len(given), 'mask')} {agreeing(len(lost), 'is')} not there"
        first = f"{lost[0].file.name} ({lost[0].place})"
        error = f"{told}, first {first}: paths of masks are relative to dataset.root."
        raise hiding(DatasetNotFoundError(error), f"{told}.")
    bare = len(samples) - len(given)
    if bare:
        said = part_of(bare, len(samples), "image")
        say_once(log, logging.INFO, f"{name}: {said} without a mask: nothing of them is a lesion")
    key = {
        "kind": "masks",
        "reading": READING,
        "images": [sample.name in given for sample in samples],
        **files_key(f"{name} masks", list(given.values()), cache_dir=cache_dir),
        "framing": [framing.size, framing.fit],
        **({} if classes is None else {"classes": len(classes)}),
        **({} if threshold is None else {"threshold": threshold}),
        **({"slices": [one.frame for one in given.values()]} if slices else {}),
    }
    readers = Volumes(), Segmentations()
    fractions = threshold is not None

    def read(sample: Sample) -> UInt8Array:
        image = shown(sample)
        if sample.name not in given:
            empty = np.zeros((framing.size, framing.size), np.uint8)
            return _bordered(empty, image.size[::-1], framing)
        own = given[sample.name]
        with place_named(own):
            values = _values(own, sample.file, image, readers, bool(classes), fractions)
            return _classes(own.file.name, values, framing, classes, threshold)

    def write(target: Path) -> str:
        with ExitStack() as quiet:
            quiet.enter_context(quiet_decoders())
            if any(map(named_as_dicom, {one.file for one in given.values()})):
                quiet.enter_context(quiet_pydicom())
            masks = each_sample(read, list(samples))
            return write_images(masks, len(samples), framing.size, True, target)

    return cached_array(f"{name}-masks", key, write, cache_dir=cache_dir)


def _values(
    mask: Sample,
    file: Path,
    image: Shown,
    readers: tuple[Volumes, Segmentations],
    classes: bool,
    fractions: bool,
) -> NDArray[Any]:
    """Return the values of a mask as its image is shown, (H, W)."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    name, dicom = mask.file.name, image.dicom
    stored = image if dicom is None else Shown(dicom.grid.size)
    volumes, segmentations = readers
    try:
        if name.lower().endswith(SUFFIXES):
            values: NDArray[Any] = volumes.read(mask.file, mask.frame)
            _check_size(values.shape[::-1], stored, mask.file, file, told=False)
        elif named_as_dicom(mask.file):
            if dicom is not None and mask.frame is not None:
                raise InvalidImageError(
                    f"the mask {name} is found by the image that it is of: leave its slice empty."
                )
            values = segmentations.read(
                mask.file, dicom, mask.frame, classes=classes, fractions=fractions
            )
            _check_size(values.shape[::-1], stored, mask.file, file, told=False)
        else:
            with Image.open(mask.file) as picture:
                check_area(name, *picture.size)
                told = orientation(picture) is not None
                upright = ImageOps.exif_transpose(picture)
                _check_size(upright.size, stored, mask.file, file, told=told)
                values = _grey_values(upright, name)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InvalidImageError(f"the mask {name} cannot be read: {error}.") from error
    return _stretched(values, image.size)


def _stretched(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Repeat rows or columns of a mask whose image's pixels were made square: the nearest ones."""
    places = [
        ((2 * np.arange(wanted) + 1) * there) // (2 * wanted)
        for wanted, there in zip(size[::-1], values.shape, strict=True)
    ]
    return values if values.shape == size[::-1] else values[np.ix_(*places)]


def _check_size(
    size: tuple[int, ...], shown: Shown, mask: Path, image: Path, *, told: bool
) -> None:
    """Refuse a mask of another size than its image, or one that may be turned against it.

    Raises:
        InvalidImageError: Naming both.
    """
    stored = shown.size[::-1] if shown.turn in TURNED else shown.size
    if not told and shown.turn != UPRIGHT and size == stored:
        raise InvalidImageError(
            f"the image {image.name} is turned by its EXIF orientation and its mask {mask.name} is "
            f"not marked: save both upright."
        )
    if size != shown.size:
        sizes = " and ".join(f"{one[0]}x{one[1]}" for one in (size, shown.size))
        raise InvalidImageError(
            f"the mask {mask.name} and its image have {sizes} pixels: they must be of one size."
        )


def _classes(
    name: str,
    values: NDArray[Any],
    framing: Framing,
    classes: Sequence[str] | None,
    threshold: int | None,
) -> UInt8Array:
    """Return the class of each pixel as framed, from the values of a file."""
    if not classes:
        beyond = values != 0 if threshold is None else values > threshold
        values = beyond.astype(np.uint8)
    elif values.min() < 0 or values.max() >= len(classes):
        named = ", ".join(f"{number} {name}" for number, name in enumerate(classes))
        raise InvalidImageError(
            f"the mask {name} has values from {values.min()} to {values.max()}, and "
            f"dataset.mask_classes names {named}: name all classes, or none where every value but "
            f"0 is the same."
        )

    def light(kind: int) -> UInt8Array:
        return framed(((values == kind) * FULL).astype(np.uint8), framing, grey=True)

    kinds = [int(kind) for kind in np.unique(values) if kind]
    found = most_light((framing.size, framing.size), ((kind, light(kind)) for kind in kinds))
    return _bordered(found, values.shape, framing)


def _grey_values(mask: "Image", name: str) -> NDArray[Any]:
    """Return the values of a mask (H, W): numbers of its palette, or greys.

    Raises:
        InvalidImageError: If it has colours, or transparency other than of the palette's 0.
    """
    if mask.mode in ALPHA_MODES or "transparency" in mask.info:
        hidden = np.asarray(mask.convert("RGBA").getchannel("A")) < 255
        if mask.mode == "P":
            hidden &= np.asarray(mask) != 0
        if hidden.any():
            raise InvalidImageError(
                f"the mask {name} has transparency, which is no lesion and no background: save it "
                f"as grey, 0 where no lesion is."
            )
    if mask.mode == "P":
        return np.asarray(mask)
    if len(mask.getbands()) < 3:
        return np.asarray(mask.convert("L") if mask.mode in ALPHA_MODES else mask.convert("I"))
    colours = np.asarray(mask.convert("RGB"))
    if (colours != colours[..., :1]).any():
        raise InvalidImageError(
            f"the mask {name} has colours: save it as grey, 0 where no lesion is."
        )
    return colours[..., 0].astype(np.int64)


def _bordered(mask: UInt8Array, shape: tuple[int, ...], framing: Framing) -> UInt8Array:
    """Mark the border that padding puts around an image of that height and width."""
    if framing.fit == "pad" and shape[0] != shape[1]:
        inside = framed(np.full(shape[:2], 255, np.uint8), framing, grey=True)
        mask[inside < 128] = BORDER
    return mask


def _slices(table: Table, column: str, paths: Sequence[str]) -> dict[int, int]:
    """Return row -> slice of its mask, of rows that name one.

    Args:
        table: With the rows.
        column: Of the slices of masks of volumes, from 0; a table may have none.
        paths: Of the masks, one a row.

    Raises:
        InvalidDataError: If it is no whole number from 0, or the mask is a picture; names the line.
    """
    if column not in table.columns:
        return {}
    found = {}
    for row, (text, path) in enumerate(zip(table.columns[column], paths, strict=True)):
        if not text:
            continue
        number = whole_number(text)
        if number is None or number < 0 or not path or path.lower().endswith(PICTURES):
            raise InvalidDataError(
                f"{table.place(row)}: {column} is {text!r}; it is the slice of a mask of NIfTI or "
                f"DICOM SEG, numbered from 0, and empty for others."
            )
        found[row] = number
    return found
