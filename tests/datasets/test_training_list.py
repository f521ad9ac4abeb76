"""Which images a publisher's list of training images names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_entry import answer

from medrobust.datasets.audits.training_list import named_in, read_training_list
from medrobust.exceptions import ConfigurationError, InvalidDataError

COLLECTION = [f"train/p{one}/study{two}/view1.jpg" for one in (1, 2) for two in (1, 2)]


def test_folders_are_part_of_a_name_where_names_repeat() -> None:
    own = ["p1/study2/view1.png", "p3/study2/view1.png", "study2/view1.png", "other.png"]
    assert named_in(own, COLLECTION) == [0], "three parts tell the list's names apart"
    assert named_in(["X/A.DCM", "b.nii.gz", "ab.png"], ["x\\a.png", "y/b.png"]) == [0, 1]
    with pytest.raises(ConfigurationError, match="by their last 3 parts"):
        named_in(["view1.png"], COLLECTION)


def test_a_list_is_read_by_its_column(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("﻿path,set\na/1.png,x\n\na/2.png,y\n")
    assert read_training_list(file, "path") == ["a/1.png", "a/2.png"]
    with pytest.raises(ConfigurationError, match="columns path, set: say by --column"):
        read_training_list(file)
    with pytest.raises(ConfigurationError, match="no column 'image'; it has path, set"):
        read_training_list(file, "image")
    file.write_text("a/1.png\na/2.png\n")
    assert read_training_list(file) == ["a/1.png", "a/2.png"]
    for content in (b"path\n", b"", b"\xff\xfe\x00"):
        file.write_bytes(content)
        with pytest.raises(InvalidDataError, match="list"):
            read_training_list(file, None if content != b"path\n" else "path")


def test_own_images_that_are_listed_are_said_now_and_in_later_tables(workplace: Path) -> None:
    rows = ["path,label,split"]
    for number in range(6):
        picture = np.random.default_rng(number).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(picture).save(workplace / f"scan{number}.png")
        rows.append(f"scan{number}.png,{'ab'[number % 2]},{'train' if number < 2 else 'test'}")
    (workplace / "labels.csv").write_text("\n".join(rows))
    (workplace / "seen.csv").write_text("image\nelsewhere/scan3.dcm\nelsewhere/scan9.dcm\n")
    own = ("folder", "dataset.csv=labels.csv", "dataset.name=ward", "dataset.modality=xray")
    said = answer("audit", *own, "--training-list", "seen.csv", "--column", "image")
    assert said.returncode == 0
    assert "train: no image is named" in said.stdout
    sentence = "1 image of 4 of test is named in seen.csv: a model that was trained on that list"
    assert sentence in said.stdout
    assert sentence in _findings(workplace)


def _findings(workplace: Path) -> str:
    from medrobust.datasets import Folder

    split = Folder(name="ward", csv="labels.csv", modality="xray").load("test")
    return " ".join(map(str, split.findings))
