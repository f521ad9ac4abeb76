"""Windows of lesions that miss: off their centre, too wide or too tight, in graded steps.

They stand in a table as corruptions do; images stay as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast, get_args

import numpy as np

from medrobust.base.lazy_rows import WindowRows, windows_of
from medrobust.base.targets import WindowLabels
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.types import Float64Array, Int64Array

from .image_set import ImageSet
from .sampling import draw_order
from .windows import LEAST

if TYPE_CHECKING:
    from medrobust.types import IndexBatch, UInt8Batch

Kind = Literal["crop_shift", "crop_wide", "crop_tight"]

STEPS: Mapping[str, tuple[float, ...]] = {
    "crop_shift": (0.08, 0.16, 0.24, 0.32, 0.4),
    "crop_wide": (1.25, 1.5, 2.0, 2.5, 3.0),
    "crop_tight": (0.9, 0.8, 0.7, 0.6, 0.5),
}
"""Share of its side by which a window is moved; how long its side becomes: at severities 1 to 5."""

VERSION = 1
"""Raised whenever the same windows are moved otherwise."""


@dataclass(frozen=True, slots=True)
class MovedWindows:
    """A column of a table: windows that miss their lesion, cut from clean images.

    A window is moved in a direction that its id and `direction_seed` choose, and stays inside its
    image; sides do not exceed it.

    Attributes:
        computed: Never: what is read is other windows.
        suite: "windows".
        name: "crop_shift", "crop_wide" or "crop_tight".
        direction_seed: Of the directions of crop_shift.
    """

    computed: ClassVar[bool] = False
    suite: ClassVar[str] = "windows"

    name: Kind
    direction_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a name that there is not.

        Raises:
            UnknownNameError: Naming those that there are.
        """
        if self.name not in get_args(Kind):
            raise unknown_name("way of moving windows", self.name, get_args(Kind))

    def expand(self, registry: str | None, modality: str | None = None) -> tuple[Self, ...]:
        """Return itself: it is the same for every data set."""
        return (self,)

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give the plain values that decide the pixels."""
        drawn = {"direction_seed": self.direction_seed} if self.name == "crop_shift" else {}
        step = STEPS[self.name][severity - 1]
        return {"name": self.name, "windows": "moved", "step": step, "version": VERSION, **drawn}

    def random(self, severity: int) -> bool:
        """Say that the seed of the corruptions decides nothing."""
        return False

    def check(self, clean: ImageSet) -> None:
        """Refuse images that are no windows of boxes: those of a grid would keep their labels.

        Raises:
            ConfigurationError: Naming the data set.
        """
        if windows_of(clean.images) is None:
            raise ConfigurationError(
                f"corruption={self.name} moves the windows of lesions, and data set {clean.name!r} "
                f"has none: take dataset=lesions or phantoms_widefield, or another corruption."
            )
        if isinstance(clean.target, WindowLabels) and clean.target.grid:
            raise ConfigurationError(
                f"corruption={self.name} moves the windows of boxes, and those of data set "
                f"{clean.name!r} are a grid, whose lesions would be looked for where no window is "
                f"any more: take another corruption, or dataset.grid=null."
            )

    def images(self, clean: ImageSet, severity: int) -> ImageSet:
        """Return the same lesions, seen through other windows.

        Raises:
            ConfigurationError: If the images are no windows.
        """
        self.check(clean)
        seen = cast(WindowRows, windows_of(clean.images))
        step, size = STEPS[self.name][severity - 1], int(clean.images.shape[1])
        if self.name == "crop_shift":
            turns = draw_order(clean.ids.tolist(), self.direction_seed, "direction of a window")
            moved = shifted(seen.windows, 2 * np.pi * turns, step, size)
        else:
            moved = scaled(seen.windows, step, size)
        return replace(clean, images=cast(Any, WindowRows(seen.whole, moved)))

    def __call__(
        self,
        images: "UInt8Batch",
        *,
        severity: int,
        seed: int = 0,
        stream: str = "",
        index: "IndexBatch",
    ) -> "UInt8Batch":
        """Return the images as they are: their windows are others."""
        return images


def shifted(windows: Int64Array, angles: Float64Array, share: float, size: int) -> Int64Array:
    """Move windows by a share of their side; the edge of the image holds them up.

    Example:
        >>> windows = np.array([[10, 10, 20, 20], [90, 0, 100, 10]])
        >>> shifted(windows, np.array([0.0, 0.0]), 0.4, 100).tolist()
        [[14, 10, 24, 20], [90, 0, 100, 10]]
    """
    side = windows[:, 2] - windows[:, 0]
    found = []
    for start, along in ((windows[:, 0], np.cos), (windows[:, 1], np.sin)):
        way = cast(Callable[[Float64Array], Float64Array], along)(angles)
        found.append(np.clip(np.rint(start + share * side * way), 0, size - side))
    return _squares(found[0], found[1], side)


def scaled(windows: Int64Array, factor: float, size: int) -> Int64Array:
    """Make windows wider or tighter about their centre, and move them inside the image.

    Example:
        >>> scaled(np.array([[10, 10, 30, 30], [0, 0, 60, 60]]), 2.0, 100).tolist()
        [[0, 0, 40, 40], [0, 0, 100, 100]]
        >>> scaled(np.array([[10, 10, 30, 30]]), 0.5, 100).tolist()
        [[15, 15, 25, 25]]
    """
    before = windows[:, 2] - windows[:, 0]
    side = np.clip(np.rint(before * factor), min(LEAST, size), size)
    found = [
        np.clip(np.floor(windows[:, axis] + (before - side) / 2 + 0.5), 0, size - side)
        for axis in (0, 1)
    ]
    return _squares(found[0], found[1], side)


def _squares(x: Float64Array, y: Float64Array, side: Any) -> Int64Array:
    return np.stack([x, y, x + side, y + side], axis=1).astype(np.int64)
