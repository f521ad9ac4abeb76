"""The column of splits: rows that name none, and one split written in several ways."""

from collections.abc import Sequence

from medrobust.base.findings import Finding
from medrobust.base.missing import is_missing
from medrobust.base.wording import agreeing, counted
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError, hiding

from .spellings import folded
from .table import SPLIT_COLUMN, Table, few


def check_split(table: Table, splits: Sequence[str], split: str) -> None:
    """Refuse a split whose rows are written in several ways: some would be left out unsaid.

    Args:
        table: The rows.
        splits: As they stand, one a row.
        split: The one that is wanted.

    Raises:
        InvalidDataError: Naming a line of each spelling.
    """
    first: dict[str, int] = {}
    for row, text in enumerate(splits):
        if folded(text) == folded(split):
            first.setdefault(text, row)
    if split in first and len(first) > 1:
        told = " and ".join(f"{text!r} (line {table.lines[row]})" for text, row in first.items())
        raise InvalidDataError(
            f"{table.file}: the splits {told} differ in upper and lower case, white space or "
            f"signs alone. Write them alike."
        )


def rows_of_no_split(table: Table, column: str) -> tuple[Finding, ...]:
    """Say how many rows name no split, so that none has them."""
    number = sum(map(is_missing, table.columns.get(column, ())))
    if not number:
        return ()
    said = f"{counted(number, 'row')} {agreeing(number, 'names')} no split: left out"
    return (Finding("further remarks", said),)


def rows_of_split(table: Table, column: str, split: str, whole: str) -> list[int]:
    """List the rows of a split.

    Args:
        table: All rows.
        column: Of the splits; without a column of the usual name there is one split.
        split: The one that is asked for.
        whole: What a table without splits is.

    Raises:
        DatasetNotFoundError: If there is no such split.
    """
    if column == SPLIT_COLUMN and SPLIT_COLUMN not in table.columns:
        if split != whole:
            raise DatasetNotFoundError(
                f"{table.file} has no column {SPLIT_COLUMN!r}, so there is no split {split!r}."
            )
        return list(range(len(table)))
    splits = table.column(column, "split_column")
    rows = [row for row, value in enumerate(splits) if value == split]
    check_split(table, splits, split)
    if not rows:
        lacking = f"{table.file} has no row of split {split!r}"
        raise hiding(
            DatasetNotFoundError(
                f"{lacking}; its splits: {few(sorted(set(splits)))} (dataset.split)."
            ),
            f"{lacking}.",
        )
    return rows
