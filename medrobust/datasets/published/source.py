"""What every source of a published set shares: its keywords, their checks, and its last steps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.given import names_given
from medrobust.datasets.audits.findings import finished
from medrobust.datasets.cache import CachedArray
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet
from medrobust.datasets.npz import Content, npz_array
from medrobust.datasets.own.pictures import Framing
from medrobust.exceptions import InvalidDataError
from medrobust.types import UInt8Array

from .facts import (
    SPLITS,
    Description,
    LabelsOf,
    known_split,
    published_set,
    unlike_published,
)
from .medimeta_facts import MedIMetaFacts
from .medmnist_facts import MedMNISTFacts


@dataclass(frozen=True)
class PublishedSource(ABC):
    """One published set in one layout.

    Args:
        flag: Name of the set ("bloodmnist", "pbc").
        root: Folder of the files or of the sets; a folder in $MEDROBUST_DATA if None.
        split: The split that is evaluated.
        size: Images of another size are brought to it: shortest side by antialiased bicubic, then
            the centre.
        download: Fetch what is missing, see `fetch`.
        label_order: Another known order of the classes ("medimeta"), where the labels are in it.
        full_hash: Know source files by a hash of all their bytes.
        limit: A stratified part of at most so many images.
        cache_dir: Where arrays are unpacked to.
        notes: Further findings, for the tables.
        normal: Classes in which nothing is found, for task=anomaly; none: those called so.
    """

    flag: str
    root: str | None = None
    split: str = "test"
    size: int = STANDARD_SIZE
    download: bool = False
    label_order: str | None = None
    full_hash: bool = False
    limit: int | None = None
    cache_dir: str | None = None
    notes: tuple[Finding, ...] = ()
    normal: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse what does not exist.

        Raises:
            UnknownNameError: For the flag.
            ConfigurationError: For size, split and label order.
        """
        self.described().in_order(self.label_order)
        self._check_size()
        known_split(self.split)

    def _check_size(self) -> None:
        Framing(self.size, "crop")

    @property
    @abstractmethod
    def facts(self) -> MedMNISTFacts | MedIMetaFacts:
        """What is published of the set."""

    @abstractmethod
    def described(self) -> Description:
        """Describe the set as far as is known without its files."""

    @abstractmethod
    def fetch(self) -> list[Path]:
        """Bring the files here, if they are not yet, and check them.

        Returns:
            The files.

        Raises:
            DatasetNotFoundError: If they cannot be fetched.
            InvalidDataError: If they are damaged.
        """

    @property
    def name(self) -> str:
        """The flag."""
        return self.flag

    @property
    def modality(self) -> str:
        """A few words for prompts, as published."""
        return self.facts.modality

    @property
    def suite(self) -> str | None:
        """The registry of MedMNIST-C that is made for this set, None outside MedMNIST."""
        return self.described().suite

    def _array(
        self, file: Path, member: str, content: Content, *, name: str | None = None
    ) -> CachedArray:
        return npz_array(
            file, member, content, name=name, full_hash=self.full_hash, cache_dir=self.cache_dir
        )

    def _check_channels(self, images: UInt8Array, where: Path) -> None:
        """Refuse grey images of a colour set, and the reverse."""
        channels = 1 if images.ndim == 3 else 3
        if channels != self.facts.channels:
            raise InvalidDataError(
                f"{where} holds images of {channels} channels; those of {self.flag} have "
                f"{self.facts.channels}."
            )

    def _opened(
        self,
        described: Description,
        split: str,
        images: UInt8Array,
        digest: str,
        labels_of: LabelsOf,
        *,
        groups: NDArray[Any] | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> ImageSet:
        """Put the parts of a split together, see `published_set`."""
        published = dict(zip(SPLITS, self.facts.counts, strict=True))[split]
        labels = labels_of(split)
        assert labels is not None, "the labels of the split that is opened are at hand"
        image_set = published_set(
            described,
            split,
            images,
            labels,
            digest,
            groups=groups,
            label_order=self.label_order,
            labels_of=labels_of,
            findings=(
                *unlike_published(len(images), published, self.flag, split),
                *findings,
                *self.notes,
            ),
        )
        image_set = replace(image_set, normal=names_given("dataset.normal", self.normal))
        return finished(image_set, limit=self.limit, cache_dir=self.cache_dir)
