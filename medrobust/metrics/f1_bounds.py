"""The 95 % interval of macro F1, which holds for a model that hardly answers some class, too."""

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Int64Array

from .influence import f1_influence
from .intervals import Bounds, logit_interval, recovered, share_interval

FEWEST_HITS = 5
"""Images of a class answered rightly, of every class, from which on influence values tell all."""


def f1_interval(
    value: float,
    predicted: Int64Array,
    labels: Int64Array,
    groups: Int64Array | None,
    *,
    smallest: float,
) -> Bounds:
    """Return the interval of macro F1, by its influence values over the logit.

    A class with hardly an answer that is right has hardly any influence, though its F1 may be far
    from 0: where one has fewer than `FEWEST_HITS`, it is on each side the wider of that and MOVER
    over the classes. The F1 of a class is 2 J / (1 + J), J being the share of answers that are
    right among the images that have the class or are said to, and that share has Wilson's interval.

    Args:
        value: Macro F1 over the classes that occur or are predicted.
        predicted: int64 (N,) or (N, L).
        labels: int64 (N,) or (N, L).
        groups: int64 (N,) from 0, or None.
        smallest: Number of images (or patients) that a perfect value rests on.

    Example:
        >>> labels = np.repeat([0, 1], 5)
        >>> low, high = f1_interval(1 / 3, 0 * labels, labels, None, smallest=5)
        >>> round(low, 3), round(high, 3)
        (0.19, 0.652)
    """
    influence = f1_influence(predicted, labels, groups)
    low, high = logit_interval(value, influence, groups, smallest=smallest)
    names = _names(predicted, labels)
    if not len(names) or _fewest_hits(predicted, labels, names) >= FEWEST_HITS:
        return low, high
    scores, bounds = [], []
    for name in names:
        had, said = _of(labels, name), _of(predicted, name)
        among = had | said
        right = (had & said)[among].astype(float)
        own = share_interval(right, None if groups is None else groups[among])
        scores.append(_f1(float(right.mean())))
        bounds.append((_f1(own[0]), _f1(own[1])))
    below, above = recovered(scores, bounds)
    return min(low, max(0.0, below)), max(high, min(1.0, above))


def _names(predicted: Int64Array, labels: Int64Array) -> Int64Array:
    """Return the classes (or labels) that occur or are predicted: int64 (C,)."""
    if labels.ndim == 2:
        return np.flatnonzero((labels == 1).any(axis=0) | (predicted == 1).any(axis=0))
    return np.union1d(labels, predicted)


def _fewest_hits(predicted: Int64Array, labels: Int64Array, names: Int64Array) -> int:
    """Return the least number of images of a class that are answered rightly."""
    if labels.ndim == 2:
        return int(((labels == 1) & (predicted == 1)).sum(axis=0)[names].min())
    hits = np.bincount(labels[predicted == labels], minlength=int(names.max()) + 1)
    return int(hits[names].min())


def _of(answers: Int64Array, name: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = answers[:, name] == 1 if answers.ndim == 2 else answers == name
    return found


def _f1(share: float) -> float:
    return 2 * share / (1 + share)
