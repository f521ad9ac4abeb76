"""Errors within the groups of metadata columns: the numbers, the files, the page."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from stores import SEVEN, cell_key, data_record, random_logits, write_cell

from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import Store
from medrobust.metrics.intervals import wilson
from medrobust.readings.subgroups import DIFFERENCE_COLUMNS, SUBGROUP_COLUMNS
from medrobust.reporting import ExpectedTable, Report, make_report

COUNT, COLUMNS, LEVELS = 90, SEVEN[:2], (1, 3)
SITES = np.where(np.arange(COUNT) < 30, "<b>north</b>", "south")
SITES[80:] = "tiny"
CLASSES = np.where(np.arange(COUNT) % 3 == 0, "one", "mixed")
PATIENTS = np.array([f"p{i // 4}" for i in range(COUNT)])


def record(label_kind: str = "multi-class", classes: int = 3) -> SplitFacts:
    data = data_record("ward", count=COUNT, classes=classes, label_kind=label_kind, origin="own")
    metadata = np.stack([SITES, CLASSES], axis=1)
    columns = ("site", "kind")
    return replace(data, groups=PATIENTS, metadata=metadata, metadata_columns=columns)


def report(folder: Path, data: SplitFacts, rows: np.ndarray | None = None) -> Report:
    """Report two models, on all images or on some rows, whose logits are the same."""
    store, cells = Store(folder / "store"), []
    kept = data
    if rows is not None:
        print_ = fingerprint([data.fingerprint, rows.tolist()])
        parts = {"labels": data.labels[rows], "ids": data.ids[rows], "groups": data.groups[rows]}
        kept = replace(data, fingerprint=print_, metadata=None, metadata_columns=(), **parts)
    for model in ("m1", "m2"):
        for name, level in [("clean", 0), *((c, s) for c in COLUMNS for s in LEVELS)]:
            logits = random_logits(data, cell_key(data, model, name, level), 0.7)
            logits = logits if rows is None else logits[rows]
            key = cell_key(kept, model, name, level)
            key = replace(key, head={**key.head, "absent": [["none"]]})  # labels are predicted, too
            cells.append(write_cell(store, kept, key, logits=logits))
    expected = [ExpectedTable("ward", "test", "imagenet_c", COLUMNS, LEVELS)]
    made = make_report(
        cells, expected=expected, missing=[], reference=None, reference_cells=[], notes=[],
        folder=folder / "out", run={},
    )  # fmt: skip
    made.write()
    return made


def table(made: Report, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((made.folder / name).read_text("utf-8"))))


@pytest.mark.slow
@pytest.mark.parametrize("label_kind", ["multi-class", "multi-label, binary-class"])
def test_a_group_has_the_numbers_that_a_set_of_its_images_alone_would_have(
    tmp_path: Path, label_kind: str
) -> None:
    data = record(label_kind)
    rows = [
        row for row in table(report(tmp_path, data), "subgroups.csv") if row["group"] == "south"
    ]
    alone = table(report(tmp_path / "alone", data, np.flatnonzero(SITES == "south")), "summary.csv")
    assert len(rows) == 4, "two models, two kinds of errors"
    for row in rows:
        assert (row["images"], row["patients"], row["note"]) == ("50", "13", "")
        for metric in ("clean", "mean"):
            (same,) = (
                line
                for line in alone
                if (line["model"], line["of"], line["metric"]) == (row["model"], row["of"], metric)
            )
            for suffix, name in (("", "value"), ("_low", "low"), ("_high", "high")):
                assert float(row[metric + suffix]) == pytest.approx(float(same[name]), abs=1e-12)
        assert row["covers"] == same["covers"]


def test_the_balanced_error_of_a_group_is_that_of_scikit_learn(tmp_path: Path) -> None:
    data = record()
    made = report(tmp_path, data)
    chosen = SITES == "<b>north</b>"
    logits = random_logits(data, cell_key(data, "m1"), 0.7)[chosen]
    truth = 1 - balanced_accuracy_score(data.labels[chosen], logits.argmax(axis=1))
    (row,) = (
        row
        for row in table(made, "subgroups.csv")
        if (row["group"], row["model"], row["of"]) == ("<b>north</b>", "m1", "balanced_error")
    )
    assert float(row["clean"]) == pytest.approx(truth)
    assert float(row["clean_low"]) < truth < float(row["clean_high"])


def test_small_groups_and_groups_of_one_class_are_counted_and_given_no_number(
    tmp_path: Path,
) -> None:
    made = report(tmp_path, record())
    rows = table(made, "subgroups.csv")
    assert tuple(rows[0]) == SUBGROUP_COLUMNS
    notes = {row["group"]: (row["images"], row["note"], row["clean"] != "") for row in rows}
    assert notes == {
        "<b>north</b>": ("30", "", True),
        "south": ("50", "", True),
        "tiny": ("10", "fewer than 20 images", False),
        "mixed": ("60", "", True),
        "one": ("30", "one class only", False),
    }
    page = (made.folder / "report.html").read_text("utf-8")
    section = page[page.index('id="subgroups"') :]
    assert "a difference is no proof of unfairness" in section
    assert "&lt;b&gt;north&lt;/b&gt;" in section
    assert "<b>north" not in page
    assert section.count("fewer than 20 images</td>") == 4, "once a model and kind of error"
    assert 'href="subgroups.csv"' in page


def test_a_set_without_metadata_has_no_subgroups(tmp_path: Path) -> None:
    made = report(tmp_path, replace(record(), metadata=None, metadata_columns=()))
    assert made.sections == ()
    assert not (made.folder / "subgroups.csv").exists()
    assert "subgroups" not in (made.folder / "report.html").read_text("utf-8")


def test_a_column_that_tells_lesions_apart_is_no_table_of_groups(tmp_path: Path) -> None:
    data = record()
    lesions = np.array([f"lesion {i // 3}" for i in range(COUNT)])
    columns = np.concatenate([data.metadata, lesions[:, None]], axis=1)
    wider = replace(data, metadata=columns, metadata_columns=(*data.metadata_columns, "lesion_id"))
    made = report(tmp_path, wider)
    assert {row["column"] for row in table(made, "subgroups.csv")} == {"site", "kind"}


def test_a_group_differs_from_all_others_by_the_interval_of_newcombe(tmp_path: Path) -> None:
    data = replace(record(), groups=None)
    made = report(tmp_path, data)
    rows = [row for row in table(made, "subgroup_differences.csv") if row["of"] == "error"]
    assert tuple(rows[0]) == DIFFERENCE_COLUMNS
    north, south = SITES == "<b>north</b>", SITES == "south"
    wrong = random_logits(data, cell_key(data, "m1"), 0.7).argmax(axis=1) != data.labels
    (row,) = (
        r
        for r in rows
        if (r["model"], r["column"], r["group"], r["condition"])
        == ("m1", "site", "<b>north</b>", "clean")
    )
    one, two = wrong[north], wrong[~north]
    ends = [(x.mean(), *wilson(x.mean(), len(x))) for x in (one, two)]
    difference = ends[0][0] - ends[1][0]
    low = difference - np.hypot(ends[0][0] - ends[0][1], ends[1][2] - ends[1][0])
    high = difference + np.hypot(ends[0][2] - ends[0][0], ends[1][0] - ends[1][1])
    found = [float(row[name]) for name in ("value", "others", "difference", "low", "high")]
    assert found == pytest.approx([one.mean(), two.mean(), difference, low, high], abs=1e-9)
    assert (row["images"], row["images_others"]) == ("30", str(90 - 30))
    assert (float(row["p"]) < 0.05) == (not low <= 0 <= high)
    assert float(row["p_holm"]) >= float(row["p"])
    conditions = {r["condition"] for r in rows if r["group"] == "<b>north</b>"}
    assert conditions == {"clean", "mean", *COLUMNS}
    assert int(south.sum()) == 50
    groups = {(r["column"], r["group"]) for r in rows}
    assert ("site", "tiny") not in groups  # too few
    assert ("kind", "one") not in groups  # of one class only


def test_of_two_groups_one_difference_is_told(tmp_path: Path) -> None:
    sexes = np.where(np.arange(COUNT) % 2 == 0, "female", "male")
    data = replace(record(), metadata=sexes[:, None], metadata_columns=("sex",))
    rows = table(report(tmp_path, data), "subgroup_differences.csv")
    assert {row["group"] for row in rows} == {"female"}


def test_ages_stand_in_their_order_on_the_page(tmp_path: Path) -> None:
    ages = np.array(["60 and over", "under 40", "40 to under 60"])[np.arange(COUNT) // 4 % 3]
    data = replace(record(), metadata=ages[:, None], metadata_columns=("age",))
    made = report(tmp_path, data)
    page = (made.folder / "report.html").read_text("utf-8")
    section = page[page.index('id="subgroups"') :]
    places = [section.index(f"<td>{name}</td>") for name in ("under 40", "40 to under 60")]
    assert places == sorted(places)
    assert places[1] < section.index("<td>60 and over</td>")
    order = [row["group"] for row in table(made, "subgroups.csv")]
    assert order[:3] == ["under 40", "40 to under 60", "60 and over"]


def test_of_three_groups_both_that_are_large_enough_differ_from_all_others(tmp_path: Path) -> None:
    sizes = {"tiny": 10, "middle": 30, "old": COUNT - 40}
    ages = np.repeat(list(sizes), list(sizes.values()))
    data = replace(record(), metadata=ages[:, None], metadata_columns=("age",))
    rows = table(report(tmp_path, data), "subgroup_differences.csv")
    assert {row["group"] for row in rows} == {"middle", "old"}
