"""Audit, contamination, choice of the reference's prompts, lineage and layout at W&B."""

import json
from dataclasses import replace

import numpy as np
import pytest
from run_entry import answer
from stores import cell_key, data_record, random_logits, write_cell, write_matrix
from wandb_files import read_records

from medrobust.base.seals import sealed_json
from medrobust.evaluation.store import Store
from medrobust.reporting import WandbLogger, reference_cells
from medrobust.reporting.audit import findings
from medrobust.reporting.from_store import report_store

LIGHT = {"interactive": False, "figures": False}


def rewritten(cell, **more):
    """Add to the record of a stored cell."""
    path = cell.folder / "cell.json"
    record = json.loads(path.read_text())
    path.write_bytes(sealed_json(record | more))


def test_marks_are_sorted_by_what_they_are_about():
    marks = (
        "labels of toy/test fit the order 'other' (b, a) better than their own",
        "3 images of test nearly repeat one of train, 3 identical",
        "2 patients are in two splits: train (3 images) and test (4 images)",
        "size 128 is not the standard 224",
    )
    found = findings(data_record(marks=marks))
    assert found["label order"] == marks[0]
    assert found["repeated images"] == marks[1]
    assert found["patients in two splits"] == marks[2]
    assert found["further remarks"] == marks[3]
    assert findings(data_record())["patients in two splits"] == "the set names no patients"
    former = "2 patients of test (4 images) are in train too"
    assert findings(data_record(marks=(former,)))["patients in two splits"] == former


def test_what_files_of_own_data_lack_has_rows_of_its_own():
    marks = (
        "3 of 8 images of test: no usable window in the header: its VOI table was used",
        "2 DICOM files in the folder are not in the table: left out",
    )
    found = findings(data_record(marks=marks))
    assert (found["DICOM window"], found["files not in the table"]) == marks
    assert not {"DICOM window", "files not in the table"} & set(findings(data_record()))


def test_the_label_order_of_own_data_is_not_called_checked():
    assert findings(data_record(origin="own"))["label order"].startswith("not checked")
    assert findings(data_record(origin="public"))["label order"].startswith("no doubt")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([2, 2, 2], "3, with 2 images each"),
        ([2, 3], "2, with 2 to 3 images each"),
        ([1, 1], "2, with 1 image each"),
        ([4], "1, with 4 images each"),
    ],
)
def test_the_images_of_a_patient_are_counted_from_the_true_least(images, said):
    groups = np.repeat([f"p{number}" for number in range(len(images))], images)
    data = data_record(count=len(groups), groups=groups)
    assert findings(data)["patients"] == said


def test_nothing_found_and_nothing_looked_for_are_two_sentences():
    names = np.array([f"p{i}" for i in range(60)])
    looked = replace(data_record(groups=names), compared=("test", "train"))
    assert findings(looked)["repeated images"] == "none within or between test, train"
    assert findings(looked)["patients in two splits"] == "none in test, train"
    part = findings(replace(looked, not_compared=("val: its 9 images are not in the cache yet",)))
    assert part["repeated images"] == (
        "none within or between test, train. Not looked at: val: its 9 images are not in the "
        "cache yet"
    )
    unasked = findings(data_record(groups=names))
    assert unasked["repeated images"] == unasked["patients in two splits"] == "not looked for"


def test_weights_that_saw_the_source_of_a_set_carry_a_mark_everywhere(tmp_path):
    data = data_record("chestmnist")
    _, cells = write_matrix(
        tmp_path / "store", data, {"a": 1.0, "b": 1.5}, corruptions=["contrast"], severities=(1,)
    )
    for cell in cells[:2]:
        rewritten(cell, load_report={"source": "x", "trained_on": ["mimic", "nih_chestxray14"]})
    report = report_store(tmp_path / "store", tmp_path / "out", **LIGHT)
    assert [row.signs for row in report.matrices[0].rows] == ["‡", ""]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "a‡" in page
    assert "holds pictures of the source of chestmnist" in page
    assert "Audit of the data" in page
    marks = {row["model"]: row["marks"] for row in report.summary if row["metric"] == "mean"}
    assert marks == {"a": "trained on nih_chestxray14", "b": ""}
    (tex,) = (tmp_path / "out" / "tables").glob("*.tex")
    assert r"a$^\ddagger$" in tex.read_text()


def test_the_prompt_set_of_the_reference_can_be_chosen(tmp_path):
    store, data = Store(tmp_path), data_record()
    for prompts in ("one", "two"):
        write_cell(store, data, cell_key(data, "weak", prompts=prompts))
    own = [write_cell(store, data, cell_key(data, "strong"))]
    found, note = reference_cells(store, own, "weak", command="C")
    assert found == []
    assert note.endswith("or choose one by reference_prompts=one|two")
    found, note = reference_cells(store, own, "weak", command="C", prompts="two")
    assert [cell.record["head"]["name"] for cell in found] == ["two"]
    assert note is None
    found, note = reference_cells(store, own, "weak", command="C", prompts="three")
    assert found == []
    assert note.endswith("C prompts=three")


@pytest.mark.parametrize("weights", [False, True])
def test_a_run_uses_its_adapters_and_makes_its_results(tmp_path, weights):
    data, root = data_record(), tmp_path / "store"
    store = Store(root)
    key = cell_key(data, "a", adapter="lora")
    cell = write_cell(store, data, key, logits=random_logits(data, key, 1.0))
    print_ = "f" * 64
    rewritten(cell, adaptation={"label": "lora", "draw": 0, "fingerprint": print_})
    store.write_adapter(print_, {"adapter_model.safetensors": b"x", "medrobust.json": b"{}"})
    report = report_store(root, tmp_path / "out", **LIGHT)
    logger = WandbLogger(mode="offline", directory=str(tmp_path / "w"), weights=weights)
    logger.log(report, run={"config": {}, "command": "c"}, group=None, name="n")
    (path,) = (tmp_path / "w").rglob("run-*.wandb")
    sent = [r.artifact for r in read_records(path) if r.WhichOneof("record_type") == "artifact"]
    adapter, results = (next(a for a in sent if a.type == kind) for kind in ("adapter", "results"))
    assert (adapter.name, adapter.use_after_commit) == ("adapter-" + "f" * 12, True)
    assert not results.use_after_commit
    files = {entry.path for entry in adapter.manifest.contents}
    assert files == {"adapter.json"} | ({"adapter_model.safetensors"} if weights else set())


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # the library's own, of pydantic
def test_the_workspace_names_what_a_run_logs(tmp_path):
    pytest.importorskip("wandb_workspaces")
    data = data_record()
    write_matrix(tmp_path / "s", data, {"a": 1.0}, corruptions=["contrast"], severities=(1,))
    report_store(tmp_path / "s", tmp_path / "out", **LIGHT)
    target = tmp_path / "workspace.json"
    assert answer("workspace", tmp_path / "out", "--out", target).returncode == 0
    text = target.read_text()
    for key in ("heat_map/toy/imagenet_c/error", "toy/imagenet_c/a/mCE", "curve/toy/imagenet_c/"):
        assert key in text
    none = answer("workspace", tmp_path / "none")
    assert none.returncode == 1
    assert none.stderr.startswith("error: ")
