"""Masks of a pass, moved as its corruption moves the images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medrobust.base.targets import OUTSIDE, MaskedLabels, Masks
from medrobust.corruptions.masks import moved_classes
from medrobust.datasets.image_set import ImageSet
from medrobust.evaluation.columns import Column
from medrobust.tasks.patches import Truth, TruthHead
from medrobust.types import Int64Array, UInt8Array


@dataclass(frozen=True, slots=True)
class MovedMasks:
    """Gives the masks of some rows of a split, read when they are asked for.

    Attributes:
        image_set: Its target has masks.
        column: What the images are under; None for clean.
        severity: 1 to 5; 0 for clean.
        seed: Of the corruptions.
    """

    image_set: ImageSet
    column: Column | None
    severity: int
    seed: int

    def __call__(self, rows: slice | Int64Array) -> UInt8Array:
        """Return uint8 (n, H, W), the class of each pixel.

        Of masked labels 1 in lesions, and 255 where there is no image.
        """
        target = self.image_set.target
        assert isinstance(target, Masks | MaskedLabels)
        return moved_classes(
            target.pixels(rows),
            self.column,
            severity=self.severity,
            seed=self.seed,
            stream=self.image_set.stream,
            index=self.image_set.index[rows],
        )

    def truth(self, rows: Int64Array) -> Truth:
        """Return masks and spacing of some rows."""
        target = self.image_set.target
        assert isinstance(target, Masks | MaskedLabels)
        masks = self(rows)
        spacing = None if target.spacing is None else target.spacing[rows]
        if isinstance(target, Masks) and target.ignored is None:
            return Truth(masks, spacing)
        outside = masks == OUTSIDE
        masks = np.where(outside, np.uint8(0), masks)
        return Truth(masks, spacing, outside if isinstance(target, Masks) else None)


@dataclass(slots=True)
class TruthReader:
    """Gives a head the masks of the images whose patch features it reads, in their order.

    One for each pass over the images.

    Attributes:
        head: Reads both.
        masks: Of the split.
        rows: int64, of the split, in the order in which they come.
    """

    head: TruthHead
    masks: MovedMasks
    rows: Int64Array
    _seen: int = field(default=0, init=False)

    @property
    def blocks(self) -> Sequence[int]:
        """Whose patch features the head reads."""
        return self.head.blocks

    def reduce(self, features: Any, patches: Any) -> Mapping[str, Any]:
        """Return what the head keeps of the next images."""
        rows = self.rows[self._seen : self._seen + len(features)]
        self._seen += len(rows)
        return self.head.reduce_judged(features, patches, self.masks.truth(rows))
