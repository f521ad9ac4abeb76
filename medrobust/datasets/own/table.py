"""Tables of own data (CSV, Parquet): columns of strings, checked for what people get wrong."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import isinf
from pathlib import Path
from typing import Any

from medrobust.base.wording import counted
from medrobust.exceptions import (
    DatasetNotFoundError,
    InvalidDataError,
    MedRobustError,
    MissingDependencyError,
    hiding,
)

from .table_text import table_text

SPLIT_COLUMN = "split"
DELIMITERS = ",;\t|"
SEPARATOR = re.compile(r'\ufeff*"?sep=(.)"?[ \t]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
"""Excel's own first line, which names the delimiter."""

SNIFFED = 1 << 20
"""Letters in which the delimiter is looked for."""

PARQUET = (".parquet", ".pq")

LARGEST = 1 << 30
"""Bytes of a table, unpacked, that are read into memory."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of a file, as strings without surrounding spaces.

    Attributes:
        file: Name of the file, for messages.
        columns: Name -> its values, one a row.
        lines: Line of the file in which each row ends; for Parquet its number from 1.
        dropped: Rows that were left out, as those without a label.
        odd: Column of Parquet -> its first line that holds bytes, a list or infinity: no text.
        counts: What `lines` number, for messages: "line"; of COCO "image" or "annotation".
    """

    file: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    dropped: "Table | None" = None
    odd: Mapping[str, int] = field(default_factory=dict)
    counts: str = "line"

    def __len__(self) -> int:
        return len(self.lines)

    def rows(self, chosen: Sequence[int]) -> "Table":
        """Return some of the rows, with the lines that they have in the file."""
        columns = {name: [values[row] for row in chosen] for name, values in self.columns.items()}
        return Table(self.file, columns, [self.lines[row] for row in chosen], counts=self.counts)

    def without(self, rows: Sequence[int]) -> "Table":
        """Return all but some rows, which are left out beside those that were before."""
        bare = set(rows)
        kept = self.rows([row for row in range(len(self)) if row not in bare])
        dropped = self.rows(rows)
        if self.dropped is not None:
            both = {
                name: [*self.dropped.columns[name], *values]
                for name, values in dropped.columns.items()
            }
            dropped = replace(
                self.dropped, columns=both, lines=[*self.dropped.lines, *dropped.lines]
            )
        return replace(kept, dropped=dropped)

    def parts(self) -> tuple["Table", ...]:
        """Return the rows, and those that were left out, which the file names all the same."""
        return (self,) if self.dropped is None else (self, self.dropped)

    def place(self, row: int) -> str:
        """Name the line of a row, for messages."""
        return f"{self.file}, {self.counts} {self.lines[row]}"

    def column(self, name: str, key: str) -> Sequence[str]:
        """Return a column.

        Args:
            name: Of the column.
            key: Configuration key that names it, for the message.

        Raises:
            InvalidDataError: If there is no such column, or it holds what is no text.
        """
        if name not in self.columns:
            lacking = f"{self.file} has no column {name!r}"
            rest = f"Pass dataset.{key}=<column>."
            raise hiding(  # without a header, the first row of values is taken for one
                InvalidDataError(f"{lacking}; it has: {few(self.columns)}. {rest}"),
                f"{lacking}. {rest}",
            )
        if name in self.odd:
            raise InvalidDataError(
                f"{self.file}, line {self.odd[name]}: column {name!r} holds bytes, a list, a "
                f"structure or infinity. Store it as text or numbers."
            )
        return self.columns[name]


def few(names: Iterable[str], most: int = 10) -> str:
    """List names, the first ten and how many more there are.

    Example:
        >>> few(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    listed = [" ".join(name.split()) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def check_table(file: Path) -> None:
    """Refuse a table that is not there.

    Raises:
        DatasetNotFoundError: If it is missing.
    """
    if file.exists() and not file.is_file():
        what = "a folder" if file.is_dir() else "no ordinary file"
        raise DatasetNotFoundError(f"table {file} is {what}. Pass dataset.csv=<file>.")
    if not file.is_file():
        raise DatasetNotFoundError(f"table {file} not found. Pass dataset.csv=<file>.")


def read_table(file: Path) -> Table:
    """Read a table.

    Args:
        file: Parquet by its suffix, else CSV: UTF-8 or UTF-16, with or without BOM; any
            line ends; `,`, `;`, tab or `|` between fields, or what a first line `sep=` says.

    Raises:
        DatasetNotFoundError: If the file does not exist.
        InvalidDataError: If it is not such a file, is empty, too large, or has rows of another
            length.
        MissingDependencyError: If it is Parquet and pyarrow is not installed.
    """
    check_table(file)
    if file.suffix.lower() in PARQUET:
        return _read_parquet(file)
    if file.stat().st_size > LARGEST:
        raise _too_large(file)
    try:
        return parsed_table(file.name, table_text(file.read_bytes(), file.name))
    except csv.Error as error:
        left = ": a quotation mark is left open" if "unexpected end" in str(error) else ""
        raise InvalidDataError(f"{file.name} cannot be read as CSV ({error}){left}.") from error


def parsed_table(name: str, text: str) -> Table:
    """Read the text of a table.

    Args:
        name: Of its file, for messages.
        text: Of CSV, without a byte order mark.

    Raises:
        InvalidDataError: If it is empty, or has rows of another length.
        csv.Error: If it is no CSV.
    """
    told = SEPARATOR.match(text)
    delimiter = told[1] if told else _delimiter(text)
    rows = _rows(text[told.end() :], delimiter, 1) if told else _rows(text, delimiter)
    header = [name.strip() for name in rows[0][1]] if rows else []
    _check_names(name, header)
    found = rows[1:]
    if not found:
        raise InvalidDataError(f"{name} has no rows below its header.")
    for line, fields in found:
        if len(fields) != len(header):
            raise InvalidDataError(
                f"{name}, line {line}: {counted(len(fields), 'field')}, but "
                f"{counted(len(header), 'column')}. The first line must be the header, without "
                f"remarks above it, and every row must have as many delimiters as it."
            )
    columns = {
        key: [fields[place].strip() for _, fields in found]
        for place, key in enumerate(header)
        if key
    }
    return Table(name, columns, [line for line, _ in found])


def _read_parquet(file: Path) -> Table:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {file.name} needs pyarrow: pip install 'medrobust[parquet]', or save the "
            f"table as CSV."
        ) from error
    try:
        with parquet.ParquetFile(file) as opened:
            groups = range(opened.metadata.num_row_groups)
            if sum(opened.metadata.row_group(g).total_byte_size for g in groups) > LARGEST:
                raise _too_large(file)
            names = [entry.name for entry in opened.schema_arrow]
            _check_names(file.name, names)
            columns = opened.read().to_pydict()
    except (arrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, MedRobustError):
            raise
        raise InvalidDataError(
            f"{file.name} is damaged or not a Parquet file ({type(error).__name__})."
        ) from error
    count = len(columns[names[0]]) if names else 0
    if not count:
        raise InvalidDataError(f"{file.name} has no rows.")
    texts = {name.strip(): [_text(value) for value in columns[name]] for name in names}
    odd = {
        name.strip(): row
        for name in names
        for row in [next((n for n, value in enumerate(columns[name], 1) if _no_text(value)), None)]
        if row is not None
    }
    return Table(file.name, texts, range(1, count + 1), odd=odd)


def _no_text(value: Any) -> bool:
    """Say whether a value is no text, number or date: bytes, a list, a structure, infinity.

    Example:
        >>> [_no_text(value) for value in (None, "a", 1.5, b"a", ["a"], float("inf"))]
        [False, False, False, True, True, True]
    """
    return isinstance(value, bytes | list | dict) or (isinstance(value, float) and isinf(value))


def _text(value: Any) -> str:
    """Write a value as CSV would: nothing for none, flags as 0 and 1, whole numbers without `.0`.

    Example:
        >>> [_text(value) for value in (None, True, 2.0, 2.5, " a ")]
        ['', '1', '2', '2.5', 'a']
    """
    if value is None:
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value).strip()


def _too_large(file: Path) -> InvalidDataError:
    return InvalidDataError(
        f"{file.name} is larger than {LARGEST >> 20} MiB unpacked, which no table of images is."
    )


def _check_names(file: str, names: Sequence[str]) -> None:
    named = [name.strip() for name in names if name.strip()]  # programs leave some without a name
    if len(set(named)) < len(named):
        complaint = f"{file} names a column twice"
        raise hiding(InvalidDataError(f"{complaint}: {few(names)}."), f"{complaint}.")


def _delimiter(text: str) -> str:
    """Return what stands between fields: what cuts all rows into as many, and most, fields.

    A delimiter within quotation marks counts for nothing, nor does a comma of decimals.
    """
    header = text.lstrip().partition("\n")[0]

    def fitting(delimiter: str) -> tuple[bool, int]:
        try:
            widths = [len(fields) for _, fields in _rows(text[:SNIFFED], delimiter)]
        except csv.Error:
            return False, header.count(delimiter)
        widths = widths[:-1] if len(text) > SNIFFED else widths  # the last one may be cut off
        return len(set(widths)) == 1 and widths[0] > 1, widths[0] if widths else 0

    return max(DELIMITERS, key=fitting)


def _rows(text: str, delimiter: str, before: int = 0) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, each with the line it ends in.

    A quotation mark after a delimiter and a space begins a quoted field, unless the marks stand
    within a text, as in `, "fresh" look,`: then all of them are letters.

    Args:
        text: Of the file, or what follows its first lines.
        delimiter: Between fields.
        before: Lines before the text.

    Raises:
        csv.Error: If marks are not closed, or what follows them is no delimiter.
    """
    try:
        return list(_read(text, delimiter, before, skipping=delimiter != " "))
    except csv.Error as error:
        if "unexpected end" in str(error) or not re.search(rf'{re.escape(delimiter)} +"', text):
            raise
        rows = list(_read(text, delimiter, before, skipping=False))
        if any(field.count('"') % 2 for _, fields in rows for field in fields):
            raise
        return rows


def _read(
    text: str, delimiter: str, before: int, *, skipping: bool
) -> Iterator[tuple[int, list[str]]]:
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=skipping)
    for fields in reader:
        if any(text.strip() for text in fields):
            yield before + reader.line_num, fields
