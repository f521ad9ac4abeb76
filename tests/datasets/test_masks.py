"""Masks beside own images, and the six sets of BMAD in both of their trees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import write_table
from PIL import Image

from medrobust.base.targets import Labels, MaskedLabels
from medrobust.datasets import BMAD, Folder, ImageSet
from medrobust.datasets.image_set import judged_by
from medrobust.datasets.own.picture_sizes import shown_size
from medrobust.datasets.published.bmad import FACTS
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    InvalidImageError,
    UnknownNameError,
)
from medrobust.tasks.anomaly.task import Anomaly


def picture(file: Path, size: tuple[int, int] = (60, 40), seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size[::-1]).astype(np.uint8)
    Image.fromarray(pixels).save(file)


def mask(file: Path, size: tuple[int, int] = (60, 40), value: int = 255) -> np.ndarray:
    file.parent.mkdir(parents=True, exist_ok=True)
    lesion = np.zeros(size[::-1], np.uint8)
    lesion[10:20, 30:50] = value
    Image.fromarray(lesion).save(file)
    return lesion


def own(folder: Path, **options) -> Folder:
    return Folder(**({"csv": str(folder / "t.csv"), "size": 60} | options))


def table(folder: Path, masks: list[str]) -> Path:
    rows = []
    for number, name in enumerate(masks):
        picture(folder / f"scan{number}.png", seed=number)
        label = "abnormal" if name else "normal"
        rows.append({"path": f"scan{number}.png", "label": label, "mask": name})
    return write_table(folder / "t.csv", rows)


def masks_of(images: ImageSet) -> np.ndarray:
    assert isinstance(images.target, MaskedLabels)
    return np.asarray(images.target.masks)


@pytest.mark.parametrize("value", [1, 255])
def test_masks_of_own_images_are_framed_as_their_images(tmp_path: Path, value: int) -> None:
    lesion = mask(tmp_path / "m/one.png", value=value)
    table(tmp_path, ["", "m/one.png"])
    images = own(tmp_path).load()
    found = masks_of(images)
    expected = np.full((60, 60), 255, np.uint8)  # padded above and below: of no image
    expected[10:50] = 0
    np.testing.assert_array_equal(found[0], expected)
    expected[10:50] = lesion > 0
    np.testing.assert_array_equal(found[1], expected)
    assert isinstance(images.target, MaskedLabels)
    pixels = images.target.take(np.array([1])).pixels(slice(None))[0]
    assert np.unique(pixels[:10]).tolist() == np.unique(pixels[50:]).tolist() == [255]
    np.testing.assert_array_equal(pixels[10:50] == 1, lesion > 0)
    assert not masks_of(own(tmp_path, fit="crop").load())[0].any()
    squashed = masks_of(own(tmp_path, fit="squash").load())[1]
    assert squashed.sum() == pytest.approx(10 * 20 * 1.5, rel=0.05)


def test_other_masks_are_another_data_set_and_no_mask_is_a_picture_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mask(tmp_path / "m/one.png")
    table(tmp_path, ["", "m/one.png"])
    first = own(tmp_path).load()
    assert "left out" not in " ".join(first.marks) + caplog.text
    Image.fromarray(np.full((40, 60), 9, np.uint8)).save(tmp_path / "m/one.png")
    assert own(tmp_path).load().fingerprint != first.fingerprint


def test_a_table_without_masks_has_labels_alone(tmp_path: Path) -> None:
    mask(tmp_path / "m/one.png")
    table(tmp_path, ["", "m/one.png"])
    found = own(tmp_path, mask_column="lesion").load().target
    assert type(found) is Labels


def test_anomaly_reads_the_labels_of_own_images_and_masks_where_there_are_some(
    tmp_path: Path,
) -> None:
    lesion = mask(tmp_path / "m/one.png")
    table(tmp_path, ["", "m/one.png"])
    for source in (own(tmp_path), own(tmp_path, target="masks")):
        found = judged_by(source, Anomaly.target).load()
        assert found.class_names == ("abnormal", "normal")
        assert found.labels.tolist() == [1, 0]
        np.testing.assert_array_equal(masks_of(found)[1, 10:50], lesion > 0)
    bare = judged_by(own(tmp_path, mask_column="none"), Anomaly.target).load()
    assert type(bare.target) is Labels
    assert bare.labels.tolist() == [1, 0]
    assert judged_by(own(tmp_path), "masks").target == "masks"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../one.png", "line 3: the path of the mask leaves the folder"),
        ("one.jpg", "line 3: the mask is a JPEG"),
    ],
)
def test_masks_that_cannot_be_used_are_refused_with_their_line(
    tmp_path: Path, name: str, said: str
) -> None:
    table(tmp_path, ["", name])
    with pytest.raises(InvalidDataError, match=said):
        own(tmp_path).load()


def test_masks_of_another_size_and_no_images_are_refused_with_their_line(tmp_path: Path) -> None:
    mask(tmp_path / "one.png", size=(30, 20))
    table(tmp_path, ["", "one.png"])
    with pytest.raises(InvalidImageError, match=r"t\.csv, line 3.*30x20 and 60x40 pixels") as found:
        own(tmp_path).load()
    assert str(found.value).count("line 3") == 1
    assert "one.png" not in found.value.for_records
    assert "the mask of t.csv, line 3 and its image" in found.value.for_records
    (tmp_path / "one.png").write_bytes(b"no picture")
    with pytest.raises(InvalidImageError, match="cannot be read"):
        own(tmp_path).load()
    (tmp_path / "one.png").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"1 of 1 mask is not there, first one\.png .*3"):
        own(tmp_path).load()


def write_bmad(root: Path, top: str, masks: bool, inner: str = "img") -> Path:
    """A set in its published tree: two normal for training, three of each state otherwise."""
    folder = root / top
    for seed, (split, state, count) in enumerate(
        [("train", "good", 2), *((s, t, 3) for s in ("valid", "test") for t in ("good", "Ungood"))]
    ):
        for number in range(count):
            name = f"{split}{number}.png"
            picture(folder / split / state / inner / name, (40, 40), seed=10 * seed + number)
            if masks and state == "Ungood":
                mask(folder / split / state / "anomaly_mask" / name, (40, 40))
    return root


def bmad(root: Path, name: str, **options) -> BMAD:
    return BMAD(**({"set": name, "root": str(root), "size": 40} | options))


@pytest.mark.slow
@pytest.mark.parametrize("name", FACTS)
def test_every_set_is_read_in_both_of_its_trees(tmp_path: Path, name: str) -> None:
    """A folder above whose name has "img" in it does not matter, as it does to MVFA's code."""
    facts = FACTS[name]
    for place, inner in (("my img", "img"), ("own", "")):
        root = write_bmad(tmp_path / place, facts.folders[0], facts.masks, inner)
        found = bmad(root, name).load()
        assert found.class_names == ("normal", "abnormal")
        assert np.bincount(found.labels).tolist() == [3, 3]
        assert found.modality == facts.modality
        assert isinstance(found.target, MaskedLabels) == facts.masks
        if facts.masks:
            covered = masks_of(found).any(axis=(1, 2))
            np.testing.assert_array_equal(covered, found.labels == 1)
        train = bmad(root, name).load("train")
        assert np.bincount(train.labels).tolist() == [2]


def test_lists_of_few_shots_part_the_validation_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_bmad(tmp_path, "Brain_AD", masks=True)
    (tmp_path / "fewshot_seed/Brain").mkdir(parents=True)
    lines = (
        "n-1: valid0.png valid2.png\na-1: valid1.png valid2.png\nn-2: valid1.png\na-2: valid0.png\n"
    )
    (tmp_path / "fewshot_seed/Brain/2-shot.txt").write_text(lines)
    source = bmad(root, "brain", few_shot=2)
    train, val = source.load("train"), source.load("val")
    assert np.bincount(train.labels).tolist() == [2, 2]
    assert np.bincount(val.labels).tolist() == [1, 1]
    assert not set(train.ids) & set(val.ids)
    assert "left out" not in caplog.text + " ".join(train.marks)  # published so, and no oversight
    other = replace(source, draw=2).load("train")
    assert np.bincount(other.labels).tolist() == [1, 1]
    with (tmp_path / "fewshot_seed/Brain/2-shot.txt").open("a") as file:
        file.write("n-4: valid0.png gone.png\na-4: valid1.png\n")
    with pytest.raises(DatasetNotFoundError, match=r"1 of 3 pictures .* valid/good: gone\.png"):
        replace(source, draw=4).load()
    with pytest.raises(InvalidDataError, match=r"has no line 'a-3'"):
        replace(source, draw=3).load()
    with pytest.raises(DatasetNotFoundError, match=r"4-shot\.txt not found"):
        replace(source, few_shot=4).load()


def test_what_a_set_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="set of BMAD"):
        bmad(tmp_path, "lung")
    with pytest.raises(ConfigurationError, match=r"dataset\.root"):
        BMAD(set="brain")
    with pytest.raises(DatasetNotFoundError, match="no folder of the set 'liver'"):
        bmad(tmp_path, "liver").check_files()
    root = write_bmad(tmp_path, "Liver_AD", masks=True)
    (root / "Liver_AD/test/Ungood/anomaly_mask/test1.png").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"test1\.png of Liver_AD has no mask"):
        bmad(root, "liver").load()


def test_masks_alone_are_what_images_are_judged_by_class_by_class(tmp_path: Path) -> None:
    values = mask(tmp_path / "m/one.png", value=1)
    values[25:35, 5:15] = 2
    Image.fromarray(values).save(tmp_path / "m/one.png")
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", seed=1)
    rows = [{"path": "a.png", "mask": "m/one.png"}, {"path": "b.png", "mask": ""}]
    write_table(tmp_path / "t.csv", rows)
    names = ("background", "polyp", "bleeding")
    found = own(tmp_path, target="masks", mask_classes=names, fit="crop", size=40).load()
    assert found.class_names == names
    assert found.label_kind is None
    np.testing.assert_array_equal(found.target.values[0], values[:, 10:50])
    assert not found.target.values[1].any()
    binary = own(tmp_path, target="masks", fit="crop", size=40).load()
    np.testing.assert_array_equal(binary.target.values[0], values[:, 10:50] > 0)
    assert binary.class_names == ("background", "lesion")
    assert len({found.fingerprint, binary.fingerprint}) == 2
    padded = own(tmp_path, target="masks", mask_classes=names).load()
    np.testing.assert_array_equal(padded.target.values[0][10:50], values)
    assert (padded.target.values[:, :10] == 255).all(), "the border is of no image"
    assert (padded.target.pixels(slice(0, 1))[0, 50:] == 255).all()
    assert not padded.target.classes(slice(0, 2))[:, :10].any()
    with pytest.raises(InvalidImageError, match=r"values from 0 to 2, and .*names 0 back, 1 polyp"):
        own(tmp_path, target="masks", mask_classes=("back", "polyp")).load()


@pytest.mark.parametrize(
    ("fit", "wanted"), [("pad", [2, 3]), ("squash", [4 / 3, 3]), ("crop", [4 / 3, 2])]
)
def test_the_spacing_is_that_of_stored_pixels(tmp_path: Path, fit: str, wanted: list) -> None:
    mask(tmp_path / "m/one.png")
    picture(tmp_path / "a.png")
    write_table(tmp_path / "t.csv", [{"path": "a.png", "mask": "m/one.png", "mm": "1 1.5"}])
    chosen = {"target": "masks", "spacing_column": "mm", "fit": fit, "size": 30}
    found = own(tmp_path, **chosen).load()
    np.testing.assert_allclose(found.target.spacing, [wanted])
    write_table(tmp_path / "t.csv", [{"path": "a.png", "mask": "m/one.png", "mm": "thin"}])
    with pytest.raises(InvalidDataError, match="the spacing 'thin' is no number of millimetres"):
        own(tmp_path, **chosen).load()


def test_a_column_of_masks_that_is_not_there_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write_table(tmp_path / "t.csv", [{"path": "a.png"}])
    with pytest.raises(InvalidDataError, match="mask"):
        own(tmp_path, target="masks").load()


def written(folder: Path, image: int | None, mask: Image.Image, **options) -> Path:
    """A table of one image of the mask's size, turned by an EXIF orientation, and that mask."""
    exif = Image.Exif()
    exif[0x0112] = image or 1
    picture = Image.fromarray(
        np.arange(mask.size[0] * mask.size[1], dtype=np.uint8).reshape(mask.size[::-1])
    )
    picture.save(folder / "a.png", **({"exif": exif} if image else {}))
    mask.save(folder / "m.png", **options)
    rows = [{"path": "a.png", "label": "abnormal", "mask": "m.png"}]
    return write_table(folder / "t.csv", rows)


@pytest.mark.parametrize("size", [(60, 60), (60, 40)])
def test_masks_are_turned_as_their_images_or_refused(tmp_path: Path, size: tuple) -> None:
    values = np.zeros(size[::-1], np.uint8)
    values[10:20, 30:50] = 255
    turned = np.rot90(values, -1) > 0  # 6: shown a quarter turn clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    chosen = {"target": "masks", "fit": "pad"}
    written(tmp_path, 6, Image.fromarray(values), exif=exif)
    found = own(tmp_path, **chosen).load().target.values[0]
    left = (60 - size[1]) // 2
    np.testing.assert_array_equal(found[:, left : left + size[1]] == 1, turned)
    assert (found[:, :left] == 255).all()
    written(tmp_path, 6, Image.fromarray(values))
    with pytest.raises(InvalidImageError, match="turned by its EXIF orientation and its mask m"):
        own(tmp_path, **chosen).load()
    written(tmp_path, 3, Image.fromarray(values))
    with pytest.raises(InvalidImageError, match="save both upright"):
        own(tmp_path, **chosen).load()
    written(tmp_path, None, Image.fromarray(values), exif=exif)
    if size[0] != size[1]:
        with pytest.raises(InvalidImageError, match="40x60 and 60x40 pixels"):
            own(tmp_path, **chosen).load()


@pytest.mark.parametrize(
    ("mode", "background", "lesion", "said"),
    [
        ("RGB", (0, 0, 0), (0, 0, 1), "has colours"),
        ("RGB", (0, 0, 0), (1, 1, 1), ""),
        ("RGBA", (0, 0, 0, 0), (0, 0, 0, 255), "has transparency"),
        ("RGBA", (255, 255, 255, 0), (255, 255, 255, 0), "has transparency"),
        ("RGBA", (0, 0, 0, 255), (9, 9, 9, 255), ""),
        ("LA", (0, 255), (1, 255), ""),
        ("LA", (0, 255), (1, 0), "has transparency"),
    ],
)
def test_masks_are_grey_and_opaque(tmp_path: Path, mode: str, background, lesion, said) -> None:
    mask = Image.new(mode, (60, 60), background)
    mask.paste(lesion, (30, 10, 50, 20))
    written(tmp_path, None, mask)
    if said:
        with pytest.raises(InvalidImageError, match=f"{said}.*save it as grey"):
            own(tmp_path, target="masks").load()
        return
    expected = np.zeros((60, 60), bool)
    expected[10:20, 30:50] = True
    found = own(tmp_path, target="masks").load().target.values[0]
    np.testing.assert_array_equal(found == 1, expected)


def test_the_size_that_is_shown_is_that_of_every_format(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.png", "a.tif", "a.jpg"):
        Image.new("L", (60, 40)).save(tmp_path / name, exif=exif)
        assert shown_size(tmp_path / name) == (40, 60)
