"""What tuning learns here: which images are not normal, and where, by sentences of both states."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.models.base import VisionLanguageModel
from medrobust.models.zero_shot import class_features
from medrobust.tasks.base import HeadDescription
from medrobust.tasks.pixel_losses import dice, focal
from medrobust.tasks.tuning_head import TuningHead

from .losses import detection, enlarged
from .maps import CLASSIFICATION, SEGMENTATION


class StateObjective(nn.Module):
    """Cross-entropy of an image being abnormal; of adapters with branches, at each block by each.

    Without branches the logit of an image is scale (cos abnormal − cos normal) of its feature. With
    them, of every block, the classification branch is asked by the mean of that over the places,
    and the segmentation branch, where there are masks, by focal loss and Dice over the pixels. All
    are added up; nothing but the adapter is trained.

    Args:
        states: Features of the normal and the abnormal state, (2, E), of unit norm.
        scale: Multiplier of the cosine.
        normal: Whether each class is normal, bool (K,).
        wants_masks: Whether it reads masks.
    """

    states: Tensor
    normal: Tensor

    def __init__(self, states: Tensor, scale: float, normal: Tensor, *, wants_masks: bool) -> None:
        super().__init__()
        self.register_buffer("states", states)
        self.register_buffer("normal", normal)
        self.scale, self.wants_masks = scale, wants_masks

    def logits(self, embedded: Tensor) -> Tensor:
        """Return logits of being abnormal, over the last axis of embeddings."""
        with torch.autocast(embedded.device.type, enabled=False):
            unit = functional.normalize(embedded.float(), dim=-1)
            cosines = unit @ self.states.T
            return self.scale * (cosines[..., 1] - cosines[..., 0])

    def abnormal(self, labels: Tensor) -> Tensor:
        """Return whether each image shows what is in no normal class, float32 (n,)."""
        if labels.ndim == 2:
            return labels[:, ~self.normal].any(dim=1).float()
        return (~self.normal[labels]).float()

    def losses(self, seen: Any, part: Any) -> Tensor:
        """Return the loss of each image, (n,): `medrobust.tuning.objective` calls it."""
        return self._losses(self._of_image(seen), seen, part)

    def judged(self, seen: Any, part: Any) -> tuple[Tensor, Tensor]:
        """Return whether each image is taken for what it is not, and its loss, (n,) each."""
        each = self._of_image(seen)
        found = torch.stack([one.mean(dim=1) for one in each]).mean(dim=0)
        wrong = (found > 0) != (self.abnormal(part.labels) > 0)
        return wrong, self._losses(each, seen, part)

    def _of_image(self, seen: Any) -> list[Tensor]:
        """Return logits of the places of each block, (n, P), or of the feature of all, (n, 1)."""
        if not len(seen.patches):
            return [self.logits(seen.features)[:, None]]
        return [self.logits(one.branches[CLASSIFICATION]) for one in seen.patches.values()]

    def _losses(self, each: Sequence[Tensor], seen: Any, part: Any) -> Tensor:
        target, published = self.abnormal(part.labels), seen.published
        if not len(seen.patches):
            return detection(each[0], target)
        total = torch.zeros_like(target)
        for which, level in zip(each, seen.patches.values(), strict=True):
            where = self.logits(level.branches[SEGMENTATION])
            total = total + detection(which, target, published=published)
            if part.masks is None:
                total = total + 0 * where.sum()  # so that every process has every gradient
            else:
                total = total + self._of_pixels(where, level.grid, part.masks, published)
        return total

    def _of_pixels(
        self, logits: Tensor, grid: tuple[int, int], masks: Tensor, published: bool
    ) -> Tensor:
        size = (masks.shape[1], masks.shape[2])
        pixels = enlarged(logits, grid, size, corners=published)
        lesion, inside = masks == 1, masks <= 1
        return focal(pixels, lesion, inside, published=published) + dice(pixels, lesion, inside)


def tuning_head(model: VisionLanguageModel, description: HeadDescription, data: Any) -> TuningHead:
    """Make what an adapter is tuned by.

    Args:
        model: Reads the sentences, on the CPU in full precision.
        description: From `tuned_head`.
        data: Facts of the images that are tuned on.
    """
    model.to("cpu", torch.float32)
    states = class_features(model, description["texts"])
    normal = torch.tensor([name in description["normal"] for name in data.class_names])
    masks = description["tuned"]["masks"] is not None
    return TuningHead(StateObjective(states, float(model.logit_scale), normal, wants_masks=masks))
