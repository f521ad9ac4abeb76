"""From features to logits: the classifier that a head's description stands for."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medrobust.base.bags import patients_of
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


class PlacesHead(ClassHead):
    """Classifies by the places of an image, which it reads while they are there."""

    @property
    def blocks(self) -> Sequence[int]:
        """Whose patch features it reads."""
        return (int(self.module.block),)

    def reduce(self, features: FeatureBatch, patches: Any) -> Mapping[str, Tensor]:
        """Return the logits of each image, from its places of unit norm."""
        (level,) = patches.values()
        places = functional.normalize(level.states, dim=-1)
        return {"logits": self.module.to(places.device).logits(places)}

    def outputs(self, features: Any) -> Mapping[str, NDArray[Any]]:
        """Return the logits that were kept.

        Raises:
            NotFiniteError: If they are not finite.
        """
        logits = features["logits"].cpu()
        check_finite("logits", logits)
        return {"logits": logits.numpy()}


class BagHead(ClassHead):
    """Gives each image, or lesion, the logits of its patient."""

    def outputs_of(self, features: FeatureBatch, data: Any) -> Mapping[str, NDArray[Any]]:
        """Classify the patients of a split.

        Raises:
            NotFiniteError: If features or logits are not finite.
            ConfigurationError: If the split names no patients.
        """
        codes = torch.from_numpy(patients_of(data, self.module.column))
        check_finite("features", features)
        logits = self.module.cpu().of_bags(features, codes)
        check_finite("logits", logits)
        return {"logits": logits.numpy()}


def class_head(side: ModelSide, description: HeadDescription) -> ClassHead:
    """Return the classifier that a cell's head describes, its texts encoded once."""
    if description["kind"] == ITSELF:
        return ClassHead(IdentityHead())
    if description["kind"] == PROBE:
        assert side.trained is not None
        module = side.trained.head(description["dataset"], description["class_names"])
        if not hasattr(module, "of_bags"):
            return ClassHead(module)
        return PlacesHead(module) if int(module.block) else BagHead(module)
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
    check_finite("features", features)
    check_finite("logits", logits)
    return logits


def check_finite(name: str, values: Tensor) -> None:
    """Refuse numbers of images that are none.

    Args:
        name: What they are.
        values: (N, ...).

    Raises:
        NotFiniteError: With the number of these images.
    """
    broken = int((~torch.isfinite(values)).any(dim=1).sum())
    if broken:
        raise NotFiniteError(
            f"{name} of {part_of(broken, len(values), 'image')} are not finite: the weights, "
            f"the precision or the preprocessing do not suit these images. The cell was not "
            f"stored."
        )
