"""UniverSeg: a network that sees an image beside examples with masks, and outlines the same in it.

References:
    Butoi, Gonzalez Ortiz et al., UniverSeg: Universal Medical Image Segmentation, arXiv:2304.06131;
    names of weights and sizes of their `universeg/model.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.types import FeatureBatch, PixelBatch

from .base import ImagePreprocess, LoadReport
from .hub import HubSource, Wanted
from .loading import Rename, load_strict, read_checkpoint
from .patches import PatchFeatures, PatchLevel, check_blocks
from .preprocess import Preprocess
from .segmenter import Examples, MaskDecoder, OneLevel, PromptedBy

SIDE = 128
"""Of images and masks, in pixels."""

PUBLISHED = (
    Rename(r"\.cross\.", ".cross.cross_conv."),
    Rename(r"\.(target|support)\.", r".\1.vmapped.conv."),
    Rename(r"^out_conv\.", "out_conv.conv."),
)
"""Keys of this network -> those of the published file."""


class _Block(nn.Module):
    """The target beside each example, and both one convolution further.

    What a target and an example make of one another is linear in both, so that the target's part is
    computed once for all examples; the target goes on with the mean over the examples.
    """

    def __init__(self, target: int, support: int, width: int) -> None:
        super().__init__()
        self.cross = nn.Conv2d(target + support, width, 3, padding=1)
        self.target = nn.Conv2d(width, width, 3, padding=1)
        self.support = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, target: Tensor, support: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """Return the target (1, C, h, w) and examples (S, C, h, w), whose last ones nobody asks."""
        mine = target.shape[1]
        own, theirs = self.cross.weight[:, :mine], self.cross.weight[:, mine:]
        both = functional.conv2d(support, theirs, self.cross.bias, padding=1)
        both = both + functional.conv2d(target, own, padding=1)
        met = both.mean(dim=0, keepdim=True)
        further = both if last else functional.leaky_relu(self.support(both))
        return functional.leaky_relu(self.target(met)), further


class Network(nn.Module):
    """UniverSeg: blocks down to an eighth of the side, and up again beside what was there before.

    Args:
        widths: Channels of each block down; those up have them in reverse.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        down, first = [], (1, 2)
        for width in widths:
            down.append(_Block(*first, width))
            first = (width, width)
        up, before = [], widths[-1]
        for width in reversed(widths[:-1]):
            up.append(_Block(before + width, before + width, width))
            before = width
        self.enc_blocks, self.dec_blocks = nn.ModuleList(down), nn.ModuleList(up)
        self.out_conv = nn.Conv2d(before, 1, 1)

    def forward(self, target: Tensor, images: Tensor, masks: Tensor) -> Tensor:
        """Return logits (1, 1, H, W).

        Args:
            target: (1, 1, H, W), from 0 to 1.
            images: (S, 1, H, W), of the examples, likewise.
            masks: (S, 1, H, W), 0 or 1.
        """
        support, passed = torch.cat([images, masks], dim=1), []
        for number, block in enumerate(self.enc_blocks, 1):
            target, support = block(target, support, last=False)
            if number < len(self.enc_blocks):
                passed.append((target, support))
                target, support = (functional.max_pool2d(one, 2) for one in (target, support))
        for block in self.dec_blocks:
            target, support = (
                torch.cat([_enlarged(one), before], dim=1)
                for one, before in zip((target, support), passed.pop(), strict=True)
            )
            target, support = block(target, support, last=not passed)
        logits: Tensor = self.out_conv(target)
        return logits


def _enlarged(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)


@dataclass
class UniversegCheckpoint(HubSource):
    """The published weights of UniverSeg, from a folder.

    Attributes:
        weights: Name of the file.
        widths: Channels of its blocks.
    """

    hub_id: str = ""
    weights: str = "universeg_v1_nf64_ss64_STA.pt"
    widths: Sequence[int] = (64, 64, 64, 64)

    def wanted(self) -> list[Wanted]:
        """Return the file of the weights."""
        return [Wanted((self.weights,))]

    def load(self) -> "Universeg":
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If the file is missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        files = self.files()
        (weights,) = files.values()
        with torch.device("meta"):
            network = Network(tuple(self.widths))
        loaded = load_strict(
            network, read_checkpoint(weights), file=weights.name, renames=PUBLISHED
        )
        self.check_resolution(SIDE)
        report = self.report(files, loaded)
        return Universeg(network, _preprocess(), report).eval()


def _preprocess() -> ImagePreprocess:
    """Return grey images whose own range is 0 to 1, as the published README asks for."""
    return Preprocess(
        SIDE,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        interpolation="bilinear",
        fit="squash",
        grey=True,
        stretch=True,
    )


class Universeg(OneLevel):
    """UniverSeg as a segmenter. Its tower is the image itself, its features how light it is.

    The image stands as the only block: what becomes of it depends on the examples from the first
    convolution on.
    """

    prompted_by: ClassVar[PromptedBy] = "examples"

    def __init__(self, network: nn.Module, preprocess: ImagePreprocess, report: LoadReport) -> None:
        super().__init__()
        self.visual_encoder = network
        self.preprocess, self.report = preprocess, report

    def mask_decoder(self, texts: Sequence[Sequence[str]]) -> MaskDecoder:
        """Refuse: there is nothing to go by.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError("UniverSeg outlines by examples with masks, and none were given.")

    def example_decoder(self, examples: Sequence[Examples]) -> MaskDecoder:
        """Return what outlines the classes of some examples."""
        shown = tuple((one.patches[1].states, _small(one.masks)) for one in examples)
        return UniversegDecoder(self.visual_encoder, shown)

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        light = pixels[:, :1].float().mean(dim=(2, 3))
        return torch.cat([light, 1 - light], dim=1)

    def encode_image_and_patches(
        self, pixels: PixelBatch, blocks: Sequence[int]
    ) -> tuple[FeatureBatch, PatchFeatures]:
        """Return features of unit norm, and the images as the only level.

        Raises:
            ConfigurationError: If another block is asked for.
        """
        check_blocks(blocks, 1, type(self).__name__)
        grey = pixels[:, :1].float()
        features = functional.normalize(self._adjusted(self._image_embedding(pixels)), dim=-1)
        grid = (grey.shape[2], grey.shape[3])
        level = PatchLevel(1, grey.flatten(2).transpose(1, 2), grid, tokens=False)
        return features, PatchFeatures([level])


def _small(masks: Tensor) -> Tensor:
    """Take the nearest pixels of masks (S, H, W): float32 (S, 1, 128, 128)."""
    rows, columns = (
        ((2 * torch.arange(SIDE) + 1) * side) // (2 * SIDE) for side in masks.shape[1:]
    )
    return masks[:, rows][:, :, columns].float()[:, None]


@dataclass(frozen=True)
class UniversegDecoder:
    """From images, and examples a class, to a logit of each pixel of 128 x 128.

    Each image is looked at by itself: the examples beside it fill the memory.

    Attributes:
        network: It moves with the model.
        examples: Of each class images (S, 16384, 1) and masks (S, 1, 128, 128).
    """

    network: nn.Module
    examples: tuple[tuple[Tensor, Tensor], ...]

    blocks: ClassVar[tuple[int, ...]] = (1,)

    def __call__(
        self, features: FeatureBatch, patches: PatchFeatures, boxes: Tensor | None
    ) -> Tensor:
        """Return logits of the background, 0, and of each class, (n, K, 128, 128)."""
        images = _pictures(patches[1].states)
        found = []
        for states, masks in self.examples:
            support = _pictures(states).to(images.device), masks.to(images.device)
            found.append(torch.cat([self.network(one[None], *support) for one in images]))
        logits = torch.cat(found, dim=1)
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


def _pictures(states: Tensor) -> Tensor:
    """Return images (N, 1, 128, 128) from the states of their places."""
    return states.transpose(1, 2).reshape(len(states), 1, SIDE, SIDE)
