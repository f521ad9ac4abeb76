"""Whether probabilities mean what they say: Brier score, ECE, NLL, temperature."""

from dataclasses import dataclass
from math import erfc, exp, pi, sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.base.former_keywords import formerly
from medrobust.exceptions import InvalidDataError
from medrobust.types import Float64Array, Int64Array, LabelKind

from .scores import chances_of, check_logits

BINS = 15
"""Bins of both calibration errors (Guo et al., arXiv:1706.04599)."""

MULTI_LABEL = "multi-label, binary-class"
STEPS = np.linspace(0, 4, 401)
FOLDED = np.array([2 * exp(-u * u / 2) / sqrt(2 * pi) - u * erfc(u / sqrt(2)) for u in STEPS])
"""E abs(u + z) - u of a standard normal z, at `STEPS`."""

_Sums: TypeAlias = tuple[Int64Array, Float64Array, Float64Array, Float64Array]

LOWEST, HIGHEST = 1e-4, 1e4
"""Limits of the search for the inverse temperature, far from what any logits need."""


def brier_terms(chances: Float64Array, labels: Int64Array, label_kind: LabelKind) -> Float64Array:
    """Return what each image adds to the Brier score: float64 (N,).

    Multi-class and ordinal: sum_k (p_k - y_k)^2, in [0, 2], as Brier (1950) has it. Binary: of
    one class alone, (p - y)^2, in [0, 1]. Multi-label: the mean over labels of (p - y)^2.

    Args:
        chances: float64 (N, K) from `probabilities`.
        labels: int64 (N,) or (N, L).
        label_kind: One of MedMNIST's four words for kinds of labels.
    """
    if label_kind == MULTI_LABEL:
        apart: Float64Array = ((chances - labels) ** 2).mean(axis=1)
        return apart
    squares = (chances - (labels[:, None] == np.arange(chances.shape[1]))) ** 2
    total: Float64Array = squares.sum(axis=1)
    return total / 2 if label_kind == "binary-class" else total


@formerly(task="label_kind")
def brier(chances: Float64Array, labels: Int64Array, label_kind: LabelKind) -> float:
    """Mean over images of `brier_terms`; 0 is best, a proper score (Brier, MWR 78 (1950) 1).

    Example:
        >>> brier(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 1]), "binary-class")
        0.1
    """
    return float(brier_terms(chances, labels, label_kind).mean())


def confidences(
    chances: Float64Array, labels: Int64Array, label_kind: LabelKind
) -> list[tuple[Float64Array, Float64Array]]:
    """Return (confidence, whether it came true), both float64 (N,), for what is calibrated.

    One pair for single-label tasks: the probability of the predicted class, and whether it is the
    right one. Multi-label: one pair a label: the probability that it is present, and whether it is.
    """
    if label_kind == MULTI_LABEL:
        return [(chances[:, c], labels[:, c].astype(float)) for c in range(chances.shape[1])]
    best = chances.argmax(axis=1)
    return [(chances[np.arange(len(chances)), best], (best == labels).astype(float))]


@formerly(task="label_kind")
def expected_calibration_error(
    chances: Float64Array, labels: Int64Array, label_kind: LabelKind, *, bins: int = BINS
) -> float:
    """ECE = sum_b (n_b / N) abs(mean confidence_b - share right_b) over bins of equal width.

    Multi-label: the mean over labels. Bins are [low, high), the last one closed.

    Args:
        chances: float64 (N, K) from `probabilities`.
        labels: int64 (N,) or (N, L).
        label_kind: One of MedMNIST's four words for kinds of labels.
        bins: How many.

    References:
        Naeini et al., AAAI 2015; Guo et al., arXiv:1706.04599.
    """
    return calibration_errors(chances, labels, label_kind, bins=bins)["ece"].value


@formerly(task="label_kind")
def adaptive_calibration_error(
    chances: Float64Array, labels: Int64Array, label_kind: LabelKind, *, bins: int = BINS
) -> float:
    """As ECE, over bins of equally many images: no bin is empty, none holds nearly all.

    In rising order of confidence image i = 0 ... N - 1 is in bin ⌊i · bins / N⌋: bin b begins at
    image ⌈b N / bins⌉, and what N leaves over is spread over all bins. The papers ask for equally
    many and leave the rest open; `numpy.array_split` gives it to the first bins, which moves the
    value by some 1e-3 on a few hundred images. Images of the same confidence, rounded to float32,
    share their mean of being right, so that their order in the set cannot matter where a bin ends
    among them.

    References:
        Nixon et al., arXiv:1904.01685; Nguyen and O'Connor, EMNLP 2015.
    """
    return calibration_errors(chances, labels, label_kind, bins=bins)["adaptive_ece"].value


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """A calibration error, and what its interval needs.

    Attributes:
        value: The mean over labels where there are several.
        influence: float64 (N,), mean 0, the bins held fixed.
        excess: By how much the value is too large on so few images: a bin whose confidence is
            right has a gap by chance.
    """

    value: float
    influence: Float64Array
    excess: float


def calibration_errors(
    chances: Float64Array, labels: Int64Array, label_kind: LabelKind, *, bins: int = BINS
) -> dict[str, CalibrationError]:
    """Return "ece" and "adaptive_ece"; both are biased upwards (Kumar et al., arXiv:1909.10155)."""
    pairs, count = confidences(chances, labels, label_kind), len(chances)
    edges, mass = _edges(bins), np.bincount(equal_mass(chances, bins), minlength=bins)
    sums = dict.fromkeys(("ece", "adaptive_ece"), 0.0)
    influence = {name: np.zeros(count) for name in sums}
    seen: dict[str, list[_Sums]] = {name: [] for name in sums}
    for confidence, right in pairs:
        order = _stable_order(confidence)
        ordered, truth = confidence[order], right[order]
        off, gap = ordered - truth, ordered - shared(ordered, truth)
        starts = np.searchsorted(ordered.astype(np.float32), edges)
        for name, counts in (("ece", starts[1:] - starts[:-1]), ("adaptive_ece", mass)):
            place = np.repeat(np.arange(bins), counts)
            gaps = np.bincount(place, weights=gap)
            terms = np.empty(count)
            terms[order] = np.sign(gaps)[place] * off / len(pairs)
            influence[name] += terms
            sums[name] += float(np.abs(gaps).sum() / count) / len(pairs)
            seen[name].append(_sums(ordered, off, counts[counts > 0]))
    excess = {name: _excess(*map(np.hstack, zip(*own, strict=True))) for name, own in seen.items()}
    return {
        name: CalibrationError(value, influence[name] - influence[name].mean(), excess[name])
        for name, value in sums.items()
    }


def _stable_order(values: Float64Array) -> Int64Array:
    """Return the stable order of values, in a third of the time where none are equal."""
    order: Int64Array = np.argsort(values)
    ordered = values[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = np.argsort(values, kind="stable")
    return order


def _edges(bins: int) -> NDArray[np.float32]:
    """Return where the bins of `equal_width` begin, and infinity: float32 (bins + 1,)."""
    edges = np.linspace(0, 1, bins + 1, dtype=np.float32)
    edges[-1] = np.inf
    return edges


def _sums(confidence: Float64Array, off: Float64Array, counts: Int64Array) -> _Sums:
    """Return images, sums of `off`, of confidence and of the square of `off` of each bin (B,)."""
    starts = counts.cumsum() - counts
    total = np.add.reduceat
    return counts, total(off, starts), total(confidence, starts), total(off * off, starts)


def _excess(
    counts: Int64Array, off: Float64Array, confidence: Float64Array, square: Float64Array
) -> float:
    """Return the mean over images of E abs(g + s z) - abs(g), g the gap of a bin and s its error.

    The gap is taken less what chance adds to its square, twice over, so that a bin near 0 counts
    as one at 0; a bin of few images has at least half the variance that its confidence gives.

    Args: of each bin (B,), as `_sums` has them.
    """
    gap, mean, squares = off / counts, confidence / counts, square / counts
    own = (squares - gap**2) / np.maximum(counts - 1, 1)
    variance = np.maximum(own, mean * (1 - mean) / counts / 2)
    error = np.sqrt(variance)
    rest = np.sqrt(np.maximum(gap**2 - 2 * variance, 0.0))
    steps = rest / np.where(error > 0, error, np.inf)
    return float((error * np.interp(steps, STEPS, FOLDED) * counts).sum() / counts.sum())


def shared(ordered: Float64Array, values: Float64Array) -> Float64Array:
    """Replace the values of neighbors that are equal in `ordered` as float32 by their mean.

    In float64 the order in which a softmax adds its classes up would part equal confidences.
    """
    rounded = ordered.astype(np.float32)
    new = rounded[1:] != rounded[:-1]
    if new.all():
        return values
    starts = np.append(0, np.flatnonzero(new) + 1)
    lengths = np.diff(starts, append=len(ordered))
    return np.repeat(np.add.reduceat(values, starts) / lengths, lengths)


def equal_width(confidence: Float64Array, bins: int) -> Int64Array:
    """Return the bin of each confidence in [0, 1]: int64 (N,), edges at k / bins as float32 has it.

    The edges are rounded to float32, as torchmetrics has them, and so are the confidences.
    """
    edges = np.linspace(0, 1, bins + 1, dtype=np.float32)
    place = np.searchsorted(edges, confidence.astype(np.float32), side="right") - 1
    return np.minimum(place, bins - 1).astype(np.int64)


def equal_mass(confidence: Float64Array, bins: int) -> Int64Array:
    """Return the bin of each of N sorted confidences, ⌊i · bins / N⌋: sizes differ by one at most.

    Example:
        >>> equal_mass(np.zeros(8), 3)
        array([0, 0, 0, 1, 1, 1, 2, 2])
        >>> equal_mass(np.zeros(10), 4)  # numpy.array_split has 3, 3, 2, 2
        array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
    """
    return (np.arange(len(confidence)) * bins // len(confidence)).astype(np.int64)


@formerly(task="label_kind")
def negative_log_likelihood(
    logits: NDArray[np.floating[Any]],
    labels: Int64Array,
    label_kind: LabelKind,
    *,
    temperature: float = 1.0,
) -> float:
    """Mean over images of -log p(label), logits divided by the temperature; natural logarithm.

    Multi-label: the mean over images and labels of the binary cross-entropy.
    """
    return float(likelihood_terms(logits, labels, label_kind, temperature=temperature).mean())


def likelihood_terms(
    logits: NDArray[np.floating[Any]],
    labels: Int64Array,
    label_kind: LabelKind,
    *,
    temperature: float = 1.0,
) -> Float64Array:
    """Return -log p(label) of each image: float64 (N,).

    Raises:
        InvalidDataError: If the temperature is not above 0, or a logit is not finite.
    """
    if not temperature > 0:
        raise InvalidDataError(f"temperature={temperature} must be above 0.")
    check_logits(logits)
    scaled = logits.astype(np.float64) / temperature
    if label_kind == MULTI_LABEL:
        terms: Float64Array = np.logaddexp(0.0, np.where(labels == 1, -scaled, scaled))
        means: Float64Array = terms.mean(axis=1)
        return means
    highest = scaled.max(axis=1)
    total = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
    result: Float64Array = total - scaled[np.arange(len(labels)), labels]
    return result


@formerly(task="label_kind")
def fit_temperature(
    logits: NDArray[np.floating[Any]], labels: Int64Array, label_kind: LabelKind
) -> float:
    """Find the temperature of least NLL on clean validation data, one for all classes.

    The labels are smoothed as Platt did for his sigmoid, over all N images at once since one
    temperature serves all classes: the target of an image is (N + 1) / (N + 2) for its own class,
    the rest in equal parts for the others, which is what N right answers tell after a uniform
    prior. Without it a split that the model answers perfectly has no finite optimum, and the
    temperature runs to 0. The NLL is convex in 1 / temperature, so its slope is bisected; logits
    that tell nothing apart leave the temperature at 1.

    Args:
        logits: (N, K), of the validation split.
        labels: int64 (N,) or (N, L).
        label_kind: One of MedMNIST's four words for kinds of labels.

    References:
        Guo et al., arXiv:1706.04599; Platt, Advances in Large Margin Classifiers (1999), 2.2.
    """
    check_logits(logits)
    exact = logits.astype(np.float64)
    targets = smoothed_targets(labels, exact.shape[1], label_kind)
    spread = exact if label_kind == MULTI_LABEL else np.ptp(exact, axis=1)
    if not spread.any():
        return 1.0
    low, high = LOWEST, HIGHEST
    for _ in range(80):
        middle = float(np.sqrt(low * high))
        if _slope(exact, targets, label_kind, middle) <= 0:
            low = middle
        else:
            high = middle
    return 1 / float(np.sqrt(low * high))


def at_limit(temperature: float) -> bool:
    """Say whether a fitted temperature is where its search ends, and no optimum.

    Example:
        >>> at_limit(1e4), at_limit(1e-4), at_limit(100.0)
        (True, True, False)
    """
    return max(temperature * LOWEST, 1 / (temperature * HIGHEST)) > 0.999


def smoothed_targets(labels: Int64Array, classes: int, label_kind: LabelKind) -> Float64Array:
    """Return the chances that `fit_temperature` fits to: float64 (N, K).

    Example:
        >>> smoothed_targets(np.array([0, 0, 1]), 2, "binary-class").tolist()
        [[0.8, 0.2], [0.8, 0.2], [0.2, 0.8]]
    """
    hit = labels == 1 if label_kind == MULTI_LABEL else labels[:, None] == np.arange(classes)
    others = 1 if label_kind == MULTI_LABEL else classes - 1
    missed = 1 / (len(labels) + 2)
    return np.where(hit, 1 - missed, missed / others)


def _slope(
    logits: Float64Array, targets: Float64Array, label_kind: LabelKind, inverse: float
) -> float:
    """Return the derivative of the NLL by the inverse temperature, up to a positive factor."""
    return float((logits * (chances_of(logits * inverse, label_kind) - targets)).mean())
