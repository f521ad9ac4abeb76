"""Models of one matrix against one another: differences, p-values, ranks, effective robustness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medrobust.metrics import (
    Comparison,
    benjamini_hochberg,
    compare_areas,
    compare_errors,
    effective_robustness,
    holm,
    rank_intervals,
)
from medrobust.metrics.aggregates import error_terms
from medrobust.metrics.influence import Areas
from medrobust.metrics.pairs import AREA_INTERVAL
from medrobust.tasks.base import Terms
from medrobust.types import Float64Array, Int64Array

from .matrix import Matrix
from .measure import Measured

COMPARISON_COLUMNS = (
    "dataset", "split", "suite", "first", "second", "condition", "of", "difference", "low", "high",
    "p", "p_holm", "p_bh", "test", "n", "p_familywise", "reason",
)  # fmt: skip

LEVEL = 0.05
"""Below which `p_familywise` tells two rows apart."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a row stands among those that have the whole matrix.

    Attributes:
        rank: 1 is the smallest mean error; None for rows with missing cells.
        low: Best rank that the comparisons leave open.
        high: Worst one.
        effective: Effective robustness, None with fewer than five models.
    """

    rank: int | None = None
    low: int | None = None
    high: int | None = None
    effective: float | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows of a matrix, compared.

    Attributes:
        first: A row.
        second: Another, which is taken from it.
        condition: "clean", or "mean" over all corruptions.
        found: Their difference and its test.
    """

    first: int
    second: int
    condition: str
    found: Comparison


def compared(matrix: Matrix, measured: Measured) -> dict[str, list[Pair]]:
    """Compare all pairs of rows on clean images and on the mean over corruptions, by each loss.

    Each loss is a family of its own: `p_familywise` is corrected over all of its pairs.
    """
    return {of: _family(matrix, measured, of) for of in matrix.losses}


def standings(
    matrix: Matrix, pairs: Mapping[str, Sequence[Pair]]
) -> dict[str, tuple[Standing, ...]]:
    """Rank the rows of a matrix by the mean of each loss: loss -> rows.

    Args:
        matrix: Whose rows.
        pairs: From `compared`: what is told apart there decides which ranks are open.
    """
    return {of: _standings(matrix, pairs[of], of) for of in matrix.losses}


def _standings(matrix: Matrix, pairs: Sequence[Pair], of: str) -> tuple[Standing, ...]:
    terms = [_terms(matrix, row, of) for row in range(len(matrix.rows))]
    means = {row: float(found.mean()) for row, found in enumerate(terms) if found is not None}
    result = [Standing() for _ in matrix.rows]
    if len(means) < 2 or not matrix.table.corruptions:
        return tuple(result)
    whole = list(means)
    apart = [
        (whole.index(pair.first), whole.index(pair.second))
        for pair in pairs
        if pair.condition == "mean" and {pair.first, pair.second} <= means.keys()
        if pair.found.p_familywise is not None and pair.found.p_familywise < LEVEL
    ]
    ranks = rank_intervals(list(means.values()), apart)
    effective = _effective(matrix, whole, of)
    for place, row in enumerate(whole):
        result[row] = Standing(*ranks[place], effective[place])
    return tuple(result)


def _effective(matrix: Matrix, whole: Sequence[int], of: str) -> list[float | None]:
    """Return effective robustness of the rows, by one minus an error; of no other loss."""
    if of not in matrix.ratios:
        return [None] * len(whole)
    clean = [1 - float(matrix.clean[of][row]) for row in whole]
    means = [matrix.mean(of, row).value for row in whole]
    found = None
    if not np.isnan(clean).any():
        found = effective_robustness(clean, [1 - mean for mean in means if mean is not None])
    return list(found) if found is not None else [None] * len(whole)


def comparison_rows(matrix: Matrix, pairs: Mapping[str, Sequence[Pair]]) -> list[dict[str, str]]:
    """Write what `compared` found; `p_holm` and `p_bh` are corrected over the pairs of a loss."""
    return [row for of, own in pairs.items() for row in _written(matrix, of, own)]


def _family(matrix: Matrix, measured: Measured, of: str) -> list[Pair]:
    """Compare every pair of rows by one number."""
    known: dict[tuple[int, str], int] = {}
    parts: list[Terms | Areas] = []
    for row in range(len(matrix.rows)):
        for condition in ("clean", "mean"):
            part = matrix.mean_terms(row, condition, of) or _area(matrix, row, condition, of)
            if part is not None:
                known[row, condition] = len(parts)
                parts.append(part)
    asked = [
        (first, second, condition)
        for first, second in combinations(range(len(matrix.rows)), 2)
        for condition in ("clean", "mean")
        if (first, condition) in known and (second, condition) in known
    ]
    if not asked:
        return []
    pairs = np.array([(known[a, condition], known[b, condition]) for a, b, condition in asked])
    found = _compared(matrix, measured, of, parts, asked, pairs)
    return [Pair(*rows, one) for rows, one in zip(asked, found, strict=True)]


def _compared(
    matrix: Matrix,
    measured: Measured,
    of: str,
    parts: Sequence[Terms | Areas],
    asked: Sequence[tuple[int, int, str]],
    pairs: Int64Array,
) -> list[Comparison]:
    key = f"medrobust turns/{matrix.data.fingerprint}"
    areas = [part for part in parts if isinstance(part, Areas)]
    if areas:
        groups, classes = measured.groups(matrix.data), _classes(matrix)
        return compare_areas(areas, pairs, labels=classes, groups=groups, key=key)
    terms = [part for part in parts if isinstance(part, Terms)]
    groups = measured.groups(matrix.data, terms[0])
    answers = terms[0].strata is None and _answers_once(matrix, of)
    return compare_errors(
        np.stack([one.values for one in terms]).astype(np.float64),
        pairs,
        labels=terms[0].strata,
        groups=groups,
        key=key,
        unbounded=terms[0].unbounded,
        single=[answers and groups is None and c == "clean" for _, _, c in asked],
    )


def _answers_once(matrix: Matrix, of: str) -> bool:
    """Say whether each unit is either right or wrong on clean images: McNemar's test applies."""
    found = matrix.terms_of_one(of)
    alone = isinstance(found, Terms) and found.values.dtype == bool and found.values.ndim == 1
    return alone and len(matrix.seeds) <= 1


def _classes(matrix: Matrix) -> Int64Array | None:
    """Return the class of each image, where it has one."""
    for of in matrix.losses:
        found = matrix.terms_of_one(of)
        if isinstance(found, Terms) and found.strata is not None and found.strata.ndim == 1:
            return found.strata
    return None


def _written(matrix: Matrix, of: str, pairs: Sequence[Pair]) -> list[dict[str, str]]:
    table = matrix.table
    values = [pair.found.p for pair in pairs if pair.found.p is not None]
    corrected = iter(zip(holm(values), benjamini_hochberg(values), strict=True))
    rows = []
    for pair in pairs:
        one = pair.found
        strict, mild = (None, None) if one.p is None else next(corrected)
        rows.append(
            {
                "dataset": table.dataset,
                "split": table.split,
                "suite": table.suite,
                "first": matrix.rows[pair.first].label,
                "second": matrix.rows[pair.second].label,
                "condition": pair.condition,
                "of": of,
                "difference": _number(one.difference),
                "low": _number(one.low),
                "high": _number(one.high),
                "p": _number(one.p),
                "p_holm": _number(strict),
                "p_bh": _number(mild),
                "test": one.test,
                "n": str(matrix.units(of)),
                "p_familywise": _number(one.p_familywise),
                "reason": one.reason,
            }
        )
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _area(matrix: Matrix, row: int, condition: str, of: str) -> Areas | None:
    areas = matrix.measured.areas(matrix.cells_of(row, condition) or [], of)
    if areas is None:
        return None
    influence = np.zeros(len(areas[0].influence))
    for area in areas:
        influence += area.influence / len(areas)
    value = float(np.mean([area.value for area in areas]))
    return Areas(
        value,
        influence,
        smallest=min(area.smallest for area in areas),
        degrees=float(np.median([area.degrees for area in areas])),
        unseen=float(np.mean([area.unseen for area in areas])),
        classes=areas[0].classes,
        least=min(area.least for area in areas),
    )


def _terms(matrix: Matrix, row: int, of: str) -> Float64Array | None:
    """Return what each unit adds to a mean loss, float64 (U,): its mean is it, less is better.

    An AUC is taken by its influence, as one minus it; on as few positives as give its differences
    no interval it has no terms.
    """
    area = _area(matrix, row, "mean", of)
    if area is not None:
        return None if area.free < AREA_INTERVAL else 1 - area.value - area.influence
    found = matrix.mean_terms(row, "mean", of)
    return None if found is None else error_terms(found.values, found.strata)
