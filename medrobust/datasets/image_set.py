"""ImageSet: one split of one data set, memory-mapped, with labels that have been checked."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medrobust.base.devices import HeaderModalities, ReadsHeaders
from medrobust.base.findings import Finding
from medrobust.base.fingerprints import fingerprint
from medrobust.base.lazy_rows import picked
from medrobust.base.split_facts import SplitFacts, spelled_as_before
from medrobust.base.stored_planes import OpensPlanes
from medrobust.base.targets import MaskedLabels, Masks, Target, Texts
from medrobust.base.wording import counted, listed
from medrobust.exceptions import ConfigurationError
from medrobust.types import Int64Array, UInt8Array

JUDGED_BY = ("labels", "texts", "texts and labels", "masks", "boxes")
"""What images can be judged by: the words that `Task.target` is made of."""

STANDARD_SIZE = 224
"""Pixels a side at which the severities of every suite are defined."""


@spelled_as_before
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet(SplitFacts):
    """One split of one data set: its facts and target (`SplitFacts`), and its images.

    Attributes:
        images: uint8 (N, H, W) for grey or (N, H, W, 3) for RGB; usually a memory map.
        index: int64 (N,), the row in the source split, kept through every subset (63 bits of the
            hash of the sample's id for own data): what the corruption draws are keyed by.
        prompt_names: Readable class names for prompts, in label order; `class_names` if empty.
        modality: A few words for prompts ("chest x-ray"); may be empty.
        suite: Registry of MedMNIST-C of this set, None outside MedMNIST.
        normal: Names of the classes in which nothing is found, for tasks that ask for the others.
        states: Phrases for a normal and for an abnormal image of this set; empty if it has none.
        other_split: Opens another split of the same set; None where there is only this one.
        stored: Opens what scanners stored beyond these 8 bits, of all images of the split; None
            where nothing is known of it.
        headers: Reads what the headers of these images say of their device; None where there are
            none.
        texts_of: Opens the texts of a split of the same set, and none of its pictures; None where
            images are judged by something else.
    """

    images: UInt8Array
    index: Int64Array
    prompt_names: tuple[str, ...] = ()
    modality: str = ""
    suite: str | None = None
    normal: tuple[str, ...] = ()
    states: tuple[tuple[str, ...], ...] = ()
    other_split: "Callable[[str], ImageSet] | None" = None
    texts_of: Callable[[str], Texts] | None = None
    stored: OpensPlanes | None = None
    headers: ReadsHeaders | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together.

        Raises:
            InvalidDataError: Naming what is wrong.
        """
        grey = self.images.ndim == 3
        rgb = self.images.ndim == 4 and self.images.shape[-1] == 3
        self.require(
            self.images.dtype == np.uint8 and (grey or rgb),
            f"images must be uint8 of shape (N, H, W) or (N, H, W, 3), "
            f"got {self.images.dtype} {self.images.shape}",
        )
        count = len(self.images)
        self.require(
            len(self.index) == count,
            f"{counted(count, 'image')} and {counted(len(self.index), 'index')}",
        )
        self.require(self.target is not None, "it has nothing that its images are judged by")
        self.check(count)
        if (found := _other_size(self.target, self.images)) is not None:
            self.require(False, found)
        self.require(
            len(self.prompt_names) in (0, len(self.class_names)),
            f"{counted(len(self.prompt_names), 'prompt name')} for "
            f"{counted(len(self.class_names), 'class')}",
        )

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
        assert self.target is not None
        return replace(
            self,
            images=picked(self.images, chosen),
            target=self.target.take(chosen),
            ids=self.ids[chosen],
            index=self.index[chosen],
            headers=None if self.headers is None else partial(_taken, self.headers, chosen),
            groups=None if self.groups is None else self.groups[chosen],
            metadata=None if self.metadata is None else self.metadata[chosen],
            fingerprint=fingerprint,
            findings=(*self.findings, *findings),
        )


def _taken(read: ReadsHeaders, rows: Int64Array) -> HeaderModalities:
    return read().take(rows.tolist())


def _other_size(target: Target | None, images: UInt8Array) -> str | None:
    """Say that masks have another size than the images that they belong to, or return None."""
    masks = target.masks if isinstance(target, MaskedLabels) else None
    masks = target.values if isinstance(target, Masks) else masks
    if masks is None or masks.shape[1:] == images.shape[1:3]:
        return None
    sizes = (f"{'x'.join(map(str, shape))}" for shape in (masks.shape[1:], images.shape[1:3]))
    return "masks are {} pixels and images {}: bring masks to the size of their images".format(
        *sizes
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


@runtime_checkable
class SeveralTargets(Protocol):
    """A `DatasetSource` whose images can be judged by more than labels: a frozen dataclass.

    Attributes:
        target: What `load` gives: the `kind` of a target in `base/targets`.
        targets: What it can give.

    One whose labels bring masks along where it has them says `labels_with_masks = True`.
    """

    target: str
    targets: ClassVar[tuple[str, ...]]


def judged_by(source: "DatasetSource", target: str) -> "DatasetSource":
    """Return a source whose splits have what a task judges images by.

    Args:
        source: Of a data set.
        target: The `kind` of a target: "labels", "texts", "masks" or "boxes"; of "masks or labels"
            it is the first that the set can give, and labels where these bring their masks along.

    Raises:
        ConfigurationError: If the data set has none of it, or nothing is judged by that.
    """
    if strange := [one for one in target.split(" or ") if one not in JUDGED_BY]:
        raise ConfigurationError(
            f"`target` of the task is {strange[0]!r}, and images are judged by one of these: "
            f"{_quoted(JUDGED_BY)}. What a task computes from the images itself is an array of "
            f"its cells, and `target` names what data sets must have besides."
        )
    given = source.targets if isinstance(source, SeveralTargets) else ("labels",)
    wanted = [one for one in target.split(" or ") if one in given]
    if not wanted:
        raise ConfigurationError(
            f"data set {source.name!r} has no {target}, which the task judges images by; it can be "
            f"judged by {_quoted(given)}. Choose another data set or another task."
        )
    if "labels" in wanted and getattr(source, "labels_with_masks", False):
        wanted = ["labels"]
    if not isinstance(source, SeveralTargets) or source.target == wanted[0]:
        return source
    judged: DatasetSource = replace(cast("Any", source), target=wanted[0])
    return judged


def _quoted(words: Sequence[str]) -> str:
    return listed(list(map(repr, words)))


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
