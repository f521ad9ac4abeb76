"""Phantoms that are normal or have lesions, with masks of these: four families, one patient each.

They show what a task that looks for anything abnormal does; their numbers say nothing about
medicine.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medrobust.base.targets import MaskedLabels
from medrobust.datasets.audits.findings import finished
from medrobust.datasets.cache import cached_array
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet, data_fingerprint
from medrobust.types import UInt8Array

from .render import FAMILIES as ALL_FAMILIES
from .render import SITES, Family, habitus, render_with_lesion
from .splits import check_asked, known_split, write_drawn

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other pixels or masks."""

NAME = "phantoms_lesions"
"""Of the set, unless another is given."""

FAMILIES = tuple(family for family in ALL_FAMILIES if family.lesions)
STATES = ("normal", "abnormal")
"""Classes, in label order."""

PHRASES = (
    tuple(f"{family.normal} on {family.modality}" for family in FAMILIES),
    tuple(f"{kind} on {family.modality}" for family in FAMILIES for kind in family.lesions),
)
"""What the images of each state show, in the words that the demonstration models know."""

IMAGES_PER_PATIENT = 3
SPLITS = {"train": 120, "val": 84, "test": 87}
"""Split -> images of each state unless asked otherwise. Whole patients of every family but for the
last ones of test: an odd number makes the middle image, which pages show, an abnormal one."""

_STREAM = 7
"""Part of every seed: keeps these images apart from those of `Phantoms`."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one image shows, of whom."""

    family: Family
    state: int
    patient: int
    image: int

    @property
    def kind(self) -> str:
        """Class of the family: patients with lesions take turns in having its kinds."""
        kinds = self.family.lesions
        return kinds[self.patient // 2 % len(kinds)] if self.state else self.family.normal


def place(row: int) -> Row:
    """Return what row `row` of any split shows: normal and abnormal in turn, family by family.

    Example:
        >>> [(place(row).family.name, place(row).kind) for row in (0, 1, 3)]
        [('fundus', 'healthy retina'), ('fundus', 'hard exudates'), ('chest', 'lobar opacity')]
    """
    turn, state = divmod(row, len(STATES))
    visit, family = divmod(turn, len(FAMILIES))
    patient, image = divmod(visit, IMAGES_PER_PATIENT)
    return Row(FAMILIES[family], state, 2 * patient + state, image)


def lesion_phantom(
    row: int, *, split: str, site: str = "a", seed: int = 0
) -> tuple[UInt8Array, UInt8Array]:
    """Draw one image alone, the same as in the whole split.

    Returns:
        uint8 (224, 224, 3), and its mask, uint8 (224, 224), 1 in lesions.

    Example:
        >>> [bool(lesion_phantom(row, split="test")[1].any()) for row in (0, 1)]
        [False, True]
    """
    at = place(row)
    family = ALL_FAMILIES.index(at.family)
    key = [seed, SITES[site].code, _STREAM, list(SPLITS).index(split), family, at.patient]
    patient = habitus(np.random.default_rng([*key, 0]))
    rng = np.random.default_rng([*key, 1 + at.image])
    return render_with_lesion(rng, at.family, at.kind, patient, SITES[site])


@dataclass(frozen=True)
class PhantomLesions:
    """Procedural images of four families, half of them with drawn lesions and their exact masks.

    Row i is normal where i is even, so that any first part is balanced; it depends on (seed, site,
    split, i) alone. Patients have up to three images, all normal or all with lesions of one kind,
    and belong to one split. The family stands in the metadata.

    Args:
        name: In tables and in the store.
        site: "a", or "b" with other stain, contrast, blur and noise.
        split: The split that is evaluated.
        size: 224, the only size that is drawn.
        seed: Of the images; another seed gives other patients.
        per_class: Images of each state; by default 120 in train, 84 in val, 87 in test.
        limit: A stratified part of at most so many images.
        cache_dir: Where splits are kept.
        target: "masks": masks come beside the labels.
    """

    targets: ClassVar[tuple[str, ...]] = ("masks", "labels")

    name: str = NAME
    site: str = "a"
    split: str = "test"
    size: int = STANDARD_SIZE
    seed: int = 0
    per_class: int | None = None
    limit: int | None = None
    cache_dir: str | None = None
    target: str = "labels"

    def __post_init__(self) -> None:
        """Refuse names and sizes that do not exist.

        Raises:
            UnknownNameError: For site and split.
            ConfigurationError: For size and per_class.
        """
        check_asked(self.site, self.split, self.size, self.per_class, SPLITS)

    @property
    def suite(self) -> None:
        """Phantoms have no registry of MedMNIST-C."""
        return

    def load(self, split: str | None = None) -> ImageSet:
        """Open one split (`self.split` by default), drawn first if the cache has it not.

        Raises:
            UnknownNameError: If there is no such split.
            StoreError: If the cache cannot be written.
        """
        chosen = known_split(split or self.split, SPLITS)
        count = len(STATES) * (self.per_class or SPLITS[chosen])
        key = {
            "phantoms with lesions": GENERATOR_VERSION,
            "site": self.site,
            "split": chosen,
            "seed": self.seed,
            "count": count,
        }
        images, masks = (
            cached_array(
                f"phantoms-{what}-{chosen}",
                {**key, "of": what},
                partial(self._write, chosen, count, part),
                cache_dir=self.cache_dir,
            )
            for part, what in enumerate(("images", "masks"))
        )
        rows = [place(row) for row in range(count)]
        labels = np.array([at.state for at in rows], dtype=np.int64)
        groups = np.array([f"{chosen}/{at.family.name}/p{at.patient:04d}" for at in rows])
        ids = np.array([f"{group}/{at.image}" for group, at in zip(groups, rows, strict=True)])
        facts: dict[str, Any] = {**key, "masks": masks.digest}
        if self.name != NAME:  # a store knows a split of data by one name alone
            facts["name"] = self.name
        image_set = ImageSet(
            name=self.name,
            split=chosen,
            images=images.open(),
            target=MaskedLabels(labels, masks.open(), masks.digest),
            label_kind="binary-class",
            class_names=STATES,
            normal=STATES[:1],
            states=PHRASES,
            positive=1,
            modality="medical image",
            ids=ids,
            index=np.arange(count, dtype=np.int64),
            fingerprint=data_fingerprint(images.digest, ids, labels, **facts),
            groups=groups,
            metadata=np.array([[at.family.name] for at in rows]),
            metadata_columns=("family",),
            origin="phantom",
            license="Apache-2.0",
        )
        return finished(image_set, limit=self.limit, cache_dir=self.cache_dir)

    def _write(self, split: str, count: int, part: int, file: Path) -> str:
        def drawn(row: int) -> UInt8Array:
            return lesion_phantom(row, split=split, site=self.site, seed=self.seed)[part]

        shape = (count, self.size, self.size, *((3,) if part == 0 else ()))
        return write_drawn(drawn, shape, file)
