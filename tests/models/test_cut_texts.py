"""Texts that are longer than a context are counted, by every tokenizer."""

import pytest

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
