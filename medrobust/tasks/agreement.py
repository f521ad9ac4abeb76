"""Whether arrays that were computed again are those of a stored cell, but for rounding."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.base.wording import counted

Move: TypeAlias = Literal["same kind", "other kind", "fast"]
"""From where to where: float32 on two processors of one kind; float32 on a CPU and a GPU, where a
pixel in ten thousand of a corrupted image may differ by a grey level; 16 bits, or a faster way to
run the tower, on either side."""

ALLOWED: Mapping[Move, float] = MappingProxyType(
    {"same kind": 1e-3, "other kind": 0.05, "fast": 0.5}
)
"""Largest difference that is taken for rounding, for numbers of the size of one."""

ROWS = 1
"""Rows of whole numbers that rounding may change: the share that tables agree in."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What became of the arrays of a cell.

    Attributes:
        agrees: Whether the difference is one of rounding.
        sentence: How large it is, and how large it may be.
    """

    agrees: bool
    sentence: str


def agreement_of_arrays(
    stored: Mapping[str, NDArray[Any]], again: Mapping[str, NDArray[Any]], allowed: float
) -> Agreement:
    """Compare arrays: real numbers as a share of their size, the rows of whole ones by number.

    Args:
        stored: Name -> array.
        again: The same names.
        allowed: Largest difference of real numbers.

    Example:
        >>> stored, again = {"rank": np.array([1, 2, 3])}, {"rank": np.array([1, 3, 2])}
        >>> agreement_of_arrays(stored, again, 1e-3)
        Agreement(agrees=False, sentence='rank differs in 2 of 3 rows (1 allowed)')
    """
    each = [_one(name, array, again[name], allowed) for name, array in stored.items()]
    said = "; ".join(one.sentence for one in each if one.sentence)
    return Agreement(all(one.agrees for one in each), said)


def _one(name: str, stored: NDArray[Any], again: NDArray[Any], allowed: float) -> Agreement:
    if stored.shape != again.shape:
        return Agreement(False, f"{name} has another shape, {again.shape} for {stored.shape}")
    if np.array_equal(stored, again, equal_nan=stored.dtype.kind == "f"):
        return Agreement(True, "")
    if stored.dtype.kind != "f":
        moved = int((stored != again).reshape(len(stored), -1).any(axis=1).sum())
        rows = counted(len(stored), "row")
        return Agreement(moved <= ROWS, f"{name} differs in {moved} of {rows} ({ROWS} allowed)")
    both = np.isfinite(stored) & np.isfinite(again)
    scale = np.maximum(np.abs(stored), 1.0, where=both, out=np.ones(stored.shape))
    apart = np.abs(np.subtract(stored, again, where=both, out=np.zeros(stored.shape))) / scale
    same_gaps = np.array_equal(np.isfinite(stored), np.isfinite(again))
    largest = float(apart.max())
    said = f"{name} differ by {largest:.2g} of their size at most ({allowed:g} allowed)"
    return Agreement(same_gaps and largest <= allowed, said)
