"""What pixels can show, and whether the masks of a split show it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.targets import OUTSIDE, MaskedLabels, Masks
from medrobust.base.wording import counted, part_of
from medrobust.exceptions import ConfigurationError, InvalidDataError

BACKGROUND = "background"
LESION = "lesion"

READ = 64
"""Masks that are read at a time."""


def mask_classes(data: Any) -> tuple[str, ...]:
    """Return the names of what pixels show, the background first.

    Raises:
        ConfigurationError: If the set has no masks, or names no class of theirs.
    """
    if isinstance(data.target, MaskedLabels):
        return BACKGROUND, LESION
    if not isinstance(data.target, Masks):
        raise ConfigurationError(
            f"task=segmentation needs masks, and data set {data.name!r} has none: name their "
            f"column by dataset.mask_column, or choose another data set."
        )
    if len(data.class_names) < 2:
        raise ConfigurationError(
            f"data set {data.name!r} has masks and names no class of their pixels: pass "
            f"dataset.mask_classes=[background, ...] in the order of the numbers."
        )
    return tuple(data.class_names)


def check_masks(data: Any, drawn_by: str = "") -> None:
    """Refuse masks without any foreground, or with numbers that no class has.

    Args:
        data: A split, or some images of it.
        drawn_by: Setting that they were drawn by; empty for the whole split.

    Raises:
        InvalidDataError: Naming the number, and how many masks have it.
    """
    one_class = isinstance(data.target, MaskedLabels)
    largest = _largest(data.target, len(data))
    if not largest.any():
        drawn = f" (drawn by {drawn_by})" if drawn_by else ""
        raise InvalidDataError(
            f"the masks of data set {data.name!r}, split {data.split!r}, have no foreground: every "
            f"pixel of {counted(len(data), 'mask')}{drawn} is 0. Check which files the masks are, "
            f"or choose another split."
        )
    wrong = largest >= len(data.class_names)
    if not one_class and wrong.any():
        named = ", ".join(f"{number} {name}" for number, name in enumerate(data.class_names))
        raise InvalidDataError(
            f"the masks of data set {data.name!r}, split {data.split!r}, have pixels of class "
            f"{largest.max()} ({part_of(int(wrong.sum()), len(data), 'mask')} with a class beyond "
            f"the last), and its classes are {named}. Name all classes by dataset.mask_classes, or "
            f"correct the masks."
        )


def has_outside(data: Any) -> bool:
    """Say whether masks have pixels that are of no image, as a padded border."""
    target = data.target
    if target.ignored is None:
        return False
    starts = range(0, len(data), READ)
    return any((target.pixels(slice(start, start + READ)) == OUTSIDE).any() for start in starts)


def _largest(target: Masks | MaskedLabels, images: int) -> NDArray[np.int64]:
    """Return the largest number of each mask, int64 (N,)."""
    parts = [
        target.classes(slice(start, start + READ)).max(axis=(1, 2))
        for start in range(0, images, READ)
    ]
    return np.concatenate(parts).astype(np.int64)
