"""CLIPSeg in the layout of transformers: CLIP, and a decoder that a sentence tells what to outline.

References:
    Lüddecke and Ecker, Image Segmentation Using Text and Image Prompts, arXiv:2112.10003.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medrobust.types import FeatureBatch

from .base import LoadReport
from .clip import ClipModel
from .hub import HubSource, Names
from .loading import POSITION_IDS, load_strict, read_checkpoint
from .patches import PatchFeatures
from .preprocess import Preprocess
from .preprocessor import read_preprocess
from .segmenter import MaskDecoder, PromptedBy, SegmentationModel, check_prompts
from .settings import built, check_towers, read_settings_of
from .tokenizer import Tokenize, read_clip_tokenizer


@dataclass
class TransformersClipseg(HubSource):
    """A checkpoint of `transformers.CLIPSegForImageSegmentation`, from the hub or a folder."""

    FILES: ClassVar[tuple[Names, ...]] = (
        ("config.json",),
        ("preprocessor_config.json",),
        ("tokenizer.json", "vocab.json"),
        ("model.safetensors", "pytorch_model.bin"),
    )

    def load(self) -> "ClipsegModel":
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

        files = self.files()
        settings, pictures, words, weights = files.values()
        values = read_settings_of(settings, self.name, "clipseg")
        check_towers(values, settings.name)
        config = built(lambda: CLIPSegConfig.from_dict(values), settings.name)
        with torch.device("meta"):
            clipseg = built(lambda: CLIPSegForImageSegmentation(config), settings.name)
        loaded = load_strict(
            clipseg, read_checkpoint(weights), file=weights.name, drops=POSITION_IDS
        )
        text = config.text_config
        preprocess = read_preprocess(pictures, None)  # positions are interpolated, as published
        self.check_resolution(preprocess.size)
        return ClipsegModel(
            clipseg,
            tokenizer=read_clip_tokenizer(
                words, text.max_position_embeddings, text.vocab_size, text.eos_token_id
            ),
            preprocess=preprocess,
            report=self.report(files, loaded),
        ).eval()


class ClipsegModel(ClipModel, SegmentationModel):
    """CLIP with CLIPSeg's decoder: it classifies as CLIP does, and outlines what a text names."""

    prompted_by: ClassVar[PromptedBy] = "texts"

    def __init__(
        self, clipseg: Any, *, tokenizer: Tokenize, preprocess: Preprocess, report: LoadReport
    ) -> None:
        super().__init__(clipseg.clip, tokenizer=tokenizer, preprocess=preprocess, report=report)
        self.decoder = clipseg.decoder
        self.decoded_blocks = tuple(block + 1 for block in clipseg.extract_layers)

    @torch.no_grad()
    def mask_decoder(self, texts: Sequence[Sequence[str]]) -> MaskDecoder:
        """Return what outlines the classes of some texts.

        A class of several sentences is looked for by the mean of their embeddings, before any
        norm, as the published decoder takes one. The background's sentences are not read: it has
        the logit 0, at which the published probability is a half.

        Raises:
            ConfigurationError: If there is no class beside the background.
        """
        check_prompts(texts)
        embeddings = [self.embed_text(list(sentences)).mean(dim=0) for sentences in texts[1:]]
        return ClipsegDecoder(self.decoder, torch.stack(embeddings), self.decoded_blocks)


@dataclass(frozen=True)
class ClipsegDecoder:
    """From the states of three blocks to a logit of each pixel of the input, class by class.

    Attributes:
        decoder: Of transformers; it moves with the model.
        conditions: float32 (K - 1, D), what each class is looked for by.
        blocks: Whose states it reads, numbered from 1.
    """

    decoder: nn.Module
    conditions: Tensor
    blocks: tuple[int, ...]

    def __call__(
        self, features: FeatureBatch, patches: PatchFeatures, boxes: Tensor | None
    ) -> Tensor:
        """Return logits (n, K, side, side), those of the background 0."""
        states = [_with_class_token(patches, block) for block in self.blocks]
        maps = [
            self.decoder(states, condition.expand(len(features), -1)).logits
            for condition in self.conditions.to(features.device)
        ]
        return torch.stack([torch.zeros_like(maps[0]), *maps], dim=1)


def _with_class_token(patches: PatchFeatures, block: int) -> Tensor:
    level = patches[block]
    assert level.first is not None
    return torch.cat([level.first, level.states], dim=1)
