"""Counting what lies above a threshold, of rows and columns in one reading of a block."""

from medrobust.base.numba_jit import native
from medrobust.types import Float32Array, Int64Array


@native("void(float32[:,::1],float32[::1],float32[::1],int64[::1],int64[::1])")
def count_above(
    block: Float32Array,
    of_rows: Float32Array,
    of_columns: Float32Array,
    rows: Int64Array,
    columns: Int64Array,
) -> None:
    """Add to each row and each column how many of its values lie above its threshold.

    Args:
        block: (R, C).
        of_rows: (R,), thresholds.
        of_columns: (C,), thresholds.
        rows: (R,), counts that are added to, in place.
        columns: (C,), counts that are added to, in place.
    """
    width = block.shape[1]
    for row in range(block.shape[0]):
        threshold = of_rows[row]
        above = 0
        for column in range(width):
            value = block[row, column]
            above += value > threshold
            columns[column] += value > of_columns[column]
        rows[row] += above
