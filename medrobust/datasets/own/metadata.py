"""Columns that subgroup tables use; numbers in bins: an age of 57 is "40 to under 60"."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.missing import MISSING, is_missing, names_nobody, whole_number
from medrobust.base.wording import counted, listed, part_of
from medrobust.exceptions import ConfigurationError, InvalidDataError

from .pseudonyms import keyed_hashes
from .spellings import spellings
from .table import Table

NINES: Final = tuple(float("9" * digits) for digits in range(2, 7))
MINUS_CODES: Final = (-1.0, -9.0, *(-number for number in NINES))
"""Numbers that tables often hold where nothing is known."""

MOST_SUBGROUPS = 50
"""Values of a metadata column beyond which it is taken for one that could point to a patient."""

NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
"""A number as tables write it, with a point or a comma; Python knows further forms, as 1_0."""

THOUSANDS: Final = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
"""A number whose point or comma may stand between thousands or before decimals."""


def read_metadata(
    table: Table,
    columns: Sequence[str],
    bins: Mapping[str, Sequence[float]] | None = None,
    missing_codes: Sequence[float | str] = (),
) -> NDArray[np.str_] | None:
    """Read the columns that subgroup tables use, (N, M), or None for no columns.

    A missing value is stored empty, in whatever words the table has it (`medrobust.base.missing`).

    Args:
        table: Of the images.
        columns: Names of them.
        bins: Column of numbers -> where its bins begin.
        missing_codes: Values that say that nothing is known, as 999.

    Raises:
        ConfigurationError: If bins are of another column, or do not rise.
        InvalidDataError: If a column is missing, is no number where it has bins, or has so many
            values that they could point to patients.
    """
    edges = bins or {}
    check_bins(edges, columns)
    if not columns:
        return None
    texts = [
        binned(table, name, found, edges[name])
        if name in edges
        else ["" if is_missing(text) or text.lower() == MISSING else text for text in found]
        for name in columns
        for found in [_without(missing_codes, table.column(name, "metadata_columns"))]
    ]
    values = np.array(texts, dtype=np.str_).T
    for name, column in zip(columns, values.T, strict=True):
        found = len(np.unique(column[column != ""]))
        if found > min(MOST_SUBGROUPS, max(2, len(table) // 2)):
            raise InvalidDataError(
                f"{table.file}: column {name!r} has {counted(found, 'value')} in "
                f"{counted(len(table), 'row')}, which could point to a patient and is no "
                f"subgroup. {_remedy(name, table.columns[name], edges, missing_codes)}, or take "
                f"it off dataset.metadata_columns; where it says which images belong together, as "
                f"a study does, name it in dataset.unit_columns, which keeps keyed hashes."
            )
    return np.ascontiguousarray(values)


def read_units(table: Table, columns: Sequence[str], key: bytes) -> NDArray[np.str_] | None:
    """Read the columns that say which images belong together: (N, M) of keyed hashes, or None.

    What names nothing is stored empty.

    Args:
        table: Of the images.
        columns: Names of them; None comes back for none.
        key: Of the data.

    Raises:
        InvalidDataError: If a column is missing.
    """
    if not columns:
        return None
    found = []
    for name in columns:
        given = table.column(name, "unit_columns")
        hashes = keyed_hashes(key, "unit", [f"{name}\n{value}" for value in given])
        found.append(np.where([names_nobody(value) for value in given], "", hashes))
    return np.stack(found, axis=1)


def _remedy(
    name: str,
    texts: Sequence[str],
    bins: Mapping[str, Sequence[float]],
    missing_codes: Sequence[float | str],
) -> str:
    """Say what makes groups of a column of many values."""
    codes = _codes_for_missing(_without(missing_codes, texts))
    named = f"name what marks a missing value (dataset.missing_codes=[{','.join(codes)}]), "
    fewer = "give it fewer bins (dataset.bins)"
    if name not in bins:
        fewer = "group its values first (dataset.bins, of numbers)"
    said = f"{named if codes else ''}{fewer}"
    return said[0].upper() + said[1:]


def _codes_for_missing(texts: Sequence[str]) -> list[str]:
    """Return the numbers of a column that may mark a missing value: negative alone, or nines.

    Example:
        >>> _codes_for_missing(["41", "-1", "999", "62.5"]), _codes_for_missing(["-3", "-1", "2"])
        (['-1', '999'], [])
    """
    numbers = {float(t.replace(",", ".")) for t in texts if NUMBER.fullmatch(t)}
    below = sorted(one for one in numbers if one < 0)
    rest = sorted(one for one in numbers if one >= 0)
    alone = len(below) == 1 and below[0] in MINUS_CODES and len(rest) > 1
    codes = below if alone else []
    if len(rest) > 2 and rest[-1] in NINES and rest[-1] > 1.1 * rest[-2]:
        codes = [*codes, rest[-1]]
    return [f"{code:g}" for code in codes]


def codes_said(
    table: Table,
    columns: Sequence[str],
    bins: Mapping[str, Sequence[float]] | None,
    missing_codes: Sequence[float | str],
) -> tuple[Finding, ...]:
    """Name the numbers of metadata columns that may mark a missing value and are taken as they are.

    Args:
        table: Of the images.
        columns: Names of them.
        bins: Where bins begin; where all begin above 0, -1 is missing already.
        missing_codes: Values that are known to mark one.
    """
    above = [name for name, edges in (bins or {}).items() if min(edges) > 0]
    known = {name: (*missing_codes, -1) if name in above else missing_codes for name in columns}
    said = [
        f"{name} holds {listed(codes)}: if "
        f"{'it marks' if len(codes) == 1 else 'they mark'} a missing value, pass "
        f"dataset.missing_codes=[{','.join(codes)}]"
        for name in columns
        for codes in [_codes_for_missing(_without(known[name], table.columns[name]))]
        if codes
    ]
    return tuple(Finding("further remarks", one) for one in said)


def _without(codes: Sequence[float | str], texts: Sequence[str]) -> Sequence[str]:
    """Empty the values that the owner of a table calls missing, however a number is written."""
    words = {str(code) for code in codes}
    numbers = {whole_number(word) for word in words} - {None}
    return ["" if t in words or whole_number(t) in numbers else t for t in texts]


def check_bins(bins: Mapping[str, Sequence[float]], columns: Sequence[str]) -> None:
    """Refuse bins of a column that is none of the metadata, or whose edges do not rise.

    Raises:
        ConfigurationError: Naming the column.
    """
    typed: Any = bins
    if not isinstance(typed, Mapping):
        raise ConfigurationError(
            f"dataset.bins={bins} must name columns, such as 'dataset.bins={{age: [40,60]}}'."
        )
    for name, edges in bins.items():
        if name not in columns:
            raise ConfigurationError(
                f"dataset.bins names {name!r}, which dataset.metadata_columns does not. Add it "
                f"there, too."
            )
        given: Any = edges  # as people type it, which may be one number
        several = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
        numbers = several and all(
            isinstance(one, int | float) and not isinstance(one, bool) and isfinite(one)
            for one in given
        )
        if not numbers or sorted(set(edges)) != list(edges):
            raise ConfigurationError(
                f"dataset.bins of {name!r} must be numbers that rise, such as [40,60], got {edges}."
            )


def binned(table: Table, name: str, values: Sequence[str], edges: Sequence[float]) -> list[str]:
    """Return the bin of each value in words; a missing value, or an unknown one, is in none.

    Where all bins begin above 0, -1 marks a missing value, too, and what is lower is refused.

    Args:
        table: Where they stand, to name the line of what is no number.
        name: Of the column.
        values: As the table has them.
        edges: Where bins begin, rising; below the first and from the last on are bins, too.

    Raises:
        InvalidDataError: If a value is no number or may be two, or is below 0 where no bin begins.
    """
    words = bin_names(edges)
    commas = any("," in text and not THOUSANDS.fullmatch(text) for text in values)  # in decimals
    positive = min(edges) > 0
    found = []
    for row, text in enumerate(values):
        if names_nobody(text) and (positive or whole_number(text) != -1):
            found.append("")
            continue
        value = _number(table, row, name, text, commas)
        if positive and value < 0:
            raise InvalidDataError(
                f"{table.place(row)}: column {name!r} is {text}, below 0, and all its bins begin "
                f"above 0. Correct it, leave it empty, name it by dataset.missing_codes=[{text}] "
                f"where it marks a missing value, or, if it is meant, begin a bin at 0 or below."
            )
        found.append(words[sum(value >= edge for edge in edges)])
    return found


def _number(table: Table, row: int, name: str, text: str, commas: bool) -> float:
    """Read a number; `commas` says that others of the column have a comma before decimals."""
    value = float(text.replace(",", ".")) if NUMBER.fullmatch(text) else float("nan")
    place = f"{table.place(row)}: column {name!r} has bins (dataset.bins), and"
    if not isfinite(value):
        raise InvalidDataError(
            f"{place} {text!r} is no number. Correct it, leave it empty, or, where it marks a "
            f"missing value, name it by dataset.missing_codes=[...]."
        )
    if THOUSANDS.fullmatch(text) and ("," in text) != commas:
        whole = text.replace(",", "").replace(".", "")
        raise InvalidDataError(
            f"{place} {text!r} may be {whole} or a number with decimals. Write numbers without "
            f"marks between thousands, and decimals with a point."
        )
    return value


def metadata_findings(
    columns: Sequence[str], values: NDArray[np.str_] | None, split: str
) -> tuple[Finding, ...]:
    """Say how many images of a split have no value, and which values differ in spelling alone.

    Args:
        columns: Names of the columns.
        values: Of the images, (N, M), missing ones empty; None for no columns.
        split: Name of the split.
    """
    found = []
    for name, column in zip(columns, () if values is None else values.T, strict=True):
        missing = int((column == "").sum())
        if missing:
            told = f"{name} is missing for {part_of(missing, len(column), 'image')} of {split}"
            found.append(Finding("further remarks", told, audit_only=True))
        for ways in spellings([text for text in np.unique(column).tolist() if text]):
            told = f"{name} has values that differ in spelling alone, each a group of its own"
            found.append(Finding("further remarks", f"{told}: {', '.join(ways)}"))
    return tuple(found)


def bin_names(edges: Sequence[float]) -> list[str]:
    """Name the bins that edges make, one more than there are edges.

    Example:
        >>> bin_names([40, 60.5])
        ['under 40', '40 to under 60.5', '60.5 and over']
    """
    texts = [f"{edge:g}" for edge in edges]
    between = [f"{low} to under {high}" for low, high in pairwise(texts)]
    return [f"under {texts[0]}", *between, f"{texts[-1]} and over"]
