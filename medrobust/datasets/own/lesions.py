"""Own data with boxes: each lesion, or each window of a grid, is an image of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medrobust.base.findings import Finding
from medrobust.base.given import check_words
from medrobust.base.targets import Boxes, Target
from medrobust.base.wording import part_of
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.windows import Look, looked_at
from medrobust.exceptions import ConfigurationError, InvalidDataError, InvalidImageError
from medrobust.types import Float64Array

from .boxes import (
    FoundBoxes,
    check_not_contradicted,
    coco_table,
    inside_image,
    read_boxes,
    read_coco,
    rows_of_images,
)
from .folder import Folder
from .labels import classes_of_one, doubtful_classes, read_labels
from .picture_sizes import shown_size
from .pictures import Framing
from .samples import Sample, relative_paths
from .table import Table, check_table
from .unlabelled import is_unlabelled

LEAST_LEFT = 0.5
"""Pixels a side of the file that must be left of a box, so that there is something to look at."""


@dataclass(frozen=True, kw_only=True)
class Lesions(Folder):
    """Pictures in a folder, and boxes of what lies in them.

    Labels are those of the boxes; further arguments are those of `Folder` and `OwnData`.

    Args:
        name: Name in tables and in the store.
        boxes: CSV or Parquet with a column image, image_id or path, a column of labels, and x1, y1,
            x2, y2 or x, y, w, h in pixels of the image as it is shown; or the JSON of COCO.
        csv: Table of the images (path, and perhaps split and patient); empty: the images of COCO.
        margin: Around a box, as a share of its longer side, on each side.
        grid: Windows along each side of the image, in place of boxes; None: boxes.
        overlap: Share of a window of the grid that the next one sees again.
        background: Class of windows of a grid in which no lesion has its centre.
        target: "labels", of windows; or "boxes", whole images.
    """

    targets: ClassVar[tuple[str, ...]] = ("labels", "boxes")

    csv: str = ""
    name: str = "lesions"
    boxes: str
    margin: float = 0.25
    grid: int | None = None
    overlap: float = 0.5
    background: str = "no lesion"

    def __post_init__(self) -> None:
        """Refuse choices that do not exist.

        Raises:
            ConfigurationError: Naming the key.
        """
        super().__post_init__()
        self.look  # noqa: B018  (its own checks)
        if not isinstance(self.label_column, str):
            raise ConfigurationError("dataset.label_column: a box has one label, in one column.")
        if not self.csv and not self._is_coco:
            raise ConfigurationError(
                "dataset.csv: name the table of the images, which only COCO lists beside boxes."
            )

    @property
    def look(self) -> Look:
        """Which windows are looked at."""
        return Look(self.margin, self.grid, self.overlap, self.background)

    @property
    def _is_coco(self) -> bool:
        return self.boxes.lower().endswith(".json")

    @property
    def folder(self) -> Path:
        """Where paths start from, and where the key lies."""
        return Path(self.root or Path(self.csv or self.boxes).parent).expanduser()

    def check_files(self) -> None:
        """Refuse tables that are not there, before anything is opened.

        Raises:
            DatasetNotFoundError: If one is missing.
            ConfigurationError: If the modality is no words.
        """
        check_words("dataset.modality", self.modality, "chest x-ray")
        check_table(Path(self.csv or self.boxes).expanduser())
        check_table(Path(self.boxes).expanduser())

    def _read_table(self, split: str) -> Table:
        if self.csv:
            return super()._read_table(split)
        file = Path(self.boxes).expanduser()
        return coco_table(file.name, read_coco(file))

    def _labelled_table(self, split: str) -> Table:
        return self._read_table(split)

    def _load(self, chosen: str) -> ImageSet:
        whole = super()._load(chosen)
        whole = replace(whole, findings=(*whole.findings, *_repeated(whole.target)))
        if self.target == "boxes":
            return whole
        if self.grid is not None and self.background in whole.class_names:
            raise ConfigurationError(
                f"dataset.background={self.background} is a class of lesions too: give windows "
                f"without one another name."
            )
        found = looked_at(whole, self.look)
        names = found.class_names
        doubts = () if self.class_names else doubtful_classes(whole.class_names, chosen)
        lone = classes_of_one(found.target, names, chosen)
        return replace(found, findings=(*found.findings, *doubts, *lone))

    def _judged(self, table: Table, samples: list[Sample]) -> dict[str, Any]:
        assert isinstance(self.label_column, str)
        found = read_boxes(Path(self.boxes).expanduser(), self.label_column)
        if not len(found.corners):
            raise InvalidDataError(f"{found.labels.file} has no box.")
        _check_labelled(found.labels, self.class_names)
        labels = read_labels(
            found.labels,
            "label",
            self.class_names,
            label_kind=self.label_kind,
            positive=self.positive,
        )
        rows = rows_of_images(found, relative_paths(table, self.path_column))
        check_not_contradicted(found, rows)
        turn = {sample.row: place for place, sample in enumerate(samples)}
        kept = [place for place, row in enumerate(rows) if row in turn]
        images = np.array([turn[rows[place]] for place in kept], np.int64)
        corners = self._stored(found, kept, images, samples)
        return {
            "target": Boxes(corners.astype(np.float32), images, labels.values[kept]),
            "label_kind": labels.label_kind,
            "class_names": labels.class_names,
            "positive": labels.positive,
        }

    def _stored(
        self, found: FoundBoxes, kept: Sequence[int], images: Any, samples: Sequence[Sample]
    ) -> Float64Array:
        """Bring boxes to the pixels of the stored images: float64 (B, 4)."""
        sizes = {int(image): _size(samples[int(image)]) for image in np.unique(images)}
        corners = [
            framed_box(inside_image(found, place, *sizes[int(image)]), *sizes[int(image)],
                       self._framing(), found.labels.place(place))
            for place, image in zip(kept, images, strict=True)
        ]  # fmt: skip
        return np.array(corners, np.float64).reshape(-1, 4)


def _repeated(target: Target | None) -> tuple[Finding, ...]:
    """Say how many boxes stand again in the same image, with the same corners and label."""
    assert isinstance(target, Boxes)
    rows = np.concatenate([target.values, target.images[:, None], target.classes[:, None]], axis=1)
    again = len(rows) - len(np.unique(rows, axis=0))
    if not again:
        return ()
    said = f"{part_of(again, len(rows), 'box')} the same as another of its image: counted again"
    return (Finding("further remarks", said),)


def _check_labelled(labels: Table, class_names: Sequence[str] | None) -> None:
    """Refuse a box that nobody has labelled.

    Raises:
        InvalidDataError: Naming the row.
    """
    named = tuple(map(str, class_names or ()))
    for row, text in enumerate(labels.columns["label"]):
        if is_unlabelled(text, named):
            raise InvalidDataError(
                f"{labels.place(row)}: the box has no label. Fill it in, leave the box out, or "
                f"name all classes by dataset.class_names=[...]."
            )


def _size(sample: Sample) -> tuple[int, int]:
    """Return width and height of an image as it is shown; its pixels are not read."""
    try:
        return shown_size(sample.file)
    except InvalidImageError as error:
        raise InvalidImageError(f"{sample.place}: {error}") from error


def framed_box(
    box: Float64Array, width: int, height: int, framing: Framing, place: str
) -> Float64Array:
    """Move a box as `pictures.fitted` moves its image.

    Args:
        box: Left, top, right, bottom, inside the image.
        width: Of the image file, as it is shown.
        height: Of the image file, as it is shown.
        framing: Size and the way to it.
        place: Of the box, for messages.

    Returns:
        float64 (4,), inside the stored image.

    Raises:
        InvalidDataError: If less than half a pixel of the file is left of its width or height.

    Example:
        >>> box = np.array([0.0, 10, 20, 30])
        >>> framed_box(box, 40, 40, Framing(80), "").tolist()
        [0.0, 20.0, 40.0, 60.0]
        >>> framed_box(box, 40, 80, Framing(80), "").tolist()
        [20.0, 10.0, 40.0, 30.0]
    """
    size = framing.size
    scale, shift = np.array([size / width, size / height]), np.zeros(2)
    if (width, height) == (size, size):
        scale = np.ones(2)
    elif framing.fit == "pad":
        sides = width, height
        inner = np.array([round(side / max(sides) * size) for side in sides])
        scale, shift = inner / [width, height], np.round((size - inner) * 0.5)
    elif framing.fit == "crop":
        side = min(width, height)
        scale = np.full(2, size / side)
        shift = (side - np.array([width, height])) / 2 * scale
    moved = np.clip(box * np.tile(scale, 2) + np.tile(shift, 2), 0, size)
    if ((moved[2:] - moved[:2]) / scale < LEAST_LEFT).any():
        cut = framing.fit == "crop"
        how = "after dataset.fit=crop: take pad" if cut else "inside its image: correct it"
        raise InvalidDataError(
            f"{place}: less than half a pixel of the box is left {how}, or leave the box out."
        )
    return np.asarray(moved, np.float64)
