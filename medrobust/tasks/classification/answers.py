"""Logits and labels of a cell, and every metric that follows from them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.former_keywords import formerly
from medrobust.metrics.calibration import CalibrationError, brier_terms, calibration_errors
from medrobust.metrics.classification import (
    accuracy,
    balanced_accuracy,
    macro_f1,
    one_versus_rest,
    quadratic_weighted_kappa,
)
from medrobust.metrics.curves import Curves, curves
from medrobust.metrics.estimates import Metric
from medrobust.metrics.influence import Areas, mean_area
from medrobust.metrics.scores import class_scores, predictions, probabilities
from medrobust.types import Float64Array, Int64Array, LabelKind

METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", True),
    "balanced_accuracy": Metric("balanced accuracy", True),
    "error": Metric("error", False),
    "balanced_error": Metric("balanced error", False),
    "auc": Metric("AUC", True),
    "macro_f1": Metric("macro F1", True),
    "auprc": Metric("AUPRC", True),
    "brier": Metric("Brier score", False, share=False),
    "ece": Metric("expected calibration error", False),
    "adaptive_ece": Metric("adaptive calibration error", False),
    "sensitivity": Metric("sensitivity at the validation operating point", True),
    "specificity": Metric("specificity at the validation operating point", True),
    "nll_calibrated": Metric("NLL after temperature scaling", False, share=False),
    "quadratic_weighted_kappa": Metric("quadratic-weighted kappa", True, share=False),
    "mean_absolute_grade_error": Metric("mean absolute grade error", False, share=False),
}
"""Every metric of a cell, in the order of the tables."""


@dataclass(frozen=True)
class Answers:
    """Logits and labels of a cell, and what follows from them, each computed once.

    Attributes:
        logits: (N, K).
        labels: int64 (N,), or (N, L) of zeros and ones for multi-label sets.
        label_kind: One of MedMNIST's four words for kinds of labels.
        positive: Index of the positive class of a binary set.
        thresholded: False where the logits have no natural zero (a multi-label prompt set without
            absent texts): then AUC and AUPRC alone mean something.
        groups: int64 (N,), the patient of each image, None where each image stands alone.
    """

    logits: NDArray[np.floating[Any]]
    labels: Int64Array
    label_kind: LabelKind
    positive: int | None = None
    thresholded: bool = True
    groups: Int64Array | None = None

    @cached_property
    def predicted(self) -> Int64Array:
        """As `predictions` has it."""
        return predictions(self.logits, self.label_kind)

    @cached_property
    def scores(self) -> Float64Array:
        """As `class_scores` has it."""
        return class_scores(self.logits, self.label_kind)

    @cached_property
    def chances(self) -> Float64Array:
        """As `probabilities` has it."""
        return probabilities(self.logits, self.label_kind)

    @cached_property
    def truths(self) -> NDArray[np.bool_]:
        """Whether an image is of a class: bool (N, K), the positive class alone of binary sets."""
        truths = one_versus_rest(self.labels, self.logits.shape[1])
        if self.label_kind != "binary-class":
            return truths
        assert self.positive is not None
        return truths[:, self.positive, None]

    @cached_property
    def class_units(self) -> Int64Array:
        """Images, or patients who have some, of each class (or label) that occurs: int64 (C,)."""
        truths = one_versus_rest(self.labels, self.logits.shape[1])
        if self.groups is None:
            sizes = truths.sum(axis=0)
        else:
            image, place = np.nonzero(truths)
            pairs = np.unique(self.groups[image] * truths.shape[1] + place)
            sizes = np.bincount(pairs % truths.shape[1], minlength=truths.shape[1])
        found: Int64Array = sizes[sizes > 0]
        return found

    @cached_property
    def curves(self) -> Curves:
        """ROC and precision-recall of every class of `truths`."""
        scores = self.scores
        if self.label_kind == "binary-class":
            assert self.positive is not None
            scores = scores[:, self.positive, None]
        return curves(scores, self.truths)

    @cached_property
    def area(self) -> Areas | None:
        """Mean AUC with its influence values."""
        return mean_area(self.curves, self.truths, self.groups)

    @cached_property
    def calibration(self) -> dict[str, CalibrationError]:
        """As `calibration_errors` has it."""
        return calibration_errors(self.chances, self.labels, self.label_kind)

    @cached_property
    def brier_terms(self) -> Float64Array:
        """What each image adds to the Brier score."""
        return brier_terms(self.chances, self.labels, self.label_kind)

    @property
    def task(self) -> LabelKind:
        """The kind of labels, by the name that MedMNIST and release 0.1 have for it."""
        return self.label_kind


type.__setattr__(Answers, "__init__", formerly(task="label_kind")(vars(Answers)["__init__"]))


@formerly(task="label_kind")
def cell_metrics(
    logits: NDArray[np.floating[Any]],
    labels: Int64Array,
    *,
    label_kind: LabelKind,
    positive: int | None = None,
    thresholded: bool = True,
) -> dict[str, float | None]:
    """Compute every metric that labels of this kind have and that needs no other cell.

    Args: as the attributes of `Answers`.

    Returns:
        Name -> value, or None where it is not defined.

    Raises:
        InvalidDataError: If a logit is not finite.
    """
    return metrics_of(Answers(logits, labels, label_kind, positive, thresholded))


def metrics_of(answers: Answers) -> dict[str, float | None]:
    """Compute the metrics of a cell, as `cell_metrics` does."""
    labels, label_kind = answers.labels, answers.label_kind
    values: dict[str, float | None] = {}
    if answers.thresholded:
        right, balanced = rates(answers)
        values |= {"accuracy": right, "balanced_accuracy": balanced}
        values |= {"error": 1.0 - right, "balanced_error": 1.0 - balanced}
    values["auc"] = mean_defined(answers.curves.areas)
    if answers.thresholded:
        values["macro_f1"] = macro_f1(answers.predicted, labels)
    values["auprc"] = mean_defined(answers.curves.precisions)
    if answers.thresholded:
        values["brier"] = float(answers.brier_terms.mean())
        values |= {name: found.value for name, found in answers.calibration.items()}
    if label_kind == "ordinal-regression":
        kappa = quadratic_weighted_kappa(answers.predicted, labels, classes=answers.logits.shape[1])
        values["quadratic_weighted_kappa"] = kappa
        values["mean_absolute_grade_error"] = float(np.abs(answers.predicted - labels).mean())
    return values


def rates(answers: Answers) -> tuple[float, float]:
    """Compute accuracy and balanced accuracy."""
    found, labels = answers.predicted, answers.labels
    return accuracy(found, labels), balanced_accuracy(found, labels)


def mean_defined(areas: Float64Array) -> float | None:
    """Average over the classes that have an area, None if none has."""
    defined = areas[~np.isnan(areas)]
    return float(defined.mean()) if len(defined) else None
