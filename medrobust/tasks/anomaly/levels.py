"""Maps in levels: a scale from normal validation images, and what is counted of all pixels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import asinh
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medrobust.metrics.pixels import (
    PixelCounts,
    PixelCurve,
    count_pixels,
    pixel_influence,
)
from medrobust.tasks.map_view import View
from medrobust.types import Float32Array, UInt8Array

LEVELS = 16384
"""Levels of a map, at equal steps of asinh(2 z): z is 0 at the median and 1 at the 99 % quantile
of the normal validation images, and levels go to 1,000 on either side."""

REACH = asinh(2000.0)

CHUNK = 16
"""Images whose maps are brought to the size of their pixels at a time."""

Masks: TypeAlias = Callable[[slice], UInt8Array]
"""Returns the masks of some rows of a split, moved as their images: (n, H, W), 1 in lesions, 0
where nothing is found, and another number where there is no image."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the values of normal validation images lie.

    Attributes:
        low: Their median.
        span: Their 99 % quantile minus the median, above 0.
    """

    low: float
    span: float

    @classmethod
    def of(cls, values: Tensor) -> "Scale":
        """Find it from the values of normal images, of any shape."""
        ordered = np.quantile(values.double().cpu().numpy(), (0.5, 0.99))
        return cls(float(ordered[0]), max(float(ordered[1] - ordered[0]), 1e-9))

    def __call__(self, values: Tensor) -> Tensor:
        """Return values as z, float32."""
        return ((values.double() - self.low) / self.span).float()


def levels_of(z: Float32Array) -> NDArray[np.int64]:
    """Return the level of each scaled value.

    Example:
        >>> levels_of(np.array([-1e9, 0, 1, 1e9], np.float32)).tolist()
        [0, 8192, 9617, 16383]
    """
    place = np.arcsinh(2 * z.astype(np.float64)) / REACH
    levels: NDArray[np.int64] = ((place + 1) / 2 * LEVELS).astype(np.int64)
    return np.clip(levels, 0, LEVELS - 1)


def counted_maps(maps: Tensor, view: View, masks: Masks) -> dict[str, NDArray[Any]]:
    """Count the pixels of all maps by level, and say how much each image moves the numbers.

    Two walks over the maps, a chunk at a time; none of them is kept at the size of its pixels.

    Args:
        maps: float32 (N, h, w), scaled, on the CPU.
        view: How they lie over their images.
        masks: Lesions of some rows.

    Returns:
        The arrays of a cell.
    """
    parts = [count_pixels(levels, mask, LEVELS) for _, levels, mask in _chunks(maps, view, masks)]
    counts = parts[0]
    for part in parts[1:]:
        counts = counts + part
    return {
        "normal_pixels": counts.normal,
        "lesion_pixels": counts.lesion,
        "region_overlap": counts.overlap,
        "pixel_influence": _influence(counts, maps, view, masks),
    }


def _influence(counts: PixelCounts, maps: Tensor, view: View, masks: Masks) -> Float32Array:
    influence = np.zeros((len(maps), 3), np.float32)
    if counts.defined:
        curve = PixelCurve(counts)
        for rows, levels, mask in _chunks(maps, view, masks):
            influence[rows] = pixel_influence(curve, levels, mask, len(maps))
    return influence


def _chunks(
    maps: Tensor, view: View, masks: Masks
) -> Iterator[tuple[slice, NDArray[np.int64], UInt8Array]]:
    for start in range(0, len(maps), CHUNK):
        rows = slice(start, min(start + CHUNK, len(maps)))
        mask = masks(rows)
        spread = view.spread(maps[rows], (mask.shape[1], mask.shape[2])).numpy()
        yield rows, levels_of(spread), mask
