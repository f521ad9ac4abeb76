"""CLIP in the layout of transformers: OpenAI's vision transformers and what was tuned from them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from medrobust.exceptions import WeightsMismatchError
from medrobust.models.base import LoadReport, VisionLanguageModel
from medrobust.models.hub import HubSource, Wanted
from medrobust.models.loading import POSITION_IDS, load_strict, read_checkpoint
from medrobust.models.preprocess import Preprocess
from medrobust.models.tokenizer import TextTokenizer, read_tokenizer
from medrobust.types import PixelBatch

PILLOW_BICUBIC = 3
"""Number of the bicubic filter in a preprocessor configuration."""


@dataclass
class TransformersClip(HubSource):
    """A checkpoint of `transformers.CLIPModel`, from the hub or a folder with the same files."""

    FILES: ClassVar[tuple[Wanted, ...]] = (
        ("config.json",),
        ("preprocessor_config.json",),
        ("tokenizer.json",),
        ("model.safetensors", "pytorch_model.bin"),
    )

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode."""
        from transformers import CLIPConfig, CLIPModel

        files = self.files()
        settings, pictures, words, weights = files.values()
        values = json.loads(settings.read_text())
        if values.get("model_type") != "clip":
            raise WeightsMismatchError(
                f"model {self.name!r}: config.json describes {values.get('model_type')!r}, "
                f"not 'clip'."
            )
        config = CLIPConfig.from_dict(values)
        with torch.device("meta"):
            clip = CLIPModel(config)
        loaded = load_strict(clip, read_checkpoint(weights), file=weights.name, drops=POSITION_IDS)
        context = config.text_config.max_position_embeddings
        return ClipModel(
            clip,
            tokenizer=read_tokenizer(words, context, "<|endoftext|>"),
            preprocess=read_preprocess(pictures),
            report=self.report(files, loaded.used, loaded.renamed, loaded.dropped),
        ).eval()


class ClipModel(VisionLanguageModel):
    """CLIP: the class token and the end-of-text token, each through its projection."""

    def __init__(
        self, clip: Any, *, tokenizer: TextTokenizer, preprocess: Preprocess, report: LoadReport
    ) -> None:
        super().__init__()
        self.clip = clip
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = float(self.clip.logit_scale.detach().exp())

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        pooled = self.clip.vision_model(pixel_values=pixels).pooler_output
        embedding: Tensor = self.clip.visual_projection(pooled)
        return embedding

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        # Attention is causal and the end token is read: what fills up behind it has no effect.
        ids, _ = self.tokenizer(sentences)
        pooled = self.clip.text_model(input_ids=ids.to(self.device)).pooler_output
        embedding: Tensor = self.clip.text_projection(pooled)
        return embedding


def read_preprocess(path: Path) -> Preprocess:
    """Read a `preprocessor_config.json` of CLIP: shortest side bicubic, centre crop, normalise.

    Raises:
        WeightsMismatchError: If it describes another preprocessing.
    """
    values = json.loads(path.read_text())
    size, crop = (_side(values.get(key)) for key in ("size", "crop_size"))
    if size != crop or size is None or values.get("resample", PILLOW_BICUBIC) != PILLOW_BICUBIC:
        raise WeightsMismatchError(
            f"{path.name} asks for size {values.get('size')}, crop {values.get('crop_size')} and "
            f"resampling {values.get('resample')}; CLIP resizes the shortest side bicubic (3) and "
            f"crops the same size."
        )
    return Preprocess(size, tuple(values["image_mean"]), tuple(values["image_std"]))


def _side(value: Any) -> int | None:
    """Return the side of a size, which is written as a number or as a table of equal sides."""
    sides = set(value.values()) if isinstance(value, dict) else {value}
    side = sides.pop() if len(sides) == 1 else None
    return side if isinstance(side, int) else None
