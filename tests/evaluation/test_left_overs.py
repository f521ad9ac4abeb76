"""A run removes what killed runs have left in its store, and nothing that somebody writes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from run_entry import medrobust

from medrobust.base.temporary_names import this_host
from medrobust.evaluation.left_overs import TRAINING_AGE, sweep_store
from medrobust.evaluation.locks import Claims

JOB = (
    *("model=phantomclip_small", "corruption=clean", "dataset.per_class=1", "validation=false"),
    "store.examples=false",
)


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.mark.slow
def test_the_next_run_removes_what_a_killed_one_left(workplace: Path) -> None:
    assert medrobust(*JOB) == 0
    store = Path("outputs/store")
    (cell,) = store.glob("cells/*/*/*/s*")
    (data,) = (store / "data").iterdir()
    before = sorted(store.rglob("*"))
    owner = f"{this_host()}-{dead_process()}-0123456789ab"
    for place in (cell, data, store / "features" / ("f" * 64)):
        left = place.with_name(f".{place.name}-{owner}")
        left.mkdir(parents=True)
        (left / "half.npy").write_bytes(b"x")
    (data / f".data.json-{owner}").write_text("{")
    (store / ".claims").mkdir()
    (store / ".claims" / "abc.lock").touch()
    assert medrobust(*JOB) == 0
    (store / "features").rmdir()
    assert sorted(store.rglob("*")) == before


def test_a_claim_that_is_held_and_a_training_of_late_stay(tmp_path: Path) -> None:
    (tmp_path / ".claims").mkdir()
    training, old = (tmp_path / "adapters" / f".{name}-training" for name in "ab")
    for folder in (training, old):
        folder.mkdir(parents=True)
    then = time.time() - TRAINING_AGE - 60
    os.utime(old, (then, then))
    held = FileLock(tmp_path / ".claims" / "abc.lock")
    with held, Claims(tmp_path) as claims:
        assert sweep_store(tmp_path, claims) == 1
        assert (tmp_path / ".claims" / "abc.lock").exists()
    assert training.exists()
    assert not old.exists()


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with Claims(tmp_path / "store") as claims:
        assert sweep_store(tmp_path / "store", claims) == 0
    assert not (tmp_path / "store").exists()
