"""Own data described by a table: what folders of pictures and of DICOM files share.

Identifiers (paths, patients) leave this room as keyed hashes only; see `private`.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medrobust.base.devices import ReadsHeaders
from medrobust.base.findings import Finding
from medrobust.base.given import check_name, check_words, names_given
from medrobust.base.once import say_once
from medrobust.base.stored_planes import OpensPlanes
from medrobust.base.targets import Labels, Texts
from medrobust.base.wording import agreeing, counted
from medrobust.datasets.audits.findings import finished
from medrobust.datasets.audits.repeats import split_order
from medrobust.datasets.cache import CachedArray
from medrobust.datasets.image_set import STANDARD_SIZE, ImageSet, data_fingerprint
from medrobust.datasets.published.facts import other_size
from medrobust.exceptions import ConfigurationError
from medrobust.types import LabelKind

from .judged import described, judged_texts, numbers, reported
from .labels import classes_of_one, doubtful_classes, read_labels
from .metadata import codes_said, metadata_findings, read_metadata, read_units
from .patients import check_patients, lone_patient, patients_alike, patients_elsewhere
from .pictures import Fit
from .pseudonyms import Identity, data_key, identities_of, keyed_hashes, sample_index
from .samples import Sample, states_kept
from .split_rows import rows_of_no_split, rows_of_split
from .table import SPLIT_COLUMN, Table, check_table, read_table
from .unlabelled import Unlabelled, dropped_rows, labelled

log = logging.getLogger(__name__)

PATIENT_COLUMN = "patient"
PATH_COLUMN = "path"


@dataclass(frozen=True, kw_only=True)
class OwnData(ABC):
    """Images of your own and a table that says what they show.

    Args:
        csv: The table: CSV (UTF-8, a header) or Parquet, one image a row.
        root: Folder that paths start from; the table's own if None.
        name: Name in tables and in the store.
        path_column: Column of the paths.
        label_column: Column of the labels; a list of columns of 0 and 1 makes a multi-label set.
        text_column: Column of the reports, where images are judged by those; of several columns,
            each that is filled is a text of its own.
        study_column: Column of the studies, whose images share equal reports; None: images with
            equal reports do.
        split_column: Column of the splits; without it the whole table is the evaluated split.
        patient_column: Column of the patients, named in every row; it may be missing. None: every
            image is taken for a patient of its own.
        metadata_columns: Columns kept for subgroup tables (sex, site, age group). Their values are
            stored as they are: none may point to a patient.
        unit_columns: Columns that say which images belong together (study, lesion, pair), for what
            joins or compares them. They are metadata of which keyed hashes are stored.
        bins: Metadata column of numbers -> where its bins begin, such as {"age": [40, 60]}: the
            bins are stored, not the numbers.
        missing_codes: Values of metadata columns that say that nothing is known, such as 999.
        split: The split that is evaluated.
        class_names: Classes in label order; if None, the labels of the whole table, sorted. Labels
            that are whole numbers count into it.
        prompt_names: Readable class names in the same order.
        modality: A few words for prompts.
        label_kind: One of MedMNIST's four words for it; None: by the labels (two classes are
            binary).
        positive: Positive class of a binary set; the last one if None.
        unlabelled: What becomes of rows whose label is empty, NaN or -1: "refuse", or "drop".
        size: Pixels a side that all images are brought to.
        fit: "pad", "crop" or "squash" (`Framing`).
        limit: A stratified part of at most so many images.
        license: Of the data, for the report and `license=commercial`; "own" where it is yours.
        key_file: Place of the key, if not beside the images.
        cache_dir: Where images are unpacked to.
        normal: Classes in which nothing is found, for task=anomaly; none: those called so.
        target: What images are judged by: "labels"; "texts", their reports; "texts and labels",
            reports that are matched by the labels of their images.
    """

    targets: ClassVar[tuple[str, ...]] = ("labels", "texts", "texts and labels")

    csv: str
    name: str
    root: str | None = None
    path_column: str = PATH_COLUMN
    label_column: str | Sequence[str] = "label"
    text_column: str | Sequence[str] = "report"
    study_column: str | None = None
    split_column: str = SPLIT_COLUMN
    patient_column: str | None = PATIENT_COLUMN
    metadata_columns: Sequence[str] = ()
    unit_columns: Sequence[str] = ()
    bins: Mapping[str, Sequence[float]] | None = None
    missing_codes: Sequence[float | str] = ()
    split: str = "test"
    class_names: Sequence[str] | None = None
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
    normal: Sequence[str] = ()
    target: str = "labels"

    @property
    def suite(self) -> None:
        """Own data has no registry of MedMNIST-C."""
        return

    @property
    def folder(self) -> Path:
        """Where paths start from, and where the key lies."""
        return Path(self.root or Path(self.csv).parent).expanduser()

    def check_files(self) -> None:
        """Refuse a table that is not there, before anything is opened.

        Raises:
            DatasetNotFoundError: If it is missing.
            ConfigurationError: If the modality is no words.
        """
        check_words("dataset.modality", self.modality, "chest x-ray")
        check_table(Path(self.csv).expanduser())

    def load(self, split: str | None = None) -> ImageSet:
        """Open one split (`self.split` by default), memory-mapped.

        Raises:
            DatasetNotFoundError: If table or images are missing, or there is no such split.
            InvalidDataError: If the table does not hold what it should.
            InvalidImageError: If an image cannot be read.
            ConfigurationError: If the key cannot be written, or columns do not fit.
        """
        with states_kept():
            return self._load(split or self.split)

    def _load(self, chosen: str) -> ImageSet:
        self._check_roles()
        table, samples = self._listed(chosen)
        judged = self._judged(table, samples)
        metadata = self._metadata(table)
        images = self._images(samples)
        image_set = self._image_set(table, chosen, samples, judged, metadata, images)
        findings = (
            *image_set.findings,
            *self._dropped_rows(table, chosen),
            *classes_of_one(image_set.target, image_set.class_names, chosen),
            *(() if self.class_names else doubtful_classes(image_set.class_names, chosen)),
            *metadata_findings(self.kept_columns, image_set.metadata, chosen),
            *codes_said(table, self.metadata_columns, self.bins, self.missing_codes),
            *self._shared_patients(table, chosen),
            *lone_patient(image_set.groups, chosen, "dataset.patient_column"),
            *patients_alike(table, self._table_patients(table)),
            *self._of_files(table, samples, chosen),
        )
        image_set = replace(image_set, findings=findings)
        return finished(image_set, limit=self.limit, cache_dir=self.cache_dir)

    def _listed(self, split: str) -> tuple[Table, list[Sample]]:
        """Return the rows that have what images are judged by, and the samples of a split."""
        table = self._labelled_table(split)
        rows = rows_of_split(table, self.split_column, split, self.split)
        return table, self._samples(table, rows)

    def _metadata(self, table: Table) -> NDArray[np.str_] | None:
        plain = read_metadata(table, self.metadata_columns, self.bins, self.missing_codes)
        units = names_given("dataset.unit_columns", self.unit_columns)
        hashed = read_units(table, units, data_key(self.folder, self.key_file)) if units else None
        found = [part for part in (plain, hashed) if part is not None]
        return np.concatenate(found, axis=1) if found else None

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """Names of the columns of `metadata_of`: as they are, then those of units."""
        return (*self.metadata_columns, *names_given("dataset.unit_columns", self.unit_columns))

    def _labelled_table(self, split: str) -> Table:
        table = self._read_table(split)
        if self.target == "masks":
            return table
        if self.target != "labels":
            table = reported(table, self._text_columns, self.unlabelled)
        if self.target != "texts":
            table = labelled(table, self.label_column, self.class_names, self.unlabelled)
        return table

    def _read_table(self, split: str) -> Table:
        """Read the rows, of all splits or at least of one."""
        return read_table(Path(self.csv).expanduser())

    @property
    def _text_columns(self) -> str | Sequence[str]:
        return self.text_column

    def _judged(self, table: Table, samples: list[Sample]) -> dict[str, Any]:
        """Return what the images are judged by, and what goes with it."""
        rows = [sample.row for sample in samples]
        if self.target != "labels":
            key = data_key(self.folder, self.key_file)
            labels_of = self.label_column if self.target == "texts and labels" else None
            texts = judged_texts(
                table,
                rows,
                self._text_columns,
                key,
                study=self.study_column,
                patients=self._patient_names(table, samples),
                labels=labels_of,
            )
            return {"target": texts}
        labels = read_labels(
            table,
            self.label_column,
            self.class_names,
            label_kind=self.label_kind,
            positive=self.positive,
        )
        return {
            "target": Labels(labels.values[rows]),
            "label_kind": labels.label_kind,
            "class_names": labels.class_names,
            "positive": labels.positive,
        }

    def _dropped_rows(self, table: Table, split: str) -> tuple[Finding, ...]:
        """Say, once in the log, how many rows have no label or report, or no split."""
        lacking = {"texts": "report", "texts and labels": "report or no label"}
        what = lacking.get(self.target, "label")
        found = dropped_rows(table, self.split_column, split, what)
        found += rows_of_no_split(table, self.split_column)
        for one in found:
            say_once(log, logging.INFO, f"{self.name}: {one}")
        return found

    def _of_files(self, table: Table, samples: list[Sample], split: str) -> tuple[Finding, ...]:
        """Say what a reader of the results should know of the files of a split."""
        return ()

    def _left_out(self, number: int, thing: str) -> tuple[Finding, ...]:
        """Say, once in the log, how many files of a kind the table does not list."""
        if not number:
            return ()
        files = counted(number, thing)
        said = f"{files} in the folder {agreeing(number, 'is')} not in the table: left out"
        say_once(log, logging.WARNING, f"{self.name}: {said}")
        return (Finding("files not in the table", said),)

    def _shared_patients(self, table: Table, split: str) -> tuple[Finding, ...]:
        """Say how many patients of the split stand in other splits of the table, too."""
        named = self._table_patients(table)
        if named is None or self.split_column not in table.columns:
            return ()
        return patients_elsewhere(named, table.columns[self.split_column], split)

    def splits_in_table(self) -> list[str]:
        """Return the splits that rows are of; without such a column, the evaluated one.

        Raises:
            MedRobustError: If the table cannot be read.
        """
        table = self._labelled_table(self.split)
        if self.split_column == SPLIT_COLUMN and SPLIT_COLUMN not in table.columns:
            return [self.split]
        return sorted(set(table.column(self.split_column, "split_column")), key=split_order)

    def patients_of(self, split: str) -> NDArray[np.str_] | None:
        """Return the keyed hash of each image's patient; no picture is opened.

        Raises:
            MedRobustError: As `load` raises it for a table that cannot be used.
        """
        table, samples = self._listed(split)
        return self._groups(table, samples, data_key(self.folder, self.key_file))

    def metadata_of(self, split: str) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """Return the stored id of each image of a split, (N,), and its metadata, (N, M).

        No picture is opened: columns that a table got later join cells that are stored.

        Raises:
            MedRobustError: As `load` raises it for a table that cannot be used.
        """
        self._check_roles()
        table, samples = self._listed(split)
        found = self._metadata(table)
        if found is None:
            raise ConfigurationError(
                "dataset.metadata_columns and dataset.unit_columns name no column to join."
            )
        names = [sample.name for sample in samples]
        ids = keyed_hashes(data_key(self.folder, self.key_file), "sample", names)
        return ids, found[[sample.row for sample in samples]]

    def texts_of(self, split: str) -> Texts:
        """Return the reports of a split, whatever `limit`; no picture is opened."""
        texts: Texts = self._judged(*self._listed(split))["target"]
        return texts

    def identities(self, key: bytes) -> list[Identity]:
        """Say which file and patient each stored hash stands for, over all splits.

        Args:
            key: Content of the key file.

        Raises:
            MedRobustError: As `load` raises it for a table that cannot be used.
        """
        table = self._read_table(self.split)
        samples = self._samples(table, list(range(len(table))))
        names = [sample.name for sample in samples]
        patients = self._patient_names(table, samples) or [""] * len(samples)
        return identities_of(key, names, patients)

    @abstractmethod
    def _samples(self, table: Table, rows: list[int]) -> list[Sample]:
        """Find the image of each row; names are unique."""

    @abstractmethod
    def _images(self, samples: list[Sample]) -> CachedArray:
        """Unpack the images to the cache, once."""

    def _planes_of(self, samples: list[Sample]) -> OpensPlanes | None:
        """Return what opens the stored values beyond the pictures; None where there are none."""
        return None

    def _headers_of(self, samples: list[Sample]) -> ReadsHeaders | None:
        """Return what reads the modality in the headers of images; None where they have none."""
        return None

    def _table_patients(self, table: Table) -> Sequence[str] | None:
        """Return the patient of each row, in clear, or None where the table names none.

        Raises:
            InvalidDataError: If a row names none: such rows would pass for one patient.
        """
        if self.patient_column is None:
            return None
        if self.patient_column == PATIENT_COLUMN and PATIENT_COLUMN not in table.columns:
            return None
        patients = table.column(self.patient_column, "patient_column")
        check_patients(table, patients)
        return patients

    def _patient_names(self, table: Table, samples: list[Sample]) -> list[str] | None:
        """Return the patient of each sample, in clear."""
        patients = self._table_patients(table)
        return None if patients is None else [patients[sample.row] for sample in samples]

    def _groups(self, table: Table, samples: list[Sample], key: bytes) -> NDArray[np.str_] | None:
        patients = self._patient_names(table, samples)
        return None if patients is None else keyed_hashes(key, "patient", patients)

    def _identifying(self) -> dict[str, str]:
        """Return key -> column, of the columns that point to an image or a patient."""
        return {
            "path_column": self.path_column,
            "patient_column": self.patient_column or PATIENT_COLUMN,
        }

    def _check_roles(self) -> None:
        """Refuse an identifying column, or one of reports, where it would be stored in clear."""
        labels = [self.label_column] if isinstance(self.label_column, str) else self.label_column
        for key, column in self._identifying().items():
            _check_hidden(key, column, "label_column", labels)
            _check_hidden(key, column, "metadata_columns", self.metadata_columns)
        for column in names_given("dataset.unit_columns", self.unit_columns):
            _check_hidden("unit_columns", column, "metadata_columns", self.metadata_columns)
        if self.target in ("labels", "masks"):
            return
        check_name("dataset.study_column", self.study_column, null="equal reports are one")
        texts = names_given("dataset.text_column", self._text_columns)
        if not texts:
            raise ConfigurationError("dataset.text_column=[] names no column of reports.")
        for column in texts:
            _check_hidden("text_column", column, "metadata_columns", self.metadata_columns)

    def _image_set(
        self,
        table: Table,
        split: str,
        samples: list[Sample],
        judged: dict[str, Any],
        metadata: NDArray[np.str_] | None,
        images: CachedArray,
    ) -> ImageSet:
        key = data_key(self.folder, self.key_file)
        names = [sample.name for sample in samples]
        ids = keyed_hashes(key, "sample", names)
        groups = self._groups(table, samples, key)
        kept = None if metadata is None else metadata[[sample.row for sample in samples]]
        deciding: dict[str, Any] = {
            "name": self.name,
            "split": split,
            **described(judged),
            "groups": None if groups is None else groups.tolist(),
        }
        if kept is not None:
            deciding |= {"metadata": kept.tolist(), "metadata_columns": list(self.kept_columns)}
        return ImageSet(
            name=self.name,
            split=split,
            **judged,
            images=images.open(),
            prompt_names=tuple(self.prompt_names or ()) if self.target == "labels" else (),
            modality=self.modality,
            normal=names_given("dataset.normal", self.normal),
            ids=ids,
            groups=groups,
            index=sample_index(names),
            fingerprint=data_fingerprint(images.digest, ids, numbers(judged), **deciding),
            license=self.license,
            findings=other_size(self.size),
            metadata=kept,
            metadata_columns=self.kept_columns,
            stored=self._planes_of(samples),
            headers=self._headers_of(samples),
            texts_of=self.texts_of if isinstance(judged["target"], Texts) else None,
        )


def _check_hidden(key: str, column: str, role: str, names: Sequence[str]) -> None:
    """Refuse a column whose values are hidden where they would be stored as they are.

    Raises:
        ConfigurationError: If it is among the names.
    """
    if column in names:
        raise ConfigurationError(
            f"dataset.{role} names {column!r}, which is dataset.{key}: its values would be stored "
            f"in clear. Name another column."
        )
