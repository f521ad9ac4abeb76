"""Rows, coverage, seeds and CSV bytes, on synthetic stores."""

import csv
import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from stores import SEVEN, cell_key, data_record, write_cell, write_matrix

from medrobust.exceptions import ConfigurationError
from medrobust.reporting.expected import ExpectedTable, expected_from_cells
from medrobust.reporting.export import latex, markdown
from medrobust.reporting.loggers import series
from medrobust.reporting.matrices import build_matrices
from medrobust.reporting.measure import Measured
from medrobust.reporting.rows import rows_of
from medrobust.reporting.tables import (
    LABELLED_COLUMNS,
    MATRIX_COLUMNS,
    RESULT_COLUMNS,
    SUMMARY_COLUMNS,
    coverage,
    csv_bytes,
    matrix_csv,
    result_rows,
    row_labels,
    summary_rows,
)

EXPECTED = [ExpectedTable("toy", "test", "imagenet_c", ("contrast", "pixelate"), (1, 3))]
MODELS = {"weak": 0.5, "strong": 1.5}


@pytest.fixture
def cells(tmp_path):
    corruptions, severities = EXPECTED[0].corruptions, EXPECTED[0].severities
    _, cells = write_matrix(
        tmp_path, data_record(), MODELS, corruptions=corruptions, severities=severities
    )
    return cells


def error(cell, balanced=False):
    right = cell.arrays["logits"].argmax(1) == cell.data.labels
    if not balanced:
        return 1 - right.mean()
    return 1 - np.mean([right[cell.data.labels == k].mean() for k in range(3)])


def matrix_of(cells, **more):
    weak = [cell for cell in cells if cell.spec.model == "weak"]
    given = {"expected": EXPECTED, "reference": "weak", "reference_cells": weak} | more
    (matrix,) = build_matrices(cells, **given)
    return matrix


def find(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_result_rows_have_the_columns_of_the_design_in_plan_order(cells):
    rows = result_rows(cells, Measured())
    assert list(rows[0]) == list(RESULT_COLUMNS)
    order = list(dict.fromkeys(row["cell"] for row in rows))
    assert order == [cell.fingerprint for cell in cells]
    clean, noisy = find(rows, metric="error", model="weak")[:2]
    assert (clean["suite"], clean["severity"], clean["seed"]) == ("none", "0", "")
    assert (noisy["suite"], noisy["severity"], noisy["seed"]) == ("imagenet_c", "1", "0")
    assert float(noisy["value"]) == error(cells[1])
    assert noisy["value"] == repr(error(cells[1]).item())
    assert (noisy["n"], noisy["higher_is_better"]) == ("60", "false")


@pytest.mark.parametrize("of", ["error", "balanced_error"])
def test_summary_rows_equal_hand_made_ratios(cells, of):
    rows = summary_rows([matrix_of(cells)])
    balanced = of == "balanced_error"
    weak, strong = ([error(c, balanced) for c in part] for part in (cells[:5], cells[5:]))
    ours = {"model": "strong", "of": of}
    ce = [sum(strong[i : i + 2]) / sum(weak[i : i + 2]) for i in (1, 3)]
    relative = [
        (sum(strong[i : i + 2]) - 2 * strong[0]) / (sum(weak[i : i + 2]) - 2 * weak[0])
        for i in (1, 3)
    ]
    for metric, expected in (("CE", ce), ("relative_CE", relative)):
        values = [float(row["value"]) for row in find(rows, metric=metric, **ours)]
        assert values == pytest.approx(expected)
    for metric, expected in (("mCE", ce), ("relative_mCE", relative)):
        (row,) = find(rows, metric=metric, **ours)
        assert float(row["value"]) == pytest.approx(np.mean(expected))
        assert row["reference"] == "weak"
        assert row["covers"] == "2 of 2 corruptions; severities 1,3"
    (mean,) = find(rows, metric="mean", **ours)
    assert float(mean["value"]) == pytest.approx(np.mean(strong[1:]))
    assert list(mean) == list(SUMMARY_COLUMNS)


def test_the_reference_itself_has_an_mce_of_one(cells):
    (row,) = find(summary_rows([matrix_of(cells)]), metric="mCE", model="weak", of="error")
    assert float(row["value"]) == 1.0


def test_a_missing_cell_empties_its_mean_and_is_named_in_the_coverage(cells):
    gone = cells[6]
    matrix = matrix_of([c for c in cells if c is not gone], missing=[gone.spec])
    assert matrix.severity_mean("error", 1, 0) is None
    assert matrix.severity_mean("error", 1, 1) is not None
    mce = matrix.mce("error", 1)
    assert (mce.covered, mce.planned) == (1, 2)
    assert coverage(matrix, mce) == " [1 of 2 corruptions; s1,3]"


def test_a_model_without_any_finished_cell_keeps_its_row(cells):
    lost = [cell.spec for cell in cells if cell.spec.model == "strong"]
    matrix = matrix_of(cells[:5], missing=lost)
    assert [row.label for row in matrix.rows] == ["weak", "strong"]
    assert matrix.mean("error", 1).value is None


def test_seeds_are_averaged_and_a_seed_that_is_missing_empties_the_mean(tmp_path):
    data = data_record()
    table = ExpectedTable("toy", "test", "imagenet_c", ("contrast",), (2,))
    store, one = write_matrix(tmp_path, data, {"weak": 1}, corruptions=["contrast"], severities=[2])
    key = cell_key(data, "weak", "contrast", 2, seed=1)
    two = write_cell(store, data, key)
    (matrix,) = build_matrices([*one, two], expected=[table])
    assert matrix.seeds == (0, 1)
    mean = matrix.severity_mean("error", 0, 0)
    assert mean == pytest.approx((error(one[1]) + error(two)) / 2)
    (partial,) = build_matrices(one, expected=[table], missing=[two.spec])
    assert partial.severity_mean("error", 0, 0) is None


def test_several_prompt_sets_of_one_model_are_rows_of_their_own(tmp_path):
    data = data_record()
    store, cells = write_matrix(tmp_path, data, {"weak": 1}, corruptions=[], severities=[])
    cells.append(write_cell(store, data, cell_key(data, "weak", prompts="many")))
    (matrix,) = build_matrices(cells, expected=[ExpectedTable("toy", "test", "none", (), ())])
    assert [row.label for row in matrix.rows] == ["weak [plain]", "weak [many]"]
    rows = result_rows(cells, Measured(), row_labels([matrix]))
    assert list(rows[0]) == list(LABELLED_COLUMNS)
    labels = {row["cell"]: row["label"] for row in rows}
    assert labels == {
        cell.fingerprint: f"weak [{name}]"
        for cell, name in zip(cells, ("plain", "many"), strict=True)
    }
    drawn = series(SimpleNamespace(results=rows))[0]
    errors = {key: value for key, value in drawn.items() if key.endswith("/error")}
    assert [key.split("/")[2] for key in errors] == ["weak [plain]", "weak [many]"]
    (alone,) = build_matrices(cells[:1], expected=[ExpectedTable("toy", "test", "none", (), ())])
    assert row_labels([alone]) == {}


def test_rules_of_relevance_tell_rows_of_one_name_apart() -> None:
    def cell(relevance: str, name: str) -> SimpleNamespace:
        head = {"kind": "retrieval", "relevance": relevance, "name": name, "texts": relevance}
        spec = SimpleNamespace(model="m", adapter="none")
        record = {"encoding": {}, "head": head | {"text_corruption": name}}
        return SimpleNamespace(spec=spec, task="retrieval", record=record)

    each = [("text", "texts as given"), ("pair", "texts as given"), ("pair", "typos 3")]
    assert [row.label for row in rows_of([cell(*one) for one in each], [])] == [
        "m [texts as given, text]", "m [texts as given, pair]", "m [typos 3]"
    ]  # fmt: skip


def test_adapters_are_named_in_the_label(tmp_path):
    data = data_record()
    store, cells = write_matrix(tmp_path, data, {"weak": 1}, corruptions=[], severities=[])
    cells.append(write_cell(store, data, cell_key(data, "weak", adapter="lora")))
    (matrix,) = build_matrices(cells, expected=[ExpectedTable("toy", "test", "none", (), ())])
    assert [row.label for row in matrix.rows] == ["weak", "weak + lora"]


def test_a_cell_that_no_table_expects_is_refused(cells):
    with pytest.raises(ConfigurationError, match="belongs to none of the expected tables"):
        build_matrices(cells, expected=[ExpectedTable("other", "test", "imagenet_c", SEVEN)])


def test_tables_can_be_derived_from_the_cells_alone(cells):
    assert expected_from_cells(cells) == EXPECTED


def test_a_multi_label_set_without_absent_texts_is_shown_by_auc(tmp_path):
    data = data_record(label_kind="multi-label, binary-class")
    _, cells = write_matrix(tmp_path, data, {"weak": 1}, corruptions=["contrast"], severities=[1])
    table = ExpectedTable("toy", "test", "imagenet_c", ("contrast",), (1,))
    matrix = matrix_of(cells, expected=[table])
    assert matrix.shown == "auc"
    assert matrix.mce("auc", 0).value is None
    assert {row["of"] for row in summary_rows([matrix])} == {"auc"}


def test_csv_bytes_are_stable_and_no_formula():
    rows = [{"a": "=1+1", "b": "-0.5"}, {"a": "@x", "b": 'é, "q"'}]
    data = csv_bytes(rows, ["a", "b"])
    assert data == csv_bytes(rows, ["a", "b"])
    assert b"\r" not in data
    read = list(csv.DictReader(io.StringIO(data.decode())))
    assert read == [{"a": "'=1+1", "b": "-0.5"}, {"a": "'@x", "b": 'é, "q"'}]


def test_every_table_says_what_part_of_the_set_and_of_the_severities_it_shows(tmp_path):
    data = data_record(marks=("subset of 60 of 900 images",))
    _, cells = write_matrix(
        tmp_path, data, {"weak": 1, "strong": 2}, corruptions=["contrast"], severities=[1, 3]
    )
    table = ExpectedTable("toy", "test", "imagenet_c", ("contrast",), (1, 3))
    matrix = matrix_of(cells, expected=[table])
    assert {row["marks"] for row in summary_rows([matrix])} == {"subset of 60 of 900 images"}
    for text in (markdown(matrix), latex(matrix).split(r"\begin{tabular}")[0]):
        assert "subset of 60 of 900 images" in text
    for text in (markdown(matrix), latex(matrix)):
        assert text.count(" [s1,3]") == 2 * len(matrix.rows)  # of the mean and the mCE


def test_the_matrix_as_csv_has_a_row_a_corruption_and_a_column_a_model(cells):
    matrix = matrix_of(cells)
    lines = list(csv.DictReader(io.StringIO(matrix_csv([matrix]).decode())))
    assert list(lines[0]) == [*MATRIX_COLUMNS, "weak", "strong"]
    assert [line["corruption"] for line in lines] == [
        "clean",
        "contrast",
        "pixelate",
        "mean",
        "mCE",
    ]
    clean, contrast, _, mean, mce = lines
    assert clean["strong"] == f"{100 * error(cells[5], balanced=True):.1f}"
    both = np.mean([error(cell, balanced=True) for cell in cells[6:8]])
    assert contrast["strong"] == f"{100 * both:.1f}"
    assert (mean["covers"], mean["severities"]) == ("2 of 2 corruptions", "1,3")
    assert (mce["weak"], mce["reference"], mce["of"]) == ("100.0", "weak", "balanced error, %")
    assert float(mce["strong"]) == pytest.approx(100 * matrix.mce(matrix.shown, 1).value, abs=0.05)


def test_the_matrix_as_csv_has_no_mean_over_fewer_corruptions(cells):
    part = matrix_of([c for c in cells if c is not cells[6]], missing=[cells[6].spec])
    lines = list(csv.DictReader(io.StringIO(matrix_csv([part]).decode())))
    strong = {line["corruption"]: line["strong"] for line in lines}
    assert strong["contrast"] == strong["mean"] == strong["mCE"] == ""
    assert strong["pixelate"]


def test_one_corruption_is_counted_in_the_singular(cells):
    table = ExpectedTable("toy", "test", "imagenet_c", ("contrast",), (1, 3))
    kept = [cell for cell in cells if table.holds(cell)]
    alone = matrix_of(kept, expected=[table])
    lines = list(csv.DictReader(io.StringIO(matrix_csv([alone]).decode())))
    assert find(lines, corruption="mean")[0]["covers"] == "1 of 1 corruption"
    (chosen,) = build_matrices(kept, expected=[replace(table, in_store=2)])
    lines = list(csv.DictReader(io.StringIO(matrix_csv([chosen]).decode())))
    assert find(lines, corruption="mean")[0]["covers"] == "1 of 2 corruptions"
