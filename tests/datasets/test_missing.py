"""What is missing, or one thing in several ways, in columns of labels, patients, splits, ages."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import random_images, write_table
from PIL import Image

from medrobust.base.missing import is_missing
from medrobust.datasets import Folder, Npz
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, InvalidDataError
from medrobust.readings.aggregation import Aggregation

MISSING = ["", "NaN", "NA", "N/A", "#N/A", "<NA>", "null", "None", "?", "-", "--", "n.a."]
NOBODY = [*MISSING, "-1", "-1.0", "unknown", "Not  available", "anonymous"]


def table(place: Path, labels: list[str], **columns: list[str]) -> Path:
    rows = []
    for number, label in enumerate(labels):
        Image.new("L", (32, 32), number).save(place / f"{number}.png")
        row = {"path": f"{number}.png", "label": label}
        rows.append(row | {name: values[number] for name, values in columns.items()})
    return write_table(place / "t.csv", rows)


def folder(file: Path, **options: Any) -> Folder:
    return Folder(**({"csv": str(file), "size": 224} | options))


@pytest.mark.parametrize(
    ("labels", "names", "values"),
    [
        (["0", "1", "1.0", "01", "0,0", "+1"], ("0", "1"), [0, 1, 1, 1, 0, 1]),
        (["2.0", "10.0", "1.0"], ("1.0", "2.0", "10.0"), [1, 2, 0]),
        (["02", "10", "01"], ("01", "02", "10"), [1, 2, 0]),
        (["1.0000e+00", "0", "1"], ("0", "1"), [1, 0, 1]),
        (["Crohn's", "a b", "a_b"], ("Crohn's", "a b", "a_b"), [0, 1, 2]),
    ],
)
def test_a_whole_number_is_one_class_however_it_is_written(
    tmp_path: Path, labels: list[str], names: tuple[str, ...], values: list[int]
) -> None:
    found = folder(table(tmp_path, labels)).load()
    assert (found.class_names, found.labels.tolist()) == (names, values)


def test_numbers_that_are_named_are_known_in_every_spelling(tmp_path: Path) -> None:
    file = table(tmp_path, ["0", "1.0", "01", "0"])
    assert folder(file, class_names=["1", "0"]).load().labels.tolist() == [1, 0, 0, 1]
    assert folder(file, class_names=["healthy", "ill"]).load().labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "labels",
    [
        ["Cat", "dog", "cat"],
        ["left lung", "dog", "left  lung"],
        ["other", "1", "1.0"],
        ["\ufb01ne", "x", "fine"],
    ],
)
def test_names_that_differ_in_spelling_alone_are_refused_with_their_lines(
    tmp_path: Path, labels: list[str]
) -> None:
    file = table(tmp_path, labels)
    with pytest.raises(InvalidDataError) as caught:
        folder(file).load()
    told = str(caught.value)
    assert len(re.findall(r"\(line \d\)", told)) == 2
    assert "write them alike, or, if they are classes of their own, name all by" in told
    assert labels[0] not in caught.value.for_records
    kept = folder(file, class_names=labels).load()
    assert kept.labels.tolist() == [0, 1, 2]


def test_a_label_that_misses_a_named_class_by_its_case_is_told_which(tmp_path: Path) -> None:
    file = table(tmp_path, ["cat", "Dog", "cat"])
    with pytest.raises(InvalidDataError, match=r"line 3.*'Dog'.*it differs from 'dog' in case"):
        folder(file, class_names=["cat", "dog"]).load()


def test_a_class_of_one_image_is_said_by_name(tmp_path: Path) -> None:
    file = table(tmp_path, ["cat"] * 5 + ["dgo"] + ["dog"] * 3)
    (said,) = folder(file).load().marks
    assert said.startswith("dgo: 1 class of test with one image, so that what is said of it")
    values = np.array([[1, 1], [1, 0], [1, 0], [1, 0], [1, 0]])
    np.savez(tmp_path / "a.npz", images=random_images(5, 224, 1), labels=values)
    (said,) = Npz(file=str(tmp_path / "a.npz"), class_names=["mass", "cyst"]).load().marks
    assert said.startswith("cyst: 1 class of test with one image")


@pytest.mark.parametrize("word", NOBODY)
def test_rows_that_name_nobody_never_pass_for_one_patient(tmp_path: Path, word: str) -> None:
    columns = {"patient": ["p1", word, word, "p2"]}
    file = table(tmp_path, ["a", "b", "a", "b"], **columns)
    with pytest.raises(InvalidDataError, match=r"t\.csv, line 3: the patient is .* in line 4\."):
        folder(file).load()
    with pytest.raises(InvalidDataError, match=r"dataset\.patient_column=null"):
        folder(file).patients_of("test")
    assert folder(file, patient_column=None).load().groups is None
    arrays = {"images": random_images(3, 32, 1), "labels": np.arange(3)}
    np.savez(tmp_path / "a.npz", **arrays, who=np.array(["a", word, word]))
    with pytest.raises(InvalidDataError, match=r"patient 1 of who .* in row 2\."):
        Npz(file=str(tmp_path / "a.npz"), class_names=list("abc"), patients="who").load()


def test_a_number_and_its_decimals_are_not_two_patients(tmp_path: Path) -> None:
    file = table(tmp_path, ["a", "b", "a"], patient=["7", "8", "7.0"])
    with pytest.raises(InvalidDataError, match="lines 2 and 4 name one patient"):
        folder(file).load()
    kept = folder(table(tmp_path, ["a", "b", "a"], patient=["7", "8", "007"])).load()
    assert len(np.unique(kept.groups)) == 3


@pytest.mark.parametrize("word", ["", "-1", "unknown"])
def test_rows_without_a_lesion_are_not_joined_to_one(tmp_path: Path, word: str) -> None:
    columns = {"lesion_id": ["l1", word, word, "l1"]}
    file = table(tmp_path, ["a", "b", "b", "a"], **columns)
    found = folder(file, metadata_columns=["lesion_id"]).load()
    with pytest.raises(ConfigurationError, match=r"lesion_id is empty.* for 2 images"):
        Aggregation("lesion", "lesion_id").units(found)


def test_rows_of_no_split_are_counted_and_one_split_has_one_spelling(tmp_path: Path) -> None:
    labels = ["a", "b", "a", "b"]
    file = table(tmp_path, labels, split=["test", "test", "", "NaN"])
    assert folder(file).load().marks == ("2 rows name no split: left out",)
    file = table(tmp_path, labels, split=["test", "Test", "test", "test "])
    with pytest.raises(InvalidDataError, match=r"'test' \(line 2\) and 'Test' \(line 3\)"):
        folder(file).load()


def test_a_folder_in_place_of_a_picture_is_called_one(tmp_path: Path) -> None:
    file = table(tmp_path, ["a", "b"])
    (tmp_path / "1.png").unlink()
    (tmp_path / "1.png").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"1\.png is a folder, or a link that leads"):
        folder(file, class_names=["a", "b"]).load()


def ages(tmp_path: Path, values: list[str], edges: list[float] | None = None) -> Any:
    file = table(tmp_path, ["a", "b"] * (len(values) // 2), age=values)
    bins = {"age": edges} if edges else None
    return Folder(csv=str(file), size=224, metadata_columns=["age"], bins=bins).load()


def test_what_is_missing_is_missing_with_and_without_bins(tmp_path: Path) -> None:
    words = ["NaN", "", "?", "none"]
    plain = ages(tmp_path, [*words, "20", "20", "40", "40"])
    binned = ages(tmp_path, [*words, "20", "20", "40", "40"], [30])
    assert plain.metadata[:, 0].tolist() == [""] * 4 + ["20", "20", "40", "40"]
    assert binned.metadata[:, 0].tolist() == [""] * 4 + ["under 30"] * 2 + ["30 and over"] * 2
    assert "age is missing for 4 of 8 images of test" in binned.marks
    assert all(map(is_missing, MISSING))


def test_minus_one_is_no_age_and_other_negative_ones_are_refused(tmp_path: Path) -> None:
    found = ages(tmp_path, ["-1", "-1.0", "unknown", "41"], [40, 60])
    assert found.metadata[:, 0].tolist() == ["", "", "", "40 to under 60"]
    with pytest.raises(InvalidDataError, match=r"t\.csv, line 3: column 'age' is -5, below 0, and"):
        ages(tmp_path, ["41", "-5"], [40, 60])
    scores = ages(tmp_path, ["-1", "-3", "0.5", "2", "-1", "-3"], [-2.5, 0])
    words = ["-2.5 to under 0", "under -2.5", "0 and over", "0 and over"]
    words += words[:2]
    assert scores.metadata[:, 0].tolist() == words


def test_groups_that_differ_in_spelling_alone_are_said(tmp_path: Path) -> None:
    found = ages(tmp_path, ["F", "f", "F", "f"])
    assert found.marks == (
        "age has values that differ in spelling alone, each a group of its own: F, f",
    )
