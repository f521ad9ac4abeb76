"""The small files of a MedIMeta folder: info.yaml, splits, labels of a task, annotations."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from medrobust.datasets.medimeta_facts import RECORD
from medrobust.datasets.table import Table, read_table
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError, unknown_name
from medrobust.types import TaskKind

LARGEST_INFO = 1 << 20
"""Bytes beyond which an info.yaml is taken for a hostile one."""

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
        match = re.fullmatch(r"(?:images/)?(\d{1,9})\.\w+", line.strip().replace("\\", "/"))
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
    table = annotations(folder)
    column = f"tasks/{task}"
    flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if table is None or column not in table.columns or flat.ndim != 1:
        return
    for line, path, text in zip(
        table.lines, table.columns["filepath"], table.columns[column], strict=True
    ):
        row = _number(path, line)
        if row >= len(flat) or text.removesuffix(".0") != str(int(flat[row])):
            raise InvalidDataError(
                f"{folder / 'annotations.csv'}, line {line}: {column} is {text!r}, but the label "
                f"file says {int(flat[row]) if row < len(flat) else 'nothing'}: the two are not of "
                f"one release. Unpack {folder.name}.zip again."
            )


def patients(folder: Path) -> Mapping[int, str] | None:
    """Return image -> patient, or None where `annotations.csv` names no patients."""
    table = annotations(folder)
    if table is None or "patient_id" not in table.columns:
        return None
    return {
        _number(path, line): patient
        for path, patient, line in zip(
            table.columns["filepath"], table.columns["patient_id"], table.lines, strict=True
        )
    }


def annotations(folder: Path) -> Table | None:
    """Read `annotations.csv`, None where there is none.

    Raises:
        InvalidDataError: If it is not a table, or has no column `filepath`.
    """
    file = folder / "annotations.csv"
    if not file.is_file():
        return None
    return _table(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _table(file: Path, _time: int) -> Table:
    table = read_table(file)
    if "filepath" not in table.columns:
        raise InvalidDataError(f"{file} has no column 'filepath'; it has: {list(table.columns)}.")
    return table


def _number(path: str, line: int) -> int:
    stem = path.rsplit("/", 1)[-1].split(".")[0]
    if not stem.isdecimal():
        raise InvalidDataError(f"annotations.csv, line {line}: {path[:60]!r} is not an image.")
    return int(stem)


def _present(file: Path) -> Path:
    if not file.is_file():
        raise DatasetNotFoundError(
            f"{file} not found. Unpack the set's archive of Zenodo record {RECORD} there again, "
            f"or pass dataset.root=<folder of the sets>."
        )
    return file
