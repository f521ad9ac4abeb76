"""Scores of one cell: from logits and labels to accuracy, balanced accuracy, AUC and kappa.

A number that is not defined (AUC with a single class) is None, never 0 and never NaN.
"""

import numpy as np
from numpy.typing import NDArray

from medrobust.base.former_keywords import formerly
from medrobust.types import Float64Array, Int64Array, LabelKind


def accuracy(predicted: Int64Array, labels: Int64Array) -> float:
    """Share of right predictions; multi-label: mean over labels of each label's accuracy.

    Args:
        predicted: int64 (N,) or (N, L).
        labels: Of the same shape.

    References:
        Yang et al., MedMNIST v2, arXiv:2110.14795 (multi-label accuracy is per label).

    Example:
        >>> accuracy(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]))
        0.75
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


@formerly(task="label_kind")
def auc(
    scores: Float64Array, labels: Int64Array, *, label_kind: LabelKind, positive: int | None = None
) -> tuple[float | None, int]:
    """Area under the ROC curve, one versus rest, mean over classes; ties count one half.

    Binary sets: the AUC of the positive class. Multi-label: the mean over labels.

    Args:
        scores: float64 (N, K) from `class_scores`.
        labels: int64 (N,) or (N, L).
        label_kind: One of MedMNIST's four words for kinds of labels.
        positive: Index of the positive class of a binary set.

    Returns:
        The AUC, None where no class has both positives and negatives; and the number of classes
        that were left out because they have no positives or no negatives.
    """
    truths = one_versus_rest(labels, scores.shape[1])
    classes = [positive] if label_kind == "binary-class" else list(range(scores.shape[1]))
    areas = [area_under_roc(scores[:, c], truths[:, c]) for c in classes]
    defined = [area for area in areas if area is not None]
    return (float(np.mean(defined)) if defined else None), len(areas) - len(defined)


def one_versus_rest(labels: Int64Array, classes: int) -> NDArray[np.bool_]:
    """Return bool (N, K): whether an image is of a class, or has a label.

    Example:
        >>> one_versus_rest(np.array([0, 2]), 3).astype(int).tolist()
        [[1, 0, 0], [0, 0, 1]]
    """
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


def macro_f1(predicted: Int64Array, labels: Int64Array) -> float | None:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN); a class neither had nor predicted is out.

    Multi-label: the mean over labels of the F1 of "present".

    Args:
        predicted: int64 (N,) or (N, L).
        labels: Of the same shape.

    Returns:
        The mean, None where nothing is left (multi-label: no label present and none predicted).

    References:
        Opitz and Burst, arXiv:1911.03347 (the mean of F1, not the F1 of means).

    Example:
        >>> round(macro_f1(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])), 3)  # (2/3 + 4/5) / 2
        0.733
    """
    if labels.ndim == 2:
        right = ((predicted == 1) & (labels == 1)).sum(axis=0)
        had, said = labels.sum(axis=0), predicted.sum(axis=0)
    else:
        classes = int(max(predicted.max(), labels.max())) + 1
        right = np.bincount(labels[predicted == labels], minlength=classes)
        had = np.bincount(labels, minlength=classes)
        said = np.bincount(predicted, minlength=classes)
    occurs = had + said > 0
    return float((2 * right[occurs] / (had + said)[occurs]).mean()) if occurs.any() else None


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

    Example:
        >>> quadratic_weighted_kappa(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), classes=2)
        0.5
    """
    observed = np.zeros((classes, classes))
    np.add.at(observed, (labels, predicted), 1.0)
    grades = np.arange(classes)
    weights = (grades[:, None] - grades) ** 2
    by_chance = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / len(labels)
    expected = float((weights * by_chance).sum())
    return None if expected == 0 else 1.0 - float((weights * observed).sum()) / expected
