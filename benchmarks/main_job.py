"""The main job against the bare encoder, and what it costs to start.

    python -m benchmarks main_job [--rounds N] [--vit-rounds N] [--vit-cells N] [--write]

The bare encoder sees as many images, as many times, in the same micro-batches, preprocessed before
the clock starts; the bare kernels corrupt the same images as many times. Jobs, encoder and kernels
run in this process, in turn; the smallest ratio counts, since other work on the machine only makes
a run slower. A job counts from the loaded model and the open data set to the last table and
picture. Its cells are those of the matrix and the clean validation cell; encoder and kernels count
for all of them.
"""

import argparse
import contextlib
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.environments import THREADS
from benchmarks.setting import Columns, RandomVit, experiment, publish
from medrobust.corruptions import Corruption, Suite
from medrobust.datasets import Phantoms
from medrobust.engine.loader import evaluation_loader
from medrobust.evaluation.extra_cells import beside
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner
from medrobust.evaluation.store import Store
from medrobust.jobs.job import Job
from medrobust.jobs.run import RESOURCES, run_job
from medrobust.models import PhantomClip
from medrobust.reporting import FilesOnly

SUITE = "medimeta_c"
LEVELS = (1, 2, 3, 4, 5)
COUNTS = (10, 40, 160)
"""Cells of the runs that show what one more costs."""

CLOCKS = ("elapsed", "processor")
"""The second counts all threads, and nothing that other work on the machine does."""

RUN = Path(__file__).parent.parent / "run.py"

Times: TypeAlias = NDArray[np.float64]
"""Seconds by both clocks."""


def now() -> Times:
    """Read both clocks."""
    return np.array([time.perf_counter(), time.process_time()])


def main(arguments: Sequence[str]) -> int:
    """Print the tables, and write them if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks main_job")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=420, help="of phantomclip's matrix")
    parser.add_argument("--vit-images", type=int, default=256)
    parser.add_argument("--vit-rounds", type=int, default=1)
    parser.add_argument("--vit-cells", type=int, default=3, help="0 leaves the ViT-B/16 out")
    parser.add_argument("--write", action="store_true", help="to docs/performance/main_job.md")
    options = parser.parse_args(arguments)
    torch.set_num_threads(os.cpu_count() or 1)  # as a run does
    whole = Task(PhantomClip(), options.images, Suite(SUITE), LEVELS)
    parts = [whole.table(options.rounds)]
    if options.vit_cells:
        names = ("gaussian_noise", "zoom_blur", "motion_blur", "impulse_noise", "pixelate")
        columns = Columns(tuple(Corruption(name) for name in names[: options.vit_cells - 1]))
        parts.append(Task(RandomVit(), options.vit_images, columns, (5,)).table(options.vit_rounds))
    parts += [cells_table(), start_table(options.rounds)]
    publish("Speed of the main job", "main_job", "\n\n".join(parts), write=options.write)
    return 0


@dataclass(frozen=True)
class Task:
    """A matrix that is timed.

    Attributes:
        model: Its source.
        images: Of the data set.
        corruption: Columns.
        levels: Severities.
    """

    model: Any
    images: int
    corruption: Any
    levels: tuple[int, ...]

    def table(self, rounds: int) -> str:
        """Time everything in turn."""
        with tempfile.TemporaryDirectory() as folder:
            job = self._experiment(Path(folder) / "warm")
            first = replace(job, data=replace(job.data, severities=self.levels[:1]))
            time_of_job(first, Path(folder))
            self.kernels()
            lines: list[str] = []
            ratios: dict[str, list[Any]] = {clock: [] for clock in CLOCKS}
            for number in range(rounds):
                job = self._experiment(Path(folder) / f"round-{number}")
                cells, tables = time_of_job(job, Path(folder))
                encoder, kernels = self.encoder(), self.kernels()
                parts = [cells, tables, encoder, kernels]
                both = cells + tables
                found = [both / encoder, both / (encoder + kernels), cells / (encoder + kernels)]
                for place, clock in enumerate(CLOCKS):
                    ratios[clock].append([one[place] for one in found])
                    columns = [f"{one[place]:.1f}" for one in parts]
                    columns += [f"{one[place]:.3f}" for one in found]
                    lines.append(f"| {number + 1} | {clock} | {' | '.join(columns)} |")
                    print(lines[-1], file=sys.stderr, flush=True)  # known if it is stopped
        for clock, rows in ratios.items():
            smallest = " | ".join(f"**{min(column):.3f}**" for column in zip(*rows, strict=True))
            lines.append(f"| smallest | {clock} | | | | | {smallest} |")
        return "\n".join(
            [
                f"## {self.model.name}: {self.count} cells of {self.images} images\n",
                "Seconds; the last three columns are ratios.\n",
                "| round | clock | cells | tables and pictures | encoder alone | kernels alone | "
                "job / encoder | job / (encoder + kernels) | cells / (encoder + kernels) |",
                "|--|--|--:|--:|--:|--:|--:|--:|--:|",
                *lines,
            ]
        )

    @property
    def conditions(self) -> list[tuple[Corruption, int]]:
        """Every corruption with every severity."""
        return list(product(self.corruption.expand(None), self.levels))

    @property
    def count(self) -> int:
        """Cells of the job: of the matrix, clean included, and clean validation."""
        return 2 + len(self.conditions)

    @property
    def source(self) -> Phantoms:
        """The data set."""
        return Phantoms(limit=self.images)

    def _experiment(self, store: Path) -> Any:
        return experiment(self.model, self.source, self.corruption, self.levels, store)

    def encoder(self) -> Times:
        """Return what the encoder takes for all cells of the matrix."""
        model = RESOURCES.model(self._experiment(Path()).model)
        size = self.model.micro_batch
        image_set = RESOURCES.image_set(self.source)
        (batch, *_) = evaluation_loader(image_set, batch_size=size, num_workers=0)
        validation = RESOURCES.image_set(self.source, "val")
        passes = (self.count - 1) * -(-len(image_set) // size) + -(-len(validation) // size)
        with torch.inference_mode():
            pixels = model.preprocess(batch.images)
            model.encode_image(pixels)
            started = now()
            for _ in range(passes):
                model.encode_image(pixels)
            return now() - started

    def kernels(self) -> Times:
        """Return what the corruptions take for all cells of the matrix."""
        image_set = RESOURCES.image_set(self.source)
        batches = list(evaluation_loader(image_set, batch_size=64, num_workers=0))
        started = now()
        for corruption, severity in self.conditions:
            for batch in batches:
                corruption(
                    batch.images, severity=severity, stream=image_set.stream, index=batch.index
                )
        return now() - started


def time_of_job(job: Any, folder: Path) -> tuple[Times, Times]:
    """Run a job; return what its cells take, and what is made of them."""
    plans = [*plan(job, RESOURCES), *beside(job, RESOURCES).plans]
    started = now()
    CellRunner(job, RESOURCES, Store(job.where.store)).run(plans)
    middle = now()
    with contextlib.redirect_stdout(io.StringIO()):
        run_job(job, Job(folder=folder, logger=FilesOnly()))
    return middle - started, now() - middle


@dataclass(frozen=True, slots=True)  # as its base is, whose own parts lack a value else
class Numbered(Corruption):
    """Brightness again, as a column of its own."""

    number: int = 0

    def expand(self, registry: str | None, modality: str | None = None) -> tuple[Corruption, ...]:
        """Return it."""
        return (self,)

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Differ from the others by the number."""
        return {**Corruption.identity(self, severity, shape), "number": self.number}


def cells_table() -> str:
    """Time runs of few and of many cells of twenty images."""
    lines = []
    resources = Resources()
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            numbered = tuple(Numbered("brightness", number=number) for number in range(count - 1))
            job = experiment(
                PhantomClip("small"), Phantoms(limit=20), Columns(numbered), (1,), Path(folder)
            )
            plans = plan(job, resources)
            seconds = cpu(lambda: CellRunner(job, resources, Store(job.where.store)).run(plans))  # noqa: B023
        lines.append(f"| {count} | {seconds:.2f} | {1000 * seconds / count:.1f} |")
    return "\n".join(
        [
            "## More cells\n",
            "Cells of twenty images of phantomclip_small, in processor time.\n",
            "| cells | seconds | milliseconds a cell |",
            "|--:|--:|--:|",
            *lines,
        ]
    )


def cpu(function: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def start_table(rounds: int) -> str:
    """Time fresh processes; the smallest of each counts."""
    lines = []
    for typed in (
        ["-c", "'import medrobust'"],
        ["run.py", "--cfg", "job"],
        ["run.py", "--help"],
        ["run.py", "dry_run=true"],
        ["run.py", "model=phantomclip", "corruption=gaussian_noise"],
    ):
        command = [str(RUN) if word == "run.py" else word.strip("'") for word in typed]
        best = [
            min(column) for column in zip(*(process(command) for _ in range(rounds)), strict=True)
        ]
        shown = " ".join(typed).removeprefix("-c ").strip("'")
        lines.append(f"| `{shown}` | {best[0]:.2f} | {best[1]:.2f} |")
    return "\n".join(
        [
            "## Start-up and time to the first matrix\n",
            "Fresh processes; the last runs six cells of 420 images to its matrix and page.\n",
            "| command | elapsed, s | processor time, s |",
            "|--|--:|--:|",
            *lines,
        ]
    )


def process(arguments: list[str]) -> tuple[float, float]:
    """Return the elapsed seconds and the CPU seconds of a fresh interpreter."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *arguments]
        environment = free_threads() | {"PYTHONPATH": str(RUN.parent)}
        subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
    elapsed = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def free_threads() -> dict[str, str]:
    """Return the environment without the limits that other benchmarks set."""
    return {name: value for name, value in os.environ.items() if name not in THREADS}
