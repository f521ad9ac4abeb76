"""What corruptions take of a data set beside its pictures: masks of a region, stored values."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from medrobust.base.stored_planes import StoredPlane, StoredPlanes
from medrobust.base.targets import MaskedLabels, Masks
from medrobust.corruptions.config import Corruption, GivenMasks, GivenPlanes
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


def with_planes(columns: Sequence[Column], image_set: "ImageSet") -> tuple[Column, ...]:
    """Give each column that corrupts stored values those of the data set.

    Raises:
        ConfigurationError: If the data set has none.
        MedRobustError: If an image has no more than its 8 bits.
    """
    wanting = [one for one in columns if getattr(one, "domain", "picture") == "stored"]
    if not wanting:
        return tuple(columns)
    if image_set.stored is None:
        raise ConfigurationError(
            f"corruption.domain=stored: of {image_set.name!r} only 8 bits a pixel are at hand. It "
            f"takes grey DICOM images of 9 to 16 bits (dataset=dicom); leave it out."
        )
    planes = image_set.stored()
    given = GivenPlanes(planes.digest, partial(_planes, planes, _Rows(planes.index)))
    return tuple(
        one.with_planes(given) if isinstance(one, Corruption) and one in wanting else one
        for one in columns
    )


def _planes(planes: StoredPlanes, rows: "_Rows", index: Any) -> list[StoredPlane]:
    return planes.read(rows(index))


def refuse_regions_of_files(columns: Sequence[Column], dataset: str) -> None:
    """Refuse a region where corrupted images are read, not computed.

    Raises:
        ConfigurationError: Naming the data set.
    """
    if any(isinstance(column, Corruption) and column.place for column in columns):
        raise ConfigurationError(
            f"corruption.region and domain: images of {dataset} are corrupted already, as "
            f"published. Take the data set itself, or leave them out."
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
