"""Boxes of own images: both tables and COCO, framed as their images, and windows cut from them."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import write_table
from PIL import Image

from medrobust.base.targets import Boxes, WindowLabels
from medrobust.datasets import Folder, ImageSet, Lesions
from medrobust.datasets.image_set import judged_by
from medrobust.datasets.windows import grid_windows, square_windows
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    MedRobustError,
)

SIZES = ((60, 40), (40, 60), (48, 48), (64, 31))
BOXES = ((10, 8, 22, 20), (5, 30, 15, 50), (0, 0, 12, 9), (40, 11, 64, 31))
"""Left, top, right, bottom of the white box in each image."""


def write_images(folder: Path) -> list[dict[str, str]]:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, ((width, height), box) in enumerate(zip(SIZES, BOXES, strict=True)):
        pixels = np.full((height, width, 3), 40, np.uint8)
        pixels[box[1] : box[3], box[0] : box[2]] = 255
        Image.fromarray(pixels).save(folder / f"images/scan{number}.png")
        rows.append({"path": f"images/scan{number}.png", "patient": f"p{number // 2}"})
    write_table(folder / "images.csv", rows)
    return rows


def box_rows(sides: bool = False) -> list[dict[str, object]]:
    rows = []
    for number, (left, top, right, bottom) in enumerate(BOXES):
        label = ("benign", "malignant")[number % 2]
        corners = {"x1": left, "y1": top, "x2": right, "y2": bottom}
        if sides:
            corners = {"x": left, "y": top, "w": right - left, "h": bottom - top}
        rows.append({"image": f"scan{number}", "label": label, **corners})
    return rows


def lesions(folder: Path, **options: object) -> Lesions:
    given = {"csv": str(folder / "images.csv"), "boxes": str(folder / "boxes.csv"), "size": 60}
    return Lesions(**(given | {"cache_dir": str(folder / "cache")} | options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path)
    write_table(tmp_path / "boxes.csv", box_rows())
    return tmp_path


def coco(folder: Path, annotations: list[dict[str, object]] | None = None, **parts: object) -> Path:
    images = [
        {"id": 10 + n, "file_name": f"images/scan{n}.png", "width": w, "height": h}
        for n, (w, h) in enumerate(SIZES)
    ]
    own = [
        {"id": n, "image_id": 10 + n, "category_id": 1 + n % 2, "bbox": [x, y, r - x, b - y]}
        for n, (x, y, r, b) in enumerate(BOXES)
    ]
    names = [{"id": 1, "name": "benign"}, {"id": 2, "name": "malignant"}]
    found = {"images": images, "annotations": own, "categories": names} | parts
    if annotations is not None:
        found["annotations"] = annotations
    file = folder / "coco.json"
    file.write_text(json.dumps(found))
    return file


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
def test_a_box_moves_as_its_image_does(folder: Path, fit: str) -> None:
    whole = judged_by(lesions(folder, fit=fit), "boxes").load()
    assert isinstance(whole.target, Boxes)
    for image, box in zip(whole.target.images, whole.target.values, strict=True):
        y, x = np.nonzero(np.asarray(whole.images[image])[..., 0] > 148)  # half way to white
        shown = [x.min(), y.min(), x.max() + 1, y.max() + 1]
        np.testing.assert_allclose(box, shown, atol=1.01)


def test_both_tables_and_coco_say_the_same(folder: Path) -> None:
    first = lesions(folder).load()
    write_table(folder / "sides.csv", box_rows(sides=True))
    for file in (folder / "sides.csv", coco(folder)):
        again = lesions(folder, boxes=str(file)).load()
        assert again.fingerprint == first.fingerprint
        np.testing.assert_array_equal(again.labels, first.labels)
    alone = lesions(folder, csv="", boxes=str(coco(folder))).load()
    np.testing.assert_array_equal(alone.images[:], first.images[:])


def test_windows_hold_their_lesion_and_know_image_and_patient(folder: Path) -> None:
    write_table(
        folder / "boxes.csv",
        [*box_rows(), {**box_rows()[1], "image": "scan0.png", "y1": 0, "y2": 20}],
    )
    found = lesions(folder, fit="squash").load()
    target = found.target
    assert isinstance(target, WindowLabels)
    assert found.labels.tolist() == [0, 1, 1, 0, 1]
    assert found.metadata_columns == ("image",)
    assert [found.ids[row].rpartition("/")[2] for row in (0, 1, 2)] == ["0", "1", "0"]
    assert found.index[0] == found.index[1] != found.index[2]
    assert found.groups[0] == found.groups[2] != found.groups[4]  # type: ignore[index]
    lesion = target.lesions.values[np.lexsort((np.arange(5), target.lesions.images))]
    assert (target.windows[:, :2] <= lesion[:, :2] + 1e-4).all()
    assert (target.windows[:, 2:] >= lesion[:, 2:] - 1e-4).all()
    assert {
        len({*np.diff(window[[0, 2]]), *np.diff(window[[1, 3]])}) for window in target.windows
    } == {1}
    part = found.take(np.array([4, 1]), fingerprint="f")
    np.testing.assert_array_equal(part.images[0], found.images[4])
    np.testing.assert_array_equal(part.images[:], found.images[[4, 1]])


def test_a_box_of_the_whole_image_is_that_image_to_the_bit(folder: Path) -> None:
    rows = [
        {"image": f"scan{n}", "label": "a" if n else "b", "x": 0, "y": 0, "w": w, "h": h}
        for n, (w, h) in enumerate(SIZES)
    ]
    write_table(folder / "boxes.csv", rows)
    listed = [{"path": f"images/scan{n}.png", "label": "a" if n else "b"} for n in range(4)]
    write_table(folder / "labels.csv", listed)
    plain = Folder(csv=str(folder / "labels.csv"), size=60, fit="squash", name="f").load()
    for margin in (0, 0.25):
        windows = lesions(folder, fit="squash", margin=margin).load()
        np.testing.assert_array_equal(windows.images[:], plain.images[:])
        np.testing.assert_array_equal(windows.labels, plain.labels)
        np.testing.assert_array_equal(windows.index, plain.index)


def test_a_grid_covers_the_image_and_finds_each_centre(folder: Path) -> None:
    found: ImageSet = lesions(folder, grid=3).load()
    target = found.target
    assert isinstance(target, WindowLabels)
    assert len(found) == 9 * len(SIZES)
    assert found.class_names == ("no lesion", "benign", "malignant")
    for image in range(len(SIZES)):
        seen = np.zeros((60, 60), bool)
        for left, top, right, bottom in target.windows[target.images == image]:
            seen[top:bottom, left:right] = True
        assert seen.all()
        own = found.labels[target.images == image]
        assert set(own[own > 0]) == {1 + image % 2}


@pytest.mark.parametrize("seed", range(20))
def test_every_window_is_square_lies_inside_and_holds_its_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(20, 300))
    corners = np.sort(rng.uniform(0, size, (30, 2, 2)), axis=1).reshape(30, 4)
    found = square_windows(corners, size, float(rng.uniform(0, 1)))
    sides = found[:, 2:] - found[:, :2]
    assert (sides[:, 0] == sides[:, 1]).all()
    assert found.min() >= 0
    assert found.max() <= size
    assert (found[:, :2] <= corners[:, :2] + 0.51).all()
    assert (found[:, 2:] >= corners[:, 2:] - 0.51).all()
    across, overlap = int(rng.integers(1, 7)), float(rng.uniform(0, 0.9))
    grid = grid_windows(size, across, overlap)
    assert (grid.min(), grid.max(), len(grid)) == (0, size, across**2)


def wrong(**change: object) -> list[dict[str, object]]:
    rows = box_rows()
    rows[2] |= change
    return rows


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (wrong(x2=52), r"boxes.csv, line 4: the box 0, 0, 52, 9 .* lies outside its image of 48"),
        (wrong(y1=-3), "lies outside its image"),
        (wrong(x2=0), r"line 4: the box 0, 0, 0, 9 .* is empty"),
        (wrong(y2=-1), "is empty"),
        (wrong(image="scan9"), "line 4: the image that the box names is none of the table"),
        (wrong(label=""), r"boxes.csv, line 4: the box has no label. Fill it in"),
        (wrong(label="n/a"), "line 4: the box has no label"),
        (
            [{**row, **side} for row, side in zip(wrong(x2=9), box_rows(True), strict=True)],
            "line 4: x1, y1, x2, y2 and x, y, w, h are different boxes",
        ),
        (wrong(x1=-1, x2=0.2), "line 4: less than half a pixel of the box is left inside its im"),
        (
            [*box_rows(), {**box_rows()[2], "label": "malignant"}],
            "line 6: the box is that of line 4, with another label",
        ),
        (wrong(x1="left"), "line 4: x1 must be a number of pixels"),
        (wrong(x1="nan"), "line 4: x1 must be a number of pixels"),
        ([{"label": "a", "x": 1}], "no column that names the image"),
        ([{"image": "scan0", "label": "a", "x": 1, "w": 3}], "neither the columns x1, y1, x2, y2"),
    ],
)
def test_wrong_boxes_are_refused_in_a_sentence(folder: Path, rows: list, said: str) -> None:
    write_table(folder / "boxes.csv", rows)
    with pytest.raises(InvalidDataError, match=said):
        lesions(folder).load()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"class_names": ["benign", "malignant", "x"], "split_column": "fold"},
            "no column 'fold'",
        ),
        ({"csv": ""}, "name the table of the images"),
        ({"margin": -1}, r"dataset.margin=-1 must be 0 to 10"),
        *(({"grid": one}, f"dataset.grid={one} must be a") for one in (0, True, 2.5, 65, "a")),
        ({"overlap": "a"}, "dataset.overlap=a must be a number"),
        ({"margin": "x"}, "dataset.margin=x must be a number"),
        ({"background": ""}, "dataset.background= must be one name"),
        ({"overlap": 1.0}, "dataset.overlap=1.0"),
        ({"grid": 3, "background": "benign"}, "dataset.background=benign is a class of lesions"),
        ({"label_column": ["a", "b"]}, "a box has one label"),
        ({"metadata_columns": ["patient"]}, "stored in clear"),
    ],
)
def test_wrong_choices_are_refused_in_a_sentence(folder: Path, options: dict, said: str) -> None:
    with pytest.raises(MedRobustError, match=said):
        lesions(folder, **options).load()


def test_a_box_may_be_stated_by_corners_and_sides_that_agree_but_for_rounding(folder: Path) -> None:
    first = lesions(folder).load().fingerprint
    both = [{**row, **side} for row, side in zip(box_rows(), box_rows(True), strict=True)]
    both[2] |= {"w": 11.5}
    write_table(folder / "boxes.csv", both)
    assert lesions(folder).load().fingerprint == first


def test_no_positive_lesion_and_no_box_of_a_split_are_said(folder: Path) -> None:
    benign = [row for row in box_rows() if row["label"] == "benign"]
    write_table(folder / "boxes.csv", benign)
    with pytest.raises(InvalidDataError, match="no box of lesions/test is 'malignant', the posit"):
        lesions(folder, class_names=["benign", "malignant"]).load()
    table = [
        {"path": f"images/scan{n}.png", "split": "test" if n == 1 else "train"} for n in range(4)
    ]
    write_table(folder / "images.csv", table)
    with pytest.raises(InvalidDataError, match="no image of lesions/test has a box"):
        lesions(folder, class_names=["benign", "malignant"]).load()


def test_a_box_cut_off_at_the_stored_size_is_empty_and_one_that_stands_twice_is_said(
    folder: Path,
) -> None:
    write_table(folder / "boxes.csv", wrong(x1=47.9, x2=48.9))
    with pytest.raises(InvalidDataError, match=r"line 4: less than half .* its image: correct it"):
        lesions(folder, size=48).load()
    write_table(folder / "boxes.csv", [*box_rows(), box_rows()[1]])
    found = lesions(folder).load()
    assert len(found) == len(BOXES) + 1
    assert any("1 of 5 boxes the same as another" in mark for mark in found.marks)


def test_boxes_of_a_turned_picture_are_those_of_the_picture_as_shown(folder: Path) -> None:
    file, exif = folder / "images/scan0.png", Image.Exif()
    exif[0x0112] = 6  # a quarter to the right: 60 x 40 is shown as 40 x 60
    with Image.open(file) as opened:
        opened.save(file, exif=exif)
    write_table(folder / "boxes.csv", [{**box_rows()[0], "x2": 55}, *box_rows()[1:]])
    with pytest.raises(InvalidDataError, match=r"image of 40 × 60 .* turned, if its EXIF"):
        lesions(folder).load()
    shown = {"x1": 40 - 20, "y1": 10, "x2": 40 - 8, "y2": 22}
    write_table(folder / "boxes.csv", [{**box_rows()[0], **shown}, *box_rows()[1:]])
    whole = judged_by(lesions(folder), "boxes").load()
    y, x = np.nonzero(np.asarray(whole.images[0])[..., 0] > 148)
    edges = [x.min(), y.min(), x.max() + 1, y.max() + 1]
    np.testing.assert_allclose(whole.target.values[0], edges, atol=1.01)


def test_images_without_a_box_are_counted(folder: Path) -> None:
    write_table(folder / "boxes.csv", box_rows()[:3])
    assert any("1 of 4 images without a box" in mark for mark in lesions(folder).load().marks)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": None}, "is no annotation of COCO"),
        ({"categories": [{"id": 1}]}, "category 1: its name is None; COCO gives images and"),
        ({"images": [{"id": 1, "file_name": None}]}, "image 1: its file_name is None"),
        ({"images": [7]}, "coco.json, image 1: 7 is no object of COCO"),
        ({"annotations": ["x"]}, "annotation 1: 'x' is no object"),
        ({"annotations": [{"id": 4}, {"id": 4}]}, "several of its annotations have the id 4"),
        (
            {"annotations": [{"image_id": [1], "category_id": 1, "bbox": [0, 0, 1, 1]}]},
            "annotation 1: its image_id",
        ),
        (
            {
                "annotations": [
                    {"image_id": 10, "category_id": 1, "bbox": [58, 0, 9, 9]},
                    {"image_id": 10, "category_id": 2, "bbox": [0, 0, 9, 9]},
                ]
            },
            "coco.json, annotation 1: the box 58, 0, 67, 9",
        ),
        (
            {"annotations": [{"image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1]}]},
            "annotation 1: its image_id",
        ),
        (
            {"annotations": [{"image_id": 10, "category_id": 1, "bbox": [0, 0, 1]}]},
            "annotation 1: bbox must be four",
        ),
        ({"annotations": [{"image_id": 10, "category_id": 1, "bbox": [0, 0, 0, 1]}]}, "is empty"),
        ({"annotations": []}, "has no box"),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
            "categories have the id 1",
        ),
        (
            {
                "images": [
                    {"id": 10 + n, "file_name": f"images/scan{n}.png", "width": 7, "height": 9}
                    for n in range(4)
                ]
            },
            "gives its image 7 × 9 pixels, and the file, as it is shown, has",
        ),
        (
            {
                "images": [{"id": 10, "file_name": "images/scan0.png", "width": "x", "height": 9}],
                "annotations": [{"image_id": 10, "category_id": 1, "bbox": [0, 0, 1, 1]}],
            },
            "must be numbers of pixels",
        ),
    ],
)
def test_wrong_coco_is_refused_in_a_sentence(folder: Path, change: dict, said: str) -> None:
    with pytest.raises(InvalidDataError, match=said):
        lesions(folder, boxes=str(coco(folder, **change))).load()


def test_a_missing_file_of_boxes_is_named(folder: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"nothing.csv not found"):
        lesions(folder, boxes=str(folder / "nothing.csv")).load()
    (folder / "broken.json").write_text("{")
    with pytest.raises(InvalidDataError, match="cannot be read as JSON"):
        lesions(folder, boxes=str(folder / "broken.json")).load()


def test_a_name_that_two_images_share_is_refused(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more/scan0.png").write_bytes((folder / "images/scan0.png").read_bytes())
    rows = [{"path": f"images/scan{n}.png"} for n in range(4)] + [{"path": "more/scan0.png"}]
    write_table(folder / "images.csv", rows)
    with pytest.raises(
        InvalidDataError, match="line 2: the image that the box names is of several"
    ):
        lesions(folder).load()


def test_a_split_without_a_target_of_boxes_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no masks"):
        judged_by(lesions(folder), "masks")
