"""CXR-CLIP: chest x-rays, a ResNet-50 or a Swin transformer beside Bio_ClinicalBERT.

Source of layout, pooling and preprocessing: the code of kakaobrain/cxr-clip (`cxrclip/`,
`configs/model/`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medrobust.types import PixelBatch

from .base import LoadReport, VisionLanguageModel
from .hub import Wanted, either
from .loading import POSITION_IDS, load_strict, multiplier, read_checkpoint
from .medclip import resnet
from .packaged import PackagedSource
from .patches import Projection
from .preprocess import Preprocess
from .swin import SWIN_DROPS, SWIN_KEYS, swin
from .tokenizer import Tokenize, read_tokenizer

CONTEXT = 256
STATISTICS = {
    "resnet50": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "swin": ((0.5,) * 3, (0.5,) * 3),
}
"""Mean and standard deviation, by image tower."""

DROPS = {
    **POSITION_IDS,
    **SWIN_DROPS,
    r"text_encoder\.text_encoder\.pooler\..*": "the pooler of the BERT, which is not read",
}


@dataclass
class CxrClip(PackagedSource):
    """A checkpoint of CXR-CLIP with the vocabulary of Bio_ClinicalBERT beside it.

    Attributes:
        config: A name of `architectures.json`, or a JSON file.
        weights: File name of the weights (`.tar` by name, a checkpoint of PyTorch by content).
        tokenizer_id: Repository of the vocabulary.
    """

    config: str = "cxr_clip_resnet50"
    weights: str = "r50_mcc.tar"
    tokenizer_id: str = "emilyalsentzer/Bio_ClinicalBERT"

    def wanted(self) -> list[Wanted]:
        """Return vocabulary and weights."""
        return [Wanted(("vocab.txt",), self.tokenizer_id), Wanted(either(self.weights))]

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        files, architecture, size = self.opened()
        words, weights = files.values()
        towers = CxrClipTowers(architecture)
        loaded = load_strict(
            towers,
            read_checkpoint(weights, entry="model"),
            file=weights.name,
            renames=SWIN_KEYS,
            drops=DROPS,
        )
        mean, std = STATISTICS[architecture["vision"]]
        return CxrClipModel(
            towers,
            tokenizer=read_tokenizer(words, CONTEXT, "[PAD]", architecture["text"]["vocab_size"]),
            preprocess=Preprocess(size, mean, std, interpolation="bilinear"),
            report=self.report(files, loaded),
        ).eval()


class _Image(nn.Module):
    """First token of a Swin transformer, or the pooled map of a ResNet."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        if architecture["vision"] == "swin":
            self.image_encoder = swin(architecture["sizes"])
        else:
            self.resnet = resnet(architecture["sizes"]["layers"], None)

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return (N, features)."""
        if hasattr(self, "resnet"):
            pooled: Tensor = self.resnet(pixels)
        else:
            pooled = self.image_encoder(pixel_values=pixels).last_hidden_state[:, 0]
        return pooled


class _Text(nn.Module):
    """Last token of a sentence, which is its end mark."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        self.text_encoder = BertModel(BertConfig(**architecture["text"]), add_pooling_layer=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (K, features)."""
        tokens = self.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        last: Tensor = tokens[torch.arange(len(ids), device=ids.device), mask.sum(dim=1) - 1]
        return last


class _Projection(nn.Module):
    """A linear map with a bias, under the name of the original."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(features, width)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, width)."""
        projected: Tensor = self.projection(features)
        return projected


class CxrClipTowers(nn.Module):
    """Both towers under the names of CXR-CLIP."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        width, sizes = architecture["embed_dim"], architecture["sizes"]
        is_swin = architecture["vision"] == "swin"
        features = sizes["embed_dim"] * 2 ** (len(sizes["depths"]) - 1) if is_swin else 2048
        self.image_encoder = _Image(architecture)
        with torch.device("meta"):
            self.text_encoder = _Text(architecture)
            self.image_projection = _Projection(features, width)
            self.text_projection = _Projection(architecture["text"]["hidden_size"], width)
            self.logit_scale = nn.Parameter(torch.empty(()))


class CxrClipModel(VisionLanguageModel):
    """CXR-CLIP."""

    def __init__(
        self,
        towers: CxrClipTowers,
        *,
        tokenizer: Tokenize,
        preprocess: Preprocess,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual_encoder = nn.Sequential(towers.image_encoder, towers.image_projection)
        self.text_encoder = nn.ModuleList([towers.text_encoder, towers.text_projection])
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = multiplier(towers.logit_scale)

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding

    def _patch_projection(self, block: int) -> Projection | None:
        if block < self.patch_blocks:
            return None
        parts: Any = self.visual_encoder
        tower, projection = parts
        if hasattr(tower, "resnet"):
            return lambda states: projection(states)
        return lambda states: projection(tower.image_encoder.layernorm(states))

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ids, mask = (tensor.to(self.device) for tensor in self.tokenizer(sentences))
        encoder, projection = self.text_encoder
        embedding: Tensor = projection(encoder(ids, mask))
        return embedding
