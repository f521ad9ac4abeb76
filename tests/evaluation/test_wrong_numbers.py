"""Numbers that must not reach a table: not finite, collapsed, out of range, of other weights."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_entry import medrobust
from safetensors.torch import load_file, save_file
from stores import cell_key, data_record

from medrobust.evaluation.first_batch import check_range, constant_warnings
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.jobs import run as jobs
from medrobust.models import phantomclip
from medrobust.models.preprocess import Preprocess
from medrobust.models.zero_shot import ZeroShotHead
from medrobust.reporting.collapse import collapse_notes

RUN = (
    *("model=phantomclip_small", "corruption=brightness", "severity=1,2", "dataset.per_class=1"),
    *("model.micro_batch=4", "validation=false"),
)


def rows() -> list[dict[str, str]]:
    newest = max(Path("outputs/runs").iterdir())
    with (newest / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cells() -> set[str]:
    return {path.name for path in Path("outputs/store/cells").glob("*/*/*/s*")}


@pytest.mark.slow
def test_numbers_that_are_not_finite_stop_their_cell_and_no_other(
    workplace, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, count = ZeroShotHead.logits, iter(range(100))

    def broken_once(self, features):
        found = logits(self, features)
        if next(count) == 1:  # clean, then severity 1
            found[3, 0] = float("nan")
        return found

    monkeypatch.setattr(ZeroShotHead, "logits", broken_once)
    assert medrobust(*RUN) == 1
    said = capfd.readouterr()
    assert "1 cell failed, " in said.err
    assert "brightness s1 failed: logits of 1 of 20 images are not finite" in said.err
    assert "1 of 3 cells missing" in said.out
    assert sorted(name[:2] for name in cells()) == ["s0", "s2"]
    assert {row["severity"] for row in rows()} == {"0", "2"}
    assert medrobust(*RUN) == 0
    assert sorted(name[:2] for name in cells()) == ["s0", "s1", "s2"]


def test_changed_weights_data_or_prompts_leave_nothing_of_before_in_the_table(
    workplace, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RESOURCES", Resources())
    assert medrobust(*RUN[:2], "severity=1", *RUN[3:]) == 0
    half = cells()
    assert len(half) == 2
    capfd.readouterr()
    state = load_file(phantomclip.weights_file("small"))
    first = next(name for name in state if name.endswith("weight"))
    other = workplace / "other.safetensors"
    save_file({**state, first: state[first] * 1.01}, other)
    with monkeypatch.context() as patch:
        patch.setattr(phantomclip, "weights_file", lambda variant: other)
        assert medrobust(*RUN) == 0
    assert "weights changed since cells of that name were stored" in capfd.readouterr().err
    used = {row["cell"] for row in rows()}
    assert len(used) == 3
    assert not {print_ for print_ in used if any(name.endswith(print_[:12]) for name in half)}
    assert medrobust(*RUN, "dataset.seed=1") == 0
    assert (
        "data (images, labels, limit or metadata columns) changed since" in capfd.readouterr().err
    )
    assert medrobust(*RUN, "prompts.templates=['a drawing of {}']") == 0
    assert "prompts changed since" in capfd.readouterr().err
    assert len(cells()) == 2 + 3 * 3


@pytest.mark.slow
@pytest.mark.parametrize("resume", ["true", "false"])
def test_cells_of_another_job_whose_data_are_gone_or_damaged_stop_no_other(
    workplace, capfd, resume: str
) -> None:
    job = ("model=phantomclip", *RUN[1:2], "severity=1", RUN[-1], "reference=phantomclip_small")
    for model in ("phantomclip", "phantomclip_small"):
        assert medrobust(f"model={model}", *job[1:], "dataset.per_class=1") == 0
    (data,) = Path("outputs/store/data").iterdir()
    shutil.rmtree(data)
    (record,) = Path("outputs/store/cells/phantomclip").glob("*/none.clean/*/cell.json")
    record.write_bytes(record.read_bytes()[:-9])
    capfd.readouterr()
    assert medrobust(*job, "dataset.per_class=2", f"resume={resume}") == 0
    said = capfd.readouterr().err
    assert f"{record.parent} is damaged" in said
    assert "This run does not use it" in said
    assert medrobust("report", "outputs/store") == 1
    assert medrobust(*job, "dataset.per_class=1") == 1


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["masks", "images"])
def test_files_that_change_between_two_jobs_of_a_process_are_read_again(
    workplace, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    folder = workplace / "own"
    folder.mkdir()
    lines = ["path,split,mask"]
    for row in range(4):
        lesion = np.zeros((64, 64), np.uint8)
        lesion[8 : 24 + 8 * row, 16:40] = 255
        Image.fromarray(lesion // 2 + 40).save(folder / f"{row}.png")
        Image.fromarray(lesion).save(folder / f"m{row}.png")
        lines.append(f"{row}.png,test,m{row}.png")
    (folder / "own.csv").write_text("\n".join(lines), encoding="utf-8")
    asked = ("dataset=folder", "dataset.csv=own/own.csv", "dataset.modality=MRI")
    task = ("task=segmentation", "task.segmenter=words", "model=phantomclip_small")
    run = (*asked, *task, "corruption=brightness", "severity=1", "validation=false")
    monkeypatch.setattr(jobs, "RESOURCES", Resources())
    assert medrobust(*run) == 0
    first = cells()
    assert medrobust(*run) == 0
    assert cells() == first, "nothing changed, and nothing is computed again"
    for row in range(4):
        file = folder / (f"m{row}.png" if changed == "masks" else f"{row}.png")
        Image.fromarray(np.asarray(Image.open(file))[::-1].copy()).save(file)
        os.utime(file, ns=(10**18, 10**18))
    assert medrobust(*run) == 0
    assert len(cells() - first) == len(first) == 2


def test_pixels_outside_what_uint8_can_give_are_refused() -> None:
    described = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    pixels = torch.rand(2, 3, 4, 4) * 4 - 2
    check_range(pixels, described, "m on d/test")
    for wrong in (pixels * 255, (pixels - 0.5) / 0.25 - 2):
        with pytest.raises(ConfigurationError, match=r"span .* give -2.00 to 2.00 at most"):
            check_range(wrong, described, "m on d/test")
    with pytest.raises(ConfigurationError, match="not finite"):
        check_range(pixels / 0, {}, "m on d/test")
    check_range(pixels * 255, {}, "a preprocessing that states no mean")


def test_an_all_black_preprocessing_is_told_from_black_images() -> None:
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    assert constant_warnings(images, images.float(), "m on d/test") == []
    (black,) = constant_warnings(images, torch.zeros(3, 3, 8, 8), "m on d/test")
    assert "preprocessing makes the first 3 images one value each" in black
    (stored,) = constant_warnings(images * 0, torch.zeros(3, 3, 8, 8), "m on d/test")
    assert "the first 3 images are of one value each" in stored


@pytest.mark.slow
def test_an_all_black_preprocessing_is_warned_of_on_terminal_and_page(
    workplace, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Preprocess.__call__
    monkeypatch.setattr(jobs, "RESOURCES", Resources())
    monkeypatch.setattr(Preprocess, "__call__", lambda self, images: real(self, images * 0))
    assert medrobust(*RUN) == 0
    printed = " ".join(capfd.readouterr().out.split())
    page = (max(Path("outputs/runs").iterdir()) / "report.html").read_text(encoding="utf-8")
    for sentence in ("preprocessing makes the first 8 images one value", "the same logits for"):
        assert sentence in printed
        assert sentence in page


@pytest.mark.parametrize(
    ("logits", "said"),
    [
        (np.zeros((60, 3)), "the same logits"),
        (np.eye(3)[np.ones(60, int)] + np.arange(60)[:, None], "the same prediction"),
        (np.eye(3)[np.arange(60) % 3], None),
    ],
)
def test_a_collapsed_model_is_named_from_its_cells(tmp_path, logits, said) -> None:
    store, data = Store(tmp_path), data_record()
    store.write_data(data)
    for key in (cell_key(data, "m"), cell_key(data, "m", "contrast", 3)):
        store.write(key, {"logits": logits.astype(np.float32)}, {"status": "done"})
    notes = collapse_notes(list(store.cells()))
    if said is None:
        assert notes == []
    else:
        assert len(notes) == 1
        assert notes[0].startswith(f"m on toy/test: {said} for every image in 2 of 2 cells")
        assert "contrast s3" in notes[0]


def test_one_class_of_labels_says_nothing_of_a_collapse(tmp_path) -> None:
    store, data = Store(tmp_path), data_record()
    data.labels[:] = 1
    store.write_data(data)
    store.write(cell_key(data, "m"), {"logits": np.zeros((60, 3), np.float32)}, {"status": "done"})
    assert collapse_notes(list(store.cells())) == []


@pytest.mark.slow
def test_an_infinite_prior_is_the_model_to_the_bit_however_it_is_typed(workplace) -> None:
    run = (*RUN[:2], "severity=1", *RUN[3:])
    memo = "adapter.online=[{{method: memo, prior: {}, steps: 0, views: 2}}]"
    for infinite in (".inf", "inf"):
        assert medrobust(*run, "adapter=bn_adapt", f"adapter.prior={infinite}") == 0
        assert medrobust(*run, memo.format(infinite)) == 0
        newest = max(Path("outputs/runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        said = json.loads((newest / "run.json").read_text(encoding="utf-8"))["config"]["adapter"]
        assert said["online"][0]["prior"] == "inf"
    store = Store(Path("outputs/store"))
    found = {(c.spec.adapter, c.spec.severity): c.arrays["logits"] for c in store.cells()}
    names = {"none", "bn_adapt prior=inf", "memo views=2 steps=0 prior=inf"}
    assert set(found) == {(name, level) for name in names for level in (0, 1)}
    assert len(cells()) == len(found)  # one cell, typed so or so
    for (_, level), logits in found.items():
        assert np.array_equal(logits, found["none", level])
    assert medrobust("verify", "outputs/store") == 0


@pytest.mark.slow
def test_classes_called_inf_and_nan_are_rebuilt_as_they_are_called(workplace, capfd) -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, 64, 64), np.uint8)
    np.savez("own.npz", test_images=images, test_labels=np.arange(6)[:, None] % 2)
    own = ("model=phantomclip_small", "dataset=npz", "dataset.file=own.npz", "prompts=bare")
    run = (*own, *RUN[1:2], "severity=1", "validation=false", "dataset.license=own")
    for names, positive in (("['inf','nan']", "'inf'"), ("['-inf','.inf']", "'-inf'")):
        named = (f"dataset.class_names={names}", f"dataset.positive={positive}")
        assert medrobust(*run, *named) == 0
    assert len(cells()) == 4
    assert medrobust("verify", "outputs/store", "dataset.file=own.npz") == 0
    capfd.readouterr()
    assert medrobust(*run, "dataset.class_names=[nan,a]") == 1
    assert "dataset.class_names[0] is nan, which is no number" in capfd.readouterr().err
