"""Texts that are longer than a context are counted, by every tokenizer."""

from typing import Any

import pytest
import torch
from sentencepiece import SentencePieceProcessor

from medrobust.models.cut_texts import counting_cut_texts
from medrobust.models.tokenizer import ClipTokenizer, transformers_clip_tokenizer

TEXTS = ["a b c", "a b c d e f", "a b c d e f g", "a " * 300, ""]
"""With both marks: 5, 8, 9, 302 and 2 tokens."""


@pytest.mark.parametrize(
    "make", [lambda: ClipTokenizer(8, 49408), lambda: transformers_clip_tokenizer(8)]
)
def test_texts_beyond_the_context_are_counted_and_cut(make):
    tokenize = make()
    with counting_cut_texts() as cut:
        ids, _ = tokenize(TEXTS)
        tokenize(TEXTS[3:4])
    assert (cut.number, cut.context) == (3, 8)
    assert ids.shape == (5, 8)


def test_nobody_is_told_who_does_not_ask():
    with counting_cut_texts() as cut:
        pass
    transformers_clip_tokenizer(8)(TEXTS)
    assert cut.number == 0


def test_siglip_counts_what_its_own_pieces_and_the_end_mark_exceed(shelf: Any) -> None:
    model = shelf.source("siglip").load()
    pieces = SentencePieceProcessor(model_file=str(shelf["siglip"][0] / "spiece.model"))
    texts = [" ".join(["effusion"] * count) for count in range(1, 40)]
    lengths = [len(pieces.encode(text)) + 1 for text in texts]
    context = model.tokenizer(texts[:1])[0].shape[1]
    longer = sum(length > context for length in lengths)
    assert 0 < longer < len(texts)
    with counting_cut_texts() as cut:
        ids = model.tokenizer(texts)[0]
    assert (cut.number, cut.context) == (longer, context)
    whole = next(i for i, length in enumerate(lengths) if length > context)
    assert torch.equal(ids[whole, :-1], ids[-1, :-1])  # what is beyond is read by nobody
