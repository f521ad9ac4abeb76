"""SigLIP in the layout of transformers, MedSigLIP for one."""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medrobust.exceptions import MissingDependencyError
from medrobust.types import PixelBatch

from .base import LoadReport, VisionLanguageModel
from .cut_texts import note_cut_texts
from .hub import HubSource, Names
from .loading import POSITION_IDS, load_strict, multiplier, read_checkpoint
from .patches import Projection
from .preprocess import Preprocess
from .preprocessor import read_preprocess
from .settings import built, check_towers, read_settings_of
from .tokenizer import Tokenize, check_size, check_special

UNKNOWN, END = "<unk>", "</s>"
SPACE = "▁"
SPECIAL = re.compile(rf"\s*({UNKNOWN}|{END})\s*")
"""Tokens that a sentence may write out; the blanks around them go."""


@dataclass
class TransformersSiglip(HubSource):
    """A checkpoint of `transformers.SiglipModel`, from the hub or a folder with the same files.

    The bias of its logits is the same for every class and cancels: the softmax and the difference
    of present and absent texts do not depend on it.
    """

    FILES: ClassVar[tuple[Names, ...]] = (
        ("config.json",),
        ("preprocessor_config.json",),
        ("spiece.model",),
        ("model.safetensors", "pytorch_model.bin"),
    )
    INTERPOLATES: ClassVar[bool] = True

    def reworded(self, sentences: Sequence[str]) -> dict[str, str]:
        """Return the sentences with marks of the tokenizer itself, which 0.1 took for letters."""
        return {one: one for one in sentences if SPECIAL.search(one) or SPACE in one}

    def load(self) -> VisionLanguageModel:
        """Build the model and load its weights strictly, on the CPU, in eval mode.

        Raises:
            WeightsNotFoundError: If files are missing.
            WeightsMismatchError: If a key is missing, left over or of another shape.
            MissingDependencyError: If sentencepiece is not installed.
        """
        from transformers import SiglipConfig, SiglipModel

        files = self.files()
        settings, pictures, words, weights = files.values()
        values = read_settings_of(settings, self.name, "siglip")
        check_towers(values, settings.name)
        config = built(lambda: SiglipConfig.from_dict(values), settings.name)
        preprocess = read_preprocess(pictures, config.vision_config.image_size)
        self.check_resolution(preprocess.size)
        tokenizer = SiglipTokenizer(words, config.text_config.max_position_embeddings)
        tokenizer.check(config.text_config.vocab_size)
        with torch.device("meta"):
            siglip = built(lambda: SiglipModel(config), settings.name)
        loaded = load_strict(
            siglip, read_checkpoint(weights), file=weights.name, drops=POSITION_IDS
        )
        return SiglipDualEncoder(
            siglip,
            tokenizer=tokenizer,
            preprocess=preprocess.at(self.image_size, config.vision_config.patch_size),
            report=self.report(files, loaded),
        ).eval()


class SiglipTokenizer:
    """The unigram pieces of SigLIP, over lower-case text without punctuation.

    Every sentence is filled up to the context with the end mark: the text tower attends to all of
    it, and reads its embedding at the last place.

    Args:
        path: `spiece.model`.
        context: Tokens of every sentence.

    Raises:
        MissingDependencyError: If sentencepiece is not installed.
    """

    def __init__(self, path: Path, context: int) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise MissingDependencyError(
                f"{path.name} is read by sentencepiece, which is not installed: "
                f"pip install 'medrobust[siglip]'."
            ) from error
        self._pieces = SentencePieceProcessor(model_file=str(path))
        # Encoded behind a known start, because sentencepiece strips a space at the very start.
        self._start = len(self._pieces.encode(UNKNOWN))
        self._context = context
        self._file = path.name

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask (all ones: padding counts), int64 (K, context)."""
        ids = torch.tensor([self._one(sentence) for sentence in sentences])
        return ids, torch.ones_like(ids)

    def check(self, rows: int) -> None:
        """Compare the pieces with the embedding of the text tower, of so many rows.

        Raises:
            WeightsMismatchError: If they are not those of the model.
        """
        size = self._pieces.get_piece_size()
        check_size(size, size, rows, self._file)
        pieces = {self._pieces.id_to_piece(index): index for index in range(size)}
        check_special(pieces, {END: 1, UNKNOWN: None}, self._file)

    def _one(self, sentence: str) -> list[int]:
        end: int = self._pieces.eos_id()
        # Text and special tokens in turn: the pattern's group keeps what it splits at.
        parts = SPECIAL.split(SPACE + sentence.replace(SPACE, " "))
        if len(parts) > 1 and parts[0] == SPACE:
            parts[0] = ""
        pieces: list[int] = []
        for number, part in enumerate(parts):
            pieces += [self._pieces.piece_to_id(part)] if number % 2 else self._plain(part)
        note_cut_texts([len(pieces) + 1], self._context)
        kept = pieces[: self._context - 1]
        return kept + [end] * (self._context - len(kept))

    def _plain(self, text: str) -> list[int]:
        if not text:
            return []
        plain = text.lower().translate(str.maketrans("", "", string.punctuation))
        plain = re.sub(r"\s+", " ", plain).strip()
        pieces: list[int] = self._pieces.encode(UNKNOWN + plain)[self._start :]
        return pieces


class _Pooled(nn.Module):
    """A tower of SigLIP, which projects within its own pooling."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return (N, D)."""
        embedding: Tensor = self.model(**inputs).pooler_output
        return embedding


class SiglipDualEncoder(VisionLanguageModel):
    """SigLIP."""

    def __init__(
        self, siglip: Any, *, tokenizer: Tokenize, preprocess: Preprocess, report: LoadReport
    ) -> None:
        super().__init__()
        self.visual_encoder = _Pooled(siglip.vision_model)
        self.text_encoder = _Pooled(siglip.text_model)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.report = report
        self.interpolated = preprocess.size != siglip.config.vision_config.image_size
        self.logit_scale = multiplier(siglip.logit_scale)

    def _image_embedding(self, pixels: PixelBatch) -> Tensor:
        embedding: Tensor = self.visual_encoder(
            pixel_values=pixels, interpolate_pos_encoding=self.interpolated
        )
        return embedding

    def _patch_projection(self, block: int) -> Projection | None:
        tower = self.visual_encoder.model
        if not tower.use_head:
            return None
        return lambda states: _pooled_alone(tower.head, tower.post_layernorm(states))

    def _text_embedding(self, sentences: Sequence[str]) -> Tensor:
        ids, _ = self.tokenizer(sentences)
        embedding: Tensor = self.text_encoder(input_ids=ids.to(self.device))
        return embedding


def _pooled_alone(head: Any, states: Tensor) -> Tensor:
    """Let the attention pool see each place alone: (N, P, D) -> (N, P, D).

    Of one token it takes all, whatever its probe asks for.
    """
    alone: Tensor = head(states.flatten(0, 1)[:, None])
    return alone.view_as(states)
