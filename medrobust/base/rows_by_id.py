"""Rows of one table in the order of another, by what names them."""

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Int64Array


def rows_by_id(ids: NDArray[np.str_], among: NDArray[np.str_]) -> Int64Array | None:
    """Say where each id stands in another table.

    Args:
        ids: (N,), as they are wanted.
        among: (M,), each once.

    Returns:
        int64 (N,), rows of `among`; None if one is not there.

    Example:
        >>> rows_by_id(np.array(["b", "a"]), np.array(["a", "b", "c"])).tolist()
        [1, 0]
        >>> rows_by_id(np.array(["d"]), np.array(["a"])) is None
        True
    """
    if not len(among):
        return None
    order = np.argsort(among)
    places = order[np.searchsorted(among, ids, sorter=order).clip(max=len(among) - 1)]
    return places.astype(np.int64) if bool((among[places] == ids).all()) else None
