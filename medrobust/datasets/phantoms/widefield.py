"""Wide-field phantoms: breast ultrasound with several masses, each with a box, a mask and a class.

They show what a task that looks at lesions does; their numbers say nothing about medicine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator

from medrobust.base.targets import Boxes
from medrobust.datasets.audits.findings import finished
from medrobust.datasets.cache import cached_array
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet, data_fingerprint
from medrobust.datasets.windows import Look, looked_at
from medrobust.types import Float32Array, Int64Array, UInt8Array

from .draw import SIZE
from .render import FAMILIES, SITES, habitus, picture_with_lesions
from .splits import check_asked, known_split, write_drawn

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other pixels, masks or boxes."""

FAMILY = next(family for family in FAMILIES if family.name == "ultrasound")
CLASSES = FAMILY.lesions
"""Of a lesion, in label order: benign and malignant."""

SIDES = ("left", "right")
VISITS = (1, 2)
"""A patient has an image of each breast at each visit."""

SPLITS = {"train": 20, "val": 12, "test": 15}
"""Split -> patients with a malignant mass unless asked otherwise; as many have none."""

MOST = 5
"""Masses in an image; at least one."""

BORDER = 32
"""Pixels that masses keep from the edges of the image, so that no pose moves one out."""

_STREAM = 11
"""Part of every seed: keeps these images apart from those of other phantoms."""


@dataclass(frozen=True, slots=True)
class Row:
    """Whose image it is, of which breast, at which visit."""

    patient: int
    visit: int
    side: int

    @property
    def ill(self) -> bool:
        """Whether the patient has a malignant mass, in one breast."""
        return self.patient % 2 == 1

    @property
    def ill_side(self) -> int:
        """Breast of the malignant masses: left and right in turn."""
        return self.patient // 2 % len(SIDES)


def place(row: int) -> Row:
    """Return what row `row` of any split shows.

    Example:
        >>> [(place(row).patient, place(row).visit, place(row).side) for row in (0, 1, 2, 7)]
        [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1)]
    """
    patient, image = divmod(row, len(SIDES) * len(VISITS))
    visit, side = divmod(image, len(SIDES))
    return Row(patient, visit, side)


def widefield_phantom(
    row: int, *, split: str, site: str = "a", seed: int = 0
) -> tuple[UInt8Array, UInt8Array, tuple[int, ...]]:
    """Draw one image alone, the same as in the whole split.

    Returns:
        uint8 (224, 224, 3); its masses, uint8 (224, 224), 0 outside of them and else the number of
        the mass from 1; and the class of each mass.
    """
    at = place(row)
    key = [seed, SITES[site].code, _STREAM, list(SPLITS).index(split), at.patient]
    patient = habitus(np.random.default_rng([*key, 0]))
    kinds = _kinds(at, np.random.default_rng([*key, 1, at.side]))
    rng = np.random.default_rng([*key, 2 + at.visit, at.side])
    drawn = FAMILY.draw(rng, FAMILY.normal)
    covered = [_insert(drawn[0], rng, CLASSES[kind], spot) for kind, spot in
               zip(kinds, _spots(rng, len(kinds)), strict=True)]  # fmt: skip
    layers = np.concatenate([drawn, np.stack(covered)])
    picture, moved = picture_with_lesions(rng, FAMILY, layers, patient, SITES[site], len(kinds))
    numbered = np.zeros((SIZE, SIZE), np.uint8)
    for number, layer in enumerate(moved, 1):
        numbered[layer >= 0.5] = number
    return picture, numbered, kinds


def _kinds(at: Row, rng: Generator) -> tuple[int, ...]:
    """Draw the masses of a breast, which stay at the next visit: their number tells no class."""
    count = int(rng.integers(1, MOST + 1))
    kinds = np.zeros(count, np.int64)
    if at.ill and at.side == at.ill_side:
        kinds[: int(rng.integers(1, min(2, count) + 1))] = 1
    return tuple(rng.permutation(kinds).tolist())


def _spots(rng: Generator, count: int) -> list[tuple[float, float]]:
    """Draw centres in different fields of a grid of 3 x 2, so that no two masses meet."""
    width, height = (SIZE - 2 * BORDER) / 3, (SIZE - 2 * BORDER) / 2
    fields = list(product(range(3), range(2)))
    chosen = [fields[i] for i in rng.permutation(len(fields))[:count]]
    return [
        (
            BORDER + (x + 0.5) * width + rng.uniform(-4, 4),
            BORDER + (y + 0.5) * height + rng.uniform(-12, 12),
        )
        for x, y in chosen
    ]


def _insert(
    tissue: Float32Array, rng: Generator, kind: str, spot: tuple[float, float]
) -> Float32Array:
    """Lay a mass, drawn alone and made smaller, over tissue in place; return what it covers."""
    lesion = np.zeros((SIZE, SIZE), np.float32)
    (alone,) = FAMILY.draw(rng, kind, lesion)
    y, x = np.nonzero(lesion >= 0.5)
    middle = np.array([(x.min() + x.max()) / 2, (y.min() + y.max()) / 2])
    longer = max(np.ptp(x), np.ptp(y)) + 1
    scale = float(rng.uniform(28, 40) / longer)
    shift = np.array(spot) - scale * middle
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    small, covered = (
        cv2.warpAffine(layer, matrix, (SIZE, SIZE), flags=cv2.INTER_AREA) for layer in
        (cv2.GaussianBlur(alone, (0, 0), 0.35 / scale), lesion)
    )  # fmt: skip
    across = np.arange(SIZE, dtype=np.float32)
    far = np.hypot(across[None, :] - spot[0], across[:, None] - spot[1]) / (scale * longer)
    opacity = np.clip((0.85 - far) / 0.2, 0, 1).astype(np.float32)
    tissue += opacity * (small - tissue)
    found: Float32Array = covered
    return found


@dataclass(frozen=True)
class PhantomWidefield:
    """Procedural wide-field images with one to five masses, each with its box and exact mask.

    A patient has an image of each breast at each of two visits, and belongs to one split; every
    other patient has one or two malignant masses in one breast, the others benign ones alone. An
    image depends on (seed, site, split, row) alone.

    Args:
        name: In tables and in the store.
        site: "a", or "b" with other stain, contrast, blur and noise.
        split: The split that is evaluated.
        size: 224, the only size that is drawn.
        seed: Of the images; another seed gives other patients.
        per_class: Patients with and without a malignant mass; by default 20 of each in train, 12 in
            val, 15 in test.
        limit: A part of at most so many images.
        margin: Around a box, as a share of its longer side, on each side.
        grid: Windows along each side of the image, in place of boxes; None: boxes.
        overlap: Share of a window of the grid that the next one sees again.
        cache_dir: Where splits are kept.
        target: "labels", of windows; or "boxes", whole images.
    """

    targets: ClassVar[tuple[str, ...]] = ("labels", "boxes")

    name: str = "phantoms_widefield"
    site: str = "a"
    split: str = "test"
    size: int = STANDARD_SIZE
    seed: int = 0
    per_class: int | None = None
    limit: int | None = None
    margin: float = 0.5
    grid: int | None = None
    overlap: float = 0.5
    cache_dir: str | None = None
    target: str = "labels"

    def __post_init__(self) -> None:
        """Refuse names and sizes that do not exist.

        Raises:
            UnknownNameError: For site and split.
            ConfigurationError: For sizes and numbers.
        """
        check_asked(self.site, self.split, self.size, self.per_class, SPLITS)
        self.look  # noqa: B018  (its own checks)

    @property
    def suite(self) -> None:
        """Phantoms have no registry of MedMNIST-C."""
        return

    @property
    def look(self) -> Look:
        """Which windows are looked at."""
        return Look(self.margin, self.grid, self.overlap, FAMILY.normal)

    def load(self, split: str | None = None) -> ImageSet:
        """Open one split (`self.split` by default), drawn first if the cache has it not.

        Raises:
            UnknownNameError: If there is no such split.
            StoreError: If the cache cannot be written.
        """
        chosen = known_split(split or self.split, SPLITS)
        count = len(SIDES) * len(VISITS) * 2 * (self.per_class or SPLITS[chosen])
        key = {"phantoms with masses": GENERATOR_VERSION, "site": self.site, "split": chosen}
        key |= {"seed": self.seed, "count": count}
        images, masks = (
            cached_array(
                f"phantoms-{what}-{chosen}",
                {**key, "of": what},
                partial(self._write, chosen, count, part),
                cache_dir=self.cache_dir,
            )
            for part, what in enumerate(("wide images", "wide masks"))
        )
        rows = [place(row) for row in range(count)]
        boxes = self._boxes(masks.open(), rows, chosen)
        groups = np.array([f"{chosen}/p{at.patient:04d}" for at in rows])
        told = np.array([[SIDES[at.side], str(VISITS[at.visit])] for at in rows])
        ids = np.array([f"{g}/{t[0]}{t[1]}" for g, t in zip(groups, told, strict=True)])
        whole = ImageSet(
            name=self.name,
            split=chosen,
            images=images.open(),
            target=boxes,
            label_kind="binary-class",
            class_names=CLASSES,
            prompt_names=tuple(f"{kind} on {FAMILY.modality}" for kind in CLASSES),
            positive=1,
            modality=FAMILY.modality,
            ids=ids,
            index=np.arange(count, dtype=np.int64),
            fingerprint=data_fingerprint(
                images.digest, ids, boxes.classes, **key, masks=masks.digest
            ),
            groups=groups,
            metadata=told,
            metadata_columns=("side", "visit"),
            origin="phantom",
            license="Apache-2.0",
        )
        whole = finished(whole, limit=self.limit, cache_dir=self.cache_dir)
        return whole if self.target == "boxes" else looked_at(whole, self.look)

    def _boxes(self, masks: UInt8Array, rows: Sequence[Row], split: str) -> Boxes:
        """Return the box of each mass, from its mask."""
        code = [self.seed, SITES[self.site].code, _STREAM, list(SPLITS).index(split)]
        corners, images, classes = [], [], []
        for image, at in enumerate(rows):
            kinds = _kinds(at, np.random.default_rng([*code, at.patient, 1, at.side]))
            for number, kind in enumerate(kinds, 1):
                y, x = np.nonzero(masks[image] == number)
                corners.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
                images.append(image)
                classes.append(kind)
        numbers: list[Int64Array] = [np.array(part, np.int64) for part in (images, classes)]
        return Boxes(np.array(corners, np.float32), *numbers)

    def _write(self, split: str, count: int, part: int, file: Path) -> str:
        def drawn(row: int) -> UInt8Array:
            found = widefield_phantom(row, split=split, site=self.site, seed=self.seed)
            return (found[0], found[1])[part]

        shape = (count, self.size, self.size, *((3,) if part == 0 else ()))
        return write_drawn(drawn, shape, file)
