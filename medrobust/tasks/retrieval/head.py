"""From image features to ranks: the texts of a split, encoded once."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medrobust.base.once import say_once
from medrobust.base.wording import agreeing, part_of
from medrobust.exceptions import NotFiniteError
from medrobust.models.base import VisionLanguageModel
from medrobust.models.cut_texts import CutTexts, counting_cut_texts
from medrobust.models.zero_shot import class_features
from medrobust.types import FeatureBatch

from .ranks import Found, found_both_ways, found_by_labels
from .relevance import Rule, relevance

log = logging.getLogger(__name__)


class RankHead:
    """Ranks the texts of a split for each image, and its images for each text.

    Args:
        model: Reads the texts, on the CPU in full precision; what is longer than its context is
            cut as its tokenizer cuts it, counted and said.
        data: Facts of the split, whose target is texts.
        rule: Which texts count as one.
        change: What corrupts a text before the model reads it; None: nothing.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        data: Any,
        rule: Rule,
        change: Callable[[str], str] | None = None,
    ) -> None:
        self._judged = relevance(data.target, rule)
        model.to("cpu", torch.float32)
        texts = self._judged.candidates.tolist()
        sentences = [[text if change is None else change(text)] for text in texts]
        if change is not None:
            same = sum(text == new for text, (new,) in zip(texts, sentences, strict=True))
            changed = part_of(len(texts) - same, len(texts), "text")
            log.info("%s: the corruption of texts changes %s", data.name, changed)
        with counting_cut_texts() as cut:
            self._texts = class_features(model, sentences)
        if cut.number:
            say_once(log, logging.WARNING, f"{data.name}: {_said(cut, len(sentences))}")

    def outputs(self, features: FeatureBatch) -> Mapping[str, NDArray[Any]]:
        """Rank both ways.

        Args:
            features: float32 (N, D) of unit norm, on the CPU.

        Returns:
            Of "image" and "text": rank int32, average_precision float32, hits int32 (…, 4).

        Raises:
            NotFiniteError: If features are not finite.
        """
        for name, values in (("images", features), ("texts", self._texts)):
            broken = int((~torch.isfinite(values)).any(dim=1).sum())
            if broken:
                raise NotFiniteError(
                    f"features of {broken} of {len(values)} {name} are not finite: the weights, "
                    f"the precision or the preprocessing do not suit them. The cell was not stored."
                )
        judged = self._judged
        if judged.labels is None:
            images, candidates = found_both_ways(features, self._texts, judged.pairs)
        else:
            images, candidates = found_by_labels(features, self._texts, judged.pairs, judged.labels)
        of_text = judged.of_text
        texts = Found(*(getattr(candidates, name)[of_text] for name in Found.__slots__))
        return {
            f"{asks}_{name}": np.ascontiguousarray(getattr(found, name))
            for asks, found in (("image", images), ("text", texts))
            for name in Found.__slots__
        }


def _said(cut: CutTexts, texts: int) -> str:
    """Say how many texts were cut.

    Example:
        >>> _said(CutTexts(2, 77), 9)
        "2 of 9 texts are longer than the model's 77 tokens: it read their beginnings alone"
    """
    beginning = "its beginning" if cut.number == 1 else "their beginnings"
    longer = f"{part_of(cut.number, texts, 'text')} {agreeing(cut.number, 'is')} longer"
    return f"{longer} than the model's {cut.context} tokens: it read {beginning} alone"
