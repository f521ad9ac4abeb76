"""Intervals of numbers made from several cells on the same images, paired image by image.

`wrong` is float64 (..., N): whether an image is wrong under each condition (mean over seeds).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array

from .estimates import label_parts
from .influence import balanced_influence, unseen_variance
from .intervals import (
    Bounds,
    Spread,
    balanced_interval,
    logit_interval,
    mean_interval,
    mean_of_shares_interval,
    perfect_interval,
    ratio_interval,
    share_interval,
    wilson,
)
from .paired import bounds_of, paired, parts_of


def error_influence(
    wrong: Float64Array, labels: Int64Array | None, groups: Int64Array | None = None
) -> Float64Array:
    """Influence values of the error (labels None) or of the balanced error: float64 (..., N).

    Args:
        wrong: float64 (..., N), or (..., N, L) with labels (N, L).
        labels: int64 (N,) or (N, L) for the balanced error, None for the plain one.
        groups: int64 (N,) from 0, or None: few patients of a class make its values larger.
    """
    if labels is None:
        centered: Float64Array = wrong - wrong.mean(axis=-1, keepdims=True)
        return centered
    if labels.ndim == 2:
        columns = range(labels.shape[1])
        each = [balanced_influence(wrong[..., c], labels[:, c], groups) for c in columns]
        mean: Float64Array = np.mean(each, axis=0)
        return mean
    return balanced_influence(wrong, labels, groups)


def error_terms(
    wrong: Float64Array, labels: Int64Array | None, groups: Int64Array | None = None
) -> Float64Array:
    """Return terms whose plain mean is the error, and whose spread is that of the error.

    For the balanced error they are the error plus the influence of each image, which is measured
    from the mean of the image's own class: how many images of a class a resample happens to draw
    moves the balanced error by nothing (to first order), so it must not count as noise.

    Args:
        wrong: float64 (N,), or (N, L) with labels (N, L): mean over conditions.
        labels: int64 (N,) or (N, L) for the balanced error, None for the plain one.
        groups: int64 (N,) from 0, or None.

    Returns:
        float64 (N,).
    """
    if labels is None:
        return wrong if wrong.ndim == 1 else wrong.mean(axis=1)
    columns, truths = wrong.reshape(len(wrong), -1).T, labels.reshape(len(labels), -1).T
    errors = [
        np.mean([column[truth == k].mean() for k in np.unique(truth)])
        for column, truth in zip(columns, truths, strict=True)
    ]
    terms: Float64Array = np.mean(errors) + error_influence(wrong, labels, groups)
    return terms


def share_influence(hit: NDArray[Any], among: NDArray[np.bool_]) -> Float64Array:
    """Influence values of the share of some images that are hit, over all images.

    Args:
        hit: (N,), bool, or real for a mean over some images.
        among: bool (N,), the images that the share is over, at least one.

    Returns:
        float64 (N,) with mean 0, enlarged as an unbiased variance has it.

    Example:
        >>> hit, among = np.array([1, 0, 1, 1], bool), np.array([1, 1, 0, 0], bool)
        >>> share_influence(hit, among).round(3).tolist()
        [1.414, -1.414, 0.0, 0.0]
    """
    count = int(among.sum())
    share = float(np.where(among, hit, 0).sum()) / count
    unbiased = np.sqrt(count / (count - 1)) if count > 1 else 1.0
    return np.where(among, hit - share, 0.0) * (unbiased * len(hit) / count)


def error_interval(
    wrong: Float64Array,
    labels: Int64Array | None,
    groups: Int64Array | None,
    *,
    share: bool = True,
    smallest: float | None = None,
    spread: Spread | None = None,
) -> Bounds:
    """Return the interval of a mean of errors over conditions.

    Args:
        wrong: float64 (N,), or (N, L) with labels (N, L): mean over the conditions, in [0, 1]
            where they make a share.
        labels: int64 (N,) or (N, L) for the balanced error, None for the plain one.
        groups: int64 (N,) from 0, or None.
        share: False for a mean without natural scale, such as a distance: no interval of a share
            holds it.
        smallest: How many units a share rests on that none of them moves; None: all.
        spread: Of a share that is no mean of images, and whose `wrong` is its influence around it:
            its interval goes over the logit, as that of one cell does. None: of all others.
    """
    if spread is not None:
        value = float(np.clip(wrong.mean(), 0.0, 1.0))
        still = float(np.ptp(wrong)) <= 1e-9
        return logit_interval(
            value,
            np.zeros_like(wrong) if still else wrong - wrong.mean(),
            groups,
            smallest=len(wrong) if smallest is None else smallest,
            degrees=spread.degrees,
            unseen=0.0 if still else spread.unseen,
        )
    if not share:
        return mean_interval(error_terms(wrong, labels, groups), groups)
    if smallest is not None and float(np.ptp(wrong)) <= 1e-9:
        return wilson(float(np.clip(wrong.mean(), 0.0, 1.0)), smallest)
    if labels is None:
        return share_interval(wrong, groups)
    if labels.ndim == 2:
        parts, columns = label_parts(labels)
        return mean_of_shares_interval(wrong[:, columns], parts, groups)
    return balanced_interval(wrong, labels, groups)


def ratio_influence(
    own: Float64Array,
    own_influence: Float64Array,
    reference: Float64Array,
    reference_influence: Float64Array,
) -> Float64Array:
    """Influence values of the mean over corruptions of own / reference: float64 (N,).

    Args:
        own: float64 (C,), numerators.
        own_influence: float64 (C, N).
        reference: float64 (C,), denominators, none 0.
        reference_influence: float64 (C, N).
    """
    first = own_influence / reference[:, None]
    second = (own / reference**2)[:, None] * reference_influence
    result: Float64Array = (first - second).mean(axis=0)
    return result


def mce_interval(
    own: Float64Array,
    own_influence: Float64Array,
    reference: Float64Array,
    reference_influence: Float64Array,
    groups: Int64Array | None = None,
    *,
    smallest: float | None = None,
    labels: Int64Array | None = None,
) -> Bounds:
    """Return the interval of CE (C = 1) or mCE over the logarithm.

    Args: as `ratio_influence`; a ratio that no unit moves, of no errors or of the reference's own,
        may be off by Wilson's upper bound of an error that none has seen, over the reference's: of
        `smallest` units, or of all. `labels` are those of balanced errors, whose rare classes hide
        some variance; with fewer than `FEWEST_UNITS` of a class, or patients (`paired.too_few`), no
        interval holds.
    """
    value = float((own / reference).mean())
    influence = ratio_influence(own, own_influence, reference, reference_influence)
    unseen = 0.0 if labels is None else unseen_variance(influence, labels, groups)
    none = most_unseen(own_influence.shape[-1], labels, groups, smallest=smallest)
    top = none * float((1 / reference).mean())
    return ratio_interval(value, influence, groups, top=top, unseen=unseen)


def most_unseen(
    count: int,
    labels: Int64Array | None,
    groups: Int64Array | None,
    *,
    smallest: float | None = None,
) -> float:
    """Return the largest error that a mean of none is compatible with: Wilson's upper bound of 0.

    Args:
        count: Images.
        labels: int64 (N,) or (N, L) for the balanced error, None for the plain one.
        groups: int64 (N,) from 0, or None.
        smallest: How many units it rests on; None: all.
    """
    if smallest is None and labels is not None:
        return perfect_interval(0.0, class_parts(labels), groups)[1]
    units = count if groups is None else len(np.unique(groups))
    return wilson(0.0, units if smallest is None else smallest)[1]


def change_interval(differences: Float64Array, groups: Int64Array | None) -> Bounds:
    """Return the score interval of a plain mean of paired differences, as of two models' errors.

    Args:
        differences: float64 (N,) in [-1, 1].
        groups: int64 (N,) from 0, or None.
    """
    found = paired(differences[None], parts_of(None, groups, len(differences)))
    low, high = bounds_of(found)
    return float(low[0]), float(high[0])


def bounded_interval(
    terms: Float64Array,
    groups: Int64Array | None,
    *,
    limits: Bounds,
    most: float,
    value: float | None = None,
) -> Bounds:
    """Return the interval of a mean of numbers that have limits, which is no point.

    It is value +- t sqrt(V). Where no unit moves the mean, since all are alike or there is one,
    those that none has seen may: by `most_unseen` of what all of them could.

    Args:
        terms: float64 (N,).
        groups: int64 (N,) from 0, or None.
        limits: Range of the number.
        most: What it would move by if every unit were as different as can be.
        value: The estimate, where `terms` are its influence values and not its parts.

    Example:
        >>> low, high = bounded_interval(np.ones(40), None, limits=(1.0, 11.0), most=10.0)
        >>> round(low, 2), round(high, 2)
        (1.0, 1.88)
    """
    low, high = mean_interval(terms, groups, limits=limits, value=value)
    if low < high:
        return low, high
    may = most * most_unseen(len(terms), None, groups)
    return max(limits[0], low - may), min(limits[1], high + may)


def relative_mce_interval(
    own: Float64Array,
    own_influence: Float64Array,
    reference: Float64Array,
    reference_influence: Float64Array,
    groups: Int64Array | None = None,
    *,
    smallest: float | None = None,
    labels: Int64Array | None = None,
) -> Bounds:
    """Return the interval of relative CE or mCE: value +- t sqrt(V), since it may be negative.

    Args: as `ratio_influence`, of losses (error minus clean error) instead of errors. Where the
        reference hardly loses, this interval says too little: its length is the warning.
        `smallest` and `labels` as `mce_interval` has them.
    """
    value = float((own / reference).mean())
    influence = ratio_influence(own, own_influence, reference, reference_influence)
    unseen = 0.0 if labels is None else unseen_variance(influence, labels, groups)
    low, high = mean_interval(influence, groups, value=value, unseen=unseen)
    if low < high:
        return low, high
    none = most_unseen(own_influence.shape[-1], labels, groups, smallest=smallest)
    top = none * float(np.abs(1 / reference).mean())
    return value - top, value + top


def class_parts(labels: Int64Array) -> list[NDArray[np.bool_]]:
    """List the parts of a balanced mean: bool (N,) each, classes or both sides of each label.

    Args:
        labels: int64 (N,) or (N, L).
    """
    if labels.ndim == 2:
        return label_parts(labels)[0]
    return [labels == k for k in np.unique(labels)]


def group_codes(groups: NDArray[Any] | None) -> Int64Array | None:
    """Number patients from 0; None without groups, or where no patient has two images.

    Args:
        groups: (N,) names, or the numbers that patients have among more images.

    Example:
        >>> group_codes(np.array(["a", "b", "a"])).tolist()
        [0, 1, 0]
    """
    if groups is None:
        return None
    names, codes = np.unique(groups, return_inverse=True)
    return None if len(names) == len(groups) else codes.reshape(-1).astype(np.int64)
