"""Numbers in place of values: which rows have the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Int64Array


def numbered(*columns: NDArray[Any]) -> Int64Array:
    """Number the values of a column, or what several hold together: int64 (N,) from 0, in order.

    Args:
        columns: (N,) each; the first decides the order first.

    Example:
        >>> patients, studies = np.array(["b", "a", "b"]), np.array(["1", "1", "1"])
        >>> numbered(studies).tolist(), numbered(studies, patients).tolist()
        ([0, 0, 0], [1, 0, 1])
    """
    each = [np.unique(one, return_inverse=True)[1].reshape(-1) for one in columns]
    found = each[0]
    if len(each) > 1:
        found = np.unique(np.stack(each), axis=1, return_inverse=True)[1].reshape(-1)
    return found.astype(np.int64)
