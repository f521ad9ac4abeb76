"""What all published sets share: rows as ids, facts in the fingerprint, findings for the tables."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.lazy_rows import picked
from medrobust.base.targets import Labels
from medrobust.base.wording import agreeing, counted, part_of, with_article
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet, data_fingerprint
from medrobust.exceptions import ConfigurationError, InvalidDataError
from medrobust.types import Int64Array, LabelKind, UInt8Array

from .known_shares import KNOWN_SHARES
from .label_order import check_label_order, classes_in_order

LabelsOf: TypeAlias = Callable[[str], Int64Array | None]

SPLITS = ("train", "val", "test")
MULTI_LABEL: LabelKind = "multi-label, binary-class"


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a published set beside its arrays; attributes as those of `ImageSet`."""

    name: str
    label_kind: LabelKind
    class_names: tuple[str, ...]
    prompt_names: tuple[str, ...] = ()
    modality: str = ""
    positive: int | None = None
    license: str = ""
    suite: str | None = None

    def in_order(self, order: str | None) -> "Description":
        """Number the classes in another order that is known of this set; None keeps its own.

        Raises:
            ConfigurationError: If no such order is known.
        """
        known = KNOWN_SHARES.get(self.name)
        names = classes_in_order(known, self.class_names, order, self.name)
        if set(names) != set(self.class_names):
            raise ConfigurationError(
                f"dataset.label_order={order!r} numbers other classes than these files have: "
                f"{', '.join(self.class_names)}."
            )
        places = [self.class_names.index(name) for name in names]
        return replace(
            self,
            class_names=names,
            prompt_names=tuple(self.prompt_names[at] for at in places if self.prompt_names),
            positive=None if self.positive is None else places.index(self.positive),
        )


def published_set(
    described: Description,
    split: str,
    images: UInt8Array,
    labels: Int64Array,
    digest: str,
    *,
    groups: NDArray[np.str_] | None = None,
    label_order: str | None = None,
    labels_of: LabelsOf | None = None,
    findings: tuple[Finding, ...] = (),
) -> ImageSet:
    """Put the parts of a published split together; ids and index are its row numbers.

    Args:
        described: Of the set.
        split: Of the data.
        images: As `ImageSet.images`.
        labels: int64 (N,) or (N, L).
        digest: Of the images.
        groups: Patients, if published.
        label_order: Another order of the classes, as the user asked for it.
        labels_of: Gives the labels of another split, None where it is not at hand: the counts of
            this one may say nothing about the order.
        findings: Further ones, for the tables.

    Raises:
        InvalidDataError: If the labels fit another known order clearly better.
        ConfigurationError: If no such order is known.
    """
    described = described.in_order(label_order)
    rows = np.arange(len(images), dtype=np.int64)
    ids = rows.astype(np.str_)
    kept: dict[str, Any] = {
        "name": described.name,
        "split": split,
        "task": described.label_kind,
        "class_names": described.class_names,
        "positive": described.positive,
    }
    image_set = ImageSet(
        **kept,
        images=images,
        target=Labels(labels),
        ids=ids,
        index=rows,
        groups=groups,
        fingerprint=data_fingerprint(digest, ids, labels, **kept),
        prompt_names=described.prompt_names,
        modality=described.modality,
        suite=described.suite,
        origin="public",
        license=described.license,
        findings=(
            *other_size(images.shape[1]),
            *absent_classes(labels, described, split),
            *findings,
        ),
    )
    of_order = doubted_order(image_set, label_order, labels_of)
    return replace(image_set, findings=(*image_set.findings, *of_order))


def doubted_order(
    image_set: ImageSet, label_order: str | None, labels_of: LabelsOf | None
) -> tuple[Finding, ...]:
    """Compare the counts of the classes with what is known of the set, see `check_label_order`.

    Where nothing is known of this split, as of a balanced one, the first other split decides of
    which something is known.
    """
    known = KNOWN_SHARES.get(image_set.name)
    split, labels = image_set.split, image_set.labels
    if known is not None and split not in known.splits and labels_of is not None:
        there = ((other, labels_of(other)) for other in known.splits)
        found = next((pair for pair in there if pair[1] is not None), None)
        if found is not None and found[1] is not None:
            split, labels = found[0], found[1]
    return check_label_order(
        known, labels, image_set.class_names, label_order, split, image_set.name
    )


def other_size(size: int) -> tuple[Finding, ...]:
    """Say that a size is not the one at which severity is defined.

    Example:
        >>> [str(finding) for finding in other_size(128)], other_size(224)
        (['128 pixels: severity is defined at 224'], ())
    """
    if size == STANDARD_SIZE:
        return ()
    said = f"{size} pixels: severity is defined at {STANDARD_SIZE}"
    return (Finding("further remarks", said),)


def absent_classes(labels: Int64Array, described: Description, split: str) -> tuple[Finding, ...]:
    """Name the classes that a split has no image of."""
    present = np.flatnonzero(labels.any(axis=0)) if labels.ndim == 2 else np.unique(labels)
    missing = sorted(set(range(len(described.class_names))) - set(present.tolist()))
    names = ", ".join(described.class_names[number] for number in missing)
    if not missing:
        return ()
    return (Finding("further remarks", f"no image of {names} in {split}"),)


def unlike_published(count: int, published: int, name: str, split: str) -> tuple[Finding, ...]:
    """Say that a split has not as many images as were published.

    Example:
        >>> [str(finding) for finding in unlike_published(5, 6, "bloodmnist", "test")]
        ['5 images in test, where bloodmnist has 6']
    """
    if count == published:
        return ()
    said = f"{counted(count, 'image')} in {split}, where {name} has {published}"
    return (Finding("further remarks", said),)


def label_array(stored: NDArray[Any], label_kind: LabelKind, file: Path) -> Int64Array:
    """Bring stored labels to int64 (N,), or (N, L) for multi-label sets.

    Raises:
        InvalidDataError: If they have another shape.
    """
    labels: Int64Array = np.asarray(stored).astype(np.int64)
    if label_kind != MULTI_LABEL and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != (2 if label_kind == MULTI_LABEL else 1):
        raise InvalidDataError(
            f"{file} holds labels of shape {labels.shape} for {with_article(label_kind)} set."
        )
    return labels


def data_folder(root: str | None, inside: str) -> Path:
    """Return the folder of a family of sets: as given, else one in $MEDROBUST_DATA.

    Args:
        root: As the user gave it.
        inside: Its name in $MEDROBUST_DATA, which is `~/.medrobust` if it is not set.
    """
    if root:
        return Path(root).expanduser()
    return Path(os.environ.get("MEDROBUST_DATA") or "~/.medrobust").expanduser() / inside


def with_images(clean: ImageSet, images: UInt8Array, labels: Int64Array, file: Path) -> ImageSet:
    """Put the corrupted images of a file in place of the clean ones.

    Args:
        clean: A split or a part of it; its `index` says which rows of the file are its own.
        images: As stored for the whole split.
        labels: Those beside them.
        file: For messages.

    Raises:
        InvalidDataError: If shape, number or labels are not those of the clean images.
    """
    if len(images) != len(labels) or clean.index.max() >= len(images):
        raise InvalidDataError(
            f"{file} holds {counted(len(images), 'image')} and {counted(len(labels), 'label')} for "
            f"{clean.stream}, of which row {clean.index.max()} is asked for. Get the file again."
        )
    if images.shape[1:] != clean.images.shape[1:]:
        raise InvalidDataError(
            f"{file} holds images of shape {images.shape[1:]}, the clean ones of {clean.stream} "
            f"have {clean.images.shape[1:]}."
        )
    different = int((labels[clean.index] != clean.labels).reshape(len(clean), -1).any(axis=1).sum())
    if different:
        raise InvalidDataError(
            f"{file}: {part_of(different, len(clean), 'label')} "
            f"{agreeing(different, 'differs')} from those of the clean images of {clean.stream}: "
            f"the files are not of one release, or in another order."
        )
    return replace(clean, images=picked(images, clean.index))


def known_split(split: str) -> str:
    """Return the split, if it is one of the three.

    Raises:
        ConfigurationError: If not.

    Example:
        >>> known_split("val")
        'val'
    """
    if split not in SPLITS:
        raise ConfigurationError(f"dataset.split={split!r}: there are {', '.join(SPLITS)}.")
    return split
