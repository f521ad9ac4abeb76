"""From features to logits: the classifier that a head's description stands for."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from medrobust.base.wording import part_of
from medrobust.exceptions import NotFiniteError
from medrobust.models.base import VisionLanguageModel
from medrobust.models.zero_shot import GuidedHead, IdentityHead, ZeroShotHead, class_features
from medrobust.tasks.base import HeadDescription, ModelSide
from medrobust.types import FeatureBatch, LogitBatch

from .heads import GUIDANCE, ITSELF, PROBE


class ClassHead:
    """Gives the logits of a classifier as the array of a cell.

    Args:
        module: Has `logits(features)`.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    def outputs(self, features: FeatureBatch) -> Mapping[str, NDArray[Any]]:
        """Classify features, float32 (N, D) on the CPU: the one device and shape for all of them.

        Returns:
            "logits": float32 (N, K).

        Raises:
            NotFiniteError: If features or logits are not finite.
        """
        return {"logits": classify(features, self.module).numpy()}


def class_head(side: ModelSide, description: HeadDescription) -> ClassHead:
    """Return the classifier that a cell's head describes, its texts encoded once."""
    if description["kind"] == ITSELF:
        return ClassHead(IdentityHead())
    if description["kind"] == PROBE:
        assert side.trained is not None
        return ClassHead(side.trained.head(description["dataset"], description["class_names"]))
    return ClassHead(head_of_texts(side.model(), description))


def head_of_texts(
    model: VisionLanguageModel, description: HeadDescription
) -> ZeroShotHead | GuidedHead:
    """Encode the sentences of each class, and the general ones where it is guided."""
    head = zero_shot_head(model, description)
    if GUIDANCE not in description:
        return head
    guidance = description[GUIDANCE]
    return GuidedHead(head, zero_shot_head(model, guidance), guidance["gamma"])


def zero_shot_head(model: VisionLanguageModel, description: HeadDescription) -> ZeroShotHead:
    """Encode the sentences of each class, on the CPU in full precision."""
    model.to("cpu", torch.float32)
    absent = description["absent"]
    return ZeroShotHead(
        class_features(model, description["texts"]),
        class_features(model, absent) if absent else None,
        model.logit_scale,
    )


def classify(features: FeatureBatch, module: Any) -> LogitBatch:
    """Classify features, float32 (N, D) on the CPU.

    Raises:
        NotFiniteError: If features or logits are not finite.
    """
    logits: LogitBatch = module.cpu().logits(features)
    for name, values in (("features", features), ("logits", logits)):
        broken = int((~torch.isfinite(values)).any(dim=1).sum())
        if broken:
            raise NotFiniteError(
                f"{name} of {part_of(broken, len(values), 'image')} are not finite: the weights, "
                f"the precision or the preprocessing do not suit these images. The cell was not "
                f"stored."
            )
    return logits
