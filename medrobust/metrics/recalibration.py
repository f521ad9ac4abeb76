"""Vector scaling: a factor and an offset for each class, fitted on clean validation data.

Beside the one temperature of `fit_temperature`. With so many numbers a small split needs a hand:
both are drawn towards the temperature by a ridge, as much as one image's likelihood would (the
intercepts of Kull et al., arXiv:1910.12656, are held likewise).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.metrics.calibration import MULTI_LABEL, fit_temperature, smoothed_targets
from medrobust.metrics.scores import probabilities
from medrobust.types import Float64Array, Int64Array, LabelKind

STEPS = 50


@dataclass(frozen=True, slots=True)
class Scaling:
    """Logits are multiplied by `factors` and raised by `offsets`.

    Attributes:
        factors: float64 (K,); all the same for a temperature.
        offsets: float64 (K,).
    """

    factors: Float64Array
    offsets: Float64Array

    def __call__(self, logits: NDArray[np.floating[Any]]) -> Float64Array:
        """Return scaled logits: float64 (N, K)."""
        return logits.astype(np.float64) * self.factors + self.offsets


def temperature_scaling(
    logits: NDArray[np.floating[Any]], labels: Int64Array, label_kind: LabelKind
) -> Scaling:
    """Return the scaling of `fit_temperature`: no prediction changes.

    Example:
        >>> logits = np.array([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
        >>> found = temperature_scaling(logits, np.array([0, 0, 1, 1]), "binary-class")
        >>> chance = found(logits)[0] @ np.array([1, -1])
        >>> round(float(1 / (1 + np.exp(-chance))), 3)  # 3 of 4 right, smoothed by Platt's targets
        0.667
    """
    inverse = 1 / fit_temperature(logits, labels, label_kind)
    classes = logits.shape[1]
    return Scaling(np.full(classes, inverse), np.zeros(classes))


def vector_scaling(
    logits: NDArray[np.floating[Any]], labels: Int64Array, label_kind: LabelKind
) -> Scaling:
    """Fit factors and offsets by Newton's method; the likelihood is concave in them.

    Targets are smoothed as those of `fit_temperature`, so that perfect splits have an optimum.

    Args:
        logits: (N, K), of the validation split.
        labels: int64 (N,) or (N, L).
        label_kind: One of MedMNIST's four words for kinds of labels.
    """
    start = temperature_scaling(logits, labels, label_kind)
    exact, classes = logits.astype(np.float64), logits.shape[1]
    scale = max(float(np.sqrt((exact**2).mean())), 1e-12)
    inputs = exact / scale  # so that the ridge means the same at any logit scale
    targets = smoothed_targets(labels, classes, label_kind)
    center = np.r_[start.factors * scale, np.zeros(classes)]
    values = center.copy()
    for _ in range(STEPS):
        slope, curvature = _derivatives(inputs, targets, values, label_kind)
        slope, curvature = slope + (values - center), curvature + np.eye(2 * classes)
        step = np.linalg.solve(curvature, slope)
        size, before = 1.0, _loss(inputs, targets, values, center, label_kind)
        while (
            _loss(inputs, targets, values - size * step, center, label_kind) > before
            and size > 1e-6
        ):
            size /= 2
        values = values - size * step
        if np.abs(step).max() < 1e-9:
            break
    return Scaling(values[:classes] / scale, values[classes:])


def _loss(
    inputs: Float64Array,
    targets: Float64Array,
    values: Float64Array,
    center: Float64Array,
    label_kind: LabelKind,
) -> float:
    factors, offsets = np.split(values, 2)
    logits = inputs * factors + offsets
    if label_kind == MULTI_LABEL:
        terms = np.logaddexp(0.0, logits) - targets * logits
        total = float(terms.sum())
    else:
        top = logits.max(axis=1)
        sums = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        total = float((sums - (targets * logits).sum(axis=1)).sum())
    return total + float(((values - center) ** 2).sum()) / 2


def _derivatives(
    inputs: Float64Array, targets: Float64Array, values: Float64Array, label_kind: LabelKind
) -> tuple[Float64Array, Float64Array]:
    """Return gradient (2 K,) and Hessian (2 K, 2 K) of the negative log likelihood."""
    factors, offsets = np.split(values, 2)
    chances = probabilities(inputs * factors + offsets, label_kind)
    off = chances - targets
    slope = np.r_[(inputs * off).sum(axis=0), off.sum(axis=0)]
    both = np.hstack([inputs, np.ones_like(inputs)])  # (N, 2 K)
    twice = np.hstack([chances, chances])
    own = both * twice
    if label_kind == MULTI_LABEL:
        weights = both * np.sqrt(twice * (1 - twice))
        same = np.tile(np.eye(inputs.shape[1]), (2, 2))
        return slope, (weights.T @ weights) * same
    same = np.tile(np.eye(inputs.shape[1]), (2, 2))
    return slope, (own.T @ both) * same - own.T @ own
