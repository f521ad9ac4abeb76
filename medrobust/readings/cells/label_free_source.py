"""What is learned on a clean validation cell, and what it says of cells without their labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import label_free
from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.areas_numba import drawn_pairs
from medrobust.metrics.calibration import fit_temperature
from medrobust.metrics.classification import area_under_roc
from medrobust.metrics.comparisons import resample_counts
from medrobust.metrics.label_free import Answers
from medrobust.metrics.scores import probabilities
from medrobust.types import Float64Array, LabelKind

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
    """What is learned on a clean validation cell, once for all cells that it is held against.

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
        self._targets: dict[str, Float64Array] = {}
        self.counts = self._draws(cell)
        self._accuracy = _means(self.counts, self.right.astype(float))
        self._confidence = _means(self.counts, self.answers.confidence)
        self.edges = np.unique(np.quantile(self.answers.confidence, np.arange(1, BINS) / BINS))
        often = np.bincount(self.answers.predicted, minlength=logits.shape[1])
        order = np.argsort(-often, kind="stable")[:CLASSES]
        self.classes = order[(often[order] >= FEWEST) & (often[order] <= often.sum() - FEWEST)]
        self.slices = self._slices(self.answers)
        chances, truth = self.answers.chances, self.labels[:, None] == np.arange(logits.shape[1])
        self.steps = label_free.calibration(chances, self.labels)
        self.known = {
            name: self._known(getattr(self.answers, name), self.right, self.counts)
            for name in ("confidence", "negative_entropy")
        }
        self.marginal = label_free.class_shares(self.labels, logits.shape[1])
        self.moved = transport
        if transport:
            own = label_free.transport(chances, self.marginal)
            self.known["costs"] = self._known(-own.costs, self.right, self.counts)
            self._shares = _means(self.counts, truth.astype(float))
        self.areas = _areas(chances, truth)
        (self.area_draws,) = _areas_drawn(chances, [truth], self.counts)

    def read(self, logits: NDArray[np.float32]) -> Answers:
        """Return the answers at the fitted temperature."""
        return Answers(probabilities(logits.astype(np.float64) / self.temperature, self.kind))

    def estimate(self, cell: StoredCell, twins: Sequence[StoredCell]) -> Iterator[Estimate]:
        """Estimate a cell by every method.

        Args:
            cell: Its labels judge the estimates alone.
            twins: The same images under other prompts.
        """
        target, counts = self.read(cell.arrays["logits"]), self._draws(cell)
        right = (target.predicted == cell.data.labels).astype(float)
        truth = float(right.mean()), _means(counts, right)
        chances = label_free.calibrated(self.steps, target.chances)
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

    def _draws(self, cell: StoredCell) -> Float64Array:
        """Draw how often each image is taken, patients whole: (B, N), equal for all models."""
        key = cell.data.fingerprint
        if key not in self._targets:
            groups = group_codes(cell.data.groups)
            units = len(cell.data) if groups is None else int(groups.max()) + 1
            counts = resample_counts(f"medrobust label-free/{key}", units, resamples=RESAMPLES)
            drawn = counts if groups is None else counts[:, groups]
            self._targets[key] = drawn.astype(np.float64)
        return self._targets[key]

    def _known(
        self, scores: Float64Array, right: NDArray[np.bool_], counts: Float64Array
    ) -> tuple[Float64Array, NDArray[np.bool_], Float64Array]:
        """Return what ATC learns: scores, which answers are right, and a threshold a draw."""
        return scores, right, thresholds(scores, right, counts)

    def _confidences(self, target: Answers, counts: Float64Array) -> Iterator["_Found"]:
        source, accuracy = self.answers, self._accuracy
        confidence = _means(counts, target.confidence)
        apart = confidence - self._confidence
        change = label_free.difference_of_confidences(Answers(source.chances, self.right), target)
        yield "no_change", float(self.right.mean()), accuracy
        yield "ac", label_free.average_confidence(target), confidence
        yield "doc", change, np.clip(accuracy + apart, 0.0, 1.0)

    def _thresholds(self, target: Answers, counts: Float64Array) -> Iterator["_Found"]:
        for method, name in (("atc_mc", "confidence"), ("atc_ne", "negative_entropy")):
            yield self._thresholded(method, name, getattr(target, name), counts)

    def _thresholded(
        self, method: str, name: str, scores: Float64Array, counts: Float64Array
    ) -> "_Found":
        known, right, limits = self.known[name]
        value = label_free.thresholded_confidence(known, right, scores)
        return method, value, shares_from(scores, limits, counts)

    def _calibrated(self, target: Answers, chances: Float64Array, counts: Float64Array) -> "_Found":
        """CBPE, its calibration held fixed in draws."""
        own = chances[np.arange(len(chances)), target.predicted]
        return "cbpe", label_free.expected_accuracy(chances, target.predicted), _means(counts, own)

    def _transports(self, target: Answers, counts: Float64Array) -> Iterator["_Found"]:
        """COT by its potentials in draws, COTT with the assignment held fixed."""
        if not self.moved:
            return
        own = label_free.transport(target.chances, self.marginal)
        drawn = 1 - _means(counts, own.images) - self._shares @ own.classes
        yield "cot", 1 - float(own.costs.mean()), drawn
        yield self._thresholded("cott", "costs", -own.costs, counts)

    def _slices(self, answers: Answers) -> Float64Array:
        """Return slices of confidence and answers: float64 (N, D), -1 or 1."""
        sure = answers.confidence[:, None] > self.edges
        return np.where(np.c_[sure, answers.predicted[:, None] == self.classes], 1.0, -1.0)

    def _weighted(self, target: Answers, counts: Float64Array) -> "_Found":
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
        self, cell: StoredCell, target: Answers, chances: Float64Array, counts: Float64Array
    ) -> Iterator[Estimate]:
        """AUROC, the mean over classes, each against all others."""
        truth = cell.data.labels[:, None] == np.arange(chances.shape[1])
        value = _areas(target.chances, truth)
        if value is None or self.areas is None:
            return
        drawn, own = _areas_drawn(target.chances, [truth, chances], counts)
        yield Estimate("auroc", "no_change", self.areas, self.area_draws, value, drawn)
        columns = zip(target.chances.T, chances.T, strict=True)
        found = [label_free.expected_area(scores, own) for scores, own in columns]
        known = [area for area in found if area is not None]
        if known:
            yield Estimate("auroc", "cbpe", float(np.mean(known)), own, value, drawn)


_Found = tuple[str, float, Float64Array]
"""Method, estimate, draws."""


def _agreements(
    target: Answers, twins: Sequence[StoredCell], counts: Float64Array
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
    scores: Float64Array, truths: Sequence[NDArray[np.generic]], counts: Float64Array
) -> list[Float64Array]:
    """Return the mean AUROC over classes of each draw, for each of some truths or chances (N, K).

    Equal scores are rare, and ranked.
    """
    total, classes = np.zeros((2, len(truths), len(counts)))
    drawn = np.ascontiguousarray(counts.T)
    for k, own in enumerate(scores.T):
        order = np.argsort(own, kind="stable")
        for place, truth in enumerate(truths):
            sums = np.zeros((3, len(counts)))
            drawn_pairs(order, truth[:, k].astype(np.float64), drawn, sums)
            pairs = sums[1] * sums[2]
            total[place] += np.where(pairs > 0, sums[0], 0) / np.where(pairs > 0, pairs, 1)
            classes[place] += pairs > 0
    return list(total / np.maximum(classes, 1))


def _means(counts: Float64Array, values: Float64Array) -> Float64Array:
    """Return the mean of values (N, ...) in each draw: float64 (B, ...)."""
    total = counts.sum(axis=1).reshape(-1, *[1] * (values.ndim - 1))
    found: Float64Array = (counts @ values) / total
    return found


def thresholds(
    scores: Float64Array, right: NDArray[np.bool_], counts: Float64Array
) -> Float64Array:
    """Return ATC's threshold of each draw of the source: float64 (B,).

    Args:
        scores: float64 (N,), larger is surer.
        right: bool (N,).
        counts: float64 (B, N), how often each is drawn.
    """
    order = np.argsort(scores, kind="stable")
    wrong = counts @ ~right
    passed = counts[:, order].cumsum(axis=1) > wrong[:, None]
    limits = np.where(passed.any(axis=1), scores[order][passed.argmax(axis=1)], np.inf)
    found: Float64Array = np.where(wrong == 0, -np.inf, limits)
    return found


def shares_from(scores: Float64Array, limits: Float64Array, counts: Float64Array) -> Float64Array:
    """Return ATC of each draw: the share of the target at or above its threshold, float64 (B,).

    Args:
        scores: float64 (M,).
        limits: float64 (B,).
        counts: float64 (B, M), how often each is drawn.
    """
    below = (counts * (scores < limits[:, None])).sum(axis=1)
    found: Float64Array = 1 - below / counts.sum(axis=1)
    return found
