"""What texts say of how an image was taken is projected out of images and of their places.

The form of `adapters/online/nuisance` that works on embeddings, so that tasks whose answers are no
logits of class texts can have it: x' = x - V V^T x, V the first right singular vectors of the
differences of the texts of nuisances and a plain one. Texts of classes stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError
from medrobust.models.base import VisionLanguageModel

from .base import Adaptation
from .online.nuisance import TEXTS, directions

KIND = "nuisance_projection"


def reading_sentences(model: nn.Module, kind: str) -> VisionLanguageModel:
    """Return a model that reads the sentences of nuisances.

    Args:
        model: Any.
        kind: Of the adapter, as typed.

    Raises:
        ConfigurationError: If it reads none.
    """
    if not isinstance(model, VisionLanguageModel):
        raise ConfigurationError(
            f"adapter={kind} names nuisances by texts, and {type(model).__name__} reads none. "
            f"Choose a model with a text side."
        )
    return model


class Projection(nn.Module):
    """Takes orthonormal directions (r, E) out of embeddings."""

    away: Tensor

    def __init__(self, away: Tensor) -> None:
        super().__init__()
        self.register_buffer("away", away)

    def forward(self, embedded: Tensor) -> Tensor:
        """Return what is left, (..., E)."""
        return embedded - (embedded @ self.away.T) @ self.away


@dataclass(frozen=True, slots=True)
class NuisanceProjection(Adaptation):
    """Projects nuisance directions out of images and places; nothing is tuned.

    Args:
        name: In tables and in the store.
        directions: How many, r.
        texts: A sentence for each nuisance, `{modality}` where that stands.
        plain: The sentence that they are compared with.
        modality: What images are called in these texts.
    """

    name: str = KIND
    directions: int = 2
    texts: Sequence[str] = TEXTS
    plain: str = "a {modality}"
    modality: str = "medical image"

    def __post_init__(self) -> None:
        """Refuse numbers that no projection can have.

        Raises:
            ConfigurationError: Naming the key.
        """
        if not 1 <= self.directions <= len(self.texts):
            raise ConfigurationError(
                f"adapter.directions={self.directions} must be at least 1, and at most "
                f"{counted(len(self.texts), 'text')}."
            )

    @property
    def stays_untuned(self) -> bool:
        """Always."""
        return True

    def description(self) -> dict[str, Any]:
        """Return what decides the adapter; the name does not."""
        return {
            "kind": KIND,
            "directions": self.directions,
            "texts": list(self.texts),
            "plain": self.plain,
            "modality": self.modality,
        }

    @torch.no_grad()
    def attach(self, model: nn.Module) -> nn.Module:
        """Put the projection behind the image side.

        Raises:
            ConfigurationError: If the model reads no sentences.
        """
        said = [one.replace("{modality}", self.modality) for one in (*self.texts, self.plain)]
        own = reading_sentences(model, KIND)
        texts = own.encode_text(said).cpu().double().numpy()
        away = directions(texts[:-1] - texts[-1], self.directions)
        own.adjusts = Projection(torch.from_numpy(away.astype(np.float32))).to(own.device)
        return own.eval()
