"""Heads that read patch features, which no pass keeps of a whole split. Knows numpy alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float64Array, UInt8Array

from .base import Head


@runtime_checkable
class PatchHead(Head, Protocol):
    """Head of a task whose level is "patches": it reads them while they are there.

    Patch features of a whole split are never kept: of each micro-batch the head keeps small rows,
    one an image, and makes arrays of them in the end. Features, patch features and rows are tensors
    of torch.
    """

    @property
    def blocks(self) -> Sequence[int]:
        """Whose patch features it reads, numbered from 1; none where features are enough."""
        ...

    def reduce(self, features: Any, patches: Any) -> Mapping[str, Any]:
        """Return what is kept of each image: (m, ...) under each name.

        Args:
            features: float32 (m, D) of unit norm, on the device of the encoder.
            patches: `medrobust.models.patches.PatchFeatures` of the same images.
        """
        ...

    def outputs(self, features: Any) -> Mapping[str, NDArray[Any]]:
        """Return exactly `Task.arrays`, from the rows kept of all images, (N, ...) on the CPU.

        Raises:
            NotFiniteError: If outputs are not finite.
        """
        ...


@runtime_checkable
class MaskHead(PatchHead, Protocol):
    """Head whose arrays depend on masks, which move as the corruption moves the images."""

    def judged(
        self, rows: Any, masks: Callable[[slice], UInt8Array] | None
    ) -> Mapping[str, NDArray[Any]]:
        """Return exactly `Task.arrays`, as `outputs` does where there are no masks.

        Args:
            rows: What `reduce` kept of all images, (N, ...) on the CPU.
            masks: Returns those of some rows of the split, uint8 (n, H, W), the class of each
                pixel (1 in lesions, 255 where there is no image); None: there are none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Truth:
    """What some images are judged by, moved as the corruption has moved them.

    Attributes:
        masks: uint8 (m, H, W), the class of each pixel of the stored images, 0 for the background.
        spacing: float64 (m, 2), millimetres from row to row, and from column to column; None where
            nobody knows.
        outside: bool (m, H, W), pixels of no image, as the border around it, in which nothing that
            a model says counts; None: there are none.
    """

    masks: UInt8Array
    spacing: Float64Array | None = None
    outside: NDArray[np.bool_] | None = None


@runtime_checkable
class TruthHead(MaskHead, Protocol):
    """Head that reads masks while patch features are there: to be judged by, or as prompts.

    Of an image it keeps numbers and no map, so that memory does not grow with its pixels.
    """

    def reduce_judged(self, features: Any, patches: Any, truth: Truth) -> Mapping[str, Any]:
        """Return what is kept of each image, as `reduce` does.

        Args:
            features: float32 (m, D) of unit norm, on the device of the encoder.
            patches: `medrobust.models.patches.PatchFeatures` of the same images.
            truth: What the same images are judged by.
        """
        ...
