"""What a page shows of segmentation alone: classes, sizes of lesions, and distances of borders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.csv_text import csv_bytes, number
from medrobust.metrics.intervals import share_interval
from medrobust.metrics.overlaps import dice
from medrobust.reporting.markup import details, plain_table
from medrobust.tasks.base import Cell, Section, Table
from medrobust.types import Float64Array

from .scores import image_dice, masked

GROUPS_FILE, BORDERS_FILE = "segmentation_groups.csv", "segmentation_borders.csv"

PLACE = ("dataset", "split", "suite", "label")

GROUPS = (*PLACE, "by", "group", "condition", "images", "dice", "low", "high")

DISTANCES = ("hd95", "assd", "nsd")

BORDERS = (*PLACE, "severity", "unit", "images", *DISTANCES)

SIZES = ("nothing", "small", "medium", "large")
"""Groups of images by the pixels that their clean masks show; of those that show something a third
each."""


@dataclass(frozen=True, slots=True)
class Group:
    """Some images, or images and classes, and how well they are outlined.

    Attributes:
        by: "class" or "size".
        name: Of the group.
        values: float64 (N,), the Dice of each image; what is no number does not count.
    """

    by: str
    name: str
    values: Float64Array


def tables(matrix: Table) -> Sequence[Section]:
    """Return the tables of groups and of borders, with a file each."""
    return [section for section in (_of_groups(matrix), _of_borders(matrix)) if section.html]


def _of_groups(matrix: Table) -> Section:
    rows = [line for row in range(len(matrix.rows)) for line in _group_lines(matrix, row)]
    if not rows:
        return Section("Classes and sizes", order=10)
    note = (
        '<p class="small">Mean Dice of the images that have a class in truth or prediction, and of '
        "images by how many pixels their clean mask shows: a third each are small, medium and "
        "large. In brackets 95 % intervals over patients, or images without them.</p>"
    )
    head = ("model", "by", "group", "images", "clean", "mean of corruptions")
    keys = dict.fromkeys((row["label"], row["by"], row["group"]) for row in rows)
    found = {(row["label"], row["by"], row["group"], row["condition"]): row for row in rows}
    lines = []
    for key in keys:
        shares = [_percent(found.get((*key, condition))) for condition in CONDITIONS]
        lines.append((*key, found[*key, "clean"]["images"], *shares))
    return Section(
        "Classes and sizes",
        order=10,
        html=details("Dice by class and by size", note + plain_table(head, lines)),
        files={GROUPS_FILE: csv_bytes(rows, GROUPS)},
        rows={GROUPS_FILE: "a model, group and condition"},
        shows="Dice",
    )


CONDITIONS = ("clean", "mean")


def _group_lines(matrix: Table, row: int) -> Iterator[dict[str, str]]:
    clean = matrix.cells_at(row, 0)
    if not clean:
        return
    sizes = _sizes(clean[0])
    levels = [matrix.cells_at(row, level) for level in matrix.severities]
    corrupted = [cell for cells in levels for cell in cells or ()]
    under = {"clean": clean, "mean": corrupted if all(levels) else ()}
    for condition, cells in under.items():
        for group in _groups(cells, sizes) if cells else ():
            counts = np.isfinite(group.values)
            own = group.values[counts]
            patients = clean[0].patients
            bounds = share_interval(own, None if patients is None else patients[counts])
            yield {
                **_place(matrix, row),
                "by": group.by,
                "group": group.name,
                "condition": condition,
                "images": str(len(own)),
                "dice": number(float(own.mean())),
                "low": number(bounds[0]),
                "high": number(bounds[1]),
            }


def _groups(cells: Sequence[Cell], sizes: NDArray[np.int64]) -> Iterator[Group]:
    """Give the groups of the same images under one or several conditions, each not empty."""
    names = [str(name) for name in cells[0].head["classes"][1:]]
    each = [masked(cell.arrays) for cell in cells]
    for place, name in enumerate(names) if len(names) > 1 else ():
        counts = [one.there[:, place] for one in each]
        sums = [
            np.where(there, dice(*one.counts)[:, place], 0)
            for one, there in zip(each, counts, strict=True)
        ]
        times = np.sum(counts, axis=0)
        if times.any():
            values = np.where(times > 0, np.sum(sums, axis=0) / np.maximum(times, 1), np.nan)
            yield Group("class", name, values)
    of_images = np.mean([image_dice(cell.arrays) for cell in cells], axis=0)
    for place, name in enumerate(SIZES):
        if (sizes == place).any():
            yield Group("size", name, np.where(sizes == place, of_images, np.nan))


def _sizes(clean: Cell) -> NDArray[np.int64]:
    """Return the group of each image by its pixels of foreground, as `SIZES` has them."""
    area = clean.arrays["true_area"].astype(np.int64).sum(axis=1)
    shows = area > 0
    if not shows.any():
        return np.zeros(len(area), np.int64)
    limits = np.quantile(area[shows], (1 / 3, 2 / 3))
    groups: NDArray[np.int64] = np.where(shows, 1 + np.searchsorted(limits, area), 0)
    return groups


def _of_borders(matrix: Table) -> Section:
    rows = [line for row in range(len(matrix.rows)) for line in _border_lines(matrix, row)]
    if not rows:
        return Section("Borders", order=11)
    note = (
        '<p class="small">HD95 and the mean distance (ASSD) over images and classes of which both '
        "masks have a border, on average over corruptions; NSD over all images. Read them beside "
        "the share of images that have both.</p>"
    )
    head = ("model", "severity", "images with both", "HD95", "ASSD", "NSD, %")
    lines = [
        (
            row["label"],
            row["severity"] if row["severity"] != "0" else "clean",
            f"{100 * float(row['images']):.0f} %",
            *(_length(row, name) for name in DISTANCES[:2]),
            f"{100 * float(row['nsd']):.1f}",
        )
        for row in rows
    ]
    return Section(
        "Borders",
        order=11,
        html=details("Distances of borders", note + plain_table(head, lines)),
        files={BORDERS_FILE: csv_bytes(rows, BORDERS)},
        rows={BORDERS_FILE: "a model and severity"},
        empty={BORDERS_FILE: dict.fromkeys(DISTANCES[:2], "no image has the border in both masks")},
        curves={BORDERS_FILE: [("severity", "hd95", "label"), ("severity", "nsd", "label")]},
        shows="HD95, ASSD and NSD",
    )


def _border_lines(matrix: Table, row: int) -> Iterator[dict[str, str]]:
    for level in (0, *matrix.severities):
        cells = matrix.cells_at(row, level)
        if not cells:
            continue
        yield {
            **_place(matrix, row),
            "severity": str(level),
            "unit": str(cells[0].head["surfaces"]["unit"]),
            "images": number(float(np.mean([_both(cell.arrays).mean() for cell in cells]))),
            **{name: number(_mean(cells, name)) for name in DISTANCES[:2]},
            "nsd": number(
                float(np.mean([_of_images(cell.arrays, "nsd").mean() for cell in cells]))
            ),
        }


def _both(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Say which images have a class whose border both masks have."""
    return np.asarray(np.isfinite(arrays["hd95"]).any(axis=1))


def _mean(cells: Sequence[Cell], name: str) -> float | None:
    """Return the mean over cells of that over images of that over their classes."""
    means = []
    for cell in cells:
        found = cell.arrays[name].astype(np.float64)[_both(cell.arrays)]
        if len(found):
            means.append(float(np.nanmean(found, axis=1).mean()))
    return float(np.mean(means)) if means else None


def _of_images(arrays: Mapping[str, NDArray[Any]], name: str) -> Float64Array:
    return masked(arrays).of_images(arrays[name].astype(np.float64))


def _place(matrix: Table, row: int) -> dict[str, str]:
    table = matrix.table
    return {
        "dataset": table.dataset,
        "split": table.split,
        "suite": table.suite,
        "label": matrix.rows[row].label,
    }


def _length(row: Mapping[str, str], name: str) -> str:
    return f"{float(row[name]):.1f} {row['unit']}" if row[name] else "–"


def _percent(row: Mapping[str, str] | None) -> str:
    if row is None:
        return "–"
    value, low, high = (100 * float(row[name]) for name in ("dice", "low", "high"))
    return f"{value:.1f} ({low:.0f}–{high:.0f})"
