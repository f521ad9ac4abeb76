"""SplitFacts: all that is known of a split but its images: what a set and its store share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.types import LABEL_KINDS, Int64Array, LabelKind, Origin

from .findings import Finding
from .targets import Labels, Target
from .wording import counted

OF_AUDITS = ("findings", "compared", "not_compared")
"""Facts that a later run on the same data replaces."""

KEYED_HASH: Final = re.compile(r"[0-9a-f]{32}")
"""What is stored of an identifier of own data."""

Facts = TypeVar("Facts", bound="SplitFacts")


def spelled_as_before(facts: type[Facts]) -> type[Facts]:
    """Let a set be made with `labels=` for `target=Labels(...)`, `task=` for `label_kind=`."""
    made = vars(facts)["__init__"]

    @wraps(made)
    def init(self: Facts, **given: Any) -> None:
        if "labels" in given:
            given["target"] = Labels(given.pop("labels"))
        if "task" in given:
            given["label_kind"] = given.pop("task")
        made(self, **given)

    type.__setattr__(facts, "__init__", init)
    return facts


def are_hashes(values: NDArray[np.str_]) -> bool:
    """Say whether a column of metadata tells units apart by keyed hashes, and groups nothing.

    Example:
        >>> are_hashes(np.array(["0" * 32, "", "f" * 32])), are_hashes(np.array(["F", "M"]))
        (True, False)
    """
    named = [value for value in np.unique(values).tolist() if value]
    return bool(named) and all(map(KEYED_HASH.fullmatch, named))


@spelled_as_before
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitFacts:
    """One split of one data set without its images.

    Attributes:
        name: Data set, as its file in conf/dataset is called ("bloodmnist").
        split: "train", "val" or "test".
        fingerprint: Identifies pixels, target, ids and order; 64 hexadecimal digits.
        ids: (N,) strings, unique; keyed hashes for own data, never file names.
        target: What images are judged by: labels, masks, texts or boxes. None in a store that
            keeps none of it.
        class_names: As published, in label order; may be empty where the target has no classes.
        label_kind: One of the four words of MedMNIST for kinds of labels; None without labels.
        positive: Index of the positive class of a binary set, None for others.
        groups: (N,) strings, one patient a value (keyed hashes for own data), or None.
        origin: "phantom" (synthetic), "public" (a published benchmark) or "own".
        license: As published; empty if unknown.
        findings: What every table made from this set must carry (a subset, other size, repeats).
        metadata: (N, M) strings for subgroup tables, one column a name of `metadata_columns`; None
            without. Own data: only columns that the user names, never an identifier.
        metadata_columns: Names of the M columns.
        compared: What its pictures were compared with: splits of its set, "SET/SPLIT" of others.
        not_compared: Sentences, one a split that they were not compared with.
        unit: What one id stands for: "image", or what answers of images were joined to.
    """

    name: str
    split: str
    fingerprint: str
    ids: NDArray[np.str_]
    target: Target | None
    class_names: tuple[str, ...] = ()
    label_kind: LabelKind | None = None
    positive: int | None = None
    groups: NDArray[np.str_] | None = None
    origin: Origin = "own"
    license: str = ""
    findings: tuple[Finding, ...] = ()
    metadata: NDArray[np.str_] | None = None
    metadata_columns: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    unit: str = "image"

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> Int64Array:
        """Labels, int64 (N,) or (N, L).

        Raises:
            InvalidDataError: If the set has another target.
        """
        if isinstance(self.target, Labels):
            return self.target.values
        what = "nothing that a store keeps" if self.target is None else self.target.kind
        raise InvalidDataError(f"data set {self.name!r} has no labels: its target is {what}.")

    @property
    def task(self) -> LabelKind | None:
        """The kind of labels, by the name that MedMNIST and release 0.1 have for it."""
        return self.label_kind

    @property
    def remarks(self) -> dict[str, tuple[Any, ...]]:
        """What audits have added, which may differ between runs on the same data."""
        return {name: getattr(self, name) for name in OF_AUDITS}

    @property
    def marks(self) -> tuple[str, ...]:
        """The findings in words."""
        return tuple(map(str, self.findings))

    @property
    def sizes(self) -> Mapping[str, int]:
        """How many there are of each thing that an axis of an array can run over."""
        further = {} if self.target is None else self.target.sizes()
        return {"image": len(self.ids), "class": len(self.class_names), **further}

    @property
    def class_counts(self) -> list[int]:
        """Images of each class, or with each label, in their order; none without labels."""
        if not isinstance(self.target, Labels):
            return []
        if self.labels.ndim == 2:
            return list(map(int, self.labels.sum(axis=0)))
        return list(map(int, np.bincount(self.labels, minlength=len(self.class_names))))

    @property
    def counted(self) -> str:
        """What there is beside images, in words: "normal 74, pneumonia 46", or "120 texts"."""
        if not isinstance(self.target, Labels):
            others = {name: count for name, count in self.sizes.items() if name != "image"}
            return ", ".join(counted(count, name) for name, count in others.items() if count)
        both = zip(self.class_names, self.class_counts, strict=True)
        return ", ".join(f"{name} {count}" for name, count in both)

    def taken(self, rows: Int64Array) -> "SplitFacts":
        """Return the facts of some images, in this order; the fingerprint stays that of all.

        Args:
            rows: Positions, each at most once.
        """
        return replace(
            self,
            target=None if self.target is None else self.target.take(rows),
            ids=self.ids[rows],
            groups=None if self.groups is None else self.groups[rows],
            metadata=None if self.metadata is None else self.metadata[rows],
        )

    def check(self, images: int) -> None:
        """Refuse what does not belong together.

        Args:
            images: How many images there are.

        Raises:
            InvalidDataError: Naming data set, split and what is wrong.
        """
        for holds, complaint in self._conditions(images):
            self.require(holds, complaint)
        if self.target is not None:
            found = self.target.complaint(images, len(self.class_names))
            self.require(found is None, str(found))

    def _conditions(self, images: int) -> list[tuple[bool, str]]:
        described = None if self.metadata is None else self.metadata.shape
        count = counted(images, "image")
        columns = self.metadata_columns
        conditions = [
            (images > 0, "it has no images"),
            (
                len(self.ids) == images,
                f"{count} and {counted(len(self.ids), 'id')}",
            ),
            (len(set(self.ids.tolist())) == images, "ids must be unique"),
            (
                self.groups is None or len(self.groups) == images,
                "groups must have one value an image",
            ),
            (
                described == ((images, len(columns)) if columns else None),
                f"metadata {described} for {count} and columns {columns}",
            ),
        ]
        return conditions + (self._conditions_of_labels(images) if self._has_labels else [])

    @property
    def _has_labels(self) -> bool:
        return isinstance(self.target, Labels)

    def _conditions_of_labels(self, images: int) -> list[tuple[bool, str]]:
        several = self.label_kind == "multi-label, binary-class"
        labels = counted(len(self.labels), "label")
        return [
            (self.label_kind in LABEL_KINDS, f"{self.label_kind!r} is none of {LABEL_KINDS}"),
            (
                len(self.labels) == images,
                f"{counted(images, 'image')}, {labels}: they must be as many",
            ),
            (len(self.class_names) >= 2, "it needs at least two classes"),
            (
                self.labels.ndim == (2 if several else 1),
                f"labels must be {'(N, L)' if several else '(N,)'}, got {self.labels.shape}",
            ),
            (
                (self.positive is not None) == (self.label_kind == "binary-class"),
                "binary sets, and only they, name their positive class",
            ),
            (
                self.positive is None or 0 <= self.positive < len(self.class_names),
                f"its positive class {self.positive} is none of {len(self.class_names)}",
            ),
        ]

    def require(self, holds: bool, complaint: str) -> None:
        """Refuse a set, by its name and split, unless something holds.

        Raises:
            InvalidDataError: If it does not.
        """
        if not holds:
            raise InvalidDataError(f"data set {self.name!r}, split {self.split!r}: {complaint}.")
