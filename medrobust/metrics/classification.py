"""Scores of one cell: from logits and labels to accuracy, balanced accuracy, AUC and kappa.

A number that is not defined (AUC with a single class) is None, never 0 and never NaN.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.metrics.scores import class_scores, predictions
from medrobust.types import Float64Array, Int64Array, TaskKind


@dataclass(frozen=True, slots=True)
class Metric:
    """What tables say of a metric.

    Attributes:
        title: In words, for headings.
        higher_is_better: Direction.
        share: True for a number in [0, 1] that is printed in percent.
    """

    title: str
    higher_is_better: bool
    share: bool = True


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", True),
    "balanced_accuracy": Metric("balanced accuracy", True),
    "error": Metric("error", False),
    "balanced_error": Metric("balanced error", False),
    "auc": Metric("AUC", True),
    "quadratic_weighted_kappa": Metric("quadratic-weighted kappa", True, share=False),
    "mean_absolute_grade_error": Metric("mean absolute grade error", False, share=False),
}
"""Every metric of a cell, in the order of the tables."""


def cell_metrics(
    logits: NDArray[np.floating[Any]],
    labels: Int64Array,
    *,
    task: TaskKind,
    positive: int | None = None,
    thresholded: bool = True,
) -> dict[str, float | None]:
    """Compute every metric that the task has.

    Args:
        logits: (N, K).
        labels: int64 (N,), or (N, L) of zeros and ones for multi-label sets.
        task: One of the four task strings.
        positive: Index of the positive class of a binary set.
        thresholded: False where the logits have no natural zero (a multi-label prompt set without
            absent texts): then AUC alone means something.

    Returns:
        Name -> value, or None where it is not defined.
    """
    values: dict[str, float | None] = {}
    if thresholded:
        predicted = predictions(logits, task)
        right, balanced = accuracy(predicted, labels), balanced_accuracy(predicted, labels)
        values |= {"accuracy": right, "balanced_accuracy": balanced}
        values |= {"error": 1.0 - right, "balanced_error": 1.0 - balanced}
    values["auc"] = auc(class_scores(logits, task), labels, task=task, positive=positive)[0]
    if task == "ordinal-regression":
        kappa = quadratic_weighted_kappa(predicted, labels, classes=logits.shape[1])
        values["quadratic_weighted_kappa"] = kappa
        values["mean_absolute_grade_error"] = float(np.abs(predicted - labels).mean())
    return values


def accuracy(predicted: Int64Array, labels: Int64Array) -> float:
    """Share of right predictions; multi-label: mean over labels of each label's accuracy.

    Args:
        predicted: int64 (N,) or (N, L).
        labels: Of the same shape.

    References:
        Yang et al., MedMNIST v2, arXiv:2110.14795 (multi-label accuracy is per label).
    """
    return float((predicted == labels).mean())


def balanced_accuracy(predicted: Int64Array, labels: Int64Array) -> float:
    """Mean over the classes that occur of each class's recall.

    Multi-label: the mean over labels of the balanced accuracy of present versus absent.

    Args:
        predicted: int64 (N,) or (N, L).
        labels: Of the same shape.

    References:
        Di Salvo et al., MedMNIST-C, arXiv:2406.17536.

    Example:
        >>> balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
        0.5
    """
    if labels.ndim == 2:
        columns = range(labels.shape[1])
        return float(np.mean([balanced_accuracy(predicted[:, c], labels[:, c]) for c in columns]))
    counts = np.bincount(labels)
    right = np.bincount(labels[predicted == labels], minlength=len(counts))
    return float((right[counts > 0] / counts[counts > 0]).mean())


def auc(
    scores: Float64Array, labels: Int64Array, *, task: TaskKind, positive: int | None = None
) -> tuple[float | None, int]:
    """Area under the ROC curve, one versus rest, mean over classes; ties count one half.

    Binary sets: the AUC of the positive class. Multi-label: the mean over labels.

    Args:
        scores: float64 (N, K) from `class_scores`.
        labels: int64 (N,) or (N, L).
        task: One of the four task strings.
        positive: Index of the positive class of a binary set.

    Returns:
        The AUC, None where no class has both positives and negatives; and the number of classes
        that were left out because they have no positives or no negatives.
    """
    truths = one_versus_rest(labels, scores.shape[1])
    classes = [positive] if task == "binary-class" else list(range(scores.shape[1]))
    areas = [area_under_roc(scores[:, c], truths[:, c]) for c in classes]
    defined = [area for area in areas if area is not None]
    return (float(np.mean(defined)) if defined else None), len(areas) - len(defined)


def one_versus_rest(labels: Int64Array, classes: int) -> NDArray[np.bool_]:
    """Return bool (N, K): whether an image is of a class, or has a label."""
    if labels.ndim == 2:
        return labels.astype(bool)
    truths: NDArray[np.bool_] = labels[:, None] == np.arange(classes)
    return truths


def area_under_roc(scores: Float64Array, truth: NDArray[np.bool_]) -> float | None:
    """Share of (positive, negative) pairs in the right order, ties one half: the Mann-Whitney U.

    Args:
        scores: float64 (N,).
        truth: bool (N,).

    Returns:
        The area, None without positives or without negatives.

    Example:
        >>> area_under_roc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True]))
        0.875
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if positives == 0 or negatives == 0:
        return None
    ranks = midranks(scores)
    above = ranks[truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def midranks(values: Float64Array) -> Float64Array:
    """Return ranks 1..N, equal values sharing the mean of theirs.

    Example:
        >>> midranks(np.array([3.0, 1.0, 3.0])).tolist()
        [2.5, 1.0, 2.5]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(values)])
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(starts + (lengths + 1) / 2, lengths)
    return ranks


def quadratic_weighted_kappa(
    predicted: Int64Array, labels: Int64Array, *, classes: int
) -> float | None:
    """Cohen's kappa with weights (i - j)^2: 1 - observed / expected disagreement.

    Args:
        predicted: int64 (N,).
        labels: int64 (N,).
        classes: Number of grades K.

    Returns:
        Kappa, None where chance alone could not disagree (both constant and equal).

    References:
        Cohen, Psychological Bulletin 70 (1968) 213.
    """
    observed = np.zeros((classes, classes))
    np.add.at(observed, (labels, predicted), 1.0)
    grades = np.arange(classes)
    weights = (grades[:, None] - grades) ** 2
    by_chance = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / len(labels)
    expected = float((weights * by_chance).sum())
    return None if expected == 0 else 1.0 - float((weights * observed).sum()) / expected
