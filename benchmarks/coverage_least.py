"""What any interval of a difference must cover: where few images differ, more than 95 %.

Part of `python -m benchmarks coverage`. Two models on single images give two counts: b images on
which the first alone is wrong, c on which the second alone is. An interval of counts either holds a
difference for (b, c) or does not; whoever asks it to hold each difference 95 times of 100, whatever
share of images the models differ on, must let it hold where the counts that tell at least as much
against that difference (larger b and smaller c, or the mirror of it, for models are alike) come up
more often than 5 times of 100. What is left out at most gives the least that it can cover. This is
exact: trinomial probabilities, summed.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import binom, multivariate_normal

from benchmarks.coverage_pairs import NORMAL, SHARED, Pair, intervals
from medrobust.metrics.paired import bounds_of, paired, parts_of

ASKED = 0.95
"""Coverage that an interval promises whatever is true."""

MOST = 10.0
"""Images that differ, on average, up to which there is something to say."""

CELLS = 45
"""Counts up to which probabilities are summed; beyond them an interval may leave anything out."""


def least_covered(images: int, alone: tuple[float, float]) -> float:
    """Return the least that an interval covers which covers `ASKED` whatever else is true.

    Args:
        images: How many, each standing alone.
        alone: Chance that the first model alone is wrong on an image, and that the second is; the
            first is the larger, or both are the same.

    Example:
        >>> round(least_covered(50, (0.004, 0.004)), 4)
        0.9999
    """
    truth = alone[0] - alone[1]
    seconds = np.r_[0.0, np.geomspace(0.02 / images, (1 - truth) / 2, 120)]
    often = [np.zeros((CELLS, CELLS)) for _ in range(2)]
    for second in seconds:
        sides = _as_much(images, (second + truth, second))
        often = [np.maximum(found, side) for found, side in zip(often, sides, strict=True)]
    left_out = (often[0] <= 1 - ASKED) | (often[1] <= 1 - ASKED)
    counts = np.arange(CELLS)
    rest = np.maximum(images - counts, 0)
    share = alone[0] / (1 - alone[1])
    chance = binom.pmf(counts, images, alone[1]) * binom.pmf(counts[:, None], rest, share)
    return float(chance[~left_out].sum())


def _as_much(images: int, alone: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return how often counts tell as much as (b, c) for more, and for less: (CELLS, CELLS) each.

    Upwards the mirror counts too: an interval that lies above a difference of 0 or more for (b, c)
    lies below its negative for (c, b). Downwards it does so for a difference of 0 alone.
    """
    above, mirrored = _tail(images, *alone), _tail(images, *alone[::-1])
    below = mirrored.T + (above.T if alone[0] == alone[1] else 0)
    return above + mirrored, below


def _tail(images: int, first: float, second: float) -> np.ndarray:
    """Return P(B >= b, C <= c) of trinomial counts: (CELLS, CELLS), indexed [b, c]."""
    counts = np.arange(CELLS)
    share = min(first / (1 - second), 1.0) if second < 1 else 0.0
    more = binom.sf(counts[:, None] - 1, np.maximum(images - counts, 0), share)
    found: np.ndarray = (binom.pmf(counts, images, second) * more).cumsum(axis=1)
    return found


def chances_alone(pair: Pair) -> tuple[float, float]:
    """Return how often the first, and the second, model of a pair alone is wrong."""
    (first,), (second,) = pair.first, pair.second
    edges = [NORMAL.inv_cdf(first), NORMAL.inv_cdf(second)]
    both = float(multivariate_normal([0, 0], [[1, SHARED], [SHARED, 1]]).cdf(edges))
    return first - both, second - both


def carrying(pair: Pair, repetitions: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return how many units carry a difference, half of the time at most, and its coverage in %.

    A unit's share of the squared difference is w; 1 / sum of w^2 units carry it: as many as differ
    where all weigh the same, one where one patient or one image of a rare class outweighs all.
    """
    first, second, groups = pair.draw(repetitions, rng)
    labels = pair.labels
    sizes = np.bincount(labels)
    weights = 1 / (len(sizes) * sizes[labels]) if pair.balanced else np.full(len(labels), 1.0)
    terms = (first - second) * weights
    if groups is not None:
        order = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        terms = np.add.reduceat(terms[:, order], starts, axis=1)
    squares = terms**2
    total = (squares**2).sum(axis=1)
    units = np.where(total > 0, squares.sum(axis=1) ** 2 / np.where(total > 0, total, 1), 0)
    found = paired(first - second, parts_of(labels if pair.balanced else None, groups, len(labels)))
    low, high = bounds_of(found)
    held = (low <= pair.truth + 1e-12) & (pair.truth - 1e-12 <= high)
    return float(np.median(units)), 100 * float(held.mean())


def rows(repetitions: int, seed: int = 0) -> Iterator[Sequence[str]]:
    """List each pair of `intervals` with what carries it, and the least where it is known."""
    rng = np.random.default_rng([16, seed])
    for pair in intervals():
        number = min(repetitions, 1_000_000 // sum(pair.sizes))
        units, covered = carrying(pair, number, rng)
        least = ""
        if pair.patient == 1 and not pair.balanced:
            alone = chances_alone(pair)
            if sum(alone) * pair.sizes[0] < MOST:
                least = f"{100 * least_covered(pair.sizes[0], alone):.1f}"
        yield (*str(pair).split(" | "), f"{units:.1f}", f"{covered:.1f}", least)


TABLES = {
    "What carries a difference, and the least that any 95 % interval of counts covers": (
        ("error", "images", "errors, %", "patients", "carried by", "covers", "least"), rows, 1.0,
    ),
}  # fmt: skip
"""Title -> columns, rows, and share of the repetitions."""
