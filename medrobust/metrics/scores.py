"""From logits to predictions and scores: the one place that says what a logit means."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from medrobust.base.former_keywords import formerly
from medrobust.base.wording import part_of
from medrobust.exceptions import InvalidDataError
from medrobust.types import Float64Array, Int64Array, LabelKind

LARGEST: Final = np.float64(np.finfo(np.float32).max)
"""Size of a logit beyond which float64 has no difference of two, or sum of many."""


@formerly(task="label_kind")
def predictions(logits: NDArray[np.floating[Any]], label_kind: LabelKind) -> Int64Array:
    """Return what is predicted.

    Args:
        logits: (N, K) of any float type.
        label_kind: A multi-label set predicts each label on its own.

    Returns:
        int64 (N,): the class of the largest logit, the lowest such class on a tie. Multi-label:
        int64 (N, L) of zeros and ones, one where the logit is above 0.

    Raises:
        InvalidDataError: If a logit is not finite, or beyond float32.
    """
    check_logits(logits)
    if label_kind == "multi-label, binary-class":
        return (logits > 0).astype(np.int64)
    largest: Int64Array = np.argmax(logits, axis=1)
    return largest


@formerly(task="label_kind")
def class_scores(logits: NDArray[np.floating[Any]], label_kind: LabelKind) -> Float64Array:
    """Return what AUC ranks by: float64 (N, K), larger for "more of this class".

    Multi-label: the logits themselves. All other kinds: the log-odds of the softmax,
    `logit_k - logsumexp(logits of the others)`, which rank as the probabilities do and do not
    saturate at 0 and 1 as those do.

    Args:
        logits: (N, K), K >= 2 unless multi-label.
        label_kind: One of MedMNIST's four words for kinds of labels.

    Raises:
        InvalidDataError: If a logit is not finite, or beyond float32.
    """
    check_logits(logits)
    exact = logits.astype(np.float64)
    return exact if label_kind == "multi-label, binary-class" else log_odds(exact)


def log_odds(logits: Float64Array) -> Float64Array:
    """Return `logit_k - log(sum over j != k of exp(logit_j))`: float64 (N, K), K >= 2.

    For every class but the largest the sum over the others holds the largest term, so it may be
    had as total minus own term; for the largest class it is summed on its own, shifted by the
    second largest, since the subtraction would cancel.

    Ties are ties: sums run over the sorted row and count from its largest logit, so what is equal
    in exact arithmetic of whole logits (votes) is equal to the bit, whatever the order of classes.

    Example:
        >>> log_odds(np.array([[2.0, -1.0]])).tolist()
        [[3.0, -3.0]]
    """
    if logits.shape[1] == 2:  # what the rest comes to
        difference = logits[:, 0] - logits[:, 1]
        return np.stack([difference, -difference], axis=1)
    order = np.argsort(-logits, axis=1, kind="stable")
    order += logits.shape[1] * np.arange(len(logits))[:, None]
    shifted = logits.reshape(-1)[order]
    shifted -= shifted[:, :1].copy()  # 0 first, then what is below it
    terms = np.exp(shifted)
    found = shifted - np.log(np.maximum(terms.sum(axis=1, keepdims=True) - terms, 1.0))
    second = shifted[:, 1:2]
    best = -second - np.log(np.exp(shifted[:, 1:] - second).sum(axis=1, keepdims=True))
    found = np.where(shifted == 0, best, found)
    result = np.empty(logits.size)
    result[order] = found
    return result.reshape(logits.shape)


@formerly(task="label_kind")
def probabilities(logits: NDArray[np.floating[Any]], label_kind: LabelKind) -> Float64Array:
    """Return float64 (N, K): softmax over the classes; multi-label: sigmoid of each logit."""
    check_logits(logits)
    return chances_of(logits.astype(np.float64), label_kind)


def chances_of(exact: Float64Array, label_kind: LabelKind) -> Float64Array:
    """Return what `probabilities` does of logits that are known to be finite, of any size."""
    if label_kind == "multi-label, binary-class":
        return np.exp(-np.logaddexp(0.0, -exact))
    terms: Float64Array = np.exp(exact - exact.max(axis=1, keepdims=True))
    terms /= terms.sum(axis=1, keepdims=True)
    return terms


def check_logits(logits: NDArray[np.floating[Any]]) -> None:
    """Refuse logits that no probabilities can be made of.

    Raises:
        InvalidDataError: If one is not finite, or so large that differences of two are infinite.
    """
    within = np.abs(logits) <= LARGEST
    if within.all():
        return
    wrong = ~np.isfinite(logits)
    bad = part_of(int((wrong if wrong.any() else ~within).any(axis=1).sum()), len(logits), "image")
    if wrong.any():
        raise InvalidDataError(
            f"logits of {bad} are not finite. Compute the cell again with "
            f"trainer.precision=32-true."
        )
    raise InvalidDataError(
        f"logits of {bad} lie beyond {LARGEST:.1e}, the largest number of float32: differences of "
        f"such numbers overflow. Scale them down."
    )
