"""RobustMedCLIP: low-rank adapters on BiomedCLIP or on the ResNet of MedCLIP, merged when loaded.

Source of the layout: the code of BioMedIA-MBZUAI/RobustMedCLIP (`utils.py`, `models.py`). Only
`model.pth` is complete: `lora_weights.safetensors` lacks the adapters of the keys, which are in use
and were never zero.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from medrobust.exceptions import ConfigurationError, WeightsMismatchError
from medrobust.models import medclip

from .architectures import packaged
from .base import LoadReport, VisionLanguageModel
from .hub import HubSource, Wanted, either
from .loading import POSITION_IDS, Loaded, Rename, load_strict, read_checkpoint
from .open_clip import OpenClipModel, bert_tokenizer, reworded_text
from .open_clip_towers import build_towers
from .preprocess import CLIP_MEAN, CLIP_STD, Preprocess
from .tokenizer import read_tokenizer

Vision: TypeAlias = Literal["vit", "resnet"]

ADAPTER = re.compile(r"(?P<layer>.*)\.linear_(?P<side>[ab])(_(?P<part>[qkv]))?\.weight")
TWICE = r"lora_resnet\.w_[AB]s\.\d+\.weight"
WORDS = {
    "vit": "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    "resnet": "emilyalsentzer/Bio_ClinicalBERT",
}
UNREPORTED = LoadReport(source="", files={}, used=0)
CONTEXT = 256
"""Tokens of a sentence for BiomedCLIP."""

NAMES: dict[Vision, tuple[Rename, ...]] = {
    "vit": (
        Rename(r"^visual\.", "lora_vit.lora_vit."),
        Rename(r"^text\.", "text_encoder."),
        Rename(r"attn\.qkv\.", "attn.qkv.qkv."),
    ),
    "resnet": (
        Rename(r"^vision_model\.", "lora_resnet.lora_medclip."),
        Rename(r"^text_model\.", "text_encoder."),
        Rename(r"\.(conv1|layer\d\.\d+\.conv[123])\.weight$", r".\1.conv.weight"),
    ),
}
"""From the keys of the adapted model to those of `model.pth`."""


@dataclass
class RobustMedClip(HubSource):
    """A `model.pth` of RobustMedCLIP with the vocabulary of its text tower beside it.

    Images are prepared as they were when it was tuned: with the statistics of CLIP for both
    backbones. Sentences of the ResNet's text tower are not padded (see `medclip.MedClip`).

    Attributes:
        vision: "vit" (BiomedCLIP) or "resnet" (MedCLIP's ResNet-50).
        config: A name of `architectures.json`, or a JSON file; None: of the published backbone.
        rank: Of the adapters; another rank in the file is refused.
        weights: File name of the weights.
        logit_scale: Multiplier of the cosine, which the file does not hold. 100 is the bound of
            both backbones; it changes probabilities, but no ranks and no predictions.
    """

    vision: Vision = "vit"
    config: str | None = None
    rank: int = 16
    weights: str = "model.pth"
    logit_scale: float = 100.0

    def __post_init__(self) -> None:
        """Refuse a backbone that does not exist."""
        if self.vision not in get_args(Vision):
            raise ConfigurationError(f"model.vision={self.vision!r} is none of {get_args(Vision)}.")

    def wanted(self) -> list[Wanted]:
        """Return vocabulary and weights."""
        return [Wanted(("vocab.txt",), WORDS[self.vision]), Wanted(either(self.weights))]

    def options(self) -> dict[str, Any]:
        """Return what decides features and is in no file of the publisher."""
        return {"config": self._architecture(), "vision": self.vision, "scale": self.logit_scale}

    def _architecture(self) -> dict[str, Any]:
        return packaged(
            self.config or {"vit": "biomedclip", "resnet": "medclip_resnet50"}[self.vision]
        )

    def reworded(self, sentences: Sequence[str]) -> dict[str, str]:
        """Return sentence -> what is read, for those that open_clip cleans and 0.1 did not."""
        if self.vision == "resnet":
            return {}
        return reworded_text(self._architecture(), sentences, self.weights)

    def load(self) -> VisionLanguageModel:
        """Build the model, merge the adapters, and load strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape, an adapter has
                another rank, or the file holds adapters alone.
        """
        files = self.files()
        words, weights = files.values()
        merged = merge(read_checkpoint(weights), self.vision, self.rank, file=weights.name)
        merged.state["logit_scale"] = torch.tensor(self.logit_scale).log()
        build = self._vit if self.vision == "vit" else self._resnet
        model, loaded = build(merged.state, words)
        used = merged.count - len(merged.dropped) - len(loaded.dropped)
        renamed, dropped = merged.added | loaded.renamed, merged.dropped | loaded.dropped
        model.report = self.report(files, Loaded(used, renamed, dropped))
        return model.eval()

    def _vit(self, state: dict[str, Tensor], words: Path) -> tuple[VisionLanguageModel, Loaded]:
        architecture = self._architecture()
        towers, renames = build_towers(architecture, self.weights)
        preprocess = self._preprocess(architecture["vision_cfg"]["image_size"])
        loaded = load_strict(
            towers, state, file=self.weights, renames=(*renames, *NAMES["vit"]), drops=POSITION_IDS
        )
        text = architecture["text_cfg"] | {"context_length": CONTEXT}
        tokenize = bert_tokenizer(words, text, self.weights)
        model = OpenClipModel(towers, tokenize=tokenize, preprocess=preprocess, report=UNREPORTED)
        return model, loaded

    def _resnet(self, state: dict[str, Tensor], words: Path) -> tuple[VisionLanguageModel, Loaded]:
        architecture = self._architecture()
        towers = medclip.build_towers(architecture)
        preprocess = self._preprocess(architecture["image_size"])
        loaded = load_strict(
            towers, state, file=self.weights, renames=NAMES["resnet"], drops=medclip.DROPS
        )
        rows = architecture["text"]["vocab_size"]
        tokenizer = read_tokenizer(words, medclip.LONG_CONTEXT, "[PAD]", rows)
        model = medclip.MedClipModel(
            towers, tokenizer=tokenizer, preprocess=preprocess, report=UNREPORTED
        )
        return model, loaded

    def _preprocess(self, size: int) -> Preprocess:
        self.check_resolution(size)
        return Preprocess(size, CLIP_MEAN, CLIP_STD)


@dataclass(slots=True)
class Merged:
    """A checkpoint with its adapters added to the weights.

    Attributes:
        state: Under the names of the checkpoint, without the adapters.
        count: Keys of the checkpoint.
        added: Key of an adapter -> where it went.
        dropped: Key -> reason.
    """

    state: dict[str, Tensor]
    count: int
    added: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


def merge(state: Mapping[str, Tensor], vision: Vision, rank: int, *, file: str) -> Merged:
    """Add every adapter to its weight: `W + B A` (the published scaling is 1).

    A convolution gets B A at the centre of its kernel, which for the strides and paddings of a
    ResNet at even sizes is what the original computes beside it: a map of every pixel, of which a
    resize to the nearest keeps those under the centres.

    Args:
        state: Content of `model.pth`.
        vision: Backbone.
        rank: That the adapters must have.
        file: Name, for messages.

    Raises:
        WeightsMismatchError: If an adapter is alone, of another rank, or differs from its copy, or
            the file holds adapters alone.
    """
    if any(key.startswith(("w_a_", "w_b_")) for key in state):
        raise WeightsMismatchError(
            f"{file} holds adapters alone, without those of the keys, which the model uses. "
            f"Take the model.pth beside it."
        )
    merged = Merged({}, len(state))
    adapters: dict[tuple[str, str], dict[str, str]] = {}
    for key, value in state.items():
        found = ADAPTER.fullmatch(key)
        if re.fullmatch(TWICE, key):
            merged.dropped[key] = "the same adapter a second time"
        elif found is None:
            merged.state[key] = value
        else:
            pair = adapters.setdefault((found["layer"], found["part"] or ""), {})
            pair[found["side"]] = key
    for (layer, part), pair in adapters.items():
        base = f"{layer}.{'qkv' if vision == 'vit' else 'conv'}.weight"
        down, up = _pair(state, layer, part, base, file)
        merged.state[base] = _sum(merged.state[base].float(), down, up, part, rank, layer, file)
        merged.added |= dict.fromkeys(pair.values(), f"added to {base}")
    if vision == "resnet":
        _check_copies(state, file)
    return merged


def _pair(
    state: Mapping[str, Tensor], layer: str, part: str, base: str, file: str
) -> tuple[Tensor, Tensor]:
    """Return both matrices of an adapter, whose weight is there too."""
    end = f"_{part}.weight" if part else ".weight"
    keys = [f"{layer}.linear_{side}{end}" for side in "ab"]
    lacking = [key for key in (*keys, base) if key not in state]
    if lacking:
        raise WeightsMismatchError(
            f"{file} does not fit the model it was named for. Missing: {', '.join(lacking)}. "
            f"Nothing was loaded."
        )
    down, up = (state[key].float() for key in keys)
    return down, up


def _sum(
    weight: Tensor, down: Tensor, up: Tensor, part: str, rank: int, layer: str, file: str
) -> Tensor:
    rows = weight.shape[0] // 3 if part else weight.shape[0]
    if down.shape != (rank, weight.shape[1]) or up.shape != (rows, rank):
        name = f"{layer}.linear_a{part and '_'}{part}.weight"
        raise WeightsMismatchError(
            f"{file}: {name} {tuple(down.shape)} and {name.replace('linear_a', 'linear_b')} "
            f"{tuple(up.shape)} are not of rank {rank} for a weight {tuple(weight.shape)}. "
            f"Pass the rank of the file as model.rank=..."
        )
    weight = weight.clone()
    if part:
        weight.view(3, rows, -1)["qkv".index(part)] += up @ down
    else:
        weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2] += up @ down
    return weight


def _check_copies(state: Mapping[str, Tensor], file: str) -> None:
    """Compare the second copy of the adapters of a ResNet with the first, in their order."""
    for list_name, side in (("w_As", "a"), ("w_Bs", "b")):
        first = [key for key in state if key.endswith(f".linear_{side}.weight")]
        for number, key in enumerate(first):
            copy = f"lora_resnet.{list_name}.{number}.weight"
            if copy not in state or not torch.equal(state[key], state[copy]):
                raise WeightsMismatchError(f"{file}: {copy} is missing or differs from {key}.")
