"""Rows of a memory-mapped array that are read when they are asked for."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Int64Array, UInt8Array


class PickedRows:
    """Stands for `source[rows]` and reads only what is indexed, so that a part needs no memory.

    Args:
        source: The array, usually a memory map.
        rows: int64 (n,), in any order.
    """

    def __init__(self, source: UInt8Array, rows: Int64Array) -> None:
        self.source = source
        self.rows = rows
        self.dtype = source.dtype
        self.shape = (len(rows), *source.shape[1:])
        self.ndim = source.ndim

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read rows: an integer, a slice, a list or an array, perhaps followed by other axes."""
        if isinstance(key, tuple):
            chosen = self[key[0]]
            rest = key[1:] if isinstance(key[0], int | np.integer) else (slice(None), *key[1:])
            return np.asarray(chosen[rest])
        return np.asarray(self.source[self.rows[key]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of them."""
        return np.asarray(self.source[self.rows], dtype=dtype)


def picked(images: UInt8Array | PickedRows, rows: Int64Array) -> UInt8Array:
    """Return `images[rows]`: a view where rows are neighbours, else read when asked for.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), or itself such a choice.
        rows: int64 (n,), positions in `images`.
    """
    if isinstance(images, PickedRows):
        return picked(images.source, images.rows[rows])
    first = int(rows[0]) if len(rows) else 0
    if np.array_equal(rows, np.arange(first, first + len(rows))):
        return images[first : first + len(rows)]
    return cast(UInt8Array, PickedRows(images, rows))
