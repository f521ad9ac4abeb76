"""Asking for a model that reads sentences, and how many it cannot read whole."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from medrobust.exceptions import ConfigurationError

from .base import CUT_TEXTS, ModelSide

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


AT_ONCE = 1024
"""Texts that are divided into tokens at a time."""


def cut_texts(model: "VisionLanguageModel", texts: Iterable[str]) -> dict[str, Any]:
    """Count the texts that are longer than a model's context, each once.

    Returns:
        What stands in a head for it, by its key; nothing where none is, or nobody can tell.
    """
    from medrobust.models.cut_texts import counting_cut_texts

    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        return {}
    unique = sorted(set(texts))
    with counting_cut_texts() as cut:
        for start in range(0, len(unique), AT_ONCE):
            tokenizer(unique[start : start + AT_ONCE])
    if not cut.number:
        return {}
    return {CUT_TEXTS: {"number": cut.number, "of": len(unique), "context": cut.context}}
