"""Phantoms of several sites in one set: domains to leave out, and a mark that may confound them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medrobust.base.targets import Labels, MaskedLabels
from medrobust.datasets.audits.findings import finished
from medrobust.datasets.cache import CachedArray, cached_array
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet, data_fingerprint
from medrobust.exceptions import ConfigurationError
from medrobust.types import Int64Array, UInt8Array

from . import lesions, source
from .splits import check_asked, known_split, write_drawn

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other pixels or masks."""

SITE_COLUMN = "site"

SPLITS = {"train": 24, "val": 12, "test": 15}
"""Split -> images of each class (of masks: each state) and site, unless asked otherwise."""

MARK = slice(8, 32)
"""Rows and columns of the mark, a bright square in the upper left corner."""

MARKED = 0.9
"""Share of images with lesions that are marked, and of those without that are not, where the mark
tells; it tells nothing in the last site."""

_MARKS = 11
"""Part of the seed of marks: keeps their draws apart from those of pictures."""


@dataclass(frozen=True)
class PhantomDomains:
    """Images of several sites, in turn; the site stands in the metadata.

    Row i is of site i mod S and is row i // S of that site alone, so that any first part is
    balanced; patients belong to one site and split.

    Args:
        name: In tables and in the store.
        sites: At least two of a, b, c and d, in their turn.
        marked: Paint a mark that goes with lesions: in nine of ten images with them and one of ten
            without; in the last site in half of all. Of images with masks alone.
        split: The split that is evaluated.
        size: 224, the only size that is drawn.
        seed: Of the images; another seed gives other patients.
        per_class: Images of each class (of masks: each state) and site; by default 24 in train, 12
            in val, 15 in test.
        limit: A stratified part of at most so many images.
        cache_dir: Where splits are kept.
        target: "labels", twenty classes as those of `Phantoms`; or "masks", the images of
            `PhantomLesions`.
    """

    targets: ClassVar[tuple[str, ...]] = ("labels", "masks")

    name: str = "phantom_domains"
    sites: Sequence[str] = ("a", "b", "c", "d")
    marked: bool = False
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
            UnknownNameError: For sites and split.
            ConfigurationError: For size, per_class, and fewer than two sites.
        """
        for site in self.sites:
            check_asked(site, self.split, self.size, self.per_class, SPLITS)
        if len(set(self.sites)) < max(2, len(self.sites)):
            raise ConfigurationError(
                f"dataset.sites={list(self.sites)}: name at least two sites, each once."
            )

    @property
    def suite(self) -> None:
        """Phantoms have no registry of MedMNIST-C."""
        return

    def load(self, split: str | None = None) -> ImageSet:
        """Open one split (`self.split` by default), drawn first if the cache has it not.

        Raises:
            UnknownNameError: If there is no such split.
            ConfigurationError: If marks are asked for on images without lesions.
            StoreError: If the cache cannot be written.
        """
        chosen = known_split(split or self.split, SPLITS)
        if self.marked and self.target != "masks":
            raise ConfigurationError(
                "dataset.marked=true marks images with lesions: it needs a task with masks, as "
                "task=segmentation."
            )
        masked = self.target == "masks"
        count = len(self.sites) * (self.per_class or SPLITS[chosen])
        count *= len(lesions.STATES) if masked else len(source.CLASSES)
        rows = [self._place(row) for row in range(count)]
        key = self._key(chosen, count)
        images = self._drawn("images", key, partial(self._image, chosen), 3)
        judged, digests = self._judged(chosen, count, key)
        sites = np.array([site for site, _ in rows])
        groups, ids = self._named(chosen, rows)
        labels: Int64Array = judged["target"].values
        image_set = ImageSet(
            name=self.name,
            split=chosen,
            images=images.open(),
            **judged,
            modality="medical image",
            ids=ids,
            index=np.arange(count, dtype=np.int64),
            fingerprint=data_fingerprint(images.digest, ids, labels, **key, **digests),
            groups=groups,
            metadata=sites[:, None],
            metadata_columns=(SITE_COLUMN,),
            origin="phantom",
            license="Apache-2.0",
        )
        return finished(image_set, limit=self.limit, cache_dir=self.cache_dir)

    def _place(self, row: int) -> tuple[str, int]:
        """Return the site of a row, and its row within the site."""
        turn, site = divmod(row, len(self.sites))
        return self.sites[site], turn

    def _named(
        self, split: str, rows: Sequence[tuple[str, int]]
    ) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """Return the patient and the id of each row."""
        place: Callable[[int], Any] = lesions.place if self.target == "masks" else source.place
        at = [(site, place(row)) for site, row in rows]
        groups = [f"{split}/{site}/{one.family.name}/p{one.patient:04d}" for site, one in at]
        ids = [f"{group}/{one.image}" for group, (_, one) in zip(groups, at, strict=True)]
        return np.array(groups), np.array(ids)

    def _key(self, split: str, count: int) -> dict[str, Any]:
        """Return what decides the pixels."""
        return {
            "phantom domains": GENERATOR_VERSION,
            "of": self.target,
            "sites": list(self.sites),
            "marked": self.marked,
            "split": split,
            "seed": self.seed,
            "count": count,
        }

    def _drawn(
        self, what: str, key: dict[str, Any], draw: Callable[[int], UInt8Array], channels: int
    ) -> CachedArray:
        shape = (key["count"], self.size, self.size, *((channels,) if channels > 1 else ()))

        def write(file: Path) -> str:
            return write_drawn(draw, shape, file)

        name = f"phantom_domains-{what}-{key['split']}"
        return cached_array(name, {**key, "what": what}, write, cache_dir=self.cache_dir)

    def _image(self, split: str, row: int) -> UInt8Array:
        site, own = self._place(row)
        if self.target != "masks":
            return source.phantom(own, split=split, site=site, seed=self.seed)
        image = lesions.lesion_phantom(own, split=split, site=site, seed=self.seed)[0]
        if self.marked and self._is_marked(split, row):
            image = image.copy()
            image[MARK, MARK] = 235
        return image

    def _is_marked(self, split: str, row: int) -> bool:
        """Draw whether an image is marked."""
        site, own = self._place(row)
        tells = site != self.sites[-1]
        share = (MARKED if lesions.place(own).state else 1 - MARKED) if tells else 0.5
        drawn = np.random.default_rng([self.seed, _MARKS, list(SPLITS).index(split), row])
        return bool(drawn.random() < share)

    def _mask(self, split: str, row: int) -> UInt8Array:
        site, own = self._place(row)
        return lesions.lesion_phantom(own, split=split, site=site, seed=self.seed)[1]

    def _judged(
        self, split: str, count: int, key: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what images are judged by, and the digests of that."""
        if self.target != "masks":
            labels = np.array([self._place(row)[1] for row in range(count)]) % len(source.CLASSES)
            names = {"class_names": source.CLASS_NAMES, "prompt_names": source.PROMPT_NAMES}
            return {
                "target": Labels(labels.astype(np.int64)), "label_kind": "multi-class", **names,
            }, {}  # fmt: skip
        masks = self._drawn("masks", key, partial(self._mask, split), 1)
        states = [lesions.place(self._place(row)[1]).state for row in range(count)]
        return {
            "target": MaskedLabels(np.array(states, np.int64), masks.open(), masks.digest),
            "label_kind": "binary-class",
            "class_names": lesions.STATES,
            "normal": lesions.STATES[:1],
            "states": lesions.PHRASES,
            "positive": 1,
        }, {"masks": masks.digest}
