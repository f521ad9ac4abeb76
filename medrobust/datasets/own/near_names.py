"""Names of a table that no file has, beside those that files have: what they differ in."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from medrobust.base.wording import agreeing

from .table import few

ROUNDED: Final = re.compile(r"[+-]?\d(?:[.,]\d+[eE]\+?|[eE]\+)(?!0+$)\d+")
"""A long number as a spreadsheet shows it and writes it to a CSV; 1E5 may be a name."""

MOST_LINES: Final = 20


def bare_name(text: str) -> str:
    """Return what is left of a name without signs, case and the zeros before numbers.

    Example:
        >>> bare_name("MRN-0007"), bare_name("mrn 7"), bare_name("000"), bare_name("1.2.840")
        ('mrn7', 'mrn7', '0', '12840')
    """
    letters = "".join(one for one in text.casefold() if one.isalnum())
    return re.sub(r"(?<!\d)0+(?=\d)", "", letters)


def near_names(lines: Mapping[int, str], there: Iterable[str], what: str) -> str:
    """Say of which lines the name is there in other signs, or was rounded; or nothing.

    Args:
        lines: Line of the table -> its name, which no file has.
        there: Names that files have.
        what: They are names of, as "patient id".

    Example:
        >>> near_names({2: "000", 3: "x"}, ["0", "1"], "patient id")
        'Line 2: the folder has that patient id in other signs (zeros before it, dashes, spaces, \
dots or case): copy it as the headers have it.'
    """
    said = []
    rounded = [line for line, name in lines.items() if ROUNDED.fullmatch(name)]
    known = {bare_name(name) for name in there} - {""}
    other = [line for line, name in lines.items() if bare_name(name) in known]
    if other:
        said.append(
            f"{_of(other)}: the folder has that {what} in other signs (zeros before it, dashes, "
            f"spaces, dots or case): copy it as the headers have it."
        )
    if rounded:
        said.append(
            f"{_of(rounded)}: the {what} is a number that a spreadsheet has rounded, as 1.23E+11 "
            f"is: export the column as text."
        )
    return " ".join(said)


def _of(lines: list[int]) -> str:
    word = agreeing(len(lines), "line").capitalize()
    return f"{word} {few(map(str, lines), MOST_LINES)}"
