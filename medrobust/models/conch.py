"""CONCH: pathology, a vision transformer with attention pooling beside a causal text tower.

Source of layout, pooling, tokens and preprocessing: the code of mahmoodlab/CONCH
(`conch/open_clip_custom/`). Its caption decoder is no part of the comparison of image and text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medrobust.types import PixelBatch

from .base import ImageModel, LoadReport, VisionLanguageModel
from .hub import Wanted, either
from .loading import load_strict, multiplier, read_checkpoint
from .packaged import PackagedSource
from .patches import Projection
from .preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from .tokenizer import TextTokenizer, check_size, check_special
from .tokenizer_checks import read_backend
from .vision import VisionModel

WORDS = "conch_byte_level_bpe_uncased.json"
MARKS = {"<pad>": 0, "<start_of_text>": 1, "<end_of_text>": 2}

DROPS = {
    r"visual\.(attn_pool|ln)_caption\..*": "pools for captions, not for comparison",
    r"text_decoder\..*": "writes captions, not for comparison",
}


@dataclass
class Conch(PackagedSource):
    """The checkpoint of CONCH with its vocabulary beside it.

    Attributes:
        config: A name of `architectures.json`, or a JSON file.
        weights: File name of the weights.
        joint: Whether image features are projected to the space of the texts; the publisher's
            probes stop before, and then there is no text side.
    """

    config: str = "conch_vit_b16"
    weights: str = "pytorch_model.bin"
    joint: bool = True

    def wanted(self) -> list[Wanted]:
        """Return vocabulary and weights."""
        return [Wanted((WORDS,)), Wanted(either(self.weights))]

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        return {**super().options(), "joint": self.joint}

    def load(self) -> ImageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        files, architecture, size = self.opened()
        words, weights = files.values()
        towers = _Towers(architecture)
        state = read_checkpoint(weights)
        loaded = load_strict(towers, state, file=weights.name, drops=DROPS)
        preprocess = Preprocess(size, CLIP_MEAN, CLIP_STD)
        report = self.report(files, loaded)
        if not self.joint:
            towers.visual.projected = False
            return VisionModel(towers.visual, preprocess, report).eval()
        text = architecture["text"]
        backend = read_backend(words)
        vocabulary = backend.get_vocab(with_added_tokens=True)
        check_size(len(vocabulary), max(vocabulary.values()) + 1, text["vocab_size"], words.name)
        check_special(vocabulary, MARKS, words.name)
        tokenizer = TextTokenizer(backend, text["context_length"], "<pad>", fixed=True)
        return ConchModel(towers, tokenizer, preprocess, report).eval()


class _Image(nn.Module):
    """All tokens of a vision transformer, pooled by one learned query."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        from open_clip.transformer import AttentionalPooler
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        width, vision = architecture["embed_dim"], architecture["vision"]
        self.trunk = VisionTransformer(img_size=architecture["image_size"], num_classes=0, **vision)
        self.attn_pool_contrast = AttentionalPooler(
            width, vision["embed_dim"], n_head=architecture["pool_heads"], n_queries=1
        )
        self.ln_contrast = nn.LayerNorm(width)
        self.proj_contrast = nn.Parameter(torch.empty(width, width))
        self.projected = True

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return (N, width)."""
        tokens = self.trunk.forward_features(pixels)
        pooled: Tensor = self.ln_contrast(self.attn_pool_contrast(tokens)[:, 0])
        return pooled @ self.proj_contrast if self.projected else pooled


class _Towers(nn.Module):
    """Both towers under the names of CONCH."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        from open_clip.transformer import TextTransformer

        super().__init__()
        with torch.device("meta"):
            self.visual = _Image(architecture)
            self.logit_scale = nn.Parameter(torch.empty(()))
        # Not on the meta device: its causal mask is in no checkpoint.
        self.text = TextTransformer(
            **architecture["text"], output_dim=architecture["embed_dim"], embed_cls=True
        )


class ConchModel(VisionLanguageModel):
    """CONCH for comparison of image and text."""

    def __init__(
        self,
        towers: _Towers,
        tokenizer: TextTokenizer,
        preprocess: Preprocess,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual_encoder = towers.visual
        self.text_encoder = towers.text
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = multiplier(towers.logit_scale)

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding

    def _patch_projection(self, block: int) -> Projection:
        tower: Any = self.visual_encoder

        def alone(states: Tensor) -> Tensor:
            """Let the pool see each place alone, of which it takes all."""
            pooled = tower.attn_pool_contrast(tower.trunk.norm(states).flatten(0, 1)[:, None])
            joint: Tensor = tower.ln_contrast(pooled[:, 0]) @ tower.proj_contrast
            return joint.view(*states.shape[:2], -1)

        return alone

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ids = self.tokenizer(sentences)[0].to(self.device)
        embedding: Tensor = self.text_encoder(ids)
        return embedding
