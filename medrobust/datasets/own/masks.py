"""Masks of own images: files beside them, of their size, framed as they are."""

import logging
from collections.abc import Sequence
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
from medrobust.types import Float64Array, UInt8Array

from .nifti import SUFFIXES, Volumes, read_layout
from .picture_files import ALPHA_MODES
from .picture_sizes import TURNED, UPRIGHT, orientation, shown_size, size_shown
from .pictures import Framing, check_area, framed, quiet_decoders, write_images
from .samples import Sample, each_sample, files_key, place_named
from .table import Table

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

LOSSY = (".jpg", ".jpeg")
"""Files whose compression smears a mask."""

READING = 4
"""Version of the way masks are read."""

BORDER = 255
"""Value of pixels that `dataset.fit=pad` puts around an image."""


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
        if path.lower().endswith(".dcm"):
            raise InvalidDataError(
                f"{table.file}, line {line}: masks of DICOM SEG are not read. Write that of each "
                f"image as PNG, or as NIfTI."
            )
        if pure.suffix.lower() in LOSSY and not smeared:
            raise InvalidDataError(
                f"{table.file}, line {line}: the mask is a JPEG, which smears its border. Give it "
                f"as PNG, or pass dataset.mask_threshold=127."
            )
    return paths


def read_masks(
    table: Table,
    column: str,
    samples: Sequence[Sample],
    folder: Path,
    framing: Framing,
    name: str,
    cache_dir: str | None,
    classes: Sequence[str] | None = None,
    threshold: int | None = None,
    slice_column: str = "",
) -> CachedArray:
    """Unpack the masks of images to the cache, once: uint8 (N, size, size), 1 in lesions.

    Every value of a file but 0 is a lesion; the border that padding puts around an image is 255. A
    row without a mask has no lesion, which is said. Where classes are asked for, a pixel has the
    number of its class.

    Args:
        table: With the rows.
        column: Of the masks.
        samples: The images.
        folder: That paths start from.
        framing: Of the images.
        name: Of the set.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.
        classes: What the values of files stand for, from 0, the background; empty: every value but
            0 is class 1. None: lesions.
        threshold: Value beyond which a pixel is of the only class, for smeared masks; None: 0.
        slice_column: Of the slices of masks of volumes, where the table has it.

    Raises:
        InvalidDataError: As `mask_paths` raises it.
        DatasetNotFoundError: If a mask is not there.
        InvalidImageError: If a mask cannot be read, has another size than its image as it is
            shown, a value that no class has, colours or transparency, or if its image is turned
            (EXIF) and nobody can tell whether the mask is.
    """
    paths = mask_paths(table, column, smeared=threshold is not None)
    slices = mask_slices(table, slice_column, paths)
    given = {
        sample.name: Sample(
            f"{paths[sample.row]}#{slices.get(sample.row, '')}",
            folder / paths[sample.row],
            sample.row,
            sample.place,
            slices.get(sample.row),
        )
        for sample in samples
        if paths[sample.row]
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
    volumes = Volumes()

    def read(sample: Sample) -> UInt8Array:
        if sample.name not in given:
            return _bare(sample.file, framing)
        own = given[sample.name]
        with place_named(own):
            values = _values(own, sample.file, volumes)
            return _classes(own.file.name, values, framing, classes, threshold)

    def write(target: Path) -> str:
        with quiet_decoders():
            masks = each_sample(read, list(samples))
            return write_images(masks, len(samples), framing.size, True, target)

    return cached_array(f"{name}-masks", key, write, cache_dir=cache_dir)


def _values(mask: Sample, image: Path, volumes: Volumes) -> NDArray[Any]:
    """Return the values of a mask as its image is shown, (H, W)."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = mask.file.name
    try:
        with Image.open(image) as picture:
            shown, turn = size_shown(picture), orientation(picture) or UPRIGHT
        if name.lower().endswith(SUFFIXES):
            values: NDArray[Any] = volumes.read(mask.file, mask.frame)
            _check_size(values.shape[::-1], shown, turn, mask.file, image, told=False)
            return values
        with Image.open(mask.file) as picture:
            check_area(name, *picture.size)
            told = orientation(picture) is not None
            upright = ImageOps.exif_transpose(picture)
            _check_size(upright.size, shown, turn, mask.file, image, told=told)
            return _grey_values(upright, name)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InvalidImageError(f"the mask {name} cannot be read: {error}.") from error


def _check_size(
    size: tuple[int, ...],
    shown: tuple[int, int],
    turn: int,
    mask: Path,
    image: Path,
    *,
    told: bool,
) -> None:
    """Refuse a mask of another size than its image, or one that may be turned against it.

    Raises:
        InvalidImageError: Naming both.
    """
    stored = shown[::-1] if turn in TURNED else shown
    if not told and turn != UPRIGHT and size == stored:
        raise InvalidImageError(
            f"the image {image.name} is turned by its EXIF orientation and its mask {mask.name} is "
            f"not marked: save both upright."
        )
    if size != shown:
        sizes = " and ".join(f"{one[0]}x{one[1]}" for one in (size, shown))
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


def _bare(image: Path, framing: Framing) -> UInt8Array:
    """Return the mask of an image without lesions, which the images themselves are read for."""
    width, height = shown_size(image)
    empty = np.zeros((framing.size, framing.size), np.uint8)
    return _bordered(empty, (height, width), framing)


def _bordered(mask: UInt8Array, shape: tuple[int, ...], framing: Framing) -> UInt8Array:
    """Mark the border that padding puts around an image of that height and width."""
    if framing.fit == "pad" and shape[0] != shape[1]:
        inside = framed(np.full(shape[:2], 255, np.uint8), framing, grey=True)
        mask[inside < 128] = BORDER
    return mask


def mask_slices(table: Table, column: str, paths: Sequence[str]) -> dict[int, int]:
    """Return row -> slice of its mask, of rows that name one.

    Args:
        table: With the rows.
        column: Of the slices of masks of volumes, from 0; a table may have none.
        paths: Of the masks, one a row.

    Raises:
        InvalidDataError: If it is no whole number from 0, or the mask is no volume; names the line.
    """
    if column not in table.columns:
        return {}
    found = {}
    for row, (text, path) in enumerate(zip(table.columns[column], paths, strict=True)):
        if not text:
            continue
        number = whole_number(text)
        if number is None or number < 0 or not path.lower().endswith(SUFFIXES):
            raise InvalidDataError(
                f"{table.place(row)}: {column} is {text!r}; it is the slice of a mask of NIfTI, "
                f"numbered from 0, and empty for others."
            )
        found[row] = number
    return found


def stated_spacing(
    name: str, paths: Sequence[str], folder: Path, samples: Sequence[Sample], framing: Framing
) -> Float64Array | None:
    """Return the spacing of stored pixels by the headers of masks: float64 (N, 2), millimetres.

    Of images without a mask, which have no border to be measured, it is 1.

    Args:
        name: Of the set.
        paths: Of the masks, one a row of the table; empty where there is none.
        folder: That paths start from.
        samples: The images.
        framing: Of the images.

    Returns:
        None where no mask is of a volume, or not every one states its spacing, which is said.

    Raises:
        InvalidImageError: If a header cannot be read.
    """
    own = [sample for sample in samples if paths[sample.row]]
    volumes = [sample for sample in own if paths[sample.row].lower().endswith(SUFFIXES)]
    if not volumes:
        return None
    headers = {sample.row: read_layout(folder / paths[sample.row]) for sample in volumes}
    stated = {row: one.spacing for row, one in headers.items() if one.spacing is not None}
    if len(stated) < len(own):
        some = part_of(len(own) - len(stated), len(own), "mask")
        said = f"{name}: {some} without millimetres in the header: distances are in pixels"
        say_once(log, logging.INFO, said)
        return None
    shrunk = [*each_sample(lambda sample: _shrunk(sample.file, framing), list(samples))]
    own_spacing = [stated.get(sample.row, (1.0, 1.0)) for sample in samples]
    return np.array(own_spacing, np.float64) * np.array(shrunk, np.float64)


def read_spacing(
    table: Table, column: str, samples: Sequence[Sample], framing: Framing
) -> Float64Array:
    """Return the spacing of stored pixels, from that of the files: float64 (N, 2), millimetres.

    Args:
        table: With the rows.
        column: Millimetres from one pixel of a file to the next: "0.7", or "0.7 0.9" for rows and
            columns.
        samples: The images.
        framing: Of the images: what is shrunk has larger pixels.

    Raises:
        InvalidDataError: If it is no number above 0, or missing; names the line.
        InvalidImageError: If an image cannot be read.
    """
    texts = table.column(column, "spacing_column")
    found = [_spacing(texts[sample.row], table.place(sample.row)) for sample in samples]
    shrunk = [*each_sample(lambda sample: _shrunk(sample.file, framing), list(samples))]
    return np.array(found, np.float64) * np.array(shrunk, np.float64)


def _spacing(text: str, place: str) -> tuple[float, float]:
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < one < float("inf") for one in numbers):
        raise InvalidDataError(
            f"{place}: the spacing {text!r} is no number of millimetres above 0, as 0.7, or two of "
            f"them for rows and columns, as 0.7 0.9."
        )
    return numbers[0], numbers[-1]


def _shrunk(file: Path, framing: Framing) -> tuple[float, float]:
    """Return how many rows, and columns, of a file go into one stored pixel."""
    width, height = shown_size(file)
    down, across = height / framing.size, width / framing.size
    if framing.fit == "squash":
        return down, across
    both = max(down, across) if framing.fit == "pad" else min(down, across)
    return both, both
