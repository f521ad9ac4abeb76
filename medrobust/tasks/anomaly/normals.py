"""Normal images that a head is made from: shots to compare with, and images that give a scale."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError
from medrobust.tasks.other_images import other_split
from medrobust.types import Int64Array

from .states import abnormal

KIND = "anomaly"
"""Of the task, for messages."""

SCALED_BY = 128
"""Normal validation images, at most, whose quantiles scale maps and scores."""


def normal_rows(split: Any, normal: list[str]) -> Int64Array:
    """Return the rows of the normal images of a split.

    Raises:
        ConfigurationError: If it has none.
    """
    rows = np.flatnonzero(~abnormal(split, normal)).astype(np.int64)
    if not len(rows):
        raise ConfigurationError(
            f"split {split.split!r} of data set {split.name!r} has no normal image, which "
            f"task=anomaly compares others with: choose other classes by dataset.normal=[...]."
        )
    return rows


def drawn(
    split: Any, normal: list[str], at_most: int | None, seed: int, *, by_patient: bool = False
) -> Any:
    """Return some normal images of a split, the fewer among the more; None: all of them.

    Which they are depends on the seed and on each image's own index; by patient, few images are
    those of as many patients as there are, where the set names them.
    """
    from medrobust.tasks.chosen import spread

    rows = normal_rows(split, normal)
    if at_most is not None:
        named = by_patient and split.groups is not None
        patients = split.groups[rows] if named else None
        chosen = spread(split.index[rows], at_most, seed, patients)
        rows = rows[np.isin(split.index[rows], chosen)]
    return split.take(rows, fingerprint=split.fingerprint)


def shots(data: Any, normal: list[str], count: int | None, seed: int) -> Any:
    """Return the normal training images that others are compared with.

    Args:
        data: Any split of the set.
        normal: Names of the normal classes.
        count: How many; None: all.
        seed: Of the draw.
    """
    return drawn(other_split(data, "train", KIND), normal, count, seed, by_patient=True)


def few(images: Any, count: int | None, scorer: str) -> Iterator[str]:
    """Say that normal training images are fewer than asked for, or too few for a covariance.

    Args:
        images: From `shots`.
        count: How many were asked for; None: all.
        scorer: What compares others with them.
    """
    if count is not None and len(images) < count:
        yield (
            f"task.normal_shots={count}: the train split of data set {images.name!r} has "
            f"{counted(len(images), 'normal image')}; all are used"
        )
    if scorer == "gaussian" and len(images) == 1:
        yield (
            f"task.scorer=gaussian has one normal training image of data set {images.name!r}, "
            f"which has no covariance: its distances are Euclidean. Two are needed; raise "
            f"task.normal_shots"
        )
