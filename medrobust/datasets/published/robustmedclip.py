"""The layout of RobustMedCLIP: one `.npz` file a split, corruption and severity."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrobust.base.wording import counted
from medrobust.datasets.cache import CachedArray
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.npz import Content, npz_checksum
from medrobust.datasets.own.pictures import Framing
from medrobust.datasets.resize import framed
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError, unknown_name
from medrobust.types import Int64Array, UInt8Array

from . import medimeta, medmnist
from .facts import (
    Description,
    data_folder,
    known_split,
    label_array,
    with_images,
)
from .fetching import fetch_hub_set
from .medimeta_facts import FACTS as MEDIMETA
from .medimeta_facts import MEDIMETA_C, MEDIMETA_C_HUB, MedIMetaFacts
from .medmnist_facts import FACTS as MEDMNIST
from .medmnist_facts import MedMNISTFacts
from .source import PublishedSource


@dataclass(frozen=True)
class RobustMedCLIPFiles(PublishedSource):
    """Sets in the layout of RobustMedCLIP (arXiv:2505.15425): MediMeta-C, and MedMNIST repacked.

    Reads `<root>/<flag>/<split>/clean.npz` and `.../<corruption>_severity_<1..5>.npz` with the
    arrays `images` and `labels`. MediMeta-C was published with the splits test and val. Whether
    its labels count in the order of MedIMeta or in that of RobustMedCLIP's list of class names is
    not documented: counts are compared with both, see `label_order`.

    Without a root, `$MEDROBUST_DATA/medimeta_c`, or `medmnist_repacked` for a MedMNIST flag.

    Args:
        files: Evaluate the corrupted files. Otherwise only the clean ones are read, and corrupted
            on the fly as those of any other set.

    Further arguments are those of `PublishedSource`.
    """

    files: bool = True

    def __post_init__(self) -> None:
        """Refuse what does not exist, see `PublishedSource`."""
        if self.flag not in (*MEDIMETA_C, *MEDMNIST):
            raise unknown_name("set of this layout", self.flag, (*MEDIMETA_C, *MEDMNIST))
        super().__post_init__()

    @property
    def facts(self) -> MedMNISTFacts | MedIMetaFacts:
        """What is published of the set."""
        return MEDMNIST[self.flag] if self.flag in MEDMNIST else MEDIMETA[self.flag]

    def described(self) -> Description:
        """Describe the set."""
        repacked = self.flag in MEDMNIST
        return medmnist.described(self.flag) if repacked else medimeta.described(self.flag)

    @property
    def files_suite(self) -> str | None:
        """Suite name of its columns; None if corruptions are made on the fly."""
        if not self.files:
            return None
        return "medmnist_repacked_files" if self.flag in MEDMNIST else "medimeta_c_files"

    @property
    def folder(self) -> Path:
        """Where its files are looked for."""
        family = "medmnist_repacked" if self.flag in MEDMNIST else "medimeta_c"
        return data_folder(self.root, family) / self.flag

    def load(self, split: str | None = None) -> ImageSet:
        """Open the clean images of a split (`self.split` by default), memory-mapped.

        Raises:
            DatasetNotFoundError: If the file is missing.
            InvalidDataError: If it is damaged or is not that of this set.
        """
        chosen = known_split(split or self.split)
        file = self.folder / chosen / "clean.npz"
        if self.download and not file.is_file():
            self.fetch()
        if not file.is_file():
            raise DatasetNotFoundError(
                f"{self.flag}/{chosen}/clean.npz not found in {self.folder.parent}. "
                f"{self._where()}, or pass dataset.root=<folder of the sets>."
            )
        images, digest = self._images(file)
        self._check_channels(images, file)
        return self._opened(self.described(), chosen, images, digest, self._labels_of)

    def fetch(self) -> list[Path]:
        """Bring all files of the set here from the hub, and compare them with their sums."""
        if self.flag in MEDMNIST:
            raise DatasetNotFoundError(
                f"{self.flag} was not published in this layout: make its files with "
                f"`medrobust benchmark-files`."
            )
        return fetch_hub_set(MEDIMETA_C_HUB, self.flag, self.folder)

    def check_file(self, corruption: str, severity: int) -> None:
        """Find a missing file before a run, see `CorruptedFiles`."""
        file = self._file(corruption, severity)
        if not file.is_file():
            there = sorted(
                {f.stem.split("_severity_")[0] for f in file.parent.glob("*_severity_*")}
            )
            raise DatasetNotFoundError(
                f"{file.name} not found in {file.parent}, which has: "
                f"{', '.join(there) or 'no corrupted file'}. {self._where()}, pass "
                f"dataset.root=<folder of the sets>, or choose corruption=<name>."
            )

    def _where(self) -> str:
        if self.flag in MEDMNIST:
            return "Repack MedMNIST in this layout"
        return f"Get MediMeta-C from the Hugging Face hub ({MEDIMETA_C_HUB})"

    def identity(self, corruption: str, severity: int) -> dict[str, Any]:
        """Give what decides the pixels, see `CorruptedFiles`."""
        self.check_file(corruption, severity)
        return {
            "name": corruption,
            "files": self.files_suite,
            "severity": severity,
            "array": npz_checksum(self._file(corruption, severity), "images"),
        }

    def corrupted(self, clean: ImageSet, corruption: str, severity: int) -> ImageSet:
        """Return the published images of one severity, see `CorruptedFiles`."""
        self.check_file(corruption, severity)
        file = self._file(corruption, severity)
        images, _ = self._images(file)
        if self.limit is None and len(images) != len(clean):
            raise InvalidDataError(
                f"{file} holds {counted(len(images), 'image')}, clean.npz beside it {len(clean)}."
            )
        return with_images(clean, images, self._labels(file), file)

    def _images(self, file: Path) -> tuple[UInt8Array, str]:
        """Return the images of a file at the set's size, and their digest."""
        sized = framed(
            self._stored(file, "images"),
            Framing(self.size, "crop"),
            f"{self.flag}-{file.parent.name}-{file.stem}",
            cache_dir=self.cache_dir,
        )
        return sized.open(), sized.digest

    def _labels(self, file: Path) -> Int64Array:
        return label_array(self._stored(file, "labels").open(), self.described().label_kind, file)

    def _labels_of(self, split: str) -> Int64Array | None:
        file = self.folder / split / "clean.npz"
        return self._labels(file) if file.is_file() else None

    def _stored(self, file: Path, content: Content) -> CachedArray:
        name = f"{self.flag}-{file.parent.name}-{file.stem}"
        return self._array(file, content, content, name=name)

    def _file(self, corruption: str, severity: int) -> Path:
        return self.folder / self.split / f"{corruption}_severity_{severity}.npz"
