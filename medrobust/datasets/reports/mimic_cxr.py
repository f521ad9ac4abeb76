"""MIMIC-CXR-JPG: pictures and tables of one release, reports of MIMIC-CXR.

Layout (PhysioNet, 2.0.0 and 2.1.0, whose tables keep the older name):
    files/p10/p10000032/s50414267/DICOM_ID.jpg
    mimic-cxr-2.0.0-{split,metadata,chexpert}.csv.gz (or unpacked: .csv)
    mimic-cxr-reports.zip, or unpacked: files/p10/p10000032/s50414267.txt below a folder
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from medrobust.base.wording import counted
from medrobust.datasets.own.table import Table
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError

from .listing import Listing, Report, published_table
from .sections import SECTIONS, split_sections

SPLITS = {"train": "train", "validate": "val", "test": "test"}
"""Word of the table -> ours."""

UNCERTAIN = {"positive": ("1.0", "1", "-1.0", "-1"), "negative": ("1.0", "1")}
"""What an uncertain finding counts as -> values that count as found."""


def read_mimic_cxr(
    root: Path, tables: str, reports: str, split: str, views: Sequence[str], uncertain: str
) -> Listing:
    """List the images of one split with the sections of their reports.

    Args:
        root: Folder of MIMIC-CXR-JPG.
        tables: What its tables begin with: "mimic-cxr-2.0.0".
        reports: The archive of reports, or the folder that it was unpacked to, from `root` on.
        split: "train", "val" or "test".
        views: Values of ViewPosition that are kept; all where it is empty.
        uncertain: What an uncertain finding (-1) counts as: "negative" or "positive".

    Raises:
        DatasetNotFoundError: If a table or all reports are missing.
        InvalidDataError: If a file does not hold what it should.
    """
    chosen = _chosen(_table(root, tables, "split"), split)
    position = _positions(root, tables) if views else {}
    labels = _labels(root, tables, uncertain)
    studies: dict[tuple[str, str], list[str]] = {}
    for dicom, study, subject in chosen:
        if not views or position.get(dicom) in views:
            studies.setdefault((subject, study), []).append(dicom)
    listing = Listing(f"{tables}-split", texts=SECTIONS, labels=("chexpert",) if labels else ())
    with_report = _reader(root / reports)
    for number, ((subject, study), dicoms) in enumerate(studies.items(), start=1):
        place = f"files/p{subject[:2]}/p{subject}/s{study}"
        texts = split_sections(with_report(f"{place}.txt"))
        found = {"chexpert": "; ".join(labels[study])} if study in labels else {}
        images = [f"{place}/{dicom}.jpg" for dicom in dicoms]
        listing.add(Report(study, subject, images, _kept(texts), found, split), number)
    return listing.found(root, f"images of {split} in {tables}-split.csv.gz")


def _kept(texts: dict[str, str]) -> dict[str, str]:
    return {name: texts.get(name, "") for name in SECTIONS}


def _table(root: Path, tables: str, what: str) -> Table:
    packed = root / f"{tables}-{what}.csv.gz"
    return published_table(packed if packed.is_file() else packed.with_suffix(""))


def _chosen(table: Table, split: str) -> list[tuple[str, str, str]]:
    columns = (table.column(name, "tables") for name in ("dicom_id", "study_id", "subject_id"))
    splits = table.column("split", "tables")
    strange = sorted(set(splits) - set(SPLITS))
    if strange:
        raise InvalidDataError(f"{table.file} has the split {strange[0]!r}: it is none of MIMIC's.")
    rows = list(zip(*columns, splits, strict=True))
    _check_patients(table.file, [(subject, of) for _, _, subject, of in rows])
    return [(dicom, study, subject) for dicom, study, subject, of in rows if SPLITS[of] == split]


def _check_patients(file: str, of_rows: Sequence[tuple[str, str]]) -> None:
    """Refuse a table that puts a patient into two splits, which MIMIC's own never does.

    Raises:
        InvalidDataError: Naming the file, and no patient.
    """
    pairs = set(of_rows)
    several = len(pairs) - len({subject for subject, _ in pairs})
    if several:
        raise InvalidDataError(
            f"{file} has {counted(several, 'patient')} in more than one split, and MIMIC-CXR's are "
            f"by patient: a model would be judged on whom it has seen. Take the published table."
        )


def _positions(root: Path, tables: str) -> dict[str, str]:
    table = _table(root, tables, "metadata")
    columns = (table.column(name, "tables") for name in ("dicom_id", "ViewPosition"))
    return dict(zip(*columns, strict=True))


def _labels(root: Path, tables: str, uncertain: str) -> dict[str, list[str]]:
    """Return the findings of each study, by the labels of CheXpert; none without that table."""
    try:
        table = _table(root, tables, "chexpert")
    except DatasetNotFoundError:
        return {}
    names = [name for name in table.columns if name not in ("subject_id", "study_id")]
    counts = UNCERTAIN[uncertain]
    return {
        study: [name for name in names if table.columns[name][row] in counts]
        for row, study in enumerate(table.column("study_id", "tables"))
    }


def _reader(reports: Path) -> Callable[[str], str]:
    """Return what reads a report by its place; a study without one has an empty text.

    Raises:
        DatasetNotFoundError: If neither archive nor folder is there.
    """
    if reports.is_dir():

        def from_folder(place: str) -> str:
            file = reports / place
            return file.read_text(encoding="utf-8") if file.is_file() else ""

        return from_folder
    if not reports.is_file():
        raise DatasetNotFoundError(
            f"the reports of MIMIC-CXR were not found: {reports}. They are a set of their own, "
            f"mimic-cxr-reports.zip; pass dataset.reports=<archive or folder>."
        )
    try:
        archive = ZipFile(reports)
    except BadZipFile as error:
        raise InvalidDataError(f"{reports.name} is no whole archive: {error}.") from error
    members = set(archive.namelist())

    def from_archive(place: str) -> str:
        return archive.read(place).decode("utf-8") if place in members else ""

    return from_archive
