"""From image features to how abnormal an image is, by sentences of both states."""

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

from .shown import no_maps, no_pixels


class StateHead:
    """Scores images by `scale * (cos abnormal - cos normal)`, the logit of being abnormal.

    The embedding of a state is the mean over its sentences, each of unit norm, of unit norm again.

    Args:
        model: Reads the sentences, on the CPU in full precision.
        description: Of the head; "texts" holds the sentences of the normal and the other state.
    """

    def __init__(self, model: VisionLanguageModel, description: HeadDescription) -> None:
        model.to("cpu", torch.float32)
        normal, other = class_features(model, description["texts"])
        self._direction = (other - normal) * float(model.logit_scale)

    def outputs(self, features: FeatureBatch) -> Mapping[str, NDArray[Any]]:
        """Score features, float32 (N, D) of unit norm, on the CPU.

        Raises:
            NotFiniteError: If features or scores are not finite.
        """
        score = (features * self._direction).sum(dim=1)
        broken = int((~torch.isfinite(score)).sum())
        if broken:
            raise NotFiniteError(
                f"scores of {part_of(broken, len(score), 'image')} are not finite: the weights, "
                f"the precision or the preprocessing do not suit these images. The cell was not "
                f"stored."
            )
        return {"score": score.numpy(), **no_pixels(len(score)), **no_maps()}
