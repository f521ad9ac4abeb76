"""Corruptions of texts: what happens to reports and sentences on their way to a model.

Draws are keyed by (seed, corruption, text), by SHA-256: a text becomes the same whatever stands
beside it, and in whatever order. A share of what can be changed is, the first ones of a drawn order
that all severities have in common: what one severity changes, the next one changes too.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any, TypeAlias

from medrobust.base.given import check_whole
from medrobust.exceptions import ConfigurationError, unknown_name

from .suites import SEVERITIES

VERSION = 1
"""Raised whenever a text becomes another one; part of the fingerprints of cells that use it."""

Words: TypeAlias = Iterator[int]
"""Whole numbers below 2^32, as they are drawn for one text."""

KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Rows of a keyboard."""

NEGATIONS = (
    "there is no evidence of", "no evidence of", "no evidence for", "no sign of", "no signs of",
    "negative for", "absence of", "free of", "without", "no", "not", "never", "neither", "nor",
)  # fmt: skip
"""Words that deny what follows; of two at one place the longer."""

ABBREVIATIONS: Mapping[str, str] = MappingProxyType(
    {
        "chest x-ray": "CXR", "computed tomography": "CT", "pneumothorax": "PTX",
        "endotracheal tube": "ETT", "nasogastric tube": "NGT", "right upper lobe": "RUL",
        "right middle lobe": "RML", "right lower lobe": "RLL", "left upper lobe": "LUL",
        "left lower lobe": "LLL", "congestive heart failure": "CHF", "pleural effusion": "PEff",
        "pneumonia": "PNA", "bilateral": "b/l", "right": "R", "left": "L", "without": "w/o",
        "with": "w/", "patient": "pt", "history": "hx", "compared": "cf", "evidence of": "e/o",
        "status post": "s/p", "posterior": "post", "anterior": "ant", "image": "img",
        "examination": "exam", "findings": "fx", "normal": "nl", "no": "Ø",
    }
)  # fmt: skip
"""What is written short, our own choice of common notes; of two at one place the longer."""

SENTENCE = re.compile(r"(?<=[.!?])\s+")


def draws_of(seed: int, name: str, text: str) -> Words:
    """Draw numbers below 2^32 for a text.

    Number i is the word i mod 8 (little-endian) of the SHA-256 of `medrobust text SEED NAME BLOCK`,
    a zero byte and the text in UTF-8; BLOCK is i div 8.
    """
    content = text.encode("utf-8", "surrogatepass")
    for block in count():
        head = f"medrobust text {seed} {name} {block}\0".encode()
        digest = hashlib.sha256(head + content).digest()
        for place in range(0, 32, 4):
            yield int.from_bytes(digest[place : place + 4], "little")


def chosen(number: int, share: float, words: Words) -> list[int]:
    """Choose round(share x number) of the places below `number`, in the order of the draw.

    Example:
        >>> few, more = (chosen(10, share, draws_of(0, "", "x")) for share in (0.2, 0.5))
        >>> len(more), more[:2] == few
        (5, True)
    """
    places = [next(words) for _ in range(number)]
    order = sorted(range(number), key=lambda place: (places[place], place))
    return order[: round(share * number)]


def typos(text: str, share: float, words: Words) -> str:
    """Change a letter of some words of three letters or more.

    Two letters change places, one is left out, doubled, or its neighbour on the keyboard's row.
    """
    parts = re.split(r"([^\W\d_]{3,})", text)
    edits = [(next(words), next(words)) for _ in parts[1::2]]
    for place in chosen(len(edits), share, words):
        parts[2 * place + 1] = _mistyped(parts[2 * place + 1], *edits[place])
    return "".join(parts)


def _mistyped(word: str, kind: int, where: int) -> str:
    at = where % (len(word) - 1)
    head, first, second, rest = word[:at], word[at], word[at + 1], word[at + 2 :]
    edits = (second + first, second, first + first + second, _neighbour(first) + second)
    found = head + edits[kind % len(edits)] + rest
    return found if found != word else word[:at] + word[at + 1 :]


def _neighbour(letter: str) -> str:
    row = next((row for row in KEYS if letter.lower() in row), "")
    at = row.find(letter.lower())
    other = row[at + 1] if at + 1 < len(row) else row[at - 1] if row else letter
    return other.upper() if letter.isupper() else other


def dropped_words(text: str, share: float, words: Words) -> str:
    """Leave some words out, never all."""
    given = text.split()
    gone = set(chosen(len(given), share, words)[: max(0, len(given) - 1)])
    return " ".join(word for place, word in enumerate(given) if place not in gone)


def swapped_words(text: str, share: float, words: Words) -> str:
    """Let some pairs of neighbours change places: the first and second word, third and fourth …."""
    given = text.split()
    for pair in chosen(len(given) // 2, share, words):
        given[2 * pair : 2 * pair + 2] = reversed(given[2 * pair : 2 * pair + 2])
    return " ".join(given)


def removed_negations(text: str, share: float, words: Words) -> str:
    """Leave out some words that deny (`NEGATIONS`): the text says the contrary."""
    return _replaced(text, dict.fromkeys(NEGATIONS, ""), share, words)


def abbreviations(text: str, share: float, words: Words) -> str:
    """Write some terms short (`ABBREVIATIONS`)."""
    return _replaced(text, ABBREVIATIONS, share, words)


def _replaced(text: str, table: Mapping[str, str], share: float, words: Words) -> str:
    terms = sorted(table, key=len, reverse=True)
    pattern = re.compile(rf"\b((?ai:{'|'.join(map(re.escape, terms))}))\b")
    parts = pattern.split(text)
    for place in chosen(len(parts) // 2, share, words):
        parts[2 * place + 1] = table[parts[2 * place + 1].lower()]
    return " ".join("".join(parts).split()) if len(parts) > 1 else text


def missing_sentences(text: str, share: float, words: Words) -> str:
    """Leave some sentences out, never all."""
    given = SENTENCE.split(text)
    gone = set(chosen(len(given), share, words)[: len(given) - 1])
    return " ".join(one for place, one in enumerate(given) if place not in gone)


def sentence_order(text: str, share: float, words: Words) -> str:
    """Let some sentences change places in a ring, at least two where there are any."""
    given = SENTENCE.split(text)
    moved = chosen(len(given), 1, words)[: max(2, round(share * len(given)))]
    if len(given) < 2:
        return text
    taken = [given[place] for place in moved]
    for place, sentence in zip(moved, [*taken[1:], taken[0]], strict=True):
        given[place] = sentence
    return " ".join(given)


Kernel: TypeAlias = Callable[[str, float, Words], str]

KERNELS: Mapping[str, tuple[Kernel, Sequence[float]]] = MappingProxyType(
    {
        "typos": (typos, (0.05, 0.1, 0.2, 0.35, 0.5)),
        "dropped_words": (dropped_words, (0.05, 0.1, 0.2, 0.35, 0.5)),
        "swapped_words": (swapped_words, (0.1, 0.2, 0.4, 0.7, 1.0)),
        "removed_negations": (removed_negations, (0.2, 0.4, 0.6, 0.8, 1.0)),
        "missing_sentences": (missing_sentences, (0.1, 0.2, 0.35, 0.5, 0.7)),
        "abbreviations": (abbreviations, (0.2, 0.4, 0.6, 0.8, 1.0)),
        "sentence_order": (sentence_order, (0.2, 0.4, 0.6, 0.8, 1.0)),
    }
)
"""Name -> kernel, and its share at severities 1 to 5. All are our own."""


@dataclass(frozen=True, slots=True)
class TextCorruption:
    """One corruption of texts, at one or several severities.

    Attributes:
        name: One of `KERNELS`.
        severities: 1 to 5, each a table row of its own.
        seed: Of the draws.

    Raises:
        UnknownNameError: If there is no such corruption.
        ConfigurationError: If a severity is none, or none is given.
    """

    name: str
    severities: Sequence[int] = SEVERITIES
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        if self.name not in KERNELS:
            raise unknown_name("corruption of texts", self.name, KERNELS)
        check_whole(f"seed of {self.name!r}", self.seed, least=0)
        given: Any = self.severities
        listed = isinstance(given, Sequence) and not isinstance(given, str)
        wrong = not listed or not given or any(type(level) is not int for level in given)
        if wrong or not set(given) <= set(SEVERITIES) or len(set(given)) < len(given):
            said = given if isinstance(given, str) or not listed else list(given)
            raise ConfigurationError(
                f"severities={said} of {self.name!r}: give a list of some of 1 to 5, each once, "
                f"such as [1,5]."
            )

    def __call__(self, text: str, severity: int) -> str:
        """Corrupt one text; a text of which nothing would be left stays as it is.

        Example:
            >>> TextCorruption("removed_negations")("No effusion, not large.", 5)
            'effusion, large.'
        """
        kernel, shares = KERNELS[self.name]
        found = kernel(text, shares[severity - 1], draws_of(self.seed, self.name, text))
        return found if found.strip() else text

    def identity(self, severity: int) -> dict[str, Any]:
        """Give the plain values that decide what a text becomes: part of fingerprints."""
        return {
            "name": self.name,
            "severity": severity,
            "share": KERNELS[self.name][1][severity - 1],
            "version": VERSION,
            "seed": self.seed,
        }
