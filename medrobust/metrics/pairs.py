"""All pairs of models of one number: differences with intervals, and p-values for each and for all.

A p-value is the larger of two: that of sign flips, which needs no shape of a distribution but that
a difference is as likely as its opposite, and that of the statistic which the interval inverts,
which needs no symmetry but images enough. So a p-value below .05 has an interval that excludes 0.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import erfc, exp, lgamma, log, sqrt

import numpy as np

from medrobust.base.wording import counted
from medrobust.metrics.comparisons import Comparison, mcnemar
from medrobust.metrics.flips import Scores, area_scores, error_scores, flip_tests
from medrobust.metrics.influence import Areas
from medrobust.metrics.intervals import Bounds, logit_interval
from medrobust.metrics.paired import (
    FEWEST_UNITS,
    Paired,
    Part,
    bounds_of,
    paired,
    parts_of,
    score_statistic,
    too_few,
)
from medrobust.metrics.variances import FEWEST, t_quantile, unit_variance
from medrobust.types import Float64Array, Int64Array

AREA_INTERVAL, AREA_TEST = 9.0, 4.0
"""Degrees of freedom (positives less one) that a difference of AUCs needs for interval and test."""

MANY_DEGREES = 1e5
TERMS = 200
"""Terms of the continued fraction: 1e-9 over all that is asked of it."""

AT_ONCE = 4_000_000
"""Differences of images, or terms of fractions, that are held at a time."""


def t_tail(statistic: float, degrees: float) -> float:
    """Return the two-sided p of Student's t, of four degrees of freedom at least.

    References:
        Abramowitz and Stegun 26.7.1 and 26.5.8 (the continued fraction of the incomplete beta).

    Example:
        >>> round(t_tail(2.228, 10), 4), round(t_tail(1.96, 1e12), 4)
        (0.05, 0.05)
    """
    return float(t_tails(np.array([statistic]), np.array([degrees]))[0])


def t_tails(statistics: Float64Array, degrees: Float64Array) -> Float64Array:
    """Return `t_tail` of each: float64 (B,)."""
    squares = statistics.astype(np.float64) ** 2
    normal = degrees > MANY_DEGREES
    free = np.where(normal, MANY_DEGREES, np.maximum(degrees, FEWEST)).astype(np.float64)
    inside, outside = free / (free + squares), squares / (free + squares)
    none = outside == 0
    near = (inside < (free / 2 + 1) / (free / 2 + 2.5)) & ~normal & ~none
    far = ~near & ~normal & ~none
    found = np.where(none, 1.0, 0.0)
    found[normal] = [erfc(sqrt(square / 2)) for square in squares[normal]]
    front = np.array(
        [
            _front(*one) if asked else 0.0
            for asked, *one in zip(near | far, free, inside, outside, strict=True)
        ]
    )
    usual = near | far
    first, second = np.where(near, free / 2, 0.5)[usual], np.where(near, 0.5, free / 2)[usual]
    part = front[usual] / first / _fraction(first, second, np.where(near, inside, outside)[usual])
    found[usual] = np.where(near[usual], part, 1 - part)
    return found


def _front(free: float, inside: float, outside: float) -> float:
    scale = lgamma((free + 1) / 2) - lgamma(free / 2) - lgamma(0.5)
    return exp(scale + free / 2 * log(inside) + 0.5 * log(outside))


def _fraction(first: Float64Array, second: Float64Array, at: Float64Array) -> Float64Array:
    """Return the continued fraction of the incomplete beta function, from its far end."""
    value = np.ones_like(at)
    together = max(1, AT_ONCE // max(1, at.size))
    for last in range(TERMS, 0, -together):
        steps = np.arange(last, max(0, last - together), -1)[:, None]
        half = steps // 2
        odd, even = -(first + half) * (first + second + half) * at, half * (second - half) * at
        above = np.where(steps % 2, odd, even)
        for ratio in above / ((first + steps - 1) * (first + steps)):
            value = 1 + ratio / value
    return value


def compare_errors(
    wrong: Float64Array,
    pairs: Int64Array,
    *,
    labels: Int64Array | None,
    groups: Int64Array | None,
    key: str,
    unbounded: str = "",
    single: Sequence[bool] = (),
) -> list[Comparison]:
    """Compare errors of models under conditions, pair by pair and as one family.

    Args:
        wrong: float64 (C, N) or (C, N, L) in [0, 1]: whether an image is wrong, or its mean over
            what a condition holds (corruptions, severities, seeds), a row a model and condition.
        pairs: int64 (J, 2), rows of `wrong` that are compared.
        labels: int64 (N,) or (N, L) for the balanced error, None for the plain one.
        groups: int64 (N,) from 0, or None.
        key: Of the turns of `flip_tests`.
        unbounded: Why there is neither interval nor p-value; empty: there are.
        single: For each pair, whether McNemar's test is right: answers of one model to one image,
            images that stand alone.
    """
    values = wrong.mean(axis=2) if labels is None and wrong.ndim == 3 else wrong
    parts = parts_of(labels, groups, wrong.shape[1])
    step = max(1, AT_ONCE // int(np.prod(values.shape[1:])))
    chunks = [pairs[start : start + step] for start in range(0, len(pairs), step)]
    found = _joined([paired(values[c[:, 0]] - values[c[:, 1]], parts) for c in chunks])
    low, high = bounds_of(found)
    by_score = t_tails(score_statistic(found), found.degrees).tolist()
    few = unbounded or too_few(parts)
    reason = f"no interval, no p-value: {few}" if few else ""
    whole = [
        Comparison(float(d), float(a), float(b), p, "score", reason=reason)
        for d, a, b, p in zip(found.difference, low, high, by_score, strict=True)
    ]
    if reason:
        return [replace(one, low=None, high=None, p=None, test="") for one in whole]
    scores = [_part_of(values, c, found, k * step, parts) for k, c in enumerate(chunks)]
    whole = _tested(whole, _stacked(scores), key)
    for place, alone in enumerate(single):
        if alone:
            first, second = (values[row] == 0 for row in pairs[place])
            whole[place] = _with_p(whole[place], mcnemar(first, second), "McNemar")
    return whole


def _part_of(
    values: Float64Array, pairs: Int64Array, found: Paired, start: int, parts: Sequence[Part]
) -> Scores:
    stop = start + len(pairs)
    one = Paired(*(getattr(found, name)[start:stop] for name in Paired.__slots__))
    return error_scores(values, pairs, one, parts)


def _joined(found: Sequence[Paired]) -> Paired:
    columns = ([getattr(one, name) for one in found] for name in Paired.__slots__)
    return Paired(*(np.concatenate(column) for column in columns))


def _stacked(found: Sequence[Scores]) -> Scores:
    first = found[0]
    names = ("pairs", "shifts", "extra", "difference")
    tests = {name: np.concatenate([getattr(one, name) for one in found]) for name in names}
    return Scores(first.base, first.parts, **tests)


def _tested(found: list[Comparison], scores: Scores, key: str) -> list[Comparison]:
    """Join what sign flips say of a family to p-values that are there: the larger is kept."""
    alone, family = flip_tests(scores, key)
    result = []
    for one, flipped, adjusted in zip(found, alone, family, strict=True):
        p = max(float(one.p or 0.0), float(flipped))
        test = "sign flips" if p > float(one.p or 0.0) else one.test
        result.append(replace(one, p=p, test=test, p_familywise=max(p, float(adjusted))))
    return result


def _with_p(one: Comparison, p: float, test: str) -> Comparison:
    family = None if one.p_familywise is None else max(p, one.p_familywise)
    return replace(one, p=p, test=test, p_familywise=family)


def compare_areas(
    areas: Sequence[Areas],
    pairs: Int64Array,
    *,
    labels: Int64Array | None,
    groups: Int64Array | None,
    key: str,
) -> list[Comparison]:
    """Compare AUCs (or means of AUCs) of models under conditions, as `compare_errors` does.

    Args:
        areas: One a model and condition, on the same images.
        pairs: int64 (J, 2), places in `areas`.
        labels: int64 (N,), classes in which influence is centered; None with several labels.
        groups: int64 (N,) from 0, or None.
        key: Of the turns of `flip_tests`.
    """
    own = [_area_bounds(area, groups) for area in areas]
    found = [_area_pair(areas, own, int(a), int(b), groups) for a, b in pairs]
    tested = [place for place, one in enumerate(found) if one.p is not None]
    if not tested:
        return found
    influence = np.stack([area.influence for area in areas]).astype(np.float64)
    values = np.array([area.value for area in areas])
    scores = area_scores(influence, values, pairs[tested], labels, groups)
    for place, one in zip(tested, _tested([found[k] for k in tested], scores, key), strict=True):
        found[place] = one
    return found


def _area_bounds(area: Areas, groups: Int64Array | None) -> Bounds:
    return logit_interval(
        area.value,
        area.influence,
        groups,
        smallest=area.smallest,
        degrees=area.degrees,
        unseen=area.unseen,
    )


def _area_pair(
    areas: Sequence[Areas],
    bounds: Sequence[Bounds],
    first: int,
    second: int,
    groups: Int64Array | None,
) -> Comparison:
    """Compare two AUCs: on each side the wider of DeLong's interval and MOVER over the logit's.

    MOVER (Zou, Psychological Methods 12 (2007) 399) joins the intervals of both by the correlation
    of their influence: it holds near 1, where one model has hardly an error left to vary.
    """
    one, two = areas[first], areas[second]
    degrees = min(one.free, two.free)
    difference = one.value - two.value
    least = min(one.least, two.least)
    if one.classes > 1 and least < FEWEST_UNITS:  # hardly any variance is seen of such a class
        unit = "image" if groups is None else "patient"
        have = counted(int(least), unit)
        if least != int(least):
            have = (
                f"an effective number of {least:.3g} {unit}s (1 / the sum of their squared shares)"
            )
        reason = (
            f"no interval, no p-value: a class, or what is not of it, has {have}, "
            f"{FEWEST_UNITS} are needed"
        )
        return Comparison(difference, None, None, None, "", reason=reason)
    if degrees < AREA_TEST:
        reason = "no interval, no p-value: fewer than five positives or negatives"
        return Comparison(difference, None, None, None, "", reason=reason)
    own = _covariance(one.influence, two.influence, groups)
    variance = max(own[0, 0] + own[1, 1] - 2 * own[0, 1], 0.0)
    p = t_tail(difference / sqrt(variance), degrees) if variance > 1e-18 else float(difference == 0)
    if degrees < AREA_INTERVAL:
        reason = "no interval: fewer than ten positives or negatives"
        return Comparison(difference, None, None, p, "DeLong", reason=reason)
    half = t_quantile(degrees) * sqrt(variance)
    scale = sqrt(own[0, 0] * own[1, 1])
    likeness = float(own[0, 1]) / scale if scale > 0 else 0.0
    (low, high), (other_low, other_high) = bounds[first], bounds[second]
    below = _side(one.value - low, other_high - two.value, likeness)
    above = _side(high - one.value, two.value - other_low, likeness)
    low, high = difference - max(below, half), difference + max(above, half)
    return Comparison(difference, max(low, -1.0), min(high, 1.0), p, "DeLong")


def _side(own: float, other: float, likeness: float) -> float:
    return sqrt(max(own**2 + other**2 - 2 * likeness * own * other, 0.0))


def _covariance(
    first: Float64Array, second: Float64Array, groups: Int64Array | None
) -> Float64Array:
    """Return the covariance of two means by their influence: float64 (2, 2)."""
    both = np.stack([first, second]).astype(np.float64)
    sizes: Float64Array = np.ones(both.shape[1])
    if groups is not None:
        count = int(groups.max()) + 1
        sums = np.stack([np.bincount(groups, line, count) for line in both]).astype(np.float64)
        counts = np.bincount(groups, minlength=count).astype(np.float64)
        both, sizes = sums[:, counts > 0], counts[counts > 0]
    own, other, together = unit_variance(np.vstack([both, both.sum(axis=0)]), sizes)[0]
    between = (together - own - other) / 2
    return np.array([[own, between], [between, other]])
