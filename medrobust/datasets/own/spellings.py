"""Names that are one thing written in several ways: numbers become one, words are refused."""

import logging
import re
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


APOSTROPHES: Final = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u2032\u00b4`", "'"))
"""Signs that stand for an apostrophe; to be read before a normal form parts one of them."""

LOOKALIKES: Final = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0458\u03bf",
    "abekmhopctyxsijo",
)
"""Cyrillic letters (and an omicron), in lower case, that in either case look like Latin ones."""

THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(?:([.,' \u00a0\u2019\u202f])\d{3})(?:\1\d{3})*")
"""A number with something between its thousands; 1,000 may be the number one as well."""

MATHEMATICAL_MINUS: Final = "\N{MINUS SIGN}"


def folded(text: str) -> str:
    """Return what is left of a name without what the eye passes over.

    That is case, spaces, unseen signs, quotation marks around it, which dash or apostrophe it has,
    its normal form, and letters of another script that look the same.

    Example:
        >>> folded("Left  lung") == folded("left LUNG" + chr(0x200B)), folded("a") == folded("b")
        (True, False)
        >>> folded("non" + chr(0x2013) + "tumour"), folded(chr(0x041C))
        ('non-tumour', 'm')
    """
    normal = unicodedata.normalize("NFKC", text.translate(APOSTROPHES))
    seen = (_plain(letter) for letter in normal if unicodedata.category(letter) != "Cf")
    bare = " ".join("".join(seen).casefold().translate(LOOKALIKES).split())
    quoted = len(bare) > 2 and bare[0] + bare[-1] in QUOTATION_MARKS
    return bare[1:-1].strip() if quoted else bare


def _plain(letter: str) -> str:
    dash = unicodedata.category(letter) == "Pd" or letter == MATHEMATICAL_MINUS
    return "-" if dash else letter


def _check_thousands(table: Table, texts: Sequence[str]) -> None:
    """Refuse a number with groups of thousands beside the same number without.

    Raises:
        InvalidDataError: Naming two lines.
    """
    rows = {text: row for row, text in enumerate(texts)}
    for text, row in rows.items():
        bare = re.sub(r"[.,' \u00a0\u2019\u202f]", "", text)
        if THOUSANDS.fullmatch(text) and bare in rows:
            rest = (
                "it is a thousand times the other, or the same number with its thousands apart: "
                "write it in one way."
            )
            other = table.lines[rows[bare]]
            raise hiding(
                InvalidDataError(
                    f"{table.place(row)}: the label {text!r} stands beside {bare!r} (line "
                    f"{other}); {rest}"
                ),
                f"{table.place(row)}: a label like that of line {other}; {rest}",
            )


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
        InvalidDataError: If words differ in what `folded` passes over alone; names the lines.
    """
    _check_thousands(table, texts)
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
        "differ in upper and lower case, white space or decimals alone (or in quotation marks, "
        "dashes, apostrophes or letters that look alike): "
        "write them alike, or, if they are classes of their own, name all by "
        "dataset.class_names=[...]."
    )
    raise hiding(
        InvalidDataError(f"{table.file}: the labels {few(told, 5)} {rest}"),
        f"{table.file}: labels of lines {few(lines)} {rest}",
    )
