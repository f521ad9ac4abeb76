"""Any number of a table that a reader may switch to: means, mCE, intervals, or why there is none.

Losses have means with intervals that are paired image by image. What is no mean of images (macro
F1, calibration errors, kappa) has intervals of its cells alone: its means get the mean of the
cells' bounds, which is as wide as if all cells erred together, the most that they can.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import Estimate
from medrobust.metrics.aggregates import error_interval
from medrobust.metrics.estimates import DOUBTFUL, with_bounds

from .aggregates import Place
from .matrix import Matrix, plain
from .measure import mean_of_terms
from .uncertainty import mean_area, mean_error


def offered(matrix: Matrix) -> list[str]:
    """Return the metrics that a reader can switch to, in the order of the task."""
    return [name for name in matrix.task.offered if name in matrix.values]


def printed_estimates(matrix: Matrix, of: str | None = None) -> list[list[Estimate]]:
    """Return for each row clean, corruptions, mean and mCE: the value printed, its interval.

    Args:
        matrix: The table.
        of: Metric; None: the one that is shown.
    """
    name = of or matrix.shown
    columns = range(len(matrix.table.corruptions))
    return [
        [
            clean(matrix, name, row),
            *(severity_mean(matrix, name, row, c) for c in columns),
            mean(matrix, name, row),
            mce(matrix, name, row),
        ]
        for row in range(len(matrix.rows))
    ]


def clean(matrix: Matrix, of: str, row: int) -> Estimate:
    """Return the number on clean images."""
    if of not in matrix.losses:
        parts = (matrix.clean[of], matrix.clean_low[of], matrix.clean_high[of])
        note = _doubt(matrix, of, [Place.clean(row)])
        value, low, high = (part[row] for part in parts)
        return bounded(value, low, high, note)
    return _valued(plain(float(matrix.clean[of][row])), matrix.estimate(of, row, "clean"))


def severity_mean(matrix: Matrix, of: str, row: int, column: int) -> Estimate:
    """Return the mean over severities of one corruption."""
    if of not in matrix.losses:
        parts = (matrix.values[of], matrix.low[of], matrix.high[of])
        name = matrix.table.corruptions[column]
        note = _doubt(matrix, of, [Place(row, name, level) for level in matrix.table.severities])
        value, low, high = (part[row, column].mean() for part in parts)
        return bounded(value, low, high, note)
    found = matrix.estimate(of, row, "severity_mean", column)
    return _valued(matrix.severity_mean(of, row, column), found)


def at_severity(matrix: Matrix, of: str, row: int, column: int, place: int) -> Estimate:
    """Return the number of one corruption at one severity.

    Args:
        matrix: The table.
        of: Metric.
        row: Model.
        column: Corruption.
        place: Of the severity in the table.
    """
    parts = (matrix.values[of], matrix.low[of], matrix.high[of])
    where = Place(row, matrix.table.corruptions[column], matrix.table.severities[place])
    value, low, high = (part[row, column, place] for part in parts)
    return bounded(value, low, high, _doubt(matrix, of, [where]))


def _doubt(matrix: Matrix, of: str, places: Sequence[Place]) -> str:
    """Return what is said of the first of those cells whose interval is to be doubted."""
    cells = (cell for place in places for cell in matrix.groups.get(place, ()))
    found = (matrix.measured.scores(cell).estimates.get(of) for cell in cells)
    return next((one.note for one in found if one is not None and one.doubtful), "")


def doubts(matrix: Matrix, of: str | None = None) -> str:
    """Say what the sign stands for behind intervals of a table; empty where none has it.

    Args:
        matrix: The table.
        of: Metric; None: the one that is shown.
    """
    printed = (found for line in printed_estimates(matrix, of) for found in line)
    note = next((found.note for found in printed if found.doubtful), "")
    return f"{DOUBTFUL}: such as {note}; reasons.csv has all" if note else ""


def mean(matrix: Matrix, of: str, row: int) -> Estimate:
    """Return the mean over the corruptions that have every severity."""
    value = matrix.mean(of, row).value
    if of not in matrix.losses and value is not None:
        columns = range(len(matrix.table.corruptions))
        found = [severity_mean(matrix, of, row, c) for c in columns]
        return _mean_of_bounds(value, [one for one in found if one.value is not None])
    return _valued(value, matrix.estimate(of, row, "mean"))


def mce(matrix: Matrix, of: str, row: int) -> Estimate:
    """Return the mCE; empty where it is not defined."""
    return _valued(matrix.mce(of, row).value, matrix.estimate(of, row, "mCE"))


def mean_at(matrix: Matrix, of: str, row: int, place: int) -> Estimate:
    """Return the mean over corruptions at one severity; empty where one of them lacks it.

    Args:
        matrix: The table.
        of: Metric.
        row: Model.
        place: Of the severity in the table.
    """
    values = matrix.values[of][row, :, place]
    if not len(values) or np.isnan(values).any():
        return Estimate(None)
    value = float(values.mean())
    level = matrix.table.severities[place]
    groups = [matrix.groups[Place(row, name, level)] for name in matrix.table.corruptions]
    if of in matrix.losses:
        return _bounded_mean(matrix, of, value, groups)
    columns = range(len(matrix.table.corruptions))
    return _mean_of_bounds(value, [at_severity(matrix, of, row, c, place) for c in columns])


def _bounded_mean(
    matrix: Matrix, of: str, value: float, groups: Sequence[Sequence[StoredCell]]
) -> Estimate:
    """Give a mean of a loss over groups of cells its interval, or why it has none."""
    measured = matrix.measured
    mean = mean_of_terms([measured.mean_terms(cells, of) for cells in groups])
    if mean is None:
        area = mean_area([cell for cells in groups for cell in cells], measured, of)
        return Estimate(value) if area is None else Estimate(value, area.low, area.high)
    if mean.unbounded:
        return Estimate(value, note=mean.unbounded)
    patients, share = measured.groups(matrix.data, mean), matrix.task.metrics[of].share
    kind: Any = {"share": share, "smallest": mean.smallest, "spread": mean.spread}
    bounds = error_interval(mean.values, mean.strata, patients, **kind)
    found = with_bounds(mean_error(mean.values, mean.strata), bounds)
    return Estimate(value, found.low, found.high)


def without_mce(matrix: Matrix, of: str) -> str:
    """Say why a table has no mCE of a metric; empty where some row has one."""
    name = matrix.task.metrics[of].title
    if of not in matrix.losses:
        return f"No mCE: it is made of errors, and {name} is none"
    if of not in matrix.ratios:
        return f"No mCE: it is made of errors, and of {name} more is better"
    if any(matrix.mce(of, row).value is not None for row in range(len(matrix.rows))):
        return ""
    if not matrix.reference:
        return "No mCE: it is divided by the errors of a reference model, and none was named"
    return f"No mCE: it is divided by errors of {matrix.reference}, and cells of it are missing"


def _valued(value: float | None, found: Estimate) -> Estimate:
    return Estimate(None) if value is None else Estimate(value, found.low, found.high)


def bounded(value: float, low: float, high: float, note: str = "") -> Estimate:
    """Make an estimate of entries of arrays, in which NaN stands for what is not there."""
    if np.isnan(value):
        return Estimate(None)
    return Estimate(float(value), plain(float(low)), plain(float(high)), note)


def _mean_of_bounds(value: float, parts: Sequence[Estimate]) -> Estimate:
    ends = [(one.low, one.high) for one in parts if one.low is not None and one.high is not None]
    if len(ends) < len(parts) or not ends:
        return Estimate(value)
    low, high = np.mean(ends, axis=0)
    note = next((one.note for one in parts if one.doubtful), "")
    return Estimate(value, float(low), float(high), note)
