"""Killed while it sends to W&B: store and tables are whole, and the next run logs them once."""

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from forked import forked
from run_entry import medrobust
from wandb.sdk.wandb_run import Run
from wandb_files import read_records

from medrobust.evaluation.store import Store

RUN = (
    "model=phantomclip_small", "corruption=pixelate", "severity=1", "dataset.per_class=1",
    "validation=false", "logger=wandb", "logger.mode=offline",
)  # fmt: skip


def killed_while_logging() -> None:
    """Run the job, and be killed after the first that it logs."""
    log = Run.log

    def killed_after(self: Run, *given: Any, **more: Any) -> None:
        log(self, *given, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    Run.log = killed_after
    medrobust(*RUN, "hydra.run.dir=killed")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # the library's own, of pydantic
def test_a_job_killed_while_it_logs_loses_nothing_and_is_logged_by_the_next(
    workplace: Path,
) -> None:
    done = forked(killed_while_logging)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(Path("killed").rglob("run-*.wandb")), "it was killed in the middle of sending"
    assert sorted(cell.spec.severity for cell in Store(Path("outputs/store")).cells()) == [0, 1]
    with Path("killed/results.csv").open(encoding="utf-8") as file:
        assert {row["severity"] for row in csv.DictReader(file)} == {"0", "1"}
    for name in ("report.html", "summary.csv", "run.json", "matrix.png"):
        assert Path("killed", name).stat().st_size > 0
    assert medrobust(*RUN, "hydra.run.dir=next") == 0
    assert json.loads(Path("next/run.json").read_text())["computed"] == 0
    for name in ("results.csv", "summary.csv"):
        assert Path("next", name).read_bytes() == Path("killed", name).read_bytes()
    (sent,) = Path("next").rglob("run-*.wandb")
    records = read_records(sent)
    history = [r.history for r in records if r.WhichOneof("record_type") == "history"]
    keys = [key for one in history for key in {i.key or i.nested_key[0] for i in one.item}]
    matrices = [key for key in keys if key.startswith("heat_map/")]
    assert matrices
    assert len(matrices) == len(set(matrices)), "each matrix once"
