"""What is missing, or one thing in several ways, in columns of labels, patients, splits, ages."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from socket import AF_UNIX, socket
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
MISSING += ["\u200b", "-1.#IND", "1.#QNAN", "-nan(ind)"]
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
        ["non-tumour", "x", "non\u2013tumour"],
        ["non\u2212tumour", "x", "non\u2011tumour"],
        ["left lung", "x", "left\u00a0lung"],
        ["n\u00e6vus \u00e9", "x", "n\u00e6vus e\u0301"],
        ["Crohn's", "x", "Crohn\u2019s"],
        ["type B", "x", "type \u0412"],
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


@pytest.mark.parametrize("apart", ["1,000", "1.000", "1'000", "1 000", "1\u202f000"])
def test_a_number_with_its_thousands_apart_is_no_class_beside_the_same_without(
    tmp_path: Path, apart: str
) -> None:
    file = table(tmp_path, ["2", "1000", apart, "2"])
    with pytest.raises(InvalidDataError, match=r"line 4: .* beside '1000' \(line 3\)") as caught:
        folder(file).load()
    assert "1000" not in caught.value.for_records
    named = folder(file, class_names=["2", "1000", apart]).load()
    assert named.labels.tolist() == [0, 1, 2, 0]


def test_a_label_that_misses_a_named_class_by_its_case_is_told_which(tmp_path: Path) -> None:
    file = table(tmp_path, ["cat", "Dog", "cat"])
    with pytest.raises(InvalidDataError, match=r"line 3.*'Dog'.*it differs from 'dog' in case"):
        folder(file, class_names=["cat", "dog"]).load()


@pytest.mark.slow
@pytest.mark.parametrize("word", ["inf", "-inf", "Infinity", "+INF", "1e999", "\u221e", "\u22121"])
def test_infinity_and_minus_signs_among_numbers_are_no_labels(tmp_path: Path, word: str) -> None:
    file = table(tmp_path, ["0", "1", word, "1"])
    with pytest.raises(InvalidDataError, match=r"line 4: .* marks a row without one"):
        folder(file).load()
    assert folder(file, unlabelled="drop").load().labels.tolist() == [0, 1, 1]
    names = ["inf", "sup"]
    assert folder(table(tmp_path, [*names, "sup"])).load().class_names == tuple(names)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["0", "1", "x", "0", "x"], "'x' is a class of test: if it marks images without a label"),
        (["0", "1", "0.5", "0", "0.5"], "'0.5' is a class of test"),
        (["a b", "a_b", "c"], "'a b' and 'a_b' are classes of test that differ in signs between"),
    ],
)
def test_classes_that_may_be_none_or_one_are_said(
    tmp_path: Path, labels: list[str], said: str
) -> None:
    file = table(tmp_path, labels)
    (mark,) = folder(file).load().marks
    assert mark.startswith(said)
    assert folder(file, class_names=sorted(set(labels))).load().marks == ()


def test_a_class_of_one_image_is_said_by_name(tmp_path: Path) -> None:
    file = table(tmp_path, ["cat"] * 5 + ["dgo"] + ["dog"] * 3)
    (said,) = folder(file).load().marks
    assert said.startswith("dgo: 1 class of test with one image, so that what is said of it")
    values = np.array([[1, 1], [1, 0], [1, 0], [1, 0], [1, 0]])
    np.savez(tmp_path / "a.npz", images=random_images(5, 224, 1), labels=values)
    (said,) = Npz(file=str(tmp_path / "a.npz"), class_names=["mass", "cyst"]).load().marks
    assert said.startswith("cyst: 1 class of test with one image")


@pytest.mark.slow
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


def bound(place: Path) -> None:
    with socket(AF_UNIX) as one:
        one.bind(str(place))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Path.mkdir, "a folder"),
        (lambda place: place.symlink_to("nowhere"), "a link that leads nowhere"),
        (os.mkfifo, "no ordinary file, but a pipe, a socket or a device"),
        (bound, "no ordinary file, but a pipe, a socket or a device"),
    ],
)
def test_what_stands_in_place_of_a_picture_is_called_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], what: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket takes short names alone
    file = table(Path(), ["a", "b"])
    Path("1.png").unlink()
    make(Path("1.png"))
    with pytest.raises(DatasetNotFoundError, match=rf"1\.png is {what}\. "):
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


def test_numbers_in_bins_are_written_in_one_way(tmp_path: Path) -> None:
    for odd in ("1_0", "0x1F", "1,234.5", "1.234,5", "1 234", "45Y", ">89", "inf"):
        with pytest.raises(InvalidDataError, match=r"line 3: column 'age' has bins .* no number"):
            ages(tmp_path, ["41", odd], [40, 60])
    for told in (["41", "1,234"], ["1,5", "1.234"], ["-12,345", "12"]):
        with pytest.raises(InvalidDataError, match="or a number with decimals"):
            ages(tmp_path, told, [-5000, 60])
    words = ages(
        tmp_path, ["41,5", "41,250", "0,125", "65.0", "6e1", "-0,5"], [-1, 40, 60]
    ).metadata
    assert words[:, 0].tolist() == (
        ["40 to under 60"] * 2 + ["-1 to under 40"] + ["60 and over"] * 2 + ["-1 to under 40"]
    )
    assert ages(tmp_path, ["41.250", "1.234"], [40]).metadata[1, 0] == "under 40"
    for edges in ([True], [False, True], ["40"], []):
        with pytest.raises(ConfigurationError, match=r"dataset\.bins of 'age' must be numbers"):
            folder(tmp_path / "t.csv", metadata_columns=["age"], bins={"age": edges}).load()


def test_a_number_stands_for_missing_where_it_is_declared(tmp_path: Path) -> None:
    ages_, sites = ["41", "999", "999.0", "20"] * 2, ["x", "NK"] * 4
    file = table(tmp_path, ["a", "b"] * 4, age=ages_, site=sites)
    options: dict[str, Any] = {"metadata_columns": ["age", "site"], "bins": {"age": [40]}}
    assert folder(file, **options).load().metadata[1].tolist() == ["40 and over", "NK"]
    found = folder(file, **options, missing_codes=[999, "NK"]).load()
    kept = [["40 and over", "x"], ["", ""], ["", "x"], ["under 40", ""]]
    assert found.metadata.tolist() == kept * 2


@pytest.mark.parametrize(
    "number", ["1.23457E+5", "1.23457e+05", "1,23E+11", "1.5e7", "1E+05", "-2.5E+9"]
)
def test_patients_that_a_spreadsheet_has_rounded_are_refused(tmp_path: Path, number: str) -> None:
    file = table(tmp_path, ["a", "b"], patient=["p1", number])
    with pytest.raises(InvalidDataError, match=r"line 3: the patient is a number that a spread"):
        folder(file).load()


def test_numbers_that_may_mark_a_missing_value_are_said_and_their_remedy_fits(
    tmp_path: Path,
) -> None:
    held = ["41", "-1", "999", "20", "62", "35"]
    file = table(tmp_path, ["a", "b"] * 3, age=held)
    options: dict[str, Any] = {"metadata_columns": ["age"], "bins": {"age": [0, 40]}}
    said = "age holds -1 and 999: if they mark a missing value, pass dataset.missing_codes=[-1,999]"
    assert said in folder(file, **options).load().marks
    above = folder(file, **(options | {"bins": {"age": [40]}})).load().marks
    assert "age holds 999: if it marks a missing value, pass dataset.missing_codes=[999]" in above
    with pytest.raises(InvalidDataError, match=r"Name what marks .*\[-1,999\]\), give it fewer"):
        folder(file, **(options | {"bins": {"age": [0, 30, 40, 50]}})).load()
    with pytest.raises(InvalidDataError, match=r"\), group its values first \(dataset\.bins, of"):
        folder(file, metadata_columns=["age"]).load()
    known = folder(file, **options, missing_codes=[-1, 999]).load()
    assert not any("if it marks" in mark or "if they mark" in mark for mark in known.marks)
    many = options | {"bins": {"age": [21, 36, 42, 60]}, "missing_codes": [-1, 999]}
    with pytest.raises(InvalidDataError, match=r"\. Give it fewer bins \(dataset\.bins\), or take"):
        folder(file, **many).load()


def test_names_that_only_look_like_rounded_numbers_are_patients(tmp_path: Path) -> None:
    file = table(tmp_path, ["a", "b"] * 2, patient=["1E5", "7e3", "1.0E+00", "2.5"])
    assert len(np.unique(folder(file).load().groups)) == 4


def test_patients_that_differ_in_case_or_zeros_alone_are_said_with_their_lines(
    tmp_path: Path,
) -> None:
    names = ["P1", "p1", "P2", "007", "7", "P3"]
    found = folder(table(tmp_path, ["a", "b"] * 3, patient=names)).load()
    assert len(np.unique(found.groups)) == 6
    (said,) = found.marks
    assert "people of their own (lines 2 and 3, lines 5 and 6)" in said
    assert "P1" not in said


def test_one_patient_for_all_images_is_said(tmp_path: Path) -> None:
    file = table(tmp_path, ["a", "b"] * 2, patient=["2024-01-01"] * 4)
    (said,) = folder(file).load().marks
    assert said.startswith("all 4 images of test are of one patient, so that intervals are ")
    assert "those of one answer, or empty, and tests over patients are impossible: name" in said
    assert folder(table(tmp_path, ["a", "b"] * 2, patient=list("1112"))).load().marks == ()
    arrays = {"images": random_images(4, 224, 1), "labels": np.arange(4) % 2}
    np.savez(tmp_path / "a.npz", **arrays, who=np.zeros(4, int))
    found = Npz(file=str(tmp_path / "a.npz"), class_names=["a", "b"], patients="who").load()
    assert found.marks[0].endswith("or pass dataset.patients=null")


@pytest.mark.parametrize(
    "word", ["unknown", "Not known", "undefined", "n.d.", "not rated", "inf", "99", "999"]
)
def test_a_class_that_may_be_no_label_is_said_unless_it_is_named(tmp_path: Path, word: str) -> None:
    names = ["0", "1", word] if word.isdigit() else ["a", "b", word]
    file = table(tmp_path, names * 2)
    assert folder(file).load().marks[0].startswith(f"{word!r} is a class of test: if it marks")
    assert folder(file, class_names=names).load().marks == ()


def test_grades_that_end_in_nine_are_classes(tmp_path: Path) -> None:
    for grades in ("0123456789", "0990990990"):
        assert folder(table(tmp_path, list(grades))).load().marks == ()


@pytest.mark.parametrize("code", [-9, 99, 2])
@pytest.mark.parametrize("unlabelled", ["refuse", "drop"])
def test_codes_out_of_the_classes_of_an_array_are_refused(
    tmp_path: Path, code: int, unlabelled: str
) -> None:
    arrays = {"images": random_images(4, 32, 1), "labels": np.array([0, code, 1, 0])}
    np.savez(tmp_path / "a.npz", **arrays)
    source = Npz(file=str(tmp_path / "a.npz"), class_names=["a", "b"], unlabelled=unlabelled)
    with pytest.raises(InvalidDataError, match=rf"labels from .*{code}.* they are 0 to 1"):
        source.load()
