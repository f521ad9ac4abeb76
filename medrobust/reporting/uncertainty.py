"""Aggregates of one matrix with intervals, paired image by image over corruptions and models."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import (
    Estimate,
    Metric,
    baseline,
    baselines,
    benchmark_error,
    feature_drift,
    relative_benchmark_error,
)
from medrobust.metrics.aggregates import (
    error_influence,
    error_interval,
    mce_interval,
    relative_mce_interval,
)
from medrobust.metrics.baselines import MEDMNIST_C
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.intervals import Bounds, logit_interval, recovered, share_interval
from medrobust.metrics.robustness import GUARD, Ratios
from medrobust.tasks.base import Scores, Terms
from medrobust.types import Float64Array, Int64Array

from .measure import Measured

Key: TypeAlias = tuple[str, int, str, int | None]
"""(of, row, metric, column): what an aggregate is made from, whose it is, its name, its place."""

Groups: TypeAlias = Mapping[tuple[int, str, int], Sequence[StoredCell]]
"""(row, corruption, severity) -> the cells of all seeds; clean under "clean", 0."""


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

    def column(self, groups: Groups, row: int, name: str) -> list[StoredCell] | None:
        """Return all cells of a column, None if a severity is missing."""
        keys = [(row, name, severity) for severity in self.severities]
        if not all(key in groups for key in keys):
            return None
        return [cell for key in keys for cell in groups[key]]


def aggregates(layout: Layout, measured: Measured) -> dict[Key, Estimate]:
    """Compute every aggregate of every row that its cells allow.

    Names: `clean`, `severity_mean` and `severity_area` (a column), `mean` (over columns), `CE`,
    `relative_CE`, `mCE`, `relative_mCE`, `clean_error_ratio`; on sets of MedMNIST-C `BE`, `rBE`,
    `rBE_guarded` and the ratios of sums; `flip_rate` and `feature_drift` (a column).
    """
    found: dict[Key, Estimate] = {}
    for row in range(layout.rows):
        for of in layout.losses:
            errors = Errors(layout, measured, row, of)
            found |= {(of, row, name, c): value for name, c, value in errors.all()}
            areas = _areas(layout, measured, row, of)
            found |= {(of, row, name, c): value for name, c, value in areas}
        clean = layout.groups.get((row, "clean", 0))
        alike = None if clean is None else _counted_alike(layout, measured, clean[0])
        if clean is not None and alike is not None:
            for name, c, value in _changes(layout, measured, row, clean[0]):
                found[alike, row, name, c] = value
    return found


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
        strata: Classes of the units where they count equally, else None.
        unit: What the loss is a mean over.
    """

    def __init__(self, layout: Layout, measured: Measured, row: int, of: str) -> None:
        self.layout, self.measured, self.row, self.of = layout, measured, row, of
        self.strata: Int64Array | None = None
        self.unit = "image"
        clean = layout.groups.get((row, "clean", 0))
        self.clean = None if clean is None else self._wrong(clean)
        self.columns = self._columns(layout.groups)
        reference_clean = layout.reference.get((row, "clean", 0))
        self.reference_clean = None if reference_clean is None else self._wrong(reference_clean)
        self.reference = self._columns(layout.reference)
        self.is_reference = any(
            key[0] == row and _same(cells, layout.groups.get(key, ()))
            for key, cells in layout.reference.items()
        )

    def _columns(self, groups: Groups) -> list[Float64Array | None]:
        cells = [self.layout.column(groups, self.row, c) for c in self.layout.corruptions]
        return [None if column is None else self._wrong(column) for column in cells]

    def _wrong(self, cells: Sequence[StoredCell]) -> Float64Array | None:
        found = self.measured.mean_terms(cells, self.of)
        if found is None:
            return None
        self.strata, self.unit = found.strata, found.unit
        return found.values

    @property
    def groups(self) -> Int64Array | None:
        """Patients of the units, or None."""
        return self.measured.groups(self._any().data, self.unit)

    @property
    def over_columns(self) -> Float64Array | None:
        """How often each image is wrong on average over the columns that are whole."""
        whole = [wrong for wrong in self.columns if wrong is not None]
        return np.mean(whole, axis=0) if whole else None

    def _any(self) -> StoredCell:
        return next(iter(self.layout.groups.values()))[0]

    def all(self) -> Iterator[tuple[str, int | None, Estimate]]:
        """Yield (name, column, estimate)."""
        if self.clean is not None:
            yield "clean", None, self._mean(self.clean)
        whole = [(c, wrong) for c, wrong in enumerate(self.columns) if wrong is not None]
        for c, wrong in whole:
            yield "severity_mean", c, self._mean(wrong)
        if (mean := self.over_columns) is not None:
            yield "mean", None, self._mean(mean)
        yield from self._severity_areas()
        if self.of in self.layout.ratios:
            yield from self._ratios()
            yield from self._published()

    def _mean(self, wrong: Float64Array) -> Estimate:
        bounds = error_interval(wrong, self.strata, self.groups)
        return with_bounds(self._value(wrong), bounds)

    def _value(self, wrong: Float64Array) -> float:
        return float(mean_error(wrong, self.strata))

    def _severity_areas(self) -> Iterator[tuple[str, int | None, Estimate]]:
        if self.clean is None or self.layout.severities != (1, 2, 3, 4, 5):
            return
        for c, name in enumerate(self.layout.corruptions):
            cells = self.layout.column(self.layout.groups, self.row, name)
            last = self.layout.groups.get((self.row, name, 5))
            wrong = self.columns[c]
            if cells is None or last is None or wrong is None:
                continue
            ends = self._wrong(last)
            assert ends is not None
            yield "severity_area", c, self._mean((self.clean / 2 + 5 * wrong - ends / 2) / 5)

    def _ratios(self) -> Iterator[tuple[str, int | None, Estimate]]:
        pairs = [
            (c, own, other)
            for c, (own, other) in enumerate(zip(self.columns, self.reference, strict=True))
            if own is not None and other is not None and self._value(other) > 0
        ]
        for c, own, other in pairs:
            yield "CE", c, self._ratio([own], [other])
        if pairs:
            yield "mCE", None, self._ratio([own for _, own, _ in pairs], [b for *_, b in pairs])
        clean, reference = self.clean, self.reference_clean
        if clean is None or reference is None:
            return
        if self._value(reference) > 0:
            yield "clean_error_ratio", None, self._ratio([clean], [reference])
        losses = [(c, own - clean, other - reference) for c, own, other in pairs]
        losing = [loss for loss in losses if self._value(loss[2]) > 1e-9]
        for c, own, other in losing:
            yield "relative_CE", c, self._ratio([own], [other], relative=True)
        if losing:
            ours, theirs = [loss[1] for loss in losing], [loss[2] for loss in losing]
            yield "relative_mCE", None, self._ratio(ours, theirs, relative=True)

    def _ratio(
        self,
        own: Sequence[Float64Array],
        reference: Sequence[Float64Array],
        *,
        relative: bool = False,
    ) -> Estimate:
        values = np.array([self._value(wrong) for wrong in own])
        below = np.array([self._value(wrong) for wrong in reference])
        if self.is_reference:
            return Estimate(float((values / below).mean()))  # by definition: no interval
        interval = relative_mce_interval if relative else mce_interval
        influence = (self._influence(own), self._influence(reference))
        bounds = interval(values, influence[0], below, influence[1], self.groups)
        return with_bounds(float((values / below).mean()), bounds)

    def _influence(self, wrong: Sequence[Float64Array]) -> Float64Array:
        return np.stack([error_influence(terms, self.strata) for terms in wrong])

    def _published(self) -> Iterator[tuple[str, int | None, Estimate]]:
        """Yield BE and rBE where the suite is the registry of a set that AlexNet is known on."""
        layout = self.layout
        known = layout.suite in baselines(MEDMNIST_C)
        if not known or layout.suite != layout.dataset or layout.severities != (1, 2, 3, 4, 5):
            return
        published = baseline(MEDMNIST_C, layout.suite)
        if published.error != self.of:
            return
        wrong = {
            name: terms
            for name, terms in zip(layout.corruptions, self.columns, strict=True)
            if terms is not None and name in published.corruptions
        }
        means = {name: self._value(terms) for name, terms in wrong.items()}
        ratios = benchmark_error(means, published)
        denominators = {name: published.corruptions[name] for name in wrong}
        yield from self._of_baseline("BE", ratios, wrong, denominators)
        if self.clean is None:
            return
        clean = self._value(self.clean)
        losses = {name: terms - self.clean for name, terms in wrong.items()}
        lost = {name: value - published.clean for name, value in denominators.items()}
        for name, guard in (("rBE", None), ("rBE_guarded", GUARD)):
            ratios = relative_benchmark_error(means, clean, published, guard=guard)
            yield from self._of_baseline(name, ratios, losses, lost)

    def _of_baseline(
        self,
        name: str,
        ratios: Ratios,
        wrong: Mapping[str, Float64Array],
        below: Mapping[str, float],
    ) -> Iterator[tuple[str, int | None, Estimate]]:
        used = [c for c, value in ratios.each.items() if value is not None]
        if not used:
            return
        values = np.array([self._value(wrong[c]) for c in used])
        bases = np.array([below[c] for c in used])
        influence = self._influence([wrong[c] for c in used])
        none = np.zeros_like(influence)
        interval = mce_interval if name == "BE" else relative_mce_interval
        for i, c in enumerate(used):
            one = slice(i, i + 1)
            bounds = interval(values[one], influence[one], bases[one], none[one], self.groups)
            place = self.layout.corruptions.index(c)
            yield f"{name}_c", place, with_bounds(ratios.each[c], bounds)
        bounds = interval(values, influence, bases, none, self.groups)
        yield name, None, with_bounds(ratios.mean_of_ratios, bounds)
        if name != "rBE_guarded":
            whole = Estimate(ratios.ratio_of_sums)
            if ratios.ratio_of_sums is not None:
                total = influence.sum(axis=0, keepdims=True)
                sums = values.sum(keepdims=True), bases.sum(keepdims=True)
                bounds = interval(sums[0], total, sums[1], none[:1], self.groups)
                whole = with_bounds(ratios.ratio_of_sums, bounds)
            yield f"{name}_ratio_of_sums", None, whole


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


def _areas(
    layout: Layout, measured: Measured, row: int, of: str
) -> Iterator[tuple[str, int | None, Estimate]]:
    """Yield an area on clean images, its mean over severities, and over columns."""
    clean = layout.groups.get((row, "clean", 0))
    if clean is not None and (found := _mean_area(clean, measured, of)) is not None:
        yield "clean", None, found
    whole: list[StoredCell] = []
    for c, name in enumerate(layout.corruptions):
        cells = layout.column(layout.groups, row, name)
        found = None if cells is None else _mean_area(cells, measured, of)
        if cells is not None and found is not None:
            whole += cells
            yield "severity_mean", c, found
    if whole and (found := _mean_area(whole, measured, of)) is not None:
        yield "mean", None, found


def _mean_area(cells: Sequence[StoredCell], measured: Measured, of: str) -> Estimate | None:
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
    layout: Layout, measured: Measured, row: int, clean: StoredCell
) -> Iterator[tuple[str, int | None, Estimate]]:
    """Yield the flip rate of each column, and the feature drift where features were kept."""
    groups = measured.groups(clean.data)
    before = measured.scores(clean).answers
    features = measured.features(clean)
    for c, name in enumerate(layout.corruptions):
        cells = layout.column(layout.groups, row, name)
        if cells is None:
            continue
        if before is not None:
            flips = np.zeros(before.shape)
            for cell in cells:
                flips += measured.scores(cell).answers != before
            terms = flips / len(cells)
            terms = terms.mean(axis=1) if terms.ndim == 2 else terms
            yield "flip_rate", c, with_bounds(float(terms.mean()), share_interval(terms, groups))
        kept = [] if features is None else [measured.features(cell) for cell in cells]
        if features is not None and all(array is not None for array in kept):
            drifts = [feature_drift(features, array) for array in kept if array is not None]
            yield "feature_drift", c, Estimate(float(np.mean(drifts)))


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
