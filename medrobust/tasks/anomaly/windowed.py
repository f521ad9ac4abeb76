"""A map from windows over places, averaged or encoded alone, joined by harmonic means."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medrobust.types import FeatureBatch

from .scorers.windows import harmonic_map, harmonic_scales, window_means, window_members

SIDES = (2, 3)
"""Of the windows, in places, as WinCLIP has them."""


class WindowScorer:
    """Scores windows by sentences of both states, as WinCLIP joins them (arXiv:2303.14814).

    The probability of the abnormal state is a softmax of two scaled cosines. A place has the
    harmonic mean over the windows of 2 x 2 that cover it, that of 3 x 3, and the harmonic mean of
    both with the probability of the image.

    Args:
        states: float32 (2, D) of unit norm: the normal and the abnormal state.
        scale: Multiplier of the cosine.
        block: Whose places are averaged; of windows that are encoded it gives the grid.
        encoded: Whether the tower encodes each window alone, as WinCLIP does, at some thirteen
            times the cost of the image; else a window is the mean of its places in the space of
            texts.
    """

    def __init__(self, states: Tensor, scale: float, block: int, *, encoded: bool = False) -> None:
        self.blocks: Sequence[int] = (block,)
        self._encoded = encoded
        self._direction = (states[1] - states[0]) * scale

    def __call__(self, features: FeatureBatch, patches: Any) -> tuple[Tensor, Tensor]:
        """Return maps (n, h, w), and the probabilities of the images (n,)."""
        (level,) = patches.values()
        image, scales = self._abnormal(features.float()), []
        for side in SIDES:
            members = window_members(level.grid, side).to(features.device)
            if self._encoded:
                windows = patches.windows(members.nonzero()[:, 1].view(len(members), -1))
            else:
                windows = window_means(level.joint(), members)
            scales.append(harmonic_map(self._abnormal(windows), members))
        return harmonic_scales(scales, image).reshape(len(image), *level.grid), image

    def _abnormal(self, embedded: Tensor) -> Tensor:
        unit = functional.normalize(embedded, dim=-1)
        return torch.sigmoid(unit @ self._direction.to(unit.device))
