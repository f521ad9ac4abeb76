"""Studies of several views of which one is corrupted: from stored clean and corrupted cells."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.tasks.base import ArraySpec
from medrobust.types import Int64Array


def turns(codes: Int64Array) -> Int64Array:
    """Number the images of each unit from 0, in their order: int64 (N,).

    Example:
        >>> turns(np.array([0, 1, 0, 0, 1])).tolist()
        [0, 0, 1, 2, 1]
    """
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    found = np.empty(len(codes), np.int64)
    found[order] = np.arange(len(codes)) - starts
    return found


def one_a_unit(names: Sequence[str], codes: Int64Array) -> NDArray[np.bool_]:
    """Choose one image of each unit, by the name of the unit alone: bool (N,).

    The image whose number is the SHA-256 of "medrobust view NAME", modulo how many there are.
    """
    counts = np.bincount(codes)
    chosen = [
        int.from_bytes(hashlib.sha256(f"medrobust view {name}".encode()).digest(), "big") % int(n)
        for name, n in zip(names, counts, strict=True)
    ]
    found: NDArray[np.bool_] = turns(codes) == np.array(chosen)[codes]
    return found


def mixed(
    specs: Mapping[str, ArraySpec],
    clean: Mapping[str, NDArray[Any]],
    corrupted: Mapping[str, NDArray[Any]],
    rows: NDArray[np.bool_],
) -> dict[str, NDArray[Any]]:
    """Take some images from a corrupted cell and the others from the clean one.

    Args:
        specs: What each array runs over, images first.
        clean: Arrays of the clean cell.
        corrupted: Those of the corrupted cell, of the same images.
        rows: bool (N,), the images that are corrupted.
    """
    found = {}
    for name, spec in specs.items():
        shape = (-1, *(1 for _ in spec.axes[1:]))
        found[name] = np.where(rows.reshape(shape), corrupted[name], clean[name])
    return found
