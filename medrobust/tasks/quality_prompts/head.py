"""From image features to the chance of the worse of two sentences, in the manner of CLIP-IQA."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from medrobust.base.wording import part_of
from medrobust.exceptions import NotFiniteError
from medrobust.models.base import VisionLanguageModel
from medrobust.models.zero_shot import class_features
from medrobust.tasks.base import HeadDescription
from medrobust.types import FeatureBatch


class PairHead:
    """Says how likely the worse side of each pair is: softmax of `scale * cos` over both sides.

    The embedding of a side is the mean over its sentences, each of unit norm, of unit norm again.

    Args:
        model: Reads the sentences, on the CPU in full precision.
        description: Of the head; "texts" holds the good and the bad side of each measure in turn.
    """

    def __init__(self, model: VisionLanguageModel, description: HeadDescription) -> None:
        model.to("cpu", torch.float32)
        sides = class_features(model, description["texts"]).double()
        self._directions = (sides[1::2] - sides[0::2]) * float(model.logit_scale)

    def outputs(self, features: FeatureBatch) -> Mapping[str, NDArray[Any]]:
        """Judge features, float32 (N, D) of unit norm, on the CPU.

        Returns:
            "measures": float64 (N, M), from 0 (the good side) to 1 (the bad one).

        Raises:
            NotFiniteError: If features or chances are not finite.
        """
        chances = (features.double() @ self._directions.T).sigmoid()
        broken = int((~torch.isfinite(chances)).any(dim=1).sum())
        if broken:
            raise NotFiniteError(
                f"quality prompts of {part_of(broken, len(chances), 'image')} are not finite: the "
                f"weights, the precision or the preprocessing do not suit these images. The cell "
                f"was not stored."
            )
        return {"measures": chances.numpy()}
