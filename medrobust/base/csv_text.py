"""Rows as CSV, and numbers as text: the same bytes for the same values."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

Why: TypeAlias = str | Callable[[Mapping[str, str]], str]
"""Why a number of a row is empty: a clause without a full stop, or what gives it for the row."""


def ends(*names: str) -> tuple[str, ...]:
    """Name the columns of estimates: each with its bounds.

    Example:
        >>> ends("risk")
        ('risk', 'risk_low', 'risk_high')
    """
    return tuple(f"{name}{end}" for name in names for end in ("", "_low", "_high"))


def number(value: float | None) -> str:
    """Write a number so that it reads back exactly; empty for None."""
    return "" if value is None else repr(float(value))


def csv_bytes(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> bytes:
    r"""Write rows as CSV: UTF-8, "\n" line ends, the same bytes for the same rows.

    Text that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: defused(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue().encode()


def defused(value: str) -> str:
    """Put an apostrophe before text that a spreadsheet would take for a formula.

    Example:
        >>> defused("=SUM(A1)"), defused("-0.5")
        ("'=SUM(A1)", '-0.5')
    """
    if not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value
