"""From image features to ranks: the texts of a split, encoded once."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.once import say_once
from medrobust.base.wording import part_of
from medrobust.exceptions import ConfigurationError
from medrobust.models.base import VisionLanguageModel
from medrobust.models.text_pairs import TextPairs
from medrobust.tasks.text_features import check_finite, text_features
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
        name: Of what corrupts, for the log.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        data: Any,
        rule: Rule,
        change: Callable[[str], str] | None = None,
        name: str = "",
    ) -> None:
        self._judged = relevance(data.target, rule)
        texts = self._judged.candidates.tolist()
        sentences = [[text if change is None else change(text)] for text in texts]
        if change is not None:
            same = sum(text == new for text, (new,) in zip(texts, sentences, strict=True))
            changed = part_of(len(texts) - same, len(texts), "text")
            say_once(log, logging.INFO, f"{data.name}: {name} changes {changed}")
        self._texts = text_features(model, sentences, data.name)

    def outputs(self, features: FeatureBatch) -> Mapping[str, NDArray[Any]]:
        """Rank both ways.

        Args:
            features: float32 (N, D) of unit norm, on the CPU.

        Returns:
            Of "image" and "text": rank int32, average_precision float32, hits int32 (…, 4).

        Raises:
            NotFiniteError: If features are not finite.
        """
        check_finite(features, self._texts)
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


class TunedTexts:
    """What images are put beside while an adapter is tuned: their own texts, encoded once.

    Args:
        model: As published; it reads the texts.
        data: The images that are tuned on, whose target is texts.

    Attributes:
        module: Features of the texts, and which belong to which image.
    """

    def __init__(self, model: VisionLanguageModel, data: Any) -> None:
        texts = [[text] for text in data.target.values.tolist()]
        features = text_features(model, texts, data.name)
        self.module = TextPairs(features, data.target.pairs, float(model.logit_scale))

    def outputs(self, features: FeatureBatch) -> Mapping[str, NDArray[Any]]:
        """Refuse: nothing is ranked by it.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError("a head that an adapter is tuned with ranks nothing.")
