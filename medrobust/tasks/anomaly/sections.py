"""What a page shows of an anomaly task alone: false alarms, and abnormal images that pass."""

import numpy as np

from medrobust.metrics.pixels import PixelCurve
from medrobust.reporting.markup import details, plain_table
from medrobust.tasks.base import Table

from .scores import pixel_counts

LOSS, OTHER = "false_alarm_rate", "missed_abnormal_rate"

TOLD_FROM = 0.005
"""What levels hide of a number, from which on a page says so."""


def false_alarms(matrix: Table) -> str:
    """Show how many of a hundred normal images are flagged, by corruption and severity.

    The threshold is that of 95 % sensitivity on clean validation images and stays where it is: what
    grows under corruption is work for whoever reads the flagged images. Beside them stand the
    abnormal images that it lets pass: where nothing is flagged, there are no false alarms either.
    """
    lines = _lines(matrix, LOSS)
    if not lines:
        return ""
    head = ("model", "corruption", "clean", *(f"severity {one}" for one in matrix.table.severities))
    note = (
        '<p class="small">Normal images of a hundred that a threshold flags which finds 95 % of '
        "the abnormal ones among clean validation images, and never moves.</p>"
    )
    shown = note + plain_table(head, lines)
    if passed := _lines(matrix, OTHER):
        shown += (
            '<p class="small">Abnormal images of a hundred that the same threshold lets pass: '
            "where it flags nothing, there is no false alarm either.</p>"
        ) + plain_table(head, passed)
    return details("False alarms per 100 normal studies", shown)


def _lines(matrix: Table, loss: str) -> list[tuple[str, ...]]:
    """Return a line a model and corruption: clean, then every severity."""
    if loss not in matrix.values:
        return []
    return [
        (line.label, name, *map(_hundred, (matrix.clean[loss][row], *values)))
        for row, line in enumerate(matrix.rows)
        for name, values in zip(matrix.table.corruptions, matrix.values[loss][row], strict=True)
    ]


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
