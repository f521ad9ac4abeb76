"""Clean streams drawn from a clean period: blocks of days, and patients within them.

A site has patients who differ, and days or weeks that differ more than their patients explain. Both
are drawn anew: blocks of days (weekdays stay in order) give what days have of their own, and
patients, with all that they have in a block, the rest. The two must not be added up as they are:
the mean of a block holds the chance of its patients already, and drawing patients in it again would
count that twice. So what is a block's own is shrunk, by components of variance, until blocks that
are drawn scatter as much as blocks of the period do; where blocks scatter *less* than their
patients would have it, the deviations of patients are shrunk instead.

References:
    Davison and Hinkley, Bootstrap Methods and Their Application (1997), section 3.8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.types import Float32Array, Float64Array, Int64Array

FEWEST = 4
"""Blocks that a clean period must have: fewer say nothing of how blocks differ."""

Sizes: TypeAlias = Callable[[Float64Array], Float64Array]
"""From differences of mean rows, float64 (K, F), to their squared sizes, (K, F) or (K, S)."""


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """Days drawn from a clean period, in blocks.

    Attributes:
        sums: float64 (blocks, days of a block, F), of the rows of each day.
        counts: float64 (blocks, days of a block), its studies.
    """

    sums: Float64Array
    counts: Float64Array

    def chosen(self, blocks: Int64Array) -> tuple[Float64Array, Float64Array]:
        """Return sums (days, F) and counts (days,) of some blocks, one after the other."""
        return (
            self.sums[blocks].reshape(-1, self.sums.shape[2]),
            self.counts[blocks].ravel(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class CleanPeriod:
    """What a clean period says of blocks of days, and of patients in them.

    Attributes:
        mean: float64 (F,), mean row.
        rows: float32 (N, F), how studies deviate from their block, patients one after the other.
        starts: int64 (U + 1,), first row of each patient in a block.
        offsets: int64 (N,), day in the block.
        effects: float64 (B, days of a block, F), what is a block's own, summed over its studies.
        patients: int64 (B,), patients of each block that can be drawn.
        counts: float64 (B,), studies of it.
    """

    mean: Float64Array
    rows: Float32Array
    starts: Int64Array
    offsets: Int64Array
    effects: Float64Array
    patients: Int64Array
    counts: Float64Array

    def drawn(self, blocks: int, rng: np.random.Generator) -> Days:
        """Draw blocks of days.

        Args:
            blocks: How many.
            rng: Source of the draws.
        """
        from .sums_numba import add_rows

        source, rows, block, _ = self._rows(blocks, rng)
        length = self.effects.shape[1]
        day = block * length + self.offsets[rows]
        counts = np.bincount(day, minlength=blocks * length).astype(np.float64)
        sums = counts[:, None] * self.mean
        add_rows(self.rows, rows, day, sums)
        sums, counts = sums.reshape(blocks, length, -1), counts.reshape(blocks, length)
        scales = counts.sum(axis=1) / self.counts[source]
        for own, of, scale in zip(sums, source, scales, strict=True):
            own += scale * self.effects[of]
        return Days(sums, counts)

    def drawn_studies(
        self, blocks: int, rng: np.random.Generator
    ) -> tuple[Float32Array, Int64Array, Int64Array]:
        """Draw blocks of days, study by study.

        Returns:
            float32 (M, F) rows, int64 (M,) days from 0, int64 (M,) patients.
        """
        source, rows, block, patients = self._rows(blocks, rng)
        length = self.effects.shape[1]
        days = block * length + self.offsets[rows]
        counts = np.bincount(days, minlength=blocks * length)
        scale = counts.reshape(blocks, length).sum(axis=1) / self.counts[source]
        effects = (scale[:, None, None] * self.effects[source]).reshape(blocks * length, -1)
        effects = self.mean + effects / np.maximum(counts, 1)[:, None]
        found = self.rows[rows]
        found += effects.astype(np.float32)[days]
        return found, days, patients

    def _rows(
        self, blocks: int, rng: np.random.Generator
    ) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
        """Draw the source of each block; rows, their blocks, and their patients by number."""
        source = np.flatnonzero(self.patients)[rng.integers(0, (self.patients > 0).sum(), blocks)]
        numbers = self.patients[source]
        patients = rng.integers(0, len(self.starts) - 1, int(numbers.sum()))
        sizes = np.diff(self.starts)[patients]
        within = np.arange(int(sizes.sum())) - np.repeat(sizes.cumsum() - sizes, sizes)
        rows = np.repeat(self.starts[patients], sizes) + within
        block = np.repeat(np.arange(blocks), numbers)
        return source, rows, np.repeat(block, sizes), np.repeat(np.arange(len(patients)), sizes)


def clean_period(
    rows: Float32Array,
    days: Int64Array,
    patients: Int64Array,
    sizes: Sizes,
    *,
    block: int = 7,
    total: int = 0,
) -> CleanPeriod:
    """Take the variance of a clean period apart, into blocks of days and patients.

    Args:
        rows: float32 (N, F), of each study.
        days: int64 (N,).
        patients: int64 (N,), whose study it is; one of several blocks counts as several.
        sizes: Squared sizes of differences; F columns, so that streams share one component.
        block: Days that stay together.
        total: Days of the period; 0: up to the last study.

    Raises:
        InvalidDataError: If the period has fewer than four whole blocks.
    """
    days = days - days.min()
    total = total or int(days.max()) + 1
    whole = total // block
    if whole < FEWEST:
        raise InvalidDataError(
            f"a clean period of {total} days has fewer than {FEWEST} blocks of "
            f"{block}: give a reference of {FEWEST * block} days or more, or a smaller --block."
        )
    place = days // block
    order = np.lexsort((days, patients, place))
    rows, days, patients, place = rows[order], days[order], patients[order], place[order]
    new = np.r_[True, (np.diff(patients) != 0) | (np.diff(place) != 0)]
    starts = np.r_[np.flatnonzero(new), len(rows)].astype(np.int64)
    whose = new.cumsum() - 1
    mean = rows.mean(axis=0, dtype=np.float64)
    counts = np.bincount(place, minlength=whole).astype(np.float64)
    daily = _sums(rows, days, len(counts) * block).reshape(len(counts), block, -1)
    means = daily.sum(axis=1) / np.maximum(counts, 1)[:, None]
    units = np.bincount(place[starts[:-1]], minlength=len(counts))
    earlier = units.cumsum() - units
    spread = np.sqrt(units / np.maximum(units - 1, 1))
    residuals = rows  # of which they are made in place
    within = np.zeros_like(means)
    firsts = np.searchsorted(place, np.arange(len(counts) + 1))
    for number, (first, end) in enumerate(pairwise(firsts)):
        own = residuals[first:end]
        own -= means[number].astype(np.float32)
        own *= np.float32(spread[number])
        deviations = _sums(own, whose[first:end] - earlier[number], units[number])
        within[number] = sizes(deviations).sum(axis=0)
    kept, shrunk = _components(sizes(means - mean), within, counts, units)
    residuals *= shrunk.astype(np.float32)
    each = np.bincount(days, minlength=len(counts) * block).reshape(len(counts), block, 1)
    effects = (daily - each * mean)[:whole] * kept[:whole, None]
    usable = np.where(units > 1, units, 0)[:whole]
    return CleanPeriod(mean, residuals, starts, days % block, effects, usable, counts[:whole])


def _components(
    between: Float64Array, within: Float64Array, counts: Float64Array, units: NDArray[np.int64]
) -> tuple[Float64Array, Float64Array]:
    """Return how much of each block's own deviation is kept, and how much of patients'.

    Moments of the one-way layout with unequal groups: E sum w |block|^2 = s^2 (W - sum w^2 / W) +
    sum w v (1 - w / W), v the variance of a block's mean by its patients.

    Args:
        between: float64 (B, F), squared deviations of the means of blocks.
        within: float64 (B, F), squared deviations of patients' sums, summed over a block.
        counts: float64 (B,), studies.
        units: int64 (B,), patients.

    Returns:
        float64 (B, F) in [0, about 1], and float64 (F,).
    """
    weights = np.where(units > 1, counts, 0.0)
    total = weights.sum()
    chance = within / np.maximum(counts, 1)[:, None] ** 2
    expected = ((weights * (1 - weights / total))[:, None] * chance).sum(axis=0)
    found = (weights[:, None] * between).sum(axis=0)
    own = (found - expected) / (total - (weights**2).sum() / total)
    own_there = np.maximum(own, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(own_there > 0, own_there / (own_there + chance), 0.0)
        scatter = (weights[:, None] * share * between).sum(axis=0) / total
        kept = np.sqrt(share * np.where(scatter > 0, own_there / scatter, 0.0))
        shrunk = np.where(own < 0, np.sqrt(np.clip(found / expected, 0.0, 1.0)), 1.0)
    return kept, np.where(np.isfinite(shrunk), shrunk, 1.0)


def _sums(rows: Float32Array, place: Int64Array, count: int) -> Float64Array:
    """Sum rows by place: float64 (count, F)."""
    from .sums_numba import add_rows

    found = np.zeros((count, rows.shape[1]))
    add_rows(np.ascontiguousarray(rows), np.arange(len(rows)), place, found)
    return found
