"""Tests of many differences at once by sign flips, and what they say of the whole family.

If two models are equally good, then of each unit (an image, or a patient with all of its images)
it is by chance which one is worse: the sign of its difference may be turned. A test counts how many
turns give a mean as far from 0 as the one seen. All pairs of a family share the turns, so the
largest statistic of a turn says how large one of them gets by chance, however they depend on one
another (Westfall and Young's step-down max-T). Where there are few units all turns are counted.

A mean over classes may be 0 though no class's mean is: the class's part of the difference that the
null hypothesis asks for is taken off before signs are turned (the restricted wild bootstrap), so
that models which trade classes are judged by the spread within classes.

References:
    Westfall and Young, Resampling-Based Multiple Testing (1993); Romano and Wolf, JASA 100 (2005)
    94; Kline and Santos, Journal of Econometric Methods 1 (2012) 23, for flips of scores.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.metrics.paired import Paired, Part
from medrobust.types import Float64Array, Int64Array

FEWEST_TURNS = 9_999
TURNS_PER_TEST = 25
"""Turns for each test of a family: a p-value that is corrected by all of them may reach .04."""

ALL_TURNS = 14
"""Units up to which every turn is counted."""

MOST_UNITS = 2_000
"""Of more units, some turn together: the test stays valid and takes no longer."""

CHUNK = 2_048

ROUNDING = 1e-4
"""Statistics this near are tied: their sums are made in float32."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What each unit adds to J differences if the null hypothesis held.

    The score of unit g in test j is `base[g, first_j] - base[g, second_j] - parts[g] @ shifts_j`.

    Attributes:
        base: float64 (G, C), what a unit adds to the number of a model under a condition.
        parts: float64 (G, P), share that a unit has in each part, over P.
        pairs: int64 (J, 2), columns of `base`.
        shifts: float64 (J, P), difference of each part that the null hypothesis leaves.
        extra: float64 (J, P), variance of the mean that the scores do not show.
        difference: float64 (J,), what is tested.
    """

    base: Float64Array
    parts: Float64Array
    pairs: Int64Array
    shifts: Float64Array
    extra: Float64Array
    difference: Float64Array


def error_scores(
    wrong: Float64Array, pairs: Int64Array, found: Paired, parts: Sequence[Part]
) -> Scores:
    """Return the scores of differences of errors.

    The null hypothesis leaves each part its mean, less a share of the difference in proportion to
    the variance of the part. A part whose mean is not 0 must vary by as much as answers of 0 and 1
    do; what it varies less is `extra`, a class of few images that happen to be alike.

    Args:
        wrong: float64 (C, N) or (C, N, L), error of models under conditions.
        pairs: int64 (J, 2), rows of `wrong`.
        found: From `paired`, of these pairs.
        parts: From `parts_of`.
    """
    values = wrong if wrong.ndim == 3 else wrong[:, :, None]
    units = int(max(part.units.max() for part in parts)) + 1
    base, share = np.zeros((units, len(values))), np.zeros((units, len(parts)))
    total = found.variances.sum(axis=1, keepdims=True)
    even = np.full_like(found.variances, 1 / len(parts))
    weights = np.where(total > 0, found.variances / np.where(total > 0, total, 1.0), even)
    shifts = found.means - weights * found.difference[:, None] * len(parts)
    extra = np.zeros_like(shifts)
    for place, part in enumerate(parts):
        terms = values[:, part.rows, part.column]
        scale = _widened(part, len(parts)) / (len(part.rows) * len(parts))
        base[part.units] += part.sums(terms).T * scale[:, None]
        share[part.units, place] += part.sizes * scale
        gap = terms[pairs[:, 0]] - terms[pairs[:, 1]] - shifts[:, [place]]
        least = np.abs(shifts[:, place]) * found.whole - shifts[:, place] ** 2
        lacking = np.maximum(least - (gap**2).mean(axis=1), 0.0)
        extra[:, place] = lacking / (len(part.units) * len(parts) ** 2)
    return Scores(base, share, pairs, shifts, extra, found.difference)


def _widened(part: Part, parts: int) -> Float64Array:
    """Return by what the scores of a part's units are too small, its own mean being taken off.

    The null hypothesis leaves all but one in P of a part's mean: of n equal units that takes
    (1 - 1 / P) / n of their variance, which of ten patients a class makes a family of twelve models
    err in 6.5 % instead of 5 %. A unit with a share h of the images counts 1 / (1 - h (1 - 1 / P)).
    """
    shares = part.sizes / part.sizes.sum()
    found: Float64Array = 1 / np.sqrt(1 - shares * (1 - 1 / parts))
    return found


def area_scores(
    influence: Float64Array,
    values: Float64Array,
    pairs: Int64Array,
    labels: Int64Array | None,
    groups: Int64Array | None,
) -> Scores:
    """Return the scores of differences of AUCs.

    Args:
        influence: float64 (C, N) with mean 0, of models under conditions.
        values: float64 (C,), their AUCs.
        pairs: int64 (J, 2), rows of `influence`.
        labels: int64 (N,), classes in which it is centered; None where images have several labels.
        groups: int64 (N,) from 0, or None.
    """
    count = influence.shape[1]
    classes = (
        np.zeros(count, np.int64) if labels is None else np.unique(labels, return_inverse=True)[1]
    )
    units = np.arange(count) if groups is None else groups
    size, kinds = int(units.max()) + 1, int(classes.max()) + 1
    base = np.stack([np.bincount(units, line, size) for line in influence], axis=1) / count
    share = np.zeros((size, kinds))
    np.add.at(share, (units, classes), 1 / np.bincount(classes)[classes])
    gap = influence[pairs[:, 0]] - influence[pairs[:, 1]]
    spread = np.stack([(gap[:, classes == k] ** 2).sum(axis=1) for k in range(kinds)], axis=1)
    total = spread.sum(axis=1, keepdims=True)
    weights = np.where(total > 0, spread / np.where(total > 0, total, 1.0), 1 / kinds)
    difference = values[pairs[:, 0]] - values[pairs[:, 1]]
    shifts = -weights * difference[:, None]
    return Scores(base, share, pairs, shifts, np.zeros_like(shifts), difference)


def flip_tests(scores: Scores, key: str) -> tuple[Float64Array, Float64Array]:
    """Test every difference of a family.

    Args:
        scores: From `error_scores` or `area_scores`.
        key: Equal keys give equal turns.

    Returns:
        p-values of the tests alone, and p-values that bound the chance of any false finding in the
        family (step-down max-T): float64 (J,) each.
    """
    base, parts = _blocks(scores.base), _blocks(scores.parts)
    own = base[:, scores.pairs[:, 0]] - base[:, scores.pairs[:, 1]] - parts @ scores.shifts.T
    spread = np.sqrt((own**2).sum(axis=0) + scores.extra.sum(axis=1))
    some = spread > 1e-12
    safe = np.where(some, spread, 1.0)
    seen = np.where(some, np.abs(scores.difference) / safe, 0.0)
    seen = (seen - ROUNDING).astype(np.float32)
    columns = np.hstack([base - base.mean(axis=1, keepdims=True), parts]).astype(np.float32)
    mixing = _mixing(scores, np.where(some, 1 / safe, 0.0))
    order = np.argsort(-seen, kind="stable")
    mixed, least = np.ascontiguousarray(mixing[:, order].T), seen[order][:, None]
    alone, family, turns = np.zeros(len(seen)), np.zeros(len(seen)), 0
    for drawn in _turned(columns, scores, key):
        found = mixed @ drawn.T  # (J, turns)
        np.abs(found, out=found)
        alone[order] += np.count_nonzero(found >= least, axis=1)
        for place in range(len(found) - 2, -1, -1):  # the largest of this test and all after it
            np.maximum(found[place], found[place + 1], out=found[place])
        family[order] += np.count_nonzero(found >= least, axis=1)
        turns += len(drawn)
    every = len(base) <= ALL_TURNS  # the turn that was seen is one of these
    raw, adjusted = (
        np.maximum(counts, 1) / turns if every else (counts + 1) / (turns + 1)
        for counts in (alone, family)
    )
    adjusted[order] = np.maximum.accumulate(adjusted[order])
    return raw, adjusted


def _blocks(columns: Float64Array) -> Float64Array:
    if len(columns) <= MOST_UNITS:
        return columns
    found = np.zeros((MOST_UNITS, columns.shape[1]))
    np.add.at(found, np.arange(len(columns)) % MOST_UNITS, columns)
    return found


def _mixing(scores: Scores, scale: Float64Array) -> NDArray[np.float32]:
    """Return what makes statistics of turned columns: float32 (C + 2 P, J)."""
    tests = np.arange(len(scores.pairs))
    models, parts = scores.base.shape[1], scores.parts.shape[1]
    found = np.zeros((models + 2 * parts, len(tests)))
    np.add.at(found, (scores.pairs[:, 0], tests), scale)
    np.add.at(found, (scores.pairs[:, 1], tests), -scale)
    found[models : models + parts] = -scores.shifts.T * scale
    found[models + parts :] = np.sqrt(scores.extra.T) * scale
    return found.astype(np.float32)


def _turned(
    columns: NDArray[np.float32], scores: Scores, key: str
) -> Iterator[NDArray[np.float32]]:
    """Yield sums of columns under turned signs, and noise for what scores do not show."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest(), "little")
    rng = np.random.default_rng(seed)
    units, parts = len(columns), scores.parts.shape[1]
    every = units <= ALL_TURNS
    turns = 2 ** (units - 1) if every else max(FEWEST_TURNS, TURNS_PER_TEST * len(scores.pairs))
    width = -(-units // 8)
    for start in range(0, turns, CHUNK):
        number = min(CHUNK, turns - start)
        if every:
            bits = (np.arange(start, start + number)[:, None] >> np.arange(units)) & 1
            signs = bits.astype(np.float32)
        else:
            drawn = np.frombuffer(rng.bytes(number * width), np.uint8).reshape(number, width)
            signs = np.unpackbits(drawn, axis=1, count=units).astype(np.float32)
        signs *= -2
        signs += 1
        noise = rng.standard_normal((number, parts), dtype=np.float32)
        yield np.hstack([signs @ columns, noise])
