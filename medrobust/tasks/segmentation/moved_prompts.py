"""What a page shows of prompts that were moved away from where they belong. Knows no torch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from medrobust.base.csv_text import csv_bytes, number
from medrobust.metrics.intervals import share_interval
from medrobust.reporting.markup import details, plain_table
from medrobust.tasks.base import Section, Table

from .scores import image_dice

FILE = "segmentation_prompts.csv"

COLUMNS = (
    *("dataset", "split", "suite", "label", "moved", "severity", "share", "prompt_overlap"),
    *("dice", "low", "high", "corrupted_dice"),
)


def of_moved_prompts(matrix: Table) -> Sequence[Section]:
    """Return the table of rows with moved prompts; none where there are none."""
    rows = [line for row in range(len(matrix.rows)) for line in _lines(matrix, row)]
    if not any(row["moved"] for row in rows):
        return ()
    note = (
        '<p class="small">Prompts are drawn by the true masks and then moved by a share of the '
        "box's sides. Overlap is the mean IoU of the moved boxes with those that were not, or the "
        "share of points that still lie on their class; Dice of clean images in brackets with "
        "95 % intervals over patients, or images without them.</p>"
    )
    head = ("model", "moved", "severity", "overlap", "Dice, clean", "Dice, mean of corruptions")
    lines = [
        (
            row["label"],
            row["moved"] or "not",
            row["severity"] or "–",
            f"{float(row['prompt_overlap']):.2f}" if row["prompt_overlap"] else "1",
            _percent(row),
            f"{100 * float(row['corrupted_dice']):.1f}" if row["corrupted_dice"] else "–",
        )
        for row in rows
    ]
    section = Section(
        "Moved prompts",
        order=12,
        html=details("Dice by how far prompts are off", note + plain_table(head, lines)),
        files={FILE: csv_bytes(rows, COLUMNS)},
        rows={FILE: "a model and move of its prompts"},
        empty={
            FILE: {
                **dict.fromkeys(("share", "prompt_overlap"), "prompts are not moved"),
                "corrupted_dice": "corrupted cells of it are missing, or there are none",
            }
        },
        shows="how far prompts are off",
    )
    return (section,)


def _lines(matrix: Table, row: int) -> Iterator[dict[str, Any]]:
    clean = matrix.cells_at(row, 0)
    if not clean or not {"box", "point"} & set(clean[0].head):
        return
    said = clean[0].head.get("moved")
    levels = [matrix.cells_at(row, level) for level in matrix.severities]
    corrupted = [cell for cells in levels for cell in cells or ()]
    of_images = np.mean([image_dice(cell.arrays) for cell in clean], axis=0)
    low, high = share_interval(of_images, clean[0].patients)
    means = [float(image_dice(cell.arrays).mean()) for cell in corrupted]
    table = matrix.table
    yield {
        "dataset": table.dataset,
        "split": table.split,
        "suite": table.suite,
        "label": matrix.rows[row].label,
        "moved": said["kind"] if said else "",
        "severity": str(said["severity"]) if said else "",
        "share": number(said["share"]) if said else "",
        "prompt_overlap": number(_overlap(clean[0])) if said else "",
        "dice": number(float(of_images.mean())),
        "low": number(low),
        "high": number(high),
        "corrupted_dice": number(float(np.mean(means)) if means and all(levels) else None),
    }


def _overlap(cell: Any) -> float | None:
    kept = cell.arrays["prompt_overlap"].astype(np.float64)
    return float(np.nanmean(kept)) if np.isfinite(kept).any() else None


def _percent(row: dict[str, Any]) -> str:
    value, low, high = (100 * float(row[name]) for name in ("dice", "low", "high"))
    return f"{value:.1f} ({low:.0f}–{high:.0f})"
