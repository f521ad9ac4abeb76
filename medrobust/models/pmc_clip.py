"""PMC-CLIP: figures of PubMed Central, CLIP's ResNet-50 beside PubMedBERT.

Sources: the code of WeixiongLin/PMC-CLIP (`src/pmc_clip/`), and of HealthX-Lab/BiomedCoOp
(`main.py`) for the parts published later. They differ in how the weights are read; each reading is
a named option, and equality is claimed for the one that is chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError
from medrobust.types import PixelBatch

from .base import LoadReport, VisionLanguageModel
from .hub import Wanted, either
from .loading import POSITION_IDS, load_strict, multiplier, read_checkpoint
from .open_clip_patches import resnet_projection
from .open_clip_towers import modified_resnet
from .packaged import PackagedSource
from .patches import Projection
from .preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from .tokenizer import Tokenize, read_tokenizer

CONTEXT = 77

UNUSED = {
    **POSITION_IDS,
    r"fusion_module\..*": "fuses image and text for masked words, not for comparison",
    r"img_special_token": "of the fusion",
    r"mlm_projection": "of the masked words",
    r"positional_embedding": "not read by the published forward pass",
    r"ln_final\..*": "not read by the published forward pass",
}
POOLER = {r"text_encoder\.pooler\..*": "the pooler of the BERT, which this reading does not use"}

Layout: TypeAlias = Literal["checkpoint", "parts"]
Pooling: TypeAlias = Literal["cls", "pooler"]


@dataclass
class PmcClip(PackagedSource):
    """A checkpoint of PMC-CLIP with the vocabulary of PubMedBERT beside it.

    Attributes:
        config: A name of `architectures.json`, or a JSON file.
        layout: "checkpoint" is the trainer's one file; "parts" are the three files published later
            (image encoder, text encoder, text projection).
        heads: Of the attention pool, which leave no trace in the weights: 32 in the training code,
            8 where the parts are used.
        text_pooling: "cls" is the state of the class token, padding attended to (training code);
            "pooler" is the BERT's pooler, padding masked (where the parts are used).
        log_logit_scale: Of the parts, which do not hold it.
        tokenizer_id: Repository of the vocabulary.
    """

    config: str = "pmc_clip"
    layout: Layout = "checkpoint"
    heads: int = 32
    text_pooling: Pooling = "cls"
    log_logit_scale: float = 4.4292
    tokenizer_id: str = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext"

    PARTS: ClassVar[dict[str, str]] = {
        "text_projection_layer.pth": "text_projection",
        "text_encoder.pth": "text_encoder.",
        "image_encoder(resnet50).pth": "visual.",
    }
    """File -> where its tensors belong."""

    def __post_init__(self) -> None:
        """Refuse choices that do not exist."""
        for key, known in (("layout", Layout), ("text_pooling", Pooling)):
            if getattr(self, key) not in get_args(known):
                raise ConfigurationError(
                    f"model.{key}={getattr(self, key)!r} is none of {get_args(known)}."
                )

    def wanted(self) -> list[Wanted]:
        """Return vocabulary and weights."""
        weights = ("checkpoint.pt",) if self.layout == "checkpoint" else tuple(self.PARTS)
        return [
            Wanted(("vocab.txt",), self.tokenizer_id),
            *(Wanted(either(name)) for name in weights),
        ]

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        return {
            **super().options(),
            "layout": self.layout,
            "heads": self.heads,
            "text_pooling": self.text_pooling,
            "log_logit_scale": self.log_logit_scale if self.layout == "parts" else None,
        }

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        files, architecture, size = self.opened()
        words, *weights = files.values()
        pooled = self.text_pooling == "pooler"
        towers = _Towers(architecture, heads=self.heads, pooler=pooled)
        loaded = load_strict(
            towers,
            self._state(weights),
            file=weights[-1].name if self.layout == "checkpoint" else ", ".join(self.PARTS),
            drops=UNUSED if pooled else UNUSED | POOLER,
        )
        return PmcClipModel(
            towers,
            pooler=pooled,
            tokenizer=read_tokenizer(
                words, CONTEXT, "[PAD]", architecture["text"]["vocab_size"], fixed=True
            ),
            preprocess=Preprocess(size, CLIP_MEAN, CLIP_STD),
            report=self.report(files, loaded),
        ).eval()

    def _state(self, weights: Sequence[Path]) -> dict[str, Tensor]:
        if self.layout == "checkpoint":
            return read_checkpoint(weights[0])
        state = {"logit_scale": torch.tensor(self.log_logit_scale)}
        for path in weights:
            prefix = next(p for name, p in self.PARTS.items() if path.name in either(name))
            state |= {prefix + key: value for key, value in read_checkpoint(path).items()}
        return state


class _Towers(nn.Module):
    """Both towers under the names of PMC-CLIP."""

    def __init__(self, architecture: Mapping[str, Any], *, heads: int, pooler: bool) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        width = architecture["embed_dim"]
        with torch.device("meta"):
            self.visual = modified_resnet(architecture["vision_cfg"], width, heads=heads)
            config = BertConfig(**architecture["text"])
            self.text_encoder = BertModel(config, add_pooling_layer=pooler)
            self.text_projection = nn.Parameter(torch.empty(config.hidden_size, width))
            self.logit_scale = nn.Parameter(torch.empty(()))


class _Text(nn.Module):
    """A BERT and the projection of its class token."""

    def __init__(self, bert: nn.Module, projection: nn.Parameter, *, pooler: bool) -> None:
        super().__init__()
        self.bert = bert
        self.projection = projection
        self.pooler = pooler

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (K, width)."""
        if self.pooler:
            pooled = self.bert(input_ids=ids, attention_mask=mask).pooler_output
        else:
            # The original gives no mask: a sentence attends to its padding.
            everything = torch.ones_like(mask)
            pooled = self.bert(input_ids=ids, attention_mask=everything).last_hidden_state[:, 0]
        embedding: Tensor = pooled @ self.projection
        return embedding


class PmcClipModel(VisionLanguageModel):
    """PMC-CLIP for comparison of image and text, without its fusion."""

    def __init__(
        self,
        towers: _Towers,
        *,
        pooler: bool,
        tokenizer: Tokenize,
        preprocess: Preprocess,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual_encoder = towers.visual
        self.text_encoder = _Text(towers.text_encoder, towers.text_projection, pooler=pooler)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = multiplier(towers.logit_scale)

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding

    def _patch_projection(self, block: int) -> Projection | None:
        return resnet_projection(self.visual_encoder, block)

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ids, mask = (tensor.to(self.device) for tensor in self.tokenizer(sentences))
        embedding: Tensor = self.text_encoder(ids, mask)
        return embedding
