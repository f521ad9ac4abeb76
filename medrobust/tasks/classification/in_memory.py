"""Labels in memory -> what a split is judged by."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medrobust.base.targets import Labels
from medrobust.exceptions import ConfigurationError
from medrobust.types import LabelKind


def facts_of_labels(
    labels: Any, class_names: Sequence[str], positive: int | None
) -> dict[str, Any]:
    """Return target, kind of labels, names and positive class: facts of a split.

    Args:
        labels: (N,) integers from 0, or (N, L) of zeros and ones for multi-label data.
        class_names: In label order.
        positive: Positive class of two-class data; the last by default.

    Raises:
        ConfigurationError: If labels are no whole numbers, or one class an image in a column, or
            if two classes have one name.
    """
    truth = np.asarray(labels)
    twice = sorted({name for name in class_names if list(class_names).count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"class_names={list(class_names)}: {', '.join(map(repr, twice))} stands twice; each "
            f"class is named once."
        )
    if not np.issubdtype(truth.dtype, np.integer):
        raise ConfigurationError(f"labels must be whole numbers, got {truth.dtype}.")
    if truth.ndim == 2 and truth.shape[1] == 1:
        raise ConfigurationError(
            f"labels {truth.shape} are one class an image in a column: pass labels.ravel()."
        )
    label_kind: LabelKind = "multi-class"
    if truth.ndim == 2:
        label_kind = "multi-label, binary-class"
    elif len(class_names) == 2:
        label_kind = "binary-class"
        positive = 1 if positive is None else positive
    return {
        "target": Labels(truth.astype(np.int64)),
        "label_kind": label_kind,
        "class_names": tuple(class_names),
        "positive": positive,
    }
