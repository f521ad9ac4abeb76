"""Texts that belong to images, encoded once: what a model is tuned to put beside them."""

import torch
from torch import Tensor, nn

from medrobust.types import FeatureBatch, Int64Array


class TextPairs(nn.Module):
    """Features of texts, and which of them belong to which image.

    Args:
        features: float32 (T, D), of unit norm.
        pairs: int64 (P, 2), each an image and a text; every image has a text.
        logit_scale: Multiplier of the cosine.
    """

    features: Tensor

    def __init__(self, features: FeatureBatch, pairs: Int64Array, logit_scale: float) -> None:
        super().__init__()
        self.register_buffer("features", features)
        self.logit_scale = logit_scale
        own: list[list[int]] = [[] for _ in range(int(pairs[:, 0].max()) + 1)]
        for image, text in pairs.tolist():
            own[image].append(text)
        self._own = own

    def texts_of(self, rows: Tensor, turn: int) -> Tensor:
        """Return a text of each image, of several the next one at every turn: int64 (B,).

        Args:
            rows: int64 (B,), images.
            turn: From 0.
        """
        chosen = [own[turn % len(own)] for own in (self._own[row] for row in rows.tolist())]
        return torch.tensor(chosen, dtype=torch.int64)
