"""Tokenizers of published models, read from their own files or from open_clip's package."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from medrobust.base.wording import agreeing
from medrobust.exceptions import WeightsMismatchError

from .cut_texts import are_counted, note_cut_texts
from .settings import read_table
from .text_cleaning import OpenClipText
from .tokenizer_checks import check_bert, check_clip, read_backend, read_text

if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

START, END = "<|startoftext|>", "<|endoftext|>"
"""Marks of CLIP as transformers writes them."""

BERT_MARKS = {"[PAD]": 0, "[UNK]": None, "[CLS]": None, "[SEP]": None}
"""Special tokens of a BERT; every published one pads with 0, which its embedding leaves out."""


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
        self._context = context

    def vocabulary(self) -> dict[str, int]:
        """Return token -> id."""
        return dict(self._backend.get_vocab(with_added_tokens=True))

    def id_of(self, token: str) -> int:
        """Return the id of a token of the vocabulary."""
        return self.vocabulary()[token]

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask (1 for a token, 0 for padding), int64 (K, length)."""
        encodings = self._backend.encode_batch(list(sentences))
        # what was cut off stands in pieces beside it
        note_cut_texts([self._context + len(one.overflowing) for one in encodings], self._context)
        ids = torch.tensor([encoding.ids for encoding in encodings])
        mask = torch.tensor([encoding.attention_mask for encoding in encodings])
        return ids, mask


class ClipTokenizer:
    """The byte-pair encoding of CLIP, from the vocabulary that open_clip brings along.

    Args:
        context: Most tokens a sentence may have.
        rows: Of the embedding that the ids are looked up in.
        clean: What is done to a sentence before.

    Raises:
        WeightsMismatchError: If the embedding is one for another vocabulary.
    """

    def __init__(self, context: int, rows: int, clean: str = "lower") -> None:
        self._backend = _simple_tokenizer(context, clean)
        ids = self._backend.vocab_size
        check_size(ids, ids, rows, "the vocabulary of CLIP, which the configuration asks for,")

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids, padded with 0 to the context, and mask, int64 (K, context)."""
        ids: Tensor = self._backend(list(sentences))
        if are_counted():
            marks = 2
            clean, encode = self._backend.clean_fn, self._backend.encode
            lengths = [len(encode(clean(sentence))) + marks for sentence in sentences]
            note_cut_texts(lengths, self._backend.context_length)
        return ids, (ids != 0).long()


class OpenClipBertTokenizer:
    """A BERT's vocabulary as open_clip uses it: over cleaned sentences, the mask from the ids.

    Args:
        tokenize: Over the vocabulary.
        text: How sentences are treated.
    """

    def __init__(self, tokenize: TextTokenizer, text: OpenClipText) -> None:
        self._tokenize = tokenize
        self._text = text
        self._separator = tokenize.id_of("[SEP]")

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask (0 for every padding token, wherever it is), int64 (K, length)."""
        ids, _ = self._tokenize([self._text(sentence) for sentence in sentences])
        if self._text.strip_sep:
            ids = ids.masked_fill(ids == self._separator, 0)
        return ids, (ids != 0).long()


@cache
def _simple_tokenizer(context: int, clean: str) -> "SimpleTokenizer":
    """Make open_clip's tokenizer once: it reads 48,894 merges, and nothing changes it."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=context, clean=clean)


@cache
def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return token -> id and the merges of CLIP, from open_clip, with the marks of transformers."""
    from open_clip.tokenizer import SimpleTokenizer

    marks = {"<start_of_text>": START, "<end_of_text>": END}
    published = SimpleTokenizer()
    ids = {marks.get(token, token): index for token, index in published.encoder.items()}
    return ids, list(published.bpe_ranks)


def transformers_normalizer() -> "Normalizer":
    """Return what CLIP's tokenizer in transformers does to a sentence, which is less than ftfy."""
    from tokenizers import Regex, normalizers

    blank = normalizers.Replace(Regex(r"\s+"), " ")
    return normalizers.Sequence([normalizers.NFC(), blank, normalizers.Lowercase()])


def transformers_clip_tokenizer(context: int) -> TextTokenizer:
    """Build CLIP's tokenizer as transformers does from `vocab.json` and `merges.txt`."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    ids, merges = clip_vocabulary()
    model = models.BPE(ids, merges, unk_token=END, end_of_word_suffix="</w>")
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    backend = Tokenizer(model)
    backend.normalizer = transformers_normalizer()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    backend.post_processor = processors.RobertaProcessing(
        (END, ids[END]), (START, ids[START]), trim_offsets=False, add_prefix_space=False
    )
    backend.add_special_tokens([START, END])
    return TextTokenizer(backend, context, END)


def altered_without_ftfy(sentences: Sequence[str]) -> dict[str, str]:
    """Return sentences that CLIP's tokenizers in open_clip and transformers read differently.

    Returns:
        Sentence -> as the one in transformers reads it.
    """
    normalizer, cleaned = transformers_normalizer(), OpenClipText("lower", False, False)
    marks = (START, END, "<start_of_text>", "<end_of_text>")
    read = {sentence: normalizer.normalize_str(sentence).strip() for sentence in sentences}
    return {
        sentence: plain
        for sentence, plain in read.items()
        if plain != cleaned(sentence) or any(mark in sentence.lower() for mark in marks)
    }


def read_clip_tokenizer(path: Path, context: int, rows: int, end: int) -> TextTokenizer:
    """Read CLIP's tokenizer in the layout of transformers: `tokenizer.json` or `vocab.json`.

    A `vocab.json` has to be the vocabulary of CLIP, whose merges open_clip brings along.

    Args:
        path: The file.
        context: Most tokens a sentence may have.
        rows: Of the embedding that the ids are looked up in.
        end: `eos_token_id` of the configuration; 2 stands for the largest id, in older ones.

    Raises:
        WeightsMismatchError: If the vocabulary is not that of the model.
    """
    whole = path.name == "tokenizer.json"
    read_text(path)
    backend, vocabulary = _read(path, END, rows) if whole else (None, read_table(path))
    published = clip_vocabulary()[0]
    if vocabulary != published and (not whole or len(vocabulary) == len(published)):
        raise WeightsMismatchError(
            f"{path.name} is not the vocabulary of CLIP. Put the one that was published with the "
            f"weights in its place{'' if whole else ', or a tokenizer.json beside it'}."
        )
    check_size(len(vocabulary), len(vocabulary), rows, path.name)
    check_special(vocabulary, {START: None, END: rows - 1 if end == 2 else end}, path.name)
    if backend is None:
        return transformers_clip_tokenizer(context)
    known = _published_ids if vocabulary == published else None
    check_clip(backend, (START, END), known, path.name)
    return TextTokenizer(backend, context, END)


@cache
def _published_ids(texts: tuple[str, ...]) -> list[list[int]]:
    ids, mask = transformers_clip_tokenizer(77)(texts)
    return [row[kept].tolist() for row, kept in zip(ids, mask.bool(), strict=True)]


def read_tokenizer(
    path: Path, context: int, padding: str, rows: int | None = None, *, fixed: bool = False
) -> TextTokenizer:
    """Read a `tokenizer.json`, or the `vocab.txt` of a BERT, whose sentences become lower case.

    Args:
        path: The file.
        context: Most tokens a sentence may have.
        padding: Token that fills shorter sentences.
        rows: Of the embedding that the ids are looked up in; None: of a file of this package.
        fixed: As of `TextTokenizer`.

    Raises:
        WeightsMismatchError: If the vocabulary is not that of the model.
    """
    backend, _ = _read(path, padding, rows)
    return TextTokenizer(backend, context, padding, fixed=fixed)


def _read(path: Path, padding: str, rows: int | None) -> "tuple[Tokenizer, dict[str, int]]":
    """Return the tokenizer, without truncation and padding, and its tokens with their ids."""
    from tokenizers import BertWordPieceTokenizer, models

    if path.suffix == ".txt":
        read_text(path)
    backend = None if path.suffix == ".txt" else read_backend(path)
    vocabulary: dict[str, int] = (
        models.WordPiece.read_file(str(path))
        if backend is None
        else backend.get_vocab(with_added_tokens=True)
    )
    if rows is not None:
        check_size(len(vocabulary), max(vocabulary.values(), default=-1) + 1, rows, path.name)
    check_special(vocabulary, BERT_MARKS if padding == "[PAD]" else {padding: None}, path.name)
    backend = backend or BertWordPieceTokenizer(vocabulary, lowercase=True)
    if padding == "[PAD]":
        check_bert(backend, path.name)
    return backend, vocabulary


def check_size(entries: int, ids: int, rows: int, file: str) -> None:
    """Compare a vocabulary with the embedding that its ids are looked up in.

    Args:
        entries: Tokens of the vocabulary.
        ids: One more than the largest id.
        rows: Of the embedding.
        file: Name of the vocabulary, for the message.

    Raises:
        WeightsMismatchError: If it is longer or shorter, or has gaps.
    """
    if entries == ids == rows:
        return
    gaps = "" if entries == ids else f" with ids up to {ids - 1} (some double or left out)"
    tokens = f"{entries:,} {agreeing(entries, 'token')}{gaps}"
    raise WeightsMismatchError(
        f"{file} is the vocabulary of another model, or not whole: it has {tokens}, and the "
        f"embedding of the text tower {rows:,} rows. Put the vocabulary that was published with "
        f"the weights in its place."
    )


def check_special(
    vocabulary: Mapping[str, int], marks: Mapping[str, int | None], file: str
) -> None:
    """Look special tokens up.

    Args:
        vocabulary: Token -> id.
        marks: Token -> the id that it must have, or None for any.
        file: Name of the vocabulary, for the message.

    Raises:
        WeightsMismatchError: If one is missing or elsewhere.
    """
    lacking = [token for token in marks if token not in vocabulary]
    if lacking:
        raise WeightsMismatchError(
            f"{file} is no vocabulary of this model: it has no {', '.join(lacking)}. Put the one "
            f"that was published with the weights in its place."
        )
    for token, wanted in marks.items():
        if wanted is not None and vocabulary[token] != wanted:
            raise WeightsMismatchError(
                f"{file} is the vocabulary of another model: {token} has the id "
                f"{vocabulary[token]:,}, and this one needs it at {wanted:,}. Put the one that was "
                f"published with the weights in its place."
            )
