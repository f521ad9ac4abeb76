"""Every metric of one cell with its 95 % interval."""

from math import sqrt

import numpy as np

from medrobust.metrics.aggregates import error_interval
from medrobust.metrics.classification import one_versus_rest
from medrobust.metrics.estimates import Estimate, with_bounds
from medrobust.metrics.influence import f1_influence, kappa_influence, mean_precision
from medrobust.metrics.intervals import (
    Bounds,
    around_logit,
    logit_interval,
    mean_interval,
    share_interval,
    t_quantile,
    variance_of_mean,
    wilson,
)
from medrobust.types import Float64Array

from .answers import METRICS, Answers, metrics_of


def cell_estimates(answers: Answers) -> dict[str, Estimate]:
    """Compute every metric of a cell with its interval.

    Accuracy and error: Wilson, with patients its clustered form. Balanced: MOVER over classes.
    AUC: DeLong over the logit. AUPRC: the infinitesimal jackknife over the logit. Macro F1, kappa,
    calibration errors, Brier score and grade error: the infinitesimal jackknife. Intervals bring
    the sampling of images (or patients) alone, not seeds or prompts.

    Args:
        answers: Of the cell.

    Returns:
        Name -> estimate, in the order of `cell_metrics`.
    """
    values = metrics_of(answers)
    bounds: dict[str, Bounds] = {}
    if answers.thresholded:
        bounds |= _of_predictions(answers, values)
        bounds |= _of_chances(answers)
    bounds |= _of_scores(answers)
    if answers.task == "ordinal-regression":
        bounds |= _of_grades(answers, values)
    return {name: with_bounds(value, bounds.get(name)) for name, value in values.items()}


def _of_predictions(answers: Answers, values: dict[str, float | None]) -> dict[str, Bounds]:
    right = (answers.predicted == answers.labels).astype(float)
    plain = share_interval(mean_terms(right), answers.groups)
    balanced = error_interval(right, answers.labels, answers.groups)
    smallest = _smallest(answers)
    influence = f1_influence(answers.predicted, answers.labels)
    score = values["macro_f1"] or 0.0
    return {
        "accuracy": plain,
        "error": (1 - plain[1], 1 - plain[0]),
        "balanced_accuracy": balanced,
        "balanced_error": (1 - balanced[1], 1 - balanced[0]),
        "macro_f1": logit_interval(score, influence, answers.groups, smallest=smallest),
    }


def mean_terms(terms: Float64Array) -> Float64Array:
    """Average over labels where terms are (N, L)."""
    return terms.mean(axis=1) if terms.ndim == 2 else terms


def _smallest(answers: Answers) -> float:
    """Harmonic mean of the sizes of classes: what a perfect mean over classes rests on."""
    truths = one_versus_rest(answers.labels, answers.logits.shape[1])
    sizes = truths.sum(axis=0)
    sizes = sizes[sizes > 0]
    return float(len(sizes) / (1 / sizes).sum()) if len(sizes) else float(len(truths))


def _of_scores(answers: Answers) -> dict[str, Bounds]:
    found = answers.area
    if found is None:
        return {}
    area = logit_interval(
        found.value,
        found.influence,
        answers.groups,
        smallest=found.smallest,
        degrees=found.degrees,
        unseen=found.unseen,
    )
    return {"auc": area, "auprc": precision_interval(answers)}


def precision_interval(answers: Answers) -> Bounds:
    """Return the interval of the mean AUPRC, over images or patients, by way of its logit.

    The variance is that of the influence values, drawn by one degree of freedom towards the one
    that the number of positives alone gives: a perfect class gets no point interval.
    """
    found = mean_precision(answers.curves, answers.truths, answers.groups)
    assert found is not None
    value = found.value
    variance, degrees, _ = variance_of_mean(found.influence, answers.groups)
    pooled = (degrees * (variance + found.unseen) + found.usual) / (degrees + 1)
    if value <= 0 or value >= 1 or pooled == 0:
        return wilson(value, found.smallest)
    quantile = t_quantile(min(max(degrees + 1, 8.0), found.degrees + 1))
    return around_logit(value, quantile * sqrt(pooled))


def _of_chances(answers: Answers) -> dict[str, Bounds]:
    bounds = {"brier": mean_interval(answers.brier_terms, answers.groups, limits=(0.0, 2.0))}
    for name, (value, influence) in answers.calibration.items():
        bounds[name] = mean_interval(influence, answers.groups, limits=(0.0, 1.0), value=value)
    return bounds


def _of_grades(answers: Answers, values: dict[str, float | None]) -> dict[str, Bounds]:
    distance = np.abs(answers.predicted - answers.labels).astype(float)
    bounds = {"mean_absolute_grade_error": mean_interval(distance, answers.groups)}
    kappa = values["quadratic_weighted_kappa"]
    if kappa is not None:
        influence = kappa_influence(
            answers.predicted, answers.labels, classes=answers.logits.shape[1]
        )
        limits = (-1.0, 1.0)
        bounds["quadratic_weighted_kappa"] = mean_interval(
            influence, answers.groups, limits=limits, value=kappa
        )
    assert set(bounds) <= set(METRICS)
    return bounds
