"""Masks of several classes from how much light of each pixel comes from each class."""

from collections.abc import Iterable

import numpy as np

from medrobust.types import UInt8Array

FULL = 255
"""Light of a pixel that all of which comes from one class."""


def most_light(shape: tuple[int, ...], lights: Iterable[tuple[int, UInt8Array]]) -> UInt8Array:
    """Return the class that most of the light of each pixel comes from, the lower of equal ones.

    Args:
        shape: Of the masks.
        lights: Number of a class, rising from 1, and how much of each pixel's light is its: uint8
            of that shape, up to `FULL`. What no class has is the background's, number 0.

    Example:
        >>> lights = [(1, np.array([200, 127, 90], np.uint8)), (3, np.array([0, 0, 120], np.uint8))]
        >>> most_light((3,), lights).tolist()
        [1, 0, 3]
    """
    found = np.zeros(shape, np.uint8)
    most = np.zeros(shape, np.int16)
    rest = np.full(shape, FULL, np.int16)
    for kind, given in lights:
        light = given.astype(np.int16)
        found[light > most] = kind
        most, rest = np.maximum(most, light), rest - light
    return np.where(most > rest, found, 0).astype(np.uint8)
