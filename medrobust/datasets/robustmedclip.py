"""The layout of RobustMedCLIP: one `.npz` file a split, corruption and severity."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrobust.datasets import medimeta, medmnist
from medrobust.datasets.cache import CachedArray
from medrobust.datasets.findings import finished
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet
from medrobust.datasets.medimeta_facts import FACTS as MEDIMETA
from medrobust.datasets.medimeta_facts import MEDIMETA_C, MEDIMETA_C_HUB
from medrobust.datasets.medmnist_facts import FACTS as MEDMNIST
from medrobust.datasets.npz import Content, npz_array, npz_checksum
from medrobust.datasets.pictures import Framing
from medrobust.datasets.published import (
    SPLITS,
    Description,
    count_marks,
    data_folder,
    known_split,
    label_array,
    published_set,
    with_images,
)
from medrobust.datasets.resize import framed
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError, unknown_name
from medrobust.types import Int64Array, UInt8Array


@dataclass(frozen=True)
class RobustMedCLIPFiles:
    """Sets in the layout of RobustMedCLIP (arXiv:2505.15425): MediMeta-C, and MedMNIST repacked.

    Reads `<root>/<flag>/<split>/clean.npz` and `.../<corruption>_severity_<1..5>.npz` with the
    arrays `images` and `labels`. MediMeta-C was published with the splits test and val. Whether
    its labels count in the order of MedIMeta or in that of RobustMedCLIP's list of class names is
    not documented: counts are compared with both, see `label_order`.

    Args:
        flag: One of the seven sets of MediMeta-C, or a MedMNIST flag.
        root: Folder of the sets; `$MEDROBUST_DATA/medimeta_c`, or `medmnist_repacked` for a
            MedMNIST flag, if None.
        files: Evaluate the corrupted files. Otherwise only the clean ones are read, and corrupted
            on the fly as those of any other set.
        split: The split that is evaluated.
        size: Images of another size are brought to it: shortest side by antialiased bicubic, then
            the centre.
        label_order: Another known order of the classes, where the labels are in it.
        full_hash: Know source files by a hash of all their bytes.
        limit: A stratified part of at most so many images.
        cache_dir: Where arrays are unpacked to.
        notes: Further sentences for the tables.
    """

    flag: str
    root: str | None = None
    files: bool = True
    split: str = "test"
    size: int = STANDARD_SIZE
    label_order: str | None = None
    full_hash: bool = False
    limit: int | None = None
    cache_dir: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what does not exist.

        Raises:
            UnknownNameError: For the flag.
            ConfigurationError: For size, split and label order.
        """
        if self.flag not in (*MEDIMETA_C, *MEDMNIST):
            raise unknown_name("set of this layout", self.flag, (*MEDIMETA_C, *MEDMNIST))
        self._described().in_order(self.label_order)
        Framing(self.size, "crop")
        known_split(self.split)

    def _described(self) -> Description:
        repacked = self.flag in MEDMNIST
        return medmnist.described(self.flag) if repacked else medimeta.described(self.flag)

    @property
    def name(self) -> str:
        """The flag."""
        return self.flag

    @property
    def suite(self) -> str | None:
        """The registry of MedMNIST-C for a MedMNIST flag."""
        return self._described().suite

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
        if not file.is_file():
            raise DatasetNotFoundError(
                f"{self.flag}/{chosen}/clean.npz not found in {self.folder.parent}. "
                f"{self._where()}, or pass dataset.root=<folder of the sets>."
            )
        found = self._described()
        images, digest = self._images(file)
        facts = MEDMNIST[self.flag] if self.flag in MEDMNIST else MEDIMETA[self.flag]
        if images.ndim != (3 if facts.channels == 1 else 4):
            raise InvalidDataError(
                f"{file} holds images of shape {images.shape[1:]}; those of {self.flag} have "
                f"{facts.channels} channels."
            )
        published = dict(zip(SPLITS, facts.counts, strict=True))[chosen]
        image_set = published_set(
            found,
            chosen,
            images,
            self._labels(file),
            digest,
            label_order=self.label_order,
            labels_of=self._labels_of,
            marks=(*count_marks(len(images), published, self.flag, chosen), *self.notes),
        )
        return finished(image_set, limit=self.limit, cache_dir=self.cache_dir)

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
                f"{file} holds {len(images)} images, clean.npz beside it {len(clean)}."
            )
        return with_images(clean, images, self._labels(file), file)

    def _images(self, file: Path) -> tuple[UInt8Array, str]:
        """Return the images of a file at the set's size, and their digest."""
        sized = framed(
            self._array(file, "images"),
            Framing(self.size, "crop"),
            f"{self.flag}-{file.parent.name}-{file.stem}",
            cache_dir=self.cache_dir,
        )
        return sized.open(), sized.digest

    def _labels(self, file: Path) -> Int64Array:
        return label_array(self._array(file, "labels").open(), self._described().task, file)

    def _labels_of(self, split: str) -> Int64Array | None:
        file = self.folder / split / "clean.npz"
        return self._labels(file) if file.is_file() else None

    def _array(self, file: Path, content: Content) -> CachedArray:
        return npz_array(
            file,
            content,
            content,
            name=f"{self.flag}-{file.parent.name}-{file.stem}",
            full_hash=self.full_hash,
            cache_dir=self.cache_dir,
        )

    def _file(self, corruption: str, severity: int) -> Path:
        return self.folder / self.split / f"{corruption}_severity_{severity}.npz"
