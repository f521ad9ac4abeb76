"""BLEU, ROUGE-L and CIDEr-D are those of the packages that people quote, and of the definitions."""

import json
from math import exp
from pathlib import Path

import numpy as np
import pytest

from medrobust.metrics.text_overlap import (
    Consensus,
    bleu,
    matches,
    most_typical,
    rouge_l,
    words_of,
)

DATA = Path(__file__).parents[1] / "data" / "text_scores"


def known() -> tuple[list, list, dict]:
    """References and answers as words, and what other packages make of them."""
    texts, scores = (
        json.loads((DATA / f"{name}.json").read_text()) for name in ("texts", "scores")
    )
    references = [[words_of(one) for one in own] for own in texts["references"]]
    return references, [words_of(one) for one in texts["answers"]], scores


def counted(references: list, answers: list) -> list[np.ndarray]:
    parts = [matches(answer, own) for answer, own in zip(answers, references, strict=True)]
    return [np.array(part, np.float64) for part in zip(*parts, strict=True)]


def test_bleu_is_that_of_pycocoevalcap_and_nltk() -> None:
    references, answers, scores = known()
    parts = counted(references, answers)
    found = [bleu(*parts, size).value for size in range(1, 5)]
    assert found == pytest.approx(scores["bleu"], rel=1e-9)
    long = [row for row, answer in enumerate(answers) if len(answer) >= 4]
    found = [bleu(*(part[long] for part in parts), size).value for size in range(1, 5)]
    assert found == pytest.approx(scores["bleu_of_nltk"], rel=1e-9)


def test_rouge_l_and_cider_d_of_each_text_are_those_of_pycocoevalcap() -> None:
    references, answers, scores = known()
    consensus = Consensus(references)
    both = list(zip(answers, references, strict=True))
    assert [rouge_l(*one) for one in both] == pytest.approx(scores["rouge_l"], rel=1e-12)
    assert [consensus.score(*one) for one in both] == pytest.approx(scores["cider_d"], rel=1e-9)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("short", [False, True])
def test_the_influence_of_a_text_is_what_bleu_changes_by_when_it_weighs_more(size, short) -> None:
    references, answers, _ = known()
    if short:  # so that the penalty of brevity counts
        answers = [answer[:5] for answer in answers]
    parts = counted(references, answers)
    found = bleu(*parts, size)
    assert found.influence.mean() == pytest.approx(0, abs=1e-12)
    for row in (0, 7, 9):
        weights = np.ones(len(answers))
        weights[row] += 1e-6
        heavier = [(part.T * weights).T for part in parts]
        slope = (bleu(*heavier, size).value - found.value) / 1e-6
        assert found.influence[row] / len(answers) == pytest.approx(slope, abs=1e-6)


def test_a_worked_example_of_bleu() -> None:
    # Two words of three are found, no pair: BLEU-1 = 2/3 exp(1 - 4/3), BLEU-2 = 0.
    parts = counted([[("a", "b", "c", "d")]], [("a", "x", "c")])
    assert bleu(*parts, 1).value == pytest.approx(2 / 3 * exp(1 - 4 / 3))
    assert bleu(*parts, 2).value == 0


def test_a_worked_example_of_cider() -> None:
    # "mass" weighs log 2, "no" stands in both references and weighs nothing.
    consensus = Consensus([[("no", "mass")], [("no", "edema")]])
    assert consensus.score(("no", "mass"), [("no", "mass")]) == pytest.approx(10 * 2 / 4)
    pairs = exp(-1 / 72)  # a pair of words for none
    assert consensus.score(("mass",), [("no", "mass")]) == pytest.approx(10 * pairs / 4)
    assert Consensus([[("no", "mass")]]).score(("no", "mass"), [("no", "mass")]) == 0


def test_equal_texts_have_all_in_common_and_an_empty_one_nothing() -> None:
    text = words_of("No acute finding of the heart, 2.5 cm.")
    parts = counted([[text], [text]], [text, text])
    assert [bleu(*parts, size).value for size in range(1, 5)] == [1, 1, 1, 1]
    assert rouge_l(text, [text]) == pytest.approx(1)
    assert rouge_l((), [text]) == 0
    assert matches((), [text]) == ([0, 0, 0, 0], [0, 0, 0, 0], len(text))


def test_the_most_typical_text_is_the_one_that_others_repeat() -> None:
    given = ("a mass", "no acute finding", "no acute finding", "large effusion")
    texts = [words_of(one) for one in given]
    assert most_typical(texts) == 1
    assert most_typical(texts[:1]) == 0
