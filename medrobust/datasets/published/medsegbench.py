"""MedSegBench: 35 published sets with masks, one `.npz` file a set and size."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.fingerprints import fingerprint
from medrobust.base.targets import Masks
from medrobust.datasets.audits.findings import finished
from medrobust.datasets.cache import ArrayWriter, CachedArray, cached_array
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.npz import npz_array
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    unknown_name,
)

from .facts import SPLITS, known_split, other_size, unlike_published
from .fetching import fetch_file, md5_of
from .medsegbench_facts import FACTS, SIZES, MedSegFacts

ROWS = 256
"""Masks that are written anew at a time."""

NO_IMAGES_OF_THEIR_OWN = "idrib"
"""Set whose parts are masks of other findings in the same images."""


@dataclass(frozen=True)
class MedSegBench:
    """One of the 35 sets (Kuş and Aydin, MedSegBench, Scientific Data 11 (2024) 1283).

    Reads `<root>/<flag>_<size>.npz` with the arrays `train_images`, `train_label`, `val_images`,
    ... as published in the Zenodo records 13358372 and 13359660: images uint8 (N, H, W) or
    (N, H, W, 3), masks uint8 (N, H, W). Without a root, files are looked for in $MEDROBUST_DATA,
    else in `~/.medsegbench`, where the medsegbench package keeps them.

    Args:
        flag: Name of the set ("kvasir", "busi").
        root: Folder of the files.
        split: The split that is evaluated.
        size: 128, 256 or 512; severities are defined at 224, and tables say so.
        part: A part of sets that have some, by its suffix ("C1"); None: all of it. The parts of
            polypgen are its six centres; those of idrib are findings in the same images.
        download: Fetch the file if it is missing.
        checksum: Compare the file with its published MD5 sum first.
        full_hash: Know the file by a hash of all its bytes.
        limit: At most so many images.
        cache_dir: Where arrays are unpacked to.
        target: "masks", the only one there is; the task sets it.

    Raises:
        UnknownNameError: For a flag or part that does not exist.
        ConfigurationError: For another size or split.
    """

    targets: ClassVar[tuple[str, ...]] = ("masks",)

    flag: str
    root: str | None = None
    split: str = "test"
    size: int = 256
    part: str | None = None
    download: bool = False
    checksum: bool = False
    full_hash: bool = False
    limit: int | None = None
    cache_dir: str | None = None
    target: str = "masks"

    FOLDER: ClassVar[str] = "~/.medsegbench"

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        if self.flag not in FACTS:
            raise unknown_name("set of MedSegBench", self.flag, FACTS)
        if self.size not in SIZES:
            raise ConfigurationError(
                f"dataset.size={self.size}: {self.flag} of MedSegBench is published at {SIZES} "
                f"pixels."
            )
        if self.part is not None and self.part not in self.facts.parts:
            if not self.facts.parts:
                raise ConfigurationError(
                    f"dataset.part={self.part}: {self.flag} of MedSegBench has no parts."
                )
            raise unknown_name(f"part of {self.flag}", self.part, self.facts.parts)
        known_split(self.split)

    @property
    def facts(self) -> MedSegFacts:
        """What is published of the set."""
        return FACTS[self.flag]

    @property
    def name(self) -> str:
        """The flag, and the part."""
        part = "" if self.part is None else f"_{self.part}"
        return f"medsegbench_{self.flag}{part}"

    @property
    def suite(self) -> None:
        """There is no registry of MedMNIST-C for it."""
        return

    @property
    def modality(self) -> str:
        """A few words for prompts."""
        return self.facts.modality

    @property
    def file(self) -> Path:
        """The `.npz` file."""
        chosen = self.root or os.environ.get("MEDROBUST_DATA") or self.FOLDER
        return Path(chosen).expanduser() / f"{self.flag}_{self.size}.npz"

    def check_files(self) -> None:
        """Refuse a file that is not there and is not to be fetched, before anything is opened.

        Raises:
            DatasetNotFoundError: If it is missing.
        """
        if not self.download:
            self._check_present()

    def fetch(self) -> list[Path]:
        """Bring the file here if it is missing, and compare it with its MD5 sum.

        Raises:
            DatasetNotFoundError: If it cannot be fetched.
            InvalidDataError: If it is damaged.
        """
        md5 = dict(zip(SIZES, self.facts.md5, strict=True))[self.size]
        if not self.file.exists() and self.download:
            fetch_file(self.facts.record, self.file.name, self.file.parent, md5=md5)
            return [self.file]
        self._check_present()
        if md5_of(self.file) != md5:
            raise InvalidDataError(
                f"{self.file} has not the MD5 sum that MedSegBench names: it is damaged or another "
                f"version. Delete it and pass dataset.download=true."
            )
        return [self.file]

    def _check_present(self) -> None:
        if not self.file.exists():
            raise DatasetNotFoundError(
                f"{self.file.name} not found in {self.file.parent}. Get it from Zenodo record "
                f"{self.facts.record}, pass dataset.root=<its folder>, or pass "
                f"dataset.download=true."
            )

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
        suffix = "" if self.part is None else f"_{self.part}"
        of_images = "" if self.flag == NO_IMAGES_OF_THEIR_OWN else suffix
        pictures = self._array(f"{chosen}_images{of_images}", "images")
        masks = self._array(f"{chosen}_label{suffix}", "masks")
        if self.facts.one_class:
            masks = self._of_one_class(masks, f"{chosen}{suffix}")
        images = pictures.open()
        expected = (self.size, self.size, 3)[: 2 if self.facts.channels == 1 else 3]
        if images.shape[1:] != expected:
            raise InvalidDataError(
                f"{self.file} holds images of shape {images.shape[1:]}; those of {self.flag} at "
                f"{self.size} pixels are {expected}."
            )
        rows = np.arange(len(images), dtype=np.int64)
        facts = {"name": self.name, "split": chosen, "classes": list(self.facts.classes)}
        image_set = ImageSet(
            name=self.name,
            split=chosen,
            images=images,
            target=Masks(masks.open(), masks.digest),
            class_names=self.facts.classes,
            modality=self.modality,
            ids=rows.astype(np.str_),
            index=rows,
            fingerprint=fingerprint([pictures.digest, masks.digest, facts]),
            origin="public",
            license=self.facts.license,
            findings=(*other_size(self.size), *self._said(len(images), chosen)),
        )
        if self.part is not None:
            told = replace(
                image_set,
                metadata=np.full((len(rows), 1), self.facts.parts[self.part]),
                metadata_columns=("part",),
            )
            return finished(told, limit=self.limit, cache_dir=self.cache_dir)
        return finished(image_set, limit=self.limit, cache_dir=self.cache_dir)

    def _said(self, count: int, split: str) -> Iterator[Finding]:
        yield Finding(
            "further remarks",
            "patients are not published: the random splits may hold images of one in several",
        )
        if self.part is None:
            published = dict(zip(SPLITS, self.facts.counts, strict=True))[split]
            yield from unlike_published(count, published, self.flag, split)

    def _array(self, member: str, content: Any) -> CachedArray:
        return npz_array(
            self.file, member, content, full_hash=self.full_hash, cache_dir=self.cache_dir
        )

    def _of_one_class(self, masks: CachedArray, what: str) -> CachedArray:
        """Return masks whose values are 0 and 1, whatever those of the foreground are."""
        stored = masks.open()
        key = {"kind": "one class", "masks": masks.digest}
        name = f"{self.flag}-{self.size}-{what}-one-class"
        return cached_array(name, key, partial(_write_one_class, stored), cache_dir=self.cache_dir)


def _write_one_class(stored: NDArray[Any], target: Path) -> str:
    with ArrayWriter(target, np.dtype(np.uint8), stored.shape) as writer:
        for start in range(0, len(stored), ROWS):
            block = (np.asarray(stored[start : start + ROWS]) != 0).astype(np.uint8)
            writer.write(block.tobytes())
        return writer.close()
