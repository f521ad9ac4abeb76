"""MedMNIST-C as published: one `.npz` file a corruption, with all five severities in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet
from medrobust.datasets.medmnist import MedMNIST
from medrobust.datasets.npz import npz_array, npz_checksum
from medrobust.datasets.published import data_folder, label_array, with_images
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, InvalidDataError

RECORD = "11471504"
"""Number of the Zenodo record of MedMNIST-C."""

SEVERITIES = 5


@dataclass(frozen=True)
class MedMNISTC:
    """Published files of MedMNIST-C (Di Salvo et al. 2024, arXiv:2406.17536): test split, 224.

    Reads `<root>/<flag>/<corruption>.npz` with the arrays `test_images` and `test_labels`, five
    blocks of the test split, severity 1 first; the clean images come from the MedMNIST+ file. Its
    columns have the suite `medmnist_c_files` and so never stand in one matrix with corruptions
    made on the fly.

    Args:
        flag: Name of the set ("bloodmnist").
        root: Folder of the sets; `$MEDROBUST_DATA/medmnist_c` if None.
        clean_root: Folder of the MedMNIST+ files, as `MedMNIST.root`.
        split: "test", the only one that was corrupted.
        size: 224, the only one that was published.
        label_order: As for `MedMNIST`.
        full_hash: Know source files by a hash of all their bytes.
        limit: A stratified part of at most so many images.
        cache_dir: Where arrays are unpacked to.
        notes: Further sentences for the tables.
    """

    flag: str
    root: str | None = None
    clean_root: str | None = None
    split: str = "test"
    size: int = STANDARD_SIZE
    label_order: str | None = None
    full_hash: bool = False
    limit: int | None = None
    cache_dir: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what was not published.

        Raises:
            UnknownNameError: For the flag.
            ConfigurationError: For split, size and label order.
        """
        self._clean()
        if (self.split, self.size) != ("test", STANDARD_SIZE):
            raise ConfigurationError(
                f"dataset.split={self.split!r}, dataset.size={self.size}: MedMNIST-C was published "
                f"for the test split at {STANDARD_SIZE} pixels."
            )

    def _clean(self) -> MedMNIST:
        return MedMNIST(
            self.flag,
            root=self.clean_root,
            label_order=self.label_order,
            full_hash=self.full_hash,
            limit=self.limit,
            cache_dir=self.cache_dir,
            notes=self.notes,
        )

    @property
    def name(self) -> str:
        """The flag: the clean images are those of MedMNIST+."""
        return self.flag

    @property
    def suite(self) -> str:
        """The registry whose corruptions were published."""
        return self.flag

    @property
    def files_suite(self) -> str:
        """Suite name of its columns."""
        return "medmnist_c_files"

    @property
    def folder(self) -> Path:
        """Where its files are looked for."""
        return data_folder(self.root, "medmnist_c") / self.flag

    def load(self, split: str | None = None) -> ImageSet:
        """Open the clean images of a split, see `MedMNIST.load`."""
        return self._clean().load(split)

    def check_file(self, corruption: str, severity: int) -> None:
        """Find a missing file before a run, see `CorruptedFiles`."""
        if not self._file(corruption).is_file():
            there = sorted(file.stem for file in self.folder.glob("*.npz"))
            raise DatasetNotFoundError(
                f"{corruption}.npz not found in {self.folder}, which has: "
                f"{', '.join(there) or 'no .npz file'}. Get the files from Zenodo record {RECORD}, "
                f"pass dataset.root=<folder of the sets>, or read what is there by "
                f"corruption=medmnist_c or corruption=<name>."
            )

    def identity(self, corruption: str, severity: int) -> dict[str, Any]:
        """Give what decides the pixels, see `CorruptedFiles`."""
        self.check_file(corruption, severity)
        return {
            "name": corruption,
            "files": self.files_suite,
            "severity": severity,
            "array": npz_checksum(self._file(corruption), "test_images"),
        }

    def corrupted(self, clean: ImageSet, corruption: str, severity: int) -> ImageSet:
        """Return the published images of one severity, see `CorruptedFiles`."""
        self.check_file(corruption, severity)
        file = self._file(corruption)
        images, stored = (
            npz_array(
                file, f"test_{part}", part, full_hash=self.full_hash, cache_dir=self.cache_dir
            ).open()
            for part in ("images", "labels")
        )
        count, rest = divmod(len(images), SEVERITIES)
        whole = self.limit is not None or count == len(clean)
        if rest or len(stored) != len(images) or not whole:
            raise InvalidDataError(
                f"{file} holds {len(images)} images and {len(stored)} labels; five severities of "
                f"{clean.stream} are {SEVERITIES * len(clean)}."
            )
        block = slice((severity - 1) * count, severity * count)
        labels = label_array(stored[block], clean.task, file)
        return with_images(clean, images[block], labels, file)

    def _file(self, corruption: str) -> Path:
        return self.folder / f"{corruption}.npz"
