"""BMAD: six sets of five organs that ask for what is not normal, three of them with masks.

Bao et al., arXiv:2306.11876. Read as own data is: a store keeps keyed hashes of names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

from medrobust.base.findings import Finding
from medrobust.base.wording import agreeing, part_of
from medrobust.datasets.own.folder import Folder
from medrobust.datasets.own.table import Table
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    unknown_name,
)

SPLITS = MappingProxyType({"train": "train", "val": "valid", "test": "test"})
"""Split -> its folder."""

STATES = MappingProxyType({"good": "normal", "Ungood": "abnormal"})
"""Folder -> class."""

PICTURES = (".png", ".jpeg", ".jpg")


@dataclass(frozen=True, slots=True)
class BMADFacts:
    """What is published of a set.

    Attributes:
        folders: Names of its folder, in MVFA's copy and in BMAD's own tree.
        modality: A few words for prompts.
        masks: Whether abnormal images have masks.
    """

    folders: Sequence[str]
    modality: str
    masks: bool = False


FACTS: Mapping[str, BMADFacts] = MappingProxyType(
    {
        "brain": BMADFacts(("Brain_AD", "Brain"), "brain MRI", masks=True),
        "liver": BMADFacts(("Liver_AD", "Liver"), "liver CT", masks=True),
        "resc": BMADFacts(("Retina_RESC_AD", "RESC_AD", "RESC"), "retinal OCT", masks=True),
        "oct2017": BMADFacts(("Retina_OCT2017_AD", "OCT2017_AD", "OCT2017"), "retinal OCT"),
        "chest": BMADFacts(("Chest_AD", "Chest", "RSNA_AD"), "chest x-ray"),
        "histopathology": BMADFacts(
            ("Histopathology_AD", "Camelyon16_AD", "Camelyon16", "Histopathology"),
            "histopathology image",
        ),
    }
)
"""Name of a set -> what is published of it."""


@dataclass(frozen=True, kw_only=True)
class BMAD(Folder):
    """One of the six sets, in MVFA's copy or BMAD's own tree.

    `{Set}_AD/{train,valid,test}/{good,Ungood}/img/*.png`, masks in `Ungood/anomaly_mask/` (or
    `Ungood/label/`) under the same name; the folder `img` may be missing. `train` holds normal
    images alone. Further arguments are those of `Folder`.

    Args:
        set: "brain", "liver", "resc", "oct2017", "chest" or "histopathology".
        root: Folder that holds the folders of the sets, or that of the set itself.
        few_shot: Normal and abnormal images that tuning may see, as MVFA's lists name them; they
            are drawn from `valid`, so that `train` is these alone and `val` the rest. None: the
            published splits.
        draw: Which line of the list.
        lists: Folder of the lists (`Brain/4-shot.txt`); None: `fewshot_seed` in the root.
    """

    targets: ClassVar[tuple[str, ...]] = ("labels",)

    set: str
    csv: str = ""
    name: str = "bmad"
    root: str | None = None
    class_names: Sequence[str] | None = tuple(STATES.values())
    few_shot: Literal[2, 4, 8, 16] | None = None
    draw: int = 1
    lists: str | None = None

    def __post_init__(self) -> None:
        """Refuse choices that do not exist."""
        super().__post_init__()
        if self.set not in FACTS:
            raise unknown_name("set of BMAD", self.set, FACTS)
        if self.split not in SPLITS:
            raise unknown_name("split", self.split, SPLITS)
        if self.root is None:
            raise ConfigurationError("pass dataset.root=<folder of BMAD>.")
        object.__setattr__(self, "modality", self.modality or FACTS[self.set].modality)

    @property
    def folder(self) -> Path:
        """Folder of the set.

        Raises:
            DatasetNotFoundError: If there is none.
        """
        root = Path(str(self.root)).expanduser()
        named = [root / name for name in FACTS[self.set].folders]
        for place in (*named, root):
            if (place / "test").is_dir():
                return place
        raise DatasetNotFoundError(
            f"no folder of the set {self.set!r} in {root}: looked for "
            f"{', '.join(FACTS[self.set].folders)} with test/good and test/Ungood. Pass "
            f"dataset.root=<folder of BMAD>."
        )

    def check_files(self) -> None:
        """Refuse a folder that is not there, before anything is opened."""
        _ = self.folder

    def splits_in_table(self) -> list[str]:
        """Return the splits that there are."""
        return list(SPLITS)

    def _read_table(self, split: str) -> Table:
        found = [
            (split_, state, path)
            for split_, folder in SPLITS.items()
            for state in STATES
            for path in _pictures(self.folder / folder / state)
        ]
        shots = self._shots()
        if shots is not None:
            self._check_shots(shots, found)
            found = [
                ("train" if (state, path.name) in shots else "val", state, path)
                if split_ == "val"
                else (split_, state, path)
                for split_, state, path in found
                if split_ != "train"
            ]
        columns = {
            "path": [path.relative_to(self.folder).as_posix() for _, _, path in found],
            "label": [STATES[state] for _, state, _ in found],
            "split": [split_ for split_, _, _ in found],
        }
        if FACTS[self.set].masks:
            columns["mask"] = [self._mask(state, path) for _, state, path in found]
        return Table(self.folder.name, columns, list(range(1, len(found) + 1)))

    def _left_out(self, number: int, thing: str) -> tuple[Finding, ...]:
        """Say nothing: what is in no list of shots is left out as published."""
        return ()

    def _check_shots(
        self, shots: frozenset[tuple[str, str]], found: Sequence[tuple[str, str, Path]]
    ) -> None:
        """Refuse a list with pictures that are not there: there would be fewer shots, unsaid.

        Raises:
            DatasetNotFoundError: Naming the first of them.
        """
        there = {(state, path.name) for split, state, path in found if split == "val"}
        if missing := sorted(shots - there):
            state, name = missing[0]
            raise DatasetNotFoundError(
                f"{part_of(len(missing), len(shots), 'picture')} of the list of "
                f"{self.few_shot} shots, draw {self.draw}, {agreeing(len(missing), 'is')} not "
                f"there, first {SPLITS['val']}/{state}: {name}. The list is that of another copy, "
                f"or the copy is not whole."
            )

    def _mask(self, state: str, picture: Path) -> str:
        """Return the mask of a picture, from the folder of the set on; empty for normal ones.

        Raises:
            DatasetNotFoundError: If an abnormal image has none.
        """
        if STATES[state] == "normal":
            return ""
        top = picture.parent.parent if picture.parent.name == "img" else picture.parent
        for folder in ("anomaly_mask", "label"):
            for suffix in (".png", picture.suffix):
                mask = top / folder / f"{picture.stem}{suffix}"
                if mask.is_file():
                    return mask.relative_to(self.folder).as_posix()
        raise DatasetNotFoundError(
            f"{picture.name} of {self.folder.name} has no mask in {top.name}/anomaly_mask: an "
            f"abnormal image of this set needs one."
        )

    def _shots(self) -> frozenset[tuple[str, str]] | None:
        """Return (folder of the state, name) of the images of a list; None without one."""
        if self.few_shot is None:
            return None
        root = Path(self.lists or Path(str(self.root)) / "fewshot_seed").expanduser()
        name = self.folder.name.removesuffix("_AD")
        file = root / name / f"{self.few_shot}-shot.txt"
        if not file.is_file():
            raise DatasetNotFoundError(f"{file} not found. Pass dataset.lists=<its folder>.")
        lines = dict(_lines(file))
        wanted = {f"n-{self.draw}": "good", f"a-{self.draw}": "Ungood"}
        if missing := wanted.keys() - lines.keys():
            raise InvalidDataError(
                f"{file.name} has no line {min(missing)!r}: it has {', '.join(sorted(lines))}. "
                f"Choose another dataset.draw."
            )
        return frozenset(
            (state, picture) for key, state in wanted.items() for picture in lines[key]
        )


def _pictures(folder: Path) -> list[Path]:
    """List the pictures of one state, in `img` or right in the folder."""
    within = folder / "img" if (folder / "img").is_dir() else folder
    if not within.is_dir():
        return []
    return sorted(path for path in within.iterdir() if path.suffix.lower() in PICTURES)


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Read `n-1: one.png two.png` as ("n-1", ["one.png", "two.png"])."""
    for line in file.read_text("utf-8").splitlines():
        key, colon, names = line.partition(":")
        if colon:
            yield key.strip(), names.split()
