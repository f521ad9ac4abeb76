"""Boxes of own images: a table of corners or sides, or the JSON of COCO, checked row by row."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from medrobust.exceptions import DatasetNotFoundError, InvalidDataError
from medrobust.types import Float64Array

from .table import Table, few, read_table

CORNERS, SIDES = ("x1", "y1", "x2", "y2"), ("x", "y", "w", "h")
"""Columns of a table of boxes: left, top, right and bottom; or left, top, width and height."""

IMAGE_COLUMNS = ("image", "image_id", "path")
"""Columns that may name the image of a box: the first that the table has."""

SLACK = 1.0
"""Pixels by which a box may leave its image, from rounding; what is outside is cut off."""


@dataclass(frozen=True, slots=True)
class FoundBoxes:
    """Boxes as a file has them, none of them empty.

    Attributes:
        corners: float64 (B, 4): left, top, right and bottom in pixels of the image as shown.
        images: Of each, as the file names it.
        labels: Table with one column, "label": what lies in each.
        sizes: Width and height of the images whose pixels a file says that it counts (COCO).
    """

    corners: Float64Array
    images: Sequence[str]
    labels: Table
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def read_boxes(file: Path, label_column: str) -> FoundBoxes:
    """Read boxes, from a table or from COCO by the suffix `.json`.

    Args:
        file: The table has a column that names the image (image, image_id or path), a column of
            labels, and either x1, y1, x2, y2 or x, y, w, h in pixels of the image as it is shown.
        label_column: Of a table.

    Raises:
        DatasetNotFoundError: If there is no such file.
        InvalidDataError: If it is no such file, or a box is empty, has a number that is none, or
            is stated twice and differently; names the row.
    """
    if not file.is_file():
        raise DatasetNotFoundError(f"{file} not found. Pass dataset.boxes=<CSV or COCO JSON>.")
    if file.suffix.lower() == ".json":
        return coco_boxes(file.name, read_coco(file))
    table = read_table(file)
    column = next((name for name in IMAGE_COLUMNS if name in table.columns), None)
    if column is None:
        raise InvalidDataError(
            f"{file.name} has no column that names the image of a box ({few(IMAGE_COLUMNS)}); it "
            f"has: {few(table.columns)}."
        )
    named = next((names for names in (CORNERS, SIDES) if set(names) <= set(table.columns)), None)
    if named is None:
        raise InvalidDataError(
            f"{file.name} has neither the columns {few(CORNERS)} nor {few(SIDES)}; it has: "
            f"{few(table.columns)}."
        )
    values = _numbers(table, named)
    if named == CORNERS and set(SIDES) <= set(table.columns):
        _check_agree(table, values, _numbers(table, SIDES))
    labels = {"label": table.column(label_column, "label_column")}
    return _checked(
        values, named == SIDES, table.column(column, "boxes"),
        Table(file.name, labels, table.lines),
    )  # fmt: skip


def read_coco(file: Path) -> Mapping[str, Any]:
    """Read the JSON of COCO: `images`, `annotations` and `categories`.

    Raises:
        InvalidDataError: If it is something else, or a part of it is none.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidDataError(f"{file.name} cannot be read as JSON ({error}).") from error
    parts = ("images", "annotations", "categories")
    lists = isinstance(found, dict) and all(isinstance(found.get(part), list) for part in parts)
    if not lists:
        raise InvalidDataError(
            f"{file.name} is no annotation of COCO: it must hold the lists {few(parts)}."
        )
    assert isinstance(found, dict)
    _check_parts(file.name, found)
    return found


def _check_parts(name: str, coco: Mapping[str, Any]) -> None:
    """Refuse parts of COCO that are none, and an id of two images, categories or annotations.

    Raises:
        InvalidDataError: Naming the part by its number from 1.
    """
    for word, plural, named in (
        ("image", "images", "file_name"),
        ("category", "categories", "name"),
        ("annotation", "annotations", None),
    ):
        for number, one in enumerate(coco[plural], 1):
            place = f"{name}, {word} {number}"
            if not isinstance(one, dict):
                raise InvalidDataError(f"{place}: {one!r:.40} is no object of COCO.")
            if named is None and "id" not in one:
                continue
            for key in ("id", *([named] if named else [])):
                kinds = (str,) if key == "file_name" else (str, int)
                if not isinstance(one.get(key), kinds) or isinstance(one[key], bool):
                    raise InvalidDataError(
                        f"{place}: its {key} is {one.get(key)!r:.40}; COCO gives images and "
                        f"categories an id and a name."
                    )
        counts = Counter(one["id"] for one in coco[plural] if "id" in one)
        twice = [key for key, count in counts.items() if count > 1]
        if twice:
            raise InvalidDataError(
                f"{name}: several of its {plural} have the id {twice[0]}: give each its own."
            )


def coco_boxes(name: str, coco: Mapping[str, Any]) -> FoundBoxes:
    """Return the boxes of COCO; its groups of many things (`iscrowd`) are left out.

    Args:
        name: Of the file, for messages.
        coco: From `read_coco`.

    Raises:
        InvalidDataError: If an annotation has no box, or names no image or category that there is.
    """
    files = {one["id"]: one["file_name"] for one in coco["images"]}
    names = {one["id"]: str(one["name"]) for one in coco["categories"]}
    images, labels, lines, corners = [], [], [], []
    for number, one in enumerate(coco["annotations"], 1):
        if one.get("iscrowd"):
            continue
        box = one.get("bbox")
        ids = one.get("image_id"), one.get("category_id")
        known = all(isinstance(key, str | int) for key in ids)
        if not known or ids[0] not in files or ids[1] not in names:
            raise InvalidDataError(
                f"{name}, annotation {number}: its image_id or category_id is none of those that "
                f"the file lists."
            )
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            raise InvalidDataError(f"{name}, annotation {number}: bbox must be four numbers.")
        images.append(files[one["image_id"]])
        labels.append(names[one["category_id"]])
        lines.append(number)
        corners.append([float(value) for value in box])
    values = np.array(corners, np.float64).reshape(-1, 4)
    found = _checked(
        values, True, images, Table(name, {"label": labels}, lines, counts="annotation")
    )
    return replace(found, sizes=_stated_sizes(name, coco))


def _stated_sizes(name: str, coco: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return width and height of each image that states both.

    Raises:
        InvalidDataError: If one of them is no number of pixels.
    """
    found = {}
    for one in coco["images"]:
        sides = one.get("width"), one.get("height")
        if None in sides:
            continue
        if not all(_is_number(side) and side > 0 for side in sides):
            raise InvalidDataError(
                f"{name}: width and height of {one['file_name']} must be numbers of pixels."
            )
        found[one["file_name"]] = (int(sides[0]), int(sides[1]))
    return found


def coco_table(name: str, coco: Mapping[str, Any]) -> Table:
    """Return the images of COCO as a table, with the further keys that all of them have as text.

    Raises:
        InvalidDataError: If there is no image.
    """
    images = coco["images"]
    if not images:
        raise InvalidDataError(f"{name} lists no image.")
    shared = set.intersection(*(set(one) for one in images))
    kept = sorted(key for key in shared if isinstance(images[0][key], str | int | float))
    columns = {key: [str(one[key]) for one in images] for key in kept}
    columns["path"] = columns.pop("file_name")
    return Table(name, columns, range(1, len(images) + 1), counts="image")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(table: Table, row: int, column: str) -> float:
    text = table.column(column, "boxes")[row]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidDataError(f"{table.place(row)}: {column} must be a number of pixels.")
    return value


def _numbers(table: Table, names: Sequence[str]) -> Float64Array:
    rows = [[_number(table, row, name) for name in names] for row in range(len(table))]
    return np.array(rows, np.float64).reshape(-1, len(names))


def _check_agree(table: Table, corners: Float64Array, sides: Float64Array) -> None:
    """Refuse a box that a table states twice and differently, by more than rounding."""
    same = np.abs(sides + np.pad(sides[:, :2], ((0, 0), (2, 0))) - corners) <= SLACK
    apart = np.flatnonzero(~same.all(axis=1))
    if len(apart):
        raise InvalidDataError(
            f"{table.place(int(apart[0]))}: {few(CORNERS)} and {few(SIDES)} are different boxes: "
            f"correct them, or leave four of these columns out."
        )


def _checked(values: Float64Array, sides: bool, images: Sequence[str], labels: Table) -> FoundBoxes:
    """Refuse empty boxes; widths and heights become corners."""
    corners = values.copy()
    if sides:
        corners[:, 2:] += values[:, :2]
    empty = np.flatnonzero(~(corners[:, 2:] > corners[:, :2]).all(axis=1))
    if len(empty):
        shown = ", ".join(f"{value:g}" for value in corners[empty[0]])
        raise InvalidDataError(
            f"{labels.place(int(empty[0]))}: the box {shown} (left, top, right, bottom) is empty: "
            f"right and bottom must lie beyond left and top."
        )
    return FoundBoxes(corners, images, labels)


def rows_of_images(found: FoundBoxes, paths: Sequence[str]) -> list[int]:
    """Say which image each box is of, by its path, the name of its file, or that without suffix.

    Args:
        found: Boxes.
        paths: Of all images of the table.

    Raises:
        InvalidDataError: If a box names no image, or a name that several have; names the row.
    """
    spelled: list[dict[str, int | None]] = [{}, {}, {}]
    for row, path in enumerate(paths):
        pure = PurePosixPath(path)
        for known, name in zip(spelled, (str(pure), pure.name, pure.stem), strict=True):
            known[name] = None if name in known else row
    rows: list[int] = []
    for place, name in enumerate(found.images):
        asked = str(PurePosixPath(name.replace("\\", "/")))
        matches = [known[asked] for known in spelled if asked in known]
        if (match := matches[0] if matches else None) is None:
            why = "is of several images" if matches else "is none of the table of images"
            raise InvalidDataError(
                f"{found.labels.place(place)}: the image that the box names {why}: name it by its "
                f"path, as there."
            )
        rows.append(match)
    return rows


def check_not_contradicted(found: FoundBoxes, rows: Sequence[int]) -> None:
    """Refuse a box that stands twice in one image, with two labels.

    Args:
        found: Boxes.
        rows: Image of each.

    Raises:
        InvalidDataError: Naming both.
    """
    first: dict[tuple[float, ...], int] = {}
    for place, label in enumerate(found.labels.columns["label"]):
        other = first.setdefault((rows[place], *found.corners[place].tolist()), place)
        if found.labels.columns["label"][other] != label:
            raise InvalidDataError(
                f"{found.labels.place(place)}: the box is that of {found.labels.counts} "
                f"{found.labels.lines[other]}, with another label: leave one of them out."
            )


def inside_image(found: FoundBoxes, place: int, width: int, height: int) -> Float64Array:
    """Return a box cut to its image: float64 (4,).

    Raises:
        InvalidDataError: If it leaves the image by more than a pixel, or the file of boxes counts
            the pixels of an image of another size; names the row.
    """
    stated = found.sizes.get(found.images[place], (width, height))
    if stated != (width, height):
        raise InvalidDataError(
            f"{found.labels.place(place)}: {found.labels.file} gives its image "
            f"{stated[0]} × {stated[1]} pixels, and the file, as it is shown, has "
            f"{width} × {height}: boxes are those of another version of it (resized or turned)."
        )
    left, top, right, bottom = found.corners[place]
    if min(left, top) < -SLACK or right > width + SLACK or bottom > height + SLACK:
        shown = ", ".join(f"{value:g}" for value in found.corners[place])
        raise InvalidDataError(
            f"{found.labels.place(place)}: the box {shown} (left, top, right, bottom) lies outside "
            f"its image of {width} × {height} pixels. Boxes are in pixels of the image as it is "
            f"shown: turned, if its EXIF orientation says so."
        )
    inside: Float64Array = np.clip(found.corners[place], 0, [width, height, width, height])
    return inside
