"""Areas under all one-versus-rest curves of a cell from one sort."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array


@dataclass(frozen=True, slots=True)
class Curves:
    """What the order of the scores says of each class; NaN without positives or negatives.

    Attributes:
        areas: float64 (K,), under the ROC curve, ties one half.
        precisions: float64 (K,), average precision.
        shares: float64 (K, N): the share of the other kind that an image is right against. A
            positive image is right against the negatives below it, a negative one against the
            positives above it.
        precision_influence: float64 (K, N): what an image adds to the average precision, mean 0.
        precision_excess: float64 (K,): what average precision gains because each positive counts
            itself among the images that score at least as high, (1 - precision) / (images - 1).
    """

    areas: Float64Array
    precisions: Float64Array
    shares: Float64Array
    precision_influence: Float64Array
    precision_excess: Float64Array


def curves(scores: Float64Array, truths: NDArray[np.bool_]) -> Curves:
    """Sort each column of scores once.

    Args:
        scores: float64 (N, K).
        truths: bool (N, K).

    Example:
        >>> found = curves(np.array([[0.2], [0.6], [0.6]]), np.array([[False], [False], [True]]))
        >>> found.areas.tolist(), found.precisions.tolist(), found.shares.tolist()
        ([0.75], [0.5], [[1.0, 0.5, 0.75]])
    """
    count, classes = scores.shape
    columns = np.ascontiguousarray(scores.T)
    order = np.argsort(columns, axis=1)
    ordered = np.take_along_axis(columns, order, axis=1)
    truth = np.take_along_axis(np.ascontiguousarray(truths.T), order, axis=1)
    new = np.ones((classes, count), bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=new[:, 1:])
    starts = np.flatnonzero(new)  # of runs of one score, in all columns
    lengths = np.diff(starts, append=classes * count)
    row = starts // count
    positives = truth.sum(axis=1, dtype=np.float64)
    negatives = count - positives
    runs = np.add.reduceat(truth.reshape(-1).astype(np.float64), starts)
    before = np.cumsum(runs) - runs - (np.cumsum(positives) - positives)[row]
    place = starts - row * count
    with np.errstate(divide="ignore", invalid="ignore"):
        below = (place - before + (lengths - runs) / 2) / negatives[row]
        above = 1 - (before + runs / 2) / positives[row]
        steps = runs * (positives[row] - before) / (count - place) / positives[row]
        precisions = np.bincount(row, weights=steps, minlength=classes).astype(np.float64)
        sorted_shares = np.where(
            truth.reshape(-1), np.repeat(below, lengths), np.repeat(above, lengths)
        ).reshape(classes, count)
        areas: Float64Array = np.where(truth, sorted_shares, 0.0).sum(axis=1) / positives
        above_all = count - place  # images that score at least this
        found = positives[row] - before  # positives among them
        gains = _within(runs * (above_all - found) / above_all**2, row, classes)
        losses = _within(runs * found / above_all**2, row, classes)
        hit = (found / above_all - precisions[row] + gains) / positives[row]
        missed = -losses / positives[row]
        own = (runs / positives[row] - steps) / np.maximum(above_all - 1, 1)
        excess = np.bincount(row, weights=own, minlength=classes).astype(np.float64)
        sorted_influence = count * np.where(
            truth.reshape(-1), np.repeat(hit, lengths), np.repeat(missed, lengths)
        ).reshape(classes, count)
    shares, influence = np.empty((classes, count)), np.empty((classes, count))
    np.put_along_axis(shares, order, sorted_shares, axis=1)
    np.put_along_axis(influence, order, sorted_influence, axis=1)
    undefined = (positives == 0) | (negatives == 0)
    areas[undefined] = precisions[undefined] = np.nan
    return Curves(areas, precisions, shares, influence, excess)


def _within(terms: Float64Array, row: NDArray[np.int64], classes: int) -> Float64Array:
    """Add up from the lowest score of each column: what runs up to this one have in sum."""
    total = np.cumsum(terms)
    ends = np.cumsum(np.bincount(row, weights=terms, minlength=classes))
    result: Float64Array = total - np.r_[0.0, ends[:-1]][row]
    return result
