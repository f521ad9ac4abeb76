"""Which texts count as one, and which of them belong to which image."""

import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from medrobust.base.targets import Texts
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.types import Int64Array

Rule: TypeAlias = Literal["pair", "text", "normalized", "labels"]
"""What makes a text the right one: that it was given for the image; that its string was; that its
string was, whatever its case, punctuation and white space; that it was for one with its labels."""

RULES: tuple[Rule, ...] = get_args(Rule)

_WITHOUT_PUNCTUATION = str.maketrans(string.punctuation, " " * len(string.punctuation))


@dataclass(frozen=True, slots=True)
class Relevance:
    """Candidates, and what belongs together.

    Attributes:
        candidates: (C,) strings, each the first of the texts that count as one, in their order.
        of_text: int64 (T,), the candidate that each text counts as.
        pairs: int64 (P, 2), each an image and a candidate, without repeats, images going up.
        labels: int64 (N,), the label set of each image by its number, where a candidate is right
            for every image that shares its labels with one it was given for; None elsewhere.
    """

    candidates: NDArray[Any]
    of_text: Int64Array
    pairs: Int64Array
    labels: Int64Array | None = None


def relevance(texts: Texts, rule: Rule) -> Relevance:
    """Merge texts that count as one, so that none of them is a wrong answer for another's image.

    Under "pair" nothing is merged: a report that was written twice stands there twice, and the one
    that was given for another image is a wrong answer. "text" is the protocol of CXR-CLIP
    (`kakaobrain/cxr-clip:cxrclip/evaluator.py`). "labels" merges nothing: it is the protocol of
    GLoRIA and MedCLIP on CheXpert 5 x 200, where each of 200 reports of a class is right.

    Raises:
        UnknownNameError: If there is no such rule.
        ConfigurationError: If texts are to be matched by labels and their images have none.

    Example:
        >>> texts = Texts(np.array(["No finding.", "Effusion", "no finding"]),
        ...               np.array([[0, 0], [1, 1], [2, 2]]))
        >>> [len(relevance(texts, rule).candidates) for rule in RULES[:3]]
        [3, 3, 2]
        >>> relevance(texts, "normalized").pairs.tolist()
        [[0, 0], [1, 1], [2, 0]]
    """
    check_rule(rule)
    strings = texts.values.tolist()
    if rule == "labels" and texts.labels is None:
        raise ConfigurationError(
            "task.relevance=labels needs labels of the images: there are none."
        )
    of_text = counted_as(strings, rule)
    firsts = np.unique(of_text, return_index=True)[1]
    merged = np.column_stack([texts.pairs[:, 0], of_text[texts.pairs[:, 1]]])
    labels = texts.labels if rule == "labels" else None
    pairs = np.unique(merged, axis=0).astype(np.int64)
    return Relevance(texts.values[firsts], of_text, pairs, labels)


def counted_as(strings: Sequence[str], rule: Rule) -> Int64Array:
    """Number what texts count as, in the order in which each is met first: int64 (T,)."""
    if rule in ("pair", "labels"):
        return np.arange(len(strings), dtype=np.int64)
    names = strings if rule == "text" else [normalized(one) for one in strings]
    first: dict[str, int] = {}
    return np.array([first.setdefault(name, len(first)) for name in names], np.int64)


def check_rule(rule: str) -> None:
    """Refuse a rule that does not exist.

    Raises:
        UnknownNameError: Naming those that there are.
    """
    if rule not in RULES:
        raise unknown_name("task.relevance", str(rule), RULES)


def normalized(text: str) -> str:
    """Leave out case, punctuation, compatibility forms and surplus white space.

    Example:
        >>> normalized(" No acute  finding. ") == normalized("no acute finding")
        True
    """
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_WITHOUT_PUNCTUATION)
    return " ".join(plain.split())
