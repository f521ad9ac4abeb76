"""MedMNIST-C as published: one `.npz` file a corruption, with all five severities in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from medrobust.base.wording import counted
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet
from medrobust.datasets.npz import npz_checksum
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, InvalidDataError

from .facts import Description, data_folder, label_array, with_images
from .fetching import fetch_archive
from .medmnist import MedMNIST, described
from .medmnist_facts import MedMNISTFacts, medmnist_facts
from .source import PublishedSource

RECORD = "11471504"
"""Number of the Zenodo record of MedMNIST-C, which holds one archive a set."""

NOT_PUBLISHED = "tissuemnist"
"""The set whose files were not uploaded."""

MD5: Mapping[str, str] = MappingProxyType(
    {
        "pathmnist": "bf62498906ec0383c3ec5ff12ac70c00",
        "bloodmnist": "daba10a010064a9e38f0d09b498bcf18",
        "dermamnist": "19c88c74c104655d5f668e158e56451d",
        "retinamnist": "80a2fa4c9b7fa2176606be825dfdef6e",
        "octmnist": "40389bc54256edecd09ee4bd028c7e6a",
        "breastmnist": "c755e51825c074706524ea6b2c77a10b",
        "pneumoniamnist": "c499a47a64a000b579b23920bf80a95a",
        "organamnist": "ff4ad0f53934ddf6a2330065d581990c",
        "organcmnist": "2a649c94473ab9126130af8205d6c89b",
        "organsmnist": "1dbf4d814725adc307ba9ffe5edf061a",
    }
)
"""Sums of the archives, as public loaders of the record list them; that of chestmnist is asked for.
"""

SEVERITIES = 5


@dataclass(frozen=True)
class MedMNISTC(PublishedSource):
    """Published files of MedMNIST-C (Di Salvo et al. 2024, arXiv:2406.17536): test split, 224.

    Reads `<root>/<flag>/<corruption>.npz` with the arrays `test_images` and `test_labels`, five
    blocks of the test split, severity 1 first; the clean images come from the MedMNIST+ file. Its
    columns have the suite `medmnist_c_files` and so never stand in one matrix with corruptions
    made on the fly. Without a root, `$MEDROBUST_DATA/medmnist_c`.

    Args:
        clean_root: Folder of the MedMNIST+ files, as `MedMNIST.root`.

    Further arguments are those of `PublishedSource`; "test" and 224 are all that was published.
    """

    clean_root: str | None = None

    def _check_size(self) -> None:
        if (self.split, self.size) != ("test", STANDARD_SIZE):
            raise ConfigurationError(
                f"dataset.split={self.split!r}, dataset.size={self.size}: MedMNIST-C was published "
                f"for the test split at {STANDARD_SIZE} pixels."
            )

    def _clean(self) -> MedMNIST:
        return MedMNIST(
            self.flag,
            root=self.clean_root,
            download=self.download,
            label_order=self.label_order,
            full_hash=self.full_hash,
            limit=self.limit,
            cache_dir=self.cache_dir,
            notes=self.notes,
        )

    @property
    def facts(self) -> MedMNISTFacts:
        """What is published of the clean set."""
        return medmnist_facts(self.flag)

    def described(self) -> Description:
        """Describe the clean set."""
        return described(self.flag)

    def fetch(self) -> list[Path]:
        """Bring the clean file and the archive of the corrupted ones here, and check them."""
        if self.flag == NOT_PUBLISHED:
            raise DatasetNotFoundError(
                f"MedMNIST-C was not published for {self.flag}: make its files with "
                f"`medrobust benchmark-files`."
            )
        clean = self._clean().fetch()
        name, md5 = f"{self.flag}.zip", MD5.get(self.flag)
        if not self.download and not self.folder.is_dir():
            raise DatasetNotFoundError(
                f"no folder {self.flag!r} in {self.folder.parent}. Unpack {name} of Zenodo record "
                f"{RECORD} there, or pass dataset.download=true."
            )
        return [*clean, *fetch_archive(RECORD, name, self.folder.parent, md5=md5)]

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
        if self.download and not self.folder.is_dir():
            self.fetch()
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
            self._array(file, f"test_{part}", part).open() for part in ("images", "labels")
        )
        count, rest = divmod(len(images), SEVERITIES)
        whole = self.limit is not None or count == len(clean)
        if rest or len(stored) != len(images) or not whole:
            raise InvalidDataError(
                f"{file} holds {counted(len(images), 'image')} and "
                f"{counted(len(stored), 'label')}; five severities of "
                f"{clean.stream} are {SEVERITIES * len(clean)}."
            )
        block = slice((severity - 1) * count, severity * count)
        assert clean.label_kind is not None
        labels = label_array(stored[block], clean.label_kind, file)
        return with_images(clean, images[block], labels, file)

    def _file(self, corruption: str) -> Path:
        return self.folder / f"{corruption}.npz"
