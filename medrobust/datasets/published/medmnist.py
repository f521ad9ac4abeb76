"""MedMNIST+: twelve published sets, one `.npz` file each."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, InvalidDataError
from medrobust.types import Int64Array

from .facts import Description, known_split, label_array
from .fetching import fetch_file, md5_of
from .medmnist_facts import RECORD, SIZES, MedMNISTFacts, medmnist_facts
from .source import PublishedSource


@dataclass(frozen=True)
class MedMNIST(PublishedSource):
    """One of the twelve two-dimensional sets of MedMNIST+ (Yang et al. 2023, arXiv:2110.14795).

    Reads `<root>/<flag>_<size>.npz` (28 pixels: `<flag>.npz`) with the arrays `train_images`,
    `train_labels`, `val_images`, ... as published in Zenodo record 10519652. Without a root, files
    are looked for in $MEDROBUST_DATA, else in `~/.medmnist`, where the medmnist package keeps them.
    Sizes are 224, or 28, 64, 128, at which severities are not defined and tables say so.

    Args:
        checksum: Compare the file with the MD5 sum of the medmnist package first.

    Further arguments are those of `PublishedSource`.
    """

    checksum: bool = False

    FOLDER: ClassVar[str] = "~/.medmnist"

    def _check_size(self) -> None:
        if self.size not in SIZES:
            raise ConfigurationError(
                f"dataset.size={self.size}: {self.flag} is published at {SIZES} pixels."
            )

    @property
    def facts(self) -> MedMNISTFacts:
        """What is published of the set."""
        return medmnist_facts(self.flag)

    def described(self) -> Description:
        """Describe the set."""
        return described(self.flag)

    @property
    def folder(self) -> Path:
        """Where files are looked for."""
        chosen = self.root or os.environ.get("MEDROBUST_DATA") or self.FOLDER
        return Path(chosen).expanduser()

    @property
    def file(self) -> Path:
        """The `.npz` file."""
        return self.folder / f"{self.flag}{self._suffix}.npz"

    @property
    def _suffix(self) -> str:
        return "" if self.size == 28 else f"_{self.size}"

    def load(self, split: str | None = None) -> ImageSet:
        """Open one split (`self.split` by default), memory-mapped.

        Raises:
            DatasetNotFoundError: If the file is missing and `download` is false.
            InvalidDataError: If the file is damaged or is not that of this set.
        """
        chosen = known_split(split or self.split)
        if self.checksum or (self.download and not self.file.exists()):
            self.fetch()
        self._check_present()
        stored = self._array(self.file, f"{chosen}_images", "images")
        images = stored.open()
        expected = (self.size, self.size, 3)[: 2 if self.facts.channels == 1 else 3]
        if images.shape[1:] != expected:
            raise InvalidDataError(
                f"{self.file} holds images of shape {images.shape[1:]}; those of {self.flag} at "
                f"{self.size} pixels are {expected}."
            )
        return self._opened(self.described(), chosen, images, stored.digest, self._labels)

    def check_files(self) -> None:
        """Refuse a file that is not there and is not to be fetched, before anything is opened.

        Raises:
            DatasetNotFoundError: If it is missing.
        """
        if not self.download:
            self._check_present()

    def fetch(self) -> list[Path]:
        """Bring the file here if it is missing, and compare it with its MD5 sum."""
        if not self.file.exists() and self.download:
            fetch_file(RECORD, self.file.name, self.folder, md5=self._published_md5())
            return [self.file]
        self._check_present()
        if md5_of(self.file) != self._published_md5():
            raise InvalidDataError(
                f"{self.file} has not the MD5 sum that the medmnist package names: it is damaged "
                f"or another version. Delete it and pass dataset.download=true."
            )
        return [self.file]

    def _check_present(self) -> None:
        if not self.file.exists():
            raise DatasetNotFoundError(
                f"{self.file.name} not found in {self.folder}. Get it from Zenodo record "
                f"{RECORD}, pass dataset.root=<its folder>, or pass dataset.download=true."
            )

    def _labels(self, split: str) -> Int64Array:
        stored = self._array(self.file, f"{split}_labels", "labels").open()
        return label_array(stored, self.facts.label_kind, self.file)

    def _published_md5(self) -> str:
        from medmnist.info import INFO

        return str(INFO[self.flag][f"MD5{self._suffix}"])


def described(flag: str) -> Description:
    """Describe a set."""
    facts = medmnist_facts(flag)
    return Description(
        name=flag,
        label_kind=facts.label_kind,
        class_names=facts.class_names,
        prompt_names=facts.prompt_names,
        modality=facts.modality,
        positive=facts.positive,
        license=facts.license,
        suite=flag,
    )
