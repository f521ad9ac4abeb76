"""HAM10000, ISIC 2019 and 2020, PAD-UFES-20 and DDI, split by patient or lesion.

None of them has a published split of images with labels, and random ones put images of a lesion
into several. Read as own data is: a store keeps keyed hashes of names.

References:
    Tschandl et al., HAM10000, arXiv:1803.10417; Rotemberg et al., ISIC 2020, arXiv:2008.07360;
    Pacheco et al., PAD-UFES-20, Data in Brief 32 (2020) 106221; Daneshjou et al., DDI,
    arXiv:2203.08807.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from medrobust.base.findings import Finding
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.own.folder import Folder
from medrobust.datasets.own.table import Table
from medrobust.datasets.sampling import draw_order
from medrobust.exceptions import ConfigurationError, unknown_name

from .skin_layouts import FACTS

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
"""Split -> its share of the patients or lesions."""

AGES = {"age": (40, 60)}
"""Where the bins of ages begin."""


def split_of(groups: Sequence[str], seed: int) -> list[str]:
    """Draw the split of each group: images of one are together, whatever else a table holds.

    Args:
        groups: Patient or lesion of each image.
        seed: Of the draw.

    Example:
        >>> found = split_of(["a", "b", "a", "c"], 0)
        >>> found[0] == found[2]
        True
    """
    places = draw_order(list(groups), seed, "split of skin lesions")
    before_val, before_test = SHARES["train"], SHARES["train"] + SHARES["val"]
    return [
        "train" if place < before_val else "val" if place < before_test else "test"
        for place in places.tolist()
    ]


@dataclass(frozen=True, kw_only=True)
class SkinLesions(Folder):
    """One of five sets of skin lesions, in its published layout.

    Further arguments are those of `Folder`; columns of metadata are sex, age, localization and what
    else the set has: the skin type of Fitzpatrick (pad_ufes_20, ddi), biopsed, dx_type.

    Args:
        set: "ham10000", "isic_2019", "isic_2020", "pad_ufes_20" or "ddi".
        root: Folder of the set, unpacked.
        split_seed: Of the draw of patients or lesions into train, val and test (70, 10, 20 %).
    """

    targets: ClassVar[tuple[str, ...]] = ("labels",)

    set: str
    csv: str = ""
    name: str = "skin"
    root: str | None = None
    bins: Mapping[str, Sequence[float]] | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        """Take what is published of the set, where nothing else is said.

        Raises:
            UnknownNameError: For set and split.
            ConfigurationError: If the folder is not named.
        """
        if self.set not in FACTS:
            raise unknown_name("set of skin lesions", self.set, FACTS)
        if self.split not in SHARES:
            raise unknown_name("split", self.split, SHARES)
        if self.root is None:
            raise ConfigurationError("pass dataset.root=<folder of the set>.")
        facts = FACTS[self.set]
        for name, value in (
            ("class_names", tuple(facts.classes)),
            ("prompt_names", tuple(facts.classes.values())),
            ("modality", facts.modality),
            ("license", facts.license),
            ("metadata_columns", tuple(facts.metadata)),
        ):
            object.__setattr__(self, name, getattr(self, name) or value)
        if self.bins is None and "age" in self.metadata_columns:
            object.__setattr__(self, "bins", AGES)
        super().__post_init__()

    @property
    def folder(self) -> Path:
        """Folder of the set."""
        return Path(str(self.root)).expanduser()

    def check_files(self) -> None:
        """Refuse a folder without the tables of the set, before anything is opened."""
        FACTS[self.set].read(self.folder)

    def splits_in_table(self) -> list[str]:
        """Return the splits that there are."""
        return list(SHARES)

    def _read_table(self, split: str) -> Table:
        table = FACTS[self.set].read(self.folder)
        splits = split_of(table.columns["patient"], self.split_seed)
        return replace(table, columns={**table.columns, "split": splits})

    def _load(self, chosen: str) -> ImageSet:
        found = super()._load(chosen)
        group = FACTS[self.set].group
        if group == "patient":
            return found
        said = f"patients are not published: {group}s stand for them"
        return replace(found, findings=(*found.findings, Finding("further remarks", said)))
