"""Accuracy without labels: what a model's confidence says of studies whose truth nobody knows.

Source: validation images with labels. Target: images without. Probabilities are those of the
temperature that was fitted on the source. None of these is right under every change (Garg et al.,
arXiv:2201.04234, prove that none can be); what they are worth is measured on the corruptions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array

RIDGE = 1e-4
"""Weight of the squared coefficients of Mandoline."""

NEWTON = 60
"""Steps of Newton's method, and halvings of each, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model answers to N images.

    Attributes:
        chances: float64 (N, K), of the temperature-scaled model.
        right: bool (N,); None where no truth is known.
    """

    chances: Float64Array
    right: NDArray[np.bool_] | None = None

    @property
    def confidence(self) -> Float64Array:
        """The largest chance of each image."""
        found: Float64Array = self.chances.max(axis=1)
        return found

    @property
    def negative_entropy(self) -> Float64Array:
        """Sum over classes of p ln p: larger is surer, 0 the most."""
        return negative_entropy(self.chances)

    @property
    def predicted(self) -> Int64Array:
        """The answer to each image, the lowest class on a tie."""
        found: Int64Array = self.chances.argmax(axis=1).astype(np.int64)
        return found


def negative_entropy(chances: Float64Array) -> Float64Array:
    """Return the sum of p ln p of each row.

    Example:
        >>> negative_entropy(np.array([[1.0, 0.0], [0.5, 0.5]])).round(4).tolist()
        [0.0, -0.6931]
    """
    logs = np.log(np.where(chances > 0, chances, 1.0))
    found: Float64Array = (chances * logs).sum(axis=1)
    return found


def average_confidence(target: Answers) -> float:
    """AC: the mean confidence."""
    return float(target.confidence.mean())


def difference_of_confidences(source: Answers, target: Answers) -> float:
    """DoC: accuracy on the source plus how much surer the model is, cut to [0, 1].

    References:
        Guillory et al., ICCV 2021.
    """
    assert source.right is not None
    found = source.right.mean() + target.confidence.mean() - source.confidence.mean()
    return float(np.clip(found, 0.0, 1.0))


def threshold(scores: Float64Array, right: NDArray[np.bool_]) -> float:
    """ATC's threshold: as many of the source lie below it as are wrong.

    With k wrong ones it is the (k + 1)-th smallest score; minus infinity where none is wrong, and
    infinity where all are. With ties fewer lie below.

    Args:
        scores: float64 (N,), larger is surer.
        right: bool (N,).

    Example:
        >>> threshold(np.array([0.9, 0.6, 0.8, 0.7]), np.array([True, False, True, True]))
        0.7
    """
    wrong = int((~right).sum())
    if wrong == 0:
        return -np.inf
    return float(np.sort(scores)[wrong]) if wrong < len(scores) else np.inf


def thresholded_confidence(
    source: Float64Array, right: NDArray[np.bool_], target: Float64Array
) -> float:
    """ATC: the share of the target at or above the threshold of the source.

    Args:
        source: float64 (N,) scores: confidence (ATC-MC) or negative entropy (ATC-NE).
        right: bool (N,).
        target: float64 (M,) scores.

    References:
        Garg et al., arXiv:2201.04234. Its code leaves the threshold at 0 where nothing is wrong.
    """
    return float((target >= threshold(source, right)).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Transport:
    """Classes of given shares assigned to images at the least cost, 1 - p of the class.

    The mean cost is the mean of `images` plus shares times `classes`, and to first order stays so
    when images or labels are drawn anew: the potentials of the assignment.

    Attributes:
        costs: float64 (N,), of each image.
        images: float64 (N,), what an image adds.
        classes: float64 (K,), what a class adds; 0 for one without a share.
    """

    costs: Float64Array
    images: Float64Array
    classes: Float64Array


def transport(chances: Float64Array, marginal: Float64Array) -> Transport:
    """Assign classes to images.

    The transport between one-hot labels and probability vectors under half the L1 distance, which
    is 1 - p, solved exactly over all images; shares are rounded to whole images. COT is 1 minus its
    mean cost, with the shares of the source exactly, where the published code samples its labels.
    COTT is ATC with the costs as scores; its code takes the largest one as threshold where nothing
    is wrong, and here all are then right.

    Where image i has class k, potentials g allow no other class l to be better: g_l - g_k is at
    most the least c_il - c_ik. The shortest ways between classes under these bounds are such g.

    Args:
        chances: float64 (N, K).
        marginal: float64 (K,), shares of the classes, summing to 1.

    References:
        Lu et al., arXiv:2305.17640.
    """
    from .class_assignment_numba import assign_classes

    costed = np.ascontiguousarray(1 - chances, np.float64)
    taken = np.empty(len(chances), np.int64)
    assign_classes(costed, whole_shares(marginal, len(chances)), taken)
    rows = np.arange(len(chances))
    costs: Float64Array = costed[rows, taken]
    used, place = np.unique(taken, return_inverse=True)
    ways = np.full((len(used), len(used)), np.inf)
    np.minimum.at(ways, place, chances[rows, taken][:, None] - chances[:, used])
    for middle in range(len(used)):
        np.minimum(ways, ways[:, [middle]] + ways[[middle]], out=ways)
    classes = np.zeros(len(marginal))
    classes[used] = np.minimum(ways.min(axis=0), 0.0)
    return Transport(costs, costs - classes[taken], classes)


def whole_shares(shares: Float64Array, count: int) -> Int64Array:
    """Share out whole numbers that sum to `count`, the largest remainders first.

    Example:
        >>> whole_shares(np.array([0.5, 0.25, 0.25]), 5).tolist()
        [3, 1, 1]
    """
    exact = shares * count
    found = np.floor(exact + 1e-9).astype(np.int64)
    rest = np.argsort(found - exact, kind="stable")[: count - int(found.sum())]
    found[rest] += 1
    return found


def class_shares(labels: Int64Array, classes: int) -> Float64Array:
    """Return the share of each class: float64 (K,)."""
    found: Float64Array = np.bincount(labels, minlength=classes) / len(labels)
    return found


def isotonic(scores: Float64Array, truth: NDArray[np.bool_]) -> tuple[Float64Array, Float64Array]:
    """Fit the rising steps that are nearest to the truth: scores, sorted, and their chances.

    References:
        Ayer et al., Annals of Mathematical Statistics 26 (1955) 641: pool adjacent violators.

    Example:
        >>> isotonic(np.array([0.1, 0.4, 0.2]), np.array([False, True, True]))[1].tolist()
        [0.0, 1.0, 1.0]
    """
    places, firsts, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(firsts, weights=truth.astype(float)) / counts
    blocks: list[list[float]] = []  # mean, weight, places
    for mean, count in zip(means.tolist(), counts.tolist(), strict=True):
        blocks.append([mean, count, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            last = blocks.pop()
            total = blocks[-1][1] + last[1]
            joint = (blocks[-1][0] * blocks[-1][1] + last[0] * last[1]) / total
            blocks[-1] = [joint, total, blocks[-1][2] + last[2]]
    steps = np.repeat([block[0] for block in blocks], [int(block[2]) for block in blocks])
    return places, steps


Steps: TypeAlias = tuple[Float64Array, Float64Array]
"""Of one class: scores, sorted, and the chances that they stand for."""


def calibration(source: Float64Array, labels: Int64Array) -> list[Steps]:
    """Fit the steps of each class against the rest.

    Args:
        source: float64 (N, K).
        labels: int64 (N,).
    """
    return [isotonic(own, labels == k) for k, own in enumerate(source.T)]


def calibrated(steps: Sequence[Steps], target: Float64Array) -> Float64Array:
    """Calibrate each class against the rest, then let chances sum to 1 again.

    Args:
        steps: Of K classes, from `calibration`.
        target: float64 (M, K).

    Returns:
        float64 (M, K); rows of zeros become 1 / K.
    """
    columns = zip(target.T, steps, strict=True)
    found = np.stack([np.interp(own, *known) for own, known in columns], axis=1)
    total = found.sum(axis=1, keepdims=True)
    return np.where(total > 0, found / np.where(total > 0, total, 1.0), 1 / target.shape[1])


def expected_accuracy(chances: Float64Array, predicted: Int64Array) -> float:
    """CBPE: the mean calibrated chance of what is answered."""
    return float(chances[np.arange(len(chances)), predicted].mean())


def expected_area(scores: Float64Array, chances: Float64Array) -> float | None:
    """CBPE's AUROC of one class: images ranked by score count as positive by their chance.

    Args:
        scores: float64 (N,), uncalibrated.
        chances: float64 (N,), calibrated.

    Returns:
        None where no chance is above 0, or none below 1.

    References:
        NannyML's confidence-based performance estimation; equal scores count half.
    """
    _, place = np.unique(scores, return_inverse=True)
    hits = np.bincount(place, weights=chances)
    misses = np.bincount(place, weights=1 - chances)
    below = np.cumsum(misses) - misses
    pairs = float(hits.sum() * misses.sum())
    return float((hits * (below + misses / 2)).sum()) / pairs if pairs > 0 else None


def nuclear_norm(chances: Float64Array) -> float:
    """Return the sum of singular values over sqrt(min(N, K) N), in [0, 1]: sure and varied answers.

    A score that goes with accuracy, and no accuracy.

    References:
        Deng et al., arXiv:2302.01094.

    Example:
        >>> nuclear_norm(np.eye(3)), round(nuclear_norm(np.full((3, 3), 1 / 3)), 4)
        (1.0, 0.3333)
    """
    most = np.sqrt(min(chances.shape) * len(chances))
    return float(np.linalg.svd(chances, compute_uv=False).sum() / most)


def slice_weights(source: Float64Array, target: Float64Array) -> Float64Array:
    """Mandoline: weight the source so that its slices occur as often as in the target.

    Minimises log(sum_s exp(d phi_s)) - mean_t d phi_t, which is convex, and `RIDGE` / 2 times d^2,
    which changes little, and has a minimum where the target holds what no source image does.

    Args:
        source: float64 (N, D) of slices, -1 or 1.
        target: float64 (M, D).

    Returns:
        float64 (N,), summing to 1.

    References:
        Chen et al., arXiv:2107.00643.
    """
    mean, delta = target.mean(axis=0), np.zeros(source.shape[1])
    weights, value = np.full(len(source), 1 / len(source)), np.log(len(source))
    for _ in range(NEWTON):
        center = weights @ source
        slope = center - mean + RIDGE * delta
        curve = (weights * source.T) @ source - np.outer(center, center)
        step = np.linalg.solve(curve + RIDGE * np.eye(len(delta)), -slope)
        if -(slope @ step) < 1e-10:  # twice what is left to gain
            break
        for _ in range(NEWTON):
            moved = delta + step
            exponents = source @ moved
            sizes = np.exp(exponents - exponents.max())
            new = np.log(sizes.sum()) + exponents.max() - moved @ mean
            new += RIDGE / 2 * moved @ moved
            if new < value + 0.25 * slope @ step:
                break
            step /= 2
        delta, value, weights = moved, new, sizes / sizes.sum()
    return np.asarray(weights, dtype=np.float64)


def weighted_accuracy(right: NDArray[np.bool_], weights: Float64Array) -> float:
    """Return the accuracy on the source under weights that sum to 1."""
    return float(weights @ right)


def mean_absolute_error(estimates: Sequence[float], truth: Sequence[float]) -> float:
    """Return the mean of abs(estimate - truth)."""
    return float(np.abs(np.subtract(estimates, truth)).mean())
