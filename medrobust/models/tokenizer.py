"""Tokenizers of published models, read from their own files or from open_clip's package."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Tokenize(Protocol):
    """Sentences to token ids and mask (1 for a token, 0 for padding), int64 (K, length)."""

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokenize."""
        ...


class TextTokenizer:
    """Sentences to token ids: truncated to the context, padded to the longest of the batch.

    Args:
        backend: Adds its own start and end tokens.
        context: Most tokens a sentence may have.
        padding: Token that fills shorter sentences.
        fixed: Pad every sentence to the whole context, for models that attend to the padding.
    """

    def __init__(
        self, backend: "Tokenizer", context: int, padding: str, *, fixed: bool = False
    ) -> None:
        backend.enable_truncation(max_length=context)
        backend.enable_padding(
            pad_id=backend.token_to_id(padding),
            pad_token=padding,
            length=context if fixed else None,
        )
        self._backend = backend

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask (1 for a token, 0 for padding), int64 (K, length)."""
        encodings = self._backend.encode_batch(list(sentences))
        ids = torch.tensor([encoding.ids for encoding in encodings])
        mask = torch.tensor([encoding.attention_mask for encoding in encodings])
        return ids, mask


class ClipTokenizer:
    """The byte-pair encoding of CLIP, from the vocabulary that open_clip brings along.

    Args:
        context: Most tokens a sentence may have.
    """

    def __init__(self, context: int) -> None:
        from open_clip.tokenizer import SimpleTokenizer

        self._backend = SimpleTokenizer(context_length=context)

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids, padded with 0 to the context, and mask, int64 (K, context)."""
        ids: Tensor = self._backend(list(sentences))
        return ids, (ids != 0).long()


def is_clip_vocabulary(vocabulary: dict[str, int]) -> bool:
    """Say whether token ids are those of CLIP, whose end marks transformers writes otherwise."""
    from open_clip.tokenizer import SimpleTokenizer

    marks = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    ids = SimpleTokenizer().encoder
    return vocabulary == {marks.get(token, token): index for token, index in ids.items()}


def read_tokenizer(path: Path, context: int, padding: str, *, fixed: bool = False) -> TextTokenizer:
    """Read a `tokenizer.json`, or the `vocab.txt` of a BERT, whose sentences become lower case."""
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    if path.suffix == ".txt":
        backend = BertWordPieceTokenizer(str(path), lowercase=True)
        return TextTokenizer(backend, context, padding, fixed=fixed)
    return TextTokenizer(Tokenizer.from_file(str(path)), context, padding, fixed=fixed)
