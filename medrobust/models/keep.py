"""KEEP: pathology with knowledge of diseases, a vision transformer beside PubMedBERT.

Source of layout, pooling and preprocessing: the code of MAGIC-AI4Med/KEEP (`README.md`,
`quick_start/keep_inference.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medrobust.types import PixelBatch

from .base import LoadReport, VisionLanguageModel
from .hub import Wanted
from .loading import POSITION_IDS, load_strict, multiplier, read_checkpoint
from .packaged import PackagedSource
from .patches import Projection
from .preprocess import Preprocess
from .tokenizer import Tokenize, read_tokenizer

CONTEXT = 256
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass
class Keep(PackagedSource):
    """The checkpoint of KEEP with its vocabulary, from the hub or a folder with the same files.

    Attributes:
        config: A name of `architectures.json`, or a JSON file.
    """

    config: str = "keep"

    def wanted(self) -> list[Wanted]:
        """Return vocabulary and weights."""
        return [
            Wanted(("vocab.txt", "tokenizer.json")),
            Wanted(("model.safetensors", "pytorch_model.bin")),
        ]

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        files, architecture, size = self.opened()
        words, weights = files.values()
        towers = _Towers(architecture)
        state = read_checkpoint(weights)
        loaded = load_strict(towers, state, file=weights.name, drops=POSITION_IDS)
        return KeepModel(
            towers,
            tokenizer=read_tokenizer(words, CONTEXT, "[PAD]", architecture["text"]["vocab_size"]),
            preprocess=Preprocess(size, MEAN, STD),
            report=self.report(files, loaded),
        ).eval()


class _Towers(nn.Module):
    """Both towers under the names of KEEP."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        from timm.models.vision_transformer import VisionTransformer
        from transformers import BertConfig, BertModel

        super().__init__()
        vision, width = architecture["vision"], architecture["text"]["hidden_size"]
        with torch.device("meta"):
            self.visual = VisionTransformer(
                img_size=architecture["image_size"], num_classes=0, **vision
            )
            self.visual_head = nn.Sequential(
                nn.Linear(vision["embed_dim"], width), nn.GELU(), nn.Linear(width, width)
            )
            self.text = BertModel(BertConfig(**architecture["text"]))
            self.logit_scale = nn.Parameter(torch.empty(()))


class KeepModel(VisionLanguageModel):
    """KEEP; its texts are what the pooler of its BERT makes of the class token."""

    def __init__(
        self, towers: _Towers, *, tokenizer: Tokenize, preprocess: Preprocess, report: LoadReport
    ) -> None:
        super().__init__()
        self.visual_encoder = nn.Sequential(towers.visual, towers.visual_head)
        self.text_encoder = towers.text
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = multiplier(towers.logit_scale)

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding

    def _patch_projection(self, block: int) -> Projection:
        parts: Any = self.visual_encoder
        trunk, head = parts
        return lambda states: head(trunk.norm(states))

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ids, mask = (tensor.to(self.device) for tensor in self.tokenizer(sentences))
        embedding: Tensor = self.text_encoder(input_ids=ids, attention_mask=mask).pooler_output
        return embedding
