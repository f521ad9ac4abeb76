"""CLIP in the layout of transformers: OpenAI's vision transformers and what was tuned from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medrobust.types import PixelBatch

from .base import LoadReport, VisionLanguageModel
from .hub import HubSource, Names
from .loading import POSITION_IDS, load_strict, multiplier, read_checkpoint
from .patches import Projection
from .preprocess import Preprocess
from .preprocessor import read_preprocess
from .settings import built, check_towers, read_settings_of
from .tokenizer import Tokenize, altered_without_ftfy, read_clip_tokenizer


@dataclass
class TransformersClip(HubSource):
    """A checkpoint of `transformers.CLIPModel`, from the hub or a folder with the same files."""

    FILES: ClassVar[tuple[Names, ...]] = (
        ("config.json",),
        ("preprocessor_config.json",),
        ("tokenizer.json", "vocab.json"),
        ("model.safetensors", "pytorch_model.bin"),
    )
    INTERPOLATES: ClassVar[bool] = True

    def reworded(self, sentences: Sequence[str]) -> dict[str, str]:
        """Return sentence -> what is read: beside a `vocab.json`, 0.1 cleaned as open_clip does."""
        if "tokenizer.json" in self.files():
            return {}
        return altered_without_ftfy(sentences)

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode."""
        from transformers import CLIPConfig, CLIPModel

        files = self.files()
        settings, pictures, words, weights = files.values()
        values = read_settings_of(settings, self.name, "clip")
        check_towers(values, settings.name)
        config = built(lambda: CLIPConfig.from_dict(values), settings.name)
        with torch.device("meta"):
            clip = built(lambda: CLIPModel(config), settings.name)
        loaded = load_strict(clip, read_checkpoint(weights), file=weights.name, drops=POSITION_IDS)
        text = config.text_config
        preprocess = read_preprocess(pictures, config.vision_config.image_size)
        self.check_resolution(preprocess.size)
        return ClipModel(
            clip,
            tokenizer=read_clip_tokenizer(
                words, text.max_position_embeddings, text.vocab_size, text.eos_token_id
            ),
            preprocess=preprocess.at(self.image_size, config.vision_config.patch_size),
            report=self.report(files, loaded),
        ).eval()


class Projected(nn.Module):
    """A tower of transformers and the projection of what it pools."""

    def __init__(self, model: Any, projection: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.projection = projection

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return (N, D)."""
        embedding: Tensor = self.projection(self.model(**inputs).pooler_output)
        return embedding


class ClipModel(VisionLanguageModel):
    """CLIP: the class token and the end-of-text token, each through its projection."""

    def __init__(
        self, clip: Any, *, tokenizer: Tokenize, preprocess: Preprocess, report: LoadReport
    ) -> None:
        super().__init__()
        self.visual_encoder = Projected(clip.vision_model, clip.visual_projection)
        self.text_encoder = Projected(clip.text_model, clip.text_projection)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.interpolated = preprocess.size != clip.config.vision_config.image_size
        self.logit_scale = multiplier(clip.logit_scale)

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(
            pixel_values=pixels, interpolate_pos_encoding=self.interpolated
        )
        return embedding

    def _patch_projection(self, block: int) -> Projection:
        tower = self.visual_encoder
        return lambda states: tower.projection(tower.model.post_layernorm(states))

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        # Attention is causal and the end token is read: what fills up behind it has no effect.
        ids, _ = self.tokenizer(sentences)
        embedding: Tensor = self.text_encoder(input_ids=ids.to(self.device))
        return embedding
