"""BioViL and BioViL-T: chest x-rays, a ResNet-50 beside CXR-BERT.

Source of layout, pooling and preprocessing: the code of microsoft/hi-ml
(`hi-ml-multimodal/src/health_multimodal/`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.types import PixelBatch

from .base import LoadReport, VisionLanguageModel
from .hub import Wanted, either
from .loading import POSITION_IDS, load_strict, read_checkpoint
from .medclip import resnet
from .packaged import PackagedSource
from .patches import Projection
from .preprocess import Preprocess
from .tokenizer import Tokenize, read_tokenizer

CONTEXT = 512
LAST_STAGE = 4
ENDINGS = "!?."
"""Marks that the original takes from the end of a text."""

DROPS = {
    **POSITION_IDS,
    r"visual\.encoder\.encoder\.fc\..*": "the classes of ImageNet",
    r"visual\.encoder\.vit_pooler\..*": "compares with an earlier image, which is not given",
    r"text\.cls\.predictions\..*": "finds masked words, not for comparison",
}


@dataclass
class BioVil(PackagedSource):
    """The image and the text side of BioViL or BioViL-T, each a file of its own.

    Attributes:
        config: A name of `architectures.json`, or a JSON file.
        weights: File name of the image side.
        logit_scale: Multiplier of the cosine, which neither file holds.
    """

    config: str = "biovil_t"
    weights: str = "biovil_t_image_model_proj_size_128.pt"
    logit_scale: float = 100.0

    def __post_init__(self) -> None:
        """Refuse a multiplier that turns the order of classes."""
        if not self.logit_scale > 0:
            raise ConfigurationError(
                f"model.logit_scale={self.logit_scale} is no multiplier: it must be above 0."
            )

    def wanted(self) -> list[Wanted]:
        """Return vocabulary and weights of both sides."""
        return [
            Wanted(("vocab.txt", "tokenizer.json")),
            Wanted(("model.safetensors", "pytorch_model.bin")),
            Wanted(either(self.weights)),
        ]

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        return {**super().options(), "logit_scale": self.logit_scale}

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        files, architecture, size = self.opened()
        words, *weights = files.values()
        towers = _Towers(architecture)
        state = {
            f"{side}.{key}": value
            for side, path in zip(("text", "visual"), weights, strict=True)
            for key, value in read_checkpoint(path).items()
        }
        both = " and ".join(path.name for path in weights)
        loaded = load_strict(towers, state, file=both, drops=DROPS)
        return BioVilModel(
            towers,
            tokenizer=read_tokenizer(words, CONTEXT, "[PAD]", architecture["text"]["vocab_size"]),
            preprocess=Preprocess(
                size,
                (0.0,) * 3,
                (1.0,) * 3,
                interpolation="bilinear",
                resize=architecture["resize"],
                grey=True,
                stretch=True,
            ),
            logit_scale=self.logit_scale,
            report=self.report(files, loaded),
        ).eval()


class _Trunk(nn.Module):
    """A ResNet up to its last map; of BioViL-T narrowed, beside the mark of no earlier image."""

    def __init__(self, layers: Sequence[int], temporal: int) -> None:
        super().__init__()
        self.encoder = resnet(layers, None)
        if temporal:
            self.backbone_to_vit = nn.Conv2d(2048, temporal, 1, bias=False)
            self.missing_previous_emb = nn.Parameter(torch.empty(1, temporal, 1, 1))

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return the map (N, D, h, w)."""
        tower: Any = self.encoder
        states = tower.maxpool(tower.relu(tower.bn1(tower.conv1(pixels))))
        for stage in (tower.layer1, tower.layer2, tower.layer3, tower.layer4):
            states = stage(states)
        return self.fused(states)

    def fused(self, states: Tensor) -> Tensor:
        """Return what the projection takes of the map of the last stage."""
        if not hasattr(self, "backbone_to_vit"):
            return states
        narrow: Tensor = self.backbone_to_vit(states)
        return torch.cat([narrow, self.missing_previous_emb.expand_as(narrow)], dim=1)


class _Projector(nn.Module):
    """Two convolutions of single places."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(features, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, states: Tensor) -> Tensor:
        """Return the map (N, width, h, w)."""
        projected: Tensor = self.model(states)
        return projected


class _Image(nn.Module):
    """The mean of the projected places."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        temporal, width = architecture["temporal_width"], architecture["embed_dim"]
        self.encoder = _Trunk(architecture["sizes"]["layers"], temporal)
        self.projector = _Projector(2 * temporal or 2048, width)

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return (N, width)."""
        embedding: Tensor = self.projector(self.encoder(pixels)).mean(dim=(2, 3))
        return embedding

    def joint(self, states: Tensor) -> Tensor:
        """Project places of the last stage, (N, P, D) to (N, P, width)."""
        fused = self.encoder.fused(states.transpose(1, 2)[..., None])
        projected: Tensor = self.projector(fused)[..., 0].transpose(1, 2)
        return projected


class _TextHead(nn.Module):
    """What CXR-BERT makes of the class token, under the names of the original."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.dense_to_hidden = nn.Linear(features, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.dense_to_output = nn.Linear(width, width)

    def forward(self, first: Tensor) -> Tensor:
        """Return (K, width)."""
        hidden = functional.gelu(self.dense_to_hidden(first))
        projected: Tensor = self.dense_to_output(self.LayerNorm(hidden))
        return projected


class _Text(nn.Module):
    """CXR-BERT without its words."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(**architecture["text"])
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls_projection_head = _TextHead(config.hidden_size, architecture["embed_dim"])

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (K, width)."""
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        embedding: Tensor = self.cls_projection_head(states[:, 0])
        return embedding


class _Towers(nn.Module):
    """Both sides, each under the names of its file."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        with torch.device("meta"):
            self.visual = _Image(architecture)
            self.text = _Text(architecture)


class BioVilModel(VisionLanguageModel):
    """BioViL, or BioViL-T of one image without an earlier one."""

    def __init__(
        self,
        towers: _Towers,
        *,
        tokenizer: Tokenize,
        preprocess: Preprocess,
        logit_scale: float,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual_encoder = towers.visual
        self.text_encoder = towers.text
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = logit_scale

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding

    def _patch_projection(self, block: int) -> Projection | None:
        tower: Any = self.visual_encoder
        return tower.joint if block == LAST_STAGE else None

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ended = [sentence.rstrip(ENDINGS) for sentence in sentences]
        ids, mask = (tensor.to(self.device) for tensor in self.tokenizer(ended))
        embedding: Tensor = self.text_encoder(ids, mask)
        return embedding
