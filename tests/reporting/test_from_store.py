"""A report from the store alone: what is found, what is missing, which files there are."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from run_entry import answer
from stores import cell_key, data_record, write_cell, write_matrix

from medrobust.exceptions import StoreError, UnknownNameError
from medrobust.readings.operating_limit import OperatingLimit
from medrobust.readings.robustness_radius import RobustnessRadius
from medrobust.reporting.expected import ExpectedTable
from medrobust.reporting.figures import title
from medrobust.reporting.from_store import Choice, report_store

TWO = ("contrast", "pixelate")
LIGHT = {"interactive": False, "figures": False}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("command") / "store"
    models = {"weak": 0.5, "strong": 1.5}
    data = data_record()
    store, _ = write_matrix(root, data, models, corruptions=TWO, severities=(1, 2), examples=True)
    own = data_record("ward", count=50, origin="own")
    write_matrix(root, own, {"weak": 1.0}, corruptions=TWO[:1], severities=(1,), examples=True)
    write_cell(store, data, cell_key(data, "third"))
    write_cell(store, data, cell_key(data, "third", "contrast", 1, seed=0))
    return root


@pytest.mark.slow
@pytest.mark.draws
def test_every_table_of_the_store_is_made_and_gaps_are_named(root, tmp_path):
    report = report_store(root, tmp_path, reference="weak", **LIGHT)
    shapes = [(m.table.dataset, m.table.corruptions, len(m.rows)) for m in report.matrices]
    assert shapes == [("toy", TWO, 3), ("ward", ("contrast",), 1)]
    third = [(s.corruption, s.severity) for s in report.missing]
    assert third == [("contrast", 2), ("pixelate", 1), ("pixelate", 2)]
    assert {s.model for s in report.missing} == {"third"}
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"report.html", "results.parquet", "summary.parquet", "tables"}
    assert "figures" not in names
    assert b"plotly" not in (tmp_path / "report.html").read_bytes()


def test_two_versions_of_a_data_set_have_a_table_each_and_lose_nothing(tmp_path):
    one, other = data_record(), data_record(count=50)
    for data, corruption in ((one, "contrast"), (other, "gaussian_noise")):
        seed = None if corruption == "contrast" else 0
        store, _ = write_matrix(tmp_path / "store", data, {"weak": 1.0}, corruptions=())
        write_cell(store, data, cell_key(data, "weak", corruption, 3, seed=seed))
    report = report_store(tmp_path / "store", tmp_path / "out", **LIGHT)
    assert [m.table.corruptions for m in report.matrices] == [("contrast",), ("gaussian_noise",)]
    assert not report.missing
    assert all(not np.isnan(m.values["error"]).any() for m in report.matrices)
    titles = [title(m) for m in report.matrices]
    assert [one.fingerprint[:8] in titles[0], other.fingerprint[:8] in titles[1]] == [True, True]
    assert any("2 versions of the data set toy" in note for note in report.notes)


def test_a_gap_in_one_version_is_none_in_a_model_that_has_no_cell_of_the_other(tmp_path):
    one, other = data_record(), data_record(count=50)
    store, _ = write_matrix(tmp_path / "store", one, {"weak": 1.0, "full": 1.0}, corruptions=TWO)
    write_matrix(tmp_path / "store", other, {"weak": 1.0}, corruptions=TWO[:1], severities=(1,))
    write_cell(store, other, cell_key(other, "late"))
    write_cell(store, other, cell_key(other, "late", TWO[1], 1))
    report = report_store(tmp_path / "store", tmp_path / "out", **LIGHT)
    rows = {m.data.fingerprint: {row.model for row in m.rows} for m in report.matrices}
    assert rows == {one.fingerprint: {"weak", "full"}, other.fingerprint: {"weak", "late"}}
    assert {spec.model for spec in report.missing} == {"weak", "late"}


@pytest.mark.slow
@pytest.mark.draws
def test_a_chart_without_a_whole_mean_warns_of_nothing(tmp_path, recwarn):
    data = data_record()
    store, _ = write_matrix(tmp_path / "store", data, {"weak": 1.0}, corruptions=())
    write_cell(store, data, cell_key(data, "weak", TWO[0], 1))
    write_cell(store, data, cell_key(data, "weak", TWO[1], 2))
    report = report_store(tmp_path / "store", tmp_path / "out", interactive=False)
    assert len(report.missing) == 2
    assert not recwarn.list


@pytest.mark.draws
def test_the_same_store_gives_the_same_bytes_in_every_file(tmp_path):
    models = {"weak": 0.5, "strong": 1.5}
    write_matrix(tmp_path / "store", data_record(), models, corruptions=TWO[:1], severities=(1,))
    for name in ("a", "b"):
        report_store(tmp_path / "store", tmp_path / name, reference="weak")
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".png", ".svg", ".pdf", ".tex", ".md", ".parquet"}
    for path in files:
        twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == twin.read_bytes(), path.name


def test_pictures_of_own_data_are_shown_only_when_asked(root, tmp_path):
    shown = {}
    for asked in (False, True):
        report_store(root, tmp_path / str(asked), datasets=["ward"], examples=asked, **LIGHT)
        shown[asked] = (tmp_path / str(asked) / "report.html").read_text().count("<img")
    assert shown == {False: 0, True: 3}  # two in the strip, one of the worst cell


def test_parquet_has_typed_columns_and_the_numbers_of_the_csv(root, tmp_path):
    import pyarrow.parquet

    report = report_store(root, tmp_path, reference="weak", **LIGHT)
    table = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()
    assert len(table) == len(report.results)
    first = report.results[0]
    assert table[0]["value"] == float(first["value"])
    clean = [row for row in table if row["corruption"] == "clean"]
    assert {row["severity"] for row in clean} == {0}
    assert {row["seed"] for row in clean} == {None}
    assert table[0]["higher_is_better"] is True


def test_tables_for_papers_hold_values_intervals_and_no_stray_characters(root, tmp_path):
    report = report_store(root, tmp_path, reference="weak", models=["weak", "strong"], **LIGHT)
    (tex,) = (tmp_path / "tables").glob("*toy*.tex")
    text = tex.read_text()
    assert text.count(r"\\") == 3
    assert "strong & $" in text
    assert r"balanced error, \%" in text
    (md,) = (tmp_path / "tables").glob("*toy*.md")
    lines = md.read_text().splitlines()
    value = 100 * report.matrices[0].mean("balanced_error", 0).value
    assert f"{value:.1f} (" in next(line for line in lines if line.startswith("| strong"))


def test_models_that_guess_carry_a_mark_everywhere(tmp_path):
    root = tmp_path / "store"
    data = data_record(count=150)
    write_matrix(root, data, {"guess": 0.0, "strong": 2.0}, corruptions=TWO, severities=(1,))
    report_store(root, tmp_path / "out", reference="strong", **LIGHT)
    for name in ("report.html", "tables/matrix-0-toy-imagenet_c.md"):
        assert "guess†" in (tmp_path / "out" / name).read_text()
    assert r"guess$^\dagger$" in (tmp_path / "out/tables/matrix-0-toy-imagenet_c.tex").read_text()


def test_what_is_not_there_is_one_sentence(root, tmp_path):
    with pytest.raises(StoreError, match=r"store\.dir"):
        report_store(tmp_path / "none", tmp_path)
    with pytest.raises(UnknownNameError, match="strong"):
        report_store(root, tmp_path, models=["stron"])
    with pytest.raises(StoreError, match="no cell of these models"):
        report_store(root, tmp_path, models=["strong"], datasets=["ward"])
    with pytest.raises(UnknownNameError, match=r"'contrats'\. Did you mean 'contrast'\?"):
        report_store(root, tmp_path, corruptions=["contrats"])
    with pytest.raises(UnknownNameError, match=r"unknown severity of this store '3'.* 1, 2, all"):
        report_store(root, tmp_path, severities=["3"])
    with pytest.raises(UnknownNameError, match="severity 0 is clean"):
        report_store(root, tmp_path, severities=["0"])
    with pytest.raises(
        StoreError, match="no corrupted cell of --dataset ward --severity 2 together"
    ):
        report_store(root, tmp_path, datasets=["ward"], severities=["2"])


@pytest.mark.slow
def test_many_cells_are_measured_in_processes_with_the_same_numbers(root, tmp_path, monkeypatch):
    alone = report_store(root, tmp_path / "a", **LIGHT)
    monkeypatch.setattr("medrobust.reporting.measure.MANY", 2)
    together = report_store(root, tmp_path / "b", processes=2, **LIGHT)
    assert alone.results == together.results
    assert alone.summary == together.summary


@pytest.mark.slow
def test_a_broken_page_of_numbers_is_never_written_over_a_good_one(root, tmp_path, monkeypatch):
    report_store(root, tmp_path, **LIGHT)
    before = (tmp_path / "report.html").read_bytes()
    monkeypatch.setattr("medrobust.tasks.classification.scores.cell_estimates", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report_store(root, tmp_path, **LIGHT)
    assert (tmp_path / "report.html").read_bytes() == before


@pytest.mark.slow
@pytest.mark.draws
def test_the_command_says_where_the_page_is_or_what_is_wrong(root, tmp_path):
    given = ["report", root, "--out", tmp_path / "out", "--light", "--no-figures"]
    whole = answer(*given, "--dataset", "ward")
    assert whole.returncode == 0
    assert whole.stdout.rstrip().endswith("report.html")
    part = ["--corruption", "contrast, pixelate", "--severity", "1", "--severity", "2"]
    cut = answer(*given, *part)
    assert cut.returncode == 0
    assert "(--corruption contrast,pixelate --severity 1,2)" in cut.stdout
    wrong = answer("report", tmp_path)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: ")
    assert wrong.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches",
    [
        "--light --no-figures",
        "--reference weak --light --no-figures",
        "--dataset toy --severity 1 --reference weak --reference-prompts medical --light "
        "--no-figures --examples",
    ],
)
def test_the_page_has_the_command_that_makes_it_again(root, tmp_path, switches):
    pages = []
    for name in ("first", "again"):
        done = answer("report", root, "--out", tmp_path / name, *switches.split())
        assert done.returncode == 0, done.stderr
        pages.append((tmp_path / name / "report.html").read_text(encoding="utf-8"))
        (command,) = re.findall(r"<code>(medrobust report [^<]*)</code>", pages[-1])
        assert command == f"medrobust report store {switches}"
        switches = command.removeprefix("medrobust report store ")
    assert pages[0] == pages[1]


@pytest.mark.slow
def test_a_part_of_a_store_is_shown_as_a_part(root, tmp_path):
    part = report_store(
        root, tmp_path, reference="weak", corruptions=["contrast"], severities=["2"], **LIGHT
    )
    (matrix,) = part.matrices  # ward has no such cell
    assert matrix.table.corruptions == ("contrast",)
    assert matrix.table.severities == (2,)
    whole = report_store(root, tmp_path / "whole", reference="weak", **LIGHT).matrices[0]
    strong = [row.label for row in matrix.rows].index("strong")
    contrast = whole.table.corruptions.index("contrast")
    own = whole.values["error"][:, contrast, 1]
    assert matrix.mean("error", strong).value == own[strong] != whole.mean("error", strong).value
    weak = [row.label for row in whole.rows].index("weak")
    assert matrix.mce("error", strong).value == pytest.approx(own[strong] / own[weak])
    page = (tmp_path / "report.html").read_text()
    assert "a part of the store (--corruption contrast --severity 2)" in page
    assert "<small>[1 of 2 corruptions; s2]</small>" in page
    strongs = [row for row in part.summary if row["label"] == "strong"]
    summed = [row for row in strongs if row["metric"] in ("mean", "mCE", "rank")]
    assert {row["metric"] for row in summed} == {"mean", "mCE", "rank"}
    assert all("1 of 2 corruptions; severities 2" in row["covers"] for row in summed)
    assert {row["severity"] for row in part.results} == {"0", "2"}
    assert [(s.model, s.corruption, s.severity) for s in part.missing] == [("third", "contrast", 2)]


@pytest.mark.every_nth(3)
@pytest.mark.parametrize(
    ("corruptions", "severities", "columns"),
    [
        (["imagenet_c"], [], [TWO, ("contrast",)]),
        (["all"], ["all"], [TWO, ("contrast",)]),
        (["pixelate", "contrast"], ["1"], [TWO, ("contrast",)]),
        (["pixelate"], [], [("pixelate",)]),
        (["clean"], [], [(), ()]),
    ],
)
def test_a_part_is_chosen_by_the_names_that_a_run_takes(
    root, tmp_path, corruptions, severities, columns
):
    report = report_store(root, tmp_path, corruptions=corruptions, severities=severities, **LIGHT)
    assert [matrix.table.corruptions for matrix in report.matrices] == columns


def test_the_registry_of_a_set_has_the_name_that_a_run_gives_it(tmp_path):
    table = ExpectedTable("bloodmnist", "test", "bloodmnist", TWO, (1, 2))
    other = ExpectedTable("bloodmnist", "test", "medimeta_c", TWO, (1, 2))
    for names, left in (
        (("medmnist_c",), (TWO, ())),
        (("medimeta_c_and_registry",), (TWO, TWO)),
        (("medimeta_c",), ((), TWO)),
        (("contrast",), (("contrast",), ("contrast",))),
    ):
        choice = Choice(corruptions=names)
        assert (choice.cut(table).corruptions, choice.cut(other).corruptions) == left
    assert Choice(corruptions=("contrast",)).cut(table).in_store == 2
    assert Choice(severities=("1",)).cut(table).in_store == 0


def test_a_report_without_reference_says_why_mce_is_empty_and_how_to_fill_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    models = {"weak": 0.5, "strong": 1.5}
    write_matrix(
        tmp_path / "store", data_record(), models, corruptions=("contrast",), severities=(1,)
    )
    made, named = (
        report_store(
            tmp_path / "store", tmp_path / "out", reference=name, interactive=False, figures=False
        )
        for name in (None, "weak")
    )
    (note,) = [note for note in made.notes if "mCE" in note]
    assert f"medrobust report {tmp_path.name}/store " in note
    assert "--reference strong (or" in note
    assert "strong, weak" in note
    assert not any("mCE is empty" in note for note in named.notes)


def test_a_report_says_where_severities_in_between_lie(tmp_path) -> None:
    data = data_record()
    store, _ = write_matrix(
        tmp_path / "store", data, {"m": 1.0}, corruptions=TWO[:1], severities=(2, 3)
    )
    key = cell_key(data, "m", "contrast", 3, seed=0)
    between = {"name": "contrast", "kernel": "contrast", "severity": 3, "parameters": {"factor": 1}}
    key = replace(key, encoding=key.encoding | {"corruption": between})
    write_cell(store, data, replace(key, spec=replace(key.spec, suite="imagenet_c@2.5")))
    asked = {"robustness_radius": RobustnessRadius(), "operating_limit": OperatingLimit()}
    report = report_store(tmp_path / "store", tmp_path / "out", readings=asked, **LIGHT)
    assert [note for note in report.notes if "contrast" in note] == [
        "contrast (imagenet_c@2.5): 3 at 2.5"
    ]
    for name in asked:
        rows = csv.DictReader((tmp_path / "out" / f"{name}.csv").read_text("utf-8").splitlines())
        highest = {row["suite"]: row["highest_severity"] for row in rows}
        assert highest == {"imagenet_c": "3", "imagenet_c@2.5": "2.5"}
