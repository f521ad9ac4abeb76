"""Masks of ink marks: grown from keyed draws in integers, or read from a folder of one's own."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key
from medrobust.types import Int64Array, UInt8Array

MARKS = 10
"""Masks a size, as MedMNIST-C has."""

COVERAGE = {24: 0.63, 32: 0.53}
"""Mean share of the box that is ink."""

SPREAD = {24: 0.09, 32: 0.04}
"""From the mean to the barest mask and to the fullest one."""

PRESS = {24: 60, 32: 56}
"""How strongly the field falls towards the rim, in tenths.

All three were fitted to the mean spectrum of the published masks, in 12 bands.
"""


@lru_cache(maxsize=16)
def ink_masks(size: int) -> UInt8Array:
    """Grow the ten masks of a size: ragged blobs of known coverage.

    The `coverage` highest points of a field are ink; the field is keyed noise, smoothed by boxes,
    minus the squared distance from the middle. Integers only, so every machine has the same.

    Args:
        size: Pixels a side.

    Returns:
        uint8 (10, size, size): 1 is ink. Coverage rises evenly from mask to mask.
    """
    draws = Draws(derive_key(0, "ink masks", str(size), 0), torch.arange(MARKS))
    noise = draws.integers(-128, 128, size * size).numpy().reshape(MARKS, size, size)
    mean, spread = (table.get(size, table[24]) for table in (COVERAGE, SPREAD))
    masks = np.zeros((MARKS, size * size), np.uint8)
    for mark in range(MARKS):
        share = mean + spread * (2 * mark / (MARKS - 1) - 1)
        height = _field(noise[mark], size).ravel()
        highest = np.argsort(-height, kind="stable")[: round(share * size * size)]
        masks[mark, highest] = 1
    return masks.reshape(MARKS, size, size)


def _field(noise: Int64Array, size: int) -> Int64Array:
    """Smooth the noise twice by a box of an eighth of the side, and press the rim down."""
    half = max(size // 24, 1)
    for _ in range(2):
        for _ in range(2):
            padded = np.pad(noise, ((half, half), (0, 0)))
            noise = np.asarray(sum(padded[i : i + size] for i in range(2 * half + 1))).T
    place = 2 * np.arange(size) - (size - 1)
    distance = place[:, None] ** 2 + place[None] ** 2
    steep = np.abs(noise).sum() * PRESS.get(size, PRESS[24]) // (10 * distance.sum())
    return np.asarray(noise - steep * distance)


@lru_cache(maxsize=16)
def read_masks(folder: str) -> UInt8Array:
    """Read masks from the pictures of a folder, sorted by name.

    Args:
        folder: Folder of pictures of one size; pixels darker than middle grey are ink.

    Raises:
        ConfigurationError: If there are none, or their sizes differ.
    """
    from PIL import Image

    place = Path(folder).expanduser()
    names = sorted(f for f in place.glob("*") if f.suffix.lower() in (".png", ".bmp", ".tif"))
    masks = [np.asarray(Image.open(name).convert("L")) < 128 for name in names]
    shapes = {mask.shape for mask in masks}
    if len(shapes) != 1:
        found = f"pictures of {len(shapes)} sizes" if shapes else "no .png, .bmp or .tif"
        raise ConfigurationError(
            f"ink masks: {folder!r} has {found}. Give a folder of pictures of one size, dark ink "
            f"on a light ground."
        )
    return np.stack(masks).astype(np.uint8)
