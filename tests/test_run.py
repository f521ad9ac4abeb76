"""The main job, end to end, as a user runs it."""

import csv
import json
import os
import re
import shlex
import signal
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from checkpoints import write_random_biomedclip
from datasets import write_medmnist
from forked import forked
from run_entry import medrobust

from medrobust.evaluation.store import Store

SMALL = ("dataset.per_class=1", "validation=false")
"""20 phantoms: enough for every path, done in a moment; no cells but those of the tables."""


def cells(root: Path = Path("outputs/store")) -> list[Path]:
    return sorted(root.glob("cells/*/*/*/s*"))


def latest(kind: str) -> Path:
    return sorted(Path("outputs", kind).iterdir())[-1]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.draws
def test_one_model_and_one_corruption_end_in_a_matrix(workplace, capsys) -> None:
    assert medrobust("model=phantomclip", "corruption=gaussian_noise", *SMALL) == 0
    printed = capsys.readouterr().out
    for text in ("phantomclip", "gaussian", "clean", "demonstration", "model=phantomclip_small"):
        assert text in printed
    names = {path.name for path in latest("runs").iterdir()}
    assert {"report.html", "matrix.png", "results.csv", "summary.csv", "run.json"} <= names
    assert len(cells()) == 6
    results = rows(latest("runs") / "results.csv")
    assert [r["severity"] for r in results if r["metric"] == "error"] == list("012345")
    assert {r["suite"] for r in results} == {"none", "imagenet_c"}
    assert {r["seed"] for r in results if r["corruption"] == "clean"} == {""}
    run = json.loads((latest("runs") / "run.json").read_text())
    assert run["computed"] == run["cells"] == 6
    assert run["versions"]["torch"]


def test_a_sweep_writes_each_cell_once_and_its_matrix_again_without_computing(workplace) -> None:
    sweep = ("-m", "model=phantomclip", "corruption=gaussian_noise,motion_blur", "severity=1,5")
    assert medrobust(*sweep, *SMALL, "hydra.sweep.dir=first") == 0
    assert len(cells()) == 5
    before = {path: path.stat().st_mtime_ns for path in Path("outputs/store").rglob("*")}
    assert medrobust(*sweep, *SMALL, "hydra.sweep.dir=second") == 0
    assert {p: p.stat().st_mtime_ns for p in Path("outputs/store").rglob("*")} == before
    assert json.loads(Path("second/run.json").read_text())["computed"] == 0
    for name in ("results.csv", "summary.csv"):
        assert Path("first", name).read_bytes() == Path("second", name).read_bytes()
    results = rows(Path("first/results.csv"))
    conditions = list(dict.fromkeys((r["corruption"], r["severity"]) for r in results))
    assert conditions == [
        ("clean", "0"),
        *((name, s) for name in ("gaussian_noise", "motion_blur") for s in "15"),
    ]
    covers = {r["covers"] for r in rows(Path("first/summary.csv")) if r["metric"] == "mCE"}
    assert covers == {"0 of 2 corruptions; severities 1,5"}


def test_a_job_that_fails_leaves_its_reason_and_the_others_their_matrix(workplace, capfd) -> None:
    models = ("-m", "model=biomedclip,phantomclip", "dataset=phantoms", "prompts=phantoms")
    assert medrobust(*models, "corruption=clean", *SMALL, "hydra.sweep.dir=sweep") == 1
    assert capfd.readouterr().err.splitlines()[-1].startswith("error: model 'biomedclip': ")
    (failed,) = Path("sweep").glob("*/failed.json")
    assert "model.local_dir=" in json.loads(failed.read_text())["reason"]
    assert {r["model"] for r in rows(Path("sweep/results.csv"))} == {"phantomclip"}


@pytest.mark.slow
def test_a_sweep_into_the_folder_of_another_reports_its_own_jobs_only(workplace) -> None:
    sweep = ("-m", "model=phantomclip", "corruption=pixelate", *SMALL, "hydra.sweep.dir=sweep")
    assert medrobust(*sweep, "severity=1,2") == 0
    assert medrobust(*sweep, "severity=2,3") == 0
    severities = {r["severity"] for r in rows(Path("sweep/results.csv"))}
    assert severities == {"0", "2", "3"}


@pytest.mark.slow
def test_a_sweep_over_suites_that_share_parameters_fills_the_table_of_each(workplace) -> None:
    suites = ("-m", "model=phantomclip", "corruption=medimeta_c,gaussian_noise", "severity=1")
    assert medrobust(*suites, *SMALL, "hydra.sweep.dir=sweep") == 0
    covers = [r["covers"] for r in rows(Path("sweep/summary.csv")) if r["metric"] == "mean"]
    assert {text.split(" ")[0] for text in covers} == {"7", "1"}
    assert all(text.split(" ")[0] == text.split(" ")[2] for text in covers)


@pytest.mark.slow
def test_every_data_set_of_a_sweep_keeps_its_own_reference(workplace, capsys) -> None:
    write_medmnist(Path("data"), "bloodmnist")
    sets = ("-m", "model=phantomclip_small", "prompts=medical", "dataset=phantoms,bloodmnist")
    small = ("dataset.limit=20", "corruption=brightness", "severity=1")
    os.environ["MEDROBUST_DATA"] = str(Path("data").absolute())
    try:
        assert medrobust(*sets, *small, "hydra.sweep.dir=sweep") == 0
    finally:
        del os.environ["MEDROBUST_DATA"]
    reference = {
        r["dataset"]: (r["reference"], r["value"])
        for r in rows(Path("sweep/summary.csv"))
        if r["metric"] == "mCE" and r["of"] == "error" and r["split"]
    }
    assert reference == {
        "phantoms": ("phantomclip_small", "1.0"),
        "bloodmnist": ("clip_vit_b16", ""),
    }
    printed = capsys.readouterr().out
    assert "model=clip_vit_b16 dataset=bloodmnist " in printed
    run = json.loads(Path("sweep/run.json").read_text())
    assert run["config"]["dataset"]["_target_"] == [
        "medrobust.datasets.Phantoms",
        "medrobust.datasets.MedMNIST",
    ]


def test_a_part_of_the_images_is_never_stored_as_a_cell(workplace, capfd) -> None:
    chosen = ("corruption=clean", *SMALL, "batch_size=8")
    assert medrobust(*chosen, "+trainer.limit_test_batches=1") == 1
    assert "only 8 of 20 images were encoded" in capfd.readouterr().err
    assert not cells()
    assert medrobust(*chosen) == 0


def test_a_logger_that_fails_costs_the_exit_status_and_nothing_else(workplace, capfd) -> None:
    online = ("logger=wandb", "logger.mode=online", "hydra.run.dir=run")
    environment = {"WANDB_API_KEY": "", "WANDB_MODE": "online", "NETRC": "/nowhere"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        assert medrobust("corruption=clean", *SMALL, *online) == 1
    assert "the logger failed" in capfd.readouterr().err.splitlines()[-1]
    assert Path("run/report.html").exists()


def test_killed_in_the_middle_and_run_again_the_table_is_the_same(workplace) -> None:
    arguments = ["model=phantomclip_small", "corruption=medimeta_c", "severity=1,5", *SMALL]

    def killed(child: int) -> None:
        deadline = time.monotonic() + 120
        while len(cells()) < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)

    assert forked(partial(medrobust, *arguments), meanwhile=killed).returncode == -signal.SIGKILL
    finished = len(cells())
    assert 3 <= finished < 15
    assert medrobust(*arguments, "hydra.run.dir=resumed") == 0
    assert json.loads(Path("resumed/run.json").read_text())["computed"] == 15 - finished
    assert medrobust(*arguments, "hydra.run.dir=whole", "store.dir=other") == 0
    for name in ("results.csv", "summary.csv"):
        assert Path("resumed", name).read_bytes() == Path("whole", name).read_bytes()


@pytest.mark.slow
def test_logits_are_bit_identical_for_every_batch_size_and_worker_count(workplace) -> None:
    variants = [(1, 0), (16, 0), (64, 0), (16, 2)]
    for size, workers in variants:
        store = f"store.dir=store-{size}-{workers}"
        how = (f"batch_size={size}", f"num_workers={workers}", store)
        assert medrobust("corruption=gaussian_noise", "severity=3", *SMALL, *how) == 0
    logits = [
        [cell.arrays["logits"].tobytes() for cell in Store(Path(f"store-{size}-{workers}")).cells()]
        for size, workers in variants
    ]
    assert len(logits[0]) == 2
    assert all(other == logits[0] for other in logits[1:])


@pytest.mark.slow
def test_the_reference_makes_mce_and_a_lone_run_names_the_command(workplace, capsys) -> None:
    chosen = ("corruption=brightness", "severity=5", *SMALL)
    assert medrobust("model=phantomclip", *chosen) == 0
    command = capsys.readouterr().out.split("To make them: medrobust ")[1].splitlines()[0]
    assert medrobust(*command.split()) == 0
    assert medrobust("model=phantomclip", *chosen) == 0
    summary = rows(latest("runs") / "summary.csv")
    mce = {r["of"]: float(r["value"]) for r in summary if r["metric"] == "mCE"}
    error = {
        model: next(c for c in Store(Path("outputs/store")).cells() if is_corrupted(c, model))
        for model in ("phantomclip", "phantomclip_small")
    }
    wrong = {m: np.mean(c.arrays["logits"].argmax(1) != c.data.labels) for m, c in error.items()}
    assert mce["error"] == pytest.approx(wrong["phantomclip"] / wrong["phantomclip_small"])


@pytest.mark.slow
def test_the_command_for_the_reference_knows_what_an_experiment_sets(workplace, capsys) -> None:
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/ward.yaml").write_text(
        "# @package _global_\n# A ward\ndefaults:\n  - override /model: phantomclip\n"
        "  - override /dataset: phantoms\n  - override /corruption: pixelate\n"
        "  - override /severity: s1\ndataset:\n  per_class: 2\n  name: 'ward 7'\nseed: 3\n"
    )
    ward = ("--config-dir", "mine", "experiment=ward")
    assert medrobust(*ward, "seed=4") == 0
    (command,) = re.findall(r"medrobust (--config-dir.*)", capsys.readouterr().out)
    assert command == (
        f"--config-dir={workplace / 'mine'} model=phantomclip_small dataset=phantoms "
        "corruption=pixelate severity=s1 dataset.per_class=2 "
        "'dataset.name='\"'\"'ward 7'\"'\"'' seed=4"
    )
    assert medrobust(*shlex.split(command)) == 0
    assert medrobust(*ward, "seed=4") == 0
    assert "To make" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_jobs_of_a_sweep_are_named_by_what_tells_them_apart(workplace) -> None:
    fixed = ["corruption=brightness", *SMALL, "batch_size=2", "dataset.split=test", "logger=none"]
    fixed += [
        "license=any",
        "num_workers=0",
        "prompts=phantoms",
        "reference=phantomclip",
        "audit=true",
    ]
    assert len(",".join(fixed)) > 150, "too short for names to be cut"
    assert medrobust("-m", "model=phantomclip_small,phantomclip", "severity=1,3", *fixed) == 0
    assert sorted(path.parent.name for path in latest("sweeps").glob("*/run.json")) == [
        "0,model=phantomclip_small,severity=s1",
        "1,model=phantomclip_small,severity=s3",
        "2,model=phantomclip,severity=s1",
        "3,model=phantomclip,severity=s3",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("swept", [False, True])
def test_recorded_and_printed_commands_name_the_folder_of_options_they_need(
    workplace, capsys, swept: bool
) -> None:
    Path("mine/dataset").mkdir(parents=True)
    Path("mine/dataset/few.yaml").write_text(
        "# @package _global_\n# Two of each\nreference: phantomclip\ndefaults:\n  - phantoms\n"
        "  - _self_\ndataset:\n  per_class: 2\n"
    )
    chosen = ("model=phantomclip_small", "dataset=few", "corruption=brightness", "severity=5")
    sweep = ("-m", "seed=0,1") if swept else ()
    assert medrobust(*sweep, *chosen[:2], "--config-dir", "mine", *chosen[2:]) == 0
    folder = latest("sweeps" if swept else "runs")
    typed = json.loads((folder / "run.json").read_text())["command"]
    named = f"--config-dir={workplace / 'mine'}"
    assert named in typed
    printed = capsys.readouterr().out.split("To make them: medrobust ")[1].splitlines()[0]
    page = (folder / "report.html").read_text()
    assert "--config-dir=&lt;path&gt;" in page
    assert str(workplace) not in page
    assert medrobust(*shlex.split(printed)) == 0
    assert medrobust(*shlex.split(typed.removeprefix("medrobust "))) == 0
    assert "To make" not in capsys.readouterr().out
    assert {cell.spec.model for cell in Store(Path("outputs/store")).cells()} == {
        "phantomclip",
        "phantomclip_small",
    }


def is_corrupted(cell, model: str) -> bool:
    return cell.spec.model == model and cell.spec.severity == 5


@pytest.mark.slow
def test_a_real_model_runs_on_its_own_data_set_from_local_files(workplace) -> None:
    write_random_biomedclip(Path("weights"))
    write_medmnist(Path("data"), "bloodmnist")
    files = ("model.local_dir=weights", "model.resolution=160", "dataset.root=data")
    assert medrobust("model=biomedclip", "corruption=gaussian_noise", *files) == 0
    results = rows(latest("runs") / "results.csv")
    assert {r["dataset"] for r in results} == {"bloodmnist"}
    assert {r["model"] for r in results} == {"biomedclip"}
    assert len(cells()) == 7  # and the clean validation images
    report = (latest("runs") / "report.html").read_text()
    assert "demonstration" not in report.lower()


def test_other_folders_and_a_changed_directory_find_the_same_store(workplace) -> None:
    assert medrobust("corruption=clean", *SMALL) == 0
    assert medrobust("corruption=clean", *SMALL, "hydra.job.chdir=true") == 0
    assert Path.cwd() == workplace
    assert len(cells()) == 1
    assert json.loads((latest("runs") / "run.json").read_text())["computed"] == 0


@pytest.mark.slow
def test_a_configuration_folder_of_ones_own_adds_options(workplace) -> None:
    Path("mine/dataset").mkdir(parents=True)
    Path("mine/dataset/few.yaml").write_text(
        "# @package _global_\n# Two of each\nreference: phantomclip\ndefaults:\n  - phantoms\n"
        "  - _self_\ndataset:\n  per_class: 2\n"
    )
    assert medrobust("--config-dir", "mine", "dataset=few", "corruption=clean") == 0
    assert len(cells()) == 2  # and the clean validation images


def test_resume_false_computes_again_and_a_damaged_cell_is_refused(workplace, capsys) -> None:
    chosen = ("corruption=clean", *SMALL)
    assert medrobust(*chosen) == 0
    (cell,) = cells()
    logits = (cell / "logits.npy").read_bytes()
    (cell / "logits.npy").write_bytes(logits[:-4])
    assert medrobust(*chosen) == 1
    assert cell.name in capsys.readouterr().err
    assert medrobust(*chosen, "resume=false") == 0
    assert (cell / "logits.npy").read_bytes() == logits


def test_a_dry_run_computes_and_writes_no_cell(workplace, capsys) -> None:
    assert medrobust("corruption=gaussian_noise", "severity=1,2", *SMALL, "dry_run=true") == 0
    printed = capsys.readouterr().out
    assert "3 cells to run, 0 to skip" in printed
    assert re.search(r"Estimated .*: \d+ s, \d.* of memory, 0\.\d MB of disk", printed)
    assert not Path("outputs/store").exists()


def test_a_dry_run_of_grey_pictures_warns_of_nothing(workplace, capfd) -> None:
    """Grey images come as a view of a map that cannot be written, of which torch would warn."""
    for name in "ab":
        cv2.imwrite(f"{name}.png", np.full((40, 40), 90, np.uint8))
    Path("labels.csv").write_text("path,label,patient\na.png,x,p\nb.png,y,p\n")
    own = ("dataset=folder", "dataset.csv=labels.csv", "dataset.modality=scan")
    assert medrobust("corruption=brightness", "severity=1", *own, "dry_run=true") == 0
    printed = capfd.readouterr().out
    assert "2 cells to run" in printed
    assert "folder/test: 2 images, 1 patient, x 1, y 1" in printed.splitlines()


@pytest.mark.slow
def test_kept_features_serve_another_prompt_set_without_encoding(workplace) -> None:
    chosen = ("corruption=pixelate", "severity=2", *SMALL, "store.features=true")
    assert medrobust(*chosen) == 0
    (Path("mine") / "prompts").mkdir(parents=True)
    Path("mine/prompts/bare.yaml").write_text(
        "# Class names alone\n_target_: medrobust.models.PromptSet\nname: bare\ntemplates: ['{}']\n"
    )
    before = len(list(Path("outputs/store/features").iterdir()))
    assert medrobust("-cd", "mine", "prompts=bare", *chosen) == 0
    assert len(cells()) == 4
    assert len(list(Path("outputs/store/features").iterdir())) == before == 2


def test_a_folder_of_pictures_goes_to_its_matrix_without_names_leaking(workplace) -> None:
    Path("pictures").mkdir()
    lines = ["path,label,patient"]
    generator = np.random.default_rng(0)
    for number in range(6):
        picture = generator.integers(0, 255, (50, 40 + number, 3)).astype(np.uint8)
        cv2.imwrite(f"pictures/secret-{number}.png", picture)
        lines.append(f"pictures/secret-{number}.png,{'ab'[number % 2]},patient-{number // 2}")
    Path("labels.csv").write_text("\n".join(lines) + "\n")
    write_random_biomedclip(Path("weights"))
    folder = ("dataset=folder", "dataset.csv=labels.csv", "corruption=brightness", "severity=1")
    model = ("model=biomedclip", "model.local_dir=weights", "model.resolution=160")
    assert medrobust(*model, *folder) == 0
    assert len(cells()) == 2
    assert not list(Path("outputs/store").rglob("*.png"))
    for path in Path("outputs").rglob("*"):
        if path.is_file():
            assert b"secret-" not in path.read_bytes()
            assert b"patient-" not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["corruption=gausian_noise"], "Did you mean 'gaussian_noise'"),
        (["severity=6"], "severity 6 does not exist"),
        (["severity.levels=[6]"], "levels are 1, 2, 3, 4 and 5"),
        (["corruption=gaussian_noise", "corruption.suite=null"], "registry"),
        (["modle=phantomclip"], "Did you mean 'model'"),
        (["trainer.devces=2"], "Did you mean 'trainer.devices'"),
        (["dataset=folder", "dataset.columns.lable=x"], "Did you mean 'dataset.label_column'?"),
        (["-m", "dataset=dicom", "dataset.windw=x"], "Did you mean 'dataset.window'?"),
        (["few_shot.shots=1"], "tuning=few_shot has 'tuning.shots'"),
        (
            ["dataset=folder", "dataset.csv=a.csv", "+dataset.lable_column=x"],
            "there is no configuration key 'dataset.lable_column'. "
            "Did you mean 'dataset.label_column'?",
        ),
        (["dataset=bloodmnist", "dataset.root=nowhere"], "dataset.download=true"),
        (["model=biomedclip"], "model.local_dir="),
        (["model=biomedclip", "model.local_dir=nowhere"], "nowhere"),
        (["store.dir=file/store", "corruption=clean", *SMALL], "store.dir"),
        (["hydra.run.dir=file/run", "corruption=clean", *SMALL], "hydra.run.dir"),
        (["model=phantomclip", "batch_size=0"], "batch_size"),
        (
            ["model=phantomclip", "reference=null"],
            "reference=null: name the model that CE and mCE compare with",
        ),
        (["model=phantomclip", "batch_size=big"], "whole number"),
        (["model=phantomclip", "resume=no"], "resume='no': write true or false"),
        (["model=phantomclip", "store.examples=no"], "store.examples='no': write true or false"),
        (["model=phantomclip", "dry_run=no"], "write true or false"),
        (["severity.levels=[]"], "levels are 1, 2, 3, 4 and 5"),
        (["severity.levels=3"], "a list of whole numbers"),
        (["trainer.precision=bf16-true", "corruption=clean", *SMALL], "trainer.precision"),
        (["trainer.accelerator=gpu", "corruption=clean", *SMALL], "the trainer cannot be made"),
        (["trainer.accelerator=mps", "corruption=clean", *SMALL], "Choose cpu or cuda"),
        (["dataset=folder"], "dataset.csv"),
        (["verfy"], "unknown command"),
        (["model=phantomclip,phantomclip_small"], "add -m"),
        (["corruption=[fog,snow]"], "Write corruption=fog,snow and -m."),
    ],
)
def test_what_cannot_run_fails_in_one_sentence(workplace, capfd, arguments, sentence) -> None:
    Path("file").write_text("")
    assert medrobust(*arguments) == 1
    error = capfd.readouterr().err
    assert sentence in error
    assert error.lstrip().startswith("error: ")
    assert len(error.strip().splitlines()) == 1
    assert not Path("outputs/store/cells").exists()
