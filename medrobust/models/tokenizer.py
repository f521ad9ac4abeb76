"""Tokenizers of published models, read from their own files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TextTokenizer:
    """Sentences to token ids: truncated to the context, padded to the longest of the batch.

    Args:
        backend: Adds its own start and end tokens.
        context: Most tokens a sentence may have.
        padding: Token that fills shorter sentences.
    """

    def __init__(self, backend: "Tokenizer", context: int, padding: str) -> None:
        backend.enable_truncation(max_length=context)
        backend.enable_padding(pad_id=backend.token_to_id(padding), pad_token=padding)
        self._backend = backend

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask (1 for a token, 0 for padding), int64 (K, length)."""
        encodings = self._backend.encode_batch(list(sentences))
        ids = torch.tensor([encoding.ids for encoding in encodings])
        mask = torch.tensor([encoding.attention_mask for encoding in encodings])
        return ids, mask


def read_tokenizer(path: Path, context: int, padding: str) -> TextTokenizer:
    """Read a `tokenizer.json`, or a `vocab.txt` of an uncased BERT."""
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    if path.suffix == ".txt":
        return TextTokenizer(BertWordPieceTokenizer(str(path)), context, padding)
    return TextTokenizer(Tokenizer.from_file(str(path)), context, padding)
