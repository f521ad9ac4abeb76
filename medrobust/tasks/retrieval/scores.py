"""What the ranks of a stored cell are worth: recall, rank, precision and their losses."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType

import numpy as np

from medrobust.metrics.aggregates import bounded_interval, group_codes
from medrobust.metrics.estimates import Estimate, Metric, with_bounds
from medrobust.metrics.intervals import share_interval
from medrobust.metrics.order import median_interval
from medrobust.tasks.base import Cell, Scores, Terms
from medrobust.types import Float64Array, Int64Array

from .relevance import counted_as

RECALLS = (1, 5, 10)
PRECISIONS = (5, 10, 100)

WRONG = 10
"""How many of the first answers the loss that is 1 - precision counts wrong ones in."""

CUTS = (1, 5, 10, 100)
"""How many of the first answers `hits` counts right ones in."""

SIDES = MappingProxyType(
    {
        "image_to_text": ("image", "text", "report of an image"),
        "text_to_image": ("text", "image", "image of a report"),
    }
)
"""Prefix of metrics -> what asks, what is looked through, and what is sought in words."""


def _metrics() -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for side, (asks, _, sought) in SIDES.items():
        share, place = (partial(Metric, share=share, unit=asks) for share in (True, False))
        for cut in RECALLS:
            found[f"{side}_miss_at_{cut}"] = share(f"{sought} not among the first {cut}", False)
        for cut in RECALLS:
            found[f"{side}_recall_at_{cut}"] = share(f"recall at {cut}, {sought}", True)
        for cut in PRECISIONS:
            found[f"{side}_precision_at_{cut}"] = share(f"precision at {cut}, {sought}", True)
        found[f"{side}_wrong_at_{WRONG}"] = share(f"wrong among the first {WRONG}, {sought}", False)
        found |= {
            f"{side}_normalized_rank": share(f"normalised rank, {sought}", False),
            f"{side}_mean_average_precision": share(f"mean average precision, {sought}", True),
            f"{side}_mean_reciprocal_rank": share(f"mean reciprocal rank, {sought}", True),
            f"{side}_mean_rank": place(f"mean rank, {sought}", False),
            f"{side}_median_rank": place(f"median rank, {sought}", False),
        }
    return found


NO_MEDIAN_INTERVAL = "of patients, or of so few queries, a median has no interval here"

METRICS: Mapping[str, Metric] = MappingProxyType(_metrics())
"""Every metric of a cell, in the order of the tables."""

LOSSES = tuple(
    f"{side}_{loss}"
    for loss in ("miss_at_1", "miss_at_5", "normalized_rank", f"wrong_at_{WRONG}")
    for side in SIDES
)
"""What means, CE, mCE and tests are made of."""


@dataclass(frozen=True)
class Ranked:
    """What one side of a cell has found, of those that have a right answer at all.

    Attributes:
        rank: int64 (Q,), of the best right answer, 1 for the first.
        average_precision: float64 (Q,).
        hits: int64 (Q, 4), right answers among the first `CUTS`.
        among: How many candidates were looked through.
        right: int64 (Q,), how many of them are right.
        patients: int64 (Q,) from 0, the patient of each query; None where each stands alone.
            Texts that share a patient or count as one, and patients that share a text, are one.
    """

    rank: Int64Array
    average_precision: Float64Array
    hits: Int64Array
    among: int
    right: Int64Array
    patients: Int64Array | None

    def missed(self, cut: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Say of each query whether nothing right is among the first so many: bool (Q,)."""
        missed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = self.rank > cut
        return missed

    @cached_property
    def normalized_rank(self) -> Float64Array:
        """Rank from 0 for the first place to 1 for the last that a best answer can have: (Q,)."""
        last = self.among - self.right
        return np.where(last > 0, (self.rank - 1) / np.maximum(last, 1), 0.0)

    def precision(self, cut: int) -> Float64Array:
        """Share of right answers among the first so many, or among all if there are fewer: (Q,)."""
        return self.hits[:, CUTS.index(cut)] / min(cut, self.among)

    @property
    def chance(self) -> float:
        """How often a random order has nothing right in the first place."""
        return 1 - float(self.right.mean()) / self.among


def text_groups(cell: Cell) -> Int64Array | None:
    """Number the units of a cell's texts: int64 (T,) from 0; None where each stands alone.

    Texts that count as one have one answer; of own reports a store knows those that are equal.
    """
    written: list[str] = cell.data.target.arrays()["texts"].tolist()
    found: Int64Array | None = cell.data.target.groups(
        cell.patients, counted_as(written, cell.head["relevance"])
    )
    return found


def ranked(cell: Cell) -> dict[str, Ranked]:
    """Put the arrays of a cell beside what they are ranks of: side -> what it has found."""
    among = {"image": len(cell.data), "text": int(cell.head["candidates"])}
    patients = {"image": cell.patients, "text": text_groups(cell)}
    sides = {}
    for side, (asks, sought, _) in SIDES.items():
        right = cell.arrays[f"{asks}_right"].astype(np.int64)
        answered = right > 0
        groups = patients[asks]
        sides[side] = Ranked(
            cell.arrays[f"{asks}_rank"][answered].astype(np.int64),
            cell.arrays[f"{asks}_average_precision"][answered].astype(np.float64),
            cell.arrays[f"{asks}_hits"][answered].astype(np.int64),
            among[sought],
            right[answered],
            group_codes(None if groups is None else groups[answered]),
        )
    return sides


def scores(cell: Cell) -> Scores:
    """Compute every number of a cell, and what each query adds to its losses."""
    estimates: dict[str, Estimate] = {}
    terms: dict[str, Terms] = {}
    chance: dict[str, float] = {}
    for side, found in ranked(cell).items():
        unit = SIDES[side][0]
        estimates |= {f"{side}_{name}": value for name, value in _estimates(found).items()}
        for loss, values in (
            ("miss_at_1", found.missed(1)),
            ("miss_at_5", found.missed(5)),
            ("normalized_rank", found.normalized_rank),
            (f"wrong_at_{WRONG}", 1 - found.precision(WRONG)),
        ):
            terms[f"{side}_{loss}"] = Terms(values, unit=unit, groups=found.patients)
        chance[f"{side}_miss_at_1"] = found.chance
        chance[f"{side}_wrong_at_{WRONG}"] = found.chance
        chance[f"{side}_normalized_rank"] = 0.5
    return Scores({name: estimates[name] for name in METRICS}, terms, chance=chance)


def _estimates(found: Ranked) -> dict[str, Estimate]:
    """Compute the numbers of one side."""
    shares: dict[str, Float64Array] = {}
    for cut in RECALLS:
        missed = found.missed(cut).astype(np.float64)
        shares |= {f"miss_at_{cut}": missed, f"recall_at_{cut}": 1 - missed}
    shares |= {f"precision_at_{cut}": found.precision(cut) for cut in PRECISIONS}
    shares |= {
        f"wrong_at_{WRONG}": 1 - found.precision(WRONG),
        "normalized_rank": found.normalized_rank,
        "mean_average_precision": found.average_precision,
        "mean_reciprocal_rank": 1 / found.rank,
    }
    estimates = {
        name: with_bounds(float(values.mean()), share_interval(values, found.patients))
        for name, values in shares.items()
    }
    rank = found.rank.astype(np.float64)
    limits, most = (1.0, float(found.among)), found.among - 1.0
    bounds = bounded_interval(rank, found.patients, limits=limits, most=most)
    estimates["mean_rank"] = with_bounds(float(rank.mean()), bounds)
    of_median = None if found.patients is not None else median_interval(rank)
    note = "" if of_median else NO_MEDIAN_INTERVAL
    estimates["median_rank"] = with_bounds(float(np.median(rank)), of_median, note)
    return estimates


def collapsed(cell: Cell) -> str | None:
    """Name what is the same for every image of a cell, or None.

    Equal cosines put every right answer behind all wrong ones.
    """
    found = ranked(cell)["image_to_text"]
    last = found.among - found.right
    if len(found.rank) > 1 and bool((last > 0).all() and (found.rank == last + 1).all()):
        return "the same cosine with every text"
    return None
