"""Corruptions: milliseconds for a 224 x 224 RGB image, against what there was before.

    python -m benchmarks corruptions [--write docs/performance/corruptions.md]

One core is processor time of one thread, the fastest of several passes over the same images, as
the mean over severities 1 to 5, for the published package and for us alike. All cores is elapsed
time over a batch of 64.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

import numpy as np

from benchmarks.environments import (
    IMAGECORRUPTIONS,
    MEDMNISTC,
    ROOT,
    MissingError,
    Package,
    environment,
    one_thread_libraries,
)

SIDE, IMAGES, BATCH = 224, 4, 64
ONE_CORE_BATCH = 16
"""Images in a call of ours on one core; the published packages take one a call."""

SEVERITIES = range(1, 6)
DEVICES = "## Artifacts of devices"
SHARE = {"jpeg_compression": 0.95}
"""Least ratio of one core where the time goes into the same mathematics as in the reference."""

BOUNDS = {
    "gaussian_noise": "a 16-bit normal a value: Philox, then a look-up in 128 KB",
    "shot_noise": "a 32-bit word a value: Philox, then a look-up in 256 KB",
    "impulse_noise": "a 32-bit word a value: Philox",
    "speckle_noise": "a 16-bit normal a value: Philox, then a look-up in 256 KB",
    "defocus_blur": "two vector operations a step of the disk's rim and value",
    "glass_blur": "two Gaussian blurs; the displacement is sequential",
    "motion_blur": "a vector multiply-add a tap (21 to 41) and value",
    "zoom_blur": "a gather a magnification (11 to 16) and value",
    "snow": "multiply-adds of 21 to 25 taps on one plane",
    "frost": "two look-ups a value",
    "fog": "a 32-bit word a pixel: Philox, then memory",
    "brightness": "a look-up a value in 64 KB",
    "contrast": "a look-up a value in 256 bytes",
    "elastic_transform": "two smoothed fields, then four gathers a value",
    "pixelate": "box sums of every value, memory",
    "jpeg_compression": "two transforms of 8 x 8 blocks each way",
    "gaussian_blur": "a vector multiply-add a pair of taps (4 to 24) and axis",
    "spatter": "a smoothed field; two passes of distances for water",
    "saturate": "four float64 divisions a pixel",
    "gamma_corr_up": "a look-up a value in 256 bytes",
    "gamma_corr_down": "a look-up a value in 256 bytes",
}
"""What keeps a kernel from being faster, one line each; names of MedMNIST-C with up or down share
that of their stem."""


@dataclass
class Row:
    """One corruption of one package."""

    package: str
    suite: str
    name: str
    theirs: float | str
    one: float | None = None
    all: float | None = None
    gpu: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times faster one core of ours is; None where one of the two is missing."""
        if self.one is None or isinstance(self.theirs, str):
            return None
        return self.theirs / self.one


def make_images(count: int) -> np.ndarray:
    """Make images with structure at every scale: uint8 (N, 224, 224, 3)."""
    values = np.random.default_rng(0)
    total = np.zeros((count, SIDE, SIDE, 3))
    for cell in (56, 28, 14, 7, 2, 1):
        coarse = values.random((count, SIDE // cell, SIDE // cell, 3))
        total += cell**0.7 * coarse.repeat(cell, 1).repeat(cell, 2)
    total -= total.min()
    return (total / total.max() * 255).astype(np.uint8)


def jobs(package: Package) -> list[tuple[str, str]]:
    """List (suite, corruption): for MedMNIST-C each one in the first registry that has it."""
    from medrobust.corruptions import suites

    if package is IMAGECORRUPTIONS:
        return [("imagenet_c", name) for name in suites("imagenet_c")]
    return [(suite, name) for name, suite in MEDMNIST_STEMS.items()]


MEDMNIST_STEMS = {
    "pixelate": "pathmnist",
    "jpeg_compression": "pathmnist",
    "gaussian_noise": "dermamnist",
    "speckle_noise": "dermamnist",
    "impulse_noise": "dermamnist",
    "shot_noise": "dermamnist",
    "defocus_blur": "pathmnist",
    "motion_blur": "pathmnist",
    "zoom_blur": "dermamnist",
    "gaussian_blur": "chestmnist",
    "brightness_up": "pathmnist",
    "brightness_down": "pathmnist",
    "contrast_up": "pathmnist",
    "contrast_down": "pathmnist",
    "saturate": "pathmnist",
    "stain_deposit": "pathmnist",
    "bubble": "pathmnist",
    "black_corner": "dermamnist",
    "characters": "dermamnist",
    "gamma_corr_up": "chestmnist",
    "gamma_corr_down": "chestmnist",
}


def measure_theirs(package: Package, images: np.ndarray) -> list[Row]:
    """Run a published package over the images, in its own environment."""
    python = environment(package)
    ROOT.mkdir(parents=True, exist_ok=True)
    files = [ROOT / f"{package.name}.{part}" for part in ("npy", "jobs.json", "result.json")]
    np.save(files[0], images)
    files[1].write_text(json.dumps(jobs(package)))
    worker = Path(__file__).with_name("reference.py")
    subprocess.run([python, worker, package.name, *files], check=True, stderr=subprocess.DEVNULL)
    found = json.loads(files[2].read_text())
    return [Row(package.name, s, n, found[f"{s}/{n}"]) for s, n in jobs(package)]


def fastest(call: Callable[[], object], clock: Callable[[], float], seconds: float = 0.15) -> float:
    """Time a call: the fastest of several."""
    call()
    times, spent = [], 0.0
    while len(times) < 3 or (spent < seconds and len(times) < 30):
        start = clock()
        call()
        times.append(clock() - start)
        spent += times[-1]
    return min(times)


def measure_ours(row: Row, images: np.ndarray) -> None:
    """Fill in our times, where this checkout has the corruption."""
    import torch

    from medrobust.corruptions import corrupt, suites

    if row.suite not in suites() or row.name not in suites(row.suite):
        return
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    many = batch.repeat(BATCH // len(batch), 1, 1, 1)

    def run(on: torch.Tensor, severity: int) -> torch.Tensor:
        return corrupt(on, row.name, severity=severity, suite=row.suite)

    def mean(on: torch.Tensor, clock: Callable[[], float]) -> float:
        times = [fastest(lambda s=s: run(on, s), clock) for s in SEVERITIES]
        return 1000 * sum(times) / len(times) / len(on)

    torch.set_num_threads(1)
    row.one = mean(many[:ONE_CORE_BATCH], time.process_time)
    torch.set_num_threads(os.cpu_count() or 1)
    row.all = mean(many, time.perf_counter)
    if torch.cuda.is_available():
        card = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).cuda()
        card = card.repeat(256 // len(card), 1, 1, 1)

        def waited() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        row.gpu = mean(card, waited)
    torch.set_num_threads(1)


@dataclass
class Pick:
    """An operation of the same kind from a library of today."""

    name: str
    library: str
    operation: str
    theirs: float
    ours: float

    @property
    def ratio(self) -> float:
        """How many times faster one core of ours is."""
        return self.theirs / self.ours


def measure_picks(images: np.ndarray) -> list[Pick]:
    """Time the operations of today's libraries, and ours at severity 3, on one core."""
    import cv2
    import torch

    from benchmarks.practitioners import as_input, operations
    from medrobust.corruptions import corrupt

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    batch = batch.repeat(ONE_CORE_BATCH // len(batch), 1, 1, 1)
    ours: dict[str, float] = {}
    picks = []
    for name, library, operation, call in operations():
        inputs = [as_input(library, image) for image in images]
        theirs = fastest(lambda c=call, i=inputs: [c(x) for x in i], time.process_time)
        if name not in ours:
            ours[name] = fastest(lambda n=name: corrupt(batch, n, severity=3), time.process_time)
        each, own = 1000 * theirs / len(images), 1000 * ours[name] / len(batch)
        picks.append(Pick(name, library, operation, each, own))
    return picks


def geometric_mean(ratios: Sequence[float]) -> float:
    """Average ratios."""
    return exp(sum(log(r) for r in ratios) / len(ratios))


def number(value: float | str | None) -> str:
    """Print a time, or why there is none."""
    if isinstance(value, str):
        return "missing"
    return "" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def bound(name: str) -> str:
    """Look up what bounds a kernel."""
    stem = name.removesuffix("_up").removesuffix("_down")
    return BOUNDS.get(name) or BOUNDS.get(stem, "few pixels are touched: memory")


def report(rows: Sequence[Row], picks: Sequence[Pick], missing: Sequence[str]) -> str:
    """Write the tables as markdown."""
    from benchmarks.practitioners import libraries

    lines = [
        "# Speed of the corruptions",
        "",
        "Milliseconds for one 224 x 224 RGB image, mean over severities 1 to 5, written by "
        "`python -m benchmarks corruptions --write docs/performance/corruptions.md`. One core: "
        "processor time of one thread, the fastest of several passes over the same images in the "
        f"same run. All cores: elapsed time over a batch of {BATCH}.",
        "",
        f"Machine: {processor()}, {os.cpu_count()} cores; Python {platform.python_version()}. "
        f"Load of the machine during the run: {os.getloadavg()[2]:.1f}; processor time bears it, "
        "elapsed time does not.",
    ]
    gpu = any(row.gpu is not None for row in rows)
    for package in dict.fromkeys(row.package for row in rows):
        chosen = [row for row in rows if row.package == package]
        ratios = [row.ratio for row in chosen if row.ratio is not None]
        lines += ["", f"## {package}", ""]
        if ratios:
            lines += [
                f"Geometric mean of the one-core ratio over {len(ratios)} corruptions: "
                f"**{geometric_mean(ratios):.1f}**; smallest {min(ratios):.2f}.",
                "",
            ]
        more = " our GPU |" if gpu else ""
        lines += [
            f"| corruption | suite | theirs | ours, one core | ratio | ours, all cores |{more} "
            "bound by |",
            "|--|--|--:|--:|--:|--:|" + ("--:|" if gpu else "") + "--|",
        ]
        for row in chosen:
            ratio = "" if row.ratio is None else f"{row.ratio:.1f}"
            card = f" {number(row.gpu)} |" if gpu else ""
            lines.append(
                f"| {row.name} | {row.suite} | {number(row.theirs)} | {number(row.one)} | {ratio} "
                f"| {number(row.all)} |{card} {bound(row.name)} |"
            )
        for row in chosen:
            if isinstance(row.theirs, str):
                lines.append(f"\n{row.name} of {package} did not run: {row.theirs}")
    if picks:
        found = ", ".join(f"{n} {v or '(not installed)'}" for n, v in libraries().items())
        best = {p.name: p for p in sorted(picks, key=lambda p: -p.theirs)}
        lines += [
            "",
            "## What one would pick today",
            "",
            f"One core, severity 3 or as near as the operation goes: {found}. These operations "
            "differ from the benchmarks' definitions; only the kind is the same. Geometric mean "
            f"of the ratio over all: **{geometric_mean([p.ratio for p in picks]):.2f}**; over the "
            f"fastest of each kind: **{geometric_mean([p.ratio for p in best.values()]):.2f}**.",
            "",
            "| corruption | operation | theirs | ours | ratio | what ours adds, where slower |",
            "|--|--|--:|--:|--:|--|",
        ]
        lines += [
            f"| {p.name} | {p.library} {p.operation} | {number(p.theirs)} | {number(p.ours)} | "
            f"{p.ratio:.2f} | {ADDED.get(p.name, '') if p.ratio < 1 else ''} |"
            for p in picks
        ]
    lines += [f"\nMissing: {reason}" for reason in missing]
    return "\n".join(lines) + "\n"


ADDED = {
    "brightness": "hue and saturation kept: the largest of three channels selects the table",
    "contrast": "the mean of every channel, not of one grey image",
    "saturate": "float64 in the reference's order, so that truncation falls as it does there",
    "pixelate": "box sums of all values instead of picking some",
    "jpeg_compression": "the same pixels on every device and for every version of libjpeg",
    "gaussian_blur": "float32 out to four sigma instead of 8-bit fixed point",
    "zoom_blur": "magnifications in float32, of the published sizes and offsets",
    "snow": "a layer of streaks, smeared along a line",
    "gaussian_noise": "independent keyed draws for every value",
    "impulse_noise": "independent keyed draws for every value",
    "speckle_noise": "independent keyed draws for every value",
}
"""The work that the faithful definition adds, for kernels that a library of today outruns."""


def processor() -> str:
    """Name the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        names = [row.split(":")[1].strip() for row in text.splitlines() if "model name" in row]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write if asked; 1 if a kernel is slower than it may be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks corruptions")
    parser.add_argument("--write", type=Path, help="also write the tables to this file")
    parser.add_argument("--only", nargs="*", help="these corruptions alone")
    options = parser.parse_args(arguments)
    one_thread_libraries()
    images = make_images(IMAGES)
    rows, missing = [], []
    for package in (IMAGECORRUPTIONS, MEDMNISTC):
        try:
            rows += measure_theirs(package, images)
        except MissingError as error:
            missing.append(f"{package.name} {package.version}: {error}")
            rows += [Row(package.name, s, n, "not measured") for s, n in jobs(package)]
    rows = [row for row in rows if not options.only or row.name in options.only]
    for row in rows:
        measure_ours(row, images)
    picks = [] if options.only else measure_picks(images)
    text = report(rows, picks, missing)
    print(text)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        before = options.write.read_text(encoding="utf-8") if options.write.exists() else ""
        kept = before.partition(DEVICES)  # another benchmark's section
        page = f"{text}\n{kept[1]}{kept[2]}" if kept[1] else text
        options.write.write_text(page, encoding="utf-8")
    slow = [r for r in rows if r.ratio is not None and r.ratio < SHARE.get(r.name, 1.0)]
    for row in slow:
        print(f"{row.name} of {row.package} is slower than it may be: {row.ratio:.2f}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
