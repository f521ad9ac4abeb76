"""Published sets of images and reports, as data sets: each a layout, read as own data is."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from medrobust.base.findings import Finding
from medrobust.base.given import names_given
from medrobust.base.wording import agreeing, counted
from medrobust.datasets.own.folder import Folder
from medrobust.datasets.own.samples import Sample
from medrobust.datasets.own.table import Table
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, unknown_name

from . import captions, mimic_cxr, openi
from .listing import Listing
from .sections import check_sections, tidy

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Reports(Folder):
    """Images and reports in a published layout.

    Images, names of files and patients are treated as those of own data: a store keeps keyed
    hashes of ids, patients and reports. Further arguments are those of `Folder`.

    Args:
        root: Folder of the set.
        sections: Sections of a report that make its text, in this order; those that a report has
            not are passed over. None: what the set has. A report with none of them is no text.
        separate: Whether each section is a text of its own, so that an image has several; joined
            by a space otherwise.
        unlabelled: What becomes of images without a text: "drop", counted, or "refuse".
    """

    targets: ClassVar[tuple[str, ...]] = ("texts", "texts and labels")
    has_splits: ClassVar[bool] = True

    csv: str = ""
    root: str | None = None
    sections: Sequence[str] | None = None
    separate: bool = False
    study_column: str | None = "study"
    unlabelled: Literal["refuse", "drop"] = "drop"
    target: str = "texts"

    def __post_init__(self) -> None:
        """Refuse choices that do not exist."""
        super().__post_init__()
        if self.root is None:
            raise ConfigurationError(f"pass dataset.root=<folder of {self.name}>.")
        if self.sections is not None:
            object.__setattr__(self, "sections", names_given("dataset.sections", self.sections))
            check_sections(self.sections)
        if self.has_splits and self.split not in SPLITS:
            raise unknown_name("split", self.split, SPLITS)

    def check_files(self) -> None:
        """Refuse a folder that is not there, before anything is opened.

        Raises:
            DatasetNotFoundError: If it is missing.
        """
        if not self.folder.is_dir():
            raise DatasetNotFoundError(
                f"folder {self.folder} of {self.name} not found. Pass dataset.root=<folder>."
            )

    @abstractmethod
    def _listing(self, split: str) -> Listing:
        """Read the layout: one split where it has splits."""

    def splits_in_table(self) -> list[str]:
        """Return the splits that there are."""
        return list(SPLITS) if self.has_splits else [self.split]

    def _read_table(self, split: str) -> Table:
        listing = self._listing(split)
        table = listing.table()
        if self.target == "labels":
            return table
        return replace(table, columns={**table.columns, **self._texts(listing, table)})

    @property
    def _text_columns(self) -> Sequence[str]:
        if not self.separate:
            return ["text"]
        return [f"text {name}" for name in self.sections or self._default_sections]

    @property
    def _default_sections(self) -> Sequence[str]:
        return ("report",)

    def _texts(self, listing: Listing, table: Table) -> dict[str, list[str]]:
        """Make the columns of texts from those of sections."""
        chosen = list(self.sections or self._default_sections)
        lacking = [name for name in chosen if name not in listing.texts]
        if lacking:
            has = (
                f"its texts are {', '.join(listing.texts)}" if listing.texts else "it has no texts"
            )
            raise ConfigurationError(f"{listing.file} has no section {lacking[0]!r}: {has}.")
        if self.separate:
            return {f"text {name}": list(table.columns[name]) for name in chosen}
        rows = range(len(table))
        return {"text": [tidy(" ".join(table.columns[n][row] for n in chosen)) for row in rows]}

    def _of_files(self, table: Table, samples: list[Sample], split: str) -> tuple[Finding, ...]:
        without = self._listing(split).without_image
        number = sum(without.get(name, 0) for name in {split, ""})
        if not number:
            return ()
        reports = counted(number, "report")
        said = f"{reports} {agreeing(number, 'has')} no image and {agreeing(number, 'is')} left out"
        return (Finding("further remarks", said),)


@dataclass(frozen=True, kw_only=True)
class OpenI(Reports):
    """IU X-ray of OpenI: 7,470 images, 3,955 reports, each of one patient (public).

    Args:
        layout: "xml", as OpenI gives it; "r2gen", with the split and texts of R2Gen; "kaggle".
        images: Folder of the pictures; None: that of the layout.
        reports: Folder of the XML files.
    """

    LAYOUTS: ClassVar[dict[str, str]] = {
        "xml": "NLMCXR_png",
        "r2gen": "images",
        "kaggle": "images/images_normalized",
    }

    name: str = "openi"
    layout: Literal["xml", "r2gen", "kaggle"] = "xml"
    images: str | None = None
    reports: str = "ecgen-radiology"
    label_column: str | Sequence[str] = "mesh"
    modality: str = "chest x-ray"

    def __post_init__(self) -> None:
        """Refuse choices that do not exist."""
        super().__post_init__()
        if self.layout not in self.LAYOUTS:
            raise unknown_name("dataset.layout", self.layout, tuple(self.LAYOUTS))

    @property
    def _default_sections(self) -> Sequence[str]:
        return ("report",) if self.layout == "r2gen" else ("findings", "impression")

    def _listing(self, split: str) -> Listing:
        images = self.images or self.LAYOUTS[self.layout]
        if self.layout == "r2gen":
            return openi.read_r2gen(self.folder, images)
        if self.layout == "kaggle":
            return openi.read_kaggle(self.folder, images)
        return openi.read_xml(self.folder, self.reports, images)


@dataclass(frozen=True, kw_only=True)
class MimicCxr(Reports):
    """MIMIC-CXR-JPG with the reports of MIMIC-CXR (credentialed access).

    Args:
        tables: What the tables begin with.
        reports: Archive or folder of the reports, from `root` on.
        views: Values of ViewPosition that are kept ("PA", "AP", "LATERAL"); all where it is empty.
        uncertain: What an uncertain finding counts as in the label sets.
    """

    name: str = "mimic_cxr"
    tables: str = "mimic-cxr-2.0.0"
    reports: str = "mimic-cxr-reports.zip"
    views: Sequence[str] = ()
    uncertain: Literal["negative", "positive"] = "negative"
    label_column: str | Sequence[str] = "chexpert"
    modality: str = "chest x-ray"

    def __post_init__(self) -> None:
        """Refuse choices that do not exist."""
        super().__post_init__()
        if self.uncertain not in mimic_cxr.UNCERTAIN:
            raise unknown_name("dataset.uncertain", self.uncertain, tuple(mimic_cxr.UNCERTAIN))

    @property
    def _default_sections(self) -> Sequence[str]:
        return ("findings", "impression")

    def _listing(self, split: str) -> Listing:
        given = (
            self.tables,
            self.reports,
            split,
            names_given("dataset.views", self.views),
            self.uncertain,
        )
        return mimic_cxr.read_mimic_cxr(self.folder, *given)


@dataclass(frozen=True, kw_only=True)
class Roco(Reports):
    """ROCOv2: 79,789 radiological images with captions; label sets are the modality."""

    name: str = "rocov2"
    label_column: str | Sequence[str] = "modality"
    modality: str = "radiology image"

    @property
    def _default_sections(self) -> Sequence[str]:
        return ("caption",)

    def _listing(self, split: str) -> Listing:
        return captions.read_roco(self.folder, split)


@dataclass(frozen=True, kw_only=True)
class PadChest(Reports):
    """PadChest: chest x-rays with Spanish reports; no splits (registration).

    Args:
        table: The table, from `root` on.
        projections: Values of Projection that are kept; all where it is empty.
    """

    has_splits: ClassVar[bool] = False

    name: str = "padchest"
    table: str = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    projections: Sequence[str] = ()
    label_column: str | Sequence[str] = "findings"
    modality: str = "chest x-ray"

    def _listing(self, split: str) -> Listing:
        return captions.read_padchest(
            self.folder, self.table, names_given("dataset.projections", self.projections)
        )


@dataclass(frozen=True, kw_only=True)
class CheXpert5x200(Reports):
    """CheXpert 5 x 200: 200 images of each of five findings, and reports where you have them.

    Args:
        table: The list of images, from `root` on.
        report_column: Column of the reports in it.
    """

    targets: ClassVar[tuple[str, ...]] = ("labels", "texts", "texts and labels")
    has_splits: ClassVar[bool] = False

    name: str = "chexpert_5x200"
    table: str = "chexpert_5x200.csv"
    report_column: str = "Report Impression"
    label_column: str | Sequence[str] = "class"
    class_names: Sequence[str] | None = captions.FIVE
    modality: str = "chest x-ray"

    def _listing(self, split: str) -> Listing:
        return captions.read_chexpert_5x200(self.folder, self.table, self.report_column)
