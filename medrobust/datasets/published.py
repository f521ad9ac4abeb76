"""What all published sets share: rows as ids, facts in the fingerprint, marks for the tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet, data_fingerprint
from medrobust.exceptions import ConfigurationError, InvalidDataError
from medrobust.types import Int64Array, TaskKind, UInt8Array

SPLITS = ("train", "val", "test")
MULTI_LABEL: TaskKind = "multi-label, binary-class"


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a published set beside its arrays; attributes as those of `ImageSet`."""

    name: str
    task: TaskKind
    class_names: tuple[str, ...]
    prompt_names: tuple[str, ...] = ()
    modality: str = ""
    positive: int | None = None
    license: str = ""
    suite: str | None = None


def published_set(
    described: Description,
    split: str,
    images: UInt8Array,
    labels: Int64Array,
    digest: str,
    *,
    groups: NDArray[np.str_] | None = None,
    marks: tuple[str, ...] = (),
) -> ImageSet:
    """Put the parts of a published split together; ids and index are its row numbers.

    Args:
        described: Of the set.
        split: Of the data.
        images: As `ImageSet.images`.
        labels: int64 (N,) or (N, L).
        digest: Of the images.
        groups: Patients, if published.
        marks: Further sentences for the tables.
    """
    rows = np.arange(len(images), dtype=np.int64)
    ids = rows.astype(np.str_)
    kept: dict[str, Any] = {
        "name": described.name,
        "split": split,
        "task": described.task,
        "class_names": described.class_names,
        "positive": described.positive,
    }
    return ImageSet(
        **kept,
        images=images,
        labels=labels,
        ids=ids,
        index=rows,
        groups=groups,
        fingerprint=data_fingerprint(digest, ids, labels, **kept),
        prompt_names=described.prompt_names,
        modality=described.modality,
        suite=described.suite,
        origin="public",
        license=described.license,
        marks=(*size_marks(images.shape[1]), *absent_marks(labels, described, split), *marks),
    )


def size_marks(size: int) -> tuple[str, ...]:
    """Say that a size is not the one at which severity is defined."""
    if size == STANDARD_SIZE:
        return ()
    return (f"{size} pixels: severity is defined at {STANDARD_SIZE}",)


def absent_marks(labels: Int64Array, described: Description, split: str) -> tuple[str, ...]:
    """Name the classes that a split has no image of."""
    present = np.flatnonzero(labels.any(axis=0)) if labels.ndim == 2 else np.unique(labels)
    missing = sorted(set(range(len(described.class_names))) - set(present.tolist()))
    names = ", ".join(described.class_names[number] for number in missing)
    return (f"no image of {names} in {split}",) if missing else ()


def count_marks(count: int, published: int, name: str, split: str) -> tuple[str, ...]:
    """Say that a split has not as many images as were published."""
    return (
        () if count == published else (f"{count} images in {split}, where {name} has {published}",)
    )


def label_array(stored: NDArray[Any], task: TaskKind, file: Path) -> Int64Array:
    """Bring stored labels to int64 (N,), or (N, L) for multi-label sets.

    Raises:
        InvalidDataError: If they have another shape.
    """
    labels: Int64Array = np.asarray(stored).astype(np.int64)
    if task != MULTI_LABEL and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != (2 if task == MULTI_LABEL else 1):
        raise InvalidDataError(f"{file} holds labels of shape {labels.shape} for a {task} set.")
    return labels


def known_split(split: str) -> str:
    """Return the split, if it is one of the three.

    Raises:
        ConfigurationError: If not.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"dataset.split={split!r}: there are {', '.join(SPLITS)}.")
    return split
