"""Kernel: rows summed by the place that each belongs to."""

from typing import Any

from medrobust.base.numba_jit import native


@native("void(float32[:,::1], int64[::1], int64[::1], float64[:,::1])")
def add_rows(rows: Any, chosen: Any, places: Any, sums: Any) -> None:
    """Add rows to the sums of their places, in the order that they are chosen in.

    Args:
        rows: (N, F).
        chosen: (M,), which rows are added.
        places: (M,), where to.
        sums: (P, F), added to.
    """
    for one in range(len(chosen)):
        row, place = chosen[one], places[one]
        for column in range(rows.shape[1]):
            sums[place, column] += rows[row, column]
