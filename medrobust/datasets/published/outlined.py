"""PraNet's split of five polyp sets, Kvasir-SEG, CVC-ClinicDB, PolypGen and ISIC 2018's task 1.

Read as own data is: a store keeps keyed hashes of names.

References:
    Fan et al., PraNet, arXiv:2006.11392; Jha et al., Kvasir-SEG, arXiv:1911.07069; Bernal et al.,
    CVC-ClinicDB, Computerized Medical Imaging and Graphics 43 (2015) 99; Ali et al., PolypGen,
    arXiv:2106.04463; Codella et al., ISIC 2018, arXiv:1902.03368.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from medrobust.base.findings import Finding
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.own.folder import Folder
from medrobust.datasets.own.masked import LESIONS
from medrobust.datasets.own.samples import Sample
from medrobust.datasets.own.table import Table
from medrobust.datasets.sampling import draw_order
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, unknown_name

from .outlined_layouts import FACTS, TEST_SETS

SPLITS = ("train", "val", "test")

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
"""Split -> its share where none is published."""

VALIDATION = 0.1
"""Share of a published training split that becomes val where none is published."""

ELSEWHERE = "test of another part"
"""Split of test images that were not asked for."""

THRESHOLD = 127
"""Grey value beyond which a pixel is a lesion: masks of these sets are JPEGs, or were."""


@dataclass(frozen=True, kw_only=True)
class OutlinedLesions(Folder):
    """One of five sets with masks, in its published layout; further arguments of `Folder`.

    Splits are the published ones; where a set has none, or no val, it is drawn by the names of
    images. Patients are published for none of them, so that frames of one may stand in several
    splits, and the page says so.

    Args:
        set: "pranet", "kvasir_seg", "cvc_clinicdb", "polypgen" or "isic_2018".
        root: Folder of the set, unpacked.
        part: Of pranet's test split one set: "kvasir", "cvc_clinicdb", "cvc_colondb", "etis" or
            "cvc_300"; None: all five.
        split_seed: Of drawn splits.
        target: "masks", the only one there is; the task sets it.
    """

    targets: ClassVar[tuple[str, ...]] = ("masks",)

    set: str
    csv: str = ""
    name: str = "outlined"
    root: str | None = None
    target: str = "masks"
    part: str | None = None
    split_seed: int = 0
    mask_threshold: int | None = THRESHOLD

    def __post_init__(self) -> None:
        """Take what is published of the set, where nothing else is said.

        Raises:
            UnknownNameError: For set, split and part.
            ConfigurationError: If the folder is not named, or a part of a set without parts is.
        """
        if self.set not in FACTS:
            raise unknown_name("set with masks", self.set, FACTS)
        if self.split not in SPLITS:
            raise unknown_name("split", self.split, SPLITS)
        if self.root is None:
            raise ConfigurationError("pass dataset.root=<folder of the set>.")
        if self.part is not None and self.set != "pranet":
            raise ConfigurationError(f"dataset.part={self.part}: only pranet has parts.")
        if self.part is not None and self.part not in TEST_SETS.values():
            raise unknown_name("part of pranet", self.part, TEST_SETS.values())
        facts = FACTS[self.set]
        for name, value in (
            ("modality", facts.modality),
            ("license", facts.license),
            ("metadata_columns", (facts.column,) if facts.column else ()),
        ):
            object.__setattr__(self, name, getattr(self, name) or value)
        super().__post_init__()

    @property
    def folder(self) -> Path:
        """Folder of the set."""
        return Path(str(self.root)).expanduser()

    def check_files(self) -> None:
        """Refuse a folder without the set, before anything is opened."""
        self._read_table(self.split)

    def splits_in_table(self) -> list[str]:
        """Return the splits that there are."""
        return list(SPLITS)

    def _read_table(self, split: str) -> Table:
        facts = FACTS[self.set]
        try:
            table = facts.read(self.folder)
        except DatasetNotFoundError as error:
            raise DatasetNotFoundError(f"{error} Get the set: {facts.where}.") from error
        columns = {**table.columns, "split": self._splits(table)}
        if facts.column:
            columns[facts.column] = columns["source"]
        if self.part is not None:
            columns["split"] = [
                ELSEWHERE if own == "test" and source != self.part else own
                for own, source in zip(columns["split"], columns["source"], strict=True)
            ]
        return replace(table, columns=columns)

    def _splits(self, table: Table) -> list[str]:
        """Return the published splits, and draw those that are missing by the names of images."""
        published = list(table.columns["split"])
        if "val" in published:
            return published
        places = draw_order(
            list(table.columns["path"]), self.split_seed, "split of outlined lesions"
        )
        if "train" in published:
            return [
                "val" if own == "train" and place < VALIDATION else own
                for own, place in zip(published, places.tolist(), strict=True)
            ]
        before_val, before_test = SHARES["train"], SHARES["train"] + SHARES["val"]
        return [
            "train" if place < before_val else "val" if place < before_test else "test"
            for place in places.tolist()
        ]

    def _judged(self, table: Table, samples: list[Sample]) -> dict[str, Any]:
        names = LESIONS[0], FACTS[self.set].lesion
        return super()._judged(table, samples) | {"class_names": names}

    def _load(self, chosen: str) -> ImageSet:
        found = super()._load(chosen)
        said = "patients are not published: frames of one may stand in several splits"
        return replace(found, findings=(*found.findings, Finding("further remarks", said)))
