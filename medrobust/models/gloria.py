"""GLoRIA: chest x-rays, a ResNet-50 beside Bio_ClinicalBERT; its global comparison alone.

Source of layout, pooling, texts and preprocessing: the code of marshuang80/gloria
(`gloria/models/`, `configs/chexpert_pretrain_config.yaml`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.types import PixelBatch

from .area_preprocess import AreaPreprocess
from .base import ImagePreprocess, LoadReport, VisionLanguageModel
from .hub import Wanted, either
from .loading import POSITION_IDS, Rename, load_strict, read_checkpoint
from .medclip import resnet
from .packaged import PackagedSource
from .patches import Projection
from .pickles import tensors
from .tokenizer import Tokenize, read_tokenizer

CONTEXT = 97
LAYERS = 4
LAST_STAGE = 4
LOGIT_SCALE = 10.0
"""`temp3` of the published configuration, which multiplies the global cosine in training."""

TRAINER = (Rename("^", "gloria."),)
DROPS = {
    **POSITION_IDS,
    r"gloria\.text_encoder\.model\.pooler\..*": "the pooler of the BERT, which is not read",
    r"gloria\.img_encoder\.local_embedder\..*": "compares regions with words, not whole images",
}


@dataclass
class Gloria(PackagedSource):
    """A checkpoint of GLoRIA's trainer with the vocabulary of Bio_ClinicalBERT beside it.

    Attributes:
        config: A name of `architectures.json`, or a JSON file.
        weights: File name of the checkpoint.
        tokenizer_id: Repository of the vocabulary.
    """

    config: str = "gloria_resnet50"
    weights: str = "chexpert_resnet50.ckpt"
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
        towers = _Towers(architecture)
        # beside the tensors lie the settings of the trainer, which are not read
        converted = weights.suffix == ".safetensors"
        state = read_checkpoint(weights) if converted else tensors(weights, "state_dict")
        loaded = load_strict(towers, state, file=weights.name, renames=TRAINER, drops=DROPS)
        half = (0.5,) * 3
        return GloriaModel(
            towers,
            tokenizer=read_tokenizer(words, CONTEXT, "[PAD]", architecture["text"]["vocab_size"]),
            preprocess=AreaPreprocess(size, architecture["resize"], half, half),
            report=self.report(files, loaded),
        ).eval()


class _Image(nn.Module):
    """The pooled map of a ResNet over an enlarged image, projected."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = resnet(architecture["sizes"]["layers"], None)
        self.global_embedder = nn.Linear(2048, architecture["text"]["hidden_size"])
        self.side = architecture["enlarged"]

    def forward(self, pixels: PixelBatch) -> Tensor:
        """Return (N, width)."""
        sides = (self.side, self.side)
        large = functional.interpolate(pixels, sides, mode="bilinear", align_corners=True)
        embedding: Tensor = self.global_embedder(self.model(large))
        return embedding


class _Text(nn.Module):
    """The last layers of a BERT, added up over a sentence."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        self.model = BertModel(BertConfig(**architecture["text"]), add_pooling_layer=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (K, width).

        The original joins the pieces of words by their sums and fills up with zeros to 97 words,
        of which it takes the mean: the sum over all tokens, and a constant.
        """
        states = self.model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        layers = torch.stack(states[-LAYERS:]).sum(dim=0)
        return (layers * mask[..., None]).sum(dim=1) / CONTEXT


class _Towers(nn.Module):
    """Both towers under the names of GLoRIA."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        with torch.device("meta"):
            self.img_encoder = _Image(architecture)
            self.text_encoder = _Text(architecture)


class GloriaModel(VisionLanguageModel):
    """GLoRIA by its global features; the attention of words over regions is left out."""

    def __init__(
        self,
        towers: _Towers,
        *,
        tokenizer: Tokenize,
        preprocess: ImagePreprocess,
        report: LoadReport,
    ) -> None:
        super().__init__()
        self.visual_encoder = towers.img_encoder
        self.text_encoder = towers.text_encoder
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.logit_scale = LOGIT_SCALE

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(pixels)
        return embedding

    def _patch_projection(self, block: int) -> Projection | None:
        tower: Any = self.visual_encoder
        return (lambda states: tower.global_embedder(states)) if block == LAST_STAGE else None

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        cleaned = [plain_words(sentence) for sentence in sentences]
        ids, mask = (tensor.to(self.device) for tensor in self.tokenizer(cleaned))
        embedding: Tensor = self.text_encoder(ids, mask)
        return embedding


def plain_words(text: str) -> str:
    """Return the words of a report as GLoRIA's own code reads them.

    Small letters of ASCII without punctuation; sentences of one word are left out, as they are
    there. Where nothing would be left, those words are kept: all such texts would be one.

    Example:
        >>> plain_words("1. No acute disease. Stable. Heart: normal (size)")
        'no acute disease heart normal size'
        >>> plain_words("Pneumonia.")
        'pneumonia'
    """
    pieces = [
        sentence
        for point in re.split(r"[0-9]+\.", text.replace("\n", " "))
        for sentence in point.split(".")
    ]
    sentences = [re.findall(r"\w+", piece.replace("\ufffd\ufffd", " ").lower()) for piece in pieces]
    kept = [words for words in sentences if len(words) > 1] or sentences
    plain = (word.encode("ascii", "ignore").decode() for words in kept for word in words)
    return " ".join(word for word in plain if word)
