"""Poisson counts by their quantiles."""

import numpy as np

from medrobust.keys import NORMAL_SCALE, normal_table
from medrobust.types import Float64Array, Int64Array

from .numba.tomography import count_quanta


def poisson(means: Float64Array, halves: Int64Array) -> Float64Array:
    """Give the Poisson count of each mean at a quantile (h + 1/2) / 65536: float64 of that shape.

    Example:
        >>> poisson(np.array([[0.5, 100.0]]), np.array([[50000, 32768]])).tolist()
        [[1.0, 100.0]]
    """
    counts = np.empty(means.size)
    normals = normal_table() / NORMAL_SCALE
    count_quanta(means.ravel(), halves.ravel(), normals, counts)
    return counts.reshape(means.shape)
