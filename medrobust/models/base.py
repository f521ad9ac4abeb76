"""The contract of a model: pixels and sentences in, unit-norm features out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.types import FeatureBatch, PixelBatch, UInt8Batch

from .blocks import BRANCHES, Blocks, find_blocks
from .patches import PatchFeatures, Projection, check_blocks, read_levels
from .speed import EXACT, Speed
from .window_tokens import check_windows, seeing


class ImagePreprocess(Protocol):
    """A model's own way from stored images to what its visual encoder takes."""

    def __call__(self, images: UInt8Batch) -> PixelBatch:
        """Resize, expand grey, scale to [0, 1] and normalise, once, on the device of `images`."""
        ...

    def description(self) -> dict[str, Any]:
        """Plain values that decide the output: part of the fingerprint of every cell."""
        ...


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of every key of a checkpoint.

    Attributes:
        source: Hub id, or "local" for a folder of the user's (never a path).
        revision: Revision of the hub repository, or empty.
        files: File name -> SHA-256.
        used: Number of keys loaded under their own name.
        renamed: Checkpoint key -> key in the model, by a stated rule.
        dropped: Checkpoint key -> reason.
        license: Of the weights, as published.
        trained_on: Names of the data that the weights have seen.
    """

    source: str
    files: dict[str, str]
    used: int
    revision: str = ""
    renamed: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    license: str = ""
    trained_on: tuple[str, ...] = ()


class ImageModel(nn.Module, ABC):
    """A visual encoder. Subclasses implement `_image_embedding`.

    Features come back float32 and of unit norm, whatever precision the encoder runs in. The module
    is put in eval mode by its loader and stays there.

    Attributes:
        preprocess: The model's own preprocessing, from uint8.
        report: What became of every key of the checkpoint.
        visual_encoder: The image tower as one module, for adapters.
        speed: How the image tower runs.
        adjusts: What an adapter does to embeddings of images, and of places in the space of texts,
            (..., E) to (..., E) float32; it is only there where one does.
    """

    preprocess: ImagePreprocess
    report: LoadReport
    speed: Speed = EXACT
    adjusts: nn.Module

    @abstractmethod
    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        """Return the projected image embedding, (N, D), not normalised."""

    def encode_image(self, pixels: PixelBatch) -> FeatureBatch:
        """Embed preprocessed pixels: (N, D) float32 of unit norm."""
        return functional.normalize(self.embed_image(pixels), dim=-1)

    def embed_image(self, pixels: PixelBatch) -> Tensor:
        """Embed preprocessed pixels: (N, D) float32, not normalised."""
        with self.speed.context(pixels.device):
            embedding = self._image_embedding(self.speed.arrange(pixels))
        return self._adjusted(embedding.float())

    def _adjusted(self, embedded: Tensor) -> Tensor:
        return self.adjusts(embedded) if "adjusts" in self._modules else embedded

    def _adjusted_projection(self, block: int) -> Projection | None:
        """Return the way of places into the shared space, with what an adapter does there."""
        way = self._patch_projection(block)
        if way is None or "adjusts" not in self._modules:
            return way
        return lambda states: self._adjusted(way(states).float())

    @property
    def patch_blocks(self) -> int:
        """Blocks of the image tower; of Swin transformers and ResNets its stages.

        Raises:
            ConfigurationError: If it has none.
        """
        return len(self.image_blocks)

    @property
    def image_blocks(self) -> tuple[nn.Module, ...]:
        """The blocks themselves, for adapters; as `patch_blocks` counts them."""
        return self._blocks().modules

    @property
    def joint_blocks(self) -> tuple[int, ...]:
        """Blocks whose places can be compared with texts: see `PatchLevel.joint`."""
        blocks = range(1, self.patch_blocks + 1)
        return tuple(block for block in blocks if self._patch_projection(block) is not None)

    @property
    def branch_blocks(self) -> tuple[int, ...]:
        """Blocks that an adapter has given branches: see `medrobust.models.blocks.BRANCHES`."""
        try:
            blocks = self.image_blocks
        except ConfigurationError:  # a tower without blocks has no branches
            return ()
        return tuple(number for number, one in enumerate(blocks, 1) if hasattr(one, BRANCHES))

    def encode_patches(self, pixels: PixelBatch, blocks: Sequence[int]) -> PatchFeatures:
        """Return what chosen blocks, numbered from 1, say of each place; see `PatchLevel`.

        Raises:
            ConfigurationError: If the tower has no such blocks, or is compiled.
        """
        return self.encode_image_and_patches(pixels, blocks)[1]

    def encode_image_and_patches(
        self, pixels: PixelBatch, blocks: Sequence[int]
    ) -> tuple[FeatureBatch, PatchFeatures]:
        """Return the features of `encode_image`, to the bit, and patch features, from one pass.

        Raises:
            ConfigurationError: If the tower has no such blocks, or is compiled.
        """
        found = self._blocks()
        check_blocks(blocks, len(found.modules), type(self).__name__)
        if self.speed.compile:
            raise ConfigurationError(
                "a compiled image tower does not show what its blocks return: patch features "
                "need speed.compile=false."
            )
        with found.heard(blocks) as outputs:
            features = self.encode_image(pixels)
        levels = read_levels(found, outputs, blocks, pixels, self._adjusted_projection)
        return features, PatchFeatures(levels, partial(self.encode_windows, pixels))

    def check_windows(self) -> None:
        """Refuse an image tower that cannot encode windows alone.

        Raises:
            ConfigurationError: Saying why.
        """
        check_windows(self._blocks(), type(self).__name__)

    def encode_windows(self, pixels: PixelBatch, windows: Tensor) -> Tensor:
        """Embed windows of places, each as if the tower saw no other place.

        In passes of about as many tokens as one over the images has.

        Args:
            pixels: Preprocessed, (N, C, H, W).
            windows: int64 (W, k), the places of each window, row by row of the grid.

        Returns:
            float32 (N, W, D) of unit norm.

        Raises:
            ConfigurationError: If the tower cannot.
        """
        self.check_windows()
        found, sides = self._blocks(), (pixels.shape[-2], pixels.shape[-1])
        at_once = max(1, (int(windows.max()) + 1) // windows.shape[1])
        parts = []
        for start in range(0, len(windows), at_once):
            some = windows[start : start + at_once]
            with seeing(found, some, sides, type(self).__name__):
                features = self.encode_image(pixels)
            parts.append(features.view(len(pixels), len(some), -1))
        return torch.cat(parts, dim=1)

    def _blocks(self) -> Blocks:
        return find_blocks(self._image_side(), type(self).__name__)

    def _image_side(self) -> nn.Module:
        side: Any = self.visual_encoder
        return cast(nn.Module, side)

    def _patch_projection(self, block: int) -> Projection | None:
        """Return the way of places of a block into the shared space; None where there is none."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device


class VisionLanguageModel(ImageModel):
    """A dual encoder. Subclasses implement `_image_embedding` and `_text_embedding`.

    `logit_scale` is the multiplier itself, not its logarithm. Sentences are always encoded in full
    precision.

    Attributes:
        logit_scale: Multiplier of the cosine.
        text_encoder: The text tower as one module, for adapters.
    """

    logit_scale: float

    @abstractmethod
    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        """Tokenize, encode and project, (K, D), not normalised."""

    @torch.no_grad()
    def encode_text(self, sentences: Sequence[str]) -> FeatureBatch:
        """Embed sentences: (K, D) float32 of unit norm.

        Raises:
            TypeError: If one string is given, whose letters would pass for sentences, or no texts.
            ConfigurationError: If there is no sentence, or one holds what no text may hold.
        """
        if isinstance(sentences, str):
            raise TypeError("encode_text takes a list of sentences: pass [sentence] for one.")
        _check_sentences(sentences)
        return functional.normalize(self.embed_text(sentences), dim=-1)

    def embed_text(self, sentences: Sequence[str]) -> FeatureBatch:
        """Embed sentences: (K, D) float32, not normalised; gradients pass."""
        return self._text_embedding(sentences).float()


class ModelSource(Protocol):
    """What a file in conf/model builds: cheap to make, reads weights only in `load`."""

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        ...

    @property
    def micro_batch(self) -> int:
        """Fixed number of images a forward pass (design: part of the fingerprint)."""
        ...

    def weights_fingerprint(self) -> str:
        """SHA-256 over the weight files, without loading them.

        Raises:
            WeightsNotFoundError: If files are missing; the message names them, says where to get
                them and how to point to them.
        """
        ...

    def load(self) -> nn.Module:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Returns:
            A `VisionLanguageModel`; an `ImageModel`, whose features a probe classifies; or a
            `medrobust.models.Classifier`, whose features are logits.

        Raises:
            WeightsNotFoundError: As above.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        ...


def _check_sentences(sentences: Sequence[str]) -> None:
    """Refuse what tokenizers fail on in words of their own."""
    if not len(sentences):
        raise ConfigurationError("encode_text takes a list of sentences, and it is empty.")
    for number, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise TypeError(
                f"encode_text takes a list of sentences; number {number} is a "
                f"{type(sentence).__name__}."
            )
        try:
            sentence.encode()
        except UnicodeEncodeError as error:  # bytes of a terminal that is not UTF-8
            raise ConfigurationError(
                f"the sentence {sentence!r} holds bytes that are no UTF-8: type it in a terminal "
                f"of UTF-8 (LC_ALL=C.UTF-8), or put it into a file of options."
            ) from error
