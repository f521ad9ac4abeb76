"""The small files of a MedIMeta folder: info.yaml, splits, labels of a task, annotations.

Text files are parsed once: reading the hundred thousand lines of a large set again would cost more
than all the rest of opening it, so their arrays are kept in the cache.
"""

import csv
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from medrobust.base.safe_files import UNREADABLE, whole_array
from medrobust.datasets.cache import ArrayWriter, cached_array, source_key
from medrobust.exceptions import (
    DatasetNotFoundError,
    InvalidDataError,
    MedRobustError,
    unknown_name,
)
from medrobust.types import Float64Array, Int64Array, LabelKind

from .medimeta_facts import RECORD

LARGEST_INFO = 1 << 20
"""Bytes beyond which an info.yaml is taken for a hostile one."""

DAMAGED: tuple[type[Exception], ...] = (yaml.YAMLError, *UNREADABLE)
"""What reading a hostile info.yaml raises."""

MOST_IMAGES = 100_000_000
"""Number beyond which a file is not taken for an image of a set."""

IMAGE_PATH = re.compile(r"(?:images/)?(\d{1,8})\.\w+")

TASKS: Mapping[str, LabelKind] = MappingProxyType(
    {
        "BINARY_CLASSIFICATION": "binary-class",
        "MULTICLASS_CLASSIFICATION": "multi-class",
        "MULTILABEL_CLASSIFICATION": "multi-label, binary-class",
        "ORDINAL_REGRESSION": "ordinal-regression",
    }
)


@dataclass(frozen=True, slots=True)
class MedIMetaTask:
    """One task of a set.

    Attributes:
        kind: One of MedMNIST's four words for kinds of labels.
        class_names: As `info.yaml` has them, in label order.
    """

    kind: LabelKind
    class_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Patients:
    """Who is on each image of a set.

    Attributes:
        names: (P,) strings.
        numbers: int64 (N,) by the number of the image, into `names`; -1 where none is named.
    """

    names: NDArray[np.str_]
    numbers: Int64Array


@dataclass(frozen=True, slots=True)
class MedIMetaFiles:
    """The small files of one set.

    Args:
        folder: Of the set.
        full_hash: See `medrobust.datasets.cache.source_key`.
        cache_dir: See `medrobust.datasets.cache.cache_folder`.
    """

    folder: Path
    full_hash: bool = False
    cache_dir: str | os.PathLike[str] | None = None

    def task(self, name: str) -> MedIMetaTask:
        """Read what `info.yaml` says of a task.

        Raises:
            DatasetNotFoundError: If there is no `info.yaml`.
            InvalidDataError: If it is not one.
            UnknownNameError: If the set has no such task; names those it has.
        """
        file = self._present("info.yaml")
        if file.stat().st_size > LARGEST_INFO:
            raise InvalidDataError(f"{file} is {file.stat().st_size} bytes long: not an info.yaml.")
        try:
            tasks = {
                str(task["task_name"]): task
                for task in yaml.safe_load(file.read_text(encoding="utf-8"))["tasks"]
            }
            if name not in tasks:
                raise unknown_name(f"task of {self.folder.name}", name, tasks)
            labels = tasks[name]["labels"]
            names = tuple(str(labels[number]) for number in range(len(labels)))
            return MedIMetaTask(TASKS[tasks[name]["task_target"]], names)
        except DAMAGED as error:
            if isinstance(error, MedRobustError):
                raise
            raise InvalidDataError(
                f"{file} does not describe its tasks as MedIMeta's does ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}). {self._unpack_again()}"
            ) from error

    def rows(self, split: str) -> Int64Array:
        """Read a split: numbers of images, int64 (n,), in the order of its file.

        Raises:
            DatasetNotFoundError: If there is no such file.
            InvalidDataError: If a line is not the path of an image, or comes twice.
        """
        file = self._present(f"splits/{split}.txt")
        return self._kept(file, "rows", lambda: split_rows(file))

    def has_split(self, split: str) -> bool:
        """Say whether there is a file of that split."""
        return (self.folder / "splits" / f"{split}.txt").is_file()

    def labels(self, task: str) -> NDArray[Any]:
        """Read the labels of a task for all images of the set: whole numbers, (N,) or (N, L).

        Raises:
            DatasetNotFoundError: If there is no such file.
            InvalidDataError: If it is damaged, holds anything but whole numbers, or contradicts
                `annotations.csv`.
        """
        file = self._present(f"task_labels/{task}.npy")
        try:
            values: NDArray[Any] = whole_array(file)
        except (ValueError, OSError) as error:
            raise InvalidDataError(
                f"{file} is damaged or holds more than plain numbers. {self._unpack_again()}"
            ) from error
        if values.dtype.kind not in "biu" or values.ndim not in (1, 2) or len(values) == 0:
            raise InvalidDataError(
                f"{file} holds {values.dtype} of shape {values.shape}; labels are whole numbers, "
                f"(N,) or (N, L)."
            )
        self._compare_with_annotations(task, values)
        return values

    def _compare_with_annotations(self, task: str, values: NDArray[Any]) -> None:
        column = f"tasks/{task}"
        flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if flat.ndim != 1 or column not in self._columns():
            return
        stated = self._kept(
            self._annotations, column, lambda: stated_labels(self._annotations, column)
        )
        named = np.flatnonzero(~np.isnan(stated))
        inside = named[named < len(flat)]
        wrong = [*inside[flat[inside] != stated[inside]].tolist(), *named[len(inside) :].tolist()]
        if wrong:
            row = wrong[0]
            raise InvalidDataError(
                f"{self._annotations}: {column} of image {row:06d} is {stated[row]:g}, but not in "
                f"its label file: the two are not of one release. {self._unpack_again()}"
            )

    def patients(self) -> Patients | None:
        """Return the patient of each image, None where `annotations.csv` names no patients.

        Raises:
            InvalidDataError: If it is not a table, or has no column `filepath` of images.
        """
        file, column = self._annotations, "patient_id"
        if column not in self._columns():
            return None
        numbers = self._kept(file, "patients", lambda: named_patients(file, column).numbers)
        names = self._kept(file, "patient-names", lambda: named_patients(file, column).names)
        return Patients(names, numbers)

    @property
    def _annotations(self) -> Path:
        return self.folder / "annotations.csv"

    def _columns(self) -> list[str]:
        """Name the columns of `annotations.csv`, none where there is no such file."""
        file = self._annotations
        return read_header(file) if file.is_file() else []

    def _kept(self, file: Path, what: str, parse: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Parse a text file once; afterwards its array is read from the cache."""

        def write(target: Path) -> str:
            array = np.ascontiguousarray(parse())
            with ArrayWriter(target, array.dtype, array.shape) as writer:
                writer.write(array.tobytes())
                return writer.close()

        key = {"kind": "medimeta", "what": what, **source_key(file, full_hash=self.full_hash)}
        name = f"{self.folder.name}-{file.stem}-{what}"
        return np.array(cached_array(name, key, write, cache_dir=self.cache_dir).open())

    def _present(self, name: str) -> Path:
        file = self.folder / name
        if not file.is_file():
            raise DatasetNotFoundError(
                f"{file} not found. Unpack the set's archive of Zenodo record {RECORD} there "
                f"again, or pass dataset.root=<folder of the sets>."
            )
        return file

    def _unpack_again(self) -> str:
        return f"Unpack {self.folder.name}.zip again."


def split_rows(file: Path) -> Int64Array:
    """Parse a file of `splits/`.

    Raises:
        InvalidDataError: If a line is not the path of an image, or comes twice.
    """
    rows: dict[int, None] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{file} is not a text file.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = IMAGE_PATH.fullmatch(line.strip().replace("\\", "/"))
        if match is None:
            raise InvalidDataError(
                f"{file}, line {number}: {line[:60]!r} is not the path of an image as "
                f"images/000000.tiff."
            )
        row = int(match[1])
        if row in rows:
            raise InvalidDataError(f"{file}, line {number}: image {match[1]} stands there twice.")
        rows[row] = None
    if not rows:
        raise InvalidDataError(f"{file} names no image.")
    return np.array(list(rows), dtype=np.int64)


def read_header(file: Path) -> list[str]:
    """Read the names of the columns of `annotations.csv`.

    Raises:
        InvalidDataError: If it is not a table, or has no column `filepath`.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = next(filter(None, csv.reader(stream)), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidDataError(f"{file} is not a CSV table ({error}).") from error
    if "filepath" not in header:
        raise InvalidDataError(
            f"{file} has no column 'filepath'; its header: {', '.join(header)[:200]}."
        )
    return header


def read_column(file: Path, column: str) -> tuple[Int64Array, list[str]]:
    """Read a column of `annotations.csv`.

    Returns:
        The number of the image of each row, and the text of each row.

    Raises:
        InvalidDataError: If it is not a table of images.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header, *rows = filter(None, csv.reader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidDataError(f"{file} is not a CSV table ({error}).") from error
    if not rows or {*map(len, rows)} != {len(header)}:
        raise InvalidDataError(f"{file} has {'rows of unequal length' if rows else 'no rows'}.")
    place, value = header.index("filepath"), header.index(column)
    paths = [row[place] for row in rows]
    matches = [IMAGE_PATH.fullmatch(path.rpartition("/")[2]) for path in paths]
    images = np.array([int(match[1]) if match else MOST_IMAGES for match in matches])
    if images.max() >= MOST_IMAGES:
        raise InvalidDataError(
            f"{file}: the filepath {paths[int(images.argmax())][:60]!r} is not that of an image as "
            f"images/000000.tiff."
        )
    return images, [row[value] for row in rows]


def stated_labels(file: Path, column: str) -> Float64Array:
    """Return a column of labels by the number of the image, not-a-number where none is stated.

    Raises:
        InvalidDataError: If it is not a table of images, or holds more than numbers.
    """
    images, texts = read_column(file, column)
    stated = np.full(int(images.max()) + 1, np.nan)
    try:
        stated[images] = [float(text) for text in texts]
    except ValueError as error:
        raise InvalidDataError(f"{file}: {column} holds more than numbers ({error}).") from error
    return stated


def named_patients(file: Path, column: str) -> Patients:
    """Number the patients of `annotations.csv`.

    Raises:
        InvalidDataError: If it is not a table of images.
    """
    images, texts = read_column(file, column)
    names, found = np.unique(np.array(texts, dtype=np.str_), return_inverse=True)
    numbers = np.full(int(images.max()) + 1, -1, dtype=np.int64)
    numbers[images] = np.where(names[found] == "", -1, found)
    return Patients(names, numbers)
