"""Every metric of one cell with its 95 % interval."""

from math import sqrt

import numpy as np

from medrobust.metrics.aggregates import error_interval
from medrobust.metrics.calibration_bounds import calibration_bounds
from medrobust.metrics.estimates import Estimate, with_bounds
from medrobust.metrics.f1_bounds import f1_interval
from medrobust.metrics.influence import kappa_influence, mean_precision
from medrobust.metrics.intervals import (
    Bounds,
    around_logit,
    drawn_share,
    logit_interval,
    mean_interval,
    ratio_interval,
    share_interval,
    wilson,
)
from medrobust.metrics.paired import FEWEST_UNITS
from medrobust.metrics.variances import FEWEST, t_quantile, variance_of_mean
from medrobust.types import Float64Array, Int64Array

from .answers import METRICS, Answers, mean_defined, metrics_of, rates
from .notes import FEWEST_POSITIVES, noted


def cell_estimates(answers: Answers) -> dict[str, Estimate]:
    """Compute every metric of a cell with its interval.

    Accuracy and error: Wilson, with patients its clustered form. Balanced: MOVER over classes.
    AUC: DeLong over the logit. AUPRC: the infinitesimal jackknife over the logit. Macro F1, kappa,
    calibration errors, Brier score and grade error: the infinitesimal jackknife; of patients the
    Brier score has that of a share. Intervals bring the sampling of images (or patients) alone, not
    seeds or prompts.

    Args:
        answers: Of the cell.

    Returns:
        Name -> estimate, in the order of `cell_metrics`.
    """
    values = metrics_of(answers)
    bounds: dict[str, Bounds | None] = {}
    if answers.thresholded:
        bounds |= _of_predictions(answers, values)
        bounds |= _of_chances(answers)
    bounds |= _of_scores(answers)
    if answers.label_kind == "ordinal-regression":
        bounds |= _of_grades(answers, values)
    found = {name: with_bounds(value, bounds.get(name)) for name, value in values.items()}
    return noted(found, answers)


def loss_estimates(answers: Answers) -> dict[str, Estimate]:
    """Compute what `cell_estimates` has of error, balanced error and AUC, and nothing else."""
    values: dict[str, float | None] = {}
    bounds: dict[str, Bounds | None] = {}
    if answers.thresholded:
        right, balanced = rates(answers)
        values |= {"error": 1.0 - right, "balanced_error": 1.0 - balanced}
        bounds |= _of_errors(answers)
    values["auc"] = mean_defined(answers.curves.areas)
    bounds["auc"] = _of_area(answers)
    found = {name: with_bounds(value, bounds[name]) for name, value in values.items()}
    return noted(found, answers)


def _of_predictions(answers: Answers, values: dict[str, float | None]) -> dict[str, Bounds]:
    errors = _of_errors(answers)
    smallest = _smallest(answers)
    given = answers.predicted, answers.labels, answers.groups
    score = values["macro_f1"] or 0.0
    return errors | {"macro_f1": f1_interval(score, *given, smallest=smallest)}


def _of_errors(answers: Answers) -> dict[str, Bounds]:
    right = (answers.predicted == answers.labels).astype(float)
    plain = share_interval(mean_terms(right), answers.groups)
    balanced = error_interval(right, answers.labels, answers.groups)
    return {
        "accuracy": plain,
        "error": (1 - plain[1], 1 - plain[0]),
        "balanced_accuracy": balanced,
        "balanced_error": (1 - balanced[1], 1 - balanced[0]),
    }


def mean_terms(terms: Float64Array) -> Float64Array:
    """Average over labels where terms are (N, L)."""
    return terms.mean(axis=1) if terms.ndim == 2 else terms


def _smallest(answers: Answers) -> float:
    """Harmonic mean of the units of classes: what a perfect mean over classes rests on."""
    units = answers.class_units
    return float(len(units) / (1 / units).sum()) if len(units) else float(len(answers.labels))


def _of_scores(answers: Answers) -> dict[str, Bounds | None]:
    area = _of_area(answers)
    return {} if area is None else {"auc": area, "auprc": precision_interval(answers)}


def _of_area(answers: Answers) -> Bounds | None:
    found = answers.area
    if found is None:
        return None
    return logit_interval(
        found.value,
        found.influence,
        answers.groups,
        smallest=found.smallest,
        degrees=found.degrees,
        unseen=found.unseen,
    )


def precision_interval(answers: Answers) -> Bounds | None:
    """Return the interval of the mean AUPRC, over images or patients, by way of its logit.

    The variance is that of the influence values, drawn by one degree of freedom towards the one
    that the number of positives alone gives: a perfect class gets no point interval. On few
    positives the value is too large, so the lower bound starts from the value less this excess.

    Returns:
        None with fewer than twelve positives a class, where no interval is known that holds.
    """
    found = mean_precision(answers.curves, answers.truths, answers.groups)
    assert found is not None
    if found.smallest < FEWEST_POSITIVES:
        return None
    value = found.value
    variance, degrees, _ = variance_of_mean(found.influence, answers.groups)
    pooled = (degrees * (variance + found.unseen) + found.usual) / (degrees + 1)
    if value <= 0 or value >= 1 or pooled == 0:
        return wilson(value, found.smallest)
    half = t_quantile(min(max(degrees + 1, 8.0), found.degrees + 1)) * sqrt(pooled)
    low, _ = around_logit(max(value - found.excess, value / 2), half)
    return low, around_logit(value, half)[1]


def _of_chances(answers: Answers) -> dict[str, Bounds | None]:
    groups = answers.groups
    most = 2.0 if answers.label_kind in ("multi-class", "ordinal-regression") else 1.0
    around = unless_point(mean_interval(answers.brier_terms, groups, limits=(0.0, most)))
    if around is not None and groups is not None:
        low, high = share_interval(answers.brier_terms / most, groups)
        around = low * most, high * most
    bounds: dict[str, Bounds | None] = {"brier": around}
    errors = answers.calibration.items()
    return bounds | {name: calibration_bounds(found, groups) for name, found in errors}


def cost_interval(costs: Float64Array, groups: Int64Array | None) -> Bounds | None:
    """Return the interval of a mean of costs without upper limit, such as an NLL.

    Of patients, whose few means are skewed, it goes over the logarithm.

    Args:
        costs: float64 (N,), 0 or more.
        groups: int64 (N,) from 0, or None.

    Returns:
        None with fewer than five patients, or where all are alike.
    """
    if groups is None:
        return unless_point(mean_interval(costs, None, limits=(0.0, float("inf"))))
    if np.count_nonzero(np.bincount(groups)) < FEWEST_UNITS:
        return None
    value = float(costs.mean())
    return unless_point(ratio_interval(value, costs - value, groups, top=0.0))


def unless_point(bounds: Bounds) -> Bounds | None:
    """Return bounds, or None where they are one point: of one image or patient, or of equal ones.

    Example:
        >>> unless_point((0.1, 0.1)) is None, unless_point((0.1, 0.2))
        (True, (0.1, 0.2))
    """
    return bounds if bounds[0] < bounds[1] else None


def _of_grades(answers: Answers, values: dict[str, float | None]) -> dict[str, Bounds | None]:
    """Return the intervals of grade error and kappa.

    Both are shares of the worst there could be (all off by K - 1; kappa = -1) with Wilson's
    interval of as many images as give the variance. Where no image is off, the share of images
    that may be has Wilson's bound, every second one off by two grades.
    """
    distance = np.abs(answers.predicted - answers.labels).astype(float)
    classes, groups = answers.logits.shape[1], answers.groups
    kappa = values["quadratic_weighted_kappa"]
    units = len(distance) if groups is None else len(np.unique(groups))
    bounds: dict[str, Bounds | None] = {}
    if not distance.any():
        most = share_interval(distance, groups)[1]
        bounds["mean_absolute_grade_error"] = (0.0, min(1.5 * most, classes - 1.0))
        if kappa is not None:
            spread = 2 * float(answers.labels.var())  # mean square of two answers by chance
            bounds["quadratic_weighted_kappa"] = (max(-1.0, 1 - 2.5 * most / spread), 1.0)
        return bounds
    low, high = share_interval(distance / (classes - 1), groups)
    bounds["mean_absolute_grade_error"] = (low * (classes - 1), high * (classes - 1))
    if kappa is not None:
        influence = kappa_influence(answers.predicted, answers.labels, classes=classes)
        variance, degrees, _ = variance_of_mean(influence / 2, groups)
        low, high = drawn_share((1 - kappa) / 2, variance, degrees, units, least=FEWEST)
        bounds["quadratic_weighted_kappa"] = (1 - 2 * high, 1 - 2 * low)
    assert set(bounds) <= set(METRICS)
    return bounds
