"""From patch features to masks, judged image by image while they are there. Imports torch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medrobust.base.targets import OUTSIDE
from medrobust.exceptions import ConfigurationError, NotFiniteError
from medrobust.tasks.map_view import View
from medrobust.tasks.patches import Truth
from medrobust.types import FeatureBatch, UInt8Array

from .judging import PICTURE, Judge, packed, rows_of, shown_rows, thinned, unpacked
from .segmenters.boxes import BoxProtocol, prompts_of

NUMBERS = ("overlap", "true_area", "predicted_area", "hd95", "assd", "nsd")
"""Arrays of a cell that have one row an image."""

PROMPTED = "prompt_overlap"
"""Array of cells whose prompts were moved: how much of each prompt is left."""

AT_ONCE = 8
"""Images whose logits are brought to the size of their pixels at a time."""


class Segments(Protocol):
    """Gives logits of classes at places: what a segmenter is, however it does it."""

    @property
    def blocks(self) -> Sequence[int]:
        """Whose patch features it reads."""
        ...

    def __call__(self, features: FeatureBatch, patches: Any, prompts: Tensor | None) -> Tensor:
        """Return logits (n, K, h, w), the background's first; one channel is the only class's.

        Args:
            features: float32 (n, D).
            patches: `medrobust.models.patches.PatchFeatures` of the same images.
            prompts: Boxes or points, `medrobust.models.segmenter.MaskDecoder`; None: there are
                none.
        """
        ...


def two_sided(logits: Tensor, classes: int) -> Tensor:
    """Return logits (n, K, h, w) of all classes: those of one alone beside 0 for the background.

    Raises:
        ConfigurationError: If the model tells another number of classes apart than masks have.
    """
    if logits.shape[1] == 1 and classes == 2:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    if logits.shape[1] != classes:
        raise ConfigurationError(
            f"the model tells {logits.shape[1]} classes of pixels apart and the masks have "
            f"{classes}, the background among them: they must be the same."
        )
    return logits


class SegmentationHead:
    """Predicts the class of each pixel, judges it, and keeps numbers.

    Args:
        segments: Gives logits.
        view: How they lie over the images.
        judge: Compares masks.
        prompts: How boxes or points are drawn from what the masks show; None where it takes none.
        keep_all: Whether the masks of all images are kept in the cell, and not a few to be shown.
    """

    def __init__(
        self,
        segments: Segments,
        view: View,
        judge: Judge,
        *,
        prompts: BoxProtocol | None = None,
        keep_all: bool = False,
    ) -> None:
        self._segments, self._view, self._judge = segments, view, judge
        self._prompts = prompts
        self._keep_all = keep_all
        self._side = None if keep_all else PICTURE

    @property
    def blocks(self) -> Sequence[int]:
        """Whose patch features the segmenter reads."""
        return self._segments.blocks

    def reduce(self, features: FeatureBatch, patches: Any) -> Mapping[str, Tensor]:
        """Refuse: there is nothing to judge by.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError("task=segmentation needs masks to judge by, and there are none.")

    @torch.no_grad()
    def reduce_judged(
        self, features: FeatureBatch, patches: Any, truth: Truth
    ) -> Mapping[str, Tensor]:
        """Return what is kept of each image: numbers, and a packed mask.

        Raises:
            NotFiniteError: If a logit is no number.
            ConfigurationError: If the model tells another number of classes apart than masks have.
        """
        drawn = None
        if self._prompts is not None:
            drawn = prompts_of(truth.masks, self._judge.classes, self._prompts)
        places = None if drawn is None else torch.from_numpy(drawn.places).to(features.device)
        logits = self._segments(features, patches, places)
        predicted = self._classes(logits, (truth.masks.shape[1], truth.masks.shape[2]))
        if truth.outside is not None:
            predicted[truth.outside] = 0
        rows = self._judge(predicted, truth)
        if drawn is not None and drawn.kept is not None:
            rows[PROMPTED] = drawn.kept
        rows["mask"] = packed(predicted, self._judge.classes, self._side)
        return {name: torch.from_numpy(row) for name, row in rows.items()}

    def _classes(self, logits: Tensor, shape: tuple[int, int]) -> UInt8Array:
        """Return the class of each pixel, uint8 (n, *shape): the first of equal ones."""
        logits = two_sided(logits, self._judge.classes)
        if bool(torch.isnan(logits).any()):
            raise NotFiniteError(
                "logits of places are no numbers: the weights, the precision or the preprocessing "
                "do not suit these images. The cell was not stored."
            )
        bounded = logits.float().clamp(-1e4, 1e4)
        parts = [
            self._view.spread(bounded[start : start + AT_ONCE], shape).argmax(dim=1).cpu()
            for start in range(0, len(bounded), AT_ONCE)
        ]
        return torch.cat(parts).numpy().astype(np.uint8)

    def outputs(self, features: Mapping[str, Tensor]) -> Mapping[str, NDArray[Any]]:
        """Refuse, as `reduce` does."""
        return self.judged(features, None)

    def judged(
        self, rows: Mapping[str, Tensor], masks: Callable[[slice], UInt8Array] | None
    ) -> Mapping[str, NDArray[Any]]:
        """Return the arrays of a cell.

        Args:
            rows: What `reduce_judged` kept of all images, on the CPU.
            masks: Of the images as the corruption has moved them.

        Raises:
            ConfigurationError: If there are no masks.
        """
        if masks is None:
            raise ConfigurationError(
                "task=segmentation needs masks to judge by, and there are none."
            )
        kept = {name: row.numpy() for name, row in rows.items()}
        shown = shown_rows(len(kept["mask"]), every=self._keep_all)
        truths = [thinned(masks(slice(row, row + 1)), self._side) for row in shown.tolist()]
        truths = [np.where(one == OUTSIDE, np.uint8(0), one) for one in truths]
        shape = (truths[0].shape[1], truths[0].shape[2])
        return {
            **rows_of(kept, tuple(name for name in (*NUMBERS, PROMPTED) if name in kept)),
            "shown_rows": shown,
            "shown_masks": unpacked(kept["mask"][shown], self._judge.classes, shape),
            "shown_truths": np.concatenate(truths),
        }
