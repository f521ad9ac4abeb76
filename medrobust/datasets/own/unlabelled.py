"""Rows and rows of arrays without a label: refused with their lines, or left out and counted."""

from collections.abc import Collection, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.missing import is_infinite, marks_no_label, whole_number
from medrobust.base.wording import agreeing, counted
from medrobust.exceptions import ConfigurationError, InvalidDataError, hiding

from .table import Table, few

Unlabelled = Literal["refuse", "drop"]

MOST_LINES: Final = 20
"""Lines that a sentence lists."""


def check_unlabelled(given: str) -> None:
    """Refuse a choice that does not exist.

    Raises:
        ConfigurationError: Naming the key.
    """
    if given not in get_args(Unlabelled):
        raise ConfigurationError(f"dataset.unlabelled={given!r}: there are refuse and drop.")


def is_unlabelled(text: str, named: Collection[str] = ()) -> bool:
    """Say whether a text is no label: empty in whatever words, or negative, unless so named.

    Example:
        >>> is_unlabelled("NaN"), is_unlabelled("-1.0"), is_unlabelled("-1", ["-1", "1"])
        (True, True, False)
    """
    if text in named:
        return False
    return marks_no_label(text) or (whole_number(text) or 0) < 0


def labelled(
    table: Table,
    columns: str | Sequence[str],
    class_names: Sequence[str] | None,
    unlabelled: Unlabelled,
) -> Table:
    """Return the rows that have a label.

    Args:
        table: All rows.
        columns: The label column, or several of 0 and 1: a row needs all of them.
        class_names: Labels that are classes, whatever they look like.
        unlabelled: "refuse", or "drop" for the rows that have none.

    Raises:
        InvalidDataError: If rows have no label and are not to be dropped, or none has one; names
            the lines.
    """
    several = not isinstance(columns, str)
    named = () if several else tuple(map(str, class_names or ()))
    found = {
        column: table.column(column, "label_column")
        for column in ([columns] if isinstance(columns, str) else columns)
    }
    none = {column: _without_label(texts, named) for column, texts in found.items()}
    bare = [row for row in range(len(table)) if any(marks[row] for marks in none.values())]
    if not bare:
        return table
    if unlabelled == "refuse":
        column = next(column for column, marks in none.items() if marks[bare[0]])
        raise _refused(table, bare, column, several)
    if len(bare) == len(table):
        raise InvalidDataError(f"no row of {table.file} has a label.")
    return table.without(bare)


def _without_label(texts: Sequence[str], named: Collection[str]) -> list[bool]:
    """Say of each text of a column whether it is no label; among numbers, infinity is none."""
    none = [is_unlabelled(text, named) for text in texts]
    infinite = [text not in named and is_infinite(text) for text in texts]
    known = [one or two for one, two in zip(none, infinite, strict=True)]
    if all(mark or whole_number(text) is not None for text, mark in zip(texts, known, strict=True)):
        return known
    return none


def _refused(
    table: Table,
    bare: Sequence[int],
    column: str,
    several: bool,
) -> InvalidDataError:
    row = bare[0]
    text = table.columns[column][row]
    what = column if several else "the label"
    told = f"{what} is empty" if not text else f"{what} is {text!r}, which marks a row without one"
    lines = [str(table.lines[other]) for other in bare[1:]]
    more = f" So it is with {agreeing(len(lines), 'line')} {few(lines, MOST_LINES)}."
    named_all = "" if several else "; if it is a class, name all by dataset.class_names=[...]"
    rest = (
        f"{more if lines else ''} Fill it in, or pass dataset.unlabelled=drop to leave such rows "
        f"out{named_all}."
    )
    place = table.place(row)
    return hiding(
        InvalidDataError(f"{place}: {told}.{rest}"),
        f"{place}: {what} marks a row without one.{rest}",
    )


def dropped_rows(
    table: Table, column: str, split: str, lacking: str = "label"
) -> tuple[Finding, ...]:
    """Say how many rows of a split have no label, or what else images need, and were left out."""
    if table.dropped is None:
        return ()
    splits = table.dropped.columns.get(column)
    number = len(table.dropped) if splits is None else list(splits).count(split)
    return _left_out(number, f"of {split}", lacking) if number else ()


def _left_out(number: int, of: str, lacking: str = "label") -> tuple[Finding, ...]:
    rows = counted(number, "row")
    has, were = ("has", "was") if number == 1 else ("have", "were")
    said = f"{rows} {of} {has} no {lacking} and {were} left out (dataset.unlabelled=drop)"
    return (Finding("further remarks", said),)


def labelled_rows(
    stored: NDArray[Any], file: str, unlabelled: Unlabelled
) -> tuple[NDArray[np.int64], tuple[Finding, ...]]:
    """Return the rows of an array of labels that have one, and what is to be said of the others.

    Args:
        stored: (N,) or (N, L); NaN and -1 are none.
        file: Name of the file.
        unlabelled: As for `labelled`.

    Raises:
        InvalidDataError: As `labelled` raises it; names the rows. If there are no labels at all.
    """
    if not np.size(stored):
        raise InvalidDataError(f"{file} has no labels, as it holds no images: pass another file.")
    values = np.asarray(stored).reshape(len(stored), -1)
    none = values == -1
    if values.dtype.kind == "f":
        none |= np.isnan(values)
    bare = np.flatnonzero(none.any(axis=1))
    if not len(bare):
        return np.arange(len(values)), ()
    if unlabelled == "refuse":
        rows = f"{agreeing(len(bare), 'row')} {few(map(str, bare.tolist()), MOST_LINES)}"
        raise InvalidDataError(
            f"{file} has labels from {np.nanmin(values):g} to {np.nanmax(values):g}: NaN and -1 "
            f"mark rows without one ({rows}, counted from 0). Correct them, or pass "
            f"dataset.unlabelled=drop to leave them out."
        )
    if len(bare) == len(values):
        raise InvalidDataError(f"no row of {file} has a label.")
    return np.flatnonzero(~none.any(axis=1)), _left_out(len(bare), f"of {file}")
