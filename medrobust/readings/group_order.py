"""In which order people read the groups of a column: numbers by size, other words by alphabet."""

import re
from collections.abc import Iterable

NUMBER = re.compile(
    r"\s*(?P<sign>[<>≤≥=~+]*|under|below|less than|up to|over|above|older than|age|grade|stage)"
    r"\s*(?P<number>-?\d+(?:[.,]\d+)?)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
BELOW = ("<", "≤", "under", "below", "less", "up")
ABOVE = (">", "≥", "over", "above", "older")


def in_reading_order(values: Iterable[str]) -> list[str]:
    """Sort groups of a column: by their first number where all have one, else by alphabet.

    Empty ones come last.

    Example:
        >>> in_reading_order(["60+", "40-59", "9", "<40", "", "100"])
        ['9', '<40', '40-59', '60+', '100', '']
        >>> in_reading_order(["60 and over", "under 40", "40 to under 60"])
        ['under 40', '40 to under 60', '60 and over']
        >>> in_reading_order(["b", "A10", "A9"])
        ['A10', 'A9', 'b']
    """
    given = sorted(values)
    named = [value for value in given if value.strip()]
    empty = [value for value in given if not value.strip()]
    places = [_place(value) for value in named]
    known = [place for place in places if place is not None]
    if len(known) < len(named):
        return named + empty
    return [value for _, value in sorted(zip(known, named, strict=True))] + empty


def _place(value: str) -> tuple[float, int] | None:
    found = NUMBER.fullmatch(value)
    if found is None:
        return None
    sign, rest = found["sign"].lower(), found["rest"].strip().lower()
    above = sign.startswith(ABOVE) or rest.startswith(("+", "and over", "and above", "or more"))
    side = -1 if sign.startswith(BELOW) else int(above)
    return float(found["number"].replace(",", ".")), side
