"""One probability from those of several images: of a patient, a lesion, a study."""

import re
from typing import TypeAlias

import numpy as np

from medrobust.types import Float64Array, Int64Array

from .joining_numbered import joined_by_number, log_sums

How: TypeAlias = str
"""How probabilities are joined: one of `WAYS`, or one of `NUMBERED` with its number (`top_2`)."""

WAYS: tuple[How, ...] = ("mean", "max", "noisy_or", "most_confident", "product")

NUMBERED = {"top": r"[1-9]\d*", "lse": r"\d+(\.\d+)?", "norm": r"\d+(\.\d+)?"}
NUMBERED |= {"softmax": r"\d+(\.\d+)?"}
"""Name -> what number may follow it: images, sharpness, power, sharpness."""


def family(how: How) -> str | None:
    """Return the name of a way without its number; None where there is no such way.

    Example:
        >>> [family(how) for how in ("max", "top_2", "lse_0.5", "top_2.5", "norm_0", "median")]
        ['max', 'top', 'lse', None, None, None]
    """
    if how in WAYS:
        return how
    name, _, number = how.partition("_")
    known = name in NUMBERED and re.fullmatch(NUMBERED[name], number)
    if not known or (name in ("lse", "norm") and not float(number)):
        return None
    return name


def joined_log_odds(log_odds: Float64Array, units: Int64Array, how: How) -> Float64Array:
    """Join the probabilities p_i of the images of each unit.

    "mean": the mean of p_i; "max": the largest; "noisy_or": 1 - prod(1 - p_i), the chance that at
    least one of independent findings is there, which grows with the number of images;
    "most_confident": the p_i that is farthest from 1/2, of two as far the larger; "product": the
    product of experts, whose log-odds are the sum of theirs: equal images make it surer. "top_k":
    the mean of the k largest p_i (of all where there are fewer); "lse_r": (1/r) ln mean exp(r p_i),
    from the mean (r near 0) to the largest; "norm_p": (mean p_i^p)^(1/p); "softmax_a": the mean
    weighted by exp(a p_i). All is done on log-odds, so that probabilities near 0 and 1 do not
    saturate.

    Args:
        log_odds: log(p / (1 - p)) of each image, float64 (N, L).
        units: Unit of each image, int64 (N,), every number from 0 to U - 1.
        how: One of `WAYS`, or of `NUMBERED` with a number.

    Returns:
        Log-odds of each unit, float64 (U, L); of a unit of one image those of the image, to
        rounding.

    Example:
        >>> p = np.array([[0.1], [0.4], [0.7]])
        >>> z = joined_log_odds(np.log(p / (1 - p)), np.zeros(3, np.int64), "noisy_or")
        >>> round(float(1 / (1 + np.exp(-z[0, 0]))), 3)
        0.838
    """
    given, starts = _by_unit(log_odds, units)
    if how not in WAYS:
        name, _, number = how.partition("_")
        return joined_by_number(given, starts, name, float(number))
    if how == "max":
        largest: Float64Array = np.maximum.reduceat(given, starts)
        return largest
    if how == "product":
        summed: Float64Array = np.add.reduceat(given, starts)
        return summed
    if how == "most_confident":
        high, low = np.maximum.reduceat(given, starts), np.minimum.reduceat(given, starts)
        return np.where(high >= -low, high, low)
    if how == "mean":
        present, absent = -np.logaddexp(0.0, -given), -np.logaddexp(0.0, given)
        return log_sums(present, starts) - log_sums(absent, starts)
    return _noisy_or(given, starts)


def joined_log_probabilities(logs: Float64Array, units: Int64Array, how: How) -> Float64Array:
    """Join the probabilities of classes of which an image shows one.

    "most_confident": those of the image whose largest probability is largest, of several each class
    its largest; "product": log of the product over the images, for a softmax.

    Args:
        logs: Logarithm of the probability of each class, float64 (N, K).
        units: As for `joined_log_odds`.
        how: One of the two.

    Returns:
        float64 (U, K), for a softmax.

    Example:
        >>> logs = np.log([[0.6, 0.4], [0.1, 0.9]])
        >>> joined = joined_log_probabilities(logs, np.zeros(2, np.int64), "most_confident")
        >>> np.exp(joined).round(6).tolist()
        [[0.1, 0.9]]
    """
    given, starts = _by_unit(logs, units)
    if how == "product":
        summed: Float64Array = np.add.reduceat(given, starts)
        return summed
    surest = given.max(axis=1)
    counts = np.diff(np.r_[starts, len(given)])
    chosen = surest == np.repeat(np.maximum.reduceat(surest, starts), counts)
    found: Float64Array = np.maximum.reduceat(np.where(chosen[:, None], given, -np.inf), starts)
    return found


def _by_unit(rows: Float64Array, units: Int64Array) -> tuple[Float64Array, Int64Array]:
    """Return the rows unit by unit, and where each unit starts."""
    order = np.argsort(units, kind="stable")
    return rows[order], np.flatnonzero(np.r_[True, np.diff(units[order]) > 0])


def _noisy_or(log_odds: Float64Array, starts: Int64Array) -> Float64Array:
    """Return log(exp(t) - 1) of t = sum of log(1 + exp(z_i)): 1 - prod(1 - p_i) = 1 - exp(-t)."""
    each = np.logaddexp(0.0, log_odds)
    with np.errstate(divide="ignore"):
        logs = np.where(log_odds < -30, log_odds, np.log(each))
    total, log_total = np.add.reduceat(each, starts), log_sums(logs, starts)
    small = np.minimum(total, 1.0)
    ratio = np.divide(np.expm1(small), small, out=np.ones_like(small), where=small > 0)
    large = np.maximum(total, 1.0)
    return np.where(total < 1, log_total + np.log(ratio), large + np.log(-np.expm1(-large)))


def bag_size_bias(probability: float, counts: Int64Array, how: How) -> Float64Array:
    """Return what n images of one and the same probability are joined to, for each n.

    A way that gives a larger number for more images calls large units ill for their size: compare
    it only between units of equally many images.

    Args:
        probability: Of each image, inside (0, 1).
        counts: Numbers of images n.
        how: As for `joined_log_odds`.

    Returns:
        Probability of the unit, one for each n.

    Example:
        >>> bag_size_bias(0.05, np.array([1, 10]), "noisy_or").round(3).tolist()
        [0.05, 0.401]
    """
    units = np.repeat(np.arange(len(counts)), counts)
    odds = np.full((len(units), 1), np.log(probability / (1 - probability)))
    joined: Float64Array = 1 / (1 + np.exp(-joined_log_odds(odds, units, how)[:, 0]))
    return joined
