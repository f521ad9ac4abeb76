"""From image features to distances from the texts of each image, encoded once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.models.base import VisionLanguageModel
from medrobust.tasks.text_features import check_finite, text_features
from medrobust.types import FeatureBatch


class DistanceHead:
    """Compares each image with its own texts alone.

    Args:
        model: Reads the texts, on the CPU in full precision; what is longer than its context is
            cut as its tokenizer cuts it, counted and said.
        data: Facts of the split, whose target is texts.
    """

    def __init__(self, model: VisionLanguageModel, data: Any) -> None:
        self._pairs = data.target.pairs
        texts = [[text] for text in data.target.values.tolist()]
        self._texts = text_features(model, texts, data.name)

    def outputs(self, features: FeatureBatch) -> Mapping[str, NDArray[Any]]:
        """Measure distances; of several texts of an image their mean.

        Args:
            features: float32 (N, D) of unit norm, on the CPU.

        Returns:
            "measures": float64 (N, 1), from 0 (the same direction) to 1 (the opposite one).

        Raises:
            NotFiniteError: If features are not finite.
        """
        check_finite(features, self._texts)
        images, texts = self._pairs.T
        cosines = (features[images].double() * self._texts[texts].double()).sum(dim=1).numpy()
        count = np.bincount(images, minlength=len(features))
        total = np.bincount(images, (1 - cosines) / 2, minlength=len(features))
        return {"measures": np.clip(total / count, 0, 1)[:, None]}
