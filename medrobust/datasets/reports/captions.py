"""Sets whose images have a text of their own in one table: ROCOv2, PadChest, CheXpert 5 x 200.

Layouts:
    ROCOv2 (Zenodo 10821435): train|valid|test/ROCOv2_2023_{split}_000001.jpg,
        {split}_captions.csv (ID, Caption), {split}_concepts_manual.csv (ID, CUIs by ";").
    PadChest: {ImageDir}/{ImageID} and one table (ImageID, ImageDir, StudyID, PatientID, Projection,
        Labels as a list of Python, Report in Spanish).
    CheXpert 5 x 200: a table with the path of each image from CheXpert-v1.0(-small) on, columns of
        0 and 1 for its five classes, and reports where you have them (they are not public).
"""

import ast
from collections.abc import Sequence
from pathlib import Path

from medrobust.datasets.own.table import Table
from medrobust.exceptions import InvalidDataError

from .listing import Listing, Report, published_table
from .sections import tidy

ROCO_SPLITS = {"train": "train", "val": "valid", "test": "test"}
"""Our word -> that of ROCO."""

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""Classes of CheXpert 5 x 200."""

PATHS = ("Path", "imgpath", "path")
"""Columns that name an image in the lists of GLoRIA, MedCLIP and others."""


def read_roco(root: Path, split: str) -> Listing:
    """List the captions of one split, with the first manual concept of each: its modality.

    Raises:
        DatasetNotFoundError: If the captions are missing.
        InvalidDataError: If they do not hold what they should.
    """
    folder = ROCO_SPLITS[split]
    captions = published_table(root / f"{folder}_captions.csv")
    ids = captions.column("ID", "root")
    modality = _first_concepts(root / f"{folder}_concepts_manual.csv")
    listing = Listing(captions.file, texts=("caption",))
    for row, caption in enumerate(captions.column("Caption", "root")):
        labels = {"modality": modality.get(ids[row], "")}
        image = f"{folder}/{ids[row]}.jpg"
        report = Report(ids[row], "", [image], {"caption": tidy(caption)}, labels, split)
        listing.add(report, captions.lines[row])
    return listing.found(root, captions.file)


def _first_concepts(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    table = published_table(file)
    concepts = table.column("CUIs", "root")
    found = zip(table.column("ID", "root"), concepts, strict=True)
    return {name: cuis.split(";")[0].strip() for name, cuis in found}


def read_padchest(root: Path, table: str, projections: Sequence[str]) -> Listing:
    """List the images of PadChest; it has no splits.

    Args:
        root: Folder that the folders of images lie in.
        table: The table, from `root` on.
        projections: Values of Projection that are kept; all where it is empty.

    Raises:
        DatasetNotFoundError: If the table is missing.
        InvalidDataError: If it does not hold what it should.
    """
    found = published_table(root / table)
    names = ("ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "Labels", "Report")
    columns = {name: found.column(name, "table") for name in names}
    listing = Listing(found.file, texts=("report",))
    for row, line in enumerate(found.lines):
        one = {name: columns[name][row] for name in names}
        if projections and one["Projection"] not in projections:
            continue
        labels = {"findings": _python_list(one["Labels"], found.place(row))}
        image = f"{one['ImageDir']}/{one['ImageID']}"
        texts = {"report": tidy(one["Report"])}
        listing.add(Report(one["StudyID"], one["PatientID"], [image], texts, labels), line)
    return listing.found(root, found.file)


def _python_list(text: str, place: str) -> str:
    """Return the labels of a list as Python writes it, in their order, each once.

    Example:
        >>> _python_list("['normal', 'nodule ', 'normal']", "line 2")
        'nodule; normal'
    """
    if text.strip().lower() in ("", "nan"):
        return ""
    try:
        values = ast.literal_eval(text)
        return "; ".join(sorted({tidy(value) for value in values} - {""}))
    except (ValueError, SyntaxError, TypeError, AttributeError) as error:
        raise InvalidDataError(f"{place}: Labels are no list of words ({text[:40]!r}).") from error


def read_chexpert_5x200(root: Path, table: str, text_column: str) -> Listing:
    """List the images of CheXpert 5 x 200, each with its class.

    Args:
        root: Folder that `CheXpert-v1.0` or `CheXpert-v1.0-small` lies in.
        table: The list of images, from `root` on.
        text_column: Column of the reports; where the table has none, there are no texts.

    Raises:
        DatasetNotFoundError: If the table is missing.
        InvalidDataError: If an image has none of the five classes, or several.
    """
    found = published_table(root / table)
    paths = next((found.columns[name] for name in PATHS if name in found.columns), None)
    if paths is None:
        raise InvalidDataError(f"{found.file} has no column of paths: {', '.join(PATHS)}.")
    reports = found.columns.get(text_column)
    listing = Listing(found.file, texts=("report",) if reports else ())
    for row, line in enumerate(found.lines):
        image, labels = _below_chexpert(paths[row]), {"class": _one_class(found, row)}
        texts = {"report": tidy(reports[row])} if reports else {}
        patient = next((part for part in image.split("/") if part.startswith("patient")), "")
        listing.add(Report(image, patient, [image], texts, labels), line)
    return listing.found(root, found.file)


def _below_chexpert(path: str) -> str:
    """Return a path from the folder of CheXpert on.

    Example:
        >>> _below_chexpert("./data/CheXpert/CheXpert-v1.0-small/train/patient1/study1/view1.jpg")
        'CheXpert-v1.0-small/train/patient1/study1/view1.jpg'
    """
    parts = path.replace("\\", "/").split("/")
    first = next((n for n, part in enumerate(parts) if part.startswith("CheXpert-v1.0")), 0)
    return "/".join(parts[first:])


def _one_class(table: Table, row: int) -> str:
    found = [name for name in FIVE if table.column(name, "table")[row] in ("1", "1.0")]
    if len(found) != 1:
        raise InvalidDataError(
            f"{table.place(row)}: {len(found)} of the five classes are 1; an image of CheXpert "
            f"5 x 200 has one."
        )
    return found[0]
