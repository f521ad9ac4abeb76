"""Skin images as published: from the folders and tables of five sets to one table of images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from medrobust.base.missing import is_missing
from medrobust.datasets.own.table import Table, read_table
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError

PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class SkinFacts:
    """What is published of a set.

    Attributes:
        read: From the folder of the set to its images: path, label, patient, and metadata.
        classes: As published -> readable, in label order.
        metadata: Columns for subgroup tables.
        group: What the column patient holds: "patient" or "lesion"; "image" where nothing is told.
        license: As published.
        modality: A few words for prompts.
    """

    read: Callable[[Path], Table]
    classes: Mapping[str, str]
    metadata: Sequence[str]
    group: str
    license: str
    modality: str = "dermoscopy"


def ham10000(folder: Path) -> Table:
    """Read `HAM10000_metadata(.csv)` and `HAM10000_images_part_{1,2}/ISIC_{7 digits}.jpg`."""
    table = _table(folder, ("HAM10000_metadata.csv", "HAM10000_metadata"))
    images = _pictures(folder, "HAM10000_images_part_1")
    names = table.column("image_id", "root")
    return _images(table, {
        "path": [images.get(name, f"HAM10000_images_part_1/{name}.jpg") for name in names],
        "label": table.column("dx", "root"),
        "patient": table.column("lesion_id", "root"),
        **_kept(table, ("sex", "localization", "dx_type", "age")),
    })  # fmt: skip


def isic_2019(folder: Path) -> Table:
    """Read the three parts `ISIC_2019_Training_{Input/,GroundTruth.csv,Metadata.csv}`.

    Raises:
        InvalidDataError: If a row of the ground truth is of no class or of several.
    """
    truth = _table(folder, ("ISIC_2019_Training_GroundTruth.csv",))
    told = _table(folder, ("ISIC_2019_Training_Metadata.csv",))
    rows = {name: row for row, name in enumerate(told.column("image", "root"))}
    images = _pictures(folder, "ISIC_2019_Training_Input")
    names = truth.column("image", "root")
    if lacking := [name for name in names if name not in rows]:
        raise InvalidDataError(f"{told.file} has no row for {lacking[0]!r}, which has a class.")
    order = [rows[name] for name in names]
    lesions = told.column("lesion_id", "root")
    return _images(truth, {
        "path": [images.get(name, f"ISIC_2019_Training_Input/{name}.jpg") for name in names],
        "label": [_one_hot(truth, row) for row in range(len(names))],
        "patient": [lesions[row] for row in order],
        "sex": [told.column("sex", "root")[row] for row in order],
        "age": [told.column("age_approx", "root")[row] for row in order],
        "localization": [told.column("anatom_site_general", "root")[row] for row in order],
    })  # fmt: skip


def isic_2020(folder: Path) -> Table:
    """Read `train.csv` (`ISIC_2020_Training_GroundTruth.csv`) and `train/ISIC_{7 digits}.jpg`."""
    table = _table(folder, ("train.csv", "ISIC_2020_Training_GroundTruth.csv"))
    images = _pictures(folder, "train")
    names = table.column("image_name", "root")
    site = "anatom_site_general_challenge"
    return _images(table, {
        "path": [images.get(name, f"train/{name}.jpg") for name in names],
        "label": table.column("target", "root"),
        "patient": table.column("patient_id", "root"),
        "sex": table.column("sex", "root"),
        "age": table.column("age_approx", "root"),
        "localization": table.columns.get(site, [""] * len(names)),
    })  # fmt: skip


def pad_ufes_20(folder: Path) -> Table:
    """Read `metadata.csv` and `imgs_part_{1,2,3}/PAT_{patient}_{lesion}_{number}.png`."""
    table = _table(folder, ("metadata.csv",))
    images = _pictures(folder, "imgs_part_1")
    names = table.column("img_id", "root")
    return _images(table, {
        "path": [images.get(Path(name).stem, f"imgs_part_1/{name}") for name in names],
        "label": ["SCC" if one == "BOD" else one for one in table.column("diagnostic", "root")],
        "patient": table.column("patient_id", "root"),
        "fitzpatrick": [one.removesuffix(".0") for one in table.column("fitspatrick", "root")],
        "sex": table.column("gender", "root"),
        "age": table.column("age", "root"),
        "localization": table.column("region", "root"),
        "biopsed": table.column("biopsed", "root"),
    })  # fmt: skip


def ddi(folder: Path) -> Table:
    """Read `ddi_metadata.csv` and `{6 digits}.png` beside it: patients are not published."""
    table = _table(folder, ("ddi_metadata.csv",))
    images = _pictures(folder, ".")
    names = table.column("DDI_file", "root")
    return _images(table, {
        "path": [images.get(Path(name).stem, name) for name in names],
        "label": [one.lower() for one in table.column("malignant", "root")],
        "patient": [""] * len(names),
        "fitzpatrick": [_tones(one) for one in table.column("skin_tone", "root")],
    })  # fmt: skip


def _tones(code: str) -> str:
    """Spell 12, 34 and 56 as the types of Fitzpatrick that they join.

    Example:
        >>> _tones("12"), _tones("56.0")
        ('I-II', 'V-VI')
    """
    return {"12": "I-II", "34": "III-IV", "56": "V-VI"}.get(code.removesuffix(".0"), code)


def _table(folder: Path, names: Sequence[str]) -> Table:
    for name in names:
        if (folder / name).is_file():
            return read_table(folder / name)
    raise DatasetNotFoundError(
        f"{folder} has no {' or '.join(names)}. Pass dataset.root=<folder of the set, unpacked>."
    )


def _pictures(folder: Path, named: str) -> dict[str, str]:
    """List the pictures of a set, by their name without suffix, from its folder on."""
    found = {
        path.stem: path.relative_to(folder).as_posix()
        for path in sorted(folder.glob("*.*" if named == "." else "**/*.*"))
        if path.suffix.lower() in PICTURES
    }
    if not found:
        raise DatasetNotFoundError(f"{folder} has no pictures; {named} is where the set has some.")
    return found


def _kept(table: Table, names: Iterable[str]) -> dict[str, Sequence[str]]:
    return {name: table.column(name, "root") for name in names}


def _one_hot(table: Table, row: int) -> str:
    """Return the class of a row of zeros and a one.

    Raises:
        InvalidDataError: If there are several ones, or none.
    """
    classes = [name for name in ISIC_2019 if name in table.columns]
    ones = [name for name in classes if table.columns[name][row] in ("1", "1.0")]
    if len(ones) != 1:
        raise InvalidDataError(f"{table.place(row)}: an image has one class, not {len(ones)}.")
    return ones[0]


def _images(table: Table, columns: Mapping[str, Sequence[str]]) -> Table:
    """Name every image's patient, or itself where none is told."""
    own = [
        f"image {path}" if is_missing(patient) else patient
        for path, patient in zip(columns["path"], columns["patient"], strict=True)
    ]
    return Table(table.file, {**columns, "patient": own}, table.lines)


ISIC_2019 = {
    "MEL": "melanoma",
    "NV": "melanocytic nevus",
    "BCC": "basal cell carcinoma",
    "AK": "actinic keratosis",
    "BKL": "benign keratosis",
    "DF": "dermatofibroma",
    "VASC": "vascular lesion",
    "SCC": "squamous cell carcinoma",
}
HAM10000 = {
    "akiec": "actinic keratosis or intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis-like lesion",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
PAD_UFES_20 = {
    "ACK": "actinic keratosis",
    "BCC": "basal cell carcinoma",
    "MEL": "melanoma",
    "NEV": "nevus",
    "SCC": "squamous cell carcinoma",
    "SEK": "seborrheic keratosis",
}
PHOTO = "clinical photograph"
COMMON = ("sex", "age", "localization")

FACTS: Mapping[str, SkinFacts] = MappingProxyType(
    {
        "ham10000": SkinFacts(ham10000, HAM10000, (*COMMON, "dx_type"), "lesion", "CC BY-NC 4.0"),
        "isic_2019": SkinFacts(isic_2019, ISIC_2019, COMMON, "lesion", "CC BY-NC 4.0"),
        "isic_2020": SkinFacts(
            isic_2020, {"0": "benign lesion", "1": "melanoma"}, COMMON, "patient", "CC BY-NC 4.0"
        ),
        "pad_ufes_20": SkinFacts(
            pad_ufes_20,
            PAD_UFES_20,
            ("fitzpatrick", *COMMON, "biopsed"),
            "patient",
            "CC BY 4.0",
            PHOTO,
        ),
        "ddi": SkinFacts(
            ddi,
            {"false": "benign skin lesion", "true": "malignant skin lesion"},
            ("fitzpatrick",),
            "image",
            "research use only",
            PHOTO,
        ),
    }
)
"""Name of a set -> what is published of it."""
