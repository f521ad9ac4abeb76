"""Millimetres from one stored pixel to the next: of a table, of headers of masks or of images."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from medrobust.base.once import say_once
from medrobust.base.wording import part_of
from medrobust.datasets.cache import ArrayWriter, cached_array
from medrobust.exceptions import InvalidDataError
from medrobust.types import Float64Array

from .dicom_headers import quiet_pydicom
from .dicom_seg import Segmentations, named_as_dicom
from .masks import MaskFiles
from .nifti import SUFFIXES, read_layout
from .pictures import Framing
from .samples import Sample, each_sample
from .shown import Shown
from .table import Table

log = logging.getLogger(__name__)


def stated_spacing(
    name: str,
    files: MaskFiles,
    samples: Sequence[Sample],
    framing: Framing,
    shown: Callable[[Sample], Shown],
) -> Float64Array | None:
    """Return the spacing of stored pixels by the headers of masks: float64 (N, 2), millimetres.

    Of images without a mask, which have no border to be measured, it is 1.

    Args:
        name: Of the set.
        files: Of the masks.
        samples: The images.
        framing: Of the images.
        shown: Says of an image how it is shown.

    Returns:
        None where no mask is of a volume, or not every one states its spacing, which is said.

    Raises:
        InvalidImageError: If a header cannot be read.
    """
    own = [sample for sample in samples if files.paths[sample.row]]
    named = {files.of(sample) for sample in own}
    dicom = {file for file in named if not _is_nifti(file) and named_as_dicom(file)}
    volumes = dicom | set(filter(_is_nifti, named))
    if not volumes:
        return None
    segmentations = Segmentations()
    with quiet_pydicom() if dicom else nullcontext():
        stated = {
            file: segmentations.spacing(file) if file in dicom else read_layout(file).spacing
            for file in sorted(volumes)
        }
    found = {sample.row: stated.get(files.of(sample)) for sample in own}
    known = {row: one for row, one in found.items() if one is not None}
    if len(known) < len(own):
        some = part_of(len(own) - len(known), len(own), "mask")
        said = f"{name}: {some} without millimetres in the header: distances are in pixels"
        say_once(log, logging.INFO, said)
        return None
    own_spacing = [known.get(sample.row, (1.0, 1.0)) for sample in samples]
    return np.array(own_spacing, np.float64) * shrunk(samples, framing, shown)


def image_spacing(
    name: str,
    samples: Sequence[Sample],
    framing: Framing,
    shown: Callable[[Sample], Shown],
    *,
    key: Mapping[str, Any],
    cache_dir: str | None,
) -> Float64Array | None:
    """Return the spacing of stored pixels by the headers of DICOM images: float64 (N, 2), mm.

    Args:
        name: Of the set.
        samples: The images.
        framing: Of the images.
        shown: Says of an image how it is shown, its grid among it.
        key: What decides the pixels, for the cache.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.

    Returns:
        None where not every image states its spacing, which is said.

    Raises:
        InvalidImageError: If a header cannot be read.
    """

    def spacing(sample: Sample) -> tuple[float, float]:
        image = shown(sample)
        assert image.dicom is not None
        own = image.dicom.grid.spacing or (np.nan, np.nan)
        down, across = own if image.size == image.dicom.grid.size else (min(own), min(own))
        rows, columns = framed_away(image.size, framing)
        return down * rows, across * columns

    def write(target: Path) -> str:
        with ArrayWriter(target, np.dtype(np.float64), (len(samples), 2)) as writer:
            for one in each_sample(spacing, samples):
                writer.write(np.array(one).tobytes())
            return writer.close()

    asked = {**key, "kind": "dicom-spacing"}
    found = np.array(cached_array(f"{name}-spacing", asked, write, cache_dir=cache_dir).open())
    bare = int(np.isnan(found[:, 0]).sum())
    if not bare:
        return found
    some = part_of(bare, len(samples), "image")
    said = f"{name}: {some} without PixelSpacing in the header: distances are in pixels"
    say_once(log, logging.INFO, said)
    return None


def read_spacing(
    table: Table,
    column: str,
    samples: Sequence[Sample],
    framing: Framing,
    shown: Callable[[Sample], Shown],
) -> Float64Array:
    """Return the spacing of stored pixels, from that of the files: float64 (N, 2), millimetres.

    Args:
        table: With the rows.
        column: Millimetres from one pixel of a file to the next: "0.7", or "0.7 0.9" for rows and
            columns.
        samples: The images.
        framing: Of the images: what is shrunk has larger pixels.
        shown: Says of an image how it is shown.

    Raises:
        InvalidDataError: If it is no number above 0, or missing; names the line.
        InvalidImageError: If an image cannot be read.
    """
    texts = table.column(column, "spacing_column")
    found = [_spacing(texts[sample.row], table.place(sample.row)) for sample in samples]
    return np.array(found, np.float64) * shrunk(samples, framing, shown)


def shrunk(
    samples: Sequence[Sample], framing: Framing, shown: Callable[[Sample], Shown]
) -> Float64Array:
    """Return how many rows, and columns, of each image go into one stored pixel: (N, 2)."""
    found = each_sample(lambda sample: framed_away(shown(sample).size, framing), list(samples))
    return np.array([*found], np.float64)


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


def framed_away(size: tuple[int, int], framing: Framing) -> tuple[float, float]:
    """Return how many rows, and columns, of an image of that size go into one stored pixel."""
    width, height = size
    down, across = height / framing.size, width / framing.size
    if framing.fit == "squash":
        return down, across
    both = max(down, across) if framing.fit == "pad" else min(down, across)
    return both, both


def _is_nifti(file: Path) -> bool:
    return file.name.lower().endswith(SUFFIXES)
