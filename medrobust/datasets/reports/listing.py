"""From reports of studies to a table of images, as own data is read from one."""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medrobust.datasets.own.table import Table, parsed_table
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError

COLUMNS = ("path", "patient", "study", "split")
"""Of every table, before its texts and labels."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was written of one study.

    Attributes:
        study: Name of the study.
        patient: Whose it is; empty where nobody says.
        images: Paths of its images, from the root of the set.
        texts: Name of a section -> its text.
        labels: Name of a column of labels -> its value.
        split: "train", "val" or "test"; empty where the set has no splits.
    """

    study: str
    patient: str
    images: Sequence[str]
    texts: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    split: str = ""


@dataclass
class Listing:
    """Rows that become a table: one an image, each with the texts of its study.

    Attributes:
        file: What the rows are read from, for messages.
        texts: Columns of texts.
        labels: Columns of labels.
        without_image: Split -> reports of it that have no image.
    """

    file: str
    texts: Sequence[str]
    labels: tuple[str, ...] = ()
    without_image: dict[str, int] = field(default_factory=dict)
    _rows: list[dict[str, str]] = field(default_factory=list)
    _lines: list[int] = field(default_factory=list)

    def add(self, report: Report, line: int) -> None:
        """Add the images of a study."""
        if not report.images and any(report.texts.values()):
            self.without_image[report.split] = self.without_image.get(report.split, 0) + 1
        self.labels = tuple(dict.fromkeys((*self.labels, *report.labels)))
        for image in report.images:
            named = dict(
                zip(COLUMNS, (image, report.patient, report.study, report.split), strict=True)
            )
            self._rows.append(named | dict(report.texts) | dict(report.labels))
            self._lines.append(line)

    def found(self, folder: Path, what: str) -> "Listing":
        """Return itself if it holds an image.

        Raises:
            DatasetNotFoundError: If it holds none; says where what was looked for.
        """
        if not self._rows:
            raise DatasetNotFoundError(
                f"no image with a report was found in {folder}: looked for {what}. Pass "
                f"dataset.root=<folder of the set>."
            )
        return self

    def table(self) -> Table:
        """Return the rows as a table; columns that no row fills (split, patient) are left out."""
        names = (*COLUMNS, *self.texts, *self.labels)
        columns = {name: [row.get(name, "") for row in self._rows] for name in names}
        for name in ("patient", "split"):
            if not any(columns[name]):
                del columns[name]
        return Table(self.file, columns, list(self._lines))


def read_file(file: Path) -> str:
    """Read a file of UTF-8, packed by gzip where its name ends so.

    Raises:
        DatasetNotFoundError: If it does not exist.
        InvalidDataError: If it is no such file.
    """
    if not file.is_file():
        raise DatasetNotFoundError(f"{file} not found. Pass dataset.root=<folder of the set>.")
    try:
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise InvalidDataError(f"{file.name} cannot be read: {error}.") from error


def published_table(file: Path) -> Table:
    """Read a table as `read_file` reads it.

    Raises:
        DatasetNotFoundError: If it does not exist.
        InvalidDataError: If it is no table.
    """
    return parsed_table(file.name, read_file(file))
