"""Memory and time of opening large sets: `python benchmarks/data.py --folder /scratch`.

Writes pathmnist-like `.npz` files (224 × 224 RGB, compressed) of 1,000 and of 50,000 images, which
take up to 10 GB of disk with their cache and are deleted afterwards. Each figure comes from a fresh
process. Printed: peak anonymous memory (RssAnon, sampled; pages of the memory map do not count)
while a set is opened and read once in batches of 64; the time of the first open, against numpy
reading the same arrays; the time of the second open.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

BLOCK = 250
MORE_MEMORY = 1.2
SLOWER = 1.2
SECOND_OPEN = 0.5


def blocks(count: int) -> Iterator[np.ndarray]:
    """Yield picture-like uint8 blocks: smooth shapes under noise of a few grey levels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:224, 0:224] / 224
    waves = np.stack([np.sin(6 * (x * a + y * b)) for a, b in rng.normal(size=(3, 2))], axis=-1)
    base = (120 + 90 * waves)[None] + rng.integers(-4, 5, (BLOCK, 224, 224, 3))
    pictures = np.clip(base, 0, 255).astype(np.uint8)
    for start in range(0, count, BLOCK):
        part = pictures[: count - start].copy()
        part[:, :4, :4] = np.random.default_rng(start).integers(0, 256, (len(part), 4, 4, 3))
        yield part


def write_npz(file: Path, count: int) -> None:
    """Write a MedMNIST file with `count` test images, block by block."""
    labels = (np.arange(count, dtype=np.uint8) % 9)[:, None]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("test_images.npy", "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, 224, 224, 3)}
            np.lib.format.write_array_header_1_0(member, header)
            for block in blocks(count):
                member.write(block.tobytes())
        with archive.open("test_labels.npy", "w") as member:
            np.lib.format.write_array(member, labels)


class PeakMemory:
    """Samples RssAnon of this process in a thread."""

    def __enter__(self) -> "PeakMemory":
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, anonymous_memory())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_memory())


def anonymous_memory() -> int:
    """Return the anonymous memory of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def measure(folder: Path, what: str) -> dict[str, float]:
    """Measure in this process: "numpy", "open" or "read"."""
    if what == "numpy":
        start = time.perf_counter()
        with np.load(folder / "pathmnist_224.npz") as arrays:
            total = len(arrays["test_images"]) + len(arrays["test_labels"])
        return {"seconds": time.perf_counter() - start, "rows": total}
    from medrobust.datasets import MedMNIST
    from medrobust.engine.loader import evaluation_loader

    source = MedMNIST("pathmnist", root=str(folder), cache_dir=str(folder / "cache"))
    with PeakMemory() as memory:
        start = time.perf_counter()
        image_set = source.load()
        seconds = time.perf_counter() - start
        if what == "read":
            for batch in evaluation_loader(image_set, batch_size=64, num_workers=0):
                batch.images.amax()
    return {"seconds": seconds, "bytes": memory.peak}


def in_process(folder: Path, what: str) -> dict[str, float]:
    """Run `measure` in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--folder", str(folder), "--measure", what],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def timings(folder: Path, rounds: int) -> tuple[float, float, float]:
    """Return the best seconds of numpy, of the first open and of the second, taken in turn."""
    numpy, first, second = [], [], []
    for _ in range(rounds):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        os.sync()
        numpy.append(in_process(folder, "numpy")["seconds"])
        first.append(in_process(folder, "open")["seconds"])
        second.append(in_process(folder, "open")["seconds"])
    return min(numpy), min(first), min(second)


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit with 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--images", type=int, nargs=2, default=[1000, 50000])
    parser.add_argument("--rounds", type=int, default=3, help="of each timing; the best counts")
    parser.add_argument("--measure", choices=["numpy", "open", "read"], help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure:
        print(json.dumps(measure(given.folder, given.measure)))
        return 0
    peaks, missed = [], []
    for count in given.images:
        with tempfile.TemporaryDirectory(dir=given.folder) as place:
            folder = Path(place)
            write_npz(folder / "pathmnist_224.npz", count)
            peaks.append(in_process(folder, "read")["bytes"])
            again = in_process(folder, "read")["bytes"]
            print(
                f"{count:>6} images: peak {peaks[-1] / 1e6:.0f} MB anonymous, {again / 1e6:.0f} "
                f"MB when opened again",
                flush=True,
            )
            if count == given.images[0]:  # numpy would hold all of the larger set in memory
                numpy, first, second = timings(folder, given.rounds)
                print(
                    f"{count:>6} images: numpy {numpy:.2f} s, first open {first:.2f} s "
                    f"({first / numpy:.2f}x), second open {second:.3f} s",
                    flush=True,
                )
                if first > SLOWER * numpy:
                    missed.append(f"first open {first / numpy:.2f}x of numpy")
            else:
                second = in_process(folder, "open")["seconds"]
                print(f"{count:>6} images: second open {second:.3f} s", flush=True)
            if second > SECOND_OPEN:
                missed.append(f"second open {second:.2f} s with {count} images")
    ratio = max(peaks) / min(peaks)
    print(f"memory of the larger set: {ratio:.2f}x")
    if ratio > MORE_MEMORY:
        missed.append(f"memory {ratio:.2f}x")
    print("missed: " + "; ".join(missed) if missed else "all targets met")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
