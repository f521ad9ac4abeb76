"""Segmenters whose image encoder gives three maps, each coarser than the one before."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from medrobust.types import FeatureBatch, PixelBatch

from .patches import PatchFeatures, PatchLevel, check_blocks
from .segmenter import SegmentationModel

LEVELS = 3
"""Maps of an image, from the finest: two that masks are refined by, and its embedding."""


class PyramidModel(SegmentationModel):
    """A segmenter of single images by maps, which stand as blocks 1 to 3, the finest first.

    Its features are the mean of the coarsest.
    """

    @property
    def patch_blocks(self) -> int:
        """Its maps."""
        return LEVELS

    @property
    def branch_blocks(self) -> tuple[int, ...]:
        """None."""
        return ()

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        return self._maps(pixels)[-1].mean(dim=(2, 3))

    @abstractmethod
    def _maps(self, pixels: PixelBatch) -> list[Tensor]:
        """Return the maps that are decoded, (N, D, h, w), from the finest."""

    def encode_image_and_patches(
        self, pixels: PixelBatch, blocks: Sequence[int]
    ) -> tuple[FeatureBatch, PatchFeatures]:
        """Return features of unit norm, and the maps asked for, from one pass.

        Raises:
            ConfigurationError: If another block is asked for.
        """
        check_blocks(blocks, LEVELS, type(self).__name__)
        with self.speed.context(pixels.device):
            maps = [one.float() for one in self._maps(self.speed.arrange(pixels))]
        features = functional.normalize(self._adjusted(maps[-1].mean(dim=(2, 3))), dim=-1)
        levels = []
        for number in sorted(set(blocks)):
            one = maps[number - 1]
            grid = (one.shape[2], one.shape[3])
            levels.append(PatchLevel(number, one.flatten(2).transpose(1, 2), grid, tokens=False))
        return features, PatchFeatures(levels)
