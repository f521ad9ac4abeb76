"""Models against one another on the same images: tests, corrections, ranks, shares of variance.

Resampling is keyed by a text (`resample_counts`), so that the same store gives the same bytes.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import erfc, exp, lgamma, log, sqrt

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.types import Float64Array, Int64Array

from .curves import curves

RESAMPLES = 1000
EXACT = 10_000
"""Discordant pairs up to which McNemar's test sums binomial terms."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Difference of two models on the same images (first minus second).

    Attributes:
        difference: Of the means.
        low: Lower 95 % bound; None where `reason` says why.
        high: Upper 95 % bound.
        p: Two-sided; None where `reason` says why.
        test: What gave `p`.
        p_familywise: Bounds the chance of any false finding among all that were compared.
        reason: Why an interval or a p-value is missing.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    test: str
    p_familywise: float | None = None
    reason: str = ""


def generator(key: str) -> np.random.Generator:
    """Return numpy's PCG64, seeded by the SHA-256 of a text."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest(), "little"))


def resample_counts(
    key: str,
    count: int,
    *,
    resamples: int = RESAMPLES,
    strata: Int64Array | None = None,
) -> NDArray[np.int64]:
    """Draw how often each unit (image or patient) is taken: int64 (resamples, count).

    Args:
        key: Equal keys give equal draws; all models and severities share one.
        count: Number of units.
        resamples: How many.
        strata: int64 (count,), drawn within each; None: all together.
    """
    rng = generator(key)
    if strata is None:
        strata = np.zeros(count, np.int64)
    counts = np.zeros((resamples, count), np.int64)
    for stratum in np.unique(strata):
        own = np.flatnonzero(strata == stratum)
        counts[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=resamples)
    return counts


def totals(terms: Float64Array, groups: Int64Array | None) -> tuple[Float64Array, Float64Array]:
    """Sum terms within groups.

    Args:
        terms: float64 (..., N).
        groups: int64 (N,) from 0 without gaps, or None: each image is its own group.

    Returns:
        Sums float64 (..., G) and sizes float64 (G,).
    """
    if groups is None:
        return terms, np.ones(terms.shape[-1])
    flat = terms.reshape(-1, terms.shape[-1])
    size = int(groups.max()) + 1
    lines = [np.bincount(groups, weights=line, minlength=size) for line in flat]
    sums = np.stack(lines).reshape(*terms.shape[:-1], size).astype(np.float64)
    return sums, np.bincount(groups, minlength=size).astype(np.float64)


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the exact two-sided p of McNemar's test on images that stand alone.

    Args:
        first: bool (N,), whether the first model is right.
        second: bool (N,), the same of the second.

    Returns:
        1 where the models never differ.

    References:
        McNemar, Psychometrika 12 (1947) 153; the binomial form.

    Example:
        >>> round(mcnemar(np.repeat([True, False], [9, 1]), np.repeat([False, True], [9, 1])), 4)
        0.0215
    """
    better, worse = int((first & ~second).sum()), int((~first & second).sum())
    total, least = better + worse, min(better, worse)
    if total == 0:
        return 1.0
    if total > EXACT:
        return erfc(max(abs(better - worse) - 1, 0) / sqrt(total) / sqrt(2))
    half = total * log(2)
    terms = [lgamma(total + 1) - lgamma(k + 1) - lgamma(total - k + 1) for k in range(least + 1)]
    return min(1.0, 2 * sum(exp(term - half) for term in terms))


def delong_test(first: Float64Array, second: Float64Array, truth: NDArray[np.bool_]) -> Comparison:
    """Compare two AUCs on the same images by DeLong's covariance.

    Args:
        first: float64 (N,), scores of the first model.
        second: float64 (N,), of the second.
        truth: bool (N,).

    Raises:
        InvalidDataError: Without positives or without negatives.

    References:
        DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837.
    """
    found = curves(np.stack([first, second], axis=1), np.stack([truth, truth], axis=1))
    if np.isnan(found.areas).any():
        raise InvalidDataError("an AUC needs positives and negatives; one of them is missing.")
    shares = found.shares[0] - found.shares[1]
    difference = float(found.areas[0] - found.areas[1])
    variance = sum(
        float(shares[side].var(ddof=1)) / int(side.sum()) if side.sum() > 1 else 0.0
        for side in (truth, ~truth)
    )
    error = sqrt(variance)
    p = 1.0 if error == 0 else erfc(abs(difference) / error / sqrt(2))
    half = 1.959963984540054 * error
    return Comparison(difference, difference - half, difference + half, p, "DeLong")


def delong_variance(scores: Float64Array, truth: NDArray[np.bool_]) -> float:
    """Return the variance of an AUC, S10 / m + S01 / n.

    Raises:
        InvalidDataError: Without two positives and two negatives.
    """
    if min(int(truth.sum()), int((~truth).sum())) < 2:
        raise InvalidDataError("DeLong's variance needs two positives and two negatives.")
    shares = curves(scores[:, None], truth[:, None]).shares[0]
    return sum(float(shares[s].var(ddof=1)) / int(s.sum()) for s in (truth, ~truth))


def holm(values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false finding stays below the level.

    References:
        Holm, Scandinavian Journal of Statistics 6 (1979) 65.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    return _adjusted(values, lambda p, rank, total: p * (total - rank), np.maximum.accumulate)


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the expected share of false findings stays below the level.

    References:
        Benjamini and Hochberg, JRSS B 57 (1995) 289.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.03])
        [0.03, 0.04, 0.04]
    """
    return _adjusted(
        values,
        lambda p, rank, total: p * total / (rank + 1),
        lambda scaled: np.minimum.accumulate(scaled[::-1])[::-1],
    )


def _adjusted(values: Sequence[float], scale: object, accumulate: object) -> list[float]:
    assert callable(scale)
    assert callable(accumulate)
    if not len(values):
        return []
    given = np.asarray(values, dtype=float)
    order = np.argsort(given, kind="stable")
    scaled = scale(given[order], np.arange(len(given)), len(given))
    result = np.empty(len(given))
    result[order] = np.minimum(accumulate(scaled), 1.0)
    return [round(float(p), 15) for p in result]


def rank_intervals(
    means: Sequence[float], apart: Iterable[tuple[int, int]]
) -> list[tuple[int, int, int]]:
    """Rank models by their mean loss and say which ranks the comparisons of pairs leave open.

    A model is behind as many as are surely better, and before as many as are surely worse: where
    the pairs bound the chance of any false finding by 5 %, all intervals hold their ranks together
    in 95 % of samples (Mogstad et al., Inference for Ranks, 2024).

    Args:
        means: Of each model; less is better.
        apart: Pairs of models that a test tells apart.

    Returns:
        For each model (rank, lowest, highest): 1 is the smallest mean, equal means share the better
        rank.

    Example:
        >>> rank_intervals([0.1, 0.3, 0.2], [(0, 1)])
        [(1, 1, 2), (3, 2, 3), (2, 1, 3)]
    """
    own = np.asarray(means, np.float64)
    low, high = np.ones(len(own), np.int64), np.full(len(own), len(own), np.int64)
    for pair in apart:
        better, worse = sorted(pair, key=lambda row: own[row])
        low[worse] += 1
        high[better] -= 1
    here = (own[None, :] < own[:, None] - 1e-12).sum(axis=1) + 1
    return [(int(a), int(b), int(c)) for a, b, c in zip(here, low, high, strict=True)]


def variance_split(
    factors: Sequence[Mapping[str, object]], values: Sequence[float]
) -> dict[str, float]:
    """Split the variance of repeated results over what was varied (seed, shots, prompts).

    The share of a factor is the variance of the means over its levels; "rest" is what factors do
    not explain one by one. Of a full grid without interaction the shares add up exactly.

    Args:
        factors: For each result, factor -> level.
        values: The results.

    Returns:
        Factor -> share of the total variance, in order of first sight, then "rest" (0 at least);
        all 0 where the results do not differ. Factors with one level are left out.

    Raises:
        InvalidDataError: With fewer than two results, or not as many factors as values.
    """
    if len(values) < 2 or len(factors) != len(values):
        raise InvalidDataError(
            f"{len(values)} results with {len(factors)} descriptions have no variance to split."
        )
    numbers = np.asarray(values, dtype=float)
    total = float(numbers.var())
    shares: dict[str, float] = {}
    for name in dict.fromkeys(name for entry in factors for name in entry):
        levels = np.array([str(entry.get(name)) for entry in factors])
        found, place = np.unique(levels, return_inverse=True)
        if len(found) < 2:
            continue
        means = np.bincount(place, weights=numbers) / np.bincount(place)
        between = float(((means[place] - numbers.mean()) ** 2).mean())
        shares[name] = between / total if total > 0 else 0.0
    shares["rest"] = max(0.0, 1 - sum(shares.values())) if total > 0 else 0.0
    return shares
