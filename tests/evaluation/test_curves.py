"""Curves of a tuning: loss, rate, selection error, in the project's loggers, always closed."""

import csv
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch import Tensor
from tuning import experiment
from wandb_files import read_records

from medrobust.evaluation.adaptation import adapted
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store
from medrobust.reporting import FilesOnly, RunLogger, SeriesLogger, WandbLogger
from medrobust.tuning import FewShot, TuningError

STEPS, EPOCHS = 6, 2


def tuned(logger: RunLogger, folder: Path) -> None:
    place = {"folder": folder / "job", "group": None, "name": "first"}
    given = experiment(folder / "store")
    adapted(given, Resources(), Store(given.where.store), partial(logger.training, **place))


def broken(self: FewShot, part: Any, features: Tensor) -> Tensor:
    return torch.full((len(part.labels),), torch.nan)


def test_a_file_holds_every_step_and_every_epoch(tmp_path: Path) -> None:
    tuned(SeriesLogger("csv"), tmp_path)
    with (tmp_path / "job/tuning/metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    rates = [float(row["train/rate"]) for row in rows if row["train/rate"]]
    assert len(losses) == len(rates) == STEPS
    assert all(loss > 0 for loss in losses)
    assert rates[0] == 1e-3
    assert rates == sorted(rates, reverse=True), "no warm-up, then cosine"
    errors = [(row["step"], row["selection/error"]) for row in rows if row["selection/error"]]
    assert [step for step, _ in errors] == ["3", "6"]


@pytest.mark.slow
def test_without_a_logger_nothing_is_written_and_the_adapter_is_the_same(tmp_path: Path) -> None:
    tuned(FilesOnly(), tmp_path / "plain")
    tuned(SeriesLogger("csv"), tmp_path / "drawn")
    assert not (tmp_path / "plain/job").exists()
    files = [
        next((tmp_path / name / "store/adapters").glob("*/adapter_model.safetensors"))
        for name in ("plain", "drawn")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_a_run_of_weights_and_biases_is_finished_in_any_case(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    ends: str,
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    import wandb

    if ends == "badly":
        monkeypatch.setattr(FewShot, "_losses", broken)
        monkeypatch.setattr(FewShot, "on_train_start", lambda self: self.logger.experiment)
        with pytest.raises(TuningError, match="not finite"):
            tuned(WandbLogger(), tmp_path)
    else:
        tuned(WandbLogger(), tmp_path)
    assert wandb.run is None
    said = capfd.readouterr().err
    if Version(wandb.__version__) < Version("0.31"):  # it says so of any id offline
        said = re.sub("WARNING (?=`resume` will be ignored since W&B syncing is set to)", "", said)
    assert "WARNING" not in said
    (path,) = (tmp_path / "job").rglob("run-*.wandb")
    records = read_records(path)
    (exit_code,) = [r.exit.exit_code for r in records if r.WhichOneof("record_type") == "exit"]
    assert exit_code == (0 if ends == "well" else 1)
    (run,) = [r.run for r in records if r.WhichOneof("record_type") == "run"][:1]
    assert run.job_type == "tuning"
    assert path.stem == f"run-{run.run_id}"
    keys = {
        item.key or ".".join(item.nested_key)
        for record in records
        if record.WhichOneof("record_type") == "history"
        for item in record.history.item
    }
    if ends == "well":
        assert {"train/loss", "train/rate", "selection/error", "selection/loss"} <= keys
