"""Names that are one thing written in several ways: numbers become one, words are refused."""

import logging
import unicodedata
from collections.abc import Sequence
from typing import Final

from medrobust.base.missing import whole_number
from medrobust.base.once import say_once
from medrobust.exceptions import InvalidDataError, hiding

from .table import Table, few

log = logging.getLogger(__name__)

QUOTATION_MARKS: Final = ('""', "''", "“”", "‘’", "„“", "«»")
"""Pairs that a program leaves around a name which it, or the next one, took for text."""


def folded(text: str) -> str:
    """Return what is left of a name without case, spaces, unseen signs and quotation marks around.

    Example:
        >>> folded("Left  lung") == folded("left LUNG" + chr(0x200B)), folded("a") == folded("b")
        (True, False)
    """
    seen = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    bare = " ".join("".join(seen).casefold().split())
    quoted = len(bare) > 2 and bare[0] + bare[-1] in QUOTATION_MARKS
    return bare[1:-1].strip() if quoted else bare


def spellings(texts: Sequence[str]) -> list[dict[str, int]]:
    """Return the names that are written in several ways: each way -> its first row."""
    found: dict[str | int, dict[str, int]] = {}
    for row, text in enumerate(texts):
        number = whole_number(text)
        found.setdefault(folded(text) if number is None else number, {}).setdefault(text, row)
    return [ways for ways in found.values() if len(ways) > 1]


def one_spelling(table: Table, texts: Sequence[str]) -> Sequence[str]:
    """Return labels with one spelling a class: 1, 1.0 and 01 are the class 1.

    Args:
        table: Where they stand, to name lines.
        texts: Labels, one a row.

    Raises:
        InvalidDataError: If words differ in upper case or white space alone; names the lines.
    """
    several = spellings(texts)
    if not several:
        return texts
    numbers = [whole_number(text) for text in texts]
    if None not in numbers:
        ways = "; ".join(", ".join(sorted(one)) for one in several)
        say_once(log, logging.WARNING, f"labels of {table.file} are one class each: {ways}")
        return [str(number) for number in numbers]
    told = [
        ", ".join(f"{text!r} (line {table.lines[row]})" for text, row in ways.items())
        for ways in several
    ]
    lines = [str(table.lines[row]) for ways in several for row in ways.values()]
    rest = (
        "differ in upper and lower case, white space or decimals alone (or in quotation marks): "
        "write them alike, or, if they are classes of their own, name all by "
        "dataset.class_names=[...]."
    )
    raise hiding(
        InvalidDataError(f"{table.file}: the labels {few(told, 5)} {rest}"),
        f"{table.file}: labels of lines {few(lines)} {rest}",
    )
