"""Whether images of one patient are answered alike, and still when they are corrupted.

Pairs are two images of one patient, in either order once; with `sides`, two that differ in it (left
and right eye, first and second visit). None is listed: numbers are sums over counts.
"""

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array


def pairs_of(units: Int64Array, sides: Int64Array | None = None) -> Float64Array:
    """Count the pairs of each unit: float64 (U,).

    Args:
        units: int64 (N,), the unit of each image, every number from 0 to U - 1.
        sides: int64 (N,); only images that differ in it are a pair. None: all are.

    Example:
        >>> units = np.array([0, 0, 0, 1])
        >>> pairs_of(units).tolist(), pairs_of(units, np.array([0, 0, 1, 0])).tolist()
        ([3.0, 0.0], [2.0, 0.0])
    """
    return _equal_pairs(units, np.zeros((len(units), 1), np.int64), sides)


def agreement(
    units: Int64Array, answers: NDArray[np.int64], sides: Int64Array | None = None
) -> Float64Array:
    """Return the share of the pairs of each unit that get one answer: float64 (U,), NaN without.

    Args:
        units: As for `pairs_of`.
        answers: int64 (N,) or (N, L); of label sets all labels must be alike.
        sides: As for `pairs_of`.

    Example:
        >>> agreement(np.array([0, 0, 0, 1]), np.array([2, 2, 5, 1])).round(3).tolist()
        [0.333, nan]
    """
    return _shares(_equal_pairs(units, _columns(answers), sides), pairs_of(units, sides))


def kept_agreement(
    units: Int64Array,
    clean: NDArray[np.int64],
    corrupted: NDArray[np.int64],
    sides: Int64Array | None = None,
) -> Float64Array:
    """Return the share of pairs that agreed when clean and still do: float64 (U,), NaN without.

    Args:
        units: As for `pairs_of`.
        clean: Answers on clean images, as for `agreement`.
        corrupted: Answers on the same images, all of them corrupted.
        sides: As for `pairs_of`.

    Example:
        >>> clean, corrupted = np.array([2, 2, 2]), np.array([2, 2, 5])
        >>> kept_agreement(np.zeros(3, np.int64), clean, corrupted).round(3).tolist()
        [0.333]
    """
    both = np.concatenate([_columns(clean), _columns(corrupted)], axis=1)
    return _shares(_equal_pairs(units, both, sides), _equal_pairs(units, _columns(clean), sides))


def cosine_within(
    units: Int64Array, features: NDArray[np.floating], sides: Int64Array | None = None
) -> Float64Array:
    """Return the mean cosine of the pairs of each unit: float64 (U,), NaN without pairs.

    Args:
        units: As for `pairs_of`.
        features: (N, D).
        sides: As for `pairs_of`.

    Example:
        >>> features = np.array([[2.0, 0], [0, 1], [3, 0]])
        >>> cosine_within(np.zeros(3, np.int64), features).round(3).tolist()
        [0.333]
    """
    unit = features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    count = int(units.max()) + 1
    total = _half_squares(unit, units, count)
    if sides is not None:
        parts, of_part = _joined(units, sides[:, None])
        own = _half_squares(unit, parts, len(of_part))
        total = total - np.bincount(of_part, weights=own, minlength=count)
    return _shares(total, pairs_of(units, sides))


def _half_squares(unit: Float64Array, codes: Int64Array, count: int) -> Float64Array:
    """Return the sum of the cosines of all pairs of each code: (|sum|² - n) / 2."""
    sums = np.zeros((count, unit.shape[1]))
    np.add.at(sums, codes, unit)
    found: Float64Array = ((sums**2).sum(axis=1) - np.bincount(codes, minlength=count)) / 2
    return found


def _columns(answers: NDArray[np.int64]) -> NDArray[np.int64]:
    return answers.reshape(len(answers), -1)


def _joined(units: Int64Array, columns: NDArray[np.int64]) -> tuple[Int64Array, Int64Array]:
    """Number the images that share a unit and all columns: int64 (N,); and the unit of each."""
    rows = np.concatenate([units[:, None], columns], axis=1)
    unique, codes = np.unique(rows, axis=0, return_inverse=True)
    return codes.reshape(-1).astype(np.int64), unique[:, 0]


def _equal_pairs(
    units: Int64Array, columns: NDArray[np.int64], sides: Int64Array | None
) -> Float64Array:
    """Count the pairs of each unit that are equal in all columns, and differ in the side."""
    count = int(units.max()) + 1
    found = np.zeros(count)
    splits = [columns] if sides is None else [columns, np.column_stack([columns, sides])]
    for sign, one in zip((1, -1), splits, strict=False):
        codes, of_code = _joined(units, one)
        sizes = np.bincount(codes).astype(np.float64)
        found += sign * np.bincount(of_code, weights=sizes * (sizes - 1) / 2, minlength=count)
    return found


def _shares(part: Float64Array, whole: Float64Array) -> Float64Array:
    found: Float64Array = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return found
