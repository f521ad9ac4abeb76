"""One probability from those of several images: of a patient, a lesion, a study."""

from typing import Literal, TypeAlias

import numpy as np

from medrobust.types import Float64Array, Int64Array

How: TypeAlias = Literal["mean", "max", "noisy_or"]
"""How probabilities are joined."""

WAYS: tuple[How, ...] = ("mean", "max", "noisy_or")


def joined_log_odds(log_odds: Float64Array, units: Int64Array, how: How) -> Float64Array:
    """Join the probabilities p_i of the images of each unit.

    "mean": the mean of p_i; "max": the largest; "noisy_or": 1 - prod(1 - p_i), the chance that at
    least one of independent findings is there, which grows with the number of images. All is done
    on log-odds, so that probabilities near 0 and 1 do not saturate.

    Args:
        log_odds: log(p / (1 - p)) of each image, float64 (N, L).
        units: Unit of each image, int64 (N,), every number from 0 to U - 1.
        how: One of the three.

    Returns:
        Log-odds of each unit, float64 (U, L); of a unit of one image those of the image, to
        rounding.

    Example:
        >>> p = np.array([[0.1], [0.4], [0.7]])
        >>> z = joined_log_odds(np.log(p / (1 - p)), np.zeros(3, np.int64), "noisy_or")
        >>> round(float(1 / (1 + np.exp(-z[0, 0]))), 3)
        0.838
    """
    order = np.argsort(units, kind="stable")
    given = log_odds[order]
    starts = np.flatnonzero(np.r_[True, np.diff(units[order]) > 0])
    if how == "max":
        largest: Float64Array = np.maximum.reduceat(given, starts)
        return largest
    if how == "mean":
        present, absent = -np.logaddexp(0.0, -given), -np.logaddexp(0.0, given)
        return _log_sums(present, starts) - _log_sums(absent, starts)
    return _noisy_or(given, starts)


def _noisy_or(log_odds: Float64Array, starts: Int64Array) -> Float64Array:
    """Return log(exp(t) - 1) of t = sum of log(1 + exp(z_i)): 1 - prod(1 - p_i) = 1 - exp(-t)."""
    each = np.logaddexp(0.0, log_odds)
    with np.errstate(divide="ignore"):
        logs = np.where(log_odds < -30, log_odds, np.log(each))
    total, log_total = np.add.reduceat(each, starts), _log_sums(logs, starts)
    small = np.minimum(total, 1.0)
    ratio = np.divide(np.expm1(small), small, out=np.ones_like(small), where=small > 0)
    large = np.maximum(total, 1.0)
    return np.where(total < 1, log_total + np.log(ratio), large + np.log(-np.expm1(-large)))


def _log_sums(logs: Float64Array, starts: Int64Array) -> Float64Array:
    """Return log(sum of exp) over each run of rows that begins at `starts`."""
    largest = np.maximum.reduceat(logs, starts)
    counts = np.diff(np.r_[starts, len(logs)])
    terms = np.exp(logs - np.repeat(largest, counts, axis=0))
    sums: Float64Array = largest + np.log(np.add.reduceat(terms, starts))
    return sums
