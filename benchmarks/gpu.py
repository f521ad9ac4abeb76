"""On a GPU: corruptions and the pipeline beside the encoder, and pixels against the contract.

    python -m benchmarks gpu [--images N] [--micro-batch N] [--large N] [--write]

Encoder: a ViT-B/16 with random weights under bf16 autocast, preprocessing included, at one
micro-batch. Kernels: 256 colour images of 224 x 224 that lie on the device, the median of several
calls. Pipeline: cells of a job as a run computes them, from the stored images to the stored
logits; the clean one, which reads the images, and a first one are not counted. Trace: what share of
the time of such cells a kernel runs on the device, from PyTorch's profiler. Large: the pipeline
again with a ViT-L/14 at 336 pixels, which enlarges the images of 224.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.corruptions import MEDMNIST_STEMS, make_images
from benchmarks.setting import Columns, Given, RandomVit, experiment, image_set, publish
from medrobust.corruptions import Corruption, corrupt, suites
from medrobust.corruptions.contract import ROWS, STREAM, Clause, card, pixels_digest
from medrobust.corruptions.shell import run_kernel
from medrobust.evaluation.experiment import How
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, Done
from medrobust.evaluation.store import Store
from medrobust.keys import derive_key
from medrobust.models.speed import Speed

JOBS = (
    *(("imagenet_c", name) for name in suites("imagenet_c")),
    *(("imagenet_c_original", name) for name in ("pixelate", "zoom_blur", "elastic_transform")),
    *((suite, name) for name, suite in MEDMNIST_STEMS.items()),
)
"""(Suite, corruption): each way of corrupting once; MediMeta-C has those of ImageNet-C."""

BATCH = 256
WARM_SHARE = 0.4
"""Of a trace of four cells: the first of them, which compiles kernels and reads the images."""

CONTRACT = Path(__file__).parent.parent / "docs" / "corruption-contract.json"


@dataclass(frozen=True)
class FastVit(RandomVit):
    """A random vision transformer in bf16."""

    def load(self) -> Any:
        """Build the model."""
        model = super().load()
        model.speed = Speed(precision="bf16")
        return model


def main(arguments: Sequence[str]) -> int:
    """Print the tables, and write them if asked; 1 if pixels are not those of the contract."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu")
    parser.add_argument("--images", type=int, default=8192, help="of a cell of the pipeline")
    parser.add_argument("--micro-batch", type=int, default=256)
    parser.add_argument("--large", type=int, default=1024, help="images for ViT-L/14; 0: left out")
    parser.add_argument("--write", action="store_true", help="to docs/performance/gpu.md")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("There is no CUDA device here: run this where there is one.")
        return 2
    equal, clauses = pixels()
    model = FastVit(micro_batch=options.micro_batch)
    encoder = encoder_rate(model)
    parts = [
        f"GPU: {torch.cuda.get_device_name()}; PyTorch {torch.__version__}. Encoder: "
        f"{encoder:.0f} images a second.",
        f"## Pixels\n\n{equal} of {clauses} (corruption, parameters) give the pixels of the CPU to "
        "the bit on the card of the contract.",
        f"## Kernels\n\n{kernel_table(encoder)}",
        f"## Pipeline\n\n{pipeline_table(model, encoder, options.images)}",
        trace(model, options.images // 2),
    ]
    print("\n\n".join(parts), file=sys.stderr, flush=True)  # what is known if it is stopped
    if options.large:
        large = FastVit(micro_batch=options.micro_batch // 2, kind="vit_l14_336")
        rate = encoder_rate(large)
        parts.append(f"## ViT-L/14, 336 pixels\n\nEncoder: {rate:.0f} images a second.")
        jobs = [job for job in JOBS if job[0] == "imagenet_c"]
        parts.append(pipeline_table(large, rate, options.large, jobs))
    text = "\n\n".join(parts)
    publish("Speed on a GPU", "gpu", text, write=options.write)
    return int(equal != clauses)


def pixels() -> tuple[int, int]:
    """Count the clauses of the contract, and those whose pixels the GPU gives to the bit."""
    stored = json.loads(CONTRACT.read_text(encoding="utf-8"))["clauses"]
    fields = ("name", "severity", "kernel", "parameters", "version")
    equal = 0
    for facts in stored:
        clause = Clause(**{field: facts[field] for field in fields})
        key = derive_key(0, STREAM, clause.name, clause.severity)
        rows = torch.tensor(ROWS[:1])
        found = run_kernel(card().cuda(), clause.kernel, clause.parameters, key=key, rows=rows)
        equal += pixels_digest(found.cpu()) == facts["pixels"]
    return equal, len(stored)


def median(call: Callable[[], object], least: int = 5, seconds: float = 0.1) -> float:
    """Return the median seconds of a call, the first not counted."""
    call()
    torch.cuda.synchronize()
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def cards() -> Any:
    """Put 256 images on the device."""
    images = np.ascontiguousarray(make_images(4).transpose(0, 3, 1, 2))
    return torch.from_numpy(images).cuda().repeat(BATCH // 4, 1, 1, 1)


def encoder_rate(source: FastVit) -> float:
    """Return images a second."""
    model = source.load().cuda()
    images = cards().repeat(-(-source.micro_batch // BATCH), 1, 1, 1)[: source.micro_batch]
    with torch.inference_mode():
        seconds = median(lambda: model.encode_image(model.preprocess(images)), 20, 1.0)
    return source.micro_batch / seconds


def kernel_table(encoder: float) -> str:
    """Time each kernel at severities 1, 3 and 5."""
    images = cards()
    lines = []
    for suite, name in JOBS:
        seconds = [
            median(partial(corrupt, images, name, severity=level, suite=suite), 3)
            for level in (1, 3, 5)
        ]
        slowest = BATCH / max(seconds)
        times = " | ".join(f"{1000 * value:.2f}" for value in seconds)
        lines.append(f"| {suite} | {name} | {times} | {slowest:,.0f} | {slowest / encoder:.1f} |")
    return "\n".join(
        [
            f"Milliseconds for {BATCH} images; images a second and the multiple of the encoder's "
            "rate are of the slowest severity.\n",
            "| suite | corruption | severity 1 | 3 | 5 | images/s | times the encoder |",
            "|--|--|--:|--:|--:|--:|--:|",
            *lines,
        ]
    )


def cells(
    model: FastVit, jobs: Sequence[tuple[str, str]], count: int, told: Callable[[Any], None]
) -> None:
    """Run the cells of (suite, corruption) at severity 3, the clean one first."""
    from pytorch_lightning import Trainer

    source, resources = Given(image_set(make_images(8).repeat(count // 8, 0))), Resources()
    columns = Columns(tuple(Corruption(name, suite) for suite, name in jobs))
    with tempfile.TemporaryDirectory() as folder:
        job = experiment(model, source, columns, (3,), Path(folder) / "store")
        trainer = partial(Trainer, accelerator="gpu", devices=1, default_root_dir=folder)
        job = replace(job, how=How(trainer, batch_size="auto"))
        CellRunner(job, resources, Store(job.where.store)).run(plan(job, resources), told)


def pipeline_table(
    model: FastVit, encoder: float, count: int, jobs: Sequence[tuple[str, str]] = JOBS
) -> str:
    """Time whole cells at severity 3; those with the same images, encoded once, count as one.

    The clean cell and the first one after it, which pay once for what all need, are not counted.
    """
    marks: dict[str, tuple[Any, float]] = {}

    def told(done: Done) -> None:
        key = done.cell.key
        marks.setdefault(key.encoding_fingerprint, (key.spec, time.perf_counter()))

    cells(model, [("imagenet_c_64", "gaussian_noise"), *jobs], count, told)
    lines = []
    for (_, before), (spec, after) in [*pairwise(marks.values())][1:]:
        rate = count / (after - before)
        lines.append(f"| {spec.suite} | {spec.corruption} | {rate:,.0f} | {rate / encoder:.3f} |")
    return "\n".join(
        [
            f"{count} images a cell, severity 3, micro-batch {model.micro_batch}.\n",
            "| suite | corruption | images/s | share of the encoder's rate |",
            "|--|--|--:|--:|",
            *lines,
        ]
    )


def trace(model: FastVit, count: int) -> str:
    """Say what share of the time a kernel runs, once the clean cell has been read."""
    names = ("gaussian_noise", "motion_blur", "jpeg_compression")
    jobs = [("imagenet_c", name) for name in names]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        cells(model, jobs, count, lambda _: None)
    work = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profile.events() or ()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    ended = max(end for _, end in work)
    begun = reached = work[0][0] + WARM_SHARE * (ended - work[0][0])
    busy = 0.0
    for start, end in work:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return (
        f"Profiler's trace of {', '.join(names)}: the GPU computes or copies "
        f"{busy / (ended - begun):.3f} of the time."
    )
