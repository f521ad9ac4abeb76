"""Segmentation by words: places are compared with sentences of each class. Imports torch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medrobust.types import FeatureBatch

from .levels import on_one_grid


class WordSegmenter:
    """Gives each place the cosines with the texts of the classes, scaled, averaged over levels.

    Args:
        classes: float32 (K, D) of unit norm: texts of the background first.
        scale: Multiplier of the cosine.
        blocks: Whose places are compared.
    """

    def __init__(self, classes: Tensor, scale: float, blocks: Sequence[int]) -> None:
        self.blocks = tuple(blocks)
        self._classes = classes * scale

    def __call__(self, features: FeatureBatch, patches: Any, prompts: Tensor | None) -> Tensor:
        """Compare places."""
        classes = self._classes.to(features.device)
        maps = []
        for level in patches.values():
            unit = functional.normalize(level.joint(), dim=-1)
            cosines = (unit @ classes.T).transpose(1, 2)
            maps.append(cosines.reshape(len(unit), -1, *level.grid))
        return torch.stack(on_one_grid(maps)).mean(dim=0)
