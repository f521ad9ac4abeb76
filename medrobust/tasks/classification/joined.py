"""One answer a patient or lesion from the logits of its images, and the label that it is judged by.

Each class is joined by the probability that it is there: of multi-label sets each label, of binary
sets the positive class, of multi-class and ordinal sets each class against the others, normalised
to 1 where the way leaves no sum of 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.split_facts import KEYED_HASH
from medrobust.base.targets import Labels, WindowLabels
from medrobust.base.wording import listed
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.joining import (
    NUMBERED,
    family,
    joined_log_odds,
    joined_log_probabilities,
)
from medrobust.metrics.scores import class_scores
from medrobust.tasks.base import Cell, Units
from medrobust.types import Float64Array, Int64Array

MULTI_LABEL = "multi-label, binary-class"


def joined_labels(data: Any, units: Units) -> Labels:
    """Return the label of each unit: the one that its images share, or the union of their labels.

    Of two classes of lesions a unit is of the positive one if any of its lesions is.

    Raises:
        ConfigurationError: If images of one unit are of several classes; or carry other labels,
            and one answer for all of them is asked for.
    """
    labels: Int64Array = data.labels
    own = labels[units.first]
    if isinstance(data.target, WindowLabels) and data.positive is not None:
        return Labels(_any_positive(labels, data.positive, units))
    unlike = labels != own[units.codes]
    if unlike.ndim == 2:
        unlike = unlike.any(axis=1)
    if labels.ndim == 2 and family(units.how) in (*NUMBERED, "max", "noisy_or"):
        union = np.zeros_like(own)
        np.maximum.at(union, units.codes, labels)
        return Labels(union)
    if unlike.any():
        raise _several_answers(data, units, int(units.codes[unlike.argmax()]))
    return Labels(own)


def _any_positive(labels: Int64Array, positive: int, units: Units) -> Int64Array:
    """Return the positive class for units that have a lesion of it, else the other one."""
    counts = np.bincount(units.codes, weights=labels == positive)
    return np.where(counts > 0, positive, 1 - positive).astype(np.int64)


def _several_answers(data: Any, units: Units, code: int) -> ConfigurationError:
    """Name a unit whose images do not share their label."""
    labels = np.unique(data.labels[units.codes == code], axis=0)
    name = units.names[code]
    hashed = all(map(KEYED_HASH.fullmatch, name.split("/")))  # says nothing to anyone
    of = f"one {units.word}" if hashed else f"{units.word} {name!r}"
    named = f"{of} of {data.name}/{data.split}"
    if labels.ndim == 2:
        return ConfigurationError(
            f"images of {named} have different labels, and {units.how} needs the same ones: "
            f"aggregate.how=max or noisy_or take all that any of them has."
        )
    classes = listed([data.class_names[k] for k in labels])
    return ConfigurationError(
        f"images of {named} are of several classes ({classes}), so that no one answer is right for "
        f"it. Join images that share a class: aggregate.by=COLUMN names a metadata column."
    )


def joined_logits(cell: Cell, units: Units) -> NDArray[np.float32]:
    """Return logits of the units, float32 (U, K); of a unit of one image those of the image.

    Raises:
        ConfigurationError: If logits of a multi-label set stand for no probabilities.
    """
    data, given = cell.data, cell.arrays["logits"]
    if data.label_kind == MULTI_LABEL and not cell.head.get("absent", True) and units.how != "max":
        raise ConfigurationError(
            f"prompt set {cell.head.get('name')!r} has no absent texts, so that its logits on "
            f"{data.name} are no probabilities that could be joined by {units.how}: "
            f"aggregate.how=max, or another prompt set."
        )
    found = _joined(class_scores(given, data.label_kind), data, units).astype(np.float32)
    alone = np.bincount(units.codes)[:, None] == 1
    joined: NDArray[np.float32] = np.where(alone, given[units.first], found)
    return joined


def _joined(log_odds: Float64Array, data: Any, units: Units) -> Float64Array:
    if data.label_kind == MULTI_LABEL:
        return joined_log_odds(log_odds, units.codes, units.how)
    if data.label_kind == "binary-class":
        assert data.positive is not None
        positive = log_odds[:, data.positive, None]
        both = np.zeros((len(units.names), log_odds.shape[1]))
        both[:, data.positive] = joined_log_odds(positive, units.codes, units.how)[:, 0]
        return both
    if units.how in ("most_confident", "product"):
        return joined_log_probabilities(-np.logaddexp(0.0, -log_odds), units.codes, units.how)
    each = joined_log_odds(log_odds, units.codes, units.how)
    return -np.logaddexp(0.0, -each)  # the logarithm of each probability
