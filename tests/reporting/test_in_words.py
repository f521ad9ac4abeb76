"""What the page says first: no best model without saying whom it cannot be told from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stores import SEVEN, data_record, write_matrix

from medrobust.metrics import Estimate
from medrobust.metrics.reliability_points import ReliabilityPoint
from medrobust.reporting.from_store import report_store
from medrobust.reporting.in_words import in_words
from medrobust.reporting.provenance import provenance_html
from medrobust.reporting.reliability import ReliabilityPanel, reliability_figure


def said(folder: Path, models: dict[str, float]) -> tuple[Any, str]:
    write_matrix(folder / "store", data_record(), models, corruptions=SEVEN[:2])
    made = report_store(
        folder / "store", folder / "out", reference="weak", interactive=False, figures=False
    )
    return made, " ".join(in_words(made, 0))


@pytest.mark.slow
def test_models_that_tests_do_not_tell_apart_are_said_to_be_level(tmp_path: Path) -> None:
    made, words = said(tmp_path, {"weak": 0.1, "one": 1.5, "two": 1.52, "three": 1.51})
    standings = made.standings[0]
    best = next(row for row, one in enumerate(standings) if one.rank == 1)
    labels = [row.label for row in made.matrices[0].rows]
    uncertain = {
        label
        for line in made.comparisons
        if (line["condition"], line["of"]) == ("mean", "balanced_error")
        and labels[best] in (line["first"], line["second"])
        and float(line["p_familywise"]) >= 0.05
        for label in (line["first"], line["second"])
    } - {labels[best]}
    assert uncertain == {"one", "two", "three"} - {labels[best]}
    first = words.partition(":")[0]
    assert first.startswith(f"Of 4 models {labels[best]} has the best number, but cannot be told")
    assert {name for name in labels if name in first} == {*uncertain, labels[best]}
    assert "which may be chance" in words


def test_a_model_that_is_apart_from_all_others_does_best(tmp_path: Path) -> None:
    _, words = said(tmp_path, {"weak": 0.1, "strong": 3.0})
    assert words.startswith("Of 2 models strong does best: balanced error")
    assert "which chance would hardly give" in words


@pytest.mark.parametrize(("threads", "printed"), [(1, "1 thread<"), (11, "11 threads<")])
def test_threads_agree_with_their_number(tmp_path: Path, threads: int, printed: str) -> None:
    made, _ = said(tmp_path, {"weak": 0.1})
    made = replace(made, run={"device": f"cpu: x86_64, {threads} threads"})
    assert f"cpu: x86_64, {printed}" in provenance_html(made)


def test_marks_of_a_reliability_diagram_are_whole_at_its_ends() -> None:
    pytest.importorskip("matplotlib")
    ends = [ReliabilityPoint(x, Estimate(x), 300) for x in (0.0, 1.0)]
    figure = reliability_figure([ReliabilityPanel("clean", [("a", ends)])])
    figure.draw_without_rendering()
    (axis,) = figure.axes
    (marks,) = axis.collections
    radius = marks.get_sizes().max() ** 0.5 / 2 * figure.dpi / 72
    box = axis.get_window_extent()
    places = axis.transData.transform(marks.get_offsets())
    assert not marks.get_clip_on()
    assert (places[0] - radius > [box.x0, box.y0]).all()
    assert (places[1] + radius < [box.x1, box.y1]).all()
