"""Peak anonymous memory of a job against the size of its data set.

    python -m benchmarks memory [--images 1000 50000] [--write]

Each size in a fresh process: clean and one corruption with phantomclip_small, images in a memory
map that is sparse on disk. Asked: at most 1.2 times as much with 50,000 images as with 1,000.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.data import PeakMemory
from benchmarks.setting import Given, experiment, image_set, publish

MORE = 1.2


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit with 1 if the larger set needs too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory")
    parser.add_argument("--images", type=int, nargs=2, default=[1000, 50000])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="to docs/performance/memory.md")
    options = parser.parse_args(arguments)
    if options.measure:
        print(peak(options.measure))
        return 0
    command = [sys.executable, "-m", "benchmarks", "memory", "--measure"]
    peaks = [
        int(subprocess.run([*command, str(n)], check=True, capture_output=True).stdout.split()[-1])
        for n in options.images
    ]
    ratio = peaks[1] / peaks[0]
    lines = [f"| {n} | {p / 1e6:.0f} |" for n, p in zip(options.images, peaks, strict=True)]
    text = "\n".join(
        ["| images | peak RssAnon, MB |", "|--:|--:|", *lines, f"| ratio | **{ratio:.2f}** |"]
    )
    publish("Memory of a job", "memory", text, write=options.write)
    return int(ratio > MORE)


def peak(count: int) -> int:
    """Return the most anonymous memory that a job over so many images takes, in bytes."""
    from medrobust.corruptions import Corruption
    from medrobust.evaluation.plan import plan
    from medrobust.evaluation.resources import Resources
    from medrobust.evaluation.run import CellRunner
    from medrobust.evaluation.store import Store
    from medrobust.models import PhantomClip

    with tempfile.TemporaryDirectory() as folder, PeakMemory() as memory:
        images = np.lib.format.open_memmap(
            Path(folder) / "images.npy", "w+", np.uint8, (count, 224, 224, 3)
        )
        images.flush()
        images = np.load(Path(folder) / "images.npy", mmap_mode="r")
        job = experiment(
            PhantomClip("small"),
            Given(image_set(images)),
            Corruption("brightness"),
            (1,),
            Path(folder) / "store",
        )
        resources = Resources()
        CellRunner(job, resources, Store(job.where.store)).run(plan(job, resources))
    return memory.peak
