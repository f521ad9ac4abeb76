"""Models that answer the same whatever they see: read from the stored logits."""

from collections.abc import Sequence

import numpy as np

from medrobust.base.wording import counted
from medrobust.evaluation.store import StoredCell
from medrobust.metrics.scores import predictions

NAMED = 3
"""Cells that a sentence names."""


def collapse_notes(cells: Sequence[StoredCell]) -> list[str]:
    """Say which models give all images of a split the same logits, or the same prediction.

    Cells with one image or one class of labels say nothing. The threshold of multi-label sets is
    no choice between classes, so that only their logits count.

    Returns:
        One sentence a model, data set and kind of collapse.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    seen: dict[tuple[str, str], int] = {}
    for cell in cells:
        spec = cell.spec
        model = spec.model if spec.adapter == "none" else f"{spec.model} + {spec.adapter}"
        row = (model, f"{spec.dataset}/{spec.split}")
        seen[row] = seen.get(row, 0) + 1
        kind = collapse(cell)
        if kind is not None:
            where = "clean" if spec.severity == 0 else f"{spec.corruption} s{spec.severity}"
            found.setdefault((*row, kind), []).append(where)
    return [
        f"{model} on {data}: {kind} for every image in {len(places)} of "
        f"{counted(seen[model, data], 'cell')} ({', '.join(places[:NAMED])}"
        f"{', ...' if len(places) > NAMED else ''}); check weights, preprocessing and class texts"
        for (model, data, kind), places in found.items()
    ]


def collapse(cell: StoredCell) -> str | None:
    """Name what is the same for every image of a cell, or None."""
    labels = cell.data.labels
    if len(labels) < 2 or bool((labels == labels[:1]).all()):
        return None
    logits = cell.arrays["logits"]
    if bool((logits == logits[:1]).all()):
        return "the same logits"
    if labels.ndim == 1 and len(np.unique(predictions(logits, cell.data.task))) == 1:
        return "the same prediction"
    return None
