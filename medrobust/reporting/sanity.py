"""What "not looking at the image" scores, from the clean cells that are there; no model is run.

Shuffled images: each image gets the logits of another one, which is what the model would say if
images and labels were torn apart. Shuffled texts: each class gets the logits of another class, as
if the class texts had been mixed up. Majority class: the largest class for every image.
"""

from collections.abc import Sequence

import numpy as np

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import Estimate, Reading, cell_estimates
from medrobust.metrics.comparisons import generator
from medrobust.types import Int64Array

from .measure import Measured, reading
from .uncertainty import Groups, Key

SANITY = ("sanity_shuffled_images", "sanity_shuffled_texts", "sanity_majority_class")
"""Names of the aggregates, each of an error or an AUC on clean images."""


def sanity(groups: Groups, rows: int, measured: Measured) -> dict[Key, Estimate]:
    """Compute the sanity numbers of every row that has a clean cell."""
    found: dict[Key, Estimate] = {}
    for row in range(rows):
        cells = groups.get((row, "clean", 0))
        if not cells:
            continue
        for name, given in zip(SANITY, readings(cells[0], measured), strict=True):
            for of, estimate in cell_estimates(given).items():
                if of in ("error", "balanced_error", "auc"):
                    found[of, row, name, None] = estimate
    return found


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
