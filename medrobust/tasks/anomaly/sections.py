"""What a page shows of an anomaly task alone: false alarms per hundred normal studies."""

import numpy as np

from medrobust.metrics.pixels import PixelCurve
from medrobust.reporting.markup import details, plain_table
from medrobust.tasks.base import Table

from .scores import pixel_counts

LOSS = "false_alarm_rate"

TOLD_FROM = 0.005
"""What levels hide of a number, from which on a page says so."""


def false_alarms(matrix: Table) -> str:
    """Show how many of a hundred normal images are flagged, by corruption and severity.

    The threshold is that of 95 % sensitivity on clean validation images and stays where it is: what
    grows under corruption is work for whoever reads the flagged images.
    """
    if LOSS not in matrix.values:
        return ""
    table, clean = matrix.table, matrix.clean[LOSS]
    lines = [
        (line.label, name, *map(_hundred, (clean[row], *matrix.values[LOSS][row, column])))
        for row, line in enumerate(matrix.rows)
        for column, name in enumerate(table.corruptions)
    ]
    if not lines:
        return ""
    head = ("model", "corruption", "clean", *(f"severity {level}" for level in table.severities))
    note = (
        '<p class="small">Normal images of a hundred that a threshold flags which finds 95 % of '
        "the abnormal ones among clean validation images, and never moves.</p>"
    )
    return details("False alarms per 100 normal studies", note + plain_table(head, lines))


def what_levels_hide(matrix: Table) -> str:
    """Say by how much numbers of pixels may be off where a model's values crowd into few levels.

    Nothing where it is less than half a hundredth: `PixelCurve.bounds` says so of every cell.
    """
    worst = np.zeros(2)
    for cell in matrix.cells.values():
        counts = pixel_counts(cell.arrays)
        if len(counts.normal) and counts.defined:
            worst = np.maximum(worst, PixelCurve(counts).bounds)
    if worst.max() < TOLD_FROM:
        return ""
    return (
        f'<p class="small">Pixels are counted in levels, which hide the order of values that crowd '
        f"into one of them, as probabilities near 0 or 1 do: here the AUROC of pixels may be off "
        f"by up to {worst[0]:.3f}, and AUPRO by up to {worst[1]:.3f}.</p>"
    )


def _hundred(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"
