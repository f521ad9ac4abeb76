"""Tables as programs write them: delimiters, quotation marks, encodings, decimals, paths."""

import csv
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medrobust.datasets import Folder
from medrobust.datasets.own.patients import check_patients
from medrobust.datasets.own.spellings import one_spelling
from medrobust.datasets.own.table import parsed_table, read_table
from medrobust.exceptions import DatasetNotFoundError, InvalidDataError


def table(tmp_path: Path, text: str | bytes) -> Any:
    file = tmp_path / "t.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(file)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_are_found_whatever_stands_within_quotation_marks(
    tmp_path: Path, delimiter: str, end: str
) -> None:
    header = ["path", "label", '"age, sex; a\tb | c"']
    rows = [["a.png", "x", '"1, 2; 3\t4 | 5"'], ["b.png", '"y ""z"""', "6"]]
    text = end.join(delimiter.join(row) for row in (header, *rows)) + end
    found = table(tmp_path, text)
    assert list(found.columns) == ["path", "label", "age, sex; a\tb | c"]
    assert found.columns["label"] == ["x", 'y "z"']
    assert found.columns["age, sex; a\tb | c"] == ["1, 2; 3\t4 | 5", "6"]


def test_decimal_commas_are_no_delimiters(tmp_path: Path) -> None:
    found = table(tmp_path, "age, years;path;label\n63,5;a.png;1\n7,25;b.png;0\n")
    assert found.columns == {
        "age, years": ["63,5", "7,25"],
        "path": ["a.png", "b.png"],
        "label": ["1", "0"],
    }
    tabs = table(tmp_path, "path\tlabel\tx,y\na.png\t1\t0,5\n")
    assert list(tabs.columns) == ["path", "label", "x,y"]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=; "])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf"])
def test_the_first_line_of_excel_names_the_delimiter(
    tmp_path: Path, first: str, bom: bytes
) -> None:
    text = f"{first}\r\npath;label,text\r\na.png;1,5\r\nb.png;2\r\n"
    found = table(tmp_path, bom + text.encode())
    assert found.columns == {"path": ["a.png", "b.png"], "label,text": ["1,5", "2"]}
    assert found.place(0) == "t.csv, line 3"
    odd = table(tmp_path, bom + b"sep=~\npath~label\na,b.png~1\n")
    assert odd.columns == {"path": ["a,b.png"], "label": ["1"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_marks_of_the_order_of_bytes_are_no_part_of_the_first_column(
    tmp_path: Path, encoding: str
) -> None:
    text = '"path"\tlabel\nü.png\tx\n'
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    found = table(tmp_path, (mark + text).encode(encoding))
    assert found.columns == {"path": ["ü.png"], "label": ["x"]}


def test_a_row_of_another_length_is_still_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="line 3: 3 fields, but 2 columns"):
        table(tmp_path, "path,label\na.png,1\nb.png,1,2\n")
    with pytest.raises(InvalidDataError, match="line 4: 1 field, but 2 columns"):
        table(tmp_path, "sep=;\npath;label\na.png;1\nb.png\n")


def scans(tmp_path: Path, text: str, **options: Any) -> Any:
    for name in ("a", "b"):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("L", (32, 32), ord(name)).save(tmp_path / f"in/{name}.png")
    (tmp_path / "t.csv").write_text(text)
    return Folder(csv=str(tmp_path / "t.csv"), size=32, **options).load()


def test_numbers_with_decimals_are_labels_where_classes_are_named(tmp_path: Path) -> None:
    for text in (
        "path,label\nin/a.png,0.0\nin/b.png,1.0\n",
        "path;label\nin/a.png;0,0\nin/b.png;1,0\n",
    ):
        assert scans(tmp_path, text, class_names=["no", "yes"]).labels.tolist() == [0, 1]
    flags = "path;mass;cyst\nin/a.png;0,0;1.0\nin/b.png;1,0;0\n"
    assert scans(tmp_path, flags, label_column=["mass", "cyst"]).labels.tolist() == [[0, 1], [1, 0]]
    with pytest.raises(InvalidDataError, match=r"line 2: label '0\.5' is none of"):
        scans(tmp_path, "path,label\nin/a.png,0.5\nin/b.png,1.0\n", class_names=["no", "yes"])


def test_paths_of_windows_are_read_and_those_with_a_drive_refused(tmp_path: Path) -> None:
    found = scans(tmp_path, "path,label\nin\\a.png,0\n.\\in\\b.png,1\n")
    assert found.images[:, 0, 0].tolist() == [97, 98]
    for path in ("C:\\in\\a.png", "C:a.png", "\\\\server\\in\\a.png", "\\in\\a.png", "..\\a.png"):
        with pytest.raises(InvalidDataError, match="line 2: the path is empty or leaves"):
            scans(tmp_path, f"path,label\n{path},0\nin\\b.png,1\n")


def test_a_file_in_other_letters_is_pointed_at(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        scans(tmp_path, "path,label\nin/A.PNG,0\nin/b.png,1\n")
    assert "A.PNG" in str(caught.value)
    assert "a.png is there: upper and lower case count" in str(caught.value)
    assert "a.png" not in caught.value.for_records


def test_a_file_whose_name_has_other_signs_is_pointed_at(tmp_path: Path) -> None:
    composed, apart = "in/R\u00f6ntgen.png", "in/Ro\u0308ntgen.png"
    for named, lies in ((composed, apart), (apart, composed), ("in/c\u200b.png", "in/c.png")):
        scans(tmp_path, "path,label\nin/a.png,0\nin/b.png,1\n")
        (tmp_path / "in" / "b.png").rename(tmp_path / lies)
        with pytest.raises(DatasetNotFoundError, match="looks the same is there, written in other"):
            scans(tmp_path, f"path,label\n{named},0\nin/a.png,1\n")
        (tmp_path / lies).unlink()


@pytest.mark.parametrize("code", ["utf-16-le", "utf-16-be", "utf-16", "utf-32", "utf-8-sig"])
def test_a_table_of_utf_16_is_read_with_and_without_its_mark(tmp_path: Path, code: str) -> None:
    found = table(tmp_path, "path;label\na.png;Röntgen\n".encode(code))
    assert found.columns == {"path": ["a.png"], "label": ["Röntgen"]}


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    found = table(tmp_path, ",path,label,,\n0,a.png,x,,\n1,b.png,y,,\n")
    assert list(found.columns) == ["path", "label"]
    with pytest.raises(InvalidDataError, match="names a column twice"):
        table(tmp_path, "path,label,label\na.png,x,x\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04" + bytes(60), "an Excel or LibreOffice workbook, no table: save it as CSV"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "Excel workbook of the old kind"),
        (b"\x1f\x8b\x08" + bytes(60), "a gzip file"),
        (b"<!DOCTYPE html><p>log in", "a page of HTML"),
        (b'[{"path": "a.png"}]', "is JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b" \n", r"t\.csv is empty"),
        (
            "path,label\na.png,krätzig\n".encode("latin-1"),
            r"from line 2 on\); save it as CSV UTF-8",
        ),
        (b'path,label\na.png,x\nb.png,"y\n', "a quotation mark is left open"),
    ],
)
def test_what_is_no_table_is_called_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(InvalidDataError, match=said):
        table(tmp_path, content)


def test_quotation_marks_after_a_space_are_no_part_of_a_value(tmp_path: Path) -> None:
    found = table(tmp_path, 'path, label, "patient"\n0.png, "a, b", p0\n1.png, a, "p1"\n')
    assert found.columns == {
        "path": ["0.png", "1.png"],
        "label": ["a, b", "a"],
        "patient": ["p0", "p1"],
    }


def test_a_label_with_and_without_quotation_marks_is_refused_with_its_lines(
    tmp_path: Path,
) -> None:
    found = table(tmp_path, "label\tx\na\t0\nb\t0\n'b'\t0\n")
    with pytest.raises(InvalidDataError, match=r"'b' \(line 3\), \"'b'\" \(line 4\).*quotation"):
        one_spelling(found, found.columns["label"])


def test_a_folder_in_place_of_a_table_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="is a folder"):
        read_table(tmp_path)


def test_a_remark_above_the_header_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="without remarks above it"):
        table(tmp_path, "# exported\npath,label\na.png,1\n")


def test_patients_that_a_spreadsheet_rounded_are_refused_with_their_lines(tmp_path: Path) -> None:
    found = table(tmp_path, "patient,x\n1.23457E+05,0\n7,0\n1.23457E+11,0\n")
    with pytest.raises(InvalidDataError, match=r"lines 2, 4: .*rounded"):
        check_patients(found, found.columns["patient"])
    exact = table(tmp_path, "patient,x\nP1E+05,0\n1.00e+00,0\n12,0\n")
    check_patients(exact, exact.columns["patient"])


@pytest.mark.parametrize(
    ("field", "read"),
    [
        (' "fresh" look', '"fresh" look'),
        ('a "fresh" look', 'a "fresh" look'),
        (' 5" and 6" wide', '5" and 6" wide'),
        (' "a, b"', "a, b"),
        (' "a ""b"" c"', 'a "b" c'),
    ],
)
def test_quotation_marks_within_a_text_are_letters_of_it(field: str, read: str) -> None:
    rows = parsed_table("t.csv", f"path,note,label\n0.png,{field}, a\n1.png, plain, b\n")
    assert list(rows.columns["note"]) == [read, "plain"]
    assert list(rows.columns["label"]) == ["a", "b"]


@pytest.mark.parametrize("field", [' "fresh look', ' "fresh" "look', ' "a" b", c'])
def test_quotation_marks_that_unbalance_a_row_are_refused(field: str) -> None:
    with pytest.raises((csv.Error, InvalidDataError)):
        parsed_table("t.csv", f"path,note,label\n0.png,{field}, a\n1.png, plain, b\n")
