"""Words that tables and arrays hold where nothing is known: one answer for all columns."""

import re
import unicodedata
from typing import Final

NO_VALUE: Final = frozenset(
    ("nan", "-nan", "na", "n/a", "#na", "#n/a", "n.a.", "<na>", "nat", "none", "null", "nil",
     "#null!", "#ref!", "#div/0!", "#value!", "#name?", "#num!",
     "?", "??", "-", "--", "---", "–", "—", ".", "..", "...")
)  # fmt: skip
"""What an empty cell is written as, in lower case: by programs (as pandas reads it) and people.
Signs of # alone are a column that was too narrow for its numbers."""

UNKNOWN: Final = frozenset(
    ("unknown", "unk", "missing", "undefined", "unspecified", "not available", "not known",
     "n.d.", "not done", "not determined", "k.a.", "keine angabe", "pending", "to do", "todo",
     "not rated", "not graded", "not assessed", "not scored", "not evaluated", "not recorded",
     "not reported", "not specified", "not applicable", "ungraded", "unrated", "no data",
     "anonymous", "anonymized", "anonymised", "anon", "deidentified", "de-identified", "removed")
)  # fmt: skip
"""Words for a person or a number that nobody knows; of a group they may be a name."""

NO_LABEL: Final = frozenset(
    ("missing", "not available", "not labelled", "not labeled", "unlabelled", "unlabeled",
     "not annotated", "unannotated", "no label", "label missing", "tbd", "to be determined")
)  # fmt: skip
"""Words for an image that nobody has judged; `UNKNOWN` has others, which may be a class."""

MISSING: Final = "missing"
"""What tables call the images that have no value in a column; stored, the value is empty."""


MINUS: Final = str.maketrans(dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}\N{SMALL HYPHEN-MINUS}", "-"))
"""Signs that programs write before a negative number."""

NOT_A_NUMBER: Final = re.compile(r"[+-]?(?:1[.,]?#(?:[qs]?nan|ind)0*|[qs]?nan\([^)]*\))")
"""What C libraries print for NaN, in lower case: 1.#QNAN, -1.#IND00, -nan(ind)."""


def is_missing(text: str) -> bool:
    """Say whether a cell is empty, in whatever words.

    Example:
        >>> [is_missing(text) for text in ("", "N/A", "?", "none", "-1", "unknown", "no")]
        [True, True, True, True, False, False, False]
        >>> [is_missing(text) for text in (chr(0x200B), "-1.#IND", "nan(ind)", "nan(a)b")]
        [True, True, True, False]
    """
    bare = "".join(sign for sign in text if unicodedata.category(sign) != "Cf").strip().lower()
    if not bare or bare in NO_VALUE or bare.strip("#") == "":
        return True
    return NOT_A_NUMBER.fullmatch(bare.translate(MINUS)) is not None


def marks_no_label(text: str) -> bool:
    """Say whether a text in a column of labels says that there is none; -1 is a number.

    Example:
        >>> [marks_no_label(text) for text in ("", "Not_available", "unlabelled", "unknown", "no")]
        [True, True, True, False, False]
    """
    return is_missing(text) or _words(text) in NO_LABEL


def may_mark_no_label(text: str) -> bool:
    """Say whether a text in a column of labels may be a class, and may say that nobody knows.

    Infinity is of these: what is left of a division by zero, or short for a word.

    Example:
        >>> [may_mark_no_label(text) for text in ("unknown", "k.A.", "inf", "missing", "cyst")]
        [True, True, True, False, False]
    """
    return _words(text) in UNKNOWN - NO_LABEL or is_infinite(text)


def _words(text: str) -> str:
    return " ".join(re.sub(r"[\s_-]+", " ", text.lower()).split())


def names_nobody(text: str) -> bool:
    """Say whether a text identifies nothing: empty in whatever words, -1, or a word for unknown.

    Example:
        >>> [names_nobody(text) for text in ("-1.0", "Unknown", "MRN-17", "0", "1")]
        [True, True, False, False, False]
    """
    bare = " ".join(text.lower().split())
    return is_missing(text) or whole_number(text) == -1 or bare in UNKNOWN


def whole_number(text: str) -> int | None:
    """Return a whole number, also where a program has written it with decimals; None for others.

    Example:
        >>> [whole_number(text) for text in ("1", "01", "1.0", "1,00", "1.00e+00", "-1", "1.5", "")]
        [1, 1, 1, 1, 1, -1, None, None]
    """
    bare = text.strip().translate(MINUS)
    found = re.fullmatch(r"([+-]?\d+)(?:[.,]0*)?(?:[eE][+-]?0+)?", bare)
    return int(found[1]) if found else None


def is_infinite(text: str) -> bool:
    """Say whether a text is a number beyond all others, as a division by zero leaves it.

    Example:
        >>> [is_infinite(text) for text in ("inf", "-Infinity", "+INF", "1e999", "infarct", "1")]
        [True, True, True, True, False, False]
    """
    bare = text.strip().lower().translate(MINUS).replace("\N{INFINITY}", "inf")
    return bool(re.fullmatch(r"[+-]?(?:1\.?#)?inf(?:inity)?|[+-]?[\d.]+e\+?\d{3,}", bare))
