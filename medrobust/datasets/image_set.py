"""ImageSet: one split of one data set, memory-mapped, with labels that have been checked."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.fingerprints import fingerprint
from medrobust.exceptions import InvalidDataError
from medrobust.types import TASK_KINDS, Int64Array, Origin, TaskKind, UInt8Array

from .lazy_rows import picked

STANDARD_SIZE = 224
"""Pixels a side at which the severities of every suite are defined."""


@dataclass(frozen=True, slots=True)
class ImageSet:
    """One split of one data set.

    Attributes:
        name: Data set, as its file in conf/dataset is called ("bloodmnist").
        split: "train", "val" or "test".
        images: uint8 (N, H, W) for grey or (N, H, W, 3) for RGB; usually a memory map.
        labels: int64 (N,), or (N, L) of zeros and ones for multi-label sets.
        task: One of the four task strings of MedMNIST.
        class_names: As published, in label order.
        ids: (N,) strings, unique; keyed hashes for own data, never file names.
        index: int64 (N,), the row in the source split, kept through every subset (63 bits of the
            hash of the sample's id for own data): what the corruption draws are keyed by.
        fingerprint: Identifies pixels, labels, ids and order; 64 hexadecimal digits.
        prompt_names: Readable class names for prompts, in label order; `class_names` if empty.
        modality: A few words for prompts ("chest x-ray"); may be empty.
        positive: Index of the positive class of a binary set, None for other tasks.
        groups: (N,) strings, one patient a value (keyed hashes for own data), or None.
        suite: Registry of MedMNIST-C of this set, None outside MedMNIST.
        origin: "phantom" (synthetic), "public" (a published benchmark) or "own".
        license: As published; empty if unknown.
        findings: What every table made from this set must carry (a subset, other size).
        metadata: (N, M) strings for subgroup tables, one column a name of `metadata_columns`; None
            without. Own data: only columns that the user names, never an identifier.
        metadata_columns: Names of the M columns.
    """

    name: str
    split: str
    images: UInt8Array
    labels: Int64Array
    task: TaskKind
    class_names: tuple[str, ...]
    ids: NDArray[np.str_]
    index: Int64Array
    fingerprint: str
    prompt_names: tuple[str, ...] = ()
    modality: str = ""
    positive: int | None = None
    groups: NDArray[np.str_] | None = None
    suite: str | None = None
    origin: Origin = "own"
    license: str = ""
    findings: tuple[Finding, ...] = ()
    metadata: NDArray[np.str_] | None = None
    metadata_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        count = len(self.images)
        grey = self.images.ndim == 3
        rgb = self.images.ndim == 4 and self.images.shape[-1] == 3
        self._check(self.images.dtype == np.uint8 and (grey or rgb), self._image_complaint())
        self._check(count > 0, "it has no images")
        self._check(self.task in TASK_KINDS, f"task {self.task!r} is none of {TASK_KINDS}")
        self._check(
            len(self.labels) == len(self.ids) == len(self.index) == count,
            f"{count} images, {len(self.labels)} labels, {len(self.ids)} ids and "
            f"{len(self.index)} indices: they must be as many",
        )
        self._check(
            self.groups is None or len(self.groups) == count,
            "groups must have one value an image",
        )
        described = None if self.metadata is None else self.metadata.shape
        self._check(
            described == ((count, len(self.metadata_columns)) if self.metadata_columns else None),
            f"metadata {described} for {count} images and columns {self.metadata_columns}",
        )
        self._check(len(set(self.ids.tolist())) == count, "ids must be unique")
        self._check(len(self.class_names) >= 2, "it needs at least two classes")
        self._check(
            len(self.prompt_names) in (0, len(self.class_names)),
            f"{len(self.prompt_names)} prompt names for {len(self.class_names)} classes",
        )
        self._check(
            (self.positive is not None) == (self.task == "binary-class"),
            "binary sets, and only they, name their positive class",
        )
        self._check_labels()

    def _image_complaint(self) -> str:
        return (
            f"images must be uint8 of shape (N, H, W) or (N, H, W, 3), "
            f"got {self.images.dtype} {self.images.shape}"
        )

    def _check_labels(self) -> None:
        classes = len(self.class_names)
        if self.task == "multi-label, binary-class":
            shape_fits = self.labels.ndim == 2 and self.labels.shape[1] == classes
            self._check(shape_fits, f"labels {self.labels.shape} for {classes} label names")
            self._check(bool(np.isin(self.labels, (0, 1)).all()), "labels must be 0 or 1")
            return
        self._check(self.labels.ndim == 1, f"labels must be (N,), got {self.labels.shape}")
        low, high = int(self.labels.min()), int(self.labels.max())
        self._check(
            low >= 0 and high < classes,
            f"labels span {low}..{high}, but there are {classes} classes (0..{classes - 1})",
        )

    def _check(self, holds: bool, complaint: str) -> None:
        if not holds:
            raise InvalidDataError(f"data set {self.name!r}, split {self.split!r}: {complaint}.")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """1 for grey sets, 3 for RGB."""
        return 1 if self.images.ndim == 3 else 3

    @property
    def stream(self) -> str:
        """Name of data set and split, under which corruption draws are keyed."""
        return f"{self.name}/{self.split}"

    @property
    def marks(self) -> tuple[str, ...]:
        """The findings in words."""
        return tuple(map(str, self.findings))

    @property
    def texts(self) -> tuple[str, ...]:
        """Class names for prompts, in label order."""
        return self.prompt_names or self.class_names

    def take(
        self,
        rows: Sequence[int] | Int64Array,
        *,
        fingerprint: str,
        findings: tuple[Finding, ...] = (),
    ) -> "ImageSet":
        """Return the given rows, in the given order, as a set of its own; images stay unread.

        Args:
            rows: Positions in this set, each at most once.
            fingerprint: Of the new set; the caller knows what the choice depended on.
            findings: Further ones, for the tables.
        """
        chosen = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            images=picked(self.images, chosen),
            labels=self.labels[chosen],
            ids=self.ids[chosen],
            index=self.index[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            metadata=None if self.metadata is None else self.metadata[chosen],
            fingerprint=fingerprint,
            findings=(*self.findings, *findings),
        )


def data_fingerprint(pixels: str, ids: NDArray[np.str_], labels: Int64Array, **facts: Any) -> str:
    """Fingerprint a split by its content, equal on every machine that has the same data.

    Args:
        pixels: Digest of the images, in order.
        ids: (N,) strings.
        labels: int64 (N,) or (N, L).
        facts: Further plain values that the store keeps with the labels (name, class names, ...).
    """
    digest = hashlib.sha256("\n".join(ids.tolist()).encode())
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return fingerprint([pixels, digest.hexdigest(), list(labels.shape), facts])


@runtime_checkable
class NamesPatients(Protocol):
    """A `DatasetSource` that tells the patients of a split without opening its pictures."""

    def patients_of(self, split: str) -> NDArray[np.str_] | None:
        """Return the keyed hash of each image's patient, as in `ImageSet.groups`.

        Raises:
            MedRobustError: As `DatasetSource.load` raises it.
        """
        ...


class CorruptedFiles(Protocol):
    """A `DatasetSource` whose corrupted images were published as files, beside the clean ones."""

    @property
    def files_suite(self) -> str | None:
        """Suite name of its columns; None if only its clean images are to be used."""
        ...

    def check_file(self, corruption: str, severity: int) -> None:
        """Find a missing file before a run.

        Raises:
            DatasetNotFoundError: If it is not there; names the corruptions that are.
        """
        ...

    def identity(self, corruption: str, severity: int) -> dict[str, Any]:
        """Give plain values that decide the pixels, equal wherever the files lie."""
        ...

    def corrupted(self, clean: ImageSet, corruption: str, severity: int) -> ImageSet:
        """Return `clean` with the published corrupted images in place of its own.

        Args:
            clean: From `load`, all of it or a part.
            corruption: As the file is called.
            severity: 1 to 5.

        Raises:
            InvalidDataError: If the file does not belong to these images.
        """
        ...


class DatasetSource(Protocol):
    """What a file in conf/dataset builds: cheap to make, opens files only in `load`."""

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        ...

    @property
    def suite(self) -> str | None:
        """Registry of MedMNIST-C, or None."""
        ...

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        ...

    def load(self, split: str | None = None) -> ImageSet:
        """Open one split (`self.split` by default).

        Raises:
            DatasetNotFoundError: If files are missing; the message says where to get them.
            InvalidDataError: If files are damaged or do not hold what they should.
        """
        ...
