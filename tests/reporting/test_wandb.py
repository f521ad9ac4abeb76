"""Offline W&B files of a sweep, read back: groups, ids, status, matrices, and no picture."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import wandb
from packaging.version import Version
from stores import data_record, write_matrix
from validated import write_validated
from wandb_files import read_records

from medrobust.base.redaction import without_paths
from medrobust.exceptions import ConfigurationError
from medrobust.readings import Conformal
from medrobust.reporting import (
    SeriesLogger,
    WandbLogger,
    expected_from_cells,
    make_report,
    reference_cells,
)
from medrobust.reporting.from_store import report_store
from medrobust.reporting.wandb import _tables, job_type, run_id
from medrobust.reporting.wandb_environment import TAKEN, check_exported

CONFIG = {"dataset": {"root": "/home/somebody/scans"}, "seed": 0}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wandb")
    models = {"weak": 0.5, "strong": 1.5}
    store, cells = write_matrix(
        folder / "store", data_record(), models, corruptions=["contrast"], examples=True
    )
    found, _ = reference_cells(store, cells, "weak", command="")
    return make_report(
        cells,
        expected=expected_from_cells(cells),
        missing=[],
        reference="weak",
        reference_cells=found,
        notes=[],
        folder=folder / "out",
        run={},
    )


def records(folder):
    """Read every record of every .wandb file below a folder: file name -> list of records."""
    return {path.stem: read_records(path) for path in sorted(folder.rglob("run-*.wandb"))}


def part(records_, kind):
    return [getattr(r, kind) for r in records_ if r.WhichOneof("record_type") == kind]


def sent(report, folder, name, *, images=False, **run):
    logger = WandbLogger(mode="offline", directory=str(folder), images=images)
    given = {"config": CONFIG, "command": f"python run.py {name}", **run}
    logger.log(report, run=given, group="sweep", name=name)


@pytest.mark.slow
def test_a_run_that_is_kept_offline_says_what_sends_it(report, tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, logger="medrobust")
    sweep = Path("my sweep")

    def said():
        return [r.message for r in caplog.records if r.name.startswith("medrobust")]

    sent(report, sweep / "0,model=weak", "sweep-0,model=weak")
    assert not said(), "a job's line among those of many"
    sent(report, sweep, "sweep-summary")
    (line,) = said()
    command = line.partition("to send it: wandb sync ")[2]
    assert command == "'my sweep'/wandb/offline-run-* 'my sweep'/*/wandb/offline-run-*"
    shell = subprocess.run(f"ls -d {command}", shell=True, capture_output=True, check=True)
    named = {Path(path) for path in shell.stdout.decode().splitlines()}
    assert named == set(Path().rglob("offline-run-*"))
    assert len(named) == 2


def test_a_sweep_is_one_group_whose_summary_owns_the_matrices(report, tmp_path):
    sent(report, tmp_path, "sweep-0,model=weak")
    sent(report, tmp_path, "sweep-summary")
    found = records(tmp_path)
    kinds = {}
    for rows in found.values():
        (run,) = part(rows, "run")[:1]
        assert run.run_group == "sweep"
        command = f"python run.py {run.display_name}"
        assert run.run_id == run_id("medrobust", "sweep", run.display_name, command)
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert config["dataset"] == {"root": "<path>"}
        keys = {i.key or i.nested_key[0] for h in part(rows, "history") for i in h.item}
        kinds[run.job_type] = {key for key in keys if not key.startswith("_")}
        (exit_,) = part(rows, "exit")
        assert exit_.exit_code == 0
        (artifact,) = [a for a in part(rows, "artifact") if a.type == "results"]
        assert {entry.path for entry in artifact.manifest.contents} == {
            "results.csv", "summary.csv", "comparisons.csv", "reasons.csv"
        }  # fmt: skip
        names = {i.key or i.nested_key[0] for s in part(rows, "summary") for i in s.update}
        assert "toy/imagenet_c/strong/mCE_low" in names
    assert kinds["job"] == {"results"}
    wanted = {"results", "summary", "comparisons"}
    for metric in ("error", "balanced_error", "auc"):
        wanted |= {f"{what}/toy/imagenet_c/{metric}" for what in ("matrix", "heat_map", "curve")}
    assert {key.removesuffix("_table") for key in kinds["summary"]} >= wanted


def test_the_matrix_table_has_the_numbers_of_the_report(report, tmp_path):
    sent(report, tmp_path, "sweep-summary")
    (path,) = tmp_path.rglob("media/table/matrix/toy/imagenet_c/error_*.table.json")
    table = json.loads(path.read_text())
    assert table["columns"][:5] == ["model", "clean", "contrast", "mean", "mCE"]
    weak, strong = table["data"]
    matrix = report.matrices[0]
    assert strong[1] == pytest.approx(100 * matrix.clean["error"][1], abs=1e-4)
    assert (weak[0], weak[4]) == ("weak", 100.0)
    low = table["columns"].index("mCE low")
    assert strong[low] < strong[4] < strong[low + 1]


def test_what_readings_write_is_a_table_of_numbers(tmp_path):
    root = write_validated(tmp_path / "store").root
    asked = {"conformal": Conformal()}
    made = report_store(root, tmp_path / "out", interactive=False, figures=False, readings=asked)
    (table,) = (v for k, v in _tables(made).items() if k == "reading/conformal")
    lines = [dict(zip(table.columns, line, strict=True)) for line in table.data]
    assert len(lines) == 10
    assert {type(line["coverage"]) for line in lines} == {float}
    assert {line["verdict"] for line in lines} <= {"below", "inside", "above", ""}
    assert lines[1]["band_low"] is None


@pytest.mark.parametrize("images", [False, True])
def test_no_picture_leaves_unless_it_is_asked_for(report, tmp_path, images):
    sent(report, tmp_path, "sweep-summary", images=images)
    pictures = [p for p in tmp_path.rglob("*") if p.suffix in (".png", ".jpg", ".jpeg")]
    assert bool(pictures) == images
    assert not [
        p for p in tmp_path.rglob("*") if b"somebody" in (p.read_bytes() if p.is_file() else b"")
    ]


def test_a_sweep_with_a_failed_job_ends_with_status_one(report, tmp_path):
    sent(report, tmp_path, "sweep-summary", failed=["out of memory"])
    ((_, rows),) = records(tmp_path).items()
    assert [exit_.exit_code for exit_ in part(rows, "exit")] == [1]


def test_a_report_that_cannot_be_sent_finishes_its_run_with_status_one(
    report, tmp_path, monkeypatch
):
    monkeypatch.setattr("medrobust.reporting.wandb._headline", lambda report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sent(report, tmp_path, "sweep-summary")
    ((_, rows),) = records(tmp_path).items()
    assert [exit_.exit_code for exit_ in part(rows, "exit")] == [1]


@pytest.mark.parametrize(
    "launcher", [{"RANK": "1", "TORCHELASTIC_RUN_ID": "x"}, {"SLURM_PROCID": "1"}]
)
def test_other_ranks_send_nothing(report, tmp_path, monkeypatch, launcher):
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    sent(report, tmp_path, "sweep-summary")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("left", [{"RANK": "3"}, {"LOCAL_RANK": "1"}, {"SLURM_PROCID": ""}])
def test_a_rank_that_is_left_in_the_shell_does_not_silence_a_run(
    report, tmp_path, monkeypatch, left
):
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    sent(report, tmp_path, "sweep-summary")
    assert len(records(tmp_path)) == 1


def test_ids_are_of_the_job_and_kinds_of_its_name():
    assert run_id("p", "g", "n", "c") == run_id("p", "g", "n", "c") != run_id("p", "g", "m", "c")
    assert [job_type(g, n) for g, n in ((None, "x"), ("g", "g-1"), ("g", "g-summary"))] == [
        "run", "job", "summary"
    ]  # fmt: skip
    assert without_paths({"a": ["~/x", "b", 3]}) == {"a": ["<path>", "b", 3]}


def test_the_csv_logger_writes_a_series_over_severity(report, tmp_path):
    made = replace(report, folder=tmp_path)
    SeriesLogger().log(made, run={}, group=None, name="x")
    lines = (tmp_path / "csv" / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + 6
    assert "toy/imagenet_c/strong/contrast/balanced_error" in lines[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_reads_the_matrix_back_as_series_over_severity(report, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    SeriesLogger("tensorboard").log(replace(report, folder=tmp_path), run={}, group=None, name="x")
    events = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    matrix = report.matrices[0]
    for row, model in enumerate(("weak", "strong")):
        points = events.Scalars(f"toy/imagenet_c/{model}/contrast/error")
        assert [point.step for point in points] == [1, 2, 3, 4, 5]
        found = [point.value for point in points]
        assert found == pytest.approx(matrix.values["error"][row, 0].tolist(), abs=1e-6)


def refused_since(version: str) -> pytest.MarkDecorator:
    earlier = Version(wandb.__version__) < Version(version)
    return pytest.mark.skipif(earlier, reason=f"W&B refuses it from {version} on")


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("WANDB_MODE", "nonsense", "'online', 'offline'"),
        ("WANDB_CONSOLE", "loud", "'redirect'"),
        ("WANDB_INIT_TIMEOUT", "soon", "valid number"),
        ("WANDB_HTTP_TIMEOUT", "soon", "valid number"),
        pytest.param("WANDB_TAGS", 65 * "a", "65 characters", marks=refused_since("0.21.4")),
        pytest.param("WANDB_RUN_ID", "site/3:1", "cannot contain", marks=refused_since("0.21")),
        ("WANDB_SWEEP_PARAM_PATH", "/nowhere", "there is no file /nowhere"),
    ],
)
def test_what_wandb_refuses_of_the_environment_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=rf"^{name} is exported as W&B does.*{why}"):
        WandbLogger()


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("short", "40 characters or more, and has 5"),
        ("local-" + 39 * "0", "40 characters or more, and has 39"),
        (40 * "!", "letters, digits and underscores"),
    ],
)
def test_a_key_that_wandb_refuses_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, key: str, why: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    with pytest.raises(ConfigurationError, match=rf"^WANDB_API_KEY is exported as W&B.*{why}"):
        WandbLogger(mode="online")
    WandbLogger(mode="offline")


def test_wandb_is_not_asked_for_values_that_it_is_known_to_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, values in TAKEN.items():
        for value in values:
            wandb.Settings().update_from_env_vars({name: value})
            with monkeypatch.context() as without:
                without.setitem(sys.modules, "wandb", None)
                check_exported({name: value})
                with pytest.raises(ImportError):
                    check_exported({name: "x"})


def test_what_wandb_takes_of_the_environment_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    check_exported({"HOME": "", "WANDB_SOMETHING": "of another release", "WANDB_TAGS": "a,b"})
    for key in (40 * "0", "local-" + 40 * "a", "wandb_v1_" + 77 * "Z", "a-b.c_d.e-f"):
        check_exported({"WANDB_API_KEY": key})
    check_exported({"WANDB_API_KEY": "short"}, mode="offline")
    check_exported({"WANDB_API_KEY": "short", "WANDB_MODE": "offline"})
    for mode in ("online", "offline", "disabled", "dryrun"):
        monkeypatch.setenv("WANDB_MODE", mode)
        WandbLogger()
