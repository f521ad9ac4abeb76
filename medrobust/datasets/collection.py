"""Collections: several published sets under one name, each evaluated on its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from medrobust.base.findings import Finding
from medrobust.datasets.published.known_shares import KNOWN_SHARES, SHARED_SOURCES
from medrobust.datasets.published.medimeta import MedIMeta
from medrobust.datasets.published.medimeta_facts import FACTS as MEDIMETA
from medrobust.datasets.published.medmnist import MedMNIST
from medrobust.datasets.published.medmnist_c import MedMNISTC
from medrobust.datasets.published.medmnist_facts import FACTS as MEDMNIST
from medrobust.datasets.published.robustmedclip import RobustMedCLIPFiles
from medrobust.exceptions import ConfigurationError, unknown_name

from .image_set import STANDARD_SIZE, DatasetSource

Layout = Literal["original", "medmnist_c", "robustmedclip"]


@dataclass(frozen=True)
class Collection:
    """Published sets that a plan runs over one after the other, and that tuning draws from.

    Args:
        name: Of the collection.
        sets: MedMNIST flags and MedIMeta ids, in table order.
        layout: "original": MedMNIST+ files and MedIMeta folders; "medmnist_c": published corrupted
            files of MedMNIST-C; "robustmedclip": MediMeta-C, and MedMNIST repacked like it.
        root: One folder for all: MedMNIST+ files in it, `medimeta/`, `medmnist_c/`, `medimeta_c/`
            and `medmnist_repacked/` below; what each layout takes by itself if None.
        files: For "robustmedclip": evaluate its corrupted files, else the clean ones on the fly.
        split: The split that is evaluated.
        size: Pixels a side.
        download: Fetch what is missing.
        label_order: A known order for the sets that have it ("robustmedclip"), or set -> order.
        full_hash: Know source files by a hash of all their bytes.
        limit: A stratified part of at most so many images of each set.
        cache_dir: Where arrays are unpacked to.
    """

    name: str
    sets: Sequence[str]
    layout: Layout = "original"
    root: str | None = None
    files: bool = True
    split: str = "test"
    size: int = STANDARD_SIZE
    download: bool = False
    label_order: str | Mapping[str, str] | None = None
    full_hash: bool = False
    limit: int | None = None
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no member can be.

        Raises:
            ConfigurationError: For the layout, an empty or repeating list, an unknown order.
            MedRobustError: As a member raises it.
        """
        if self.layout not in get_args(Layout):
            raise ConfigurationError(
                f"dataset.layout={self.layout!r}: there are {', '.join(get_args(Layout))}."
            )
        if not self.sets or len(set(self.sets)) < len(self.sets):
            raise ConfigurationError(
                f"dataset.sets={list(self.sets)}: at least one set, and each once."
            )
        self._check_order()
        _ = self.members

    def _check_order(self) -> None:
        orders = {order for name in self.sets for order in self._orders(name)}
        if isinstance(self.label_order, str) and self.label_order not in orders:
            raise ConfigurationError(
                f"dataset.label_order={self.label_order!r}: these sets know "
                f"{', '.join(sorted(orders)) or 'none but their own (null)'}."
            )
        if isinstance(self.label_order, Mapping) and (
            stray := sorted(self.label_order.keys() - set(self.sets))
        ):
            raise ConfigurationError(
                f"dataset.label_order names {stray}, which dataset.sets lacks."
            )

    @staticmethod
    def _orders(name: str) -> tuple[str, ...]:
        known = KNOWN_SHARES.get(name)
        return () if known is None else tuple(known.orders)

    @cached_property
    def members(self) -> tuple[DatasetSource, ...]:
        """The sources, in table order."""
        return tuple(self._member(name) for name in self.sets)

    def _member(self, name: str) -> DatasetSource:
        if name not in (*MEDMNIST, *MEDIMETA):
            raise unknown_name("data set", name, (*MEDMNIST, *MEDIMETA))
        shared: dict[str, Any] = {
            "split": self.split,
            "size": self.size,
            "download": self.download,
            "label_order": self._order(name),
            "full_hash": self.full_hash,
            "limit": self.limit,
            "cache_dir": self.cache_dir,
            "notes": self._notes(name),
        }
        if self.layout == "medmnist_c":
            return MedMNISTC(name, root=self._below("medmnist_c"), clean_root=self.root, **shared)
        if self.layout == "robustmedclip":
            family = "medmnist_repacked" if name in MEDMNIST else "medimeta_c"
            return RobustMedCLIPFiles(name, root=self._below(family), files=self.files, **shared)
        if name in MEDMNIST:
            return MedMNIST(name, root=self.root, **shared)
        return MedIMeta(name, root=self._below("medimeta"), **shared)

    def _below(self, folder: str) -> str | None:
        return None if self.root is None else str(Path(self.root) / folder)

    def _order(self, name: str) -> str | None:
        if isinstance(self.label_order, str):
            return self.label_order if self.label_order in self._orders(name) else None
        return None if self.label_order is None else self.label_order.get(name)

    def _notes(self, name: str) -> tuple[Finding, ...]:
        """Say which other members were made from the same pictures."""
        return tuple(
            Finding(
                "repeated images",
                f"{' and '.join(sorted(pair))} hold {what}: a mean over both counts them twice, "
                f"and tuning on one shows test images of the other",
            )
            for pair, what in SHARED_SOURCES
            if name in pair and pair <= set(self.sets)
        )
