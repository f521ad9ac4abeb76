"""The small files of a MedIMeta folder: info.yaml, splits, labels of a task, annotations."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from medrobust.datasets.medimeta_facts import RECORD
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError, unknown_name
from medrobust.types import Int64Array, TaskKind

LARGEST_INFO = 1 << 20
"""Bytes beyond which an info.yaml is taken for a hostile one."""

IMAGE_PATH = re.compile(r"(?:images/)?(\d{1,9})\.\w+")

TASKS: Mapping[str, TaskKind] = MappingProxyType(
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
        kind: One of the four task strings.
        class_names: As `info.yaml` has them, in label order.
    """

    kind: TaskKind
    class_names: tuple[str, ...]


def read_task(folder: Path, name: str) -> MedIMetaTask:
    """Read what `info.yaml` says of a task.

    Raises:
        DatasetNotFoundError: If there is no `info.yaml`.
        InvalidDataError: If it is not one.
        UnknownNameError: If the set has no such task; names those it has.
    """
    file = _present(folder / "info.yaml")
    if file.stat().st_size > LARGEST_INFO:
        raise InvalidDataError(f"{file} is {file.stat().st_size} bytes long: not an info.yaml.")
    try:
        tasks = {
            str(task["task_name"]): task
            for task in yaml.safe_load(file.read_text(encoding="utf-8"))["tasks"]
        }
        if name not in tasks:
            raise unknown_name(f"task of {folder.name}", name, tasks)
        labels = tasks[name]["labels"]
        names = tuple(str(labels[number]) for number in range(len(labels)))
        return MedIMetaTask(TASKS[tasks[name]["task_target"]], names)
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, IndexError) as error:
        raise InvalidDataError(
            f"{file} does not describe its tasks as MedIMeta's does ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}). Unpack {folder.name}.zip again."
        ) from error


def rows_of_split(folder: Path, split: str) -> list[int]:
    """Read a split: numbers of images, in the order of its file.

    Raises:
        DatasetNotFoundError: If there is no such file.
        InvalidDataError: If a line is not the path of an image, or comes twice.
    """
    file = _present(folder / "splits" / f"{split}.txt")
    return list(_rows(file, file.stat().st_mtime_ns))


@lru_cache(maxsize=64)
def _rows(file: Path, _time: int) -> tuple[int, ...]:
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
    return tuple(rows)


def label_values(folder: Path, task: str) -> NDArray[Any]:
    """Read the labels of a task for all images of a set: whole numbers, (N,) or (N, L).

    Raises:
        DatasetNotFoundError: If there is no such file.
        InvalidDataError: If it is damaged, holds anything but whole numbers, or contradicts
            `annotations.csv`.
    """
    file = _present(folder / "task_labels" / f"{task}.npy")
    try:
        stored = np.load(file, mmap_mode="r", allow_pickle=False)
        values: NDArray[Any] = np.array(stored)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise InvalidDataError(
            f"{file} is damaged or holds more than plain numbers. Unpack {folder.name}.zip again."
        ) from error
    if values.dtype.kind not in "biu" or values.ndim not in (1, 2) or len(values) == 0:
        raise InvalidDataError(
            f"{file} holds {values.dtype} of shape {values.shape}; labels are whole numbers, (N,) "
            f"or (N, L)."
        )
    _compare_with_annotations(folder, task, values)
    return values


def _compare_with_annotations(folder: Path, task: str, values: NDArray[Any]) -> None:
    found = annotations(folder)
    column = f"tasks/{task}"
    flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if found is None or column not in found.columns or flat.ndim != 1:
        return
    texts = found.columns[column]
    try:
        stated = np.array(list(map(float, texts)))
    except ValueError as error:
        raise InvalidDataError(
            f"{folder / 'annotations.csv'}: {column} holds more than numbers ({error})."
        ) from error
    inside = found.images < len(flat)
    wrong = ~inside
    wrong[inside] = flat[found.images[inside]] != stated[inside]
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidDataError(
            f"{folder / 'annotations.csv'}: {column} of image {found.images[row]:06d} is "
            f"{texts[row]!r}, but not in its label file: the two are not of one release. Unpack "
            f"{folder.name}.zip again."
        )


def patients(folder: Path) -> NDArray[np.str_] | None:
    """Return the patient of each image of a set, by number, empty where none is named.

    None where `annotations.csv` names no patients.
    """
    found = annotations(folder)
    if found is None or "patient_id" not in found.columns:
        return None
    names = np.array(found.columns["patient_id"], dtype=np.str_)
    by_number = np.zeros(int(found.images.max()) + 1, dtype=names.dtype)
    by_number[found.images] = names
    return by_number


@dataclass(frozen=True, slots=True)
class Annotations:
    """Columns of `annotations.csv`.

    Attributes:
        images: int64 (n,), the number of the image of each row.
        columns: Name -> one text a row.
    """

    images: Int64Array
    columns: Mapping[str, Sequence[str]]


def annotations(folder: Path) -> Annotations | None:
    """Read `annotations.csv`, None where there is none.

    Raises:
        InvalidDataError: If it is not a table, or has no column `filepath` of images.
    """
    file = folder / "annotations.csv"
    if not file.is_file():
        return None
    return _annotations(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _annotations(file: Path, _time: int) -> Annotations:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header, *rows = filter(None, csv.reader(stream))
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InvalidDataError(f"{file} is not a CSV table ({error}).") from error
    uneven = [row for row in rows if len(row) != len(header)]
    if uneven or not rows or "filepath" not in header:
        reason = "rows of unequal length" if uneven else "no rows, or no column 'filepath'"
        raise InvalidDataError(f"{file} has {reason}; its header: {', '.join(header)[:200]}.")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    try:
        images = [int(path.rpartition("/")[2].partition(".")[0]) for path in columns["filepath"]]
        return Annotations(np.array(images, dtype=np.uint32).astype(np.int64), columns)
    except (ValueError, OverflowError) as error:
        raise InvalidDataError(f"{file}: a filepath is not that of an image ({error}).") from error


def _present(file: Path) -> Path:
    if not file.is_file():
        raise DatasetNotFoundError(
            f"{file} not found. Unpack the set's archive of Zenodo record {RECORD} there again, "
            f"or pass dataset.root=<folder of the sets>."
        )
    return file
