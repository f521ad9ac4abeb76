"""Windows of images as a split of their own: around each lesion, or at each place of a grid.

A corruption acts on the whole stored image; the window is cut from what comes out, brought to the
stored size, and only then preprocessed. So a window that is the whole image is that image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from medrobust.base.findings import Finding
from medrobust.base.fingerprints import fingerprint
from medrobust.base.given import check_name, check_number
from medrobust.base.lazy_rows import WindowRows, picked
from medrobust.base.targets import Boxes, WindowLabels
from medrobust.base.wording import part_of
from medrobust.exceptions import ConfigurationError, InvalidDataError
from medrobust.types import Float32Array, Float64Array, Int64Array

from .image_set import ImageSet

IMAGE_COLUMN = "image"
"""Metadata column that says which image a window is of; `aggregate=image` joins by it."""

MOST_ACROSS = 64
"""Windows along a side of an image: more than 4,096 an image are a mistake."""

LEAST = 8
"""Pixels a side of a window, of a smaller box as well."""


@dataclass(frozen=True, slots=True)
class Look:
    """Which windows of an image a model sees.

    Attributes:
        margin: Around a box, as a share of its longer side, on each side.
        grid: Windows along each side of the image, in place of boxes; None: boxes.
        overlap: Share of a window of the grid that the next one sees again.
        background: Class of windows of a grid in which no lesion has its centre.
    """

    margin: float = 0.25
    grid: int | None = None
    overlap: float = 0.5
    background: str = "no lesion"

    def __post_init__(self) -> None:
        """Refuse what gives no windows.

        Raises:
            ConfigurationError: Naming the key.
        """
        check_number("dataset.margin", self.margin)
        check_number("dataset.overlap", self.overlap)
        check_name("dataset.background", self.background)
        if not 0 <= self.margin <= 10:
            raise ConfigurationError(f"dataset.margin={self.margin} must be 0 to 10.")
        whole = type(self.grid) is int and 1 <= self.grid <= MOST_ACROSS
        if self.grid is not None and not whole:
            raise ConfigurationError(
                f"dataset.grid={self.grid} must be a whole number from 1 to {MOST_ACROSS}, or null."
            )
        if not 0 <= self.overlap < 1:
            raise ConfigurationError(f"dataset.overlap={self.overlap} must be 0 to below 1.")


def square_windows(boxes: Float32Array | Float64Array, size: int, margin: float) -> Int64Array:
    """Return the square around each box, moved inside the image where it would leave it.

    Args:
        boxes: (B, 4): left, top, right, bottom in pixels.
        size: Pixels a side of the image, which no window exceeds.
        margin: As a share of the longer side of the box, on each side.

    Returns:
        int64 (B, 4).

    Example:
        >>> boxes = np.array([[10, 10, 30, 20], [0, 0, 4, 4], [0, 0, 100, 100]], np.float32)
        >>> square_windows(boxes, 100, 0.25).tolist()
        [[5, 0, 35, 30], [0, 0, 8, 8], [0, 0, 100, 100]]
    """
    left, top, right, bottom = np.asarray(boxes, np.float64).T
    longer = np.maximum(right - left, bottom - top) * (1 + 2 * margin)
    side = np.clip(np.ceil(longer - 1e-6), min(LEAST, size), size)
    corners = [
        np.clip(np.floor((low + high - side) / 2 + 0.5), 0, size - side)
        for low, high in ((left, right), (top, bottom))
    ]
    x, y = corners
    return np.stack([x, y, x + side, y + side], axis=1).astype(np.int64)


def grid_windows(size: int, across: int, overlap: float) -> Int64Array:
    """Return square windows at equal steps that reach every border, row by row: int64 (across², 4).

    Args:
        size: Pixels a side of the image.
        across: Windows along each side.
        overlap: Share of a window that the next one sees again.

    Example:
        >>> grid_windows(8, 3, 0.5).tolist()[:4]
        [[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4], [0, 2, 4, 6]]
    """
    side = size / (1 + (across - 1) * (1 - overlap))
    whole = min(size, max(1, int(np.ceil(side - 1e-9))))
    starts = np.rint(np.linspace(0, size - whole, across)).astype(np.int64)
    y, x = (places.ravel() for places in np.meshgrid(starts, starts, indexing="ij"))
    return np.stack([x, y, x + whole, y + whole], axis=1)


def looked_at(image_set: ImageSet, look: Look) -> ImageSet:
    """Return the windows of a split as images of their own.

    Ids are those of the images with the number of the window; patients, and what corruption draws
    are keyed by, are those of the images.

    Args:
        image_set: Judged by boxes; all of its images have one size.
        look: Which windows.

    Raises:
        InvalidDataError: If there is no box, or none of the positive class.
    """
    boxes = image_set.target
    assert isinstance(boxes, Boxes)
    _check_lesions(image_set, boxes)
    size = int(image_set.images.shape[1])
    labels: Int64Array
    if look.grid is None:
        order = np.argsort(boxes.images, kind="stable")
        images, labels = boxes.images[order], boxes.classes[order]
        windows, names = square_windows(boxes.values[order], size, look.margin), {}
        lesions = boxes
    else:
        windows, images, labels, lesions = _of_grid(image_set, boxes, look)
        names = _with_background(image_set, look.background)
    target = WindowLabels(labels, windows, images, lesions, look.grid is not None)
    return replace(
        image_set,
        **names,
        images=cast(Any, WindowRows(picked(image_set.images, images), windows)),
        target=target,
        ids=_numbered(image_set.ids, images),
        index=image_set.index[images],
        groups=None if image_set.groups is None else image_set.groups[images],
        **_metadata(image_set, images),
        fingerprint=fingerprint(
            [image_set.fingerprint, "windows", windows.tolist(), images.tolist(), labels.tolist()]
        ),
        findings=(*image_set.findings, *_bare(image_set, images)),
    )


def _check_lesions(image_set: ImageSet, boxes: Boxes) -> None:
    where = f"{image_set.name}/{image_set.split}"
    if not len(boxes.images):
        raise InvalidDataError(
            f"no image of {where} has a box: there is no lesion to look at. Check dataset.boxes "
            f"and the column of splits."
        )
    positive = image_set.positive
    if positive is not None and not (boxes.classes == positive).any():
        raise InvalidDataError(
            f"no box of {where} is {image_set.class_names[positive]!r}, the positive class: there "
            f"is nothing to find. dataset.positive=<class> names another."
        )


def _of_grid(
    image_set: ImageSet, boxes: Boxes, look: Look
) -> tuple[Int64Array, Int64Array, Int64Array, Boxes]:
    """Return windows, their images and classes, and lesions by the classes of the grid."""
    size, count = int(image_set.images.shape[1]), len(image_set)
    assert look.grid is not None
    each = grid_windows(size, look.grid, look.overlap)
    windows, images = np.tile(each, (count, 1)), np.repeat(np.arange(count), len(each))
    lesions = replace(boxes, classes=boxes.classes + 1)
    x, y = (boxes.values[:, side] + boxes.values[:, side + 2] for side in (0, 1))
    labels = np.zeros((count, len(each)), np.int64)
    left, top, right, bottom = each.T
    for image, kind, cx, cy in zip(boxes.images, lesions.classes, x / 2, y / 2, strict=True):
        inside = (left <= cx) & (cx < right) & (top <= cy) & (cy < bottom)
        labels[image, inside] = np.maximum(labels[image, inside], kind)
    return windows, images.astype(np.int64), labels.ravel(), lesions


def _with_background(image_set: ImageSet, background: str) -> dict[str, Any]:
    names: Sequence[str] = (background, *image_set.class_names)
    prompts = (background, *image_set.prompt_names) if image_set.prompt_names else ()
    binary = len(names) == 2
    return {
        "class_names": tuple(names),
        "prompt_names": tuple(prompts),
        "label_kind": "binary-class" if binary else "multi-class",
        "positive": 1 if binary else None,
        "normal": (background,),
    }


def _numbered(ids: Any, images: Int64Array) -> Any:
    """Return the id of each image with the number of the window in it."""
    seen: dict[int, int] = {}
    found = []
    for image in images.tolist():
        seen[image] = seen.get(image, -1) + 1
        found.append(f"{ids[image]}/{seen[image]}")
    return np.array(found, dtype=np.str_)


def _metadata(image_set: ImageSet, images: Int64Array) -> dict[str, Any]:
    """Return the metadata of the windows: those of their images, and which image it is."""
    own = image_set.ids[images][:, None]
    kept = image_set.metadata
    columns = image_set.metadata_columns
    if IMAGE_COLUMN in columns:
        raise ConfigurationError(
            f"dataset.metadata_columns names {IMAGE_COLUMN!r}, which says here which image a "
            f"window is of: rename the column of the table."
        )
    metadata = own if kept is None else np.concatenate([kept[images], own], axis=1)
    return {"metadata": metadata, "metadata_columns": (*columns, IMAGE_COLUMN)}


def _bare(image_set: ImageSet, images: Int64Array) -> tuple[Finding, ...]:
    """Say how many images nobody looks at, for they have no box."""
    bare = len(image_set) - len(np.unique(images))
    if not bare:
        return ()
    said = f"{part_of(bare, len(image_set), 'image')} without a box: not looked at"
    return (Finding("further remarks", said),)
