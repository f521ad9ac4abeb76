"""Every empty number has its reason, and intervals that hold too seldom their mark."""

import csv
import io
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from rich.console import Console
from stores import SEVEN, cell_key, data_record, write_cell

from medrobust.base.targets import Labels
from medrobust.evaluation.store import Store
from medrobust.readings.cells.added_loss import added_loss
from medrobust.reporting import ExpectedTable, Report, make_report
from medrobust.reporting.by_metric import doubts, mean_at, printed_estimates
from medrobust.reporting.figures import interval_text
from medrobust.reporting.measure import Measured
from medrobust.reporting.reasons import COMPARED, REASON_COLUMNS, section_reasons
from medrobust.reporting.sections import caption
from medrobust.reporting.terminal import print_matrix
from medrobust.tasks.base import Section, Terms

BOUNDS = ("value", "low", "high")


def made(folder, data, *, wrong, reference=None, left_out=(), twin=None) -> Report:
    """Report two models, of which one errs on the first images and the other on one more."""
    store, cells = Store(folder / "store"), []
    known = np.eye(len(data.class_names), dtype=np.float32)
    rng = np.random.default_rng(0)
    for more, model in enumerate(("one", "two")):
        for name, level in (("clean", 0), (SEVEN[0], 1)):
            said = data.labels.copy()
            said[: wrong + more] = (said[: wrong + more] + 1) % len(known)
            logits = 3 * known[said] + 0.1 * rng.random((len(said), len(known)), dtype=np.float32)
            cells.append(write_cell(store, data, cell_key(data, model, name, level), logits=logits))
    cells = [cell for cell in cells if (cell.spec.model, cell.spec.severity) not in left_out]
    if twin is not None:  # the first model under another name, too
        first = [cell for cell in cells if cell.spec.model == "one"]
        cells += [replace(cell, spec=replace(cell.spec, model=twin)) for cell in first]
    report = make_report(
        cells,
        expected=[ExpectedTable(data.name, "test", "imagenet_c", SEVEN[:1], severities=(1,))],
        missing=[],
        reference=reference,
        reference_cells=[cell for cell in cells if cell.spec.model == reference],
        notes=[],
        folder=folder / "out",
        run={},
    )
    report.write()
    return report


def read(report, name):
    return list(csv.DictReader(io.StringIO((report.folder / name).read_text("utf-8"))))


def of_one_class(count):
    data = data_record(count=count)
    return replace(data, target=Labels(np.zeros(count, np.int64)))


def patients(count, size):
    return data_record(count=count, groups=np.array([f"p{i // size}" for i in range(count)]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (data_record(count=200), 1),
        (data_record(count=200), 30),
        (data_record(count=9, classes=3), 0),
        (of_one_class(160), 2),
        (patients(160, 80), 3),
        (data_record(count=30, classes=8), 4),
    ],
    ids=["few wrong", "plenty", "nine images", "one class", "two patients", "rare classes"],
)
def test_every_empty_number_of_the_tables_has_its_reason(tmp_path, data, wrong):
    report = made(tmp_path, data, wrong=wrong)
    said = {(row["table"], row["line"]): row for row in report.reasons}
    tables = {"results.csv": BOUNDS, "comparisons.csv": COMPARED, "summary.csv": BOUNDS}
    for table, columns in tables.items():
        for line, row in enumerate(read(report, table), 2):
            empty = [name for name in columns if not row[name]]
            found = said.get((table, str(line)))
            if empty:
                assert found is not None, row
                assert found["kind"] == "empty"
                assert found["which"] == ", ".join(empty)
                name = row.get("metric", row.get("of"))
                assert found["metric"] == (f"{name} of {row['of']}" if "covers" in row else name)
                assert len(found["reason"]) > 10, row
            elif found is not None:
                assert found["kind"] == "caution"
    there = (report.folder / "reasons.csv").is_file()
    assert there == bool(report.reasons)
    assert not there or read(report, "reasons.csv") == list(report.reasons)


def test_ratios_and_differences_of_four_patients_are_empty_with_the_reason(tmp_path):
    """Of two to four patients they held 82 to 89 % of the true ones."""
    few = made(tmp_path / "few", patients(160, 40), wrong=30, reference="one")
    why = "there are 4 patients, 5 are needed"
    said = [row["reason"] for row in few.reasons if row["metric"] == "mCE of error"]
    assert why in said
    compared = [row for row in read(few, "comparisons.csv") if row["of"] == "error"]
    assert all(row["low"] == row["high"] == row["p"] == "" for row in compared)
    assert all(why in row["reason"] for row in compared)
    enough = made(tmp_path / "enough", patients(160, 32), wrong=40, reference="one")
    compared = [row for row in read(enough, "comparisons.csv") if row["of"] == "error"]
    assert all(row["low"] and row["p"] for row in compared)


def test_another_name_of_the_reference_is_its_own_reference(tmp_path):
    report = made(tmp_path, data_record(count=60), wrong=6, reference="one", twin="again")
    said = {(row["model"], row["metric"]): row["reason"] for row in report.reasons}
    for metric in ("CE", "mCE", "clean_error_ratio"):
        for model in ("one", "again"):
            assert "its own reference" in said[model, f"{metric} of error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "metric", "model", "reason"),
    [
        ({}, "mCE", "one", "there is no reference"),
        ({"reference": "one"}, "mCE", "one", "its own reference"),
        ({"reference": "one"}, "clean_error_ratio", "one", "its own reference"),
        ({"reference": "other"}, "CE", "two", "cells of its reference, other, are missing"),
        ({"reference": "one", "left_out": {("one", 1)}}, "CE", "two", "cells of its reference"),
        ({"reference": "one", "left_out": {("two", 1)}}, "mean", "two", "it lacks 1 cell of 1"),
        ({"reference": "one", "left_out": {("two", 0)}}, "clean", "two", "it lacks 1 cell of 1"),
        ({"reference": "one"}, "relative_CE", "two", "loses nothing"),
    ],
)
def test_an_aggregate_says_what_it_lacks(tmp_path, how, metric, model, reason):
    report = made(tmp_path, data_record(count=60), wrong=6, **how)
    assert reason in {
        (row["metric"], row["model"]): row["reason"]
        for row in report.reasons
        if row["table"] == "summary.csv"
    }.get((f"{metric} of error", model), "")


def test_intervals_of_few_wrong_answers_are_cautioned_of_and_those_of_plenty_are_not(tmp_path):
    few, plenty = (
        made(tmp_path / str(wrong), data_record(count=200), wrong=wrong) for wrong in (1, 30)
    )
    metrics = {"brier", "ece", "adaptive_ece"}
    cautions = [row for row in few.reasons if row["kind"] == "caution"]
    assert {row["metric"] for row in cautions} == metrics
    assert len(cautions) == 4 * len(metrics)
    assert all("in simulations" in row["reason"] for row in cautions)
    assert not [row for row in plenty.reasons if row["kind"] == "caution"]


def test_page_and_terminal_mark_an_interval_that_holds_too_seldom(tmp_path, monkeypatch):
    (matrix,) = made(tmp_path, data_record(count=200), wrong=1).matrices
    for found in chain.from_iterable(printed_estimates(matrix, "brier")):
        assert interval_text(found).endswith("§") or found.value is None
    assert doubts(matrix, "brier").startswith("§: such as 5 images")
    assert doubts(matrix, "brier") in caption(matrix, "brier")
    assert not doubts(matrix, "error")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert '"","§"]' in page.replace("\\u00a7", "§")
    console = Console(width=140, file=io.StringIO())
    monkeypatch.setattr(type(matrix), "shown", "brier")
    print_matrix(matrix, console)
    assert "§: such as 5 images" in console.file.getvalue()


def test_tables_of_readings_say_why_numbers_are_empty_and_which_to_doubt():
    head = b"label,dataset,corruption,severity,value,low,high,note,cell\n"
    lines = b"m,d,clean,0,1,,,,a\nm,d,fog,2,,,,,b\nm,d,fog,3,,,,too few,c\nm,d,fog,4,1,0,2,,e\n"
    section = Section(
        "",
        0,
        files={"own.csv": head + lines, "other.csv": head + lines, "text.md": b"# none"},
        empty={
            "own.csv": {
                "value": "nothing there",
                **dict.fromkeys(("low", "high"), lambda row: f"no bound of {row['label']}"),
            }
        },
        doubts={"own.csv": {5: ("low, high", "few")}},
    )
    said = list(section_reasons([section]))
    assert {row["table"] for row in said} == {"own.csv"}
    names = ("line", "place", "which", "kind", "reason", "cell")
    assert [tuple(row[name] for name in names) for row in said] == [
        ("2", "clean", "low, high", "empty", "no bound of m", "a"),
        ("3", "fog s2", "value", "empty", "nothing there", "b"),
        ("3", "fog s2", "low, high", "empty", "no bound of m", "b"),
        ("4", "fog s3", "value, low, high", "empty", "too few", "c"),
        ("5", "fog s4", "low, high", "caution", "few", "e"),
    ]
    assert all(tuple(row) == REASON_COLUMNS for row in said)


def test_ratios_and_macro_f1_of_rare_classes_say_how_few_they_are(tmp_path):
    data = data_record(count=20, classes=8)
    report = made(tmp_path, data, wrong=4, reference="one")
    few = "a class has 2 images, {} are needed".format
    said = {(row["metric"], row["model"]): row for row in report.reasons}
    for name in ("CE", "mCE", "clean_error_ratio"):
        row = said[f"{name} of balanced_error", "two"]
        assert (row["which"], row["reason"]) == ("low, high", few(5))
        assert (f"{name} of error", "two") not in said
    assert said["macro_f1", "two"]["kind"] == "caution"
    assert said["macro_f1", "two"]["reason"].startswith(few(3))


def test_what_is_made_of_a_loss_without_interval_has_none_for_the_same_reason(
    tmp_path, monkeypatch
):
    """Means over severities and corruptions, all ratios and every paired difference."""
    plain, why = Measured.terms, "fewer than 5 abnormal images or patients"

    def terms(self, cell, loss):
        found = plain(self, cell, loss)
        return replace(found, unbounded=why) if isinstance(found, Terms) else found

    monkeypatch.setattr(Measured, "terms", terms)
    report = made(tmp_path, data_record(count=60), wrong=6, reference="one")
    said = {(row["table"], row["line"]): row["reason"] for row in report.reasons}
    ratios = ("CE", "mCE", "clean_error_ratio")
    for line, row in enumerate(read(report, "summary.csv"), 2):
        if row["of"] != "error" or (row["metric"] in ratios and row["model"] == "one"):
            continue
        if row["metric"] in ("clean", "severity_mean", "mean", *ratios):
            assert (row["low"], row["high"]) == ("", "")
            assert said["summary.csv", str(line)] == why
    for line, row in enumerate(read(report, "comparisons.csv"), 2):
        if row["of"] == "error":
            assert (row["low"], row["p"], row["p_familywise"], row["test"]) == ("", "", "", "")
            assert said["comparisons.csv", str(line)].endswith(why)
    (matrix,) = report.matrices
    assert (mean_at(matrix, "error", 1, 0).low, mean_at(matrix, "error", 1, 0).note) == (None, why)
    clean, dark = (matrix.cells_of(1, condition) for condition in ("clean", "mean"))
    added = added_loss(matrix.measured, clean, {1: dark}, "error")
    assert added == {1: (pytest.approx(0), -1.0, 1.0)}
