"""What a page shows of an anomaly task alone: false alarms per hundred normal studies."""

import numpy as np

from medrobust.reporting.markup import details, plain_table
from medrobust.tasks.base import Table

LOSS = "false_alarm_rate"


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


def _hundred(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"
