"""What shots say besides their labels: which of them belong together, and measures of each."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from medrobust.base.missing import names_nobody
from medrobust.base.numbering import numbered
from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError

from .minimised import Settings


def codes_of(settings: Settings, one: ImageSet) -> dict[str, Tensor]:
    """Number who or what each image belongs to, for each contrast.

    Raises:
        ConfigurationError: If the data set does not say so.
    """
    found = {}
    if "same_patient" in settings.weights:
        if one.groups is None:
            raise ConfigurationError(
                f"tuning.objective=same_patient needs patients, and {one.name!r} names none."
            )
        found["same_patient"] = _of_each(one.groups)
        _check_partners(found["same_patient"], "same_patient", "patient", one.name)
    if "same_pair" in settings.weights:
        found["same_pair"] = _of_patients(one, _pairs(settings, one))
        _check_partners(found["same_pair"], "same_pair", "pair", one.name)
    return found


def repeats_pairs(settings: Settings, one: ImageSet) -> bool:
    """Say whether a number of a pair stands in several patients, so that it is a pair of each."""
    if "same_pair" not in settings.weights or settings.pair_column not in one.metadata_columns:
        return False
    codes = _pairs(settings, one)
    return _of_patients(one, codes) is not codes


def _pairs(settings: Settings, one: ImageSet) -> Tensor:
    return _of_each(_column(one, str(settings.pair_column), "pair_column", "unit_columns"))


def _of_patients(one: ImageSet, codes: Tensor) -> Tensor:
    """Tell pairs of different patients apart that are numbered alike; none are: the same codes."""
    if one.groups is None:
        return codes
    apart = numbered(one.groups, codes.numpy())
    several = apart.max() >= len(set(codes.tolist()))
    return torch.from_numpy(apart) if several else codes


def _check_partners(codes: Tensor, objective: str, unit: str, name: str) -> None:
    """Refuse a contrast in which no shot has another one of its own.

    Raises:
        ConfigurationError: Naming the data set.
    """
    if len(set(codes.tolist())) == len(codes):
        raise ConfigurationError(
            f"tuning.objective={objective} needs two images of one {unit}, and no two of the "
            f"{len(codes)} shots of {name!r} are of one: take more (tuning.shots, or "
            f"tuning.fraction, which takes patients whole), or leave {objective} out."
        )


def _of_each(values: np.ndarray[Any, Any]) -> Tensor:
    """Number values; one that names nothing belongs to no other."""
    codes = numbered(values)
    empty = np.array([names_nobody(str(value)) for value in values.tolist()])
    alone = len(values) + np.arange(len(values))
    return torch.from_numpy(np.where(empty, alone, codes).astype(np.int64))


def measures_of(settings: Settings, one: ImageSet) -> Tensor:
    """Return the measures of each image, of mean 0 and variance 1 over the shots: (N, M).

    Raises:
        ConfigurationError: If there is no such column, or a value is no number.
    """
    if "measures" not in settings.weights:
        return torch.zeros(0)
    if not settings.measures:
        raise ConfigurationError("tuning.objective=measures needs tuning.measures=[COLUMN, ...].")
    columns = [_numbers(one, name) for name in settings.measures]
    values = np.stack(columns, axis=1)
    spread = np.nanstd(values, axis=0)
    scaled = (values - np.nanmean(values, axis=0)) / np.where(spread > 0, spread, 1.0)
    return torch.from_numpy(scaled.astype(np.float32))


def _numbers(one: ImageSet, name: str) -> np.ndarray[Any, Any]:
    found = []
    for value in _column(one, name, "measures", "metadata_columns").tolist():
        try:
            found.append(float("nan") if names_nobody(value) else float(value))
        except ValueError as error:
            raise ConfigurationError(
                f"tuning.measures: {value!r} in column {name!r} of {one.name!r} is no number."
            ) from error
    if np.isnan(found).all():
        raise ConfigurationError(f"tuning.measures: column {name!r} of {one.name!r} is empty.")
    return np.array(found)


def _column(one: ImageSet, name: str, key: str, named_by: str) -> np.ndarray[Any, Any]:
    if name not in one.metadata_columns:
        there = ", ".join(one.metadata_columns) or "none"
        raise ConfigurationError(
            f"tuning.{key}: {one.name!r} has no metadata column {name!r} (it has: {there}): see "
            f"dataset.{named_by}."
        )
    assert one.metadata is not None
    return one.metadata[:, one.metadata_columns.index(name)]
