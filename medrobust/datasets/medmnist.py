"""MedMNIST+: twelve published sets, one `.npz` file each."""

import hashlib
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrobust.datasets.cache import CachedArray
from medrobust.datasets.findings import finished
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet
from medrobust.datasets.medmnist_facts import RECORD, SIZES, medmnist_facts
from medrobust.datasets.npz import Content, npz_array
from medrobust.datasets.published import (
    SPLITS,
    Description,
    count_marks,
    known_split,
    label_array,
    published_set,
)
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, InvalidDataError
from medrobust.types import Int64Array

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MedMNIST:
    """One of the twelve two-dimensional sets of MedMNIST+ (Yang et al. 2023, arXiv:2110.14795).

    Reads `<root>/<flag>_<size>.npz` (28 pixels: `<flag>.npz`) with the arrays `train_images`,
    `train_labels`, `val_images`, ... as published in Zenodo record 10519652.

    Args:
        flag: Name of the set ("bloodmnist").
        root: Folder of the files; $MEDROBUST_DATA if None, else `~/.medmnist`, where the medmnist
            package keeps them.
        size: 224, or 28, 64, 128, at which severities are not defined and tables say so.
        split: The split that is evaluated.
        download: Get a missing file through the medmnist package, checked against its MD5 sum.
        checksum: Compare the file with the MD5 sum of the medmnist package first.
        label_order: Another known order of the classes ("medimeta"), where the labels are in it.
        full_hash: Know the file by a hash of all its bytes.
        limit: A stratified part of at most so many images.
        cache_dir: Where arrays are unpacked to.
        notes: Further sentences for the tables.
    """

    flag: str
    root: str | None = None
    size: int = STANDARD_SIZE
    split: str = "test"
    download: bool = False
    checksum: bool = False
    label_order: str | None = None
    full_hash: bool = False
    limit: int | None = None
    cache_dir: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names and sizes that do not exist.

        Raises:
            UnknownNameError: For the flag.
            ConfigurationError: For size, split and label order.
        """
        described(self.flag).in_order(self.label_order)
        if self.size not in SIZES:
            raise ConfigurationError(
                f"dataset.size={self.size}: {self.flag} is published at {SIZES} pixels."
            )
        known_split(self.split)

    @property
    def name(self) -> str:
        """The flag."""
        return self.flag

    @property
    def suite(self) -> str:
        """The registry of MedMNIST-C that is made for this set."""
        return self.flag

    @property
    def folder(self) -> Path:
        """Where files are looked for."""
        chosen = self.root or os.environ.get("MEDROBUST_DATA") or "~/.medmnist"
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
        self._ensure_file()
        images = self._array(chosen, "images")
        image_set = self._image_set(chosen, images.open(), self._labels(chosen), images.digest)
        return finished(image_set, limit=self.limit, cache_dir=self.cache_dir)

    def fetch(self) -> Path:
        """Bring the file here if need be and allowed, and compare it with its MD5 sum if asked.

        Returns:
            The file.

        Raises:
            DatasetNotFoundError: If it is missing and `download` is false, or cannot be downloaded.
            InvalidDataError: If `checksum` is true and its sum is another one.
        """
        self._ensure_file()
        return self.file

    def _image_set(self, split: str, images: Any, labels: Int64Array, digest: str) -> ImageSet:
        facts = medmnist_facts(self.flag)
        expected = (self.size, self.size) if facts.channels == 1 else (self.size, self.size, 3)
        if images.shape[1:] != expected:
            raise InvalidDataError(
                f"{self.file} holds images of shape {images.shape[1:]}; those of {self.flag} at "
                f"{self.size} pixels are {expected}."
            )
        published = dict(zip(SPLITS, facts.counts, strict=True))[split]
        return published_set(
            described(self.flag),
            split,
            images,
            labels,
            digest,
            label_order=self.label_order,
            labels_of=self._labels,
            marks=(*count_marks(len(images), published, self.flag, split), *self.notes),
        )

    def _array(self, split: str, content: Content) -> CachedArray:
        return npz_array(
            self.file,
            f"{split}_{content}",
            content,
            full_hash=self.full_hash,
            cache_dir=self.cache_dir,
        )

    def _labels(self, split: str) -> Int64Array:
        stored = self._array(split, "labels").open()
        return label_array(stored, medmnist_facts(self.flag).task, self.file)

    def _ensure_file(self) -> None:
        if not self.file.exists():
            if not self.download:
                raise DatasetNotFoundError(
                    f"{self.file.name} not found in {self.folder}. Get it from Zenodo record "
                    f"{RECORD}, pass dataset.root=<its folder>, or pass dataset.download=true."
                )
            self._fetch()
        if self.checksum and _md5(self.file) != self._published_md5():
            raise InvalidDataError(
                f"{self.file} has not the MD5 sum that the medmnist package names: it is damaged "
                f"or another version. Delete it and pass dataset.download=true."
            )

    def _published_md5(self) -> str:
        from medmnist.info import INFO

        return str(INFO[self.flag][f"MD5{self._suffix}"])

    def _fetch(self) -> None:
        """Download beside the place and rename, so that a partial file is never seen.

        Raises:
            DatasetNotFoundError: If it cannot be downloaded.
        """
        import medmnist
        from medmnist.info import INFO

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=f".{self.file.name}.", dir=self.folder))
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {self.folder} ({error.strerror}). Pass dataset.root=<folder>."
            ) from error
        log.info("downloading %s to %s", self.file.name, self.folder)
        try:
            published = getattr(medmnist, INFO[self.flag]["python_class"])
            downloader = published.__new__(published)  # its __init__ would read whole arrays
            downloader.info, downloader.size_flag = INFO[self.flag], self._suffix
            downloader.root = str(beside)
            downloader.download()
            if _md5(beside / self.file.name) != self._published_md5():
                raise RuntimeError("its MD5 sum is not the published one")
            os.replace(beside / self.file.name, self.file)
        except (RuntimeError, OSError) as error:
            raise DatasetNotFoundError(
                f"{self.file.name} could not be downloaded ({str(error).strip().splitlines()[0]}). "
                f"Get it from Zenodo record {RECORD} and pass dataset.root=<its folder>."
            ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def described(flag: str) -> Description:
    """Describe a set."""
    facts = medmnist_facts(flag)
    return Description(
        name=flag,
        task=facts.task,
        class_names=facts.class_names,
        prompt_names=facts.prompt_names,
        modality=facts.modality,
        positive=facts.positive,
        license=facts.license,
        suite=flag,
    )


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
