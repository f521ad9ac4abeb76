"""Own data: a folder of images and a table of path, label, and perhaps split and patient."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.datasets.cache import CachedArray, cached_array
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet, data_fingerprint
from medrobust.datasets.labels import Labels, read_labels
from medrobust.datasets.pictures import Fit, Framing, write_pictures
from medrobust.datasets.private import data_key, keyed_hashes, sample_index
from medrobust.datasets.sampling import limited
from medrobust.datasets.table import Table, read_table
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError
from medrobust.types import TaskKind

log = logging.getLogger(__name__)

SPLIT_COLUMN = "split"
PATIENT_COLUMN = "patient"


@dataclass(frozen=True)
class Folder:
    """Images of your own: files in a folder, and a CSV table that says what they show.

    Identifiers leave this class as keyed hashes only; the key is made beside the images.

    Args:
        csv: The table: UTF-8, a header, one image a row.
        root: Folder that paths in the table start from; the table's own if None.
        name: Name in tables and in the store.
        path_column: Column of the paths.
        label_column: Column of the labels; a list of columns of 0 and 1 makes a multi-label set.
        split_column: Column of the splits; without it the whole table is the evaluated split.
        patient_column: Column of the patients; it may be missing.
        split: The split that is evaluated.
        class_names: Classes in label order; if None, the labels of the whole table, sorted. Labels
            that are whole numbers count into it.
        prompt_names: Readable class names in the same order.
        modality: A few words for prompts.
        task: One of the four task strings; None: by the labels (two classes are binary).
        positive: Positive class of a binary set; the last one if None.
        size: Pixels a side that all images are brought to.
        fit: "pad", "crop" or "squash" (`Framing`).
        bit_depth: Of grey images with more than 8 bits (`Framing`).
        limit: A stratified part of at most so many images.
        key_file: Place of the key, if not beside the images.
        cache_dir: Where images are unpacked to.
    """

    csv: str
    root: str | None = None
    name: str = "folder"
    path_column: str = "path"
    label_column: str | Sequence[str] = "label"
    split_column: str = SPLIT_COLUMN
    patient_column: str = PATIENT_COLUMN
    split: str = "test"
    class_names: Sequence[str] | None = None
    prompt_names: Sequence[str] | None = None
    modality: str = ""
    task: TaskKind | None = None
    positive: str | int | None = None
    size: int = STANDARD_SIZE
    fit: Fit = "pad"
    bit_depth: int = 16
    limit: int | None = None
    key_file: str | None = None
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        """Refuse a framing that does not exist."""
        self._framing()

    @property
    def suite(self) -> None:
        """Own data has no registry of MedMNIST-C."""
        return

    def _framing(self) -> Framing:
        return Framing(self.size, self.fit, self.bit_depth)

    def load(self, split: str | None = None) -> ImageSet:
        """Open one split (`self.split` by default), memory-mapped.

        Raises:
            DatasetNotFoundError: If table or images are missing, or there is no such split.
            InvalidDataError: If the table does not hold what it should.
            InvalidImageError: If an image cannot be read.
            ConfigurationError: If the key cannot be written.
        """
        table = read_table(Path(self.csv).expanduser())
        chosen = split or self.split
        paths = self._paths(table)
        labels = read_labels(
            table, self.label_column, self.class_names, task=self.task, positive=self.positive
        )
        rows = self._rows(table, chosen)
        root = Path(self.root or Path(self.csv).parent).expanduser()
        names = [paths[row] for row in rows]
        images = self._images(root, names)
        image_set = self._image_set(table, chosen, rows, names, labels, images, root)
        return limited(image_set, self.limit)

    def _image_set(
        self,
        table: Table,
        split: str,
        rows: list[int],
        names: list[str],
        labels: Labels,
        images: CachedArray,
        root: Path,
    ) -> ImageSet:
        key = data_key(root, self.key_file)
        ids = keyed_hashes(key, "sample", names)
        described: dict[str, Any] = {
            "name": self.name,
            "split": split,
            "task": labels.task,
            "class_names": labels.class_names,
            "positive": labels.positive,
        }
        standard = self.size == STANDARD_SIZE
        groups = self._groups(table, key, rows)
        return ImageSet(
            **described,
            images=images.open(),
            labels=labels.values[rows],
            prompt_names=tuple(self.prompt_names or ()),
            modality=self.modality,
            ids=ids,
            groups=groups,
            index=sample_index(names),
            fingerprint=data_fingerprint(
                images.digest,
                ids,
                labels.values[rows],
                **described,
                groups=None if groups is None else groups.tolist(),
            ),
            marks=()
            if standard
            else (f"{self.size} pixels: severity is defined at {STANDARD_SIZE}",),
        )

    def _paths(self, table: Table) -> list[str]:
        """Return the paths as POSIX text, each once and inside the folder."""
        paths = [text.replace("\\", "/") for text in table.column(self.path_column, "path_column")]
        for line, path in zip(table.lines, paths, strict=True):
            pure = PurePosixPath(path)
            if not path or pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]:
                raise InvalidDataError(
                    f"{table.file}, line {line}: the path is empty or leaves the folder of the "
                    f"images; paths are relative to dataset.root."
                )
        twice = [path for path, count in Counter(paths).items() if count > 1]
        if twice:
            lines = [str(line) for line, p in zip(table.lines, paths, strict=True) if p == twice[0]]
            raise InvalidDataError(
                f"{table.file} names {PurePosixPath(twice[0]).name} in lines {', '.join(lines)}: "
                f"each image stands in one row."
            )
        return [str(PurePosixPath(path)) for path in paths]

    def _rows(self, table: Table, split: str) -> list[int]:
        if self.split_column == SPLIT_COLUMN and SPLIT_COLUMN not in table.columns:
            if split != self.split:
                raise DatasetNotFoundError(
                    f"{table.file} has no column {SPLIT_COLUMN!r}, so there is no split {split!r}."
                )
            return list(range(len(table)))
        splits = table.column(self.split_column, "split_column")
        rows = [row for row, value in enumerate(splits) if value == split]
        if not rows:
            raise DatasetNotFoundError(
                f"{table.file} has no row of split {split!r}; its splits: "
                f"{', '.join(sorted(set(splits)))}. Pass dataset.split=<split>."
            )
        return rows

    def _groups(self, table: Table, key: bytes, rows: list[int]) -> NDArray[np.str_] | None:
        if self.patient_column == PATIENT_COLUMN and PATIENT_COLUMN not in table.columns:
            return None
        patients = table.column(self.patient_column, "patient_column")
        return keyed_hashes(key, "patient", [patients[row] for row in rows])

    def _images(self, root: Path, names: list[str]) -> CachedArray:
        files = [root / name for name in names]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise DatasetNotFoundError(
                f"{len(missing)} of {len(files)} images are not in the folder, {missing[0].name} "
                f"first. Paths start from dataset.root, by default the folder of the table."
            )
        status = [file.stat() for file in files]
        key = {
            "kind": "pictures",
            "files": [
                [str(file.resolve()), s.st_size, s.st_mtime_ns]
                for file, s in zip(files, status, strict=True)
            ],
            "framing": [self.size, self.fit, self.bit_depth],
        }
        framing = self._framing()
        return cached_array(
            self.name,
            key,
            lambda target: write_pictures(files, framing, target),
            cache_dir=self.cache_dir,
        )
