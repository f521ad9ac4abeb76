"""Accuracy without labels from stored cells: estimates, their intervals, and the page."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from stores import SEVEN, cell_key, data_record, write_cell

from medrobust.base.fingerprints import fingerprint
from medrobust.evaluation.store import Store
from medrobust.metrics.comparisons import resample_counts
from medrobust.metrics.label_free import thresholded_confidence
from medrobust.readings.cells.label_free_source import (
    RESAMPLES,
    Source,
    _areas_drawn,
    shares_from,
    thresholds,
)
from medrobust.readings.label_free import METHODS, beyond_no_change, estimates, mean_errors
from medrobust.readings.lookup import asked, said
from medrobust.reporting import ExpectedTable, make_report
from medrobust.reporting.measure import variant

LEVELS = (1, 3, 5)


def honest_logits(labels, sharpness, seed):
    """Logits that know how sure they are: a worse image has smaller ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), 3))
    logits[np.arange(len(labels)), labels] += sharpness
    return (logits * sharpness).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    store = Store(folder / "store")
    groups = np.array([f"p{i // 2}" for i in range(600)])
    test = replace(data_record("toy", count=600), groups=groups)
    val = replace(test, split="val", fingerprint=fingerprint("val"))
    key = cell_key(val, "m")
    key = replace(key, spec=replace(key.spec, split="val"))
    known = write_cell(store, val, key, logits=honest_logits(val.labels, 2.0, 99))
    cells = []
    for prompts in ("plain", "other"):
        for name, level in [("clean", 0), *((c, s) for c in SEVEN[:2] for s in LEVELS)]:
            own = cell_key(test, "m", name, level, prompts=prompts)
            logits = honest_logits(test.labels, 2.0 - 0.3 * level, level)
            cells.append(write_cell(store, test, own, logits=logits))
    report = make_report(
        cells,
        expected=[ExpectedTable("toy", "test", "imagenet_c", SEVEN[:2], LEVELS)],
        missing=[],
        reference=None,
        reference_cells=[],
        notes=[],
        folder=folder / "out",
        run={},
        validation={(variant(cells[0]), "toy"): known},
        readings=asked({"label_free": {}}),
    )
    report.write()
    return report


def rows(made):
    text = (made.folder / "label_free.csv").read_text("utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def test_every_corrupted_cell_is_estimated_by_every_method(made):
    found = rows(made)
    assert {row["method"] for row in found} == set(METHODS)
    assert len(found) == 6 * (len(METHODS) + 2)  # the other prompt set has no validation cell
    areas = [row["method"] for row in found if row["metric"] == "auroc"]
    assert areas == ["no_change", "cbpe"] * 6
    for row in found:
        assert 0 <= float(row["estimate"]) <= 1
        assert float(row["error"]) == pytest.approx(float(row["estimate"]) - float(row["truth"]))
        assert (row["low"] == "") == (row["method"] == "nuclear_norm")
        if row["low"]:
            assert float(row["low"]) <= float(row["estimate"]) <= float(row["high"])
    agreed = [float(row["estimate"]) for row in found if row["method"] == "gde"]
    assert agreed == [1.0] * 6


def test_honest_confidence_errs_less_than_no_change(made):
    errors = mean_errors(list(estimates(made.matrices[0])))
    for method in ("ac", "doc", "cot", "mandoline", "nuclear_norm"):
        assert errors[method][0] < errors["no_change"][0] / 2, method
    value, low, high = errors["no_change"]
    assert low < value < high


def test_errors_are_held_against_no_change_on_the_same_draws(made):
    found = list(estimates(made.matrices[0]))
    errors, beyond = mean_errors(found), beyond_no_change(found)
    assert set(beyond) == set(errors) - {"no_change"}
    own = {
        m: [o.found for o in found if (o.found.method, o.found.metric) == (m, "accuracy")]
        for m in ("no_change", "doc")
    }
    off = {m: np.mean([abs(o.draws - o.truth_draws) for o in own[m]], axis=0) for m in own}
    value, low, high = beyond["doc"]
    assert value == pytest.approx(errors["doc"][0] - errors["no_change"][0])
    assert (low, high) == pytest.approx(np.quantile(off["doc"] - off["no_change"], [0.025, 0.975]))
    assert high < 0
    assert f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in (
        made.folder / "report.html"
    ).read_text("utf-8")


def test_thresholds_of_draws_are_those_of_the_images_drawn():
    rng = np.random.default_rng(0)
    source, target = rng.random(40).round(1), rng.random(30).round(1)
    right = rng.random(40) < source
    known, counts = (resample_counts(k, n, resamples=50) for k, n in (("a", 40), ("b", 30)))
    found = shares_from(target, thresholds(source, right, known), counts)
    for b in range(50):
        first, other = np.repeat(np.arange(40), known[b]), np.repeat(np.arange(30), counts[b])
        expected = thresholded_confidence(source[first], right[first], target[other])
        assert found[b] == pytest.approx(expected)
    assert len(resample_counts("a", 4, resamples=RESAMPLES)) == RESAMPLES


@pytest.fixture(scope="module")
def learned(made):
    cells = [one.cell for one in estimates(made.matrices[0], transport=False)]
    known = made.matrices[0].measured.validation(cells[0])
    return Source(known, "multi-class", True), cells[-1]


def test_draws_scatter_as_estimates_from_images_drawn_anew_do(learned):
    """Mandoline and COT move by one step in draws; here they are solved for each."""
    from medrobust.metrics import label_free

    source, cell = learned
    target = source.read(cell.arrays["logits"])
    found = {one.method: one for one in source.estimate(cell, []) if one.metric == "accuracy"}
    rng, solved = np.random.default_rng(0), {"mandoline": [], "cot": []}
    slices, own = source._slices(source.answers), source._slices(target)
    for _ in range(40):
        known, drawn = (rng.integers(0, 300, 300) * 2 for _ in range(2))  # patients have two
        known, drawn = (np.concatenate([rows, rows + 1]) for rows in (known, drawn))
        weights = label_free.slice_weights(slices[known], own[drawn])
        solved["mandoline"].append(weights @ source.right[known])
        shares = label_free.class_shares(source.labels[known], 3)
        solved["cot"].append(1 - label_free.transport(target.chances[drawn], shares).costs.mean())
    for method, values in solved.items():
        error = np.std(values) / np.sqrt(len(values))
        assert found[method].draws.mean() == pytest.approx(np.mean(values), abs=4 * error), method
        assert found[method].draws.std() == pytest.approx(np.std(values), rel=0.35), method


def test_areas_are_those_of_scikit_learn_and_of_images_drawn(learned):
    from sklearn.metrics import roc_auc_score

    source, cell = learned
    target = source.read(cell.arrays["logits"])
    found = {o.method: o for o in source.estimate(cell, []) if o.metric == "auroc"}
    labels = cell.data.labels
    exact = roc_auc_score(labels, target.chances, multi_class="ovr")
    assert found["cbpe"].truth == pytest.approx(exact)
    assert abs(found["cbpe"].value - exact) < abs(found["no_change"].value - exact)
    counts = resample_counts("areas", len(labels), resamples=3).astype(float)
    (drawn,) = _areas_drawn(target.chances, [labels[:, None] == np.arange(3)], counts)
    for value, row in zip(drawn, counts, strict=True):
        some = np.repeat(np.arange(len(labels)), row.astype(int))
        expected = roc_auc_score(labels[some], target.chances[some], multi_class="ovr")
        assert value == pytest.approx(expected)


def test_the_page_compares_with_no_change(made):
    page = (made.folder / "report.html").read_text("utf-8")
    part = page.partition('id="label-free"')[2].partition("</section>")[0]
    for name in METHODS.values():
        assert f">{name}</th>" in part


def test_without_a_validation_cell_nothing_is_said(tmp_path):
    data = data_record("toy")
    cell = write_cell(Store(tmp_path / "store"), data, cell_key(data, "m"))
    report = make_report(
        [cell], expected=[ExpectedTable("toy", "test", "imagenet_c", (), ())], missing=[],
        reference=None, reference_cells=[], notes=[], folder=tmp_path / "out", run={},
        readings=asked({"label_free": {"transport": False}}),
    )  # fmt: skip
    report.write()
    assert not (tmp_path / "out" / "label_free.csv").exists()


def test_it_speaks_only_where_it_is_asked_and_of_what_is_asked(made):
    quiet = replace(made, readings={})
    assert all(section.title != "Accuracy without labels" for section in said(quiet).values())
    found = list(estimates(made.matrices[0], transport=False))
    assert {one.found.method for one in found} == set(METHODS) - {"cot", "cott"}
