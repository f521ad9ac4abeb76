"""Tests of vectors by their means, and by whether a classifier can tell two samples apart."""

from math import comb

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.metrics.classification import area_under_roc
from medrobust.types import Float64Array, Int64Array

from .kernels import TwoSample
from .permutation import permutation_p, permuted_windows

ENOUGH = 1.0
"""Penalty on the squared weights of the classifier, on standardised features."""


def mahalanobis_test(
    mean: Float64Array, covariance: Float64Array, window: Float64Array
) -> TwoSample:
    """Return n (x - mu)' S^-1 (x - mu) of a window's mean: chi-squared for a known reference.

    Args:
        mean: float64 (D,), of a reference that is large against D.
        covariance: float64 (D, D).
        window: float64 (N, D).
    """
    from scipy import stats

    off = window.mean(axis=0) - mean
    statistic = float(len(window) * off @ np.linalg.solve(covariance, off))
    return TwoSample(statistic, float(stats.chi2.sf(statistic, len(mean))))


def hotelling_test(reference: Float64Array, window: Float64Array) -> TwoSample:
    """Return Hotelling's F of two samples: exact for Gaussians of one covariance.

    F = (m+n-d-1) / ((m+n-2) d) mn/(m+n) D^2 ~ F(d, m+n-d-1).

    Raises:
        InvalidDataError: If m + n <= d + 1.
    """
    from scipy import stats

    m, n, d = len(reference), len(window), reference.shape[1]
    if m + n <= d + 1:
        raise InvalidDataError(
            f"Hotelling's test of {d} components needs more than {d + 1} studies, and has {m + n}: "
            f"take fewer components."
        )
    off = window.mean(axis=0) - reference.mean(axis=0)
    scatter = sum(
        (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0)) for rows in (reference, window)
    )
    squared = float(off @ np.linalg.solve(np.atleast_2d(scatter) / (m + n - 2), off))
    statistic = (m + n - d - 1) / ((m + n - 2) * d) * m * n / (m + n) * squared
    return TwoSample(statistic, float(stats.f.sf(statistic, d, m + n - d - 1)))


def classifier_test(
    reference: Float64Array,
    window: Float64Array,
    rng: np.random.Generator,
    *,
    groups: Int64Array | None = None,
    permutations: int = 0,
) -> TwoSample:
    """Train a logistic regression on one half of the patients, and test on the other.

    The statistic is the area under the ROC curve of "this study is of the window", 1/2 where
    nothing can be told. Its p-value is that of Mann and Whitney; with permutations, the labels of
    whole patients are exchanged and the classifier is trained anew each time, which also holds
    where patients have several images.

    Args:
        reference: float64 (M, D).
        window: float64 (N, D).
        rng: Source of the split and of permutations.
        groups: int64 (M + N,), the patient of each row: no patient is in both halves.
        permutations: How many; 0: the closed p-value.

    References:
        Lopez-Paz and Oquab, arXiv:1610.06545.
    """
    rows = np.concatenate([reference, window]).astype(np.float64)
    truth = np.arange(len(rows)) >= len(reference)
    units = np.arange(len(rows)) if groups is None else np.unique(groups, return_inverse=True)[1]
    training = (rng.permutation(int(units.max()) + 1) % 2 == 0)[units]
    area = _separation(rows, truth, training)
    if not permutations:
        return TwoSample(area, _mann_whitney(area, truth[~training]))
    drawn = permuted_windows(len(reference), len(window), permutations, rng, groups)
    permuted = np.array([_separation(rows, own, training) for own in drawn])
    return TwoSample(area, permutation_p(area, permuted))


def accuracy_p(right: int, count: int) -> float:
    """Return the chance of at least `right` of `count` right answers by guessing between two.

    Example:
        >>> accuracy_p(9, 10)
        0.0107421875
    """
    return sum(comb(count, k) for k in range(right, count + 1)) / float(2**count)


def _separation(rows: Float64Array, truth: NDArray[np.bool_], training: NDArray[np.bool_]) -> float:
    """Return the area on the rows that were not trained on; 1/2 where a half lacks a sample."""
    if len(np.unique(truth[training])) < 2:
        return 0.5
    weights = logistic_weights(rows[training], truth[training])
    scores = rows[~training] @ weights[:-1] + weights[-1]
    area = area_under_roc(scores, truth[~training])
    return 0.5 if area is None else area


def _mann_whitney(area: float, truth: NDArray[np.bool_]) -> float:
    from scipy import stats

    ones, zeros = int(truth.sum()), int((~truth).sum())
    if not ones or not zeros:
        return 1.0
    spread = np.sqrt((ones + zeros + 1) / (12 * ones * zeros))
    return float(stats.norm.sf((area - 0.5) / spread))


def logistic_weights(rows: Float64Array, truth: NDArray[np.bool_]) -> Float64Array:
    """Fit a logistic regression with a squared penalty: float64 (D + 1,), the intercept last.

    Features are standardised for the penalty; the weights are those of the features as given.
    """
    from scipy import optimize

    center, spread = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    x = np.c_[(rows - center) / scale, np.ones(len(rows))]
    sign = np.where(truth, 1.0, -1.0)

    def loss(weights: Float64Array) -> tuple[float, Float64Array]:
        margins = sign * (x @ weights)
        slope = -sign / (1 + np.exp(np.clip(margins, -500, 500)))
        penalty = ENOUGH * np.r_[weights[:-1], 0.0]
        value = np.logaddexp(0, -margins).sum() + 0.5 * float(penalty @ weights)
        return float(value), x.T @ slope + penalty

    fitted = optimize.minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    own = fitted[:-1] / scale
    weights: Float64Array = np.r_[own, fitted[-1] - own @ center]
    return weights
