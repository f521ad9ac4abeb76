"""Own data: one `.npz` file with images and labels, whole or one pair for each split."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.base.findings import Finding
from medrobust.base.fingerprints import fingerprint
from medrobust.base.former_keywords import formerly_made_with
from medrobust.base.given import check_words, names_given
from medrobust.base.missing import is_missing, names_nobody
from medrobust.base.once import say_once
from medrobust.base.targets import Labels
from medrobust.base.wording import agreeing, counted
from medrobust.datasets.audits.findings import finished
from medrobust.datasets.audits.repeats import patients_in_two
from medrobust.datasets.cache import CachedArray, cached_array
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet, data_fingerprint
from medrobust.datasets.npz import SMALL, members, npz_array, npz_names
from medrobust.datasets.published.facts import other_size
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, InvalidDataError
from medrobust.types import LabelKind

from .labels import array_labels, classes_of_one
from .patients import lone_patient
from .pictures import Fit, Framing, each, framed, quiet_decoders, write_images
from .pseudonyms import Identity, data_key, keyed_hashes
from .table import few
from .unlabelled import Unlabelled, check_unlabelled, labelled_rows

log = logging.getLogger(__name__)


@formerly_made_with(task="label_kind")
@dataclass(frozen=True, kw_only=True)
class Npz:
    """Arrays of your own in one file: `images` and `labels`, or `test_images`, `test_labels`, ...

    Samples are known by their row; images are keyed by it too.

    Args:
        file: The `.npz` file.
        class_names: Classes in label order: label 0 is the first one. For labels (N, L) of 0 and 1,
            the names of the L labels.
        name: Name in tables and in the store.
        images: Name of the image array, after the split and `_` where the file has splits: uint8,
            (N, H, W) or (N, H, W, 3).
        labels: Name of the label array: whole numbers, (N,), (N, 1), or (N, L) of 0 and 1.
        patients: Name of an array of patients (N,), numbers or text, if there is one; stored as
            keyed hashes only.
        split: The split that is evaluated.
        prompt_names: Readable class names in the same order.
        modality: A few words for prompts.
        label_kind: One of MedMNIST's four words for it; None: by the labels.
        positive: Positive class of a binary set; the last one if None.
        unlabelled: What becomes of images whose label is -1: "refuse", or "drop".
        size: Pixels a side that images are brought to, once.
        fit: "pad", "crop" or "squash" (`Framing`).
        limit: A stratified part of at most so many images.
        license: Of the data, for the report and `license=commercial`; "own" where it is yours.
        key_file: Place of the key that hides patients, if not beside the file.
        cache_dir: Where arrays are unpacked to.
        normal: Classes in which nothing is found, for task=anomaly; none: those called so.
        unpack_limit: GB up to which an array is unpacked that is a hundred times as large as in
            its file, as a bomb is; the others have no limit but the disk.
    """

    file: str
    class_names: Sequence[str]
    name: str = "npz"
    images: str = "images"
    labels: str = "labels"
    patients: str | None = None
    split: str = "test"
    prompt_names: Sequence[str] | None = None
    modality: str = ""
    label_kind: LabelKind | None = None
    positive: str | int | None = None
    unlabelled: Unlabelled = "refuse"
    size: int = STANDARD_SIZE
    fit: Fit = "pad"
    limit: int | None = None
    license: str = ""
    key_file: str | None = None
    cache_dir: str | None = None
    unpack_limit: float = SMALL
    normal: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse choices that do not exist."""
        Framing(self.size, self.fit)
        check_words("dataset.modality", self.modality, "chest x-ray")
        check_unlabelled(self.unlabelled)
        if not isinstance(self.unpack_limit, int | float) or not self.unpack_limit > 0:
            raise ConfigurationError(
                f"dataset.unpack_limit={self.unpack_limit} must be a number of GB above 0."
            )

    @property
    def suite(self) -> None:
        """Own data has no registry of MedMNIST-C."""
        return

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.file).expanduser()

    def check_files(self) -> None:
        """Refuse a file that is not there, before anything is opened.

        Raises:
            DatasetNotFoundError: If it is missing.
        """
        if self.path.exists() and not self.path.is_file():
            what = "a folder" if self.path.is_dir() else "no ordinary file"
            raise DatasetNotFoundError(f"{self.path} is {what}. Pass dataset.file=<file>.")
        if not self.path.is_file():
            raise DatasetNotFoundError(f"{self.path} not found. Pass dataset.file=<file>.")

    def load(self, split: str | None = None) -> ImageSet:
        """Open one split (`self.split` by default), memory-mapped.

        Raises:
            DatasetNotFoundError: If the file is missing or has no such split.
            InvalidDataError: If it is damaged, or its arrays are not what they should be.
            ConfigurationError: If class names, label_kind and positive class do not fit.
        """
        self.check_files()
        chosen = split or self.split
        prefix = self._prefix(chosen)
        stored = self._array(prefix + self.images, "images")
        given = self._array(prefix + self.labels, "labels").open()
        kept, dropped = labelled_rows(given, self.path.name, self.unlabelled)
        labels = array_labels(
            np.where(np.asarray(given) == -1, 0, given) if dropped else given,
            self.class_names,
            self.path.name,
            label_kind=self.label_kind,
            positive=self.positive,
        )
        images = self._framed(stored)
        if len(images.open()) != len(labels.values):
            raise InvalidDataError(
                f"{self.path.name} holds {counted(len(images.open()), 'image')} and "
                f"{counted(len(labels.values), 'label')} of split {chosen!r}; they must be as many."
            )
        described: dict[str, Any] = {
            "name": self.name,
            "split": chosen,
            "task": labels.label_kind,
            "class_names": labels.class_names,
            "positive": labels.positive,
        }
        rows = np.arange(len(labels.values), dtype=np.int64)
        groups = self._groups(prefix)
        grouped = {} if groups is None else {"groups": groups.tolist()}
        image_set = ImageSet(
            **described,
            images=images.open(),
            target=Labels(labels.values),
            ids=rows.astype(np.str_),
            index=rows,
            groups=groups,
            fingerprint=data_fingerprint(
                images.digest, rows.astype(np.str_), labels.values, **described, **grouped
            ),
            prompt_names=tuple(self.prompt_names or ()),
            modality=self.modality,
            normal=names_given("dataset.normal", self.normal),
            license=self.license,
            findings=(*other_size(self.size), *self._shared_patients(chosen, prefix)),
        )
        if dropped:
            print_ = fingerprint([image_set.fingerprint, "labelled", kept.tolist()])
            image_set = image_set.take(kept, fingerprint=print_, findings=dropped)
            say_once(log, logging.INFO, f"{self.name}: {dropped[0]}")
        lone = classes_of_one(image_set.target, image_set.class_names, chosen)
        one = lone_patient(groups, chosen, "dataset.patients")
        image_set = replace(image_set, findings=(*image_set.findings, *lone, *one))
        return finished(image_set, limit=self.limit, cache_dir=self.cache_dir)

    def _shared_patients(self, split: str, prefix: str) -> tuple[Finding, ...]:
        """Say how many patients of the split stand in other splits of the file, too."""
        if self.patients is None or not prefix:
            return ()
        names = {
            found.removesuffix(f"_{self.patients}"): np.array(npz_names(self.path, found))
            for found in members(self.path)
            if found.endswith(f"_{self.patients}")
        }
        here = names.pop(split)
        return tuple(
            finding
            for other, there in sorted(names.items())
            for finding in patients_in_two(here, there, split, other)
        )

    def patients_of(self, split: str) -> NDArray[np.str_] | None:
        """Return the keyed hash of each image's patient; no picture is opened.

        Raises:
            MedRobustError: As `load` raises it for a file that cannot be used.
        """
        return self._groups(self._prefix(split))

    def identities(self, key: bytes) -> list[Identity]:
        """Say which patient each stored hash stands for, over all splits; images are rows.

        Args:
            key: Content of the key file.

        Raises:
            MedRobustError: As `load` raises it for a file that cannot be used.
            ConfigurationError: If there are no patients to hide.
        """
        if self.patients is None:
            raise ConfigurationError(
                "a .npz file hides nothing but patients: pass dataset.patients=<array>."
            )
        known = members(self.path)
        found = [name.removesuffix(self.patients) for name in known if self._is_patients(name)]
        return [
            Identity(str(row), f"{prefix}{self.images}[{row}]", group, patient)
            for prefix in found
            for names in [npz_names(self.path, prefix + self.patients)]
            for row, (patient, group) in enumerate(
                zip(names, keyed_hashes(key, "patient", names).tolist(), strict=True)
            )
        ]

    def _is_patients(self, member: str) -> bool:
        """Say whether an array holds patients: of the whole, or of a split."""
        return member == self.patients or member.endswith(f"_{self.patients}")

    def _prefix(self, split: str) -> str:
        """Return what stands before the names of the arrays of a split."""
        known = members(self.path)
        if f"{split}_{self.images}" in known:
            return f"{split}_"
        if self.images in known and split == self.split:
            return ""
        raise DatasetNotFoundError(
            f"{self.path.name} has neither {split}_{self.images} nor one array {self.images!r} for "
            f"the whole; it has: {few(known)}. Pass dataset.split, dataset.images and "
            f"dataset.labels."
        )

    def _array(self, member: str, content: Any) -> CachedArray:
        limit = self.unpack_limit
        return npz_array(self.path, member, content, cache_dir=self.cache_dir, unpack_limit=limit)

    def _framed(self, stored: CachedArray) -> CachedArray:
        """Bring images to their size, once."""
        images = stored.open()
        framing = Framing(self.size, self.fit)
        if images.shape[1:3] == (self.size, self.size):
            return stored

        def write(target: Path) -> str:
            with quiet_decoders():
                grey = images.ndim == 3
                final = each(
                    lambda row: framed(np.asarray(images[row]), framing, grey=grey),
                    range(len(images)),
                )
                return write_images(final, len(images), self.size, grey, target)

        key = {"kind": "framed", "pixels": stored.digest, "framing": [self.size, self.fit]}
        return cached_array(self.name, key, write, cache_dir=self.cache_dir)

    def _groups(self, prefix: str) -> NDArray[np.str_] | None:
        if self.patients is None:
            return None
        names = npz_names(self.path, prefix + self.patients)
        bare = [row for row, name in enumerate(names) if names_nobody(name)]
        if bare:
            text, others = names[bare[0]], [str(row) for row in bare[1:]]
            told = "is empty" if is_missing(text) else f"is {text!r}, which names nobody"
            rows = f" So it is in {agreeing(len(others), 'row')} {few(others)}." if others else ""
            raise InvalidDataError(
                f"{self.path.name}: patient {bare[0]} of {prefix}{self.patients} {told}. Fill it "
                f"in (a value of its own where it is unknown), or pass dataset.patients=null.{rows}"
            )
        return keyed_hashes(data_key(self.path.parent, self.key_file), "patient", names)
