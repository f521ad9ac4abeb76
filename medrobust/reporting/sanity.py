"""What "not looking at the image" scores; no model is run here.

Blank and noise images: cells of their own, run where `sanity=true` asked for them. The others come
from the clean cells that are there: the task says what their answers score torn from the images.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import Estimate
from medrobust.tasks.lookup import task_of

from .measure import Measured, variant
from .uncertainty import Groups, Key

SHOWING_NOTHING = {"blank": "sanity_blank_images", "noise": "sanity_noise_images"}
"""Corruption of a cell of the suite "sanity" -> name of its aggregate."""

IMAGES_OF_NOTHING = {
    "sanity_blank_images": "blank images",
    "sanity_noise_images": "noise images",
}
"""Aggregate -> what people call it; a task adds those that need no cell of their own."""

Nothing: TypeAlias = Mapping[tuple[str, str, str, str], StoredCell]
"""(model, adapter, variant, corruption) -> cell of images that show nothing."""


def nothing_shown(cells: Sequence[StoredCell], data: str) -> Nothing:
    """Sort the cells of the suite "sanity" on one data fingerprint; of several seeds the first."""
    return {
        (cell.spec.model, cell.spec.adapter, variant(cell), cell.spec.corruption): cell
        for cell in sorted(cells, key=lambda c: -(c.spec.seed or 0))
        if cell.data.fingerprint == data
    }


def sanity(
    groups: Groups,
    rows: Sequence[tuple[str, str, str]],
    nothing: Nothing,
    measured: Measured,
    losses: Sequence[str],
) -> dict[Key, Estimate]:
    """Compute the sanity numbers of every row.

    Args:
        groups: Cells of the rows.
        rows: Model, adapter and variant of each row.
        nothing: Its cells of blank and noise images, where they were run.
        measured: Metrics already computed.
        losses: What they are of.
    """
    found: dict[Key, Estimate] = {}
    for row, identity in enumerate(rows):
        for corruption, name in SHOWING_NOTHING.items():
            cell = nothing.get((*identity, corruption))
            if cell is not None:
                found |= _of_row(row, name, measured.scores(cell).estimates, losses)
        cells = groups.get((row, "clean", 0))
        torn = task_of(cells[0].task).torn(measured.cell(cells[0])) if cells else {}
        for name, estimates in torn.items():
            found |= _of_row(row, name, estimates, losses)
    return found


def _of_row(
    row: int, name: str, estimates: Mapping[str, Estimate], losses: Sequence[str]
) -> dict[Key, Estimate]:
    return {(of, row, name, None): found for of, found in estimates.items() if of in losses}
