"""MedIMeta in its original layout: one folder a set, images once, splits and tasks beside them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medrobust.base.findings import Finding
from medrobust.base.wording import agreeing, counted, part_of
from medrobust.datasets.audits.repeats import patients_in_two
from medrobust.datasets.cache import CachedArray
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.own.pictures import Framing
from medrobust.datasets.resize import framed, framed_files
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError
from medrobust.types import Int64Array

from .facts import (
    SPLITS,
    Description,
    data_folder,
    known_split,
    label_array,
)
from .fetching import fetch_archive
from .hdf5 import hdf5_rows
from .medimeta_facts import (
    CLASS_NAMES,
    PROMPT_NAMES,
    RECORD,
    MedIMetaFacts,
    medimeta_facts,
    our_spelling,
)
from .medimeta_files import MedIMetaFiles, Patients
from .source import PublishedSource


@dataclass(frozen=True)
class MedIMeta(PublishedSource):
    """One of the nineteen sets of MedIMeta (Woerner et al. 2024, Zenodo record 7884735).

    Reads `<root>/<flag>/` as published: `images.hdf5` or else `images/*.tiff`, `splits/*.txt`,
    `task_labels/<task>.npy`, `info.yaml`, and patients from `annotations.csv` where it names them.
    Classes and their order are those of `info.yaml`. Rows are in the order of the split's file.

    Without a root, `$MEDROBUST_DATA/medimeta`.

    Args:
        task_name: Which of its tasks; the main one if None.

    Further arguments are those of `PublishedSource`.
    """

    task_name: str | None = None

    @property
    def facts(self) -> MedIMetaFacts:
        """What is published of the set."""
        return medimeta_facts(self.flag)

    def described(self) -> Description:
        """Describe the main task of the set, as far as is known without its files."""
        return described(self.flag)

    @property
    def name(self) -> str:
        """The id, followed by the task where it is not the main one."""
        if self.task_name in (None, self.facts.task_name):
            return self.flag
        return f"{self.flag}_{str(self.task_name).replace(' ', '_')}"

    @property
    def folder(self) -> Path:
        """Where its files are looked for."""
        return data_folder(self.root, "medimeta") / self.flag

    def load(self, split: str | None = None) -> ImageSet:
        """Open one split (`self.split` by default), memory-mapped.

        Raises:
            DatasetNotFoundError: If files are missing.
            InvalidDataError: If files are damaged or do not belong together.
            InvalidImageError: If a TIFF cannot be read.
        """
        chosen = known_split(split or self.split)
        if not self.folder.is_dir():
            self.fetch()
        files = MedIMetaFiles(self.folder, self.full_hash, self.cache_dir)
        rows = files.rows(chosen)
        task_name = self.task_name or self.facts.task_name
        task = files.task(task_name)
        stored = files.labels(task_name)
        if rows.max() >= len(stored):
            raise InvalidDataError(
                f"{self.folder}: the split {chosen} names image {rows.max()}, but {task_name!r} "
                f"has {counted(len(stored), 'label')}."
            )

        def labels_of(other: str) -> Int64Array:
            return label_array(stored[files.rows(other)], task.kind, self.folder / "task_labels")

        names = our_spelling(self.flag, task.class_names)
        found = Description(
            name=self.name,
            label_kind=task.kind,
            class_names=names,
            prompt_names=_prompts(self.flag, names),
            modality=self.facts.modality,
            positive=1 if task.kind == "binary-class" else None,
            license=self.facts.license,
        )
        patients = files.patients()
        people = self._people(patients, rows)
        images = self._images(chosen, rows.tolist(), len(stored))
        return self._opened(
            found,
            chosen,
            images.open(),
            images.digest,
            labels_of,
            groups=None if patients is None else patients.names[people],
            findings=self._overlaps(files, chosen, rows, patients),
        )

    def check_files(self) -> None:
        """Refuse a folder that is not there and is not to be fetched, before anything is opened.

        Raises:
            DatasetNotFoundError: If it is missing.
        """
        if not self.folder.is_dir() and not self.download:
            raise DatasetNotFoundError(
                f"no folder {self.flag!r} in {self.folder.parent}. Unpack {self.flag}.zip of "
                f"Zenodo record {RECORD} there, pass dataset.root=<folder of the sets>, or pass "
                f"dataset.download=true."
            )

    def fetch(self) -> list[Path]:
        """Bring the archive of the set here, unless its folder is there, and unpack it."""
        self.check_files()
        return fetch_archive(RECORD, f"{self.flag}.zip", self.folder.parent)

    def _images(self, split: str, rows: list[int], count: int) -> CachedArray:
        stacked = self.folder / "images.hdf5"
        framing = Framing(self.size, "crop")
        name = f"{self.flag}-{split}"
        if stacked.exists():
            whole = hdf5_rows(
                stacked,
                "images",
                rows,
                count=count,
                full_hash=self.full_hash,
                cache_dir=self.cache_dir,
            )
            images = framed(whole, framing, name, cache_dir=self.cache_dir)
        else:
            images = self._pictures(rows, framing, name)
        self._check_channels(images.open(), self.folder)
        return images

    def _pictures(self, rows: list[int], framing: Framing, name: str) -> CachedArray:
        files = [self.folder / "images" / f"{row:06d}.tiff" for row in rows]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise DatasetNotFoundError(
                f"{self.folder} has no images.hdf5, and "
                f"{part_of(len(missing), len(files), 'file')} {agreeing(len(missing), 'is')} not "
                f"in images/, {missing[0].name} first. Unpack {self.flag}.zip again."
            )
        return framed_files(files, framing, name, cache_dir=self.cache_dir)

    def _people(self, patients: Patients | None, rows: Int64Array) -> Int64Array:
        """Return the number of the patient of each row; none where no patients are named."""
        if patients is None:
            return np.empty(0, dtype=np.int64)
        known = rows.max() < len(patients.numbers)
        people = patients.numbers[rows] if known else np.array([-1])
        if people.min() < 0:
            raise InvalidDataError(
                f"{self.folder / 'annotations.csv'} does not name the patient of each image."
            )
        return people

    def _overlaps(
        self, files: MedIMetaFiles, split: str, rows: Int64Array, patients: Patients | None
    ) -> tuple[Finding, ...]:
        """Say which images, or patients, of this split stand in another one too."""
        found: list[Finding] = []
        for other in SPLITS:
            if other == split or not files.has_split(other):
                continue
            theirs = files.rows(other)
            if both := int(np.isin(rows, theirs).sum()):
                said = f"{counted(both, 'image')} of {split} {agreeing(both, 'stands')}"
                found.append(Finding("further remarks", f"{said} in {other} too"))
            here, there = self._people(patients, rows), self._people(patients, theirs)
            found += patients_in_two(here, there, split, other)
        return tuple(found)


def described(flag: str) -> Description:
    """Describe the main task of a set, as far as is known without its files."""
    facts = medimeta_facts(flag)
    names = CLASS_NAMES.get(flag, ())
    return Description(
        name=flag,
        label_kind="binary-class" if len(names) == 2 else "multi-class",
        class_names=names,
        prompt_names=_prompts(flag, names),
        modality=facts.modality,
        positive=1 if len(names) == 2 else None,
        license=facts.license,
    )


def _prompts(flag: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return readable names in the order of the given ones, none where we have none better."""
    readable: dict[Any, str] = dict(
        zip(CLASS_NAMES.get(flag, ()), PROMPT_NAMES.get(flag, ()), strict=False)
    )
    return tuple(readable[name] for name in names) if set(names) == set(readable) else ()
