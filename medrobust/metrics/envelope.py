"""Which images are enough like clean ones that the risk on them is proven small.

Learn-then-Test (Angelopoulos et al., arXiv:2110.01052) with a fixed sequence: limits go from strict
to loose, each is tested by the exact binomial tail, and the last before the first failure is taken.
The chance that the risk among accepted images is above alpha is then at most delta, for units drawn
as those that were tested.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil, floor, log

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array

from .checks import check_share
from .conformal import exact_tail

CENTRAL = (0.025, 0.5, 0.975)
"""Quantiles of clean images that give the centre of a measure and how far it goes to each side."""

NORMAL = 1.959963984540054
"""Those sides in standard deviations, were the measure normal: a distance of 1 is such a one."""

FLATTEST = 1e-6
"""Of the size of the centre: no side is narrower, where clean images are all alike."""

LEAST = 1e-3
"""Of a measure whose logarithm is taken: less of it makes no difference."""

KEPT = (0.8, 0.9, 0.95, 0.975, 0.99, 1.0)
"""Shares of clean images that the first limits keep."""

GROWTH, STEPS = 1.15, 20
"""How each later limit grows from the one before it, beyond all clean images; and how many."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What clean images are like, measure by measure, and how far anything was ever tested.

    Attributes:
        names: M measures.
        centre: float64 (M,), medians.
        below: float64 (M,), what counts as a distance of one below the centre.
        above: The same above it.
        least: float64 (M,), the end of what was tested: nothing below it is within any distance.
        greatest: The same above.
        logs: Names of measures of which centre and distances are of the logarithm: their spread
            grows with their size.
    """

    names: tuple[str, ...]
    centre: Float64Array
    below: Float64Array
    above: Float64Array
    least: Float64Array
    greatest: Float64Array
    logs: frozenset[str] = frozenset()

    def distances(self, values: Float64Array) -> Float64Array:
        """Return how far each measure of each image is from clean ones, float64 (N, M).

        What has no value, or one outside of what was tested, is infinitely far.

        Args:
            values: float64 (N, M).
        """
        apart = _scaled(self.names, values, self.logs) - self.centre
        found = np.where(apart < 0, -apart / self.below, apart / self.above)
        return np.where((values >= self.least) & (values <= self.greatest), found, np.inf)

    def limits(self, distance: float) -> tuple[Float64Array, Float64Array]:
        """Return the least and the greatest value of each measure within a distance."""
        low, high = self.centre - distance * self.below, self.centre + distance * self.above
        in_logs = np.array([name in self.logs for name in self.names])
        with np.errstate(over="ignore"):  # a limit beyond all that was tested is cut
            low, high = (np.where(in_logs, np.exp(end), end) for end in (low, high))
        return np.maximum(low, self.least), np.minimum(high, self.greatest)


def _scaled(names: Sequence[str], values: Float64Array, logs: Collection[str]) -> Float64Array:
    """Take the logarithms of some columns; what is next to nothing counts as `LEAST`."""
    in_logs = np.array([name in logs for name in names])
    with np.errstate(invalid="ignore"):
        return np.where(in_logs, np.log(np.maximum(values, LEAST)), values)


def envelope(
    names: Sequence[str],
    values: Float64Array,
    logs: Collection[str] = frozenset(),
    *,
    tested: Float64Array | None = None,
) -> Envelope:
    """Describe clean images by median and central 95 % of each measure.

    Args:
        names: M measures.
        values: float64 (N, M), finite.
        logs: Names of measures that are taken by their logarithm.
        tested: float64 (S, M), of images of every condition that is tested, clean ones among
            them: their range ends what can be accepted. They must not be units of the test,
            whose p-values would not be exact. None: the clean images alone.
    """
    low, centre, high = np.quantile(_scaled(names, values, logs), CENTRAL, axis=0)
    flat = _next_to(centre)
    range_ = values if tested is None else tested
    known = np.isfinite(range_)
    least = np.where(known, range_, np.inf).min(axis=0)
    greatest = np.where(known, range_, -np.inf).max(axis=0)
    return Envelope(
        tuple(names),
        centre,
        np.maximum((centre - low) / NORMAL, flat),
        np.maximum((high - centre) / NORMAL, flat),
        np.where(least < 0, least - _next_to(least), np.maximum(least - _next_to(least), 0)),
        greatest + _next_to(greatest),
        frozenset(logs) & frozenset(names),
    )


def _next_to(values: Float64Array) -> Float64Array:
    """Return how far a value is next to another; measured alone or in a batch they differ less."""
    found: Float64Array = np.maximum(np.abs(values), 1.0) * FLATTEST
    return found


def candidates(distances: Float64Array) -> Float64Array:
    """Return limits from strict to loose: those that keep given shares of clean images, and beyond.

    Args:
        distances: float64 (N,), of clean images.
    """
    kept = np.quantile(distances, KEPT)
    beyond = kept[-1] * GROWTH ** np.arange(1, STEPS + 1)
    return np.unique(np.concatenate([kept, beyond]))


def fewest_units(alpha: float, delta: float) -> int:
    """Return how many units without an error prove a risk of at most alpha, with level delta.

    Raises:
        ConfigurationError: If one of them does not lie between 0 and 1.

    Example:
        >>> fewest_units(0.1, 0.05)
        29
    """
    check_share("alpha", alpha)
    check_share("delta", delta)
    return ceil(log(delta) / log(1 - alpha) - 1e-12)


def worth_testing(count: int, alpha: float, delta: float) -> bool:
    """Say whether so many units could prove the risk though a third of alpha of them were wrong.

    One error at least: else the first and strictest limit, with fewest units, would end most
    sequences by a single error.
    """
    check_share("delta", delta)
    borne = max(1, floor(count * alpha / 3))
    return exact_tail(count, borne, alpha) <= delta


@dataclass(frozen=True, slots=True)
class Step:
    """One limit tested.

    Attributes:
        limit: Distance from clean images.
        count: Accepted units.
        errors: Wrong ones of these.
        p: Chance of at most so many errors, were the risk alpha.
    """

    limit: float
    count: int
    errors: int
    p: float


def fixed_sequence(
    distances: Float64Array,
    wrong: NDArray[np.bool_],
    limits: Float64Array,
    *,
    alpha: float,
    delta: float,
) -> list[Step]:
    """Test limits from strict to loose, up to the first that fails, that one included.

    Limits that accept too few units to prove anything are passed over: which they are, distances
    alone decide, and no error has a say in it.

    Args:
        distances: float64 (N,), of independent units.
        wrong: bool (N,).
        limits: float64, ascending.
        alpha: Risk.
        delta: Chance to be wrong.

    Raises:
        ConfigurationError: If one of the two does not lie between 0 and 1.
    """
    check_share("alpha", alpha)
    check_share("delta", delta)
    steps: list[Step] = []
    for limit in limits:
        accepted = distances <= limit
        count = int(accepted.sum())
        if not worth_testing(count, alpha, delta):
            continue
        errors = int(wrong[accepted].sum())
        steps.append(Step(float(limit), count, errors, exact_tail(count, errors, alpha)))
        if steps[-1].p > delta:
            break
    return steps
