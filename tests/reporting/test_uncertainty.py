"""Intervals, marks, ranks, comparisons and means over sets, on synthetic stores."""

import numpy as np
import pytest
from stores import cell_key, data_record, write_cell, write_matrix

from medrobust.metrics import baseline, mcnemar
from medrobust.metrics.aggregates import error_influence, mce_interval
from medrobust.metrics.intervals import share_interval, wilson
from medrobust.reporting import make_report, reference_cells
from medrobust.reporting.expected import ExpectedTable, expected_from_cells
from medrobust.reporting.matrices import build_matrices
from medrobust.reporting.measure import Measured
from medrobust.reporting.reference import validation_cells

MODELS = {"weak": 0.5, "strong": 1.5}
TWO = ("contrast", "pixelate")


def report(store, cells, tmp_path, **more):
    found, _ = reference_cells(store, cells, "weak", command="")
    given = {
        "expected": expected_from_cells(cells),
        "missing": [],
        "reference": "weak",
        "reference_cells": found,
        "notes": [],
        "folder": tmp_path / "out",
        "run": {},
    }
    return make_report(cells, **(given | more))


def wrong(cell):
    return (cell.arrays["logits"].argmax(1) != cell.data.labels).astype(float)


def find(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def bounds(row):
    return float(row["low"]), float(row["high"])


def test_every_cell_has_wilsons_interval_and_every_number_lies_in_its_own(tmp_path):
    store, cells = write_matrix(tmp_path, data_record(), MODELS, corruptions=TWO)
    made = report(store, cells, tmp_path)
    rows = find(made.results, metric="error")
    for row, cell in zip(rows, cells, strict=True):
        assert bounds(row) == pytest.approx(wilson(wrong(cell).mean(), 60), abs=1e-12)
    for row in (*made.results, *made.summary):
        by_definition = row.get("reference") == row["model"]
        assert not (by_definition and row["low"]), row
        if row["metric"] in ("ece", "adaptive_ece"):
            assert row["low"] == row["high"] == ""  # 60 images are too few
        elif row["value"] and row["metric"] != "effective_robustness" and not by_definition:
            low, high = bounds(row)
            assert low <= float(row["value"]) <= high
            degenerate = row["metric"] == "rank" or row["model"] == made.matrices[0].reference
            assert low < high or degenerate, row


def test_aggregates_pair_the_images_of_model_and_reference(tmp_path):
    store, cells = write_matrix(tmp_path, data_record(), MODELS, corruptions=TWO, severities=(1, 2))
    made = report(store, cells, tmp_path)
    (mean,) = find(made.summary, metric="mean", of="error", model="strong")
    every = np.stack([wrong(cell) for cell in cells[6:]])
    assert bounds(mean) == pytest.approx(share_interval(every.mean(0)), abs=1e-12)
    weak = np.stack([wrong(cell) for cell in cells[1:5]]).reshape(2, 2, 60).mean(1)
    strong = every.reshape(2, 2, 60).mean(1)
    expected = mce_interval(
        strong.mean(1), error_influence(strong, None), weak.mean(1), error_influence(weak, None)
    )
    (mce,) = find(made.summary, metric="mCE", of="error", model="strong")
    assert bounds(mce) == pytest.approx(expected, abs=1e-12)
    (own,) = find(made.summary, metric="mCE", of="error", model="weak")
    assert (own["value"], own["low"], own["high"]) == ("1.0", "", "")  # by definition


def test_patients_widen_intervals(tmp_path):
    data = data_record(groups=np.array([f"p{i % 12}" for i in range(60)]))
    _, cells = write_matrix(tmp_path / "a", data, {"m": 1.0}, corruptions=(), severities=())
    groups = np.unique(data.groups, return_inverse=True)[1]
    measured = Measured()
    found = measured.scores(cells[0]).estimates["error"]
    assert (found.low, found.high) == pytest.approx(share_interval(wrong(cells[0]), groups))


def registry_cells(tmp_path, labels, share):
    """A store whose errors are AlexNet's, to a thousandth: suite and set are octmnist."""
    data = data_record("octmnist", classes=4, count=len(labels))
    published = baseline("medmnist_c_alexnet", "octmnist")
    store, _ = write_matrix(tmp_path, data, {}, corruptions=())
    cells = []
    for name, error in {"clean": published.clean, **published.corruptions}.items():
        for severity in range(1, 6) if name != "clean" else [0]:
            key = cell_key(data, "alex", name, severity)
            if severity:
                object.__setattr__(key.spec, "suite", "octmnist")
            logits = np.eye(4, dtype=np.float32)[data.labels]
            for k in range(4):
                rows = np.flatnonzero(data.labels == k)
                count = round(error * share * len(rows))
                logits[rows[:count]] = np.eye(4)[(k + 1) % 4]
            cells.append(write_cell(store, data, key, logits=logits))
    return store, cells


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_be_and_rbe_appear_on_registries_of_medmnist_c(tmp_path, share):
    store, cells = registry_cells(tmp_path, range(4000), share)
    made = report(store, cells, tmp_path)
    for metric in ("BE", "rBE", "rBE_guarded", "BE_ratio_of_sums", "rBE_ratio_of_sums"):
        (row,) = find(made.summary, metric=metric)
        assert float(row["value"]) == pytest.approx(share, abs=0.01)
        assert row["reference"] == "medmnist_c_alexnet"
        assert row["of"] == "balanced_error"
        assert row["covers"].startswith("6 of 6 corruptions")
        low, high = bounds(row)
        assert low < share < high
    assert len(find(made.summary, metric="BE_c")) == 6


def test_a_model_at_chance_is_marked_and_so_is_a_reference(tmp_path):
    models = {"weak": 0.0, "strong": 2.0}
    store, cells = write_matrix(
        tmp_path, data_record(count=150), models, corruptions=TWO, severities=(1,)
    )
    made = report(store, cells, tmp_path)
    assert [row.at_chance for row in made.matrices[0].rows] == [True, False]
    (weak,) = find(made.summary, metric="mCE", of="error", model="weak")
    (strong,) = find(made.summary, metric="mCE", of="error", model="strong")
    assert weak["marks"] == "at chance; reference at chance"
    assert strong["marks"] == "reference at chance"


def several_sets(tmp_path, skills):
    store, cells = None, []
    for name, models in skills.items():
        data = data_record(name, count=150)
        store, more = write_matrix(tmp_path, data, models, corruptions=TWO, severities=(1,))
        cells += more
    return store, cells


def test_means_over_sets_keep_sets_at_chance_apart_and_go_by_modality(tmp_path):
    good, guess = {"weak": 1.0, "strong": 2.0}, {"weak": 0.0, "strong": 0.0}
    sets = {"organamnist": good, "organcmnist": good, "octmnist": guess}
    made = report(*several_sets(tmp_path, sets), tmp_path)
    rows = find(made.summary, metric="mCE", of="balanced_error", model="strong")
    value = {row["dataset"]: float(row["value"]) for row in rows}
    organs = (value["organamnist"] + value["organcmnist"]) / 2
    assert value["all sets"] == pytest.approx((2 * organs + value["octmnist"]) / 3)
    assert value["sets beyond chance"] == pytest.approx(organs)
    assert value["sets at chance"] == value["octmnist"]
    assert value["modality: CT"] == pytest.approx(organs)
    (whole,) = [row for row in rows if row["dataset"] == "all sets"]
    assert whole["covers"] == "3 of 3 sets: organamnist, organcmnist, octmnist"
    low, high = bounds(whole)
    assert low < float(whole["value"]) < high


def test_a_model_that_lacks_a_set_has_no_mean_over_sets(tmp_path):
    sets = {"organamnist": {"weak": 1.0, "strong": 2.0}, "octmnist": {"weak": 1.0}}
    made = report(*several_sets(tmp_path, sets), tmp_path)
    shown = {"metric": "mean", "of": "balanced_error"}
    (row,) = find(made.summary, model="strong", dataset="all sets", **shown)
    assert row["value"] == ""
    assert row["covers"] == "1 of 2 sets: organamnist"
    (row,) = find(made.summary, model="weak", dataset="all sets", **shown)
    assert row["value"]


def test_comparisons_take_mcnemar_on_clean_images_and_correct_over_the_matrix(tmp_path):
    models = {"weak": 0.5, "other": 0.5, "strong": 2.0}
    data = data_record(count=300)
    store, cells = write_matrix(tmp_path, data, models, corruptions=TWO, severities=(1,))
    made = report(store, cells, tmp_path)
    rows = find(made.comparisons, of="error", condition="clean")
    assert [(r["first"], r["second"]) for r in rows] == [
        ("weak", "other"), ("weak", "strong"), ("other", "strong")
    ]  # fmt: skip
    first, second = (wrong(cell) == 0 for cell in (cells[0], cells[6]))
    assert float(rows[1]["p"]) == mcnemar(first, second)
    assert rows[1]["test"] == "McNemar"
    for row in made.comparisons:
        assert float(row["p_holm"]) >= float(row["p_bh"]) >= float(row["p"]) - 1e-12
        low, high = bounds(row)
        assert low <= float(row["difference"]) <= high
    (mean,) = find(made.comparisons, of="error", condition="mean", second="strong", first="weak")
    assert (mean["test"], float(mean["p_holm"]) < 0.05) == ("sign flips", True)
    assert find(made.comparisons, of="auc")[0]["test"] == "DeLong"


def test_a_pair_says_in_which_direction_its_difference_goes(tmp_path):
    store, cells = write_matrix(
        tmp_path, data_record(), MODELS, corruptions=TWO[:1], severities=(1,)
    )
    made = report(store, cells, tmp_path)
    (error,) = find(made.comparisons, of="error", condition="mean")
    (auc,) = find(made.comparisons, of="auc", condition="mean")
    assert (error["first"], error["second"]) == ("weak", "strong")
    assert float(error["difference"]) > 0 > float(auc["difference"])  # the second is better
    made.write()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<td>weak vs strong</td>" in page
    assert "error of A minus the error of B" in page
    assert "Below 0, A errs less and is better; of the AUC, above 0" in page
    assert "−" not in page


def test_the_reference_of_one_set_adds_no_width_to_a_mean_over_sets(tmp_path):
    sets = {name: {"weak": 0.7, "strong": 1.2} for name in ("organamnist", "octmnist")}
    store, cells = several_sets(tmp_path, sets)
    found = [
        cell
        for name, of in (("weak", "organamnist"), ("strong", "octmnist"))
        for cell in reference_cells(store, cells, name, command="")[0]
        if cell.spec.dataset == of
    ]
    references = {"organamnist": "weak", "octmnist": "strong"}
    made = report(store, cells, tmp_path, reference=references, reference_cells=found)
    rows = {
        row["dataset"]: row
        for row in find(made.summary, metric="mCE", model="weak", of="balanced_error")
    }
    assert rows["organamnist"]["low"] == ""
    (low, high), (whole_low, whole_high) = bounds(rows["octmnist"]), bounds(rows["all sets"])
    assert whole_high - whole_low == pytest.approx((high - low) / 2)


def test_patients_rule_mcnemar_out(tmp_path):
    data = data_record(groups=np.array([f"p{i % 18}" for i in range(60)]))
    store, cells = write_matrix(tmp_path, data, MODELS, corruptions=TWO[:1], severities=(1,))
    made = report(store, cells, tmp_path)
    assert {row["test"] for row in made.comparisons} == {"sign flips", "score", "DeLong"}


def test_ranks_and_effective_robustness_come_with_five_models(tmp_path):
    models = {f"m{i}": 0.4 + 0.4 * i for i in range(5)}
    data = data_record(count=300)
    store, cells = write_matrix(tmp_path, data, models, corruptions=TWO, severities=(1,))
    made = report(store, cells, tmp_path)
    ranks = find(made.summary, metric="rank", of="balanced_error")
    assert [row["value"] for row in ranks] == ["5.0", "4.0", "3.0", "2.0", "1.0"]
    assert all(float(r["low"]) <= float(r["value"]) <= float(r["high"]) for r in ranks)
    effective = find(made.summary, metric="effective_robustness")
    assert [row["of"] for row in effective] == ["error"] * 5 + ["balanced_error"] * 5
    four = report(store, cells[:12], tmp_path)
    assert not find(four.summary, metric="effective_robustness")


def test_a_row_with_a_missing_cell_has_no_rank(tmp_path):
    store, cells = write_matrix(tmp_path, data_record(), MODELS, corruptions=TWO, severities=(1,))
    made = report(store, cells[:-1], tmp_path, missing=[cells[-1].spec])
    assert made.standings[0][1].rank is None


@pytest.mark.parametrize(
    "label_kind", ["multi-class", "binary-class", "ordinal-regression", "multi-label, binary-class"]
)
def test_numbers_fitted_on_validation_images_appear_where_there_are_some(tmp_path, label_kind):
    from dataclasses import replace

    classes = 2 if label_kind == "binary-class" else 3
    test = data_record(label_kind=label_kind, count=120, classes=classes)
    if label_kind.startswith("multi-label"):
        key = cell_key(test, "m")
        key.head["absent"] = [["none"]]
    val = replace(test, split="val", fingerprint="v" * 64)
    store, cells = write_matrix(tmp_path, test, {"m": 1.0}, corruptions=TWO[:1], severities=(1,))
    spec = cell_key(val, "m")
    object.__setattr__(spec.spec, "split", "val")
    write_cell(store, val, spec)
    found = validation_cells(store, cells)
    made = report(store, cells, tmp_path, validation=found)
    metrics = {row["metric"] for row in made.results}
    assert {"sensitivity", "specificity"} <= metrics
    assert ("nll_calibrated" in metrics) != label_kind.startswith("multi-label")
    assert not {"sensitivity", "nll_calibrated"} & {
        row["metric"] for row in report(store, cells, tmp_path).results
    }


def test_flips_and_drift_compare_with_the_models_own_clean_cell(tmp_path):
    data = data_record()
    store, cells = write_matrix(tmp_path, data, {"m": 1.0}, corruptions=TWO, severities=(1, 2))
    for i, cell in enumerate(cells):
        features = np.eye(60, 8, dtype=np.float32) + 1 + i * (np.arange(8) == 0)
        store.write_features(cell.record["encoding_fingerprint"], features.astype(np.float32))
    made = report(store, cells, tmp_path, features=store.read_features)
    rows = find(made.summary, metric="flip_rate")
    flipped = [
        np.mean(c.arrays["logits"].argmax(1) != cells[0].arrays["logits"].argmax(1))
        for c in cells[1:3]
    ]
    assert float(rows[0]["value"]) == pytest.approx(np.mean(flipped))
    drifts = [float(row["value"]) for row in find(made.summary, metric="feature_drift")]
    assert 0 < drifts[0] < drifts[1]


def test_the_area_under_a_curve_is_there_for_the_five_severities_alone(tmp_path):
    store, cells = write_matrix(tmp_path / "a", data_record(), {"m": 1.0}, corruptions=TWO[:1])
    (row,) = find(report(store, cells, tmp_path).summary, metric="severity_area", of="error")
    expected = np.trapezoid([wrong(cell).mean() for cell in cells]) / 5
    assert float(row["value"]) == pytest.approx(expected)
    store, cells = write_matrix(
        tmp_path / "b", data_record(), {"m": 1.0}, corruptions=TWO[:1], severities=(1, 3)
    )
    assert not find(report(store, cells, tmp_path).summary, metric="severity_area")


def test_multi_label_aggregates_have_intervals_of_both_errors(tmp_path):
    data = data_record(label_kind="multi-label, binary-class", count=120)
    store, cells = write_matrix(tmp_path, data, {}, corruptions=())
    for model, skill in MODELS.items():
        for corruption, severity in (("clean", 0), ("contrast", 1)):
            key = cell_key(data, model, corruption, severity)
            key.head["absent"] = [["none"]]
            cells.append(write_cell(store, data, key, skill=skill))
    made = report(store, cells, tmp_path)
    for of in ("error", "balanced_error"):
        (row,) = find(made.summary, metric="mCE", of=of, model="strong")
        low, high = bounds(row)
        assert low < float(row["value"]) < high
    assert find(made.comparisons, of="balanced_error")[0]["test"] == "sign flips"


def test_the_same_store_gives_the_same_tables(tmp_path):
    store, cells = write_matrix(tmp_path, data_record(), MODELS, corruptions=TWO, severities=(1, 5))
    one, two = (report(store, cells, tmp_path) for _ in range(2))
    assert (one.results, one.summary, one.comparisons) == (
        two.results,
        two.summary,
        two.comparisons,
    )


def test_bounds_of_seeds_are_means_of_the_cells_bounds(tmp_path):
    data = data_record()
    store, cells = write_matrix(tmp_path, data, {"m": 1}, corruptions=TWO[:1], severities=(1,))
    cells.append(write_cell(store, data, cell_key(data, "m", "contrast", 1, seed=1)))
    table = ExpectedTable("toy", "test", "imagenet_c", ("contrast",), (1,))
    (matrix,) = build_matrices(cells, expected=[table])
    lows = [wilson(wrong(cell).mean(), 60)[0] for cell in cells[1:]]
    assert matrix.low["error"][0, 0, 0] == pytest.approx(np.mean(lows))


def test_sanity_numbers_are_those_of_answers_torn_from_their_images(tmp_path):
    data = data_record(count=300, classes=3)
    store, cells = write_matrix(tmp_path, data, {"m": 2.0}, corruptions=(), severities=())
    made = report(store, cells, tmp_path, expected=[ExpectedTable("toy", "test", "none", (), ())])
    of = {row["metric"]: row for row in find(made.summary, of="balanced_error")}
    assert float(of["clean"]["value"]) < 0.2
    for name in ("sanity_shuffled_images", "sanity_majority_class"):
        low, high = bounds(of[name])
        assert low < 2 / 3 < high
        assert of[name]["covers"] == "clean"
    assert float(of["sanity_shuffled_texts"]["value"]) > 0.9  # every class answers for another
    (area,) = find(made.summary, of="auc", metric="sanity_majority_class")
    assert float(area["value"]) == 0.5


def test_phantoms_are_never_averaged_with_images_of_patients(tmp_path):
    models = {"weak": 1.0, "strong": 2.0}
    store, cells = several_sets(tmp_path, {"octmnist": models, "bloodmnist": models})
    data = data_record("phantoms", count=150, origin="phantom")
    _, more = write_matrix(tmp_path, data, models, corruptions=TWO, severities=(1,))
    made = report(store, cells + more, tmp_path)
    rows = find(made.summary, dataset="all sets", metric="mean", model="weak", of="balanced_error")
    assert [row["covers"] for row in rows] == ["2 of 2 sets: octmnist, bloodmnist"]
