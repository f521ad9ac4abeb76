"""Rows whose label is empty, NaN or -1: refused with their lines, or left out and counted."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from datasets import random_images, write_table
from dicoms import slices, write_dicom
from PIL import Image

from medrobust.datasets import Dicom, Folder, Npz
from medrobust.exceptions import ConfigurationError, InvalidDataError, MedRobustError

NOTHING = [
    "",
    "NaN",
    "nan",
    "NA",
    "None",
    "null",
    "-1",
    "-1.0",
    "-1,00",
    "N/A",
    "-9",
    "#REF!",
    "#DIV/0!",
    "####",
    "not available",
    "Unlabeled",
    "unlabelled",
    "not_labelled",
    "missing",
    "TBD",
]


def table(folder: Path, labels: list[str], **columns: list[str]) -> Path:
    rows = []
    for number, label in enumerate(labels):
        Image.new("L", (32, 32), number).save(folder / f"{number}.png")
        row = {"path": f"{number}.png", "label": label, "patient": f"p{number}"}
        rows.append(row | {name: values[number] for name, values in columns.items()})
    return write_table(folder / "t.csv", rows)


def folder(file: Path, **options: Any) -> Folder:
    return Folder(**({"csv": str(file), "size": 224} | options))


@pytest.mark.slow
@pytest.mark.parametrize("word", NOTHING)
def test_what_is_no_label_is_refused_with_its_line_or_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, word: str
) -> None:
    file = table(tmp_path, ["0", "1", word, "1", word])
    with pytest.raises(InvalidDataError) as caught:
        folder(file).load()
    told = str(caught.value)
    assert told.startswith("t.csv, line 4: the label is ")
    assert "So it is with line 6." in told
    assert "dataset.unlabelled=drop" in told
    with caplog.at_level(logging.INFO):
        found = folder(file, unlabelled="drop").load()
    said = "2 rows of test have no label and were left out (dataset.unlabelled=drop)"
    assert (found.labels.tolist(), found.class_names) == ([0, 1, 1], ("0", "1"))
    assert found.images[:, 0, 0].tolist() == [0, 1, 3]
    assert found.marks == (said,)  # their pictures are in the table, and not left out of it
    assert said in caplog.text


def test_a_class_may_have_any_name_that_is_given(tmp_path: Path) -> None:
    file = table(tmp_path, ["-1", "1", "-1"])
    assert folder(file, class_names=["-1", "1"]).load().labels.tolist() == [0, 1, 0]
    file = table(tmp_path, ["None", "cyst", "None"])
    assert folder(file, class_names=["None", "cyst"]).load().labels.tolist() == [0, 1, 0]
    with pytest.raises(InvalidDataError, match=r"line 2: .*'None', which .* dataset\.class_names"):
        folder(file).load()


def test_other_splits_and_other_columns_count_for_themselves(tmp_path: Path) -> None:
    splits = ["test", "train", "train", "test", "val"]
    file = table(tmp_path, ["0", "-1", "1", "1", ""], split=splits)
    with pytest.raises(InvalidDataError, match=r"^t\.csv, line 3: "):
        folder(file).load()
    source = folder(file, unlabelled="drop")
    assert source.load().marks == ()
    assert len(source.load("train")) == 1
    assert source.load("train").marks == (
        "1 row of train has no label and was left out (dataset.unlabelled=drop)",
    )
    assert source.splits_in_table() == ["train", "test"]
    assert source.patients_of("train") is not None
    assert len(source.patients_of("train")) == 1


def test_several_columns_need_a_label_in_each(tmp_path: Path) -> None:
    file = table(tmp_path, ["x"] * 4, mass=["1", "0", "-1", "1.0"], edema=["0", "", "1", "1"])
    with pytest.raises(InvalidDataError, match=r"^t\.csv, line 3: edema is empty.*with line 4\."):
        folder(file, label_column=["mass", "edema"]).load()
    found = folder(file, label_column=["mass", "edema"], unlabelled="drop").load()
    assert found.labels.tolist() == [[1, 0], [1, 1]]


def test_a_table_without_any_label_and_a_wrong_choice_are_refused(tmp_path: Path) -> None:
    file = table(tmp_path, ["", "NaN"])
    with pytest.raises(InvalidDataError, match=r"no row of t\.csv has a label"):
        folder(file, unlabelled="drop").load()
    for source, first in ((Folder, {"csv": "t.csv"}), (Dicom, {"csv": "t.csv"})):
        with pytest.raises(ConfigurationError, match="there are refuse and drop"):
            source(**first, unlabelled="skip")
    with pytest.raises(ConfigurationError, match="there are refuse and drop"):
        Npz(file="a.npz", class_names=["a", "b"], unlabelled="skip")


def test_nothing_of_a_parquet_table_is_no_label_either(tmp_path: Path) -> None:
    table(tmp_path, ["0", "1", "1"])
    columns = {"path": ["0.png", "1.png", "2.png"], "label": [0.0, None, 1.0]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InvalidDataError, match=r"t\.parquet, line 2: the label is empty"):
        folder(tmp_path / "t.parquet").load()
    assert folder(tmp_path / "t.parquet", unlabelled="drop").load().labels.tolist() == [0, 1]


@pytest.mark.parametrize("match", ["path", "instance", "patient"])
def test_dicom_files_of_rows_without_a_label_are_in_the_table_all_the_same(
    tmp_path: Path, match: str
) -> None:
    rows = []
    for number, label in enumerate(["a", "b", "", "a"]):
        uid = f"1.2.3.{number + 1}"
        write_dicom(
            tmp_path / f"{number}.dcm",
            slices(1)[0],
            SOPInstanceUID=uid,
            PatientID=f"p{number}",
            WindowCenter=1000,
            WindowWidth=2000,
        )
        row = {"path": f"{number}.dcm", "sop_instance_uid": uid, "patient": f"p{number}"}
        rows.append(row | {"label": label})
    file = write_table(tmp_path / "t.csv", rows)
    with pytest.raises(MedRobustError, match="line 4: the label is empty"):
        Dicom(csv=str(file), match=match).load()
    found = Dicom(csv=str(file), match=match, unlabelled="drop").load()
    assert len(found) == 3
    assert found.marks == ("1 row of test has no label and was left out (dataset.unlabelled=drop)",)


def test_minus_one_in_an_array_is_refused_with_its_rows_or_left_out(tmp_path: Path) -> None:
    images, labels = random_images(5, 224, 1), np.array([0, -1, 1, 1, -1])
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    options: dict[str, Any] = {"file": str(tmp_path / "a.npz"), "class_names": ["a", "b"]}
    with pytest.raises(InvalidDataError, match=r"^a\.npz .*\(rows 1, 4, counted from 0\)"):
        Npz(**options).load()
    found = Npz(**options, unlabelled="drop").load()
    assert (found.labels.tolist(), found.ids.tolist()) == ([0, 1, 1], ["0", "2", "3"])
    np.testing.assert_array_equal(found.images, images[[0, 2, 3]])
    assert found.marks == (
        "2 rows of a.npz have no label and were left out (dataset.unlabelled=drop)",
    )


def test_an_archive_without_images_is_refused_in_a_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", images=np.zeros((0, 16, 16), np.uint8), labels=np.zeros(0, int))
    with pytest.raises(InvalidDataError, match="holds no images"):
        Npz(file=str(tmp_path / "t.npz"), class_names=["n", "p"], size=16).load()


@pytest.mark.parametrize("odd", [[b"a", b"b"], [["a"], ["b"]], [1.0, float("inf")]])
def test_bytes_lists_and_infinity_of_parquet_are_no_labels(tmp_path: Path, odd: list[Any]) -> None:
    columns = {"path": ["0.png", "1.png"], "label": odd, "patient": ["p0", "p1"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InvalidDataError, match=r"t.parquet, line [12]: column 'label' holds bytes"):
        folder(tmp_path / "t.parquet").load()
