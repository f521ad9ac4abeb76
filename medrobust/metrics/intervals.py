"""95 % intervals that keep their level: for shares, means, areas, ratios, and means of these.

Everything here is closed form, so the same cells give the same bytes. Errors are shares of few
images, often near 0 or 1, where the percentile bootstrap covers far too little (83 % at n = 156,
accuracy 0.98): shares get Wilson's interval (with patients or repeated conditions its clustered
form), means of shares are joined by the method of variance estimates recovery (MOVER), areas and
ratios go over the logit and the logarithm with the infinitesimal jackknife (for an AUC that is
DeLong's variance). `benchmarks/coverage.py` measures what they cover.

Terms: an estimate is the mean over images of `terms` (N,); what repeats over conditions is
averaged within the image first, and `groups` says which images belong to one patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array

from .variances import BORROWED, Z, few_quantile, t_quantile, variance_of_mean

PLENTY = 10
"""Errors (and hits) in every part from which on the first of the two intervals holds alone."""

HALF_DRAWN = 0.5
"""Degrees of freedom that parts whose dependence halves the variance count as."""

Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """What the interval of a share-like number needs, beside the influence of its images.

    Attributes:
        degrees: Of freedom, where they are known to be fewer than the kurtosis tells.
        unseen: Variance that the influence values cannot show.
    """

    degrees: float = float("inf")
    unseen: float = 0.0

    @classmethod
    def of_mean(cls, parts: Sequence["Spread"]) -> "Spread":
        """Return that of the mean of numbers of the same images."""
        return cls(
            float(np.median([part.degrees for part in parts])),
            float(np.mean([part.unseen for part in parts])),
        )


def wilson(share: float, count: float, quantile: float = Z) -> Bounds:
    """Return Wilson's score interval of a share of `count` independent images.

    References:
        Wilson, JASA 22 (1927) 209; Brown, Cai and DasGupta, Statistical Science 16 (2001) 101.

    Example:
        >>> [round(bound, 4) for bound in wilson(1.0, 100)]
        [0.963, 1.0]
    """
    square = quantile**2
    center = (share + square / (2 * count)) / (1 + square / count)
    half = (
        quantile
        / (1 + square / count)
        * sqrt(share * (1 - share) / count + square / (4 * count**2))
    )
    low = 0.0 if share <= 0 else max(0.0, center - half)
    high = 1.0 if share >= 1 else min(1.0, center + half)
    return low, high


def share_interval(terms: Float64Array, groups: Int64Array | None = None) -> Bounds:
    """Return the interval of a share: the mean of terms in [0, 1].

    Zeros and ones of images that stand alone: Wilson's. Else Wilson's with the number of images
    that would give the variance found, p (1 - p) / V (the clustered form). Where few groups carry
    the variance it is drawn towards that of one value a group, which is also what a perfect or
    empty share gets, so that no share has a point interval.

    Args:
        terms: float64 (N,), N >= 1; the mean over conditions where an image is seen repeatedly.
        groups: int64 (N,) from 0, or None.

    References:
        Saha, Miller and Wang, International Journal of Biostatistics 12 (2016) 20150024.

    Example:
        >>> low, high = share_interval(np.array([0.0, 1.0, 1.0, 1.0] * 25))  # 75 of 100: Wilson
        >>> round(low, 3), round(high, 3)
        (0.657, 0.825)
    """
    share = float(np.clip(terms.mean(), 0.0, 1.0))
    binary = bool(((terms == 0) | (terms == 1)).all())
    if groups is None and binary:
        return wilson(share, len(terms))
    variance, degrees, count = variance_of_mean(terms, groups)
    most = float(len(terms)) if binary else float("inf")
    return drawn_share(share, variance, degrees, count, most=most)


def drawn_share(
    share: float,
    variance: float,
    degrees: float,
    count: int,
    *,
    most: float = float("inf"),
    least: float = 8.0,
) -> Bounds:
    """Return Wilson's interval of as many images as give a variance that is drawn to one answer.

    Args:
        share: In [0, 1].
        variance: Of the share; where it or share (1 - share) is 0, `count` answers stand for it.
        degrees: Of freedom of the variance.
        count: Units that it was found from.
        most: Images that there are.
        least: Degrees of freedom that are taken at least.
    """
    own = share * (1 - share)
    if own == 0 or variance == 0:
        return wilson(share, count, t_quantile(count - 1))
    pooled = (degrees * variance + own / count) / (degrees + 1)
    return wilson(share, min(own / pooled, most), t_quantile(max(degrees, least)))


def recovered(estimates: Sequence[float], bounds: Sequence[Bounds], factor: float = 1.0) -> Bounds:
    """Join intervals to that of the mean of estimates (MOVER), not cut to any range.

    Args:
        estimates: One a part.
        bounds: Interval of each.
        factor: Variance of the mean over what it would be if the parts were independent.

    References:
        Zou and Donner, Statistics in Medicine 27 (2008) 1693; Newcombe, 17 (1998) 873.

    Example:
        >>> low, high = recovered([0.2, 0.4], [(0.1, 0.3), (0.3, 0.5)])
        >>> round(low, 3), round(high, 3)
        (0.229, 0.371)
    """
    values, ends = np.asarray(estimates), np.asarray(bounds)
    center, count = float(values.mean()), len(values)
    below = sqrt(factor * float(((values - ends[:, 0]) ** 2).sum())) / count
    above = sqrt(factor * float(((ends[:, 1] - values) ** 2).sum())) / count
    return center - below, center + above


def mean_of_shares_interval(
    terms: Float64Array,
    parts: Sequence[NDArray[np.bool_]],
    groups: Int64Array | None = None,
) -> Bounds:
    """Return the interval of a mean over parts of shares, such as balanced accuracy over classes.

    On each side the wider of two. One is Wilson's, with the number of images that would give the
    variance of the mean of shares, the share of a part drawn towards the mean of all as if it had
    seen four images more: it holds for many classes of few images. The other is Wilson's of each
    part, joined by MOVER: it holds where one class is rare and all right by luck. With ten errors
    and hits in every part the first is enough, and alone. A unit of several parts counts once in a
    perfect mean and in degrees of freedom, for it may fail as a whole.

    Args:
        terms: float64 (N,) of values in [0, 1], or (N, P) where they differ by part.
        parts: P masks bool (N,), none empty.
        groups: int64 (N,) from 0, or None.
    """
    lines = [terms] * len(parts) if terms.ndim == 1 else list(np.ascontiguousarray(terms.T))
    inside = [line[mask] for line, mask in zip(lines, parts, strict=True)]
    of_part = None if groups is None else [groups[mask] for mask in parts]
    shares = [float(part.sum()) / len(part) for part in inside]
    mean = min(max(float(np.mean(shares)), 0.0), 1.0)
    units = [len(part) for part in inside]
    if of_part is not None:
        units = [int(np.count_nonzero(np.bincount(own))) for own in of_part]
    if mean in (0.0, 1.0):
        return perfect_interval(mean, parts, groups)
    spread = [
        _part_variance(part, mean, None if of_part is None else of_part[place])
        for place, part in enumerate(inside)
    ]
    variance = sum(own for own, _, _ in spread)
    weights = sum(own**2 / degrees for own, degrees, _ in spread)
    degrees = variance**2 / weights if weights > 0 else float("inf")
    if of_part is not None and sum(units) > len(np.unique(np.concatenate(of_part))):
        degrees = min(degrees, resting_on([np.unique(own) for own in of_part]))
    factor, known = _dependence(lines, parts, shares, groups)
    degrees = min(max(degrees, 8.0), known)
    whole = mean * (1 - mean) / (variance * factor / len(parts) ** 2)
    low, high = wilson(mean, whole, t_quantile(degrees))
    if min(min(s, 1 - s) * count for s, count in zip(shares, units, strict=True)) >= PLENTY:
        return low, high
    apart = [
        wilson(share, effective if 0 < share < 1 else count)
        for share, (_, _, effective), count in zip(shares, spread, units, strict=True)
    ]
    below, above = recovered(shares, apart, factor)
    return min(low, max(0.0, below)), max(high, min(1.0, above))


def perfect_interval(
    mean: float, parts: Sequence[NDArray[np.bool_]], groups: Int64Array | None = None
) -> Bounds:
    """Return Wilson's interval of a mean of shares that are all 0, or all 1.

    It rests on 1 / sum of w^2 units (Kish, Survey Sampling, 1965), w being the weight of a unit in
    the mean: of patients who are each of one class P^2 / sum of 1 / n, and never more than there
    are, in however many parts each of them counts. Of patients it has Student's quantile.

    Args:
        mean: 0 or 1.
        parts: P masks bool (N,), none empty.
        groups: int64 (N,) from 0, or None.
    """
    owners = [np.flatnonzero(mask) if groups is None else groups[mask] for mask in parts]
    count = resting_on([np.unique(own) for own in owners])
    return wilson(mean, count, Z if groups is None else t_quantile(count - 1))


def resting_on(parts: Sequence[Int64Array]) -> float:
    """Return how many units a mean over parts of their means rests on: 1 / sum of w^2.

    Args:
        parts: int64 (U,) each, the units of a part, each once.

    Example:
        >>> round(resting_on([np.arange(10), np.arange(10)])), round(
        ...     resting_on([np.arange(10), np.arange(10, 20)])
        ... )
        (10, 20)
    """
    every = np.concatenate(parts)
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts])
    together = np.bincount(every, weights=weights)
    if len(every) == np.count_nonzero(together):  # no two parts overlap
        return len(parts) ** 2 / sum(1 / len(part) for part in parts)
    return len(parts) ** 2 / float((together**2).sum())


def _part_variance(
    terms: Float64Array, mean: float, groups: Int64Array | None
) -> tuple[float, float, float]:
    """Return the variance of a part's share, its degrees of freedom, and how many images give it.

    All three are of the share drawn towards the mean.
    """
    count = len(terms)
    drawn = (float(terms.sum()) + BORROWED * mean) / (count + BORROWED)
    own = drawn * (1 - drawn)
    if groups is None and bool(((terms == 0) | (terms == 1)).all()):
        return own / count, float("inf"), count
    variance, degrees, units = variance_of_mean(terms, groups)
    joined = (degrees * variance + own / units) / (degrees + 1)
    return joined, degrees + 1, own / joined


def _dependence(
    lines: Sequence[Float64Array],
    parts: Sequence[NDArray[np.bool_]],
    shares: Sequence[float],
    groups: Int64Array | None,
) -> tuple[float, float]:
    """Return the variance of the mean of shares over that of independent parts, and its degrees.

    Units whose errors in different parts exclude each other make it small: below 1/2 it is drawn
    to that by `HALF_DRAWN` degrees of freedom, and known with no more than those of the mean.
    """
    if groups is None and int(np.sum(parts, axis=0).max()) <= 1:  # no two overlap
        return 1.0, float("inf")
    total, apart = np.zeros(len(lines[0])), 0.0
    for line, mask, share in zip(lines, parts, shares, strict=True):
        own = (line - share) / (np.count_nonzero(mask) / len(mask))
        own *= mask
        total += own
        apart += variance_of_mean(own, groups)[0]
    if apart == 0:
        return 1.0, float("inf")
    together, degrees, _ = variance_of_mean(total, groups)
    ratio = together / apart
    if ratio >= 0.5:
        return ratio, float("inf")
    free = degrees + HALF_DRAWN
    return (degrees * ratio + HALF_DRAWN / 2) / free, free if degrees > 0 else float("inf")


def balanced_interval(
    terms: Float64Array, labels: Int64Array, groups: Int64Array | None = None
) -> Bounds:
    """Return the interval of a mean over classes of a class's mean of terms in [0, 1].

    Args:
        terms: float64 (N,): 1 where an image is right (or its mean over conditions).
        labels: int64 (N,); classes that do not occur are left out.
        groups: int64 (N,) from 0, or None.
    """
    return mean_of_shares_interval(terms, [labels == k for k in np.unique(labels)], groups)


def mean_interval(
    terms: Float64Array,
    groups: Int64Array | None = None,
    *,
    limits: Bounds = (-float("inf"), float("inf")),
    value: float | None = None,
    unseen: float = 0.0,
) -> Bounds:
    """Return mean +- t sqrt(V) for a mean without natural scale, cut to `limits`.

    Args:
        terms: float64 (N,).
        groups: int64 (N,) from 0, or None.
        limits: Range of the number.
        value: The estimate, where `terms` are its influence values and not its parts.
        unseen: Variance that the influence values cannot show.

    Example:
        >>> low, high = mean_interval(np.array([1.0, 2.0, 3.0] * 20))
        >>> round(low, 3), round(high, 3)
        (1.787, 2.213)
    """
    variance, degrees, units = variance_of_mean(terms, groups)
    center = float(terms.mean()) if value is None else value
    half = few_quantile(degrees, units) * sqrt(variance + unseen)
    return max(limits[0], center - half), min(limits[1], center + half)


def logit_interval(
    value: float,
    influence: Float64Array,
    groups: Int64Array | None,
    *,
    smallest: float,
    degrees: float = float("inf"),
    unseen: float = 0.0,
) -> Bounds:
    """Return the interval of a share-like number by way of its logit.

    Args:
        value: In [0, 1].
        influence: float64 (N,) with mean 0; V is the variance of its mean.
        groups: int64 (N,) from 0, or None.
        smallest: Number of images that a perfect value rests on: 0 and 1, whose V is 0, get the
            Wilson interval of so many.
        degrees: Of freedom, where they are known to be fewer than the kurtosis tells.
        unseen: Variance that the influence values cannot show.
    """
    variance, own, _ = variance_of_mean(influence, groups)
    variance += unseen
    if value <= 0 or value >= 1 or variance == 0:
        return wilson(value, smallest)
    own = own if groups is not None else max(own, 8.0)
    return around_logit(value, t_quantile(min(own, degrees)) * sqrt(variance))


def around_logit(value: float, half: float) -> Bounds:
    """Return value +- half, `half` taken over to the logit by its slope; value in (0, 1).

    Example:
        >>> [round(bound, 3) for bound in around_logit(0.5, 1.0)]
        [0.018, 0.982]
    """
    center, wide = log(value / (1 - value)), half / (value * (1 - value))
    return _expit(center - wide), _expit(center + wide)


def _expit(value: float) -> float:
    return 1 / (1 + exp(-value)) if value > -700 else 0.0


def ratio_interval(
    value: float,
    influence: Float64Array,
    groups: Int64Array | None,
    *,
    top: float,
    unseen: float = 0.0,
) -> Bounds:
    """Return the interval of a ratio of positive numbers by way of its logarithm.

    Args:
        value: Such as CE or mCE; 0 where the model makes no error.
        influence: float64 (N,) with mean 0; V is the variance of its mean.
        groups: int64 (N,) from 0, or None.
        top: How far a ratio may be off that shows no V: of no errors, or of as many as the other.
        unseen: Variance that the influence values cannot show.
    """
    variance, degrees, _ = variance_of_mean(influence, groups)
    if value <= 0 or variance + unseen == 0:
        return max(0.0, value - top), value + top
    factor = exp(min(t_quantile(degrees) * sqrt(variance + unseen) / value, 700.0))
    return value / factor, value * factor
