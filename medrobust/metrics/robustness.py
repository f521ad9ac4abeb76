"""From tables of errors to corruption errors: CE, mCE, BE, rBE, and other ways to tell robustness.

Variants by name. ImageNet-C (arXiv:1903.12261): CE and mCE of plain error, over a reference model's
errors (AlexNet there; here `reference`). The paper (arXiv:2505.15425): the same ratio over CLIP's
errors, also of the clean error (`error_ratio`). MedMNIST-C (arXiv:2406.17536): BE and rBE, the same
ratios of balanced error over published AlexNet errors (`medrobust.metrics.baseline`).

Order of averaging: severities are summed within a corruption, a ratio is formed for each
corruption, ratios are averaged over corruptions, and that over data sets. Ratios are fractions
(1.0 is as good as the reference); tables print them times 100. A ratio whose denominator is zero
or negative says nothing and is None, never infinite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array

from .baselines import Baseline

SMALLEST_DENOMINATOR = 1e-9
"""Errors are shares of N images: a true difference is never this small, rounding is."""

GUARD = 0.01
"""A loss of the baseline below one point of error is no denominator for rBE: it is noise, or
negative (pneumoniamnist, contrast_up), and its ratio would rule the mean."""

FEWEST_MODELS = 5
"""Models from which on a line through them is worth drawing (effective robustness)."""


def corruption_error(errors: Sequence[float], reference: Sequence[float]) -> float | None:
    """Return CE_c = sum_s E_{c,s} / sum_s E^ref_{c,s} (arXiv:1903.12261).

    Args:
        errors: Error of the model at each severity.
        reference: Error of the reference model at the same severities.

    Returns:
        The ratio, None where the reference makes no error.

    Raises:
        ValueError: If the two do not have the same number of severities.

    Example:
        >>> corruption_error([0.1, 0.2], [0.2, 0.4])
        0.5
    """
    return _ratio(_total(errors, reference), sum(reference))


def relative_corruption_error(
    errors: Sequence[float], clean: float, reference: Sequence[float], reference_clean: float
) -> float | None:
    """Return sum_s (E_{c,s} - E_clean) / sum_s (E^ref_{c,s} - E^ref_clean) (arXiv:1903.12261).

    Args:
        errors: Error of the model at each severity.
        clean: Error of the model on clean images.
        reference: Error of the reference model at the same severities.
        reference_clean: Error of the reference model on clean images.

    Returns:
        The ratio, None where the reference does not lose by the corruption.

    Raises:
        ValueError: If the two do not have the same number of severities.

    Example:
        >>> relative_corruption_error([0.5, 0.5], 0.25, [0.75, 0.75], 0.25)
        0.5
    """
    loss = _total(errors, reference) - len(errors) * clean
    return _ratio(loss, sum(reference) - len(reference) * reference_clean)


def mean_corruption_error(ratios: Sequence[float | None]) -> tuple[float | None, int]:
    """Return the mean over the corruptions whose ratio is defined, and how many those are.

    Example:
        >>> mean_corruption_error([1.0, None, 0.5])
        (0.75, 2)
    """
    defined = [ratio for ratio in ratios if ratio is not None]
    return (sum(defined) / len(defined) if defined else None), len(defined)


def error_ratio(error: float, reference: float) -> float | None:
    """Return E^f / E^ref, the paper's "clean error" where both are clean (arXiv:2505.15425).

    Example:
        >>> error_ratio(0.25, 0.5)
        0.5
    """
    return _ratio(error, reference)


@dataclass(frozen=True, slots=True)
class Ratios:
    """Ratios of one data set, corruption by corruption, and two ways to sum them up.

    Attributes:
        each: Corruption -> ratio, None where its denominator is no denominator.
        mean_of_ratios: As published; None if no ratio is defined.
        ratio_of_sums: Sum of numerators over sum of denominators: no single corruption rules it.
        planned: Number of corruptions of the baseline; `each` may cover fewer.
    """

    each: Mapping[str, float | None]
    mean_of_ratios: float | None
    ratio_of_sums: float | None
    planned: int

    @property
    def covered(self) -> int:
        """Corruptions whose ratio is defined."""
        return sum(value is not None for value in self.each.values())


def benchmark_error(means: Mapping[str, float], published: Baseline) -> Ratios:
    """Return BE_c = mean_s E_{c,s} / mean_s E^AlexNet_{c,s} and its mean over c (arXiv:2406.17536).

    Args:
        means: Corruption -> balanced error of the model, mean over severities 1 to 5; corruptions
            that the baseline lacks are left out.
        published: From `baseline("medmnist_c_alexnet", ...)`.
    """
    shared = {c: (means[c], published.corruptions[c]) for c in published.corruptions if c in means}
    return _ratios(shared, len(published.corruptions), 0.0)


def relative_benchmark_error(
    means: Mapping[str, float], clean: float, published: Baseline, *, guard: float | None = GUARD
) -> Ratios:
    """Return rBE_c = (mean_s E_{c,s} - E_clean) / (the same of AlexNet), mean over c.

    Args:
        means: As for `benchmark_error`.
        clean: Balanced error of the model on clean images.
        published: From `baseline`.
        guard: Leave out corruptions by which AlexNet loses less than this (arXiv:2406.17536 does
            not; three sets have denominators below 0.006 or negative). None: leave out nothing but
            a denominator of 0, as published.
    """
    losses = {
        c: (means[c] - clean, published.corruptions[c] - published.clean)
        for c in published.corruptions
        if c in means
    }
    return _ratios(losses, len(published.corruptions), guard)


def _ratios(pairs: Mapping[str, tuple[float, float]], planned: int, guard: float | None) -> Ratios:
    def usable(below: float) -> bool:
        if guard is None:
            return abs(below) > SMALLEST_DENOMINATOR
        return below > max(guard, SMALLEST_DENOMINATOR)

    each = {c: above / below if usable(below) else None for c, (above, below) in pairs.items()}
    defined = [value for value in each.values() if value is not None]
    above, below = (sum(pair[i] for pair in pairs.values()) for i in (0, 1))
    return Ratios(
        each, sum(defined) / len(defined) if defined else None, _ratio(above, below), planned
    )


def severity_area(errors: Sequence[float], clean: float) -> float:
    """Mean error over severities 0 to S by the trapezoid rule: one number for a whole curve.

    Args:
        errors: At severities 1, 2, ..., S, all of them.
        clean: At severity 0.

    Example:
        >>> severity_area([0.5, 0.5], 0.25)
        0.4375
    """
    curve = [clean, *errors]
    return sum((left + right) / 2 for left, right in pairwise(curve)) / len(errors)


def severity_weighted(clean: Float64Array, errors: Float64Array) -> tuple[Any, Any]:
    """Return ROOD-MRI's means over severities, of weights (2/3)^s; clean images have weight 1.

    Args:
        clean: float64 (...), of clean images: a mean, or what each image adds to it.
        errors: float64 (S, ...), at severities 1 to S.

    Returns:
        (E_0 + Σ w_s E_s) / (1 + Σ w_s), and Σ w_s (E_s − E_0) / Σ w_s, of the shape of `clean`.

    References:
        Boone et al., ROOD-MRI, arXiv:2203.06060; the formula of AICONSlab/roodmri.

    Example:
        >>> mean, lost = severity_weighted(np.array(0.0), np.array([0.9, 0.9]))
        >>> round(float(mean), 4), round(float(lost), 4)
        (0.4737, 0.9)
    """
    weights = (2 / 3) ** np.arange(1, len(errors) + 1)
    weighed = np.tensordot(weights, errors, axes=1)
    total = weights.sum()
    return (clean + weighed) / (1 + total), weighed / total - clean


def effective_robustness(clean: Sequence[float], corrupted: Sequence[float]) -> list[float] | None:
    """Accuracy on corrupted images beyond what accuracy on clean ones foretells, model by model.

    logit(corrupted) is fitted by a line in logit(clean) through all models; the result is the
    accuracy minus that of the line. Shares of 0 and 1 are drawn in to 1e-3 and 1 - 1e-3.

    Args:
        clean: Accuracy of each model on clean images.
        corrupted: Its mean accuracy on corrupted images.

    Returns:
        None with fewer than five models, or where all have one clean accuracy.

    References:
        Taori et al., arXiv:2007.00644.
    """
    if len(clean) < FEWEST_MODELS:
        return None
    x, y = (_logit(np.asarray(values, dtype=float)) for values in (clean, corrupted))
    if np.ptp(x) < 1e-9:
        return None
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    foretold = 1 / (1 + np.exp(-(y.mean() + slope * (x - x.mean()))))
    return [float(own - line) for own, line in zip(corrupted, foretold, strict=True)]


def _logit(shares: Float64Array) -> Float64Array:
    inside = np.clip(shares, 1e-3, 1 - 1e-3)
    result: Float64Array = np.log(inside / (1 - inside))
    return result


def flip_rate(clean: Int64Array, corrupted: Int64Array) -> float:
    """Share of images whose prediction changes; multi-label: mean over labels.

    A model may flip many predictions and lose no accuracy: flips from wrong to right make up.

    Args:
        clean: int64 (N,) or (N, L), predictions on clean images.
        corrupted: Of the same shape.

    References:
        Hendrycks and Dietterich, arXiv:1903.12261, section 3.2 (there between frames).

    Example:
        >>> flip_rate(np.array([0, 1, 1, 1]), np.array([0, 1, 0, 1]))
        0.25
    """
    return float((clean != corrupted).mean())


def feature_drift(clean: NDArray[np.floating[Any]], corrupted: NDArray[np.floating[Any]]) -> float:
    """Mean over images of 1 - cosine between the features of the clean and the corrupted image.

    Args:
        clean: (N, D), of any length but 0.
        corrupted: (N, D), of the same images in the same order.

    Example:
        >>> feature_drift(np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0]]))
        0.5
    """
    return float(1 - _cosines(clean, corrupted).mean())


def drift_terms(
    clean: NDArray[np.floating[Any]], corrupted: NDArray[np.floating[Any]]
) -> Float64Array:
    """Return what each image adds to `feature_drift`: float64 (N,) in [0, 2]."""
    return 1 - _cosines(clean, corrupted)


def _cosines(
    clean: NDArray[np.floating[Any]], corrupted: NDArray[np.floating[Any]]
) -> Float64Array:
    first, second = clean.astype(np.float64), corrupted.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines: Float64Array = (first * second).sum(axis=1) / lengths
    return cosines


def _total(errors: Sequence[float], reference: Sequence[float]) -> float:
    if len(errors) != len(reference):
        raise ValueError(f"{len(errors)} severities against {len(reference)} of the reference")
    return sum(errors)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > SMALLEST_DENOMINATOR else None
