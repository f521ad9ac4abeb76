"""Commands that a report offers for cells it lacks: each is run, or composed, as it is printed."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from run_entry import answer, medrobust, rows
from stores import cell_key, data_record, write_cell, write_matrix

from medrobust.cli.cells_command import CellsCommand
from medrobust.cli.hydra_app import composed
from medrobust.evaluation.building import resolved
from medrobust.exceptions import ConfigurationError, UnknownNameError
from medrobust.reporting.from_store import report_store
from medrobust.reporting.report import write_files

RUN = ("model=phantomclip_small", "dataset.per_class=2", "validation=false", "audit=false")
STORE = "else where/it's a store"


def offered(printed: str, before: str) -> list[list[str]]:
    """Take the commands behind some words apart as a shell does, the program's name left out."""
    (line,) = [line for line in printed.splitlines() if before in line]
    commands = line.split(before)[1].split(" && ")
    return [shlex.split(one.removeprefix("medrobust ")) for one in commands]


@pytest.mark.slow
def test_the_commands_for_an_empty_mce_fill_it_when_they_are_run_as_printed(workplace: Path):
    chosen = ("corruption=contrast", "severity=2", f"store.dir={STORE}")
    assert medrobust(*RUN, *chosen) == 0
    (workplace / "below").mkdir()
    given = (workplace / STORE, "--out", "a report", "--light", "--no-figures")
    lone = answer("report", *given, "readings=selective")
    assert "holds phantomclip_small alone, whose mCE by its own errors is 100" in lone.stdout
    page = Path("a report/report.html").read_text()
    assert str(workplace) not in page
    assert "store.dir=&lt;path&gt;" in page
    (making,) = offered(lone.stdout, "such as phantomclip: ")
    (filling,) = offered(lone.stdout, "when that has run, by: ")
    assert filling[:2] == ["report", str(workplace / STORE)]
    assert filling[-3:] == ["readings=selective", "--reference", "phantomclip"]
    assert medrobust(*making) == 0
    assert medrobust(*filling) == 0
    mce = {r["label"]: r["value"] for r in rows("a report/summary.csv") if r["metric"] == "mCE"}
    assert float(mce["phantomclip"]) == 1 != float(mce["phantomclip_small"])
    both = answer("report", *given)
    assert "mCE is empty" in both.stdout
    assert "Name one: medrobust report" in both.stdout


@pytest.fixture
def recorded(workplace: Path, tmp_path: Path):
    """A store of one model, and a function that says what its run was asked for."""
    _, cells = write_matrix(
        tmp_path / "store", data_record(), {"weak": 1.0}, corruptions=["contrast"], severities=(1,)
    )

    def asked(*overrides: str):
        config = resolved(composed(overrides))
        config["dataset"] |= {
            key: "<path>" for key in ("csv", "root") if config["dataset"].get(key)
        }
        return [replace(cell, record={**cell.record, "config": config}) for cell in cells]

    return asked


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        "dataset=bloodmnist dataset.size=28 corruption=medmnist_c",
        "dataset=medmnist dataset.limit=9 corruption=all seed=7",
        "dataset=phantoms_site_b corruption=bubble corruption.suite=bloodmnist",
        "dataset=skinl_photo dataset.label_order=published",
        "corruption=contrast severity=0.5",
        "corruption=contrast severity=ssim_mild severity.equalise.images=9",
        'dataset=npz dataset.file=a.npz \'dataset.class_names=["01", "chest: x, ray"]\'',
    ],
)
def test_the_command_for_a_reference_asks_for_the_same_cells(recorded, tmp_path, asked: str):
    words = shlex.split(asked)
    cells = recorded(*words, "model=phantomclip_small")
    printed = CellsCommand(tmp_path / "store")("biomedclip", cells)
    printed = printed.removesuffix(" (dataset.file=PATH: no record keeps paths)")
    (typed,) = offered(printed, "medrobust ")
    found, wanted = resolved(composed(typed)), cells[0].record["config"]
    for group in ("dataset", "corruption", "seed", "task"):
        assert found[group] == wanted[group] or found[group] == {**wanted[group], "file": "PATH"}
    assert found["severity"] == {**wanted["severity"], "levels": [1]}
    assert found["model"]["name"] == "biomedclip"
    assert found["store"]["dir"] == str(tmp_path / "store")


def test_the_command_keeps_what_decides_the_content_of_cells(recorded, tmp_path):
    asked = ["store.features=true", "trainer.precision=bf16-mixed", "validation=false"]
    sentences = "prompts.templates=['a scan of {}']"
    cells = recorded("dataset=phantoms", "model=phantomclip", sentences, *asked)
    (typed,) = offered(CellsCommand(tmp_path)("phantomclip_small", cells), "medrobust ")
    assert set(asked) < set(typed)
    found = resolved(composed(typed))
    assert found["prompts"] == cells[0].record["config"]["prompts"]
    (other,) = offered(CellsCommand(tmp_path)("biomedclip", cells), "medrobust ")
    assert not any(word.startswith("prompts") for word in other)  # of another name: it counts
    (usual,) = offered(CellsCommand(tmp_path)("phantomclip_small", recorded()), "medrobust ")
    assert not any(word.startswith(("prompts", "store.f", "trainer", "valid")) for word in usual)


@pytest.mark.slow
def test_paths_that_no_record_keeps_are_taken_from_what_was_typed_or_named(recorded, tmp_path):
    cells = recorded("dataset=folder", "dataset.csv=a.csv", "task=retrieval")
    named = CellsCommand(tmp_path)("biomedclip", cells)
    assert named.endswith("(dataset.csv=PATH: no record keeps paths)")
    assert " task=retrieval " in named
    typed = CellsCommand(tmp_path, ["dataset=folder", "dataset.csv=my table.csv"])
    assert " 'dataset.csv=my table.csv' " in typed("biomedclip", cells)
    assert "PATH" not in typed("biomedclip", cells)


@pytest.mark.slow
def test_a_suite_of_ones_own_is_asked_for_where_its_path_was_hidden(recorded, tmp_path):
    cells = recorded("dataset=phantoms", "corruption=medimeta_c")
    for cell in cells:
        cell.record["config"]["corruption"]["suite"] = "<path>"
    named = CellsCommand(tmp_path)("biomedclip", cells)
    assert " corruption.suite=PATH " in named
    assert named.endswith("(corruption.suite=PATH: no record keeps paths)")


def test_a_model_without_a_file_and_cells_of_arrays_get_no_command(recorded, tmp_path):
    cells = recorded("dataset=phantoms")
    making = CellsCommand(tmp_path)
    assert making("clip_vit_b61", cells).startswith("no model file has the name 'clip_vit_b61'")
    alone = [replace(cell, record={**cell.record, "config": {}}) for cell in cells]
    assert "only the program that had them" in making("biomedclip", alone)


def test_the_reference_is_offered_where_a_lone_model_was_run_against_it(recorded, tmp_path):
    making = CellsCommand(tmp_path)
    assert making.another(recorded("dataset=bloodmnist")) == "clip_vit_b16"
    own = [
        replace(cell, spec=replace(cell.spec, model="clip_vit_b16"))
        for cell in recorded("dataset=bloodmnist")
    ]
    assert making.another(own) == "biomedclip"


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ([("weak", "lora")], "models with an adapter alone, and a reference has none"),
        ([("weak", "lora"), ("weak", "none")], "Name one: medrobust report"),
        ([("weak", "none")], "holds weak alone"),
    ],
)
def test_only_a_model_without_adapter_is_named_as_reference(tmp_path, variants, said: str):
    data = data_record()
    for model, adapter in variants:
        store, _ = write_matrix(tmp_path / "s", data, {}, corruptions=[], severities=())
        write_cell(store, data, cell_key(data, model, adapter=adapter))
        write_cell(store, data, cell_key(data, model, "contrast", 1, adapter=adapter))
    report = report_store(tmp_path / "s", tmp_path / "out", interactive=False, figures=False)
    notes = " ".join(report.notes)
    assert said in notes
    assert bool(re.search(r"--reference weak$", notes)) == (len(variants) == 2)


def test_a_model_of_the_store_that_is_not_shown_is_offered_as_reference(tmp_path):
    errors = {"weak": 1.0, "strong": 0.5}
    root = tmp_path / "s"
    write_matrix(root, data_record(), errors, corruptions=["contrast"], severities=(1,))
    report = report_store(
        root, tmp_path / "out", models=["weak"], interactive=False, figures=False,
        making=CellsCommand(root),
    )  # fmt: skip
    assert any(note.endswith(" --reference strong") for note in report.notes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reference": "nope"}, "unknown reference.* 'nope'.*strong.*weak"),
        ({"reference": "weak", "reference_prompts": "nope"}, "unknown prompt set.* 'nope'.*clip"),
    ],
)
def test_a_reference_that_nothing_could_make_is_refused(tmp_path, given, said: str):
    root = tmp_path / "s"
    errors = {"weak": 1.0, "strong": 0.5}
    write_matrix(root, data_record(), errors, corruptions=["contrast"], severities=(1,))
    with pytest.raises(UnknownNameError, match=said):
        report_store(root, tmp_path / "out", making=CellsCommand(root), **given)


def test_a_file_in_place_of_the_folder_of_a_report_is_answered_with_its_switch(tmp_path):
    (tmp_path / "t.csv").touch()
    with pytest.raises(ConfigurationError, match=r"name a folder.*--out of a report"):
        write_files(tmp_path / "t.csv", {"report.html": b""})
