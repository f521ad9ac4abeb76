"""Models of one matrix against one another: differences, p-values, ranks, effective robustness."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import erfc, sqrt

import numpy as np

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import (
    Comparison,
    benjamini_hochberg,
    effective_robustness,
    holm,
    mcnemar,
    paired_bootstrap,
    rank_intervals,
)
from medrobust.metrics.aggregates import error_terms
from medrobust.metrics.influence import Areas
from medrobust.metrics.intervals import Z, variance_of_mean
from medrobust.types import Float64Array, Int64Array

from .matrix import Matrix
from .measure import Measured

ALL_PAIRS = 12
"""Rows up to which every pair is compared; of more, each with the best one."""

COMPARISON_COLUMNS = (
    "dataset", "split", "suite", "first", "second", "condition", "of", "difference", "low", "high",
    "p", "p_holm", "p_bh", "test", "n",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a row stands among those that have the whole matrix.

    Attributes:
        rank: 1 is the smallest mean error; None for rows with missing cells.
        low: Best rank of 95 % of the resamples.
        high: Worst rank.
        effective: Effective robustness, None with fewer than five models.
    """

    rank: int | None = None
    low: int | None = None
    high: int | None = None
    effective: float | None = None


def standings(matrix: Matrix, measured: Measured) -> list[Standing]:
    """Rank the rows of a matrix by the mean of the error that is shown, images resampled."""
    terms = [_terms(matrix, measured, row, "mean") for row in range(len(matrix.rows))]
    whole = [row for row, found in enumerate(terms) if found is not None]
    result = [Standing() for _ in matrix.rows]
    if len(whole) < 2 or not matrix.table.corruptions:
        return result
    stacked = np.stack([found for found in terms if found is not None])
    groups = measured.groups(matrix.data)
    ranks = rank_intervals(stacked, counts=measured.draws(matrix.data), groups=groups)
    effective = _effective(matrix, whole)
    for place, row in enumerate(whole):
        result[row] = Standing(*ranks[place], effective[place])
    return result


def _effective(matrix: Matrix, whole: Sequence[int]) -> list[float | None]:
    """Return effective robustness of the rows, by accuracy (balanced where that is shown)."""
    clean = [1 - float(matrix.clean[matrix.shown][row]) for row in whole]
    means = [matrix.mean(matrix.shown, row).value for row in whole]
    found = None
    if not np.isnan(clean).any():
        found = effective_robustness(clean, [1 - mean for mean in means if mean is not None])
    return list(found) if found is not None else [None] * len(whole)


def comparison_rows(matrix: Matrix, measured: Measured) -> list[dict[str, str]]:
    """Compare pairs of rows on clean images and on the mean over corruptions.

    Plain error on clean images that stand alone: McNemar. Other errors: the paired bootstrap over
    images, or patients. AUC: DeLong. p-values are corrected over the whole matrix, each number of
    its own.
    """
    found: list[tuple[tuple[str, str, str, str], Comparison]] = []
    for of in ("error", "balanced_error", "auc"):
        if of not in matrix.values:
            continue
        for first, second in _pairs(matrix):
            for condition in ("clean", "mean"):
                one = _compare(matrix, measured, first, second, condition, of)
                if one is not None:
                    labels = (matrix.rows[first].label, matrix.rows[second].label)
                    found.append(((*labels, condition, of), one))
    return [
        row
        for of in ("error", "balanced_error", "auc")
        for row in _adjusted(matrix, [entry for entry in found if entry[0][3] == of])
    ]


def _pairs(matrix: Matrix) -> list[tuple[int, int]]:
    rows = range(len(matrix.rows))
    if len(rows) <= ALL_PAIRS:
        return list(combinations(rows, 2))
    means = {row: matrix.mean(matrix.shown, row).value for row in rows}
    known = {row: value for row, value in means.items() if value is not None}
    best = min(known, key=lambda row: known[row]) if known else 0
    return [(best, row) for row in rows if row != best]


def _adjusted(
    matrix: Matrix, found: Sequence[tuple[tuple[str, str, str, str], Comparison]]
) -> list[dict[str, str]]:
    values = [one.p for _, one in found]
    table = matrix.table
    return [
        {
            "dataset": table.dataset,
            "split": table.split,
            "suite": table.suite,
            "first": first,
            "second": second,
            "condition": condition,
            "of": of,
            "difference": repr(float(one.difference)),
            "low": repr(float(one.low)),
            "high": repr(float(one.high)),
            "p": repr(float(one.p)),
            "p_holm": repr(strict),
            "p_bh": repr(mild),
            "test": one.test,
            "n": str(len(matrix.data.labels)),
        }
        for ((first, second, condition, of), one), strict, mild in zip(
            found, holm(values), benjamini_hochberg(values), strict=True
        )
    ]


def _compare(
    matrix: Matrix,
    measured: Measured,
    first: int,
    second: int,
    condition: str,
    of: str,
) -> Comparison | None:
    groups = measured.groups(matrix.data)
    if of == "auc":
        areas = [_area(matrix, measured, row, condition) for row in (first, second)]
        if areas[0] is None or areas[1] is None:
            return None
        return area_difference(areas[0], areas[1], groups)
    pair = [_terms(matrix, measured, row, condition, of) for row in (first, second)]
    if pair[0] is None or pair[1] is None:
        return None
    counts = measured.draws(matrix.data)
    one = paired_bootstrap(pair[0], pair[1], counts=counts, groups=groups)
    binary = matrix.data.labels.ndim == 1 and len(matrix.seeds) <= 1
    if condition == "clean" and of == "error" and groups is None and binary:
        p = mcnemar(pair[0] == 0, pair[1] == 0)
        return Comparison(one.difference, one.low, one.high, p, "McNemar")
    return one


def area_difference(first: Areas, second: Areas, groups: Int64Array | None) -> Comparison:
    """Compare two AUCs (or means of AUCs) on the same images by DeLong's components."""
    difference = first.value - second.value
    variance = variance_of_mean(first.influence - second.influence, groups)[0]
    error = sqrt(variance)
    p = erfc(abs(difference) / error / sqrt(2)) if error > 0 else float(difference == 0)
    return Comparison(difference, difference - Z * error, difference + Z * error, p, "DeLong")


def _area(matrix: Matrix, measured: Measured, row: int, condition: str) -> Areas | None:
    cells = _cells(matrix, row, condition)
    areas = measured.areas(cells or [], "auc")
    if areas is None:
        return None
    influence = np.zeros(len(areas[0].influence))
    for area in areas:
        influence += area.influence / len(areas)
    value = float(np.mean([area.value for area in areas]))
    return Areas(value, influence, areas[0].smallest, areas[0].degrees, areas[0].unseen)


def _cells(matrix: Matrix, row: int, condition: str) -> list[StoredCell] | None:
    """Return the cells of a condition, None if one is missing."""
    keys = [(row, "clean", 0)]
    if condition == "mean":
        table = matrix.table
        keys = [(row, name, level) for name in table.corruptions for level in table.severities]
    if not keys or not all(key in matrix.groups for key in keys):
        return None
    return [cell for key in keys for cell in matrix.groups[key]]


def _terms(
    matrix: Matrix, measured: Measured, row: int, condition: str, of: str | None = None
) -> Float64Array | None:
    """Return what each image adds to the error, float64 (N,), its mean being the error."""
    cells = _cells(matrix, row, condition)
    if cells is None:
        return None
    found = measured.mean_terms(cells, of or matrix.shown)
    return None if found is None else error_terms(found.values, found.strata)
