"""Tables of own data (CSV, Parquet): columns of strings, checked for what people get wrong."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from medrobust.exceptions import (
    DatasetNotFoundError,
    InvalidDataError,
    MedRobustError,
    MissingDependencyError,
    hiding,
)

DELIMITERS = ",;\t"
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
    """

    file: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """Name the line of a row, for messages."""
        return f"{self.file}, line {self.lines[row]}"

    def column(self, name: str, key: str) -> Sequence[str]:
        """Return a column.

        Args:
            name: Of the column.
            key: Configuration key that names it, for the message.

        Raises:
            InvalidDataError: If there is no such column.
        """
        if name not in self.columns:
            lacking = f"{self.file} has no column {name!r}"
            rest = f"Pass dataset.{key}=<column>."
            raise hiding(  # without a header, the first row of values is taken for one
                InvalidDataError(f"{lacking}; it has: {few(self.columns)}. {rest}"),
                f"{lacking}. {rest}",
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


def read_table(file: Path) -> Table:
    """Read a table.

    Args:
        file: Parquet by its suffix, else CSV: UTF-8 with or without BOM, any line ends, `,`, `;` or
            tab between fields.

    Raises:
        DatasetNotFoundError: If the file does not exist.
        InvalidDataError: If it is not such a file, is empty, too large, or has rows of another
            length.
        MissingDependencyError: If it is Parquet and pyarrow is not installed.
    """
    if not file.is_file():
        raise DatasetNotFoundError(f"table {file} not found. Pass dataset.csv=<file>.")
    if file.suffix.lower() in PARQUET:
        return _read_parquet(file)
    if file.stat().st_size > LARGEST:
        raise _too_large(file)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return _parsed(file.name, stream.read())
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{file.name} is not UTF-8 text; save it as CSV UTF-8.") from error
    except csv.Error as error:
        raise InvalidDataError(f"{file.name} cannot be read as CSV ({error}).") from error


def _parsed(name: str, text: str) -> Table:
    head = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=head.count)
    rows = _rows(text, delimiter)
    header = [field.strip() for field in next(rows, (0, []))[1]]
    _check_names(name, header)
    found = list(rows)
    if not found:
        raise InvalidDataError(f"{name} has no rows below its header.")
    for line, fields in found:
        if len(fields) != len(header):
            raise InvalidDataError(
                f"{name}, line {line}: {len(fields)} fields, but {len(header)} columns."
            )
    columns = {
        key: [fields[place].strip() for _, fields in found] for place, key in enumerate(header)
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
            names = [field.name for field in opened.schema_arrow]
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
    return Table(file.name, texts, range(1, count + 1))


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
    if len({name.strip() for name in names}) < len(names):
        complaint = f"{file} names a column twice"
        raise hiding(InvalidDataError(f"{complaint}: {few(names)}."), f"{complaint}.")


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, each with the line it ends in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for fields in reader:
        if any(field.strip() for field in fields):
            yield reader.line_num, fields
