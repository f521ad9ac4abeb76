"""What an array of a cell must look like: part of the contract of tasks (`tasks.base`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """An array that a cell of a task holds.

    Attributes:
        dtype: Name of a numpy dtype ("float32").
        axes: What each axis runs over, outermost first. "image" and "class" have the sizes of the
            split; another word stands for a size of the task's own, the same wherever it occurs in
            one cell; a whole number is that size.
        optional: Whether some heads leave it out.
    """

    dtype: str
    axes: tuple[str | int, ...]
    optional: bool = False

    def complaint(self, array: NDArray[Any], sizes: Mapping[str, int]) -> str | None:
        """Say why an array is not one of these, or return None where it is.

        Args:
            array: What a head gave, or what lies in a store.
            sizes: Size of each axis that is known ("image": 120, "class": 2).

        Example:
            >>> logits = ArraySpec("float32", ("image", "class"))
            >>> logits.complaint(np.zeros((5, 3), np.float32), {"image": 5, "class": 2})
            '(5, 3) is not (5, 2): image, class'
        """
        if array.dtype != np.dtype(self.dtype):
            return f"{array.dtype} is not {self.dtype}"
        wanted = tuple(sizes.get(a, a) if isinstance(a, str) else a for a in self.axes)
        fits = len(wanted) == array.ndim and all(
            isinstance(size, str) or size == given
            for size, given in zip(wanted, array.shape, strict=True)
        )
        if fits:
            return None
        shown = ", ".join(map(str, wanted))
        return f"{array.shape} is not ({shown}): {', '.join(map(str, self.axes))}"

    def nbytes(self, sizes: Mapping[str, int]) -> int:
        """Return the bytes of one; an axis of the task's own counts as one over the images.

        Example:
            >>> ArraySpec("float32", ("image", 2)).nbytes({"image": 10})
            80
        """
        axes = (sizes.get(a, sizes["image"]) if isinstance(a, str) else a for a in self.axes)
        return prod(axes) * np.dtype(self.dtype).itemsize


def unlike(
    declared: Mapping[str, ArraySpec], arrays: Mapping[str, NDArray[Any]], data: Any
) -> str | None:
    """Say why arrays are not those that a task declares for a split, or return None.

    Args:
        declared: `Task.arrays`.
        arrays: What a head gave, or what lies in a store.
        data: Facts of the split.
    """
    if not names_fit(declared, arrays):
        return f"{sorted(arrays)} are not {sorted(declared)}"
    sizes = dict(data.sizes)
    for name, spec in declared.items():
        if name not in arrays:
            continue
        if complaint := spec.complaint(arrays[name], sizes):
            return f"{name}: {complaint}"
        for axis, size in zip(spec.axes, arrays[name].shape, strict=True):
            if isinstance(axis, str) and sizes.setdefault(axis, size) != size:
                return f"{name}: {arrays[name].shape} has two sizes of {axis!r}"
    return None


def redeclared(declared: Mapping[str, ArraySpec], stated: Mapping[str, Any]) -> str:
    """Say how stored arrays are not those of a declaration, whatever the split; "" if they are.

    Args:
        declared: `Task.arrays`.
        stated: Name -> `shape` and `dtype` of an array, as a record has them.

    Example:
        >>> declared = {"rank": ArraySpec("int32", ("image",))}
        >>> redeclared(declared, {"order": {"shape": [9], "dtype": "<i4"}})
        "it holds ['order'], not ['rank']"
        >>> redeclared(declared, {"rank": {"shape": [9], "dtype": "<i8"}})
        "its array 'rank' is int64 (9,), not int32 (image)"
    """
    if not names_fit(declared, stated):
        return f"it holds {sorted(stated)}, not {sorted(declared)}"
    for name, found in stated.items():
        spec, dtype, shape = declared[name], np.dtype(found["dtype"]), tuple(found["shape"])
        fixed = len(shape) == len(spec.axes) and all(
            isinstance(axis, str) or axis == size
            for axis, size in zip(spec.axes, shape, strict=True)
        )
        if not fixed or dtype != np.dtype(spec.dtype):
            axes = ", ".join(map(str, spec.axes))
            return f"its array {name!r} is {dtype} {shape}, not {spec.dtype} ({axes})"
    return ""


def names_fit(declared: Mapping[str, ArraySpec], names: Iterable[str]) -> bool:
    """Say whether arrays have the names that a task declares, optional ones there or not.

    Example:
        >>> declared = {"mask": ArraySpec("uint8", (2,)), "box": ArraySpec("uint8", (2,), True)}
        >>> [names_fit(declared, names) for names in (["mask"], ["mask", "box"], ["box"])]
        [True, True, False]
    """
    needed = {name for name, spec in declared.items() if not spec.optional}
    return needed <= set(names) <= set(declared)
