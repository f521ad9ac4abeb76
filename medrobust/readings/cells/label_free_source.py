"""What is learned on a clean validation cell, and what it says of cells without their labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import label_free
from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.calibration import fit_temperature
from medrobust.metrics.classification import area_under_roc
from medrobust.metrics.comparisons import resample_counts
from medrobust.metrics.label_free import Answers
from medrobust.metrics.scores import probabilities
from medrobust.types import Float64Array, Int64Array, LabelKind

RESAMPLES = 200

BINS = 10
"""Slices of confidence, with as many validation images in each (Mandoline)."""

CLASSES = 20
"""Slices of answers: the most frequent ones."""

FEWEST = 10
"""Validation images that a slice of answers must have."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number of a cell, estimated by one method.

    Attributes:
        metric: "accuracy" or "auroc".
        method: One of `METHODS`.
        value: The estimate.
        draws: float64 (B,), of images drawn anew.
        truth: By the labels.
        truth_draws: float64 (B,), of the same draws.
    """

    metric: str
    method: str
    value: float
    draws: Float64Array
    truth: float
    truth_draws: Float64Array


class Source:
    """What is learned on a clean validation cell.

    Args:
        cell: Of the validation split.
        kind: Of the labels, one an image.
        transport: Whether COT and COTT are computed.
    """

    def __init__(self, cell: StoredCell, kind: LabelKind, transport: bool) -> None:
        self.kind, self.labels = kind, cell.data.labels
        logits = cell.arrays["logits"]
        self.temperature = fit_temperature(logits, self.labels, kind)
        self.answers = self.read(logits)
        self.right = self.answers.predicted == self.labels
        self.marginal = label_free.class_shares(self.labels, logits.shape[1])
        self.counts = _draws(cell)
        self.edges = np.unique(np.quantile(self.answers.confidence, np.arange(1, BINS) / BINS))
        often = np.bincount(self.answers.predicted, minlength=logits.shape[1])
        order = np.argsort(-often, kind="stable")[:CLASSES]
        self.classes = order[(often[order] >= FEWEST) & (often[order] <= often.sum() - FEWEST)]
        self.slices = self._slices(self.answers)
        chances = self.answers.chances
        self.moved = label_free.transport(chances, self.marginal) if transport else None
        self.areas = _areas(chances, self.labels[:, None] == np.arange(logits.shape[1]))
        self.area_draws = _areas_drawn(
            chances, self.labels[:, None] == np.arange(logits.shape[1]), self.counts
        )

    def read(self, logits: NDArray[np.float32]) -> Answers:
        """Return the answers at the fitted temperature."""
        return Answers(probabilities(logits.astype(np.float64) / self.temperature, self.kind))

    def estimate(self, cell: StoredCell, twins: Sequence[StoredCell]) -> Iterator[Estimate]:
        """Estimate a cell by every method.

        Args:
            cell: Its labels judge the estimates alone.
            twins: The same images under other prompts.
        """
        target, counts = self.read(cell.arrays["logits"]), _draws(cell)
        right = (target.predicted == cell.data.labels).astype(float)
        truth = float(right.mean()), _means(counts, right)
        chances = label_free.calibrated(self.answers.chances, self.labels, target.chances)
        for method, value, draws in (
            *self._confidences(target, counts),
            *self._thresholds(target, counts),
            self._calibrated(target, chances, counts),
            *self._transports(target, counts),
            *_agreements(target, twins, counts),
            self._weighted(target, counts),
        ):
            yield Estimate("accuracy", method, value, draws, *truth)
        yield from self._area(cell, target, chances, counts)

    def _confidences(self, target: Answers, counts: Int64Array) -> Iterator["_Found"]:
        source, known = self.answers, self.counts
        accuracy = _means(known, self.right.astype(float))
        confidence = _means(counts, target.confidence)
        apart = confidence - _means(known, source.confidence)
        change = label_free.difference_of_confidences(Answers(source.chances, self.right), target)
        yield "no_change", float(self.right.mean()), accuracy
        yield "ac", label_free.average_confidence(target), confidence
        yield "doc", change, np.clip(accuracy + apart, 0.0, 1.0)

    def _thresholds(self, target: Answers, counts: Int64Array) -> Iterator["_Found"]:
        for method, scores in (("atc_mc", "confidence"), ("atc_ne", "negative_entropy")):
            given = getattr(self.answers, scores), self.right, getattr(target, scores)
            value = label_free.thresholded_confidence(*given)
            yield method, value, thresholded(*given[:2], self.counts, given[2], counts)

    def _calibrated(self, target: Answers, chances: Float64Array, counts: Int64Array) -> "_Found":
        """CBPE, its calibration held fixed in draws."""
        own = chances[np.arange(len(chances)), target.predicted]
        return "cbpe", label_free.expected_accuracy(chances, target.predicted), _means(counts, own)

    def _transports(self, target: Answers, counts: Int64Array) -> Iterator["_Found"]:
        """COT by its potentials in draws, COTT with the assignment held fixed."""
        if self.moved is None:
            return
        known, own = self.moved, label_free.transport(target.chances, self.marginal)
        shares = _means(self.counts, np.eye(len(self.marginal))[self.labels])
        some = counts[:, own.order]
        yield (
            "cot",
            1 - float(own.costs.mean()),
            1 - _means(some, own.images) - shares @ own.classes,
        )
        given = -known.costs, self.right[known.order], -own.costs
        value = label_free.thresholded_confidence(*given)
        draws = thresholded(*given[:2], self.counts[:, known.order], given[2], some)
        yield "cott", value, draws

    def _slices(self, answers: Answers) -> Float64Array:
        """Return slices of confidence and answers: float64 (N, D), -1 or 1."""
        sure = answers.confidence[:, None] > self.edges
        return np.where(np.c_[sure, answers.predicted[:, None] == self.classes], 1.0, -1.0)

    def _weighted(self, target: Answers, counts: Int64Array) -> "_Found":
        """Mandoline; in draws its weights move by one step of Newton's method."""
        own, known, right = self._slices(target), self.slices, self.right.astype(float)
        weights = label_free.slice_weights(known, own)
        value = label_free.weighted_accuracy(self.right, weights)
        off = known - weights @ known
        curve = (weights * off.T) @ off + label_free.RIDGE * np.eye(off.shape[1])
        step = np.linalg.solve(curve, (weights * off.T) @ (right - value))
        drawn = self.counts * weights
        total = np.maximum(drawn.sum(axis=1), 1e-12)
        moved = _means(counts, own) - (drawn @ known) / total[:, None]
        return "mandoline", value, np.clip((drawn @ right) / total + moved @ step, 0.0, 1.0)

    def _area(
        self, cell: StoredCell, target: Answers, chances: Float64Array, counts: Int64Array
    ) -> Iterator[Estimate]:
        """AUROC, the mean over classes, each against all others."""
        truth = cell.data.labels[:, None] == np.arange(chances.shape[1])
        value = _areas(target.chances, truth)
        if value is None or self.areas is None:
            return
        drawn = _areas_drawn(target.chances, truth, counts)
        yield Estimate("auroc", "no_change", self.areas, self.area_draws, value, drawn)
        columns = zip(target.chances.T, chances.T, strict=True)
        found = [label_free.expected_area(scores, own) for scores, own in columns]
        known = [area for area in found if area is not None]
        if known:
            own = _areas_drawn(target.chances, chances, counts)
            yield Estimate("auroc", "cbpe", float(np.mean(known)), own, value, drawn)


_Found = tuple[str, float, Float64Array]
"""Method, estimate, draws."""


def _agreements(
    target: Answers, twins: Sequence[StoredCell], counts: Int64Array
) -> Iterator[_Found]:
    if twins:
        others = np.stack([twin.arrays["logits"].argmax(axis=1) for twin in twins])
        agree = (others == target.predicted).mean(axis=0)
        yield "gde", float(agree.mean()), _means(counts, agree)


def _areas(scores: Float64Array, truth: NDArray[np.bool_]) -> float | None:
    found = [area_under_roc(own, hits) for own, hits in zip(scores.T, truth.T, strict=True)]
    known = [area for area in found if area is not None]
    return float(np.mean(known)) if known else None


def _areas_drawn(
    scores: Float64Array, chances: NDArray[np.generic], counts: Int64Array
) -> Float64Array:
    """Return the mean AUROC over classes of each draw; equal scores are rare, and ranked."""
    total, classes = np.zeros(len(counts)), np.zeros(len(counts))
    drawn = np.ascontiguousarray(counts.T, dtype=np.float32)
    for own, chance in zip(scores.T, chances.T.astype(np.float32), strict=True):
        order = np.argsort(own, kind="stable")
        every = drawn[order]
        hits = every * chance[order, None]
        misses = every - hits
        above = hits.sum(axis=0, dtype=np.float64)
        pairs = above * misses.sum(axis=0, dtype=np.float64)
        below = misses.cumsum(axis=0)
        below -= misses / 2
        below *= hits
        known = pairs > 0
        total += np.where(known, below.sum(axis=0, dtype=np.float64), 0) / np.where(known, pairs, 1)
        classes += known
    return total / np.maximum(classes, 1)


def _draws(cell: StoredCell) -> Int64Array:
    """Draw how often each image is taken, patients whole: int64 (B, N), equal for all models."""
    groups = group_codes(cell.data.groups)
    units = len(cell.data) if groups is None else int(groups.max()) + 1
    key = f"medrobust label-free/{cell.data.fingerprint}"
    counts = resample_counts(key, units, resamples=RESAMPLES)
    return counts if groups is None else counts[:, groups]


def _means(counts: Int64Array, values: Float64Array) -> Float64Array:
    """Return the mean of values (N, ...) in each draw: float64 (B, ...)."""
    total = counts.sum(axis=1).reshape(-1, *[1] * (values.ndim - 1))
    found: Float64Array = (counts @ values) / total
    return found


def thresholded(
    source: Float64Array,
    right: NDArray[np.bool_],
    known: Int64Array,
    target: Float64Array,
    counts: Int64Array,
) -> Float64Array:
    """Return ATC for each draw: thresholds from the source, shares from the target.

    Args:
        source: float64 (N,), scores.
        right: bool (N,).
        known: int64 (B, N), how often each is drawn.
        target: float64 (M,).
        counts: int64 (B, M).
    """
    order = np.argsort(source, kind="stable")
    passed = known[:, order].cumsum(axis=1) > (known @ ~right)[:, None]
    limits = np.where(passed.any(axis=1), source[order][passed.argmax(axis=1)], np.inf)
    limits = np.where((known @ ~right) == 0, -np.inf, limits)
    ordered = np.argsort(target, kind="stable")
    below = np.c_[np.zeros(len(counts), int), counts[:, ordered].cumsum(axis=1)]
    place = np.searchsorted(target[ordered], limits, side="left")
    found: Float64Array = 1 - below[np.arange(len(counts)), place] / counts.sum(axis=1)
    return found
