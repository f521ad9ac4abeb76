"""What a killed process leaves is removed by the next; what a living one writes is not."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medrobust.base import temporary_names
from medrobust.base.temporary_names import AGE, sweep, temporary_name, this_host


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def left(folder: Path, name: str, *, age: float = 0.0) -> Path:
    path = folder / name
    path.mkdir()
    (path / "cell.json").write_text("{")
    then = time.time() - age
    for one in (path / "cell.json", path):
        os.utime(one, (then, then))
    return path


def named(host: str, process: int) -> str:
    return f".s3-0123456789ab-{host}-{process}-0123456789ab"


def test_what_this_process_writes_stays(tmp_path: Path) -> None:
    own = temporary_name(tmp_path / "s3-0123456789ab")
    own.mkdir()
    assert own.name.startswith(".s3-")
    assert sweep(tmp_path) == 0
    assert own.is_dir()


@pytest.mark.parametrize("age", [0, 99 * AGE])
def test_what_a_living_process_writes_stays_however_old(tmp_path: Path, age: float) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        process = pool.apply(os.getpid)
        left(tmp_path, named(this_host(), process), age=age)
        assert sweep(tmp_path) == 0


def test_what_a_process_that_is_gone_has_left_is_removed_at_once(tmp_path: Path) -> None:
    name = named(this_host(), dead_process())
    left(tmp_path, name)
    (tmp_path / f".data.json{name}").write_text("{")
    (tmp_path / "outside").mkdir()
    (tmp_path / f"{name[:-2]}ff").symlink_to(tmp_path / "outside")
    assert sweep(tmp_path) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]


@pytest.mark.parametrize("name", [named("0" * 8, 1), f".s3-0123456789ab-{'0' * 32}"])
def test_what_others_have_left_is_removed_after_a_week(tmp_path: Path, name: str) -> None:
    left(tmp_path, name, age=AGE - 60)
    assert sweep(tmp_path) == 0
    path = left(tmp_path, f"{name[:-2]}ff", age=AGE + 60)
    (path / "cell.json").touch()
    assert sweep(tmp_path) == 0
    os.utime(path / "cell.json", (0, 0))
    assert sweep(tmp_path) == 1
    assert [found.name for found in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", [".claims", ".abc-training", "s3-0123456789ab", ".DS_Store"])
def test_no_other_name_is_touched(tmp_path: Path, name: str) -> None:
    left(tmp_path, name, age=99 * AGE)
    assert sweep(tmp_path) == 0


def test_where_nobody_can_be_asked_nothing_is_gone(tmp_path: Path, monkeypatch) -> None:
    def denied(_process: int, _signal: int) -> None:
        raise PermissionError

    left(tmp_path, named(this_host(), 1))
    monkeypatch.setattr(temporary_names.os, "kill", denied)
    assert sweep(tmp_path) == 0
