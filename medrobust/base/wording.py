"""Numbers, lists and articles in sentences."""

import re
from collections.abc import Sequence
from typing import Final

IRREGULAR = {
    "box": "boxes",
    "class": "classes",
    "differs": "differ",
    "has": "have",
    "index": "indices",
    "is": "are",
    "it": "them",
    "names": "name",
    "repeats": "repeat",
    "severity": "severities",
    "shows": "show",
    "stands": "stand",
    "was": "were",
    "study": "studies",
}
"""Words whose plural is not that of the others."""

WORDS_IN_CAPITALS: Final = ("FLAIR", "HASTE", "SPECT", "RARE", "SARS")
"""Abbreviations that are read as words, not letter by letter."""

VOWEL_SOUND: Final = re.compile(
    r"(?!uni(?!n)|us[aeiu]|ut[ei]|ur(?![bgn])|eu|ewe|onc?e\b|one-)[aeiou]|x-?\s?ray|x\b|hour|honest|heir"
    r"|8|1[18](?!\d)",
    re.IGNORECASE,
)


def counted(number: int, thing: str) -> str:
    """Write a number and what it counts, in the singular for one.

    Example:
        >>> counted(1, "image"), counted(2, "class"), counted(0, "cell")
        ('1 image', '2 classes', '0 cells')
    """
    return f"{number} {agreeing(number, thing)}"


def part_of(number: int, total: int, thing: str) -> str:
    """Write how many of how many; the verb after it agrees with the first.

    Example:
        >>> part_of(1, 60, "image"), part_of(1, 1, "class")
        ('1 of 60 images', '1 of 1 class')
    """
    return f"{number} of {counted(total, thing)}"


def agreeing(number: int, word: str) -> str:
    """Return a noun, verb or pronoun as it stands beside that number.

    Example:
        >>> agreeing(1, "is"), agreeing(3, "is"), agreeing(0, "model")
        ('is', 'are', 'models')
    """
    return word if number == 1 else IRREGULAR.get(word, f"{word}s")


def listed(things: Sequence[str]) -> str:
    """Join things as a sentence does.

    Example:
        >>> listed(["sensitivity", "specificity", "kappa"]), listed(["kappa"])
        ('sensitivity, specificity and kappa', 'kappa')
    """
    return " and ".join(filter(None, (", ".join(things[:-1]), *things[-1:])))


def article(words: str) -> str:
    """Return the indefinite article as it sounds before some words.

    Example:
        >>> [article(words) for words in ("xray", "chest x-ray", "MRI", "CT", "ultrasound", "unit")]
        ['an', 'a', 'an', 'a', 'an', 'a']
    """
    first = re.split(r"[\s-]", words.strip(), maxsplit=1)[0]
    letters = first[:1].isalpha() and first.isupper() and first not in WORDS_IN_CAPITALS
    vowel = first[:1] in "AEFHILMNORSX" if letters else VOWEL_SOUND.match(words.strip())
    return "an" if vowel else "a"


def with_article(words: str) -> str:
    """Put the article before some words.

    Example:
        >>> with_article("OCT scan"), with_article("uterine scan")
        ('an OCT scan', 'a uterine scan')
    """
    return f"{article(words)} {words}"
