"""Segmenters: models with masks of their own, a user's own module from images to logits among them.

A segmenter is an image tower and a decoder. The tower runs with all other models, in micro-batches
of one shape; what it says of places lies in patch features. The decoder makes logits of them, by
texts or boxes where it is prompted.
"""

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError
from medrobust.types import FeatureBatch, PixelBatch

from .base import ImageModel, ImagePreprocess, LoadReport
from .own import module_fingerprint, no_scaling
from .patches import PatchFeatures, PatchLevel, check_blocks

PromptedBy: TypeAlias = Literal["nothing", "texts", "boxes", "examples"]
"""What tells a segmenter what to look for, beside the image."""


@dataclass(frozen=True)
class Examples:
    """Training images of a class, for segmenters that are prompted by them.

    Attributes:
        patches: Of the images.
        masks: bool (S, H, W), where the class is.
    """

    patches: PatchFeatures
    masks: Tensor


class MaskDecoder(Protocol):
    """From patch features to logits of classes."""

    @property
    def blocks(self) -> Sequence[int]:
        """Whose patch features it reads, numbered from 1."""
        ...

    def __call__(
        self, features: FeatureBatch, patches: PatchFeatures, boxes: Tensor | None
    ) -> Tensor:
        """Return logits (n, K, h, w) over all that the model sees of the image.

        K are the background and the classes that are looked for; one channel alone is the logit of
        the only class, that of the background being 0.

        Args:
            features: float32 (n, D).
            patches: Of the same images.
            boxes: float32 (n, K - 1, 4), of each class that is looked for left, top, right and
                bottom as shares of the stored image, from 0 to 1; NaN where an image has none of
                it, so that its logits are -inf. Or points (n, K - 1, 2), from the left and from the
                top, where the model takes them. None where it is not prompted by either.
        """
        ...


class SegmentationModel(ImageModel):
    """A model with masks of its own. `task=segmentation` asks for its decoder.

    Attributes:
        prompted_by: What tells it what to look for.
        takes_points: Whether points may stand in place of boxes.
    """

    prompted_by: ClassVar[PromptedBy] = "nothing"
    takes_points: ClassVar[bool] = False

    @abstractmethod
    def mask_decoder(self, texts: Sequence[Sequence[str]]) -> MaskDecoder:
        """Return what makes logits of patch features.

        Args:
            texts: Sentences of each class, the background first; empty unless it is prompted by
                texts.
        """

    def example_decoder(self, examples: Sequence[Examples]) -> MaskDecoder:
        """Return what makes logits of patch features, where it is prompted by examples.

        Args:
            examples: Of each class, the background left out.

        Raises:
            ConfigurationError: Unless a subclass says otherwise.
        """
        raise ConfigurationError(f"{type(self).__name__} is not prompted by examples.")


class OneLevel(SegmentationModel):
    """A segmenter of a single level, which stands as its only block."""

    @property
    def patch_blocks(self) -> int:
        """One."""
        return 1

    @property
    def branch_blocks(self) -> tuple[int, ...]:
        """None."""
        return ()


def check_prompts(texts: Sequence[Sequence[str]]) -> None:
    """Refuse sentences that name no class beside the background.

    Raises:
        ConfigurationError: If there are fewer than two.
    """
    if len(texts) < 2:
        raise ConfigurationError(
            "a segmenter that is prompted by texts needs sentences of the background and of each "
            "class."
        )


class LogitsAsTheyCome:
    """Decodes nothing: the only level holds logits of places already."""

    blocks = (1,)

    def __call__(
        self, features: FeatureBatch, patches: PatchFeatures, boxes: Tensor | None
    ) -> Tensor:
        """Return them as (n, K, h, w)."""
        level = patches[1]
        return level.states.transpose(1, 2).reshape(len(level.states), -1, *level.grid)


class OwnSegmentation(OneLevel):
    """A module from pixels to logits, its only level. Its features are their means."""

    def __init__(self, module: nn.Module, preprocess: ImagePreprocess, report: LoadReport) -> None:
        super().__init__()
        self.visual_encoder = module
        self.preprocess = preprocess
        self.report = report

    @property
    def device(self) -> torch.device:
        """Where the parameters are; the CPU where there are none."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    def mask_decoder(self, texts: Sequence[Sequence[str]]) -> MaskDecoder:
        """Return what takes its logits as they come."""
        return LogitsAsTheyCome()

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        return self._logits(pixels).mean(dim=(2, 3))

    def encode_image_and_patches(
        self, pixels: PixelBatch, blocks: Sequence[int]
    ) -> tuple[FeatureBatch, PatchFeatures]:
        """Return mean logits of unit norm, and logits as the only level, from one pass.

        Raises:
            ConfigurationError: If the module returns no logits of places, or another block is
                asked for.
        """
        check_blocks(blocks, 1, "a module of logits")
        with self.speed.context(pixels.device):
            logits = self._logits(self.speed.arrange(pixels)).float()
        features = nn.functional.normalize(logits.mean(dim=(2, 3)), dim=-1)
        height, width = logits.shape[2:]
        level = PatchLevel(1, logits.flatten(2).transpose(1, 2), (height, width), tokens=False)
        return features, PatchFeatures([level])

    def _logits(self, pixels: PixelBatch) -> Tensor:
        found: Any = self.visual_encoder(pixels)
        if not isinstance(found, Tensor) or found.ndim != 4 or len(found) != len(pixels):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ConfigurationError(
                f"a segmenter must return logits ({len(pixels)}, classes, height, width), this one "
                f"returned {shape}."
            )
        return found


@dataclass
class OwnSegmenter:
    """The source of a user's own segmenter (`medrobust.models.base.ModelSource`).

    Attributes:
        module: From pixels (N, 3, H, W) to logits (N, K, h, w): K classes, the background first,
            or one channel for a single class.
        name: In tables and in the store.
        preprocess: From uint8 (N, 1 or 3, H, W) to pixels; by default three channels in [0, 1] at
            the stored size.
        micro_batch: Images a forward pass.
    """

    module: Any
    name: str = "own_segmenter"
    preprocess: ImagePreprocess = field(default_factory=no_scaling)
    micro_batch: int = 8
    _fingerprint: str | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what is no module.

        Raises:
            ConfigurationError: Naming its type.
        """
        if not isinstance(self.module, nn.Module):
            raise ConfigurationError(
                f"{type(self.module).__name__} is no torch module: a segmenter is one, from pixels "
                f"to logits (N, classes, height, width)."
            )

    def weights_fingerprint(self) -> str:
        """SHA-256 over structure and state of the module, computed once."""
        if self._fingerprint is None:
            self._fingerprint = module_fingerprint(self.module)
        return self._fingerprint

    def load(self) -> OwnSegmentation:
        """Wrap a copy of the module in eval mode: the user's own stays as it is."""
        report = LoadReport(source="own", files={}, used=0)
        return OwnSegmentation(deepcopy(self.module), self.preprocess, report).eval()
