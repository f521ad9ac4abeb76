"""Which images make up one patient that gets one answer, and the label that it is judged by."""

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError
from medrobust.types import Int64Array

from .missing import names_nobody
from .numbering import numbered
from .split_facts import SplitFacts
from .targets import WindowLabels
from .wording import counted


def patients_of(data: SplitFacts, column: str) -> Int64Array:
    """Return the patient of each image, or its unit of the column, int64 (N,) from 0.

    A unit is of one patient: study 1 of two patients is two.

    Args:
        data: Facts of a split.
        column: Metadata column; empty: the patients that the set names.

    Raises:
        ConfigurationError: If the set has no such column, values of it are missing, or the set
            names no patients.
    """
    values = _values(data, column)
    if not column or data.groups is None:
        return numbered(values)
    return numbered(values, data.groups)  # by value first: the order that they had


def numbered_alike(data: SplitFacts, column: str) -> bool:
    """Say whether images of several patients have one value of the column.

    Raises:
        ConfigurationError: As `patients_of`.
    """
    if not column or data.groups is None:
        return False
    return bool(patients_of(data, column).max() > numbered(_values(data, column)).max())


def _values(data: SplitFacts, column: str) -> NDArray[np.str_]:
    if not column:
        if data.groups is None:
            raise ConfigurationError(
                f"adapter=attention_mil pools the images of a patient, and data set {data.name!r} "
                f"names no patients: name them, or a metadata column (adapter.by=COLUMN)."
            )
        return data.groups
    if column not in data.metadata_columns:
        there = ", ".join(data.metadata_columns) or "none"
        raise ConfigurationError(
            f"adapter.by={column!r} is no metadata column of data set {data.name!r}; it has: "
            f"{there}."
        )
    assert data.metadata is not None
    values: NDArray[np.str_] = data.metadata[:, data.metadata_columns.index(column)]
    if empty := sum(map(names_nobody, values.tolist())):
        raise ConfigurationError(
            f"adapter.by={column!r} is empty, -1 or a word for unknown for "
            f"{counted(empty, 'image')} of {data.name}/{data.split}, so that nothing says what "
            f"belongs together: fill the column in."
        )
    return values


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
