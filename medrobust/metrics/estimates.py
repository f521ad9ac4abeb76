"""Every metric of one cell with its 95 % interval."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array

from .cell import METRICS, Reading, metrics_of
from .classification import one_versus_rest
from .influence import f1_influence, kappa_influence, mean_precision
from .intervals import (
    Bounds,
    around_logit,
    balanced_interval,
    logit_interval,
    mean_interval,
    mean_of_shares_interval,
    share_interval,
    t_quantile,
    variance_of_mean,
    wilson,
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; None where it is not defined, or has no interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


def cell_estimates(reading: Reading) -> dict[str, Estimate]:
    """Compute every metric of a cell with its interval.

    Accuracy and error: Wilson, with patients its clustered form. Balanced: MOVER over classes.
    AUC: DeLong over the logit. AUPRC: the infinitesimal jackknife over the logit. Macro F1, kappa,
    calibration errors, Brier score and grade error: the infinitesimal jackknife. Intervals bring
    the sampling of images (or patients) alone, not seeds or prompts.

    Args:
        reading: The cell.

    Returns:
        Name -> estimate, in the order of `cell_metrics`.
    """
    values = metrics_of(reading)
    bounds: dict[str, Bounds] = {}
    if reading.thresholded:
        bounds |= _of_predictions(reading, values)
        bounds |= _of_chances(reading)
    bounds |= _of_scores(reading)
    if reading.task == "ordinal-regression":
        bounds |= _of_grades(reading, values)
    return {name: with_bounds(value, bounds.get(name)) for name, value in values.items()}


def with_bounds(value: float | None, bounds: Bounds | None) -> Estimate:
    """Join a value and its interval; rounding may not put the value outside."""
    if value is None or bounds is None:
        return Estimate(value)
    return Estimate(value, min(bounds[0], value), max(bounds[1], value))


def _of_predictions(reading: Reading, values: dict[str, float | None]) -> dict[str, Bounds]:
    right = (reading.predicted == reading.labels).astype(float)
    plain = share_interval(mean_terms(right), reading.groups)
    balanced = right_interval(right, reading)
    smallest = _smallest(reading)
    influence = f1_influence(reading.predicted, reading.labels)
    score = values["macro_f1"] or 0.0
    return {
        "accuracy": plain,
        "error": (1 - plain[1], 1 - plain[0]),
        "balanced_accuracy": balanced,
        "balanced_error": (1 - balanced[1], 1 - balanced[0]),
        "macro_f1": logit_interval(score, influence, reading.groups, smallest=smallest),
    }


def mean_terms(terms: Float64Array) -> Float64Array:
    """Average over labels where terms are (N, L)."""
    return terms.mean(axis=1) if terms.ndim == 2 else terms


def right_interval(right: Float64Array, reading: Reading) -> Bounds:
    """Return the interval of balanced accuracy.

    Args:
        right: float64 (N,) or (N, L), whether it is right, or its mean over conditions.
        reading: Labels and groups.
    """
    labels = reading.labels
    if labels.ndim == 1:
        return balanced_interval(right, labels, reading.groups)
    parts, columns = label_parts(labels)
    return mean_of_shares_interval(right[:, columns], parts, reading.groups)


def label_parts(labels: NDArray[np.int64]) -> tuple[list[NDArray[np.bool_]], list[int]]:
    """List the parts of multi-label balanced accuracy, present and absent of each label.

    A label without one of the two counts its only part twice, as the mean over labels does.
    """
    parts, columns = [], []
    for c in range(labels.shape[1]):
        present = labels[:, c] == 1
        both = [mask for mask in (present, ~present) if mask.any()]
        parts += both if len(both) == 2 else both * 2
        columns += [c, c]
    return parts, columns


def _smallest(reading: Reading) -> float:
    """Harmonic mean of the sizes of classes: what a perfect mean over classes rests on."""
    truths = one_versus_rest(reading.labels, reading.logits.shape[1])
    sizes = truths.sum(axis=0)
    sizes = sizes[sizes > 0]
    return float(len(sizes) / (1 / sizes).sum()) if len(sizes) else float(len(truths))


def _of_scores(reading: Reading) -> dict[str, Bounds]:
    found = reading.area
    if found is None:
        return {}
    area = logit_interval(
        found.value,
        found.influence,
        reading.groups,
        smallest=found.smallest,
        degrees=found.degrees,
        unseen=found.unseen,
    )
    return {"auc": area, "auprc": precision_interval(reading)}


def precision_interval(reading: Reading) -> Bounds:
    """Return the interval of the mean AUPRC, over images or patients, by way of its logit.

    The variance is that of the influence values, drawn by one degree of freedom towards the one
    that the number of positives alone gives: a perfect class gets no point interval.
    """
    found = mean_precision(reading.curves, reading.truths, reading.groups)
    assert found is not None
    value = found.value
    variance, degrees, _ = variance_of_mean(found.influence, reading.groups)
    pooled = (degrees * (variance + found.unseen) + found.usual) / (degrees + 1)
    if value <= 0 or value >= 1 or pooled == 0:
        return wilson(value, found.smallest)
    quantile = t_quantile(min(max(degrees + 1, 8.0), found.degrees + 1))
    return around_logit(value, quantile * sqrt(pooled))


def _of_chances(reading: Reading) -> dict[str, Bounds]:
    bounds = {"brier": mean_interval(reading.brier_terms, reading.groups, limits=(0.0, 2.0))}
    for name, (value, influence) in reading.calibration.items():
        bounds[name] = mean_interval(influence, reading.groups, limits=(0.0, 1.0), value=value)
    return bounds


def _of_grades(reading: Reading, values: dict[str, float | None]) -> dict[str, Bounds]:
    distance = np.abs(reading.predicted - reading.labels).astype(float)
    bounds = {"mean_absolute_grade_error": mean_interval(distance, reading.groups)}
    kappa = values["quadratic_weighted_kappa"]
    if kappa is not None:
        influence = kappa_influence(
            reading.predicted, reading.labels, classes=reading.logits.shape[1]
        )
        limits = (-1.0, 1.0)
        bounds["quadratic_weighted_kappa"] = mean_interval(
            influence, reading.groups, limits=limits, value=kappa
        )
    assert set(bounds) <= set(METRICS)
    return bounds
