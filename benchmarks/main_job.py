"""The main job against the bare encoder, and what it costs to start.

The bare encoder sees as many images, as many times, in the same micro-batches: no matrix can cost
less. Both run in this process, one after the other, three times; the smallest ratio counts, since
other work on the machine only makes a run slower.
"""

import contextlib
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from hydra.core.global_hydra import GlobalHydra

from medrobust import cli
from medrobust.models import PhantomClip

ROUNDS = 3
CELLS = 36
RUN = Path(__file__).parent.parent / "run.py"


def main(arguments: Sequence[str]) -> int:
    """Print two tables; takes no arguments."""
    torch.set_num_threads(os.cpu_count() or 1)  # as a run does
    rounds = [one_round() for _ in range(ROUNDS)]
    print("| round | whole matrix, s | bare encoder, s | ratio |")
    print("|--|--|--|--|")
    for number, (whole, bare) in enumerate(rounds, 1):
        print(f"| {number} | {whole:.1f} | {bare:.1f} | {whole / bare:.2f} |")
    print(f"\nsmallest ratio: {min(whole / bare for whole, bare in rounds):.2f}\n")
    print("| start-up | CPU seconds |")
    print("|--|--|")
    for typed in (["--cfg", "job"], ["--help"], ["dry_run=true"]):
        print(f"| `python run.py {' '.join(typed)}` | {cpu_seconds(typed):.2f} |")
    return 0


def one_round() -> tuple[float, float]:
    """Return the seconds of a whole matrix of phantomclip, and of its encoder alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run("corruption=clean", "store.dir=warm", "hydra.run.dir=warm")  # loads, draws, compiles
        started = time.perf_counter()
        run("model=phantomclip", "corruption=medimeta_c", "severity=all", "hydra.run.dir=out")
        whole = time.perf_counter() - started
        os.chdir(RUN.parent)
    return whole, bare_encoder(images=420)


def run(*arguments: str) -> None:
    """Run the entry in this process, silently."""
    GlobalHydra.instance().clear()
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main(arguments)
        except SystemExit as done:
            if done.code:
                raise


def bare_encoder(images: int) -> float:
    """Return the seconds that the encoder takes for all cells of the matrix."""
    source = PhantomClip()
    model = source.load()
    batches = -(-images // source.micro_batch)
    pixels = torch.randn(source.micro_batch, 3, 224, 224)
    with torch.inference_mode():
        model.encode_image(pixels)
        started = time.perf_counter()
        for _ in range(CELLS * batches):
            model.encode_image(pixels)
        return time.perf_counter() - started


def cpu_seconds(arguments: list[str]) -> float:
    """Return the CPU seconds of a process, the smallest of three."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(RUN), *arguments]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, used)
    return best
