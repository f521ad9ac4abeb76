"""What a plan will take, from a short measurement: an estimate, and nothing is stored."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medrobust.base.fingerprints import canonical_json
from medrobust.datasets.image_set import ImageSet
from medrobust.engine.loader import StoredImages
from medrobust.tasks.base import ONLINE

from .experiment import Experiment
from .plan import DatasetPlan, PlannedCell
from .resources import Resources
from .run import CellRunner, rows_to_show
from .store import Store

CORRUPTED = 4
"""Images that are corrupted to time a corruption."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is left to do.

    Attributes:
        seconds: Of computing, after start-up and loading.
        memory: Bytes of this process while it measured, the image sets' own maps included.
        gpu_memory: Bytes on the GPU while it measured; 0 without one.
        disk: Bytes that the store grows by.
    """

    seconds: float
    memory: int
    gpu_memory: int
    disk: int

    def __str__(self) -> str:
        gpu = f", {_size(self.gpu_memory)} of the GPU" if self.gpu_memory else ""
        return (
            f"Estimated from a micro-batch and a few corrupted images: {_duration(self.seconds)}, "
            f"{_size(self.memory)} of memory{gpu}, {_size(self.disk)} of disk."
        )


def estimate(
    experiment: Experiment,
    resources: Resources,
    missing: Sequence[tuple[DatasetPlan, Sequence[PlannedCell]]],
) -> Estimate:
    """Measure one micro-batch of each data set and method, and a few images of each corruption.

    The sum of encoding and corruption is counted, although a run overlaps them where it can.

    Args:
        experiment: The job.
        resources: Its model and data sets, loaded.
        missing: The cells to run, by data set.
    """
    seconds = 0.0
    disk = 0
    for plan, cells in missing:
        encodings = {cell.key.encoding_fingerprint: cell for cell in cells}
        if not encodings:
            continue
        count = len(plan.image_set)
        batches = -(-count // experiment.model.source.micro_batch)
        batch, dimension = 0.0, 0
        for group in alike(encodings.values()):
            one, width = _time_micro_batch(experiment, resources, plan, group[0])
            batch += len(group) * one
            dimension = dimension or width
        corrupting = _time_corruptions(
            experiment.data.seed, plan.image_set, list(encodings.values())
        )
        seconds += batches * batch + count * sum(corrupting)
        disk += _disk(experiment, plan.image_set, len(cells), len(encodings) * dimension)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on_gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return Estimate(seconds, used * (1 if sys.platform == "darwin" else 1024), on_gpu, disk)


def alike(cells: Iterable[PlannedCell]) -> list[list[PlannedCell]]:
    """Sort encodings by what a micro-batch costs: of the model, or of a method of any order."""
    found: dict[str, list[PlannedCell]] = {}
    for cell in cells:
        method = dict(cell.key.head[ONLINE]) if cell.streamed else {}
        method.pop("order", None)
        found.setdefault(canonical_json(method), []).append(cell)
    return list(found.values())


def _time_micro_batch(
    experiment: Experiment, resources: Resources, plan: DatasetPlan, cell: PlannedCell
) -> tuple[float, int]:
    """Return the seconds of a clean micro-batch, by the runner itself, and the features' width.

    A method's answers are no features, and its first micro-batch is measured: what it does once a
    cell, or after as many images as it keeps, is counted for each micro-batch or not at all.
    """
    rows = np.arange(min(experiment.model.source.micro_batch, len(plan.image_set)))
    few = plan.image_set.take(rows, fingerprint=plan.image_set.fingerprint)
    clean = replace(cell, corruption=None, after=None, mixture=None)
    with tempfile.TemporaryDirectory(prefix="medrobust-") as scratch:
        store = Store(Path(scratch))
        where = replace(experiment.where, store=store.root, resume=False, keep_features=True)
        short = replace(experiment, where=where)
        runner = CellRunner(short, resources, store)
        part = DatasetPlan(few, few, (), (clean,))
        taken = 0.0
        for _ in range(1 if cell.streamed else 2):  # the first one warms up
            started = time.perf_counter()
            runner.run([part])
            runner.complain()
            taken = time.perf_counter() - started
        features = store.read_features(cell.key.encoding_fingerprint)
    return taken, 0 if features is None else features.shape[1]


def _time_corruptions(seed: int, image_set: ImageSet, cells: Sequence[PlannedCell]) -> list[float]:
    """Return the seconds an image of each cell; severities of a corruption count as the first."""
    count = min(CORRUPTED, len(image_set))
    batch = StoredImages(image_set).__getitems__(range(count))
    known: dict[tuple[Any, str], float] = {}
    found = []
    for cell in cells:
        column = cell.corruption
        if column is None or not column.computed:
            continue
        name = (column.suite, column.name)
        if name not in known:
            for _ in range(2):  # the first one compiles
                started = time.perf_counter()
                column(
                    batch.images,
                    severity=cell.key.spec.severity,
                    seed=seed,
                    stream=image_set.stream,
                    index=batch.index,
                )
                known[name] = (time.perf_counter() - started) / count
        found.append(known[name])
    return found


def _disk(experiment: Experiment, image_set: ImageSet, cells: int, widths: int) -> int:
    """Return the bytes of arrays, records and pictures, and of features where they are kept."""
    count = len(image_set)
    sizes = {"image": count, "class": len(image_set.class_names)}
    arrays = sum(spec.nbytes(sizes) for spec in experiment.model.task.arrays.values())
    record = 2 * len(json.dumps(experiment.config, default=str)) + 4096
    shown = len(rows_to_show(image_set, asked=experiment.where.examples))
    pictures = shown * int(np.prod(image_set.images.shape[1:])) // 2
    features = 4 * count * widths if experiment.where.keep_features else 0
    return cells * (arrays + record + pictures) + features + image_set.ids.nbytes


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
