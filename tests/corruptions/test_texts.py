"""Corruptions of texts: the contract that each keeps, and what each does, by hand."""

import hashlib
from collections import Counter
from itertools import islice, pairwise

import pytest

from medrobust.corruptions import TextCorruption
from medrobust.corruptions.texts import KERNELS, chosen, draws_of
from medrobust.exceptions import ConfigurationError, UnknownNameError

REPORT = (
    "The lungs are clear without focal consolidation. There is no pleural effusion or "
    "pneumothorax. The heart is not enlarged. Compared with the prior image, the right lower lobe "
    "opacity has resolved. No evidence of pulmonary edema."
)
TEXTS = [REPORT, "Normal.", "No", "", "Größe unauffällig, kein Erguß.", "one two three four"]


@pytest.mark.parametrize("name", KERNELS)
class TestContract:
    def test_a_text_becomes_the_same_whatever_stands_beside_it(self, name):
        forward = [TextCorruption(name)(text, 4) for text in TEXTS]
        backward = [TextCorruption(name)(text, 4) for text in reversed(TEXTS)]
        assert forward == backward[::-1]

    def test_a_long_report_changes_at_the_last_severity_and_no_less_than_at_the_first(self, name):
        first, last = (TextCorruption(name)(REPORT, severity) for severity in (1, 5))
        assert last != REPORT
        assert common(REPORT, last) <= common(REPORT, first)

    def test_another_seed_makes_other_texts_where_there_is_a_choice(self, name):
        found = {TextCorruption(name, seed=seed)(REPORT, 3) for seed in range(12)}
        assert len(found) > 3

    def test_no_text_becomes_empty_or_is_an_error(self, name):
        for text in TEXTS:
            for severity in (1, 2, 3, 4, 5):
                found = TextCorruption(name)(text, severity)
                assert found == text or found.strip()

    def test_every_share_grows_and_decides_the_identity(self, name):
        shares = [TextCorruption(name).identity(s)["share"] for s in (1, 2, 3, 4, 5)]
        assert all(less < more for less, more in pairwise(shares))
        assert TextCorruption(name, seed=1).identity(1) != TextCorruption(name).identity(1)


def common(first, second):
    """Pairs of neighbouring words that two texts share."""
    pairs = (Counter(pairwise(text.split())) for text in (first, second))
    one, other = pairs
    return sum((one & other).values())


def test_draws_are_those_of_the_written_derivation():
    digest = hashlib.sha256(b"medrobust text 3 typos 1\0abc").digest()
    assert list(islice(draws_of(3, "typos", "abc"), 8, 10)) == [
        int.from_bytes(digest[:4], "little"),
        int.from_bytes(digest[4:8], "little"),
    ]


@pytest.mark.parametrize("number", [1, 7, 40])
def test_exactly_the_rounded_share_is_chosen_and_nested(number):
    before: list[int] = []
    for share in (0.1, 0.35, 0.5, 1.0):
        now = chosen(number, share, draws_of(0, "x", "text"))
        assert len(now) == round(share * number)
        assert now[: len(before)] == before
        before = now


def test_typos_touch_so_many_words_and_keep_the_others_in_place():
    found = TextCorruption("typos")(REPORT, 3)
    pairs = list(zip(REPORT.split(), found.split(), strict=True))
    long = [one for one, _ in pairs if sum(letter.isalpha() for letter in one) >= 3]
    changed = [(one, new) for one, new in pairs if one != new]
    assert len(changed) == round(0.2 * len(long))
    assert all(abs(len(one) - len(new)) <= 1 for one, new in changed)


def test_words_are_dropped_in_order_and_one_stays():
    found = TextCorruption("dropped_words")(REPORT, 5).split()
    words = iter(REPORT.split())
    assert all(word in words for word in found)
    assert len(found) == len(REPORT.split()) - round(0.5 * len(REPORT.split()))
    assert TextCorruption("dropped_words")("Normal.", 5) == "Normal."


def test_all_pairs_of_words_are_swapped_at_the_last_severity():
    assert TextCorruption("swapped_words")("a b c d e", 5) == "b a d c e"


def test_all_negations_are_gone_at_the_last_severity():
    found = TextCorruption("removed_negations")(REPORT, 5)
    assert found == (
        "The lungs are clear focal consolidation. There is pleural effusion or pneumothorax. The "
        "heart is enlarged. Compared with the prior image, the right lower lobe opacity has "
        "resolved. pulmonary edema."
    )
    assert TextCorruption("removed_negations")("A large effusion, nothing known.", 5) == (
        "A large effusion, nothing known."
    )


def test_terms_are_written_short_the_longest_first():
    found = TextCorruption("abbreviations")("Opacity in the right lower lobe, right hilum.", 5)
    assert found == "Opacity in the RLL, R hilum."


def test_letters_that_only_fold_to_ours_make_no_term():
    text = (
        "R\N{LATIN SMALL LETTER DOTLESS I}ght lung W\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}THOUT"
    )
    assert TextCorruption("abbreviations")(text, 5) == text
    assert TextCorruption("removed_negations")(text, 5) == text


def test_sentences_go_or_change_places_and_stay_whole():
    sentences = set(REPORT.replace(". ", ".|").split("|"))
    fewer = TextCorruption("missing_sentences")(REPORT, 5).replace(". ", ".|").split("|")
    moved = TextCorruption("sentence_order")(REPORT, 5).replace(". ", ".|").split("|")
    assert len(fewer) == len(sentences) - round(0.7 * len(sentences))
    assert set(fewer) < sentences
    assert set(moved) == sentences
    assert TextCorruption("sentence_order")("One. Two.", 1) == "Two. One."


def test_what_does_not_exist_is_said_in_a_sentence():
    with pytest.raises(UnknownNameError, match="Did you mean 'typos'"):
        TextCorruption("typo")
    for severities in ((0,), (), 3, None, "12", [[1]], [1.0], [True], [1, 1]):
        with pytest.raises(ConfigurationError, match="give a list of some of 1 to 5"):
            TextCorruption("typos", severities=severities)
    with pytest.raises(ConfigurationError, match=r"seed of 'typos'=\[1\] must be a whole number"):
        TextCorruption("typos", seed=[1])
