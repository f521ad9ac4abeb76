"""Phantoms: procedural images of five families that look like medicine and are not.

They make every path of the framework run offline; their numbers say nothing about medicine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medrobust.base.targets import Labels, Texts
from medrobust.datasets.audits.findings import finished
from medrobust.datasets.cache import cached_array
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet, data_fingerprint
from medrobust.types import Int64Array, UInt8Array

from .lesions import PhantomLesions
from .render import FAMILIES as _FAMILIES
from .render import SITES, Family, habitus, render
from .splits import check_asked, known_split, write_drawn

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other pixels."""

FAMILIES: Mapping[str, tuple[str, ...]] = {family.name: family.classes for family in _FAMILIES}
"""Family -> its classes, in label order."""

MODALITIES: Mapping[str, str] = {family.name: family.modality for family in _FAMILIES}
"""Family -> its modality in words."""

CLASSES = tuple((family, kind) for family in _FAMILIES for kind in family.classes)
CLASS_NAMES = tuple(kind for _, kind in CLASSES)
PROMPT_NAMES = tuple(f"{kind} on {family.modality}" for family, kind in CLASSES)
WORDINGS = ("findings: {}", "an image of {}", "this study shows {}")
"""Sentences of the reports, each of one finding."""

IMAGES_PER_PATIENT = 3
SPLITS: Mapping[str, int] = {"train": 90, "val": 30, "test": 21}
"""Split -> images a class unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class Row:
    """Place of one image: its family, class, patient and number within the patient."""

    family: Family
    label: int
    patient: int
    image: int


def place(row: int, *, one_class: bool = False) -> Row:
    """Return what row `row` of any split shows: label = row mod 20, patients of three images.

    Args:
        row: From 0.
        one_class: Whether patients of blood show one class, too, and not several.
    """
    label, turn = row % len(CLASSES), row // len(CLASSES)
    family, kind = CLASSES[label]
    own, classes = family.classes.index(kind), len(family.classes)
    if family.mixed and not one_class:
        patient, image = divmod(turn * classes + own, IMAGES_PER_PATIENT)
    else:
        visit, image = divmod(turn, IMAGES_PER_PATIENT)
        patient = visit * classes + own
    return Row(family, label, patient, image)


def phantom(
    row: int, *, split: str, site: str = "a", seed: int = 0, one_class: bool = False
) -> UInt8Array:
    """Draw one image alone: uint8 (224, 224, 3), the same as in the whole split."""
    at = place(row, one_class=one_class)
    key = [
        seed,
        SITES[site].code,
        list(SPLITS).index(split),
        _FAMILIES.index(at.family),
        at.patient,
    ]
    patient = habitus(np.random.default_rng([*key, 0]))
    rng = np.random.default_rng([*key, 1 + at.image])
    return render(rng, at.family, CLASSES[at.label][1], patient, SITES[site])


@dataclass(frozen=True)
class Phantoms:
    """Procedural images of five families, twenty classes, balanced; drawn once into the cache.

    Row i has label i mod 20, so that any first part is balanced too, and depends on (seed, site,
    split, i) alone: a longer split begins with the shorter one. Patients have up to three images,
    belong to one split and share anatomy, stain and exposure; those of the blood family show
    different classes, the others one. Grey families are stored with three equal channels.

    All choices come from numpy's PCG64, seeded image by image, and do not depend on the machine;
    the strokes and filters are OpenCV's float32, so that other builds of it may differ by a grey
    level. The SHA-256 of the pixels is therefore part of the fingerprint.

    Args:
        name: In tables and in the store.
        site: "a", or "b" with other stain, contrast, blur and noise, which the demonstration
            models have never seen.
        split: The split that is evaluated.
        size: 224, the only size that is drawn.
        seed: Of the images; another seed gives other patients.
        per_class: Images a class; by default 90 in train, 30 in val, 21 in test.
        limit: A stratified part of at most so many images.
        cache_dir: Where splits are kept.
        one_class: Whether patients of every family show one class, so that one answer is right for
            each of them; changes the images of the blood family.
        target: "labels", the class of each image; or "texts", the three sentences in `WORDINGS` of
            it, which all images of the class share; or "texts and labels"; or "masks", for which
            other images are drawn, those of `PhantomLesions`.
        metadata: Whether images of the training split have metadata: `brightness`, their mean grey
            from 0 to 1, and `visit`, which the first two images of a patient share.
    """

    targets: ClassVar[tuple[str, ...]] = ("labels", "texts", "texts and labels", "masks")

    name: str = "phantoms"
    site: str = "a"
    split: str = "test"
    size: int = STANDARD_SIZE
    seed: int = 0
    per_class: int | None = None
    limit: int | None = None
    cache_dir: str | None = None
    one_class: bool = False
    target: str = "labels"
    metadata: bool = False

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
        if self.target == "masks":
            return self._with_lesions().load(chosen)
        count = len(CLASSES) * (self.per_class or SPLITS[chosen])
        key = {
            "phantoms": GENERATOR_VERSION,
            "site": self.site,
            "split": chosen,
            "seed": self.seed,
            "count": count,
        }
        if self.one_class:
            key["one_class"] = True
        images = cached_array(
            f"{self.name}-{chosen}",
            key,
            partial(self._write, chosen, count),
            cache_dir=self.cache_dir,
        )
        places = [place(row, one_class=self.one_class) for row in range(count)]
        groups = np.array([f"{chosen}/{at.family.name}/p{at.patient:04d}" for at in places])
        ids = np.array([f"{group}/{at.image}" for group, at in zip(groups, places, strict=True)])
        labels = _labels(count)
        by_texts = self.target != "labels"
        judged = {"texts": list(WORDINGS)} if by_texts else {}
        pixels = images.open()
        image_set = ImageSet(
            name=self.name,
            split=chosen,
            images=pixels,
            **(_described(pixels, groups, places) if self.metadata and chosen == "train" else {}),
            **(self._by_texts(labels) if by_texts else _by_labels(labels)),
            modality="medical image",
            ids=ids,
            index=np.arange(count, dtype=np.int64),
            fingerprint=data_fingerprint(images.digest, ids, labels, **key, **judged),
            groups=groups,
            texts_of=self.texts_of if by_texts else None,
            origin="phantom",
            license="Apache-2.0",
        )
        return finished(image_set, limit=self.limit, cache_dir=self.cache_dir)

    def _with_lesions(self) -> PhantomLesions:
        shared = {name: getattr(self, name) for name in ("name", "site", "split", "seed")}
        part = {name: getattr(self, name) for name in ("per_class", "limit", "cache_dir")}
        return PhantomLesions(**shared, **part, target=self.target)

    def texts_of(self, split: str) -> Texts:
        """Return the sentences of a split, whatever `limit`; nothing is drawn."""
        whole = SPLITS[known_split(split, SPLITS)]
        count = len(CLASSES) * (self.per_class or whole)
        texts: Texts = self._by_texts(_labels(count))["target"]
        return texts

    def _by_texts(self, labels: Int64Array) -> dict[str, Any]:
        """Return the sentences that describe each image: those of its class, in every wording."""
        values = np.array([wording.format(name) for name in PROMPT_NAMES for wording in WORDINGS])
        wordings = np.arange(len(WORDINGS))
        texts = labels[:, None] * len(WORDINGS) + wordings
        images = np.repeat(np.arange(len(labels)), len(WORDINGS))
        pairs = np.column_stack([images, texts.ravel()])
        if self.target == "texts":
            return {"target": Texts(values, pairs)}
        sets = tuple((name,) for name in PROMPT_NAMES)
        return {"target": Texts(values, pairs, labels=labels, label_sets=sets)}

    def _write(self, split: str, count: int, file: Path) -> str:
        draw = partial(
            phantom, split=split, site=self.site, seed=self.seed, one_class=self.one_class
        )
        shape = (count, self.size, self.size, 3)
        return write_drawn(draw, shape, file)


def _described(pixels: Any, groups: Any, places: Sequence[Any]) -> dict[str, Any]:
    """Return a measure and a pair of each image, as metadata."""
    grey = [f"{image.mean() / 255:.4f}" for image in pixels]
    pairs = zip(groups, places, strict=True)
    visit = [f"{group}/first" if at.image < 2 else "" for group, at in pairs]
    return {
        "metadata": np.array([grey, visit]).T,
        "metadata_columns": ("brightness", "visit"),
    }


def _labels(count: int) -> Int64Array:
    """Return the class of each image of a split: int64 (count,)."""
    labels: Int64Array = np.arange(count, dtype=np.int64) % len(CLASSES)
    return labels


def _by_labels(labels: Int64Array) -> dict[str, Any]:
    """Return what says which class each image shows."""
    return {
        "target": Labels(labels),
        "label_kind": "multi-class",
        "class_names": CLASS_NAMES,
        "prompt_names": PROMPT_NAMES,
    }


@dataclass(frozen=True)
class PhantomSites:
    """Both sites: what is tuned on one may be forgotten on the other.

    Args: as those of `Phantoms`; `limit` is of the first site alone, which is only evaluated.
    """

    name: str = "phantom_sites"
    split: str = "test"
    seed: int = 0
    per_class: int | None = None
    limit: int | None = None
    cache_dir: str | None = None

    @property
    def members(self) -> tuple[Phantoms, ...]:
        """The second site, then the first."""
        shared = {name: getattr(self, name) for name in ("split", "seed", "per_class", "cache_dir")}
        second = Phantoms(name="phantoms_site_b", site="b", **shared)
        return (second, Phantoms(limit=self.limit, **shared))
