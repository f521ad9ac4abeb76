"""A model's own decoder, prompted by boxes or points where it wants some. Imports torch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medrobust.tasks.patches import Truth
from medrobust.types import FeatureBatch

from .boxes import BoxProtocol, prompts_of


class OwnDecoder:
    """Asks a model's own decoder.

    Args:
        decoder: A `medrobust.models.segmenter.MaskDecoder`.
        boxes: How boxes or points are drawn from what the masks show; None where it takes none.
        classes: How many there are, the background among them.
    """

    def __init__(self, decoder: Any, boxes: BoxProtocol | None, classes: int) -> None:
        self._decoder, self._boxes, self._classes = decoder, boxes, classes

    @property
    def blocks(self) -> Sequence[int]:
        """Whose patch features it reads."""
        blocks: Sequence[int] = self._decoder.blocks
        return blocks

    def __call__(self, features: FeatureBatch, patches: Any, truth: Truth) -> Tensor:
        """Return its logits."""
        boxes = None
        if self._boxes is not None:
            drawn = prompts_of(truth.masks, self._classes, self._boxes).places
            boxes = torch.from_numpy(drawn).to(features.device)
        logits: Tensor = self._decoder(features, patches, boxes)
        return logits
