"""One view of a study corrupted: answers and counts by hand, and what is said without views."""

import csv
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from run_entry import medrobust, rows
from scipy.special import softmax
from stores import cell_key, data_record, write_cell

from medrobust.evaluation.store import Store, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.readings import Aggregation, Views
from medrobust.readings.cells.views import mixed, one_a_unit, turns
from medrobust.reporting import Report, ReportRequest, build_report, expected_from_cells
from medrobust.tasks.base import ArraySpec

VIEWS = ("PA", "LATERAL", "AP")


def written(folder: Path, each: int = 3, *, clean: bool = True) -> tuple[Store, list[StoredCell]]:
    """Write a clean and two corrupted cells of studies that are spread over the split."""
    data = data_record("ward", classes=3, count=60)
    order = np.argsort(data.labels, kind="stable")
    studies = np.empty(60, object)
    studies[order] = [f"s{place // each}" for place in range(60)]
    alike = np.array([data.labels[studies == one].max() for one in studies])
    data = replace(data, target=replace(data.target, values=alike))
    named = np.array([VIEWS[turn] for turn in turns(np.unique(studies, return_inverse=True)[1])])
    columns = np.stack([studies.astype(str), named], axis=1)
    data = replace(data, metadata=columns, metadata_columns=("study", "view"))
    store, cells = Store(folder / "store"), []
    for name, level in [("clean", 0), ("contrast", 3), ("fog", 3)][0 if clean else 1 :]:
        skill = 2.0 if name == "clean" else 0.8
        cells.append(write_cell(store, data, cell_key(data, "clip", name, level), skill=skill))
    return store, cells


def reported(store: Store, cells: list[StoredCell], **more) -> Report:
    request = ReportRequest(
        store=store,
        cells=cells,
        folder=store.root / "out",
        expected=expected_from_cells(cells),
        run={},
        **more,
    )
    return build_report(request)


def by_hand(clean: StoredCell, cell: StoredCell, chosen: np.ndarray) -> tuple:
    """Studies, their labels, and what is answered with the chosen views corrupted."""
    chances = softmax(
        np.where(chosen[:, None], cell.arrays["logits"], clean.arrays["logits"]), axis=1
    )
    studies = cell.data.metadata[:, 0]
    names = list(dict.fromkeys(studies.tolist()))
    joined = np.array([chances[studies == one].mean(axis=0) for one in names])
    labels = np.array([cell.data.labels[studies == one][0] for one in names])
    return names, labels, joined.argmax(axis=1)


def test_images_are_mixed_row_by_row_whatever_their_axes() -> None:
    specs = {"flat": ArraySpec("int64", ("image",)), "deep": ArraySpec("int64", ("image", 2))}
    clean = {"flat": np.arange(3), "deep": np.zeros((3, 2))}
    corrupted = {"flat": np.arange(3) + 10, "deep": np.ones((3, 2))}
    found = mixed(specs, clean, corrupted, np.array([True, False, True]))
    assert found["flat"].tolist() == [10, 1, 12]
    assert found["deep"].tolist() == [[1, 1], [0, 0], [1, 1]]


def test_one_view_of_each_study_is_chosen_by_the_name_of_the_study_alone() -> None:
    codes = np.array([0, 1, 0, 1, 0, 2])
    rows = one_a_unit(["a", "b", "c"], codes)
    assert np.bincount(codes[rows]).tolist() == [1, 1, 1]
    assert one_a_unit(["z", "a"], np.array([0, 1, 1, 1]))[1:].tolist() == rows[codes == 0].tolist()
    names = [f"study {number}" for number in range(300)]
    chosen = turns(np.repeat(np.arange(300), 2))[one_a_unit(names, np.repeat(np.arange(300), 2))]
    assert 120 < chosen.sum() < 180


def test_a_study_with_one_view_corrupted_is_answered_with_the_clean_views_beside_it(
    tmp_path: Path,
) -> None:
    store, cells = written(tmp_path)
    both = [Aggregation("study", "study"), Aggregation("study", "study", corrupted_views="one")]
    report = reported(store, cells, aggregations=both)
    found = {
        (row["dataset"], row["corruption"]): row["value"]
        for row in report.results
        if row["metric"] == "error"
    }
    names, labels, _ = by_hand(cells[0], cells[0], np.zeros(60, bool))
    codes = np.array([names.index(one) for one in cells[0].data.metadata[:, 0]])
    chosen = one_a_unit(names, codes)
    for cell in cells:
        for name, rows_ in (("one corrupted", chosen), ("", np.ones(60, bool))):
            _, _, answers = by_hand(cells[0], cell, rows_)
            table = f"ward by study ({name})" if name else "ward by study"
            value = float(found[table, cell.spec.corruption])
            assert value == pytest.approx((answers != labels).mean())
    assert len({row["cell"] for row in report.results}) == 9


def test_corrupted_cells_without_a_clean_one_are_left_out_and_said(tmp_path: Path) -> None:
    store, cells = written(tmp_path, clean=False)
    report = reported(
        store, cells, aggregations=[Aggregation("study", "study", corrupted_views="one")]
    )
    assert any("there is no clean cell, whose answers" in note for note in report.notes)
    with pytest.raises(ConfigurationError, match="none of all, one"):
        Aggregation(corrupted_views="two")  # type: ignore[arg-type]


def test_which_view_saves_a_study_is_counted_by_hand(tmp_path: Path) -> None:
    store, cells = written(tmp_path)
    report = reported(store, cells, readings={"views": Views(view="view")})
    (section,) = [one for one in report.sections if one.title == "Views of a study"]
    lines = list(csv.DictReader(StringIO(section.files["views.csv"].decode())))
    names, labels, before = by_hand(cells[0], cells[0], np.zeros(60, bool))
    for cell in cells[1:]:
        studies, views = cell.data.metadata.T
        alone = cell.arrays["logits"].argmax(axis=1) != cell.data.labels
        for view in VIEWS:
            line = _line(lines, cell, view)
            _, _, answers = by_hand(cells[0], cell, views == view)
            right = answers == labels
            own = {one: number for number, one in enumerate(names)}
            wrong = [
                own[s] for s, v, w in zip(studies, views, alone, strict=True) if w and v == view
            ]
            assert float(line["wrong_alone"]) == pytest.approx(len(wrong) / 20)
            assert float(line["saved"]) == pytest.approx(right[wrong].mean())
            assert float(line["spoiled"]) == pytest.approx((~right[before == labels]).mean())
            assert float(line["saved_low"]) <= float(line["saved"]) <= float(line["saved_high"])
        answers = cell.arrays["logits"].argmax(axis=1)
        agree = [len(set(answers[studies == one].tolist())) == 1 for one in names]
        assert float(_line(lines, cell, "all")["agreement"]) == pytest.approx(np.mean(agree))
    assert "of these saved" in section.html


def _line(lines: list[dict], cell: StoredCell, view: str) -> dict[str, str]:
    (line,) = [x for x in lines if x["cell"] == cell.fingerprint and x["view"] == view]
    return line


def test_a_split_whose_studies_have_one_view_each_is_said(tmp_path: Path) -> None:
    store, cells = written(tmp_path, each=1)
    report = reported(store, cells, readings={"views": Views()})
    (section,) = [one for one in report.sections if one.title == "Views of a study"]
    assert "no study has several views" in section.html
    report = reported(store, cells, readings={"views": Views(by="visit")})
    (section,) = [one for one in report.sections if one.title == "Views of a study"]
    assert "has no metadata column &#x27;visit&#x27;" in section.html


@pytest.mark.slow
def test_phantom_patients_are_studies_by_one_command(workplace) -> None:
    run = ("dataset=phantom_patients", "dataset.per_class=6", "model=phantomclip_small")
    more = ("aggregate=view", "aggregate.by=groups", "aggregate.corrupted_views=one")
    views = ("readings=views", "readings.views.by=groups", "store.features=true")
    noise = ("corruption=gaussian_noise", "severity=5", "hydra.run.dir=out")
    assert medrobust(*run, *more, *views, *noise) == 0
    lines = rows("out/views.csv")
    worst = [x for x in lines if x["severity"] == "5"]
    assert {x["view"] for x in worst} == {"all", "view 1", "view 2", "view 3"}
    assert 0 < float(worst[0]["cosine"]) < 1
    tables = {x["dataset"] for x in rows("out/results.csv")}
    assert tables == {"phantom_patients", "phantom_patients by study (one corrupted)"}
