"""Polyps and moles in their published trees: splits, masks, centres, and what is missing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medrobust.datasets import Folder, OutlinedLesions
from medrobust.datasets.published.outlined_layouts import TEST_SETS
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, UnknownNameError

SIDE = 24


def pair(image: Path, mask: Path, number: int) -> None:
    """Write a picture and a mask whose square begins at its number."""
    random = np.random.default_rng(number)
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    drawn[number % 8 : number % 8 + 10, 4:14] = 255
    for file, pixels in (
        (image, random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)),
        (mask, drawn),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        options = {"quality": 95} if file.suffix == ".jpg" else {}
        Image.fromarray(pixels).save(file, **options)


def write_pranet(folder: Path) -> None:
    for n in range(40):
        name = f"cju{n:021d}.png" if n % 2 else f"{n}.png"
        train = folder / "TrainDataset"
        pair(train / "image" / name, train / "mask" / name, n)
    for place, name in enumerate(TEST_SETS):
        for n in range(place + 1):
            top = folder / "TestDataset" / name
            pair(top / f"images/{n}.png", top / f"masks/{n}.png", n)


def write_kvasir_seg(folder: Path) -> None:
    for n in range(40):
        pair(folder / f"images/cju{n}.jpg", folder / f"masks/cju{n}.jpg", n)


def write_cvc_clinicdb(folder: Path) -> None:
    for n in range(40):
        pair(folder / f"PNG/Original/{n}.png", folder / f"PNG/Ground Truth/{n}.png", n)


def write_polypgen(folder: Path) -> None:
    for n in range(60):
        centre = 1 + n % 6
        top = folder / f"data_C{centre}"
        name = f"100H{n:04d}"
        pair(top / f"images_C{centre}/{name}.jpg", top / f"masks_C{centre}/{name}_mask.jpg", n)


def write_isic_2018(folder: Path) -> None:
    for n, part in enumerate(("Training", "Training", "Validation", "Test", "Test", "Test")):
        name = f"ISIC_{n:07d}"
        masks = folder / f"ISIC2018_Task1_{part}_GroundTruth"
        pair(
            folder / f"ISIC2018_Task1-2_{part}_Input/{name}.jpg",
            masks / f"{name}_segmentation.png",
            n,
        )
    (folder / "ISIC2018_Task1-2_Test_Input/ATTRIBUTION.txt").write_text("x")


WRITERS: dict[str, Callable[[Path], None]] = {
    "pranet": write_pranet,
    "kvasir_seg": write_kvasir_seg,
    "cvc_clinicdb": write_cvc_clinicdb,
    "polypgen": write_polypgen,
    "isic_2018": write_isic_2018,
}


def outlined(folder: Path, name: str, **options: object) -> OutlinedLesions:
    given = {"set": name, "root": str(folder), "cache_dir": str(folder / "cache"), "size": SIDE}
    return OutlinedLesions(**given | {"fit": "squash"} | options)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_masks_lie_on_their_images_and_splits_share_none(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    source = outlined(tmp_path, name)
    splits = {split: source.load(split) for split in ("train", "val", "test")}
    ids = [set(one.ids.tolist()) for one in splits.values()]
    assert len(set.union(*ids)) == sum(map(len, ids))
    wanted = {"pranet": 55, "isic_2018": 6, "polypgen": 60}.get(name, 40)
    assert sum(map(len, ids)) == wanted
    for one in splits.values():
        assert len(one) > 0
        assert set(np.unique(one.target.values)) == {0, 1}
        area = np.asarray(one.target.values).sum(axis=(1, 2))
        assert (np.abs(area - 100) <= 6).all(), "JPEG moves few pixels of the border"
        assert one.class_names[1] == ("skin lesion" if name == "isic_2018" else "polyp")
        assert any("patients are not published" in str(found) for found in one.findings)
        assert not any("not in the table" in str(found) for found in one.findings)


def test_pranets_test_images_are_those_of_five_sets_or_of_one(tmp_path: Path) -> None:
    write_pranet(tmp_path)
    whole = outlined(tmp_path, "pranet").load()
    names, counts = np.unique(whole.metadata[:, 0], return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {
        source: place + 1 for place, source in enumerate(TEST_SETS.values())
    }
    one = outlined(tmp_path, "pranet", part="etis").load()
    assert set(one.metadata[:, 0]) == {"etis"}
    assert len(outlined(tmp_path, "pranet", part="etis").load("train")) == len(
        outlined(tmp_path, "pranet").load("train")
    )
    train = outlined(tmp_path, "pranet").load("train")
    assert set(train.metadata[:, 0]) == {"kvasir", "cvc_clinicdb"}


def test_a_centre_of_polypgen_can_be_left_out(tmp_path: Path) -> None:
    from medrobust.datasets.domains import LeftOut

    write_polypgen(tmp_path)
    source = LeftOut(outlined(tmp_path, "polypgen", split="test"), "centre", "C4")
    assert set(source.load("test").metadata[:, 0]) == {"C4"}
    assert "C4" not in set(source.load("train").metadata[:, 0])


def test_what_is_missing_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no folder images .* datasets\.simula\.no"):
        outlined(tmp_path, "kvasir_seg").load()
    write_kvasir_seg(tmp_path)
    (tmp_path / "masks/cju3.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"cju3\.jpg has no mask cju3"):
        outlined(tmp_path, "kvasir_seg").check_files()
    with pytest.raises(ConfigurationError, match="only pranet has parts"):
        outlined(tmp_path, "kvasir_seg", part="etis")
    with pytest.raises(UnknownNameError, match="kvasir_seg"):
        outlined(tmp_path, "kvasir-seg")
    with pytest.raises(ConfigurationError, match="tells a lesion from none by a value from 0"):
        Folder(csv="t.csv", mask_threshold=127, mask_classes=["background", "polyp"])
    with pytest.raises(ConfigurationError, match=r"pass dataset\.root"):
        OutlinedLesions(set="polypgen")
