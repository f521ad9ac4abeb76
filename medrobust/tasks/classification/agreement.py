"""Logits that were computed again: equal within rounding, and so are the predictions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.wording import counted
from medrobust.metrics.scores import predictions
from medrobust.tasks.agreement import ALLOWED, ROWS, Agreement, Move
from medrobust.tasks.base import Cell


def agreement_of_logits(cell: Cell, again: NDArray[Any], move: Move) -> Agreement:
    """Compare logits (logit scale times cosine), float32 (N, K).

    Within the tolerance, predictions may differ for one image, the share that tables agree in.
    """
    stored, allowed = cell.arrays["logits"], ALLOWED[move]
    difference = float(np.abs(stored.astype(np.float64) - again).max())
    before, after = (predictions(logits, cell.data.label_kind) for logits in (stored, again))
    unequal = before != after
    moved = int((unequal.any(axis=1) if unequal.ndim == 2 else unequal).sum())
    return Agreement(
        difference <= allowed and moved <= ROWS,
        f"logits differ by {difference:.2g} at most ({allowed:g} allowed), predictions of {moved} "
        f"of {counted(len(again), 'image')}",
    )
