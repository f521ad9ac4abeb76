"""What belongs beside the cells of a report is looked up in one place, whoever asks."""

from pathlib import Path

import pytest
from stores import cell_key, data_record, write_cell, write_matrix

from medrobust.reporting import ExpectedTable, ReportRequest, build_report, expected_from_cells

MODELS = {"weak": 0.5, "strong": 1.5}
MAKE = "python run.py model={}"


def request(folder: Path, **changes) -> ReportRequest:
    """Ask for two sets, each with corrupted cells of both models."""
    cells = []
    for name in ("toy", "ward"):
        store, found = write_matrix(
            folder, data_record(name), MODELS, corruptions=["contrast"], severities=(1,)
        )
        cells += found
    given = {
        "store": store,
        "cells": cells,
        "expected": expected_from_cells(cells),
        "folder": folder / "out",
        "run": {"command": "python run.py"},
    }
    return ReportRequest(**given | changes)


def test_each_data_set_has_the_reference_that_is_named_for_it(tmp_path: Path) -> None:
    names = {"toy": "weak", "ward": "strong"}
    commands = {name: MAKE.format(name) for name in MODELS}
    report = build_report(request(tmp_path, reference=names, commands=commands))
    found = {
        matrix.table.dataset: [matrix.mce("error", row).value for row in range(2)]
        for matrix in report.matrices
    }
    assert found["toy"][0] == pytest.approx(1)
    assert found["ward"][1] == pytest.approx(1)
    assert not report.notes


def test_a_reference_that_is_not_in_the_store_is_said_once_with_what_makes_it(
    tmp_path: Path,
) -> None:
    asked = request(tmp_path, reference="other", commands={"other": MAKE.format("other")})
    (note,) = build_report(asked).notes
    assert "8 of 8 cells are not in the store" in note
    assert note.endswith("To make them: python run.py model=other")


def test_clean_cells_alone_need_no_reference(tmp_path: Path) -> None:
    data = data_record()
    kept = request(tmp_path).store
    report = build_report(
        request(
            tmp_path,
            cells=[write_cell(kept, data, cell_key(data, "weak"))],
            expected=[ExpectedTable(data.name, "test", "none", (), ())],
            reference="other",
            commands={"other": MAKE.format("other")},
        )
    )
    assert report.notes == ()


def test_the_prompt_set_of_the_reference_stands_in_its_name(tmp_path: Path) -> None:
    asked = request(
        tmp_path,
        reference="weak",
        reference_prompts="plain",
        commands={"weak": MAKE.format("weak")},
    )
    assert {m.reference for m in build_report(asked).matrices} == {"weak [plain]"}
