"""Aggregates say what they are called, whose they are and what they cover."""

import pytest
from stores import data_record, write_matrix

from medrobust.reporting import expected_from_cells, reference_cells
from medrobust.reporting.aggregates import Aggregates
from medrobust.reporting.matrices import build_matrices

MODELS = {"weak": 0.5, "strong": 1.5}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    store, cells = write_matrix(folder, data_record(), MODELS, corruptions=("contrast", "fog"))
    lacking = [c for c in cells if (c.spec.corruption, c.spec.severity) != ("fog", 3)]
    found, _ = reference_cells(store, lacking, "weak", command="")
    expected = expected_from_cells(cells)
    (made,) = build_matrices(lacking, expected=expected, reference="weak", reference_cells=found)
    return made


def test_an_aggregate_covers_its_column_or_the_columns_that_are_whole(matrix):
    covers = {one.name: one.covers for one in matrix.aggregates.of(1, "error")}
    assert covers["clean"] == covers["clean_error_ratio"] == ()
    assert covers["severity_mean"] == covers["CE"] == covers["flip_rate"] == ("contrast",)
    assert covers["mean"] == covers["mCE"] == ("contrast",)  # fog lacks a severity


def test_every_aggregate_is_found_by_what_it_says_of_itself(matrix):
    for one in matrix.aggregates:
        found = matrix.aggregates.estimate(one.row, one.loss, one.name, one.corruption)
        assert found is one.estimate
        assert one in matrix.aggregates.of(one.row, one.loss)


def test_what_is_not_there_has_no_value():
    none = Aggregates()
    assert none.estimate(0, "error", "mCE").value is None
    assert not none.of(0, "error")
