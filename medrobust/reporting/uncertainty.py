"""Aggregates of one matrix with intervals, paired image by image over corruptions and models."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import Estimate, Metric, feature_drift
from medrobust.metrics.aggregates import (
    bounded_interval,
    change_interval,
    error_influence,
    error_interval,
    mce_interval,
    relative_mce_interval,
)
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.intervals import (
    Bounds,
    Spread,
    logit_interval,
    recovered,
    share_interval,
)
from medrobust.metrics.paired import too_few_of
from medrobust.metrics.robustness import drift_terms, severity_weighted
from medrobust.tasks.base import Scores, Terms
from medrobust.types import Float64Array, Int64Array

from .aggregates import Aggregate, Groups, Place
from .benchmark_ratios import benchmark_ratios
from .measure import Measured

CLEAN = "clean"
"""Place of what is no column."""

OWN_REFERENCE = "the model is its own reference, which makes it 1 by definition"


@dataclass(frozen=True)
class Layout:
    """What the aggregates of a matrix are made from.

    Attributes:
        corruptions: Columns in order.
        severities: Levels in order.
        rows: Number of rows.
        suite: Of the columns.
        dataset: Name of the data set.
        losses: What aggregates are made of, in table order.
        ratios: Those of them that are divided by a reference's.
        groups: Cells of the rows.
        reference: Cells of the reference under the same conditions, by the same keys.
        unscaled: Those losses that are no shares.
        weighted: Those losses that have means over weighted severities, too.
    """

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    rows: int
    suite: str
    dataset: str
    losses: tuple[str, ...]
    ratios: tuple[str, ...]
    groups: Groups
    reference: Groups
    unscaled: frozenset[str] = frozenset()
    weighted: frozenset[str] = frozenset()

    def column(self, groups: Groups, row: int, name: str) -> list[StoredCell] | None:
        """Return all cells of a column, None if a severity is missing."""
        places = [Place(row, name, severity) for severity in self.severities]
        if not all(place in groups for place in places):
            return None
        return [cell for place in places for cell in groups[place]]


def aggregates(layout: Layout, measured: Measured) -> Iterator[Aggregate]:
    """Compute every aggregate of every row that its cells allow.

    Names: `clean`, `severity_mean` and `severity_area` (a column), `mean` (over columns), `CE`,
    `relative_CE`, `mCE`, `relative_mCE`, `clean_error_ratio`; of some losses
    `weighted_severity_mean` (a column), `weighted_mean`, `weighted_degradation`; on sets of
    MedMNIST-C `BE`, `rBE`, `rBE_guarded` and the ratios of sums; `flip_rate` and `feature_drift` (a
    column).
    """
    for row in range(layout.rows):
        for of in layout.losses:
            yield from Errors(layout, measured, row, of).all()
            yield from _areas(layout, measured, row, of)
        clean = layout.groups.get(Place.clean(row))
        alike = None if clean is None else _counted_alike(layout, measured, clean[0])
        if clean is not None and alike is not None:
            yield from _changes(layout, measured, row, clean[0], alike)


def _counted_alike(layout: Layout, measured: Measured, cell: StoredCell) -> str | None:
    """Return the loss that every unit counts alike in, as in shares of changed answers."""
    for of in layout.losses:
        found = measured.terms(cell, of)
        if isinstance(found, Terms) and found.strata is None:
            return of
    return None


class Errors:
    """One loss of one row: what each unit adds to it, and every aggregate of that.

    Attributes:
        like: Terms of any of its cells: units, strata and patients, which all share; None without.
    """

    def __init__(self, layout: Layout, measured: Measured, row: int, of: str) -> None:
        self.layout, self.measured, self.row, self.of = layout, measured, row, of
        self.like: Terms | None = None
        self._spreads: dict[str, Spread] = {}
        clean = layout.groups.get(Place.clean(row))
        self.clean = None if clean is None else self._wrong(clean, CLEAN)
        self.columns = self._columns(layout.groups, own=True)
        reference_clean = layout.reference.get(Place.clean(row))
        self.reference_clean = None if reference_clean is None else self._wrong(reference_clean)
        self.reference = self._columns(layout.reference)
        self.is_reference = any(
            key[0] == row and _same(cells, layout.groups.get(key, ()))
            for key, cells in layout.reference.items()
        )

    def _columns(self, groups: Groups, *, own: bool = False) -> list[Float64Array | None]:
        names = self.layout.corruptions
        cells = [self.layout.column(groups, self.row, name) for name in names]
        return [
            None if column is None else self._wrong(column, name if own else None)
            for name, column in zip(names, cells, strict=True)
        ]

    def _wrong(self, cells: Sequence[StoredCell], place: str | None = None) -> Float64Array | None:
        found = self.measured.mean_terms(cells, self.of)
        if found is None:
            return None
        self.like = found
        if place is not None and found.spread is not None:
            self._spreads[place] = found.spread
        return found.values

    @property
    def groups(self) -> Int64Array | None:
        """Patients of the units, or None."""
        return self.measured.groups(self._any().data, self.like)

    @property
    def strata(self) -> Int64Array | None:
        """Classes of the units where they count equally, else None."""
        return None if self.like is None else self.like.strata

    @cached_property
    def too_few(self) -> str:
        """Why ratios have no interval: too few units, or units of a class, say; empty if not."""
        count = 0 if self.like is None else len(self.like.values)
        return self.unbounded or too_few_of(self.strata, self.groups, count)

    @property
    def unbounded(self) -> str:
        """Why no number of the loss has an interval; empty where they have."""
        return "" if self.like is None else self.like.unbounded

    @property
    def smallest(self) -> float | None:
        """How many units the loss rests on where none moves it; None: all."""
        return None if self.like is None else self.like.smallest

    @property
    def over_columns(self) -> Float64Array | None:
        """How often each image is wrong on average over the columns that are whole."""
        whole = [wrong for wrong in self.columns if wrong is not None]
        return np.mean(whole, axis=0) if whole else None

    def _any(self) -> StoredCell:
        return next(iter(self.layout.groups.values()))[0]

    def all(self) -> Iterator[Aggregate]:
        """Yield them in the order of the tables."""
        if self.clean is not None:
            yield self.made("clean", self._mean(self.clean, [CLEAN]))
        whole = {name: wrong for name, wrong in self.named() if wrong is not None}
        for name, wrong in whole.items():
            yield self.made("severity_mean", self._mean(wrong, [name]), name)
        if (mean := self.over_columns) is not None:
            yield self.made("mean", self._mean(mean, whole), covers=whole)
        yield from self._severity_areas()
        yield from self._weighted(whole)
        if self.of in self.layout.ratios:
            yield from self._ratios()
            yield from benchmark_ratios(self)

    def made(
        self,
        name: str,
        estimate: Estimate,
        corruption: str | None = None,
        covers: Iterable[str] = (),
    ) -> Aggregate:
        """Name a number of this loss of this row; one of a column covers that column."""
        over = (corruption,) if corruption is not None else tuple(covers)
        return Aggregate(self.row, self.of, name, estimate, corruption, over)

    def named(self) -> Iterator[tuple[str, Float64Array | None]]:
        """Yield each column with its terms, None where a severity is missing."""
        return zip(self.layout.corruptions, self.columns, strict=True)

    def _mean(self, wrong: Float64Array, places: Iterable[str] = ()) -> Estimate:
        """Bound the mean of terms that stand for the mean over places: `CLEAN` or columns."""
        if self.unbounded:
            return Estimate(self.value(wrong), note=self.unbounded)
        share = self.of not in self.layout.unscaled
        spreads = [self._spreads[place] for place in places if place in self._spreads]
        spread = Spread.of_mean(spreads) if spreads else None
        kind: Any = {"share": share, "smallest": self.smallest, "spread": spread}
        bounds = error_interval(wrong, self.strata, self.groups, **kind)
        return with_bounds(self.value(wrong), bounds)

    def value(self, wrong: Float64Array) -> float:
        """Return the loss that terms make."""
        return float(mean_error(wrong, self.strata))

    def _severity_areas(self) -> Iterator[Aggregate]:
        if self.clean is None or self.layout.severities != (1, 2, 3, 4, 5):
            return
        for name, wrong in self.named():
            cells = self.layout.column(self.layout.groups, self.row, name)
            last = self.layout.groups.get(Place(self.row, name, 5))
            if cells is None or last is None or wrong is None:
                continue
            ends = self._wrong(last)
            assert ends is not None
            area = self._mean((self.clean / 2 + 5 * wrong - ends / 2) / 5, [CLEAN, name])
            yield self.made("severity_area", area, name)

    def _weighted(self, whole: Iterable[str]) -> Iterator[Aggregate]:
        """Yield ROOD-MRI's means of each column, and over columns, where all severities are."""
        if self.of not in self.layout.weighted or self.layout.severities != (1, 2, 3, 4, 5):
            return
        found = {}
        for name in whole:
            places = [Place(self.row, name, level) for level in self.layout.severities]
            levels = [self._wrong(self.layout.groups[place]) for place in places]
            known = [one for one in levels if one is not None]
            if self.clean is not None and len(known) == len(levels):
                found[name] = severity_weighted(self.clean, np.stack(known))
        for name, (mean, _) in found.items():
            yield self.made("weighted_severity_mean", self._mean(mean), name)
        if found:
            mean, lost = (np.mean(each, axis=0) for each in zip(*found.values(), strict=True))
            yield self.made("weighted_mean", self._mean(mean), covers=found)
            bounds = None if self.too_few else change_interval(lost, self.groups)
            estimate = with_bounds(float(lost.mean()), bounds, self.too_few)
            yield self.made("weighted_degradation", estimate, covers=found)

    def _ratios(self) -> Iterator[Aggregate]:
        pairs = [
            (name, own, other)
            for (name, own), other in zip(self.named(), self.reference, strict=True)
            if own is not None and other is not None and self.value(other) > 0
        ]
        for name, own, other in pairs:
            yield self.made("CE", self._ratio([own], [other]), name)
        if pairs:
            names, ours, theirs = zip(*pairs, strict=True)
            yield self.made("mCE", self._ratio(ours, theirs), covers=names)
        clean, reference = self.clean, self.reference_clean
        if clean is None or reference is None:
            return
        if self.value(reference) > 0:
            yield self.made("clean_error_ratio", self._ratio([clean], [reference]))
        losses = [(name, own - clean, other - reference) for name, own, other in pairs]
        losing = [loss for loss in losses if self.value(loss[2]) > 1e-9]
        for name, own, other in losing:
            yield self.made("relative_CE", self._ratio([own], [other], relative=True), name)
        if losing:
            names, ours, theirs = zip(*losing, strict=True)
            yield self.made("relative_mCE", self._ratio(ours, theirs, relative=True), covers=names)

    def _ratio(
        self,
        own: Sequence[Float64Array],
        reference: Sequence[Float64Array],
        *,
        relative: bool = False,
    ) -> Estimate:
        values = np.array([self.value(wrong) for wrong in own])
        below = np.array([self.value(wrong) for wrong in reference])
        if self.is_reference:
            return Estimate(float((values / below).mean()), note=OWN_REFERENCE)
        value = float((values / below).mean())
        if self.too_few:
            return Estimate(value, note=self.too_few)
        ratio = (values, self.influence(own), below, self.influence(reference), self.groups)
        interval = relative_mce_interval if relative else mce_interval
        return with_bounds(value, interval(*ratio, smallest=self.smallest, labels=self.strata))

    def influence(self, wrong: Sequence[Float64Array]) -> Float64Array:
        """Return what each unit adds to each of several losses: float64 (losses, U)."""
        return np.stack([error_influence(terms, self.strata, self.groups) for terms in wrong])


def mean_error(wrong: Float64Array, labels: Int64Array | None) -> float:
    """Return the mean of `wrong`, or with labels the mean over classes of the class's mean."""
    if labels is None:
        return float(wrong.mean())
    if labels.ndim == 2:
        columns = range(labels.shape[1])
        return float(np.mean([mean_error(wrong[:, c], labels[:, c]) for c in columns]))
    counts = np.bincount(labels)
    sums = np.bincount(labels, weights=wrong)
    return float((sums[counts > 0] / counts[counts > 0]).mean())


def _areas(layout: Layout, measured: Measured, row: int, of: str) -> Iterator[Aggregate]:
    """Yield an area on clean images, its mean over severities, and over columns."""
    clean = layout.groups.get(Place.clean(row))
    if clean is not None and (found := mean_area(clean, measured, of)) is not None:
        yield Aggregate(row, of, "clean", found)
    whole: dict[str, list[StoredCell]] = {}
    for name in layout.corruptions:
        cells = layout.column(layout.groups, row, name)
        found = None if cells is None else mean_area(cells, measured, of)
        if cells is not None and found is not None:
            whole[name] = cells
            yield Aggregate(row, of, "severity_mean", found, name, (name,))
    every = [cell for cells in whole.values() for cell in cells]
    if every and (found := mean_area(every, measured, of)) is not None:
        yield Aggregate(row, of, "mean", found, None, tuple(whole))


def mean_area(cells: Sequence[StoredCell], measured: Measured, of: str) -> Estimate | None:
    """Return the mean AUC of cells of the same images; None where one has none."""
    defined = measured.areas(cells, of)
    if defined is None:
        return None
    value = float(np.mean([area.value for area in defined]))
    influence = np.zeros(len(defined[0].influence))
    for area in defined:
        influence += area.influence
    bounds = logit_interval(
        value,
        influence / len(defined),
        measured.groups(cells[0].data),
        smallest=min(area.smallest for area in defined),
        degrees=float(np.median([area.degrees for area in defined])),
        unseen=float(np.mean([area.unseen for area in defined])),
    )
    return with_bounds(value, bounds)


def _changes(
    layout: Layout, measured: Measured, row: int, clean: StoredCell, of: str
) -> Iterator[Aggregate]:
    """Yield the flip rate of each column, and the feature drift where features were kept."""
    groups = measured.groups(clean.data)
    before = measured.scores(clean).answers
    features = measured.features(clean)
    for name in layout.corruptions:
        cells = layout.column(layout.groups, row, name)
        if cells is None:
            continue
        if before is not None:
            flips = np.zeros(before.shape)
            for cell in cells:
                flips += measured.scores(cell).answers != before
            terms = flips / len(cells)
            terms = terms.mean(axis=1) if terms.ndim == 2 else terms
            rate = with_bounds(float(terms.mean()), share_interval(terms, groups))
            yield Aggregate(row, of, "flip_rate", rate, name, (name,))
        kept = [] if features is None else [measured.features(cell) for cell in cells]
        if features is not None and all(array is not None for array in kept):
            known = [array for array in kept if array is not None]
            drifts = [feature_drift(features, array) for array in known]
            terms = np.mean([drift_terms(features, array) for array in known], axis=0)
            bounds = bounded_interval(terms, groups, limits=(0.0, 2.0), most=2.0)
            drift = with_bounds(float(np.mean(drifts)), bounds)
            yield Aggregate(row, of, "feature_drift", drift, name, (name,))


def at_chance(scores: Scores, metrics: Mapping[str, Metric]) -> bool:
    """Say whether a model's clean images are answered no better than by guessing.

    True where the interval of the first loss that has one holds what guessing scores, or lies on
    the worse side of it.

    Args:
        scores: Of the clean cell; they say what guessing scores.
        metrics: Of the task.
    """
    for loss, level in scores.chance.items():
        found = scores.estimates.get(loss, Estimate(None))
        best = found.low if metrics[loss].higher_is_better else found.high
        if best is not None:
            return best <= level if metrics[loss].higher_is_better else best >= level
    return False


def _same(some: Sequence[StoredCell], others: Sequence[StoredCell]) -> bool:
    return [c.fingerprint for c in some] == [c.fingerprint for c in others]


def joined(estimates: Sequence[Estimate]) -> Estimate:
    """Average independent estimates (of several data sets), intervals by MOVER."""
    values = [float(e.value) for e in estimates if e.value is not None]
    bounds: list[Bounds] = [
        (float(e.low), float(e.high)) for e in estimates if e.low is not None and e.high is not None
    ]
    if len(values) < len(estimates) or not values:
        return Estimate(None)
    mean = float(np.mean(values))
    return (
        Estimate(mean, *recovered(values, bounds)) if len(bounds) == len(values) else Estimate(mean)
    )
