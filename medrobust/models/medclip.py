"""MedCLIP: chest x-rays, a Swin transformer or a ResNet-50 beside Bio_ClinicalBERT.

Source of layout, pooling and preprocessing: the code of RyanWangZf/MedCLIP (`medclip/`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from medrobust.exceptions import ConfigurationError
from medrobust.types import PixelBatch

from .base import LoadReport, VisionLanguageModel
from .hub import Wanted, either
from .loading import POSITION_IDS, load_strict, read_checkpoint
from .packaged import PackagedSource
from .patches import Projection
from .preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from .swin import SWIN_DROPS, SWIN_KEYS, swin
from .tokenizer import TextTokenizer, read_tokenizer

MEAN = 0.5862785803043838
STD = 0.27950088968644304
CONTEXT, LONG_CONTEXT = 77, 512
HIGHEST_SCALE = 4.6052
"""Upper bound of the logarithm of the logit scale, applied at every call of the original."""

DROPS = {
    **POSITION_IDS,
    **SWIN_DROPS,
    r".*text_(model|encoder)\.model\.pooler\..*": "the pooler of the BERT, which is not read",
}

Padding: TypeAlias = Literal["none", "context"]
Inputs: TypeAlias = Literal["own", "robustmedclip"]
Backbone: TypeAlias = Literal["swin", "resnet50"]


@dataclass
class MedClip(PackagedSource):
    """A checkpoint of MedCLIP with the vocabulary of Bio_ClinicalBERT beside it.

    The mean over the tokens of a sentence includes its padding, so that in the original an
    embedding depends on what else is in the batch. Here it does not: every sentence is as long as
    itself (`none`, equal to the original for one sentence at a time), or filled up to 77 tokens.

    Attributes:
        config: A name of `architectures.json`, or a JSON file.
        weights: File name of the weights.
        tokenizer_id: Repository of the vocabulary.
        padding: "none" or "context".
        inputs: "own": grey, padded to a square, statistics of MedCLIP, 77 tokens; "robustmedclip":
            in colour, cropped, statistics of CLIP, 512 tokens, as adapters of RobustMedCLIP saw it.
    """

    config: str = "medclip_vit"
    weights: str = "pytorch_model.bin"
    tokenizer_id: str = "emilyalsentzer/Bio_ClinicalBERT"
    padding: Padding = "none"
    inputs: Inputs = "own"

    def __post_init__(self) -> None:
        """Refuse words that do not exist."""
        for key, value, known in (
            ("padding", self.padding, Padding),
            ("inputs", self.inputs, Inputs),
        ):
            if value not in get_args(known):
                raise ConfigurationError(f"model.{key}={value!r} is none of {get_args(known)}.")

    def wanted(self) -> list[Wanted]:
        """Return vocabulary and weights."""
        return [Wanted(("vocab.txt",), self.tokenizer_id), Wanted(either(self.weights))]

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        other = {} if self.inputs == "own" else {"inputs": self.inputs}
        return {**super().options(), "padding": self.padding, **other}

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
        """
        files, architecture, size = self.opened()
        words, weights = files.values()
        towers = build_towers(architecture)
        loaded = load_strict(
            towers, read_checkpoint(weights), file=weights.name, renames=SWIN_KEYS, drops=DROPS
        )
        own = self.inputs == "own"
        context = CONTEXT if own else LONG_CONTEXT
        return MedClipModel(
            towers,
            tokenizer=read_tokenizer(
                words,
                context,
                "[PAD]",
                architecture["text"]["vocab_size"],
                fixed=self.padding == "context",
            ),
            preprocess=Preprocess(size, (MEAN,) * 3, (STD,) * 3, fit="pad", grey=True)
            if own
            else Preprocess(size, CLIP_MEAN, CLIP_STD),
            report=self.report(files, loaded),
        ).eval()


class _Vision(nn.Module):
    """Mean of the tokens of a Swin transformer, or the pooled map of a ResNet, projected."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone: Backbone = architecture["vision"]
        width, sizes = architecture["embed_dim"], architecture["sizes"]
        if self.backbone == "swin":
            self.model = swin(sizes)
            features = sizes["embed_dim"] * 2 ** (len(sizes["depths"]) - 1)
            self.projection_head = nn.Linear(features, width, bias=False)
        else:
            self.model = resnet(sizes["layers"], width)

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return (N, width)."""
        if self.backbone == "swin":
            tokens = self.model(pixel_values=pixels).last_hidden_state
            embedding: Tensor = self.projection_head(tokens.mean(dim=1))
        else:
            embedding = self.model(pixels)
        return embedding


class _Text(nn.Module):
    """Mean of the first, second and last layer of a BERT over all tokens, projected."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(**architecture["text"])
        self.model = BertModel(config, add_pooling_layer=False)
        self.projection_head = nn.Linear(config.hidden_size, architecture["embed_dim"], bias=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (K, width)."""
        states = self.model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        chosen = torch.stack([states[1], states[2], states[-1]])
        embedding: Tensor = self.projection_head(chosen.mean(dim=(0, 2)))
        return embedding


class MedClipTowers(nn.Module):
    """Both towers under the names of MedCLIP."""

    def __init__(self, vision: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.vision_model = vision
        self.text_model = text
        self.logit_scale = nn.Parameter(torch.empty(()))


def build_towers(architecture: Mapping[str, Any]) -> MedClipTowers:
    """Build both towers, to be filled by a checkpoint.

    Args:
        architecture: `vision` ("swin" or "resnet50") with its `sizes`, `text` (of the BERT),
            `embed_dim`, `image_size`.
    """
    vision = _Vision(architecture)
    with torch.device("meta"):
        text = _Text(architecture)
    return MedClipTowers(vision, text)


def resnet(layers: Sequence[int], outputs: int | None) -> nn.Module:
    """Build torchvision's ResNet of bottlenecks.

    Args:
        layers: Blocks of each stage.
        outputs: Of a last linear map without bias; None: the pooled map itself.
    """
    from torchvision.models.resnet import Bottleneck, ResNet

    built: nn.Module = ResNet(Bottleneck, list(layers))
    pooled = built.fc.in_features  # type: ignore[union-attr]  # a Linear
    built.fc = nn.Identity() if outputs is None else nn.Linear(pooled, outputs, bias=False)  # type: ignore[arg-type]
    return built


class MedClipModel(VisionLanguageModel):
    """MedCLIP; its pixels are grey in three equal channels."""

    def __init__(
        self,
        towers: MedClipTowers,
        *,
        tokenizer: TextTokenizer,
        preprocess: Preprocess,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual_encoder = towers.vision_model
        self.text_encoder = towers.text_model
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = float(towers.logit_scale.detach().clamp(0, HIGHEST_SCALE).exp())

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding

    def _patch_projection(self, block: int) -> Projection | None:
        if block < self.patch_blocks:
            return None
        tower: Any = self.visual_encoder
        if tower.backbone == "resnet50":
            return lambda states: tower.model.fc(states)
        return lambda states: tower.projection_head(tower.model.layernorm(states))

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        # One at a time: the length of its neighbours would change the mean over the tokens.
        each = [self.tokenizer([sentence]) for sentence in sentences]
        return torch.cat(
            [self.text_encoder(ids.to(self.device), mask.to(self.device)) for ids, mask in each]
        )
