"""Texts -> features, once for all cells of a head; what a model cut of them is counted and said."""

import logging
from collections.abc import Sequence
from itertools import chain

import torch

from medrobust.base.once import say_once
from medrobust.base.wording import agreeing, part_of
from medrobust.exceptions import NotFiniteError
from medrobust.models.base import VisionLanguageModel
from medrobust.models.cut_texts import CutTexts, counting_cut_texts
from medrobust.models.zero_shot import class_features
from medrobust.types import FeatureBatch

log = logging.getLogger(__name__)


def text_features(
    model: VisionLanguageModel, texts: Sequence[Sequence[str]], dataset: str
) -> FeatureBatch:
    """Encode texts on the CPU in full precision.

    Args:
        model: What is longer than its context is cut as its tokenizer cuts it, counted and said.
        texts: One or several of each; of several their mean.
        dataset: Whose they are, for the log.

    Returns:
        float32 (T, D), of unit norm.
    """
    model.to("cpu", torch.float32)
    with counting_cut_texts() as cut:
        features = class_features(model, texts)
    if cut.number:
        number = len(set(chain.from_iterable(texts)))
        say_once(log, logging.WARNING, f"{dataset}: {said_of_cut(cut, number)}")
    return features


def said_of_cut(cut: CutTexts, texts: int) -> str:
    """Say how many texts were cut.

    Example:
        >>> said_of_cut(CutTexts(2, 77), 9)
        "2 of 9 texts are longer than the model's 77 tokens: it read their beginnings alone"
    """
    beginning = "its beginning" if cut.number == 1 else "their beginnings"
    longer = f"{part_of(cut.number, texts, 'text')} {agreeing(cut.number, 'is')} longer"
    return f"{longer} than the model's {cut.context} tokens: it read {beginning} alone"


def check_finite(images: FeatureBatch, texts: FeatureBatch) -> None:
    """Refuse features that no similarity can be computed of.

    Raises:
        NotFiniteError: Saying of how many images or texts.
    """
    for name, values in (("images", images), ("texts", texts)):
        broken = int((~torch.isfinite(values)).any(dim=1).sum())
        if broken:
            raise NotFiniteError(
                f"features of {broken} of {len(values)} {name} are not finite: the weights, "
                f"the precision or the preprocessing do not suit them. The cell was not stored."
            )
