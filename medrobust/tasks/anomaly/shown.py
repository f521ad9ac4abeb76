"""Maps that a cell keeps: a few to be shown on a page, or all of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float32Array

SHOWN = 2
"""Maps kept a cell: of the images whose pictures are kept, the first and the middle one."""


def shown_maps(
    maps: Float32Array, zoom: float, *, keep_all: bool = False
) -> dict[str, NDArray[Any]]:
    """Return what a cell keeps of its maps.

    Args:
        maps: (N, h, w), scaled.
        zoom: Side of an image in units of the side of its map.
        keep_all: Whether all are kept.

    Example:
        >>> shown_maps(np.zeros((5, 7, 7), np.float32), 1.0)["map_rows"].tolist()
        [0, 2]
    """
    rows = np.unique([len(maps) * part // SHOWN for part in range(SHOWN)])
    rows = np.arange(len(maps)) if keep_all else rows
    return {
        "map_rows": rows.astype(np.int64),
        "maps": np.ascontiguousarray(maps[rows], dtype=np.float32),
        "map_zoom": np.full(1, zoom, np.float64),
    }


def no_maps() -> dict[str, NDArray[Any]]:
    """Return what a cell keeps where there are no maps."""
    return {
        "map_rows": np.zeros(0, np.int64),
        "maps": np.zeros((0, 0, 0), np.float32),
        "map_zoom": np.ones(1, np.float64),
    }


def no_pixels(images: int) -> dict[str, NDArray[Any]]:
    """Return what a cell holds of the pixels of maps where there are no masks.

    Example:
        >>> {name: array.shape for name, array in no_pixels(3).items()}["pixel_influence"]
        (3, 0)
    """
    return {
        "normal_pixels": np.zeros(0, np.int64),
        "lesion_pixels": np.zeros(0, np.int64),
        "region_overlap": np.zeros(0, np.float64),
        "pixel_influence": np.zeros((images, 0), np.float32),
    }
