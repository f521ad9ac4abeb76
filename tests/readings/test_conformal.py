"""Conformal sets of stored cells: coverage inside its band without a shift, below it with one."""

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from validated import MULTI_LABEL, read_part, write_validated

from medrobust.cli.report import main as report_command
from medrobust.exceptions import ConfigurationError, UnknownNameError
from medrobust.metrics.scores import probabilities
from medrobust.readings import Conformal
from medrobust.readings.cells import answer_sets
from medrobust.readings.lookup import asked, words


def read(root: Path, *readings: str) -> tuple[list[dict[str, str]], str]:
    (rows,), part = read_part(root, readings or ("conformal",), "conformal", "conformal.csv")
    return rows, part


def test_coverage_is_that_of_the_quantile_of_validation(tmp_path):
    store = write_validated(tmp_path / "store")
    rows, _ = read(store.root, "conformal", "conformal.by_class=false")
    cells = {cell.fingerprint: cell for cell in store.cells()}
    val = next(cell for cell in cells.values() if cell.spec.split == "val")
    chances = probabilities(val.arrays["logits"], "multi-class")
    quantile = np.sort(1 - chances[np.arange(200), val.data.labels])[int(np.ceil(201 * 0.9)) - 1]
    assert len(rows) == 5
    for row in rows:
        cell = cells[row["cell"]]
        sets = 1 - probabilities(cell.arrays["logits"], "multi-class") <= quantile
        assert float(row["quantile"]) == pytest.approx(quantile)
        covered = sets[np.arange(300), cell.data.labels]
        assert float(row["coverage"]) == pytest.approx(covered.mean())
        assert float(row["size"]) == pytest.approx(sets.sum(axis=1).mean())
        assert float(row["singletons"]) == pytest.approx((sets.sum(axis=1) == 1).mean())
        assert float(row["least_class_coverage"]) == pytest.approx(
            min(covered[cell.data.labels == k].mean() for k in range(3))
        )


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_a_shift_is_found_and_exchangeable_images_stay_inside(tmp_path, method):
    typed = ("conformal", f"conformal.method={method}")
    fine = write_validated(tmp_path / "fine" / "store", fall=0.0)
    rows, page = read(fine.root, *typed)
    assert sum(row["verdict"] == "below" for row in rows) <= 1
    broken = write_validated(tmp_path / "broken" / "store", fall=0.2, severities=(5,))
    rows, page = read(broken.root, *typed)
    below = {row["severity"] for row in rows if row["verdict"] == "below"}
    assert below == {"5"}
    assert "the promise of 90 % is broken in 2 of 3 cells" in page


def test_weighted_sets_say_how_few_images_carry_the_weight(tmp_path):
    store = write_validated(tmp_path / "store", features=True)
    rows, _ = read(store.root, "conformal", "conformal.weighted=true")
    weighted = {row["severity"]: row for row in rows if row["procedure"] == "weighted"}
    assert set(weighted) == {"0", "1", "5"}
    sizes = {level: float(row["effective_size"]) for level, row in weighted.items()}
    assert 1 <= sizes["5"] < sizes["0"] <= 200


def test_labels_are_missed_no_more_often_than_asked_without_a_shift(tmp_path):
    store = write_validated(tmp_path / "store", label_kind=MULTI_LABEL, count=800, val_count=400)
    rows, _ = read(store.root)
    clean = next(row for row in rows if row["severity"] == "0")
    assert clean["procedure"] == "risk_control"
    assert float(clean["coverage"]) > 0.87
    assert {row["verdict"] for row in rows if row["severity"] == "5"} == {"below"}


def test_patients_widen_the_band(tmp_path):
    widths = []
    for name, patients in (("alone", None), ("grouped", 6)):
        store = write_validated(tmp_path / name / "store", patients=patients)
        split = [row for row in read(store.root)[0] if row["procedure"] == "split"]
        widths.append(np.mean([float(r["band_high"]) - float(r["band_low"]) for r in split]))
    assert widths[1] >= widths[0]


def test_too_few_patients_for_a_band_give_no_verdict():
    covered = np.repeat([1.0, 1, 1, 1, 1, 1, 0, 0], 3)  # images of a patient are all alike
    data = SimpleNamespace(data=range(24))
    row = SimpleNamespace(validation=data, groups=np.repeat(np.arange(8), 3))
    assert np.isnan(answer_sets._band(row, covered, 0.1)).all()
    row.groups = None
    assert not np.isnan(answer_sets._band(row, covered, 0.1)).any()


def test_cells_without_a_band_are_counted_in_words(tmp_path):
    store = write_validated(tmp_path / "store", val_count=10, patients=30, fall=0.4)
    rows, page = read(store.root, "conformal", "conformal.by_class=false")
    without = [row for row in rows if row["band_low"] == ""]
    assert 0 < len(without) < len(rows) == 5
    assert {row["verdict"] for row in without} == {""}
    assert f"no band in {len(without)} of 5 cells: images of a patient are so alike" in page
    assert f"broken in 2 of {5 - len(without)} cells" in page
    assert "no band</td>" in page


@pytest.mark.parametrize(
    ("typed", "more", "sentence"),
    [
        (("conformal.alpha=0.004",), {}, "alpha=0.004 needs 249"),
        (("conformal",), {"val_labels": np.zeros(200, np.int64)}, "are of one class"),
        (("conformal.weighted=true",), {}, "weighted sets need features"),
    ],
)
def test_what_cannot_be_promised_is_a_sentence(tmp_path, typed, more, sentence):
    store = write_validated(tmp_path / "store", **more)
    assert sentence in read(store.root, "conformal", *typed)[1]


def test_classes_with_too_few_validation_images_are_named(tmp_path):
    labels = np.where(np.arange(200) < 5, 2, np.arange(200) % 2)
    store = write_validated(tmp_path / "store", val_labels=labels)
    rows, page = read(store.root)
    assert "by class, class 2 is in every set: fewer than 9 validation images" in page
    assert len([row for row in rows if row["procedure"] == "by_class"]) == 5


def test_readings_are_asked_for_by_name_with_their_keys_and_written_as_typed():
    found = asked({"selective": {}, "conformal": {"alpha": 0.2}})
    assert found["conformal"] == Conformal(alpha=0.2)
    assert words(found) == ["readings=selective,conformal", "readings.conformal.alpha=0.2"]
    with pytest.raises(UnknownNameError, match="conformal"):
        asked({"conformel": {}})
    with pytest.raises(ConfigurationError, match=r"readings\.conformal"):
        asked({"conformal": {"alfa": 0.1}})
    with pytest.raises(ConfigurationError, match=r"conformal.alpha=1"):
        Conformal(alpha=1)


def test_a_report_takes_readings_as_a_run_does(tmp_path, capsys):
    store = write_validated(tmp_path / "store")
    arguments = ("readings=conformal,selective", "readings.conformal.alpha=0.2")
    switches = ["--out", str(tmp_path / "out"), "--light", "--no-figures"]
    assert report_command([str(store.root), *switches, *arguments]) == 0
    assert (tmp_path / "out" / "selective.csv").exists()
    content = (tmp_path / "out" / "conformal.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(content)))
    assert {row["alpha"] for row in rows} == {"0.2"}
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "readings=conformal,selective readings.conformal.alpha=0.2" in page
