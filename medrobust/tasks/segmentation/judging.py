"""What is kept of the masks of an image: counts of pixels, distances of borders, and a picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError
from medrobust.metrics.overlaps import count_overlaps
from medrobust.metrics.surfaces import Elements, surface_distances
from medrobust.tasks.patches import Truth
from medrobust.types import Float32Array, UInt8Array

PICTURE = 224
"""Pixels a side, at most, of a mask that is shown."""

SHOWN = 2
"""Masks kept a cell: of the images whose pictures are kept, the first and the middle one."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares predicted masks with true ones.

    Attributes:
        classes: How many there are, the background among them.
        elements: What borders are made of.
        unit: Of distances: "mm" or "px".
        tolerance: Of NSD, in that unit.
    """

    classes: int
    elements: Elements
    unit: str
    tolerance: float

    def __call__(self, predicted: UInt8Array, truth: Truth) -> dict[str, NDArray[Any]]:
        """Return one row an image of every array that a cell keeps.

        Args:
            predicted: uint8 (n, H, W), the class of each pixel.
            truth: Of the same images.

        Raises:
            ConfigurationError: If distances are in millimetres and nobody knows the spacing.
        """
        if self.unit == "mm" and truth.spacing is None:
            raise ConfigurationError(
                "task.unit=mm needs the spacing of the pixels, which this data set does not name: "
                "pass task.unit=px."
            )
        counts = np.zeros((3, len(predicted), self.classes - 1), np.int32)
        borders = np.full((3, len(predicted), self.classes - 1), np.nan, np.float32)
        for n, (mask, found) in enumerate(zip(truth.masks, predicted, strict=True)):
            counts[:, n] = count_overlaps(mask, found, self.classes)
            spacing = (1.0, 1.0)
            if self.unit == "mm" and truth.spacing is not None:
                spacing = (float(truth.spacing[n, 0]), float(truth.spacing[n, 1]))
            for place in range(self.classes - 1):
                if counts[1:, n, place].all():
                    borders[:, n, place] = self._of_borders(
                        mask == place + 1, found == place + 1, spacing
                    )
        return {
            "overlap": counts[0],
            "true_area": counts[1],
            "predicted_area": counts[2],
            "hd95": borders[0],
            "assd": borders[1],
            "nsd": _stated(borders[2], counts),
        }

    def _of_borders(
        self, truth: NDArray[np.bool_], found: NDArray[np.bool_], spacing: tuple[float, float]
    ) -> tuple[float, float, float]:
        distances = surface_distances(truth, found, spacing, elements=self.elements)
        return distances.hausdorff(95), distances.mean, distances.overlap(self.tolerance)


def _stated(nsd: Float32Array, counts: NDArray[np.int32]) -> Float32Array:
    """Fill in what borders that are not there have in common: 1 where neither is, else 0."""
    neither = (counts[1] == 0) & (counts[2] == 0)
    return np.where(np.isnan(nsd), neither.astype(np.float32), nsd)


def packed(classes: UInt8Array, count: int, side: int | None = PICTURE) -> UInt8Array:
    """Pack masks to bits: uint8 (n, bytes).

    Args:
        classes: uint8 (n, H, W), the class of each pixel.
        count: How many classes there are.
        side: Rows and columns that are kept at most; None: all.
    """
    small = thinned(classes, side)
    planes = [(small >> plane) & 1 for plane in range(_planes(count))]
    return np.packbits(np.stack(planes, axis=1).reshape(len(small), -1), axis=1)


def unpacked(bits: UInt8Array, count: int, shape: tuple[int, int]) -> UInt8Array:
    """Return masks (n, *shape) from what `packed` made of them.

    Example:
        >>> masks = np.array([[[0, 1, 2], [2, 1, 0]]], np.uint8)
        >>> np.array_equal(unpacked(packed(masks, 3), 3, (2, 3)), masks)
        True
    """
    planes = _planes(count)
    flat = np.unpackbits(bits, axis=1, count=planes * shape[0] * shape[1])
    each = flat.reshape(len(bits), planes, *shape)
    weights = (1 << np.arange(planes, dtype=np.uint8)).astype(np.uint8)
    found: UInt8Array = (each * weights[:, None, None]).sum(axis=1, dtype=np.uint8)
    return found


def thinned(classes: UInt8Array, side: int | None) -> UInt8Array:
    """Keep at most so many rows and columns of masks (n, H, W), at equal steps."""
    rows, columns = (_kept(length, side) for length in classes.shape[1:])
    return np.ascontiguousarray(classes[:, rows][:, :, columns])


def _kept(length: int, side: int | None) -> NDArray[np.int64]:
    count = length if side is None else min(side, length)
    places: NDArray[np.int64] = ((2 * np.arange(count) + 1) * length) // (2 * count)
    return places


def _planes(count: int) -> int:
    return max(1, (count - 1).bit_length())


def shown_rows(images: int, *, every: bool = False) -> NDArray[np.int64]:
    """Return the rows whose masks a cell keeps.

    Example:
        >>> shown_rows(5).tolist(), shown_rows(3, every=True).tolist()
        ([0, 2], [0, 1, 2])
    """
    if every:
        return np.arange(images, dtype=np.int64)
    return np.unique([images * part // SHOWN for part in range(SHOWN)]).astype(np.int64)


def rows_of(arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """Return some arrays, contiguous."""
    return {name: np.ascontiguousarray(arrays[name]) for name in names}
