"""How often a unit is wrong is said in one place, and every table asks it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import cell_key, data_record, write_cell

from medrobust.evaluation.store import Store, StoredCell
from medrobust.reporting.measure import Measured
from medrobust.tasks.base import Terms

MULTI_LABEL = "multi-label, binary-class"


def two_cells(root: Path, label_kind: str, absent: object = ()) -> list[StoredCell]:
    """The clean cell of a model and one of its corrupted ones."""
    data = data_record(classes=2 if label_kind == "binary-class" else 3, label_kind=label_kind)
    keys = [cell_key(data, "m"), cell_key(data, "m", "contrast", 3)]
    keys = [replace(key, head={**key.head, "absent": absent}) for key in keys]
    return [write_cell(Store(root), data, key, skill=0.4) for key in keys]


def answers(cell: StoredCell) -> np.ndarray:
    return (
        (cell.arrays["logits"] > 0)
        if cell.data.labels.ndim == 2
        else cell.arrays["logits"].argmax(axis=1)
    )


@pytest.mark.parametrize("label_kind", ["multi-class", "binary-class", MULTI_LABEL])
def test_terms_over_cells_are_how_often_each_image_is_answered_wrongly(
    label_kind: str, tmp_path: Path
) -> None:
    cells = two_cells(tmp_path, label_kind, absent=[["none"]])
    labels = cells[0].data.labels
    often = np.mean([answers(cell) != labels for cell in cells], axis=0)
    measured = Measured()
    plain, balanced = (measured.mean_terms(cells, of) for of in ("error", "balanced_error"))
    assert plain is not None
    assert balanced is not None
    assert np.array_equal(plain.values, often if labels.ndim == 1 else often.mean(axis=1))
    assert plain.strata is None
    assert np.array_equal(balanced.values, often)
    assert np.array_equal(balanced.strata, labels)
    assert plain.unit == balanced.unit == "image"


def test_the_value_of_terms_is_the_metric_of_the_cell(tmp_path: Path) -> None:
    measured = Measured()
    for cell in two_cells(tmp_path, MULTI_LABEL, absent=[["none"]]):
        for of in ("error", "balanced_error"):
            terms = measured.terms(cell, of)
            assert isinstance(terms, Terms)
            assert terms.values.dtype == bool
            assert terms.value == pytest.approx(measured(cell)[of], abs=1e-12)


def test_where_nothing_is_answered_there_are_no_terms_and_areas_are_left(tmp_path: Path) -> None:
    cells = two_cells(tmp_path, MULTI_LABEL, absent=False)
    measured = Measured()
    assert measured.mean_terms(cells, "error") is None
    areas = measured.areas(cells, "auc")
    assert areas is not None
    assert [area.value for area in areas] == [measured(cell)["auc"] for cell in cells]


def test_a_mean_over_no_cells_or_over_a_cell_without_terms_is_not_defined(tmp_path: Path) -> None:
    measured = Measured()
    assert measured.mean_terms([], "error") is None
    assert measured.areas([], "auc") is None
    whole = two_cells(tmp_path / "whole", MULTI_LABEL, absent=[["none"]])
    bare = two_cells(tmp_path / "bare", MULTI_LABEL, absent=False)
    assert measured.mean_terms([*whole, *bare], "error") is None
