"""Columns that subgroup tables use; numbers in bins: an age of 57 is "40 to under 60"."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.missing import MISSING, is_missing, names_nobody, whole_number
from medrobust.base.wording import counted, part_of
from medrobust.exceptions import ConfigurationError, InvalidDataError

from .spellings import spellings
from .table import Table

MOST_SUBGROUPS = 50
"""Values of a metadata column beyond which it is taken for one that could point to a patient."""


def read_metadata(
    table: Table, columns: Sequence[str], bins: Mapping[str, Sequence[float]] | None = None
) -> NDArray[np.str_] | None:
    """Read the columns that subgroup tables use, (N, M), or None for no columns.

    A missing value is stored empty, in whatever words the table has it (`medrobust.base.missing`).

    Args:
        table: Of the images.
        columns: Names of them.
        bins: Column of numbers -> where its bins begin.

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
        for found in [table.column(name, "metadata_columns")]
    ]
    values = np.array(texts, dtype=np.str_).T
    for name, column in zip(columns, values.T, strict=True):
        found = len(np.unique(column))
        if found > min(MOST_SUBGROUPS, max(2, len(table) // 2)):
            raise InvalidDataError(
                f"{table.file}: column {name!r} has {counted(found, 'value')} in "
                f"{counted(len(table), 'row')}, which could point to a patient and is no "
                f"subgroup. Group its values first (dataset.bins, of numbers), or take it "
                f"off dataset.metadata_columns."
            )
    return np.ascontiguousarray(values)


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
        numbers = several and all(isinstance(one, int | float) and isfinite(one) for one in given)
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
        InvalidDataError: If a value is no number, or below 0 where no bin begins there.
    """
    words = bin_names(edges)
    positive = min(edges) > 0
    found = []
    for row, text in enumerate(values):
        if names_nobody(text) and (positive or whole_number(text) != -1):
            found.append("")
            continue
        try:
            value = float(text.strip().replace(",", "."))
        except ValueError:
            value = float("nan")
        if not isfinite(value):
            raise InvalidDataError(
                f"{table.place(row)}: column {name!r} has bins (dataset.bins), and {text!r} is no "
                f"number. Correct it, or leave it empty."
            )
        if positive and value < 0:
            raise InvalidDataError(
                f"{table.place(row)}: column {name!r} is {text}, below 0, and all its bins begin "
                f"above 0. Correct it, leave it empty, or, if it is meant, begin a bin at 0 "
                f"(dataset.bins)."
            )
        found.append(words[sum(value >= edge for edge in edges)])
    return found


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
