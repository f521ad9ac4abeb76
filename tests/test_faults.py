"""Faults are made on purpose: what is finished stays, the reason is said, the next run goes on."""

import errno
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from run_entry import medrobust

from medrobust.corruptions import Corruption
from medrobust.engine.loader import PassImages
from medrobust.evaluation.store import Store
from medrobust.jobs import run as jobs

JOB = (
    "model=phantomclip_small", "corruption=pixelate", "severity=1,3,5", "dataset.per_class=1",
    "validation=false",
)  # fmt: skip


def severities(root: str = "outputs/store") -> list[int]:
    return sorted(cell.spec.severity for cell in Store(Path(root)).cells())


def table(folder: str) -> bytes:
    return Path(folder, "results.csv").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole")
    assert medrobust(*JOB, f"store.dir={folder}/store", f"hydra.run.dir={folder}/run") == 0
    return table(f"{folder}/run")


def broken_at(severity: int, raises: Callable[[], BaseException]) -> Any:
    call = Corruption.__call__

    def corrupt(self: Corruption, images: Any, **given: Any) -> Any:
        if given["severity"] == severity:
            raise raises()
        return call(self, images, **given)

    return corrupt


@pytest.mark.parametrize(
    "raises",
    [
        lambda: RuntimeError("CUDA error: an illegal memory access was encountered\nmore"),
        lambda: MemoryError(),
        lambda: ZeroDivisionError("a bug of a kernel"),
    ],
    ids=["GPU", "memory", "bug"],
)
def test_an_error_in_one_cell_leaves_the_others_and_is_tried_again(
    workplace: Path, capfd: Any, monkeypatch: Any, whole: bytes, raises: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Corruption, "__call__", broken_at(3, raises))
        assert medrobust(*JOB, "hydra.run.dir=first") == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: 1 cell failed, phantomclip_small")
    assert type(raises()).__name__ in last
    assert severities() == [0, 1, 5]
    (reason,) = json.loads(Path("first/run.json").read_text())["failed_cells"].values()
    assert reason.startswith(type(raises()).__name__)
    assert type(raises()).__name__ in Path("first/report.html").read_text(encoding="utf-8")
    rows = table("first").decode().splitlines()
    assert len(rows) < len(whole.decode().splitlines())
    assert set(rows) <= set(whole.decode().splitlines())
    assert medrobust(*JOB, "hydra.run.dir=second") == 0
    assert json.loads(Path("second/run.json").read_text())["computed"] == 1
    assert table("second") == whole


def test_a_job_whose_every_cell_fails_says_why(
    workplace: Path, capfd: Any, monkeypatch: Any
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr("medrobust.models.phantomclip.VisualEncoder.forward", broken)
    assert medrobust(*JOB) == 1
    assert "4 cells failed" in capfd.readouterr().err.splitlines()[-1]
    assert severities() == []


def test_a_failed_cell_of_a_sweep_is_missing_in_the_joint_report(
    workplace: Path, capfd: Any, monkeypatch: Any
) -> None:
    sweep = ("-m", *JOB[:2], "severity=1,3", *JOB[3:], "hydra.sweep.dir=sweep")
    monkeypatch.setattr(Corruption, "__call__", broken_at(3, lambda: RuntimeError("it broke")))
    assert medrobust(*sweep) == 1
    assert "it broke" in capfd.readouterr().err.splitlines()[-1]
    assert severities() == [0, 1]
    assert "it broke" in Path("sweep/report.html").read_text(encoding="utf-8")


def test_a_worker_that_dies_costs_its_cell_at_most(
    workplace: Path, monkeypatch: Any, whole: bytes
) -> None:
    def dying(*_: Any) -> Any:  # as torch says it, from wherever its signal handler interrupts
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    with monkeypatch.context() as patch:
        patch.setattr(PassImages, "__getitems__", dying)
        assert medrobust(*JOB) == 1
    assert severities() == []
    assert medrobust(*JOB, "hydra.run.dir=second") == 0
    assert table("second") == whole


def test_a_disk_that_fills_keeps_the_cells_before_and_leaves_no_half(
    workplace: Path, capfd: Any, monkeypatch: Any, whole: bytes
) -> None:
    write, counted = Path.write_bytes, itertools.count()

    def full(self: Path, content: bytes) -> int:
        if "cells" in self.parts and next(counted) >= 5:
            write(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert medrobust(*JOB, "store.examples=false") == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert "the store cannot be written" in last
    assert "No space left" in last
    assert severities() == [0, 1]
    left = [path for path in Path("outputs/store").rglob(".*") if path.is_dir()]
    assert left == []
    assert medrobust(*JOB, "hydra.run.dir=second") == 0
    assert table("second") == whole


def test_an_output_folder_that_vanishes_keeps_the_cells(
    workplace: Path, capfd: Any, monkeypatch: Any, whole: bytes
) -> None:
    run_cells = jobs.run_cells

    def vanishing(*given: Any) -> None:
        run_cells(*given)
        shutil.rmtree("gone")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_cells", vanishing)
        assert medrobust(*JOB, "hydra.run.dir=gone") == 1
    assert "cannot be written" in capfd.readouterr().err.splitlines()[-1]
    assert severities() == [0, 1, 3, 5]
    assert medrobust(*JOB, "hydra.run.dir=second") == 0
    assert json.loads(Path("second/run.json").read_text())["computed"] == 0
    assert table("second") == whole


def test_an_output_folder_that_cannot_be_made_is_one_sentence(workplace: Path, capfd: Any) -> None:
    Path("file").write_text("")
    assert medrobust(*JOB, "hydra.run.dir=file/run") == 1
    assert medrobust(*JOB, "store.dir=file/store", "hydra.run.dir=run") == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [("hydra.run.dir" in line, "store.dir" in line) for line in lines] == [
        (True, True),
        (False, True),
    ]


def test_a_clock_that_jumps_back_changes_no_number(
    workplace: Path, monkeypatch: Any, whole: bytes
) -> None:
    backwards = itertools.count(2_000_000_000, -86_400)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: float(next(backwards)))
        assert medrobust(*JOB, "hydra.run.dir=first") == 0
        assert medrobust(*JOB, "hydra.run.dir=second") == 0
    assert table("first") == table("second") == whole
    assert json.loads(Path("second/run.json").read_text())["computed"] == 0


def test_cuda_memory_that_does_not_suffice_halves_the_batch(
    workplace: Path, monkeypatch: Any, whole: bytes
) -> None:
    refused: list[int] = []
    call = Corruption.__call__

    def corrupt(self: Corruption, images: Any, **given: Any) -> Any:
        if len(images) > 4:
            refused.append(len(images))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, images, **given)

    monkeypatch.setattr(Corruption, "__call__", corrupt)
    assert medrobust(*JOB, "batch_size=16", "hydra.run.dir=run") == 0
    assert refused
    assert table("run") == whole
