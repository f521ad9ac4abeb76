"""Tables of own data (CSV): columns of strings, checked for what people get wrong."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medrobust.exceptions import DatasetNotFoundError, InvalidDataError

DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of a file, as strings without surrounding spaces.

    Attributes:
        file: Name of the file, for messages.
        columns: Name -> its values, one a row.
        lines: Line of the file in which each row ends.
    """

    file: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str, key: str) -> Sequence[str]:
        """Return a column.

        Args:
            name: Of the column.
            key: Configuration key that names it, for the message.

        Raises:
            InvalidDataError: If there is no such column.
        """
        if name not in self.columns:
            raise InvalidDataError(
                f"{self.file} has no column {name!r}; it has: {', '.join(self.columns)}. "
                f"Pass dataset.{key}=<column>."
            )
        return self.columns[name]


def read_table(file: Path) -> Table:
    """Read a CSV file: UTF-8 with or without BOM, any line ends, `,`, `;` or tab between fields.

    Raises:
        DatasetNotFoundError: If the file does not exist.
        InvalidDataError: If it is not such a file, is empty, or has rows of another length.
    """
    if not file.is_file():
        raise DatasetNotFoundError(f"table {file} not found. Pass dataset.csv=<file>.")
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
    if len(set(header)) < len(header):
        raise InvalidDataError(f"{name} names a column twice: {', '.join(header)}.")
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


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, each with the line it ends in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for fields in reader:
        if any(field.strip() for field in fields):
            yield reader.line_num, fields
