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

    What an image gets depends on its kind and on how many steps are at or below it, a step being a
    run of equal scores that holds a positive: sums run over steps, and images look them up.

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
    order += count * np.arange(classes)[:, None]
    truth = np.ascontiguousarray(truths.T).reshape(-1)[order]
    steps, index = _steps(columns.reshape(-1)[order], truth)
    right, hit = np.zeros(classes * count), np.flatnonzero(truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares, influence, precisions, excess = _levels(steps, count)
        right[hit] = shares[index.reshape(-1)[hit]]
        areas: Float64Array = right.reshape(classes, count).sum(axis=1) / steps.positives
    undefined = (steps.positives == 0) | (steps.positives == count)
    areas[undefined] = precisions[undefined] = excess[undefined] = np.nan
    place = np.empty(classes * count, np.int64)
    place[order] = index
    place = place.reshape(classes, count)
    return Curves(areas, precisions, shares[place], influence[place], excess)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Runs of equal scores that hold a positive, in all columns, from the lowest score up.

    Attributes:
        row: int64 (Q,), column of scores.
        below: int64 (Q,), images of the column below the run.
        lengths: int64 (Q,), images of the run.
        hits: float64 (Q,), positives among these.
        positives: float64 (K,), of the column.
    """

    row: NDArray[np.int64]
    below: NDArray[np.int64]
    lengths: NDArray[np.int64]
    hits: Float64Array
    positives: Float64Array


def _steps(ordered: Float64Array, truth: NDArray[np.bool_]) -> tuple[_Steps, NDArray[np.int64]]:
    """List the steps of sorted columns (K, N), and where each image looks up what it gets.

    Returns:
        The steps; and int64 (K, N), places in the tables of `_levels`.
    """
    classes, count = ordered.shape
    new = np.ones((classes, count), bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=new[:, 1:])
    starts = np.append(np.flatnonzero(new), truth.size)
    run = np.cumsum(new) - 1
    hits = np.bincount(run[np.flatnonzero(truth)], minlength=len(starts) - 1)
    step = np.flatnonzero(hits)
    own, row = starts[step], starts[step] // count
    positives = truth.sum(axis=1, dtype=np.float64)
    lengths = starts[step + 1] - own
    steps = _Steps(row, own - row * count, lengths, hits[step].astype(np.float64), positives)
    reached = np.cumsum(hits > 0)
    reached += (hits > 0) * (len(step) + classes)
    index = reached[run].reshape(classes, count) + np.arange(classes)[:, None]
    index += truth * (len(step) + classes)
    return steps, index


def _levels(
    steps: _Steps, count: int
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Compute what images get, for each column with as many steps below as there may be.

    Returns:
        Tables of `shares` and `precision_influence`, each for negatives between steps, negatives in
        a step and positives, float64 (3 (Q + K),); then `precisions` and `precision_excess`.
    """
    row, hits, positives = steps.row, steps.hits, steps.positives
    own, classes = positives[row], len(positives)
    before = np.cumsum(hits) - hits - (np.cumsum(positives) - positives)[row]
    found, above = own - before, count - steps.below  # from this score up: positives, images
    gained = hits * found / above / own
    precisions = np.bincount(row, gained, classes).astype(np.float64)
    itself = np.bincount(row, (hits / own - gained) / np.maximum(above - 1, 1), classes)
    gains = _within(hits * (above - found) / above**2, row, classes)[0]
    losses, none = _within(hits * found / above**2, row, classes)
    hit = (found / above - precisions[row] + gains) / own
    right = (steps.below - before + (steps.lengths - hits) / 2) / (count - positives)[row]
    first = np.searchsorted(row, np.arange(classes))
    place = np.arange(1, len(row) + 1) + row  # in tables that start each column with no step
    tables = np.zeros((2, 3, len(row) + classes))
    tables[:, 0, first + np.arange(classes)] = 1 - 0 / positives, count * (-none / positives)
    tables[:, 0, place] = 1 - (before + hits) / own, count * (-losses / own)
    tables[:, 1, place] = 1 - (before + hits / 2) / own, tables[1, 0, place]
    tables[:, 2, place] = right, count * hit
    shares, influence = tables.reshape(2, -1)
    # sums of steps may round to more than 1
    return shares, influence, np.minimum(precisions, 1.0), itself.astype(np.float64)


def _within(
    terms: Float64Array, row: NDArray[np.int64], classes: int
) -> tuple[Float64Array, Float64Array]:
    """Add up from the lowest score of each column: up to each step, and before the first one."""
    total = np.cumsum(terms)
    base = np.r_[0.0, np.cumsum(np.bincount(row, weights=terms, minlength=classes))[:-1]]
    first = np.searchsorted(row, np.arange(classes))
    return total - base[row], np.r_[0.0, total][first] - base
