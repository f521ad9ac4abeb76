"""What the logits of a stored cell are worth: numbers, terms, and what they score torn away."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from medrobust.metrics.comparisons import generator
from medrobust.metrics.estimates import Estimate
from medrobust.metrics.influence import Areas
from medrobust.tasks.base import Cell, Scores, Terms
from medrobust.types import Int64Array

from .answers import Answers
from .fits import Fit
from .intervals import cell_estimates, loss_estimates

CONTROLS = {
    "sanity_shuffled_images": "shuffled images",
    "sanity_shuffled_texts": "shuffled class texts",
    "sanity_majority_class": "majority class",
}
"""Name -> words. Shuffled images: each image gets the logits of another one, which is what the
model would say if images and labels were torn apart. Shuffled texts: each class gets the logits of
another class, as if the class texts had been mixed up. Majority class: the largest class for every
image."""


def answers_of(cell: Cell) -> Answers:
    """Put logits and labels of a stored cell together, with the number of each image's patient."""
    data = cell.data
    multi_label = data.label_kind == "multi-label, binary-class"
    return Answers(
        cell.arrays["logits"],
        data.labels,
        data.label_kind,
        data.positive,
        thresholded=not multi_label or bool(cell.head.get("absent", True)),
        groups=cell.patients,
    )


def scores(cell: Cell, fitted: Fit | None) -> Scores:
    """Compute every number of a cell, and what each image adds to errors and AUC."""
    given = answers_of(cell)
    estimates = cell_estimates(given)
    if fitted is not None:
        estimates |= fitted.estimates(given)
    terms: dict[str, Terms | Areas] = {}
    answers = None
    if given.thresholded:
        wrong = given.predicted != given.labels
        unit = cell.data.unit
        terms = {
            "error": Terms(wrong, unit=unit),
            "balanced_error": Terms(wrong, given.labels, unit),
        }
        answers = given.predicted.astype(bool if given.labels.ndim == 2 else np.int16)
    if (area := given.area) is not None:
        # half the memory; adding up is done in float64
        small: Any = area.influence.astype(np.float32)
        terms["auc"] = replace(area, influence=small)
    return Scores(estimates, terms, answers, _chance(given))


def _chance(given: Answers) -> dict[str, float]:
    """Say what guessing scores: one of the classes that occur, or present and absent of a label."""
    classes = 2 if given.labels.ndim == 2 else len(np.unique(given.labels))
    return {"balanced_error": 1 - 1 / classes, "auc": 0.5}


def torn(cell: Cell) -> Mapping[str, Mapping[str, Estimate]]:
    """Compute what a cell scores for shuffled images, shuffled texts, and the majority class.

    The permutations are keyed by the data set: every model and report shares them.
    """
    given = answers_of(cell)
    count, classes = given.logits.shape
    key = f"medrobust sanity/{cell.data.fingerprint}"
    images = derangement(f"{key}/images", count)
    texts = derangement(f"{key}/texts", classes)
    labels = given.labels
    shares = labels.mean(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=classes)
    constant = shares - 0.5 if labels.ndim == 2 else (shares == shares.max()).cumsum() == 1
    majority = np.tile(np.asarray(constant, dtype=np.float32), (count, 1))
    logits = (given.logits[images], given.logits[:, texts], majority)
    return {
        name: loss_estimates(replace(given, logits=values))
        for name, values in zip(CONTROLS, logits, strict=True)
    }


def derangement(key: str, count: int) -> Int64Array:
    """Return a keyed cyclic order in which nothing keeps its place: int64 (count,).

    Example:
        >>> sorted(derangement("a", 5).tolist()), bool((derangement("a", 5) == range(5)).any())
        ([0, 1, 2, 3, 4], False)
    """
    order = generator(key).permutation(count)
    result = np.empty(count, np.int64)
    result[order] = np.roll(order, 1)
    return result


def collapsed(cell: Cell) -> str | None:
    """Name what is the same for every image of a cell, or None.

    Cells with one image or one class of labels say nothing. The threshold of multi-label sets is
    no choice between classes, so that only their logits count.
    """
    given = answers_of(cell)
    labels, logits = given.labels, given.logits
    if len(labels) < 2 or bool((labels == labels[:1]).all()):
        return None
    if bool((logits == logits[:1]).all()):
        return "the same logits"
    if labels.ndim == 1 and len(np.unique(given.predicted)) == 1:
        return "the same prediction"
    return None
