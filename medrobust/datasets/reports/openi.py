"""IU X-ray (OpenI): its XML reports, the copy of Kaggle, and the split of R2Gen.

Layouts:
    xml: `ecgen-radiology/N.xml` (AbstractText by Label; parentImage with its id; MeSH/major) and
        `NLMCXR_png/ID.png`.
    r2gen: `annotation.json` ({train, val, test: [{id, report, image_path: [...], split}]}) and
        `images/`, https://github.com/zhjohnchan/R2Gen.
    kaggle: `indiana_reports.csv` (uid, MeSH, Problems, image, indication, comparison, findings,
        impression), `indiana_projections.csv` (uid, filename, projection) and
        `images/images_normalized/`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from medrobust.datasets.own.table import read_table
from medrobust.exceptions import InvalidDataError

from .listing import Listing, Report, read_file
from .sections import tidy

SECTIONS = ("findings", "impression", "indication", "comparison")


def read_xml(root: Path, reports: str, images: str) -> Listing:
    """Read one XML file a report.

    Args:
        root: Folder of the set.
        reports: Folder of the XML files, below it.
        images: Folder of the pictures, below it; a picture is called as its `parentImage`.

    Raises:
        DatasetNotFoundError: If there are no reports.
        InvalidDataError: If a file is no such report.
    """
    files = sorted((root / reports).glob("*.xml"), key=lambda file: (len(file.stem), file.stem))
    listing = Listing(f"{reports}/*.xml", texts=SECTIONS)
    for number, file in enumerate(files, start=1):
        listing.add(_xml_report(file, f"{reports}/{file.name}", images), number)
    return listing.found(root / reports, "N.xml, one a report")


def _xml_report(file: Path, said: str, images: str) -> Report:
    content = read_file(file)
    if "<!ENTITY" in content or "<!DOCTYPE" in content:
        raise InvalidDataError(f"{said} declares a document type, which no report does.")
    try:
        tree = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise InvalidDataError(f"{said} is no XML: {error}.") from error
    texts = {
        one.get("Label", "").lower(): tidy("".join(one.itertext()))
        for one in tree.iter("AbstractText")
    }
    pictures = [f"{images}/{one.get('id')}.png" for one in tree.iter("parentImage")]
    majors = sorted(tidy(one.text or "") for one in tree.iter("major"))
    return Report(file.stem, file.stem, pictures, texts, {"mesh": "; ".join(majors)})


def read_r2gen(root: Path, images: str) -> Listing:
    """Read the annotation of R2Gen: reports as it prepared them, findings alone, and its splits.

    Args:
        root: Folder of the set.
        images: Folder of the pictures, below it.

    Raises:
        DatasetNotFoundError: If there is no annotation.
        InvalidDataError: If it is none of R2Gen's.
    """
    name = "annotation.json"
    listing = Listing(name, texts=("report",))
    try:
        content = json.loads(read_file(root / name))
        for number, (split, one) in enumerate(_entries(content), start=1):
            patient = str(one["id"]).split("_")[0]
            pictures = [f"{images}/{path}" for path in one["image_path"]]
            report = {"report": tidy(one["report"])}
            listing.add(Report(str(one["id"]), patient, pictures, report, split=split), number)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidDataError(
            f"{name} is no annotation of R2Gen: {type(error).__name__}, {error}. It holds, for "
            f"train, val and test, a list of id, report and image_path."
        ) from error
    return listing.found(root, name)


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    for split in ("train", "val", "test"):
        for one in content[split]:
            yield split, one


def read_kaggle(root: Path, images: str) -> Listing:
    """Read the two tables of the copy on Kaggle.

    Args:
        root: Folder of the set.
        images: Folder of the pictures, below it.

    Raises:
        DatasetNotFoundError: If a table is missing.
        InvalidDataError: If one lacks a column.
    """
    reports = read_table(root / "indiana_reports.csv")
    projections = read_table(root / "indiana_projections.csv")
    pictures: dict[str, list[str]] = {}
    files = (projections.column(name, "layout") for name in ("uid", "filename"))
    for uid, file in zip(*files, strict=True):
        pictures.setdefault(uid, []).append(f"{images}/{file}")
    listing = Listing("indiana_reports.csv", texts=SECTIONS)
    columns = {name: reports.column(name, "layout") for name in ("uid", "MeSH", *SECTIONS)}
    for row, uid in enumerate(columns["uid"]):
        texts = {name: tidy(columns[name][row]) for name in SECTIONS}
        labels = {"mesh": columns["MeSH"][row]}
        report = Report(uid, uid, pictures.pop(uid, []), texts, labels)
        listing.add(report, reports.lines[row])
    for uid, files_of in pictures.items():
        listing.add(Report(uid, uid, files_of, {}), 0)
    return listing.found(root, "indiana_reports.csv")
