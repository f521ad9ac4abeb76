"""Own data: a folder of DICOM files and a table of labels, matched by path, instance or patient."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medrobust.base.devices import HeaderModalities, ReadsHeaders
from medrobust.base.findings import Finding
from medrobust.base.former_keywords import formerly_made_with
from medrobust.base.missing import whole_number
from medrobust.base.once import say_once
from medrobust.base.stored_planes import OpensPlanes, StoredPlanes
from medrobust.base.wording import agreeing, counted, part_of
from medrobust.datasets.cache import CachedArray, cached_array
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    InvalidImageError,
    hiding,
)
from medrobust.types import Float64Array, UInt8Array

from .dicom_grey import AS_STORED, VOI_TABLE, Window, check_window
from .dicom_headers import patient_id, quiet_pydicom
from .dicom_matching import Match, check_rows, doubled, in_several_files, lacking
from .dicom_modalities import header_modalities
from .dicom_pixels import (
    LEAVING_LITTLE,
    NOTES,
    ONE_FRAME,
    RESOLVED,
    WINDOWLESS,
    Picture,
    is_grey_dicom,
    read_dicom,
    read_notes,
)
from .dicom_planes import planes_of
from .dicom_search import MOST_LISTED, HeaderIndex, dicom_files, header_index, passed_sentences
from .image_notes import cached_notes, sentence
from .mask_spacing import image_spacing
from .masked import MaskedData
from .masks import MaskFiles
from .pictures import Framing, framed, write_images
from .pseudonyms import data_key, keyed_hashes
from .row_files import check_files
from .samples import (
    Sample,
    all_grey,
    by_note,
    check_unique,
    each_sample,
    files_key,
    place_named,
    relative_paths,
)
from .shown import Shown, dicom_shown
from .source import PATIENT_COLUMN
from .table import Table
from .unlabelled import check_unlabelled

log = logging.getLogger(__name__)

AS_IT_SHOULD_BE = (VOI_TABLE, AS_STORED)
"""Notes of what was done as the standard or the user has it: for the audit section alone."""

AGAINST_PIXELS = (*LEAVING_LITTLE, ONE_FRAME)
"""Notes of what the header makes of the pixels."""

READING: Final = 6
"""Version of the way pixels are read: to be raised where the cache may hold wrong ones."""


@formerly_made_with(task="label_kind")
@dataclass(frozen=True, kw_only=True)
class Dicom(MaskedData):
    """DICOM files in a folder, and a table.

    Further arguments are those of `OwnData` and `MaskedData`; where no column names the spacing, it
    is that of the headers. Without a patient column, patients are those of the headers. Nothing of
    a header but pixels and their spacing leaves this class in clear.

    Args:
        name: Name in tables and in the store.
        match: How rows find images. "path": by `path_column`; "instance": by SOP instance UID, of
            every DICOM image below the folder; "patient": by patient id, all images of a patient
            get the labels of their row.
        instance_column: Column of the SOP instance UIDs.
        frame: Frame of multi-frame images: "middle", or its number from 1.
        frame_column: Column of frame numbers, in place of `frame`; then one file may stand in
            several rows.
        window: "header", "range", "stored" or (centre, width): see `read_dicom`.
    """

    name: str = "dicom"
    match: Match = "path"
    instance_column: str = "sop_instance_uid"
    frame: Literal["middle"] | int = "middle"
    frame_column: str | None = None
    window: Window = "header"

    def __post_init__(self) -> None:
        """Refuse choices that do not exist.

        Raises:
            ConfigurationError: Naming the key.
        """
        self._framing()
        check_unlabelled(self.unlabelled)
        self._check_masks()
        if self.match not in get_args(Match):
            raise ConfigurationError(
                f"dataset.match={self.match!r}: there are {', '.join(get_args(Match))}."
            )
        if self.frame != "middle" and (not isinstance(self.frame, int) or self.frame < 1):
            raise ConfigurationError(
                f"dataset.frame={self.frame!r} must be middle or a number from 1."
            )
        if self.frame_column and self.match == "patient":
            raise ConfigurationError("dataset.frame_column needs dataset.match=path or instance.")
        check_window(self.window)

    def _framing(self) -> Framing:
        return Framing(self.size, self.fit)

    def _identifying(self) -> dict[str, str]:
        return {**super()._identifying(), "instance_column": self.instance_column}

    def _samples(self, table: Table, rows: list[int]) -> list[Sample]:
        if self.match == "path":
            return self._by_path(table, rows)
        if self.match == "instance":
            return self._by_instance(table, rows)
        return self._by_patient(table, rows)

    def _by_path(self, table: Table, rows: list[int]) -> list[Sample]:
        others = {"instance": self.instance_column, "patient": self.patient_column}
        if self.path_column not in table.columns:
            for match, column in others.items():
                if column in table.columns:
                    raise InvalidDataError(
                        f"{table.file} has no column {self.path_column!r}, but {column!r}: pass "
                        f"dataset.match={match} to find images by it."
                    )
        paths = relative_paths(table, self.path_column)
        samples = self._framed_samples(table, dict(enumerate(paths)), range(len(paths)))
        check_unique(table, [sample.name for sample in samples], "image")
        chosen = [samples[row] for row in rows]
        check_files(chosen, self.folder, self._read, quiet_pydicom)
        return chosen

    def _by_instance(self, table: Table, rows: list[int]) -> list[Sample]:
        uids = table.column(self.instance_column, "instance_column")
        key = data_key(self.folder, self.key_file)
        index = self._whole_index(key)
        wanted = keyed_hashes(key, "instance", uids).tolist()
        found: dict[str, list[str]] = {}
        for name, instance in zip(index.files, index.instances, strict=True):
            found.setdefault(instance, []).append(name)
        missing = {row: uids[row] for row in rows if wanted[row] not in found}
        there = {row: found[wanted[row]] for row in rows if row not in missing}
        samples = self._framed_samples(table, {r: there[r][0] for r in there}, [*there])
        errors = lacking(table, missing, rows, "instance", index), doubled(table, there)
        check_rows(errors, samples, self._read)
        frames = [""] * len(table) if self.frame_column is None else self._frames(table)
        check_unique(table, [f"{u}#{f}" for u, f in zip(uids, frames, strict=True)], "image")
        return samples

    def _by_patient(self, table: Table, rows: list[int]) -> list[Sample]:
        patients = self._named(table)
        check_unique(table, patients, "patient")
        key = data_key(self.folder, self.key_file)
        index = self._whole_index(key)
        wanted = keyed_hashes(key, "patient", patients).tolist()
        number = {wanted[row]: row for row in rows}
        known = set(index.patients)
        missing = {row: patients[row] for row in rows if wanted[row] not in known}
        twice = in_several_files(index, set(number))
        if twice:
            say_once(log, logging.WARNING, f"{self.name}: {twice}")
        samples = [
            Sample(name, self.folder / name, number[one], table.place(number[one]))
            for name, one in zip(index.files, index.patients, strict=True)
            if one in number
        ]
        check_rows([lacking(table, missing, rows, "patient", index)], samples, self._read)
        return samples

    def _framed_samples(
        self, table: Table, paths: dict[int, str], rows: Sequence[int]
    ) -> list[Sample]:
        """Add the frame of each row, where the table names one."""
        if self.frame_column is None:
            return [
                Sample(paths[row], self.folder / paths[row], row, table.place(row)) for row in rows
            ]
        frames = self._frames(table)
        return [
            Sample(
                f"{paths[row]}#{frames[row]}",
                self.folder / paths[row],
                row,
                table.place(row),
                frames[row],
            )
            for row in rows
        ]

    def _frames(self, table: Table) -> list[int]:
        assert self.frame_column is not None
        texts = table.column(self.frame_column, "frame_column")
        for row, text in enumerate(texts):
            if (whole_number(text) or 0) < 1:
                raise hiding(
                    InvalidDataError(
                        f"{table.place(row)}: frame is {text!r}; frames are numbered from 1."
                    ),
                    f"{table.place(row)}: that is no number of a frame.",
                )
        return [whole_number(text) or 0 for text in texts]

    def _whole_index(self, key: bytes) -> HeaderIndex:
        """Say whose image every file below the folder is."""
        if not self.folder.is_dir():
            raise DatasetNotFoundError(
                f"folder {self.folder} not found. Pass dataset.root=<folder of the images>."
            )
        searched = dicom_files(self.folder)
        index = header_index(self.folder, searched.names, key, cache_dir=self.cache_dir)
        return replace(index, passed={**searched.passed, **index.passed})

    def _patient_names(self, table: Table, samples: list[Sample]) -> list[str] | None:
        if self._patients_in_table(table):
            return super()._patient_names(table, samples)
        with quiet_pydicom():
            return list(each_sample(lambda sample: patient_id(sample.file), samples))

    def _patients_in_table(self, table: Table) -> bool:
        return self.patient_column != PATIENT_COLUMN or PATIENT_COLUMN in table.columns

    def _groups(self, table: Table, samples: list[Sample], key: bytes) -> NDArray[np.str_] | None:
        if self._patients_in_table(table):
            return super()._groups(table, samples, key)
        names = [sample.file.relative_to(self.folder).as_posix() for sample in samples]
        index = header_index(self.folder, names, key, cache_dir=self.cache_dir)
        for name, reason in index.passed.items():
            with place_named(next(s for s in samples if s.file == self.folder / name)):
                raise InvalidImageError(f"{PurePosixPath(name).name} {reason}.")
        if not all(index.patients):
            number = sum(not patient for patient in index.patients)
            log.warning(
                "%s: %s no patient in the header, in whatever words: all are taken as independent",
                self.name,
                f"{part_of(number, len(samples), 'image')} {agreeing(number, 'has')}",
            )
            return None
        return np.array(index.patients, dtype=np.str_)

    def _read(self, sample: Sample) -> Picture:
        return read_dicom(sample.file, frame=self._frame_of(sample), window=self.window)

    def _images(self, samples: list[Sample]) -> CachedArray:
        framing = self._framing()
        noted: dict[str, dict[str, str]] = {}

        def write(target: Path) -> str:
            with quiet_pydicom():
                grey = all_grey(lambda s: is_grey_dicom(s.file), self._read, samples)

                def read(sample: Sample) -> UInt8Array:
                    picture = self._read(sample)
                    noted[sample.name] = {n: picture.details.get(n, "") for n in picture.notes}
                    return framed(picture.pixels, framing, grey=grey)

                return write_images(
                    each_sample(read, samples), len(samples), framing.size, grey, target
                )

        found = cached_array(self.name, self._made_from(samples), write, cache_dir=self.cache_dir)
        if noted:
            self._say(samples, self._notes(samples, noted))
        return found

    def _judged(self, table: Table, samples: list[Sample]) -> dict[str, Any]:
        with quiet_pydicom():
            return super()._judged(table, samples)

    def _shown(self, sample: Sample) -> Shown:
        return dicom_shown(sample.file, self._frame_of(sample))

    def _stated_spacing(self, files: MaskFiles, samples: list[Sample]) -> Float64Array | None:
        key = self._made_from(samples)
        return image_spacing(
            self.name, samples, self._framing(), self._shown, key=key, cache_dir=self.cache_dir
        )

    def _planes_of(self, samples: list[Sample]) -> OpensPlanes:
        framing, frames = self._framing(), [self._frame_of(sample) for sample in samples]

        def opened() -> StoredPlanes:
            key = self._made_from(samples)
            shown = framing, frames, self.window
            return planes_of(self.name, samples, *shown, key=key, cache_dir=self.cache_dir)

        return opened

    def _headers_of(self, samples: list[Sample]) -> ReadsHeaders | None:
        def read() -> HeaderModalities:
            key = files_key(self.name, samples, cache_dir=self.cache_dir)
            return header_modalities(self.name, samples, key=key, cache_dir=self.cache_dir)

        return read

    def _say(self, samples: list[Sample], notes: list[dict[str, str]]) -> None:
        """Log what is to be said of the images that were just read."""
        for note, found in by_note(samples, notes).items():
            level = logging.INFO if note in AS_IT_SHOULD_BE else logging.WARNING
            log.log(level, "%s", sentence(note, found, len(samples)))

    def _made_from(self, samples: list[Sample]) -> dict[str, Any]:
        """Return what decides the pixels, for the cache."""
        return {
            "kind": "dicom",
            "reading": READING,
            **files_key(self.name, samples, cache_dir=self.cache_dir),
            "framing": [self.size, self.fit],
            "frames": [self._frame_of(sample) for sample in samples],
            "window": self.window if isinstance(self.window, str) else list(self.window),
        }

    def _notes(
        self, samples: list[Sample], noted: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    ) -> list[dict[str, str]]:
        """Return what is to be said of each image, from the cache: note -> detail.

        Args:
            samples: The images.
            noted: Name -> notes, of those that were read just now.
        """

        def notes_of(sample: Sample) -> Mapping[str, str]:
            notes = noted.get(sample.name)
            if notes is None:
                frame = self._frame_of(sample)
                notes = read_notes(sample.file, frame=frame, window=self.window)
            named = sample.frame is not None  # by the table
            return {note: told for note, told in notes.items() if not (named and note == ONE_FRAME)}

        def read() -> list[Mapping[str, str]]:
            with quiet_pydicom():
                return list(each_sample(notes_of, samples))

        key = self._made_from(samples)
        return cached_notes("dicom-notes", key, NOTES, read, cache_dir=self.cache_dir)

    def _of_files(self, table: Table, samples: list[Sample], split: str) -> tuple[Finding, ...]:
        found = by_note(samples, self._notes(samples))
        images = f"of {counted(len(samples), 'image')} of {split}"
        windowless = [
            Finding(
                "DICOM window",
                f"{len(found[note])} {images}: {note}",
                audit_only=note in AS_IT_SHOULD_BE,
            )
            for note in WINDOWLESS
            if note in found
        ]
        others = [
            Finding(
                "header against pixels" if note in AGAINST_PIXELS else "further remarks",
                sentence(note, found[note], len(samples), f" of {split}"),
                audit_only=note in AS_IT_SHOULD_BE,
            )
            for note in (*LEAVING_LITTLE, *RESOLVED, ONE_FRAME)
            if note in found
        ]
        left_out = self._left_out(self._unlisted(table), "DICOM file")
        return (*windowless, *others, *left_out, *self._passed_over(table))

    def _passed_over(self, table: Table) -> list[Finding]:
        """Say, once in the log, what the search for images has passed over."""
        if self.match == "path":
            return []
        found = self._whole_index(data_key(self.folder, self.key_file)).passed
        masks = {*self._listed_masks(table)}
        passed = {name: reason for name, reason in found.items() if name not in masks}
        for one in passed_sentences(passed):
            say_once(log, logging.WARNING, f"{self.name}: {one}")
        return [
            Finding("files passed over", one, audit_only=True)
            for one in passed_sentences(passed, MOST_LISTED)
        ]

    def _unlisted(self, table: Table) -> int:
        """Count the DICOM files below the folder that no row of the table stands for.

        Where rows name paths, suffixes alone count: nothing else needs the other files, and a
        large folder is not opened file by file.
        """
        if self.match == "path":
            listed = {p for t in table.parts() for p in relative_paths(t, self.path_column)}
            listed |= {*self._listed_masks(table)}
            return sum(name not in listed for name in dicom_files(self.folder, opening=False).names)
        key = data_key(self.folder, self.key_file)
        index = self._whole_index(key)
        found = index.instances if self.match == "instance" else index.patients
        named = [one for part in table.parts() for one in self._named(part)]
        listed = set(keyed_hashes(key, self.match, named).tolist())
        images = zip(found, index.instances, strict=True)
        return sum(bool(instance) and one not in listed for one, instance in images)

    def _named(self, table: Table) -> Sequence[str]:
        """Return the instances or patients that rows name."""
        if self.match == "instance":
            return table.column(self.instance_column, "instance_column")
        return self._table_patients(table) or table.column(PATIENT_COLUMN, "patient_column")

    def _frame_of(self, sample: Sample) -> int | None:
        if sample.frame is not None:
            return sample.frame
        return None if self.frame == "middle" else self.frame
