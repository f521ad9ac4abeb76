"""Masks of a pass, moved as its corruption moves the images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.base.targets import MaskedLabels
from medrobust.corruptions.masks import moved_masks
from medrobust.datasets.image_set import ImageSet
from medrobust.evaluation.columns import Column


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

    def __call__(self, rows: slice) -> NDArray[np.bool_]:
        """Return bool (n, H, W), lesions."""
        target = self.image_set.target
        assert isinstance(target, MaskedLabels)
        found: NDArray[np.bool_] = moved_masks(
            np.asarray(target.masks[rows]),
            self.column,
            severity=self.severity,
            seed=self.seed,
            stream=self.image_set.stream,
            index=self.image_set.index[rows],
        ).astype(bool)
        return found
