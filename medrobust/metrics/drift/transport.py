"""Optimal transport between vectors: sliced, and exact (earth mover's distance)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.types import Float64Array

from .kernels import squared_distances

MOST = 500
"""Rows of a sample up to which transport is solved exactly: an assignment takes O(n^3)."""

REPEATS = 8
"""Subsamples that a larger transport is a mean over."""


def random_directions(dimension: int, count: int, rng: np.random.Generator) -> Float64Array:
    """Draw unit vectors, uniform on the sphere: float64 (count, dimension)."""
    drawn = rng.standard_normal((count, dimension))
    directions: Float64Array = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return directions


def sliced_wasserstein(
    reference: Float64Array, window: Float64Array, directions: Float64Array
) -> float:
    """Return SW_2 = sqrt(mean over directions of the squared W_2 of the projections).

    Of two Gaussians of one covariance it is the length of the shift between them over sqrt(D), for
    many directions.

    Args:
        reference: float64 (M, D).
        window: float64 (N, D).
        directions: float64 (P, D) from `random_directions`.
    """
    first = np.sort(reference @ directions.T, axis=0)
    second = np.sort(window @ directions.T, axis=0)
    if len(first) == len(second):
        return float(np.sqrt(((first - second) ** 2).mean()))
    ends = np.union1d(
        np.arange(1, len(first) + 1) / len(first), np.arange(1, len(second)) / len(second)
    )
    weights = np.diff(np.r_[0.0, ends])
    middles = ends - weights / 2
    i = np.minimum((middles * len(first)).astype(int), len(first) - 1)
    j = np.minimum((middles * len(second)).astype(int), len(second) - 1)
    squares = ((first[i] - second[j]) ** 2).mean(axis=1)
    return float(np.sqrt((squares * weights).sum()))


def transport_cost(cost: Float64Array) -> float:
    """Return the least mean cost of moving M equal weights onto N equal weights, solved exactly.

    Args:
        cost: float64 (M, N), finite.

    Raises:
        InvalidDataError: If a cost is no finite number.

    Example:
        >>> transport_cost(np.array([[0.0, 4.0], [1.0, 1.0]]))
        0.5
    """
    rows, columns = cost.shape
    if rows == columns:
        return float(cost[_assigned(cost), np.arange(columns)].sum() / max(columns, 1))
    return float((cost * transport_plan(cost)).sum())


def transport_plan(cost: Float64Array) -> Float64Array:
    """Return how much of each row goes to each column: float64 (M, N), rows sum to 1 / M.

    Raises:
        InvalidDataError: If a cost is no finite number.
    """
    rows, columns = cost.shape
    if rows == columns:
        plan = np.zeros(cost.shape)
        plan[_assigned(cost), np.arange(columns)] = 1 / rows
        return plan
    from scipy import optimize, sparse

    _check_finite(cost)
    outgoing = sparse.kron(sparse.eye(rows), np.ones((1, columns)))
    incoming = sparse.kron(np.ones((1, rows)), sparse.eye(columns))
    given = np.r_[np.full(rows, 1 / rows), np.full(columns, 1 / columns)]
    solved = optimize.linprog(
        cost.ravel(), A_eq=sparse.vstack([outgoing, incoming]).tocsr(), b_eq=given, method="highs"
    )
    if not solved.success:
        raise InvalidDataError(f"the transport was not solved ({solved.message}).")
    return np.asarray(solved.x, dtype=np.float64).reshape(cost.shape)


def _assigned(cost: Float64Array) -> NDArray[np.int64]:
    """Return the row that each column of a square cost goes to at the least total: int64 (N,)."""
    from .assignment_numba import assign

    _check_finite(cost)
    found = np.empty(len(cost), np.int64)
    assign(np.ascontiguousarray(cost, np.float64), found)
    return found


def _check_finite(cost: Float64Array) -> None:
    if not np.isfinite(cost).all():
        raise InvalidDataError("a cost of the transport is no finite number: leave its row out.")


@dataclass(frozen=True, slots=True)
class Transported:
    """An earth mover's distance.

    Attributes:
        value: W_2^2: mean squared Euclidean distance moved.
        error: Standard error of the mean over subsamples; 0 where it is exact, NaN of a single one.
        size: Rows of each sample that one solution took.
    """

    value: float
    error: float
    size: int


class Rows(Protocol):
    """A sample: an array (M, D), or what gives rows of one when they are asked for."""

    def __len__(self) -> int:
        """Return how many rows there are."""

    def __getitem__(self, chosen: Any, /) -> Any:
        """Return the chosen rows, float (n, D)."""


def earth_movers(
    reference: Rows,
    window: Rows,
    rng: np.random.Generator,
    *,
    most: int = MOST,
    repeats: int = REPEATS,
) -> Transported:
    """Return the exact W_2^2 of small samples, or the mean over subsamples of larger ones.

    A subsample's distance is larger than that of the whole by what the two would differ from
    themselves: compare subsampled distances with subsampled ones of the same size only, as the
    size-matched difference of `matched` does.

    Args:
        reference: (M, D).
        window: (N, D).
        rng: Source of subsamples.
        most: Rows up to which it is exact.
        repeats: Subsamples of `most` rows of each, without replacement.
    """
    if max(len(reference), len(window)) <= most:
        cost = squared_distances(reference[:], window[:])
        return Transported(transport_cost(cost), 0.0, len(window))
    found = []
    for _ in range(repeats):
        first = reference[rng.permutation(len(reference))[:most]]
        second = window[rng.permutation(len(window))[:most]]
        found.append(transport_cost(squared_distances(first, second)))
    error = float(np.std(found, ddof=1) / np.sqrt(repeats)) if repeats > 1 else float("nan")
    return Transported(float(np.mean(found)), error, most)


def matched(
    distance: Callable[[Any, Any], float],
    reference: NDArray[Any],
    window: NDArray[Any],
    rng: np.random.Generator,
    *,
    repeats: int = 20,
    published: bool = True,
) -> Float64Array:
    """Return how much farther a window lies from the reference than the reference from itself.

    Published (MMC+): D+ = max(d(r1, x) - d(r1, r2), 0), r1 and r2 drawn with replacement at the
    window's size; above 0 on average even where nothing has changed. Else unbiased: r1 and r2 are
    disjoint, drawn without replacement, and nothing is cut off, so that the mean is 0 exactly when
    window and reference come from one distribution.

    Args:
        distance: Of two samples.
        reference: (M,) or (M, D).
        window: (N,) or (N, D).
        rng: Source of the draws.
        repeats: Draws.
        published: As MMC+ has it.

    Returns:
        float64 (repeats,).

    Raises:
        InvalidDataError: If the unbiased form lacks rows: it needs 2 N <= M.

    References:
        MMC+, arXiv:2410.13174 ("jack-knife" distance).
    """
    size, rows = len(window), len(reference)
    if not published and 2 * size > rows:
        raise InvalidDataError(
            f"the unbiased difference needs a reference of twice the window, {2 * size} studies, "
            f"and has {rows}: take a longer reference or a shorter window."
        )
    found = np.empty(repeats)
    for turn in range(repeats):
        if published:
            first, second = (reference[rng.integers(0, rows, size)] for _ in range(2))
        else:
            order = rng.permutation(rows)
            first, second = reference[order[:size]], reference[order[size : 2 * size]]
        found[turn] = distance(first, window) - distance(first, second)
    return np.maximum(found, 0.0) if published else found
