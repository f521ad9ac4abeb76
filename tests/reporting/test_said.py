"""Sentences of the page that say no more than the numbers beside them do."""

import re
from pathlib import Path

import numpy as np
from stores import cell_key, data_record, write_cell, write_matrix

from medrobust.readings import Calibration
from medrobust.reporting.changes import changes_html
from medrobust.reporting.from_store import report_store
from medrobust.reporting.sections import _worst

LIGHT = {"interactive": False, "figures": False}


def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_cells_that_lose_nothing_are_not_listed_as_the_worst(tmp_path: Path) -> None:
    data = data_record()
    logits = np.eye(3)[data.labels] * 9
    for name, level in (("clean", 0), ("contrast", 1)):
        store, _ = write_matrix(tmp_path / "s", data, {}, corruptions=[], severities=())
        write_cell(store, data, cell_key(data, "m", name, level), logits=logits.astype("f4"))
    report = report_store(tmp_path / "s", tmp_path / "out", **LIGHT)
    told = _worst(report.matrices[0], pictures=False)
    assert told.count("No cell is worse than the clean images of its model") == 1
    assert "+0.0" not in told


def test_drift_is_explained_where_it_is_shown_and_nowhere_else(tmp_path: Path) -> None:
    write_matrix(tmp_path / "s", data_record(), {"m": 1.0}, corruptions=["fog"], severities=(1,))
    report = report_store(tmp_path / "s", tmp_path / "out", **LIGHT)
    told = changes_html(report.matrices[0])
    assert "Changed answers: images whose answer" in told
    assert "drift" not in told.lower()


def test_a_model_whose_interval_holds_chance_cannot_be_told_from_guessing(tmp_path: Path) -> None:
    write_matrix(tmp_path / "s", data_record(), {"m": 0.0}, corruptions=["fog"], severities=(1,))
    report_store(tmp_path / "s", tmp_path / "out", **LIGHT)
    assert "it cannot be told from guessing" in page(tmp_path / "out")
    assert "no better than guessing" not in page(tmp_path / "out")


def test_a_part_that_does_not_follow_the_metric_says_what_it_shows(tmp_path: Path) -> None:
    write_matrix(tmp_path / "s", data_record(), {"m": 1.0}, corruptions=["fog"], severities=(1,))
    asked = {"calibration": Calibration()}
    report = report_store(tmp_path / "s", tmp_path / "out", readings=asked, **LIGHT)
    fixed = [section for section in report.sections if section.html and section.shows]
    assert [section.title for section in fixed] == ["Calibration"]
    told = r"</h2><p [^>]*>Whatever metric is chosen above, this part shows confidences against"
    assert len(re.findall(told, page(tmp_path / "out"))) == 1
    follows = [section for section in report.sections if section.html and not section.shows]
    assert all("data-by-metric" in section.html for section in follows)
