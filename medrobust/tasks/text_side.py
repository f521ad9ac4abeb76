"""Asking for a model that reads sentences."""

from typing import TYPE_CHECKING

from medrobust.exceptions import ConfigurationError

from .base import ModelSide

if TYPE_CHECKING:
    from medrobust.models.base import VisionLanguageModel


def text_model(side: ModelSide, purpose: str) -> "VisionLanguageModel":
    """Return the model, whose `encode_text(list of K sentences)` gives (K, D) of unit norm.

    Args:
        side: The model that answers.
        purpose: What it cannot do without ("match images with texts"), for the message.

    Raises:
        ConfigurationError: If it reads no text.
    """
    from medrobust.models.base import VisionLanguageModel

    model = side.model()
    if not isinstance(model, VisionLanguageModel):
        raise ConfigurationError(
            f"model {side.source.name!r} has no text side, so that it cannot {purpose}: choose a "
            f"vision-language model."
        )
    return model
