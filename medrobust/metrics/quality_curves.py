"""What a number of an image says about the answer to it: ranks, and chances by its size."""

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array

from .intervals import Bounds, mean_interval


def ranks(values: Float64Array) -> Float64Array:
    """Return mid-ranks from 1, ties sharing their mean.

    Example:
        >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
        [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - (counts - 1) / 2)[place.reshape(-1)]).astype(np.float64)


def rank_correlation(
    values: Float64Array, wrong: NDArray[np.bool_], groups: Int64Array | None = None
) -> tuple[float, Bounds] | None:
    """Return Spearman's correlation of a measure with being wrong, and its interval over patients.

    None where either is the same for all images.

    Args:
        values: float64 (N,), finite.
        wrong: bool (N,).
        groups: int64 (N,) from 0, or None.
    """
    x, y = (_standard(ranks(part)) for part in (values, wrong.astype(np.float64)))
    if x is None or y is None:
        return None
    value = float((x * y).mean())
    influence = x * y - value * (x**2 + y**2) / 2
    return value, mean_interval(influence, groups, value=value, limits=(-1.0, 1.0))


def _standard(values: Float64Array) -> Float64Array | None:
    spread = float(values.std())
    return None if spread <= 1e-12 * len(values) else (values - values.mean()) / spread


def failure_area(
    values: Float64Array, wrong: NDArray[np.bool_], groups: Int64Array | None = None
) -> tuple[float, Bounds] | None:
    """Return how often a wrong answer's image has the larger value than a right one's; ties half.

    0.5 says nothing; below it, small values go with wrong answers. None where one kind is missing.

    Args:
        values: float64 (N,).
        wrong: bool (N,).
        groups: int64 (N,) from 0, or None.
    """
    count, failed = len(wrong), int(wrong.sum())
    right = count - failed
    if not failed or not right:
        return None
    among, own = ranks(values), np.empty(count)
    for kind in (wrong, ~wrong):
        own[kind] = ranks(values[kind])
    below = among - own  # of the other kind, ties half
    area = float(below[wrong].sum() / failed / right)
    influence = np.where(
        wrong,
        (below / right - area) * count / failed,
        (1 - below / failed - area) * count / right,
    )
    return area, mean_interval(influence, groups, value=area, limits=(0.0, 1.0))


def isotonic(values: Float64Array, right: NDArray[np.bool_], *, rising: bool) -> Float64Array:
    """Return the monotone chance of a right answer that fits best, by pool-adjacent-violators.

    Args:
        values: float64 (N,).
        right: bool (N,).
        rising: Whether larger values are better.

    Returns:
        float64 (N,), in the order given.

    Example:
        >>> values, right = np.array([1.0, 2.0, 3.0]), np.array([False, True, False])
        >>> isotonic(values, right, rising=True).tolist()
        [0.0, 0.5, 0.5]
    """
    sign = 1.0 if rising else -1.0
    levels, place = np.unique(sign * values, return_inverse=True)
    place = place.reshape(-1)
    weights = np.bincount(place).astype(np.float64)
    means = np.bincount(place, weights=right) / weights
    blocks: list[tuple[float, float, int]] = []
    for mean, weight in zip(means.tolist(), weights.tolist(), strict=True):
        block = (mean, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            before = blocks.pop()
            total = before[1] + block[1]
            block = (
                (before[0] * before[1] + block[0] * block[1]) / total,
                total,
                before[2] + block[2],
            )
        blocks.append(block)
    fitted = np.repeat([b[0] for b in blocks], [b[2] for b in blocks])
    assert len(fitted) == len(levels)
    return np.asarray(fitted[place], np.float64)


STEPS = 50


def logistic(values: Float64Array, right: NDArray[np.bool_]) -> Float64Array:
    """Return the chance of a right answer by logistic regression on a standardised value.

    A ridge of one image keeps the slope finite where right and wrong answers are apart.

    Args:
        values: float64 (N,), finite.
        right: bool (N,).
    """
    x = _standard(values)
    if x is None:
        return np.full(len(values), float(right.mean()))
    design = np.stack([np.ones(len(x)), x], axis=1)
    weights = np.zeros(2)
    ridge = np.diag([1e-9, 1.0])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (right - chance) - ridge @ weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature, slope)
        weights = weights + np.clip(step, -4, 4)
        if np.abs(step).max() < 1e-9:
            break
    return np.asarray(1 / (1 + np.exp(-np.clip(design @ weights, -30, 30))))
