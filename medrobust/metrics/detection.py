"""Numbers of one class against the rest: AUPRC, operating points, sensitivity, specificity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.base.former_keywords import formerly
from medrobust.exceptions import InvalidDataError
from medrobust.types import Float64Array, Int64Array, LabelKind

from .classification import one_versus_rest


def average_precision(scores: Float64Array, truth: NDArray[np.bool_]) -> float | None:
    """Area under the precision-recall steps: sum_t (R_t - R_{t-1}) P_t, equal scores as one step.

    Args:
        scores: float64 (N,).
        truth: bool (N,).

    Returns:
        The area, None without positives or without negatives (1 whatever the scores).

    References:
        scikit-learn's `average_precision_score`; Davis and Goadrich, ICML 2006, on why it is not
        interpolated.

    Example:
        >>> average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        0.8333333333333333
    """
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.r_[np.flatnonzero(np.diff(ordered)), len(ordered) - 1]  # of each run of equal scores
    found = np.cumsum(truth[order])[last]
    return float((np.diff(np.r_[0, found]) * (found / (last + 1))).sum() / positives)


@formerly(task="label_kind")
def auprc(
    scores: Float64Array, labels: Int64Array, *, label_kind: LabelKind, positive: int | None = None
) -> tuple[float | None, int]:
    """Mean over classes of the average precision of the class against the rest.

    Binary sets: that of the positive class. Multi-label: mean over labels. A classifier that
    guesses scores the prevalence of the class, so sets of other prevalence do not compare.

    Args:
        scores: float64 (N, K) from `class_scores`.
        labels: int64 (N,) or (N, L).
        label_kind: One of MedMNIST's four words for kinds of labels.
        positive: Index of the positive class of a binary set.

    Returns:
        The mean, None where no class has both positives and negatives; and how many classes were
        left out.
    """
    truths = one_versus_rest(labels, scores.shape[1])
    classes = [positive] if label_kind == "binary-class" else list(range(scores.shape[1]))
    areas = [average_precision(scores[:, c].ravel(), truths[:, c].ravel()) for c in classes]
    defined = [area for area in areas if area is not None]
    return (float(np.mean(defined)) if defined else None), len(areas) - len(defined)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and where it was set.

    Attributes:
        threshold: An image counts as positive where its score is at least this.
        rule: Such as "youden" or "sensitivity >= 0.95".
        n: Validation images that it was set on.
    """

    threshold: float
    rule: str
    n: int


def operating_point(
    scores: Float64Array, truth: NDArray[np.bool_], *, sensitivity: float | None = None
) -> OperatingPoint | None:
    """Set a threshold on clean validation data, never on the data it is judged on.

    Args:
        scores: float64 (N,), of the validation split.
        truth: bool (N,).
        sensitivity: Take the highest threshold that still has this sensitivity; None: maximize
            Youden's J = sensitivity + specificity - 1 (the highest threshold of equal ones).

    Returns:
        The point, None without positives or without negatives.

    Raises:
        InvalidDataError: If `sensitivity` is not in (0, 1].

    References:
        Youden, Cancer 3 (1950) 32.
    """
    if sensitivity is not None and not 0 < sensitivity <= 1:
        raise InvalidDataError(f"sensitivity={sensitivity} must lie above 0 and at most at 1.")
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.r_[np.flatnonzero(np.diff(ordered)), len(ordered) - 1]
    hits = np.cumsum(truth[order])[last]
    reached = hits / positives
    false = (last + 1 - hits) / (len(truth) - positives)
    if sensitivity is None:
        best, rule = int(np.argmax(reached - false)), "youden"
    else:
        best = int(np.argmax(reached >= sensitivity - 1e-12))
        rule = f"sensitivity >= {sensitivity:g}"
    return OperatingPoint(float(ordered[last[best]]), rule, len(truth))


def sensitivity_specificity(
    scores: Float64Array, truth: NDArray[np.bool_], threshold: float
) -> tuple[float | None, float | None]:
    """Return the share of positives at or above the threshold, and of negatives below it.

    Either is None where there is no such image.

    Example:
        >>> sensitivity_specificity(np.array([0.2, 0.7]), np.array([False, True]), 0.5)
        (1.0, 1.0)
    """
    found = scores >= threshold
    positives, negatives = found[truth], ~found[~truth]
    return (
        float(positives.mean()) if len(positives) else None,
        float(negatives.mean()) if len(negatives) else None,
    )
