"""Sentences that count: the singular for one, verbs that agree, and no plural written by hand."""

import ast
import re
from pathlib import Path

import pytest

from medrobust.base.wording import agreeing, article, counted, part_of

PACKAGE = Path(__file__).parents[2] / "medrobust"
COUNTS = re.compile(
    r"\b(images?|versions?|frames?|patients?|models?|cells?|classes|corruptions?|files|rows|pairs|"
    r"labels|texts)\b"
)
AFTER = re.compile(rf"[}}\"'] {COUNTS.pattern}")
"""Where a file may say one, after a value or at the beginning of a string's next piece."""


@pytest.mark.parametrize(
    ("number", "thing", "text"),
    [(1, "image", "1 image"), (0, "class", "0 classes"), (2, "severity", "2 severities")],
)
def test_a_number_and_its_noun_agree(number: int, thing: str, text: str) -> None:
    assert counted(number, thing) == text


def test_a_part_agrees_with_the_whole_and_its_verb_with_the_part() -> None:
    said = [f"{part_of(n, 60, 'image')} {agreeing(n, 'is')} missing" for n in (1, 2)]
    assert said == ["1 of 60 images is missing", "2 of 60 images are missing"]


def plurals_by_hand(text: str) -> list[str]:
    """Find f-strings in which a count, of which one may be, is followed by a plural."""
    if not AFTER.search(text):
        return []
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if not (isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)):
                continue
            expression = ast.unparse(value.value)
            counts = re.fullmatch(r"len\(.*\)|count|total|number|missing|failed", expression)
            word = re.match(r" ([a-z]+)", str(after.value))
            if counts and word and COUNTS.fullmatch(word[1]) and word[1].endswith("s"):
                found.append(f"{expression} {word[1]}")
    return found


def test_a_planted_plural_is_found() -> None:
    assert plurals_by_hand('f"{len(found)} images are missing"') == ["len(found) images"]
    assert plurals_by_hand("say(f'{total}' f' cells', ' rows')") == ["total cells"]
    assert plurals_by_hand("f\"{counted(len(found), 'image')} missing\"") == []


SEVERAL = {
    "datasets/own/dicom_matching.py": ["len(found[row]) files"],  # twice or more
    "datasets/audits/repeats.py": ["len(other) images"],  # too many to compare
    "datasets/sampling.py": ["len(image_set) images"],  # more than the limit
}
"""File -> counts that are two at least where they are said."""


def test_no_sentence_writes_a_plural_by_hand() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): plurals_by_hand(path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.py")
    }
    assert {place: counts for place, counts in found.items() if counts} == SEVERAL


@pytest.mark.parametrize(
    ("one", "words"),
    [
        ("an", "xray|X-ray|MRI|OCT|ultrasound|H&E slide|8-bit image|18F scan|hour|ulcer|Embedding"),
        ("a", "chest x-ray|CT|US scan|SPECT|FLAIR MRI|unilateral view|urine smear|Europe|1 image"),
    ],
)
def test_the_article_is_that_of_the_sound(one: str, words: str) -> None:
    assert {word: article(word) for word in words.split("|")} == dict.fromkeys(
        words.split("|"), one
    )
