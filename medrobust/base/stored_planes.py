"""Stored values of grey images, before any window, and how each image shows them.

What scanners write has 12 to 16 bits; a window makes 8 of them. A corruption that a device makes
belongs before that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, Int64Array, UInt8Array

FACTS: Final = np.dtype(
    [
        ("first", "<f8"),  # value of code 0, after the modality transformation
        ("step", "<f8"),  # from one code to the next; below 0 where a slope is
        ("codes", "<i8"),  # that the stored bits can hold
        ("low", "<f8"),  # value that is shown black, or the centre of a sigmoid
        ("high", "<f8"),  # value that is shown white, or the centre of a sigmoid and its width
        ("sigmoid", "?"),
        ("inverted", "?"),  # MONOCHROME1
        ("linear", "?"),  # in the intensity; else in its logarithm
        ("falling", "?"),  # whether more intensity is a smaller value
        ("pixel", "<f8"),  # side of a pixel in cm; 0: nobody knows
    ]
)
"""What an image has beside its codes, one record an image."""


@dataclass(frozen=True, slots=True)
class StoredPlane:
    """One image.

    Attributes:
        codes: uint16 (H, W).
        facts: Its record of `FACTS`.
        changed: Values that a corruption has left of it, float64 (H, W).
    """

    codes: NDArray[np.uint16]
    facts: Any
    changed: Float64Array | None = None

    @property
    def values(self) -> Float64Array:
        """Values after the modality transformation, float64 (H, W): Hounsfield units for CT."""
        if self.changed is not None:
            return self.changed
        found: Float64Array = self.facts["first"] + self.facts["step"] * self.codes.astype(float)
        return found

    def shown(self, values: Float64Array) -> UInt8Array:
        """Show values as the image shows its own, rounded half up, uint8 (H, W).

        Example:
            >>> facts = np.zeros((), FACTS)
            >>> facts["high"], facts["step"] = 1000, 1
            >>> plane = StoredPlane(np.zeros((1, 2), np.uint16), facts)
            >>> plane.shown(np.array([[-5.0, 500.0]])).tolist()
            [[0, 128]]
        """
        low, high = float(self.facts["low"]), float(self.facts["high"])
        if self.facts["sigmoid"]:
            with np.errstate(over="ignore"):
                shares = 1 / (1 + np.exp(-4 * (values - low) / (high - low)))
        elif high <= low:
            shares = (values > low).astype(float)
        else:
            shares = np.clip((values - low) / (high - low), 0.0, 1.0)
        greys = np.floor(shares * 255 + 0.5).astype(np.uint8)
        return 255 - greys if self.facts["inverted"] else greys


@dataclass(frozen=True, slots=True, eq=False)
class StoredPlanes:
    """The images of a split.

    Attributes:
        codes: uint16 (N, H, W), usually a memory map.
        facts: `FACTS` (N,).
        index: int64 (N,), the keys of the images, as `ImageSet` has them.
        digest: Of both.
    """

    codes: NDArray[np.uint16]
    facts: NDArray[Any]
    index: Int64Array
    digest: str

    def read(self, rows: Int64Array) -> list[StoredPlane]:
        """Read some images, by their rows."""
        return [StoredPlane(np.asarray(self.codes[row]), self.facts[row]) for row in rows]


OpensPlanes: TypeAlias = Callable[[], StoredPlanes]
"""Unpacks the stored planes of a split to the cache, once, and opens them."""
