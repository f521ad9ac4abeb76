"""Kills at random instants, and several processes on one store: what is left, and what comes of it.

Processes are forked from one that has imported everything and run the job once, so that a kill
costs the seconds of the job and no imports.
"""

import contextlib
import gc
import itertools
import json
import logging
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SMALL = ("model=phantomclip_small", "dataset.per_class=1", "validation=false")
EVALUATION = (*SMALL, "corruption=gaussian_noise", "severity=1,3,5")
TUNING = (
    *SMALL, "task=few_shot", "adapter=lora", "task.shots=1", "task.epochs=2", "task.batch_size=4",
    "task.save_every=1", "dataset=phantoms_site_b", "corruption=pixelate", "severity=3",
)  # fmt: skip
PROCESSES = 8
CELLS = 12


@dataclass(frozen=True, slots=True)
class Work:
    """Something that may be killed.

    Attributes:
        name: For the table.
        do: Does it from where it stands in a folder, the current one.
        made: Reads what came of it, to be equal whatever happened.
    """

    name: str
    do: Callable[[], None]
    made: Callable[[Path], list[bytes]]


def works() -> list[Work]:
    """Return what is killed: a matrix, a tuning, the conversion of a file to the cache."""
    return [
        Work("evaluation", lambda: _run(*EVALUATION), _tables),
        Work("tuning", lambda: _run(*TUNING), _tables),
        Work("conversion", _convert, lambda folder: [(folder / "digest").read_bytes()]),
    ]


def _run(*arguments: str) -> None:
    from hydra.core.global_hydra import GlobalHydra

    from medrobust.cli import entry as cli

    GlobalHydra.instance().clear()
    try:
        cli.main([*arguments, "hydra.run.dir=run"])
    except SystemExit as done:
        if done.code:
            raise


def _tables(folder: Path) -> list[bytes]:
    return [(folder / "run" / name).read_bytes() for name in ("results.csv", "summary.csv")]


def _convert() -> None:
    from medrobust.datasets.npz import npz_array

    file = Path("images.npz")
    if not file.exists():
        images = np.random.default_rng(0).integers(0, 256, (400, 224, 224), dtype=np.uint8)
        np.savez_compressed("half.npz", images=images)
        Path("half.npz").rename(file)
    found = npz_array(file, "images", "images", cache_dir="cache")
    content = np.ascontiguousarray(found.open()).tobytes()
    Path("digest").write_text(f"{found.digest} {hash_of(content)}")


def hash_of(content: bytes) -> str:
    """Return the SHA-256 of bytes."""
    import hashlib

    return hashlib.sha256(content).hexdigest()


def forked(function: Callable[[], None], folder: Path) -> int:
    """Call a function in a process of its own, in a folder and silently; returns its id."""
    gc.freeze()  # the fork would walk, and so copy, all that is imported here
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setsid()  # workers die with it
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def kill_all(work: Work, count: int, *, seed: int, folder: Path) -> tuple[int, int, list[str]]:
    """Kill a work `count` times, each at a random instant of a fresh folder, and let it end.

    What was done before is read from `folder` and not done again.

    Returns:
        Runs that were killed and ended in what an undisturbed run makes; those that were done
        before the kill came; and what went wrong.
    """
    notes = folder / f"{work.name}.jsonl"
    done = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    killed = sum(entry["outcome"] != "early" for entry in done)
    if killed < count:
        whole = folder / f"{work.name}-whole"
        shutil.rmtree(whole, ignore_errors=True)
        prepared(work, whole)
        here = Path.cwd()
        os.chdir(whole)
        with contextlib.redirect_stdout(sys.stderr):
            work.do()  # loads and compiles what the forked ones then have
        os.chdir(here)
        logging.getLogger().handlers.clear()
        started = time.monotonic()
        prepared(work, again := folder / f"{work.name}-again")
        _, status = os.waitpid(forked(work.do, again), 0)
        seconds = time.monotonic() - started
        expected = work.made(whole)
        assert not status, (again / "said.txt").read_text()[-2000:]
        assert work.made(again) == expected
    for number in itertools.count(len(done)):
        if killed >= count:
            break
        place = folder / f"{work.name}-{number}"
        prepared(work, place)
        after = float(np.random.default_rng([seed, number]).uniform(0, seconds))
        outcome = _killed_once(work, place, after, expected)
        killed += outcome != "early"
        done.append({"number": number, "after": round(after, 4), "outcome": outcome})
        with notes.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(done[-1]) + "\n")
        if outcome in ("same", "early"):
            shutil.rmtree(place)
    outcomes = [entry["outcome"] for entry in done]
    wrong = [text for text in outcomes if text not in ("same", "early")]
    return outcomes.count("same"), outcomes.count("early"), wrong


def prepared(work: Work, place: Path) -> None:
    """Make an empty folder, with the file that a conversion starts from."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    kept = place.parent / "conversion-whole" / "images.npz"
    if work.name == "conversion" and kept.exists():
        os.link(kept, place / "images.npz")


def _killed_once(work: Work, place: Path, after: float, expected: list[bytes]) -> str:
    process = forked(work.do, place)
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    killed = os.WIFSIGNALED(status)
    _, status = os.waitpid(forked(work.do, place), 0)
    if status:
        return f"status {status}: " + (place / "said.txt").read_text()[-500:]
    if work.made(place) != expected:
        return "another table"
    return "same" if killed else "early"


def together(repetitions: int, folder: Path, *, runs: bool) -> list[str]:
    """Let eight processes fill one store, over and over; returns what went wrong.

    Args:
        repetitions: Fresh stores.
        folder: For them.
        runs: Whole jobs by the entry instead of cells written by the store's own functions.
    """
    wrong: list[str] = []
    here = Path.cwd()
    if runs:
        (folder / "alone").mkdir(parents=True)
        os.chdir(folder / "alone")
        _run(*EVALUATION)
        os.chdir(here)
        logging.getLogger().handlers.clear()
    for repetition in range(repetitions):
        root = folder / f"together-{repetition}"
        begin, ready = os.pipe()
        tasks = [
            _entering(begin, ready, _filling(root, rank, runs=runs)) for rank in range(PROCESSES)
        ]
        processes = [forked(task, root / f"process-{rank}") for rank, task in enumerate(tasks)]
        os.close(begin)
        os.close(ready)  # all begin at once
        for rank, process in enumerate(processes):
            if os.waitpid(process, 0)[1]:
                said = (root / f"process-{rank}" / "said.txt").read_text()[-300:]
                wrong.append(f"repetition {repetition}, process {rank}: {said}")
        wrong += [f"repetition {repetition}: {what}" for what in _judged(root, folder, runs=runs)]
        shutil.rmtree(root)
    return wrong


def _entering(begin: int, ready: int, function: Callable[[], None]) -> Callable[[], None]:
    def waiting() -> None:
        os.close(ready)
        os.read(begin, 1)  # until the last end of the other side is closed
        function()

    return waiting


def _filling(root: Path, rank: int, *, runs: bool) -> Callable[[], None]:
    if runs:
        return lambda: _run(*EVALUATION, f"store.dir={root}/store")

    def fill() -> None:
        from medrobust.evaluation.store import Store
        from rigs.hostile import example_store

        order = np.random.default_rng(rank).permutation(CELLS).tolist()
        for number in order:
            store, key = example_store(root / "store", number)
            assert store.has(key)
            list(Store(root / "store").cells())  # what others are writing is whole or not seen

    return fill


def _judged(root: Path, folder: Path, *, runs: bool) -> list[str]:
    """Say what of a filled store is lost, torn, doubled or left over."""
    from medrobust.evaluation.store import Store

    found = {
        cell.folder.relative_to(root / "store").as_posix(): cell.arrays["logits"].tobytes()
        for cell in Store(root / "store").cells()
    }
    left = [path.name for path in (root / "store").rglob(".*") if path.is_dir()]
    wrong = [f"left over: {left}"] if left else []
    if runs:
        alone = folder / "alone/outputs/store"
        expected = {
            c.folder.relative_to(alone).as_posix(): c.arrays["logits"].tobytes()
            for c in Store(alone).cells()
        }
        tables = _tables(folder / "alone")
        wrong += [
            f"process {rank} has another table"
            for rank in range(PROCESSES)
            if _tables(root / f"process-{rank}") != tables
        ]
    else:
        expected = {}
        for number in range(CELLS):
            values = np.random.default_rng(number).normal(size=(6, 3)).astype(np.float32)
            expected[number] = values.tobytes()
        if sorted(found.values()) != sorted(expected.values()):
            wrong.append("cells are lost, torn or doubled")
        return wrong
    return [*wrong, "cells are lost, torn or doubled"] if found != expected else wrong
