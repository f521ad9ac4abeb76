"""Polyps and moles with masks as published: from the folders of five sets to tables of images.

Layouts are written down from the papers' repositories and pages; no published file was at hand.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from medrobust.datasets.own.table import Table
from medrobust.exceptions import DatasetNotFoundError

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

COLUMNS = ("path", "mask", "split", "source")


@dataclass(frozen=True, slots=True)
class OutlinedFacts:
    """What is published of a set.

    Attributes:
        read: From the folder of the set to its images: path, mask, split (empty where none is
            published), and where an image comes from.
        column: What the latter is called in the metadata; empty where it says nothing.
        lesion: What masks show.
        modality: A few words for prompts.
        license: As published.
        where: How to get the files.
    """

    read: Callable[[Path], Table]
    column: str
    lesion: str
    modality: str
    license: str
    where: str


def pranet(folder: Path) -> Table:
    """Read `TrainDataset/{image,mask}/*.png` and `TestDataset/{set}/{images,masks}/*.png`.

    Of the 1,450 training images those of Kvasir are called `cju...`, and those of CVC-ClinicDB by
    numbers. Folders may be called `image` or `images`, `mask` or `masks`.
    """
    rows = []
    for path, mask in _pairs(folder / "TrainDataset"):
        source = "kvasir" if path.stem.startswith("cju") else "cvc_clinicdb"
        rows.append((path, mask, "train", source))
    for name, source in TEST_SETS.items():
        rows += [(*pair, "test", source) for pair in _pairs(folder / "TestDataset" / name)]
    return _table(folder, rows)


TEST_SETS = MappingProxyType(
    {
        "Kvasir": "kvasir",
        "CVC-ClinicDB": "cvc_clinicdb",
        "CVC-ColonDB": "cvc_colondb",
        "ETIS-LaribPolypDB": "etis",
        "CVC-300": "cvc_300",
    }
)
"""Folder of PraNet's split -> what its images are called here."""


def kvasir_seg(folder: Path) -> Table:
    """Read `images/*.jpg` and `masks/*.jpg`, whose edges are smeared by their compression."""
    return _table(folder, [(*pair, "", "kvasir") for pair in _pairs(folder)])


def cvc_clinicdb(folder: Path) -> Table:
    """Read `PNG/Original/*.png` and `PNG/Ground Truth/*.png`, or the same without `PNG`."""
    top = folder / "PNG" if (folder / "PNG").is_dir() else folder
    found = _pairs(top, ("Original",), ("Ground Truth",))
    return _table(folder, [(*pair, "", "cvc_clinicdb") for pair in found])


def polypgen(folder: Path) -> Table:
    """Read single frames of six centres: `data_C1/{images_C1/x.jpg, masks_C1/x_mask.jpg}` ..."""
    rows = []
    for centre in range(1, 7):
        top = folder / f"data_C{centre}"
        found = _pairs(top, (f"images_C{centre}",), (f"masks_C{centre}",), "_mask")
        rows += [(*pair, "", f"C{centre}") for pair in found]
    return _table(folder, rows)


def isic_2018(folder: Path) -> Table:
    """Read `ISIC2018_Task1-2_{Part}_Input/x.jpg`, `ISIC2018_Task1_{Part}_GroundTruth/...png`."""
    rows = []
    for part, split in (("Training", "train"), ("Validation", "val"), ("Test", "test")):
        found = _pairs(
            folder,
            (f"ISIC2018_Task1-2_{part}_Input",),
            (f"ISIC2018_Task1_{part}_GroundTruth",),
            "_segmentation",
        )
        rows += [(*pair, split, "isic") for pair in found]
    return _table(folder, rows)


def _pairs(
    top: Path,
    images: Sequence[str] = ("images", "image"),
    masks: Sequence[str] = ("masks", "mask"),
    ending: str = "",
) -> Iterator[tuple[Path, Path]]:
    """Yield the pictures of a folder with their masks, of the same name but for an ending.

    Raises:
        DatasetNotFoundError: If a folder is missing, or a picture has no mask.
    """
    pictures, outlines = (_folder(top, names) for names in (images, masks))
    known = {path.stem: path for path in _listed(outlines)}
    for path in _listed(pictures):
        mask = known.get(f"{path.stem}{ending}")
        if mask is None:
            raise DatasetNotFoundError(
                f"{pictures.name}/{path.name} has no mask {path.stem}{ending} in {outlines}: "
                f"unpack the set again."
            )
        yield path, mask


def _listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def _folder(top: Path, names: Sequence[str]) -> Path:
    found = next((top / name for name in names if (top / name).is_dir()), None)
    if found is None:
        raise DatasetNotFoundError(f"there is no folder {' or '.join(names)} in {top}.")
    return found


def _table(folder: Path, rows: Sequence[tuple[Path, Path, str, str]]) -> Table:
    if not rows:
        raise DatasetNotFoundError(f"{folder} holds no picture of the set.")
    paths = [[one.relative_to(folder).as_posix() for one in row[:2]] for row in rows]
    values = [(*own, *row[2:]) for own, row in zip(paths, rows, strict=True)]
    columns = dict(zip(COLUMNS, map(list, zip(*values, strict=True)), strict=True))
    return Table(folder.name, columns, list(range(1, len(rows) + 1)))


FACTS: Mapping[str, OutlinedFacts] = MappingProxyType(
    {
        "pranet": OutlinedFacts(
            pranet,
            "source",
            "polyp",
            "colonoscopy",
            "research, as its five sets",
            "the README of DengPingFan/PraNet links TrainDataset and TestDataset",
        ),
        "kvasir_seg": OutlinedFacts(
            kvasir_seg,
            "",
            "polyp",
            "colonoscopy",
            "research and education",
            "datasets.simula.no/kvasir-seg",
        ),
        "cvc_clinicdb": OutlinedFacts(
            cvc_clinicdb,
            "",
            "polyp",
            "colonoscopy",
            "research",
            "polyp.grand-challenge.org/CVCClinicDB",
        ),
        "polypgen": OutlinedFacts(
            polypgen,
            "centre",
            "polyp",
            "colonoscopy",
            "CC BY 4.0",
            "Synapse syn26376615 (PolypGen2021_MultiCenterData)",
        ),
        "isic_2018": OutlinedFacts(
            isic_2018,
            "",
            "skin lesion",
            "dermoscopy",
            "CC BY-NC 4.0",
            "challenge.isic-archive.com/data/#2018, task 1",
        ),
    }
)
"""Name of a set -> what is published of it."""
