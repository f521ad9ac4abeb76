"""The column of splits: rows that name none, and one split written in several ways."""

from collections.abc import Sequence

from medrobust.base.findings import Finding
from medrobust.base.missing import is_missing
from medrobust.base.wording import agreeing, counted
from medrobust.exceptions import InvalidDataError

from .spellings import folded
from .table import Table


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
            f"{table.file}: the splits {told} differ in upper and lower case or white space "
            f"alone. Write them alike."
        )


def rows_of_no_split(table: Table, column: str) -> tuple[Finding, ...]:
    """Say how many rows name no split, so that none has them."""
    number = sum(map(is_missing, table.columns.get(column, ())))
    if not number:
        return ()
    said = f"{counted(number, 'row')} {agreeing(number, 'names')} no split: left out"
    return (Finding("further remarks", said),)
