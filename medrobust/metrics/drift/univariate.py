"""One number or one category a study: how far a window lies from a reference.

Distances take samples or shares; tests give the statistic and its p-value under equal
distributions of independent studies. Missing values are not passed over in silence: callers drop
them, or count them as a category of their own.
"""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.metrics.checks import check_share
from medrobust.types import Float64Array, Int64Array

MISSING = "(missing)"
"""The category of values that are not there."""


def ks_distance(reference: Float64Array, window: Float64Array) -> float:
    """Return the largest difference of the two distribution functions.

    Args:
        reference: float64 (M,), finite.
        window: float64 (N,), finite.

    Example:
        >>> ks_distance(np.arange(5.0), np.array([0.5, 1.5, 2.5, 7.0]))
        0.25
    """
    first, second = np.sort(reference), np.sort(window)
    places = np.concatenate([first, second])
    own = np.searchsorted(first, places, side="right") / len(first)
    other = np.searchsorted(second, places, side="right") / len(second)
    return float(np.abs(own - other).max())


def resampled_ks(
    reference: Float64Array, window: Float64Array, drawn: NDArray[np.int64]
) -> Float64Array:
    """Return the KS distance of each resample of a window, sorted once for all of them.

    Args:
        reference: float64 (M,), sorted, finite.
        window: float64 (N,); values that are not finite are left out of each resample.
        drawn: int64 (B, R) rows of the window.

    Returns:
        float64 (B,), NaN where a resample has no value.
    """
    known = np.isfinite(window)
    places, inverse = np.unique(window[known], return_inverse=True)
    codes = np.full(len(window), len(places))
    codes[known] = inverse
    counts = np.stack([np.bincount(codes[rows], minlength=len(places) + 1) for rows in drawn])
    counts = counts[:, :-1]
    total = counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        upto = counts.cumsum(axis=1) / total
        before = upto - counts / total
    own = np.searchsorted(reference, places, side="right") / len(reference)
    own_before = np.searchsorted(reference, places, side="left") / len(reference)
    apart = np.maximum(np.abs(upto - own), np.abs(before - own_before))
    found: Float64Array = apart.max(axis=1, initial=-np.inf)
    return np.where(total[:, 0] > 0, found, np.nan)


def ks_test(reference: Float64Array, window: Float64Array) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance and its p-value: exact for small samples.

    References:
        Hodges, Arkiv för Matematik 3 (1958) 469, as `scipy.stats.ks_2samp` has it.

    Example:
        >>> round(ks_test(np.arange(5.0), np.array([0.5, 1.5, 2.5, 7.0]))[1], 10)
        0.9920634921
    """
    from scipy import stats

    found = stats.ks_2samp(reference, window)
    return float(found.statistic), float(found.pvalue)


def ks_critical(reference: int, window: int, level: float) -> float:
    """Return the asymptotic distance that is exceeded with chance `level`: K^-1 sqrt((m+n)/(mn)).

    Args:
        reference: Size m.
        window: Size n.
        level: Such as 0.1.

    Example:
        >>> round(ks_critical(1000, 150, 0.1), 10)
        0.107159512
    """
    from scipy import special

    check_share("level", level)
    return float(special.kolmogi(level)) * sqrt((reference + window) / (reference * window))


def category_counts(
    values: Iterable[str], categories: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Int64Array]:
    """Count categories; an empty text counts as `MISSING`.

    Args:
        values: One a study.
        categories: Count these, and what else occurs after them; None: those that occur, sorted.

    Example:
        >>> category_counts(["PA", "AP", "", "PA"])
        (('(missing)', 'AP', 'PA'), array([1, 1, 2]))
    """
    texts = [value or MISSING for value in values]
    occurring = sorted(set(texts))
    names = tuple(dict.fromkeys([*(categories or ()), *occurring]))
    place = {name: index for index, name in enumerate(names)}
    codes = np.array([place[text] for text in texts], dtype=np.int64)
    return names, np.bincount(codes, minlength=len(names)).astype(np.int64)


def chi2_test(
    reference: NDArray[Any], window: NDArray[Any], *, corrected: bool = True
) -> tuple[float, float, int]:
    """Test whether two samples have the same shares of K categories.

    Args:
        reference: Counts (K,).
        window: Counts (K,) of the same categories.
        corrected: Yates' correction, which acts on two categories only.

    Returns:
        Chi-squared, its p-value and its degrees of freedom; (0, 1, 0) where only one category
        occurs.

    Raises:
        InvalidDataError: If one of the samples is empty.

    Example:
        >>> round(chi2_test(np.array([30, 20]), np.array([10, 15]))[0], 10)
        1.9352678571
    """
    from scipy import stats

    _check_counts(reference, window)
    occurring = (reference + window) > 0
    if occurring.sum() < 2:
        return 0.0, 1.0, 0
    table = np.stack([reference[occurring], window[occurring]])
    found = stats.chi2_contingency(table, correction=corrected)
    return float(found.statistic), float(found.pvalue), int(found.dof)


def hellinger(reference: NDArray[Any], window: NDArray[Any]) -> float:
    """Return sqrt(1/2 sum (sqrt p - sqrt q)^2) of two vectors of counts or shares, in [0, 1].

    Example:
        >>> round(hellinger(np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])), 10)
        0.2598931857
    """
    first, second = _shares(reference, window)
    return float(np.sqrt(0.5 * ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()))


def population_stability(
    reference: NDArray[Any], window: NDArray[Any], *, added: float = 0.0
) -> float:
    """Return the population stability index, sum (p - q) ln(p / q).

    Args:
        reference: Counts or shares (K,).
        window: As `reference`.
        added: Added to every count, so that an empty category does not make it infinite.

    Example:
        >>> round(population_stability(np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])), 10)
        0.5497744391
    """
    first, second = _shares(reference + added, window + added)
    different = first != second
    p, q = first[different], second[different]
    with np.errstate(divide="ignore"):
        return float(((p - q) * (np.log(p) - np.log(q))).sum())


def wasserstein(reference: Float64Array, window: Float64Array) -> float:
    """Return the Wasserstein-1 distance, the area between the two distribution functions.

    Example:
        >>> round(wasserstein(np.arange(5.0), np.array([0.5, 1.5, 2.5, 7.0])), 10)
        1.175
    """
    first, second = np.sort(reference), np.sort(window)
    places = np.sort(np.concatenate([first, second]))
    own = np.searchsorted(first, places[:-1], side="right") / len(first)
    other = np.searchsorted(second, places[:-1], side="right") / len(second)
    return float((np.abs(own - other) * np.diff(places)).sum())


def energy_distance(reference: Float64Array, window: Float64Array) -> float:
    """Return D^2 = 2 E d(X, Y) - E d(X, X') - E d(Y, Y') over all pairs.

    Scipy returns its square root. Twice the squared area between the two distribution functions.

    Example:
        >>> round(energy_distance(np.arange(5.0), np.array([0.5, 1.5, 2.5, 7.0])) ** 0.5, 10)
        0.6982120022
    """
    first, second = np.sort(reference), np.sort(window)
    places = np.sort(np.concatenate([first, second]))
    own = np.searchsorted(first, places[:-1], side="right") / len(first)
    other = np.searchsorted(second, places[:-1], side="right") / len(second)
    return float(2 * ((own - other) ** 2 * np.diff(places)).sum())


def _shares(reference: NDArray[Any], window: NDArray[Any]) -> tuple[Float64Array, Float64Array]:
    _check_counts(reference, window)
    return reference / reference.sum(), window / window.sum()


def _check_counts(reference: NDArray[Any], window: NDArray[Any]) -> None:
    if reference.shape != window.shape:
        raise InvalidDataError(
            f"{len(reference)} and {len(window)} categories: count the same ones in both samples."
        )
    if not (reference.sum() > 0 and window.sum() > 0):
        raise InvalidDataError("a sample without studies has no shares: give both at least one.")
