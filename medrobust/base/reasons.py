"""What an error says, in one line, for sentences about what nobody foresaw."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from traceback import extract_tb

OF_SHELLS = ("HOME", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "USER", "_")
"""Variables that are exported everywhere."""

LONGEST = 300
"""Characters of a reason; some libraries put a whole table into theirs."""

DEEPEST = 8
"""Errors of a chain that are read."""

FRAMES = "\nException raised from "
"""What PyTorch writes before the places of its own source."""

NO_WORDS = "()[]{}<>.,:;'\"-_ "
"""Signs that say nothing where an error consists of nothing else."""


def reason_of(error: BaseException) -> str:
    r"""Return in one line what an error says, and what the errors behind it add.

    Args:
        error: As it came; its causes are read, and what it arose in where it has no words itself.

    Returns:
        Its words. An error without words gives its type and its place.

    Example:
        >>> reason_of(ValueError("two\nlines"))
        'two lines'
        >>> reason_of(KeyError())
        'KeyError without a word'
        >>> outer = RuntimeError("the part is lost.")
        >>> outer.__cause__ = ValueError("abc is no number")
        >>> reason_of(outer)
        'the part is lost (ValueError: abc is no number)'
    """
    first, *behind = _chain(error)
    told = words_of(first)
    for one in behind:
        name, more = type(one).__name__, words_of(one)
        if _says_nothing(one) or _bare(one) not in told:
            told = f"{told} ({more if more.startswith(name) else f'{name}: {more}'})"
    return told if len(told) <= LONGEST else f"{told[: LONGEST - 3]}..."


def named_reason(error: BaseException) -> str:
    r"""Return the type of an error and what it says, for what nobody foresaw.

    Example:
        >>> named_reason(TypeError("two\nlines")), named_reason(KeyError())
        ('TypeError: two lines', 'KeyError without a word')
    """
    name, reason = type(error).__name__, reason_of(error)
    return reason if reason.startswith(name) else f"{name}: {reason}"


def exported_by(text: str) -> str:
    """Say which exported variable a text is about, if any, by its name or its quoted value.

    Example:
        >>> os.environ["FROBNICATE_LEVEL"] = "abc"
        >>> exported_by("invalid literal for int() with base 10: 'abc'")
        ' FROBNICATE_LEVEL is exported: unset it, or correct it.'
        >>> del os.environ["FROBNICATE_LEVEL"]
    """
    words = set(re.findall(r"\w+", text))
    quoted = {one.casefold() for one in re.findall(r"'([^']{2,})'", text)}
    names = [
        name
        for name, value in os.environ.items()
        if name not in OF_SHELLS and (value.casefold() in quoted or ("_" in name and name in words))
    ]
    if len(names) != 1:
        return ""
    return f" {names[0]} is exported: unset it, or correct it."


def words_of(error: BaseException) -> str:
    """Return what one error says itself, in one line and without a full stop.

    Example:
        >>> words_of(KeyError("depth")), words_of(AssertionError())
        ("KeyError: 'depth'", 'AssertionError without a word')
    """
    said = _bare(error)
    if _says_nothing(error):
        return f"{type(error).__name__} without a word{place_of(error)}"
    if isinstance(error, LookupError) and " " not in said:
        return f"{type(error).__name__}: {said}"  # what was looked for alone is no sentence
    return said


def _bare(error: BaseException) -> str:
    return " ".join(str(error).partition(FRAMES)[0].split()).rstrip(".:")


def _says_nothing(error: BaseException) -> bool:
    return not _bare(error).strip(NO_WORDS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what it was raised from."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen and len(seen) < DEEPEST:
        seen.append(one)
        yield one
        behind = one.__cause__
        if behind is None and _says_nothing(one) and not one.__suppress_context__:
            behind = one.__context__
        one = behind


def place_of(error: BaseException) -> str:
    """Say where an error arose, as `, raised in FILE, line N`; nothing if it was not raised."""
    places = extract_tb(error.__traceback__)
    if not places:
        return ""
    last = places[-1]
    return f", raised in {Path(last.filename).name}, line {last.lineno}"
