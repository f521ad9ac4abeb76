"""What "not looking at the image" scores; no model is run here.

Blank and noise images: cells of their own, run where `sanity=true` asked for them. The others come
from the clean cells that are there. Shuffled images: each image gets the logits of another one,
which is what the model would say if images and labels were torn apart. Shuffled texts: each class
gets the logits of another class, as if the class texts had been mixed up. Majority class: the
largest class for every image.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import Estimate, Reading, cell_estimates
from medrobust.metrics.comparisons import generator
from medrobust.types import Int64Array

from .measure import Measured, reading, variant
from .uncertainty import Groups, Key

SHOWING_NOTHING = {"blank": "sanity_blank_images", "noise": "sanity_noise_images"}
"""Corruption of a cell of the suite "sanity" -> name of its aggregate."""

TORN = ("sanity_shuffled_images", "sanity_shuffled_texts", "sanity_majority_class")
"""Names of the aggregates that need no cell of their own."""

SANITY = {
    "sanity_blank_images": "blank images",
    "sanity_noise_images": "noise images",
    "sanity_shuffled_images": "shuffled images",
    "sanity_shuffled_texts": "shuffled class texts",
    "sanity_majority_class": "majority class",
}
"""Aggregate -> what people call it; each is of an error or an AUC."""

OF = ("error", "balanced_error", "auc")

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
    groups: Groups, rows: Sequence[tuple[str, str, str]], nothing: Nothing, measured: Measured
) -> dict[Key, Estimate]:
    """Compute the sanity numbers of every row.

    Args:
        groups: Cells of the rows.
        rows: Model, adapter and variant of each row.
        nothing: Its cells of blank and noise images, where they were run.
        measured: Metrics already computed.
    """
    found: dict[Key, Estimate] = {}
    for row, identity in enumerate(rows):
        for corruption, name in SHOWING_NOTHING.items():
            cell = nothing.get((*identity, corruption))
            if cell is not None:
                found |= _of_row(row, name, measured.scores(cell).estimates)
        cells = groups.get((row, "clean", 0))
        for name, given in zip(TORN, readings(cells[0], measured) if cells else (), strict=False):
            found |= _of_row(row, name, cell_estimates(given))
    return found


def _of_row(row: int, name: str, estimates: Mapping[str, Estimate]) -> dict[Key, Estimate]:
    return {(of, row, name, None): found for of, found in estimates.items() if of in OF}


def readings(cell: StoredCell, measured: Measured) -> Sequence[Reading]:
    """Return the cell as it would be for shuffled images, shuffled texts, and the majority class.

    The permutations are keyed by the data set: every model and report shares them.
    """
    given = reading(cell, measured.groups(cell.data))
    count, classes = given.logits.shape
    key = f"medrobust sanity/{cell.data.fingerprint}"
    images = derangement(f"{key}/images", count)
    texts = derangement(f"{key}/texts", classes)
    labels = given.labels
    shares = labels.mean(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=classes)
    constant = shares - 0.5 if labels.ndim == 2 else (shares == shares.max()).cumsum() == 1
    majority = np.tile(np.asarray(constant, dtype=np.float32), (count, 1))
    logits = (given.logits[images], given.logits[:, texts], majority)
    return [
        Reading(
            values,
            labels,
            given.task,
            given.positive,
            thresholded=given.thresholded,
            groups=given.groups,
        )
        for values in logits
    ]


def derangement(key: str, count: int) -> Int64Array:
    """Return a keyed cyclic order in which nothing keeps its place: int64 (count,).

    Example:
        >>> sorted(derangement("a", 5).tolist()), bool((derangement("a", 5) == range(5)).any())
        ([0, 1, 2, 3, 4], False)
    """
    order = generator(key).permutation(count)
    result = np.empty(count, np.int64)
    result[order] = np.roll(order, 1)
    return result
