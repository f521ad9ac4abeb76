"""Which images make up one patient that gets one answer, and the label that it is judged by."""

import numpy as np

from medrobust.exceptions import ConfigurationError
from medrobust.types import Int64Array

from .split_facts import SplitFacts
from .targets import WindowLabels


def patients_of(data: SplitFacts, column: str) -> Int64Array:
    """Return the patient of each image, int64 (N,) from 0.

    Args:
        data: Facts of a split.
        column: Metadata column; empty: the patients that the set names.

    Raises:
        ConfigurationError: If the set has no such column, or names no patients.
    """
    if not column:
        if data.groups is None:
            raise ConfigurationError(
                f"adapter=attention_mil pools the images of a patient, and data set {data.name!r} "
                f"names no patients: name them, or a metadata column (adapter.by=COLUMN)."
            )
        values = data.groups
    elif column not in data.metadata_columns:
        there = ", ".join(data.metadata_columns) or "none"
        raise ConfigurationError(
            f"adapter.by={column!r} is no metadata column of data set {data.name!r}; it has: "
            f"{there}."
        )
    else:
        assert data.metadata is not None
        values = data.metadata[:, data.metadata_columns.index(column)]
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def labels_of(data: SplitFacts, codes: Int64Array) -> Int64Array:
    """Return the label of each patient: that of its images, of lesions the positive one if any is.

    Raises:
        ConfigurationError: If images of a patient are of several classes.
    """
    first = np.unique(codes, return_index=True)[1]
    own: Int64Array = data.labels[first]
    if data.labels.ndim == 2:
        np.maximum.at(own, codes, data.labels)
        return own
    if isinstance(data.target, WindowLabels) and data.positive is not None:
        ill = np.bincount(codes, weights=data.labels == data.positive) > 0
        return np.where(ill, data.positive, 1 - data.positive).astype(np.int64)
    if (data.labels != own[codes]).any():
        raise ConfigurationError(
            f"adapter=attention_mil gives one answer a patient, and patients of {data.name} have "
            f"images of several classes: take another adapter."
        )
    return own
