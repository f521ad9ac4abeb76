"""Maximum mean discrepancy and energy distance of vectors, with permutation tests.

MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y); "unbiased" leaves pairs of a row with itself
out and may be below 0. The energy distance is the same with minus the distance as the kernel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.types import Float64Array, Int64Array

from .permutation import permutation_p, permuted_windows

PERMUTATIONS = 999


@dataclass(frozen=True, slots=True)
class TwoSample:
    """What a test of two samples found.

    Attributes:
        statistic: Larger where they differ more.
        p: Under equal distributions.
    """

    statistic: float
    p: float


def squared_distances(first: Float64Array, second: Float64Array) -> Float64Array:
    """Return the squared distances of all pairs of rows: float64 (M, N), never below 0."""
    x, y = first.astype(np.float64), second.astype(np.float64)
    center = x.mean(axis=0)
    x, y = x - center, y - center  # far from the origin the difference of squares loses digits
    distances: Float64Array = x @ y.T
    distances *= 2
    np.subtract((x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1), distances, out=distances)
    return np.maximum(distances, 0.0, out=distances)


def median_bandwidth(reference: Float64Array) -> float:
    """Return sigma of the Gaussian kernel: sqrt(1/2 median of squared distances) in the reference.

    Of the reference alone, off the diagonal: a monitor's kernel must not move with its stream.

    Raises:
        InvalidDataError: If more than half of all pairs are equal.

    References:
        Gretton et al., JMLR 13 (2012) 723.
    """
    distances = squared_distances(reference, reference)
    sigma = float(np.sqrt(0.5 * np.median(distances[np.triu_indices(len(distances), 1)])))
    if not sigma > 0:
        raise InvalidDataError(
            "most rows of the reference are equal: there is no scale to compare with. Drop streams "
            "that never change."
        )
    return sigma


def gaussian_kernel(first: Float64Array, second: Float64Array, sigma: float) -> Float64Array:
    """Return exp(-d^2 / (2 sigma^2)) of the distances d: float64 (M, N)."""
    return np.exp(squared_distances(first, second) / (-2 * sigma**2))


def mmd(
    reference: Float64Array, window: Float64Array, sigma: float, *, unbiased: bool = True
) -> float:
    """Return MMD^2 under the Gaussian kernel.

    Args:
        reference: float64 (M, D).
        window: float64 (N, D).
        sigma: Bandwidth, from `median_bandwidth`.
        unbiased: Leave pairs of a row with itself out.
    """
    both = np.concatenate([reference, window])
    inside = (np.arange(len(both)) >= len(reference))[None]
    return float(_discrepancies(gaussian_kernel(both, both, sigma), inside, unbiased)[0])


def energy(reference: Float64Array, window: Float64Array) -> float:
    """Return the energy distance D^2 of vectors, over all pairs (at least 0)."""
    both = np.concatenate([reference, window])
    inside = (np.arange(len(both)) >= len(reference))[None]
    kernel = -np.sqrt(squared_distances(both, both))
    np.fill_diagonal(kernel, 0.0)
    return float(_discrepancies(kernel, inside, unbiased=False)[0])


def mmd_test(
    reference: Float64Array,
    window: Float64Array,
    rng: np.random.Generator,
    *,
    sigma: float | None = None,
    permutations: int = PERMUTATIONS,
    groups: Int64Array | None = None,
) -> TwoSample:
    """Test by unbiased MMD^2 and permutations, patients kept together.

    Args:
        reference: float64 (M, D).
        window: float64 (N, D).
        rng: Source of the permutations.
        sigma: Bandwidth; None: the median heuristic over *both* samples, so that the test is exact.
        permutations: How many.
        groups: int64 (M + N,), the patient of each row.
    """
    both = np.concatenate([reference, window])
    kernel = gaussian_kernel(both, both, median_bandwidth(both) if sigma is None else sigma)
    return _tested(kernel, len(reference), rng, permutations, groups, unbiased=True)


def energy_test(
    reference: Float64Array,
    window: Float64Array,
    rng: np.random.Generator,
    *,
    permutations: int = PERMUTATIONS,
    groups: Int64Array | None = None,
) -> TwoSample:
    """Test by the energy distance and permutations, as `mmd_test`."""
    both = np.concatenate([reference, window])
    kernel = -np.sqrt(squared_distances(both, both))
    np.fill_diagonal(kernel, 0.0)
    return _tested(kernel, len(reference), rng, permutations, groups, unbiased=False)


def _tested(
    kernel: Float64Array,
    reference: int,
    rng: np.random.Generator,
    permutations: int,
    groups: Int64Array | None,
    *,
    unbiased: bool,
) -> TwoSample:
    window = len(kernel) - reference
    observed = (np.arange(len(kernel)) >= reference)[None]
    drawn = permuted_windows(reference, window, permutations, rng, groups)
    found = _discrepancies(kernel, np.concatenate([observed, drawn]), unbiased)
    return TwoSample(float(found[0]), permutation_p(float(found[0]), found[1:]))


def _discrepancies(kernel: Float64Array, inside: NDArray[np.bool_], unbiased: bool) -> Float64Array:
    """Return the discrepancy for each choice of the window: float64 (B,) of bool (B, M + N)."""
    window = inside.astype(np.float64)
    sums = window @ kernel
    diagonal = np.diag(kernel)
    n = window.sum(axis=1)
    m = len(kernel) - n
    within = (sums * window).sum(axis=1)
    between = sums.sum(axis=1) - within
    others = kernel.sum() - 2 * between - within
    pairs_within, pairs_others = n**2, m**2
    if unbiased:
        if n.min() < 2 or m.min() < 2:
            raise InvalidDataError("unbiased MMD needs two rows on either side: widen the window.")
        own = window @ diagonal
        within, others = within - own, others - (diagonal.sum() - own)
        pairs_within, pairs_others = n * (n - 1), m * (m - 1)
    found: Float64Array = within / pairs_within + others / pairs_others - 2 * between / (m * n)
    return found
