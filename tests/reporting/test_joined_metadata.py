"""Columns that a table got after its cells were computed: subgroups without a new cell."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_folder, write_table
from stores import write_matrix

from medrobust.base.split_facts import SplitFacts
from medrobust.cli.report import main
from medrobust.datasets import Folder
from medrobust.exceptions import ConfigurationError, InvalidDataError

FACTS = (
    "name", "split", "fingerprint", "ids", "target", "class_names", "label_kind", "positive",
    "groups", "origin", "license",
)  # fmt: skip


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, list[dict[str, str]]]:
    """A store of own data without metadata; the table then gets a column of ages."""
    table = write_folder(tmp_path / "in", classes=("a", "b"), per_class=60)
    data = Folder(csv=str(table), name="ward", size=32, cache_dir=str(tmp_path / "cache")).load()
    facts = SplitFacts(**{name: getattr(data, name) for name in FACTS})
    write_matrix(tmp_path / "store", facts, {"m": 1.0}, corruptions=("contrast",), severities=(1,))
    with table.open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    for number, row in enumerate(rows):
        row["age"] = "" if number == 0 else str(20 + 3 * (number % 20))
    write_table(table, rows)
    return table, rows


def report(folder: Path, table: Path, *more: str) -> list[dict[str, str]]:
    words = ["dataset=folder", f"dataset.csv={table}", "dataset.name=ward", "dataset.size=32"]
    words += ["dataset.metadata_columns=[age]", "dataset.bins={age: [40,60]}", *more]
    out = ["--out", str(folder / "out"), "--light", "--no-figures"]
    assert main([str(folder / "store"), *words, *out]) == 0
    text = (folder / "out" / "subgroups.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_later_columns_make_subgroups_of_stored_cells(
    tmp_path: Path, stored: tuple[Path, list[dict[str, str]]]
) -> None:
    table, rows = stored
    before = sorted(path for path in (tmp_path / "store").rglob("*"))
    found = [row for row in report(tmp_path, table) if row["of"] == "error"]
    assert sorted(path for path in (tmp_path / "store").rglob("*")) == before
    ages = [row["age"] for row in rows if row["split"] == "test"]
    counts = [
        sum(bool(age) and low <= float(age) < high for age in ages)
        for low, high in ((0, 40), (40, 60), (60, 99))
    ]
    counts.append(ages.count(""))
    names = ["under 40", "40 to under 60", "60 and over", "missing"]
    told = [(row["group"], row["images"]) for row in found if row["group"]]
    assert told == [(name, str(count)) for name, count in zip(names, counts, strict=True)]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "metadata of ward joined for this report: age" in page
    assert str(table) not in page


def test_a_table_of_other_images_is_refused_in_a_sentence(
    tmp_path: Path, stored: tuple[Path, list[dict[str, str]]]
) -> None:
    table, _ = stored
    with pytest.raises(ConfigurationError, match="store has no cell of the data set 'clinic'"):
        report(tmp_path, table, "dataset.name=clinic")
    (table.parent / ".medrobust_key").unlink()
    with pytest.raises(ConfigurationError, match="no image of ward/test is in the table"):
        report(tmp_path, table)
    with pytest.raises(ConfigurationError, match="own data alone"):
        main([str(tmp_path / "store"), "dataset=phantoms"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bins", "message"),
    [
        ({"sex": [1]}, "dataset.bins names 'sex'"),
        ({"age": [60, 40]}, "must be numbers that rise"),
        ({"age": []}, "must be numbers that rise"),
        ({"age": 40}, "must be numbers that rise"),
        ([30], "must name columns"),
    ],
)
def test_bins_that_are_none_are_refused(
    stored: tuple[Path, list[dict[str, str]]], bins: Any, message: str
) -> None:
    source = Folder(csv=str(stored[0]), name="ward", metadata_columns=["age"], bins=bins)
    with pytest.raises(ConfigurationError, match=message):
        source.metadata_of("test")


def test_a_value_that_is_no_number_is_named_with_its_line(
    stored: tuple[Path, list[dict[str, str]]],
) -> None:
    table, rows = stored
    rows[3] |= {"age": "forty"}
    write_table(table, rows)
    source = Folder(csv=str(table), name="ward", metadata_columns=["age"], bins={"age": [40]})
    with pytest.raises(InvalidDataError, match=r"line 5.*'age' has bins.*'forty' is no number"):
        source.metadata_of("test")
    ids, values = replace(source, bins=None).metadata_of("test")
    assert len(ids) == len(values) == sum(row["split"] == "test" for row in rows)
    assert "forty" in np.unique(values)
