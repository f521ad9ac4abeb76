"""Two processes on one store: each computes what the other does not, and both end with all."""

import errno
import multiprocessing
import shutil
import signal
from collections.abc import Callable
from multiprocessing import Process
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from cells import COLUMNS, Wrapped, experiment
from filelock import FileLock

from medrobust.corruptions import Corruption
from medrobust.evaluation.locks import FOLDER, Claims
from medrobust.evaluation.plan import PlannedCell, plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, Done, runner
from medrobust.evaluation.store import Store

RESOURCES = Resources()
NAMES = ["clean", *(column.name for column in COLUMNS)]


def planned(folder: Path) -> tuple[PlannedCell, ...]:
    (only,) = plan(experiment(folder, *COLUMNS), RESOURCES)
    return only.cells


def run(folder: Path, told: Callable[[Done], None] = lambda done: None, **changes) -> list[Done]:
    """Run the plan; `told` hears of each cell once it is noted."""
    done: list[Done] = []

    def note(one: Done) -> None:
        done.append(one)
        told(one)

    given = experiment(folder, *COLUMNS, **changes)
    CellRunner(given, RESOURCES, Store(folder)).run(plan(given, RESOURCES), note)
    return done


def names(done: list[Done]) -> list[str]:
    return [one.cell.key.spec.corruption for one in done]


def stored(folder: Path) -> dict[str, bytes]:
    return {cell.spec.corruption: cell.arrays["logits"].tobytes() for cell in Store(folder).cells()}


def test_a_claim_is_one_process_s_until_it_is_dropped_and_leaves_nothing(tmp_path) -> None:
    first, second = Claims(tmp_path), Claims(tmp_path)
    with first, second:
        assert first.take("a")
        assert first.take("a")
        assert not second.take("a")
        assert second.take("b")
        first.drop("a")
        first.drop("never taken")
        assert second.take("a")
        assert not first.take("a")
        assert not first.take("b")
    assert list(tmp_path.iterdir()) == []
    with Claims(tmp_path, sharing=False) as alone, second:
        assert second.take("a")
        assert alone.take("a")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")]
)
def test_where_nothing_can_be_locked_every_claim_is_granted_with_one_warning(
    tmp_path, monkeypatch, caplog, error
) -> None:
    def refuse(self: FileLock) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        assert all(claims.take(name) for claims in (first, second) for name in "ab")
    assert len(caplog.records) == 2, "one each"
    assert "cannot be locked" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_cell_that_another_holds_is_skipped_and_computed_when_it_lets_go(tmp_path) -> None:
    held = planned(tmp_path)[1]
    with Claims(tmp_path) as other:
        assert other.take(held.key.encoding_fingerprint)
        count = 0

        def let_go(one: Done) -> None:
            nonlocal count
            count += 1
            if count == len(NAMES) - 1:
                other.drop(held.key.encoding_fingerprint)

        done = run(tmp_path, let_go)
    assert names(done) == [NAMES[0], *NAMES[2:], NAMES[1]]
    assert all(one.computed for one in done)
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.slow
def test_a_cell_that_another_finishes_meanwhile_is_not_computed(tmp_path) -> None:
    run(tmp_path / "theirs")
    ours = tmp_path / "ours"
    held = planned(ours)[1]
    with Claims(ours) as other:
        assert other.take(held.key.encoding_fingerprint)

        def finish(one: Done) -> None:
            if one.cell.key.spec.corruption == NAMES[-1]:
                place = held.key.folder
                shutil.copytree(tmp_path / "theirs" / place, ours / place)
                other.drop(held.key.encoding_fingerprint)

        done = run(ours, finish)
    assert [name for name, one in zip(names(done), done, strict=True) if not one.computed] == [
        NAMES[1]
    ]
    assert stored(ours) == stored(tmp_path / "theirs")


@pytest.mark.slow
def test_who_holds_a_cell_and_does_not_move_stops_nobody(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(runner, "PATIENCE", 0.3)
    with Claims(tmp_path) as other:
        assert other.take(planned(tmp_path)[1].key.encoding_fingerprint)
        done = run(tmp_path)
    assert names(done) == [NAMES[0], *NAMES[2:], NAMES[1]]
    assert "computing them here" in caplog.text


@pytest.mark.slow
def test_who_computes_again_or_finds_all_asks_nobody(tmp_path, monkeypatch) -> None:
    run(tmp_path)
    with Claims(tmp_path) as other:
        assert all(other.take(cell.key.encoding_fingerprint) for cell in planned(tmp_path))
        assert [one.computed for one in run(tmp_path, resume=False)] == [True] * len(NAMES)
        assert [one.computed for one in run(tmp_path)] == [False] * len(NAMES)


@pytest.mark.slow
def test_a_cell_that_fails_is_free_for_others(tmp_path, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("it broke")

    seen: list[bool] = []

    def failing(one: Done) -> None:
        if one.cell.key.spec.corruption == NAMES[-1]:
            with Claims(tmp_path) as other:
                seen.append(other.take(planned(tmp_path)[1].key.encoding_fingerprint))

    call = Corruption.__call__
    monkeypatch.setattr(
        Corruption,
        "__call__",
        lambda self, *a, **k: (broken if self.name == NAMES[1] else call)(self, *a, **k),
    )
    assert names(run(tmp_path, failing)) == [NAMES[0], *NAMES[2:]]
    assert seen == [True]


def stopped_in_the_third_cell(folders: list[Path], beside: Connection) -> None:
    """Run the plan in each store: say when the third cell is begun, go on when told to."""

    def stop(_images: object) -> None:
        beside.send("in")
        beside.recv()

    torch.set_num_threads(1)  # those of OpenMP are not in a child
    for folder in folders:
        columns = [Wrapped(stop, one.name) if one is COLUMNS[1] else one for one in COLUMNS]
        given, resources = experiment(folder, *columns), Resources()
        done: list[Done] = []
        CellRunner(given, resources, Store(folder)).run(plan(given, resources), done.append)
        beside.send((sum(one.computed for one in done), len(done)))


def test_another_process_computes_its_cells_and_this_one_those_of_a_dead_one(tmp_path) -> None:
    folders = {"slow": tmp_path / "slow", "killed": tmp_path / "killed"}
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=stopped_in_the_third_cell, args=([*folders.values()], there))
    process.start()
    run(tmp_path / "alone")
    for end, folder in folders.items():
        shared_with(process, here, folder, kill=end == "killed")
        assert stored(folder) == stored(tmp_path / "alone")
        left = list((folder / FOLDER).glob("*"))
        assert not left, "the lock of a dead process is taken and cleared"


def shared_with(process: Process, beside: Connection, folder: Path, *, kill: bool) -> None:
    """Run beside a process that goes on, or dies, when this one has all but one cell."""
    assert beside.poll(60)
    assert beside.recv() == "in"
    count = 0

    def decide(one: Done) -> None:
        nonlocal count
        count += 1
        if count == len(NAMES) - 1 and kill:
            process.kill()
        elif count == len(NAMES) - 1:
            beside.send("go on")

    done = run(folder, decide)
    by_name = {name: one.computed for name, one in zip(names(done), done, strict=True)}
    assert by_name == {
        "clean": False, "contrast": False, "brightness": kill, "pixelate": True, "saturate": True
    }  # fmt: skip
    if kill:
        process.join()
        assert process.exitcode == -signal.SIGKILL
    else:
        assert beside.recv() == (3, 5)
