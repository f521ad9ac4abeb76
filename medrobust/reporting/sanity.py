"""What "not looking at the image" scores; no model is run here.

Blank and noise images: cells of their own, run where `sanity=true` asked for them. The others come
from the clean cells that are there: the task says what their answers score torn from the images.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import Estimate
from medrobust.tasks.lookup import task_of

from .aggregates import Aggregate, Groups, Place
from .measure import Measured
from .rows import MatrixRow, identity

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
        (*identity(cell), cell.spec.corruption): cell
        for cell in sorted(cells, key=lambda c: -(c.spec.seed or 0))
        if cell.data.fingerprint == data
    }


def sanity(
    groups: Groups,
    rows: Sequence[MatrixRow],
    nothing: Nothing,
    measured: Measured,
    losses: Sequence[str],
) -> Iterator[Aggregate]:
    """Compute the sanity numbers of every row.

    Args:
        groups: Cells of the rows.
        rows: Of the matrix.
        nothing: Their cells of blank and noise images, where they were run.
        measured: Metrics already computed.
        losses: What they are of.
    """
    for number, row in enumerate(rows):
        found: dict[str, Mapping[str, Estimate]] = {}
        for corruption, name in SHOWING_NOTHING.items():
            cell = nothing.get((*row.identity, corruption))
            if cell is not None:
                found[name] = measured.scores(cell).estimates
        cells = groups.get(Place.clean(number))
        if cells:
            found |= task_of(cells[0].task).torn(measured.cell(cells[0]))
        for name, estimates in found.items():
            for of, estimate in estimates.items():
                if of in losses:
                    yield Aggregate(number, of, name, estimate)
