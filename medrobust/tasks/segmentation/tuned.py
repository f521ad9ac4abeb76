"""What tuning learns here: which pixels show what, by Dice and focal loss. Imports torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medrobust.base.targets import OUTSIDE
from medrobust.tasks.map_view import View
from medrobust.tasks.pixel_losses import dice_of_classes, focal_of_classes

from .head import Segments, two_sided
from .segmenters.boxes import BoxProtocol, prompts_of

STEEP = 10.0
"""Logit of a place that a probe has all covered beyond its threshold, and one to lose nothing by:
what a probe says are shares of cells and no logits."""


class PixelObjective(nn.Module):
    """Dice and focal loss of what a segmenter says of the pixels; nothing but an adapter learns.

    Both are taken of the softmax over the classes of each pixel of the stored image, and added up;
    pixels outside of an image count in neither.

    Args:
        segments: Gives logits; it stays as it is.
        view: How they lie over the images.
        classes: How many there are, the background among them.
        scale: Multiplier of its logits.
        prompts: How boxes or points are drawn from masks; None where it takes none.
    """

    wants_masks = True

    def __init__(
        self,
        segments: Segments,
        view: View,
        classes: int,
        scale: float = 1.0,
        prompts: BoxProtocol | None = None,
    ) -> None:
        super().__init__()
        self.blocks: Sequence[int] = tuple(segments.blocks)
        self.segments = segments.__call__  # of the model: no module of this one, as it may be one
        self.view = view
        self.classes, self.scale, self.prompts = classes, scale, prompts

    def losses(self, seen: Any, part: Any) -> Tensor:
        """Return the loss of each image, (n,): `medrobust.tuning.objective` calls it."""
        return self._losses(*self._answered(seen, part))

    @torch.no_grad()
    def judged(self, seen: Any, part: Any) -> tuple[Tensor, Tensor]:
        """Return 1 − Dice of each image over the classes that it or its answer has, and its loss.

        Both are (n,), of one answer.
        """
        answered = self._answered(seen, part)
        return self._wrong(*answered), self._losses(*answered)

    def _answered(self, seen: Any, part: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of pixels (n, K, H, W), their classes, and which are inside, (n, H, W)."""
        inside = part.masks != OUTSIDE
        classes = torch.where(inside, part.masks, 0).long()
        prompts = None
        if self.prompts is not None:
            drawn = prompts_of(classes.cpu().numpy().astype(np.uint8), self.classes, self.prompts)
            prompts = torch.from_numpy(drawn.places).to(classes.device)
        with torch.autocast(classes.device.type, enabled=False):
            found = self.segments(seen.features.float(), seen.patches, prompts)
            found = two_sided(found.float(), self.classes).clamp(-1e4, 1e4)
            shape = (classes.shape[1], classes.shape[2])
            return self.scale * self.view.spread(found, shape), classes, inside

    def _losses(self, logits: Tensor, classes: Tensor, inside: Tensor) -> Tensor:
        return focal_of_classes(logits, classes, inside) + dice_of_classes(logits, classes, inside)

    def _wrong(self, logits: Tensor, classes: Tensor, inside: Tensor) -> Tensor:
        found = torch.where(inside, logits.argmax(dim=1), 0)
        kinds = torch.arange(1, self.classes, device=found.device)[:, None, None, None]
        own, truth = ((one[None] == kinds).flatten(2) for one in (found, classes))
        sizes = own.sum(dim=2) + truth.sum(dim=2)  # (K - 1, n)
        dice = 2 * (own & truth).sum(dim=2) / sizes.clamp(min=1)
        there = sizes > 0
        mean = (dice * there).sum(dim=0) / there.sum(dim=0).clamp(min=1)
        return 1 - torch.where(there.any(dim=0), mean, torch.ones_like(mean))
