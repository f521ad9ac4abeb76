"""p-values by permutation, exact when labels can be exchanged; images of one patient stay together.

p = (1 + how many permuted statistics are at least the observed one) / (1 + how many were drawn)
(Phipson and Smyth, Statistical Applications in Genetics 9 (2010) 39): it is never 0.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array

TIE = 1e-9
"""Relative difference below which two statistics are equal: rounding must not decide."""


def permuted_windows(
    reference: int,
    window: int,
    count: int,
    rng: np.random.Generator,
    groups: Int64Array | None = None,
) -> NDArray[np.bool_]:
    """Draw which rows stand for the window: bool (count, reference + window).

    Args:
        reference: Rows of the reference, which stand first.
        window: Rows of the window.
        count: How many permutations.
        rng: Source of the draws.
        groups: int64 (reference + window,), the patient of each row: all rows of a patient move
            together, as many patients as the window has; None where each row stands alone. A
            patient of both samples counts as two.
    """
    total = reference + window
    inside = np.arange(total) >= reference
    if groups is None:
        units = np.arange(total)
    else:
        _, units = np.unique(2 * np.asarray(groups) + inside, return_inverse=True)
    chosen = len(np.unique(units[inside]))
    order = rng.random((count, int(units.max()) + 1)).argsort(axis=1)
    taken = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(taken, order[:, :chosen], True, axis=1)
    return taken[:, units]


def permutation_p(observed: float, permuted: Float64Array) -> float:
    """Return (1 + #) / (1 + B); equal statistics count as at least the observed one.

    Args:
        observed: Statistic, larger where the samples differ more.
        permuted: float64 (B,).

    Example:
        >>> permutation_p(3.0, np.array([1.0, 2.0, 3.0]))
        0.5
    """
    slack = TIE * max(abs(observed), float(np.abs(permuted).max(initial=0.0)))
    return (1 + int((permuted >= observed - slack).sum())) / (1 + len(permuted))


def max_statistic(observed: Float64Array, permuted: Float64Array) -> Float64Array:
    """Adjust the p-values of K streams by the largest of their standardised statistics.

    Keeps the dependence between streams: the chance of any false alarm is the level, whatever it
    is. Each statistic is standardised by mean and spread over all B + 1 draws, the observed one
    included, so that the test stays exact.

    Args:
        observed: float64 (K,).
        permuted: float64 (B, K), the same permutation in a row.

    Returns:
        float64 (K,), each at least 1 / (B + 1).

    References:
        Westfall and Young, Resampling-Based Multiple Testing (1993), single step.
    """
    every = np.concatenate([observed[None], permuted])
    spread = every.std(axis=0)
    z = (every - every.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    largest = z.max(axis=1)
    return np.array([permutation_p(float(own), largest[1:]) for own in z[0]])


def bonferroni(values: Sequence[float]) -> list[float]:
    """Adjust p-values of K streams: K p, at most 1.

    Example:
        >>> bonferroni([0.01, 0.4, 0.03])
        [0.03, 1.0, 0.09]
    """
    return [min(1.0, round(value * len(values), 15)) for value in values]
