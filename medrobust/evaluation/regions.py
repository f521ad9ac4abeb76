"""Masks of a data set for corruptions of a region."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from medrobust.base.targets import MaskedLabels, Masks
from medrobust.corruptions.config import Corruption, GivenMasks
from medrobust.exceptions import ConfigurationError
from medrobust.types import Int64Array

from .columns import Column

if TYPE_CHECKING:
    from medrobust.datasets.image_set import ImageSet


def with_masks(columns: Sequence[Column], image_set: "ImageSet") -> tuple[Column, ...]:
    """Give each column the masks that its region needs.

    Raises:
        ConfigurationError: If the data set has none.
    """
    return tuple(
        column.with_masks(_masks(image_set))
        if isinstance(column, Corruption) and column.needs_masks
        else column
        for column in columns
    )


def refuse_regions_of_files(columns: Sequence[Column], dataset: str) -> None:
    """Refuse a region where corrupted images are read, not computed.

    Raises:
        ConfigurationError: Naming the data set.
    """
    if any(isinstance(column, Corruption) and column.region for column in columns):
        raise ConfigurationError(
            f"corruption.region: images of {dataset} are corrupted already, as published. Take the "
            f"data set itself, or leave corruption.region out."
        )


def _masks(image_set: "ImageSet") -> GivenMasks:
    target = image_set.target
    if not isinstance(target, Masks | MaskedLabels):
        raise ConfigurationError(
            f"corruption.region_of=masks: data set {image_set.name!r} has no masks. Take "
            f"foreground or disc, or name the column of masks (dataset.mask_column, of a folder)."
        )
    return GivenMasks(target.digest, partial(_stored, target, _Rows(image_set.index)))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Finds rows of a split by the index of its images."""

    index: Int64Array

    def __call__(self, asked: Any) -> Int64Array:
        order = np.argsort(self.index, kind="stable")
        found: Int64Array = order[np.searchsorted(self.index[order], np.asarray(asked))]
        return found


def _stored(target: Masks | MaskedLabels, rows: _Rows, index: Any) -> Tensor:
    return torch.from_numpy(target.classes(rows(index)) != 0)[:, None]
