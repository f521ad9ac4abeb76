"""Values as people type them, put in the quotes that Hydra's grammar wants around some of them."""

import re
from collections.abc import Iterator
from pathlib import Path

PLAIN = re.compile(r"[A-Za-z0-9_./+@%*?|: -]*")
"""Characters that the grammar takes without quotes, wherever they stand."""

PIECES = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[\[\]{},])""")
"""What lists and tables are made of: quoted texts, brackets, braces and commas."""


def readable(key: str, value: str, *, swept: bool) -> str:
    r"""Return a value as the grammar of overrides reads it, quoted where that is needed.

    Paths and names may have letters of every alphabet, `=`, parentheses and the like. A comma
    separates the options of a sweep, unless a file or folder has that very name.

    Args:
        key: What is set.
        value: As typed.
        swept: Whether commas separate options.

    Example:
        >>> readable("dataset.csv", "Röntgen/labels.csv", swept=False)
        "'Röntgen/labels.csv'"
        >>> readable("x", "[Röntgen, CT]", swept=False), readable("x", "a,b", swept=True)
        ("['Röntgen',CT]", 'a,b')
    """
    if PLAIN.fullmatch(value) or value[:1] in "'\"" or "${" in value:
        return value
    if "," in value and value[:1] not in "[{" and _exists(value):
        return quoted(value)
    if _parses(key, value):
        return value
    if value[:1] in "[{":
        attempt = "".join(_pieces(value))
    elif "," in value and swept:
        attempt = ",".join(map(_bare, value.split(",")))
    else:
        attempt = quoted(value)
    return attempt if _parses(key, attempt) else value


def quoted(text: str) -> str:
    r"""Put a text in single quotes.

    Example:
        >>> quoted("it's a \\ path\\")
        "'it\\'s a \\ path\\\\'"
    """
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"


def _bare(text: str) -> str:
    stripped = text.strip()
    return stripped if PLAIN.fullmatch(stripped) else quoted(stripped)


def _pieces(value: str) -> Iterator[str]:
    """Quote what stands bare in a list or table; in a table a colon ends the name."""
    open_brackets: list[str] = []
    for piece in PIECES.split(value):
        if piece in ("[", "{"):
            open_brackets.append(piece)
        elif piece in ("]", "}") and open_brackets:
            open_brackets.pop()
        if not piece or piece[0] in "'\"[]{},":
            yield piece
        elif open_brackets[-1:] == ["{"] and ":" in piece:
            name, _, rest = piece.partition(":")
            yield f"{_bare(name)}:{_bare(rest)}"
        else:
            yield _bare(piece)


def _exists(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _parses(key: str, value: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        return False
    return True
