"""Time and memory of a whole report with intervals over a large store.

    python -m benchmarks.report [CELLS] [IMAGES]

Synthetic: data sets of IMAGES images and 8 classes, seven corruptions by five severities and clean,
models until there are CELLS cells; 1,000 resamples for ranks and comparisons. Writing the store is
not part of the time, nor are the nine figures a matrix for papers. Asked: 10,000 cells in 60 s on
two cores, 2 GB of anonymous memory.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import CellKey, CellSpec, Store
from medrobust.reporting.from_store import report_store

CLASSES = 8
SETS = 7
SEVEN = (
    "gaussian_noise", "impulse_noise", "motion_blur", "zoom_blur", "brightness", "contrast",
    "pixelate",
)  # fmt: skip


def write_store(root: Path, cells: int, images: int) -> None:
    """Write cells model by model over all sets until there are enough."""
    rng = np.random.default_rng(0)
    store = Store(root)
    records = [_record(name, images) for name in range(SETS)]
    for record in records:
        store.write_data(record)
    conditions = [("clean", 0), *((name, level) for name in SEVEN for level in range(1, 6))]
    count = model = 0
    while count < cells:
        for record in records:
            for corruption, severity in conditions:
                if count == cells:
                    return
                truth = np.eye(CLASSES, dtype=np.float32)[record.labels]
                skill = 2.5 + 0.02 * model - 0.3 * severity
                logits = rng.normal(size=truth.shape).astype(np.float32) + skill * truth
                key = _key(record, f"model_{model:02d}", corruption, severity)
                head = {"status": "done", "seconds": 1.0, "config": {}, "versions": {}}
                store.write(key, {"logits": logits}, head)
                count += 1
        model += 1


def _record(number: int, images: int) -> SplitFacts:
    labels = np.random.default_rng(number).integers(CLASSES, size=images)
    return SplitFacts(
        fingerprint=fingerprint(["benchmark", number, images]),
        name=f"set_{number}",
        split="test",
        label_kind="multi-class",
        class_names=tuple(f"class {k}" for k in range(CLASSES)),
        labels=labels.astype(np.int64),
        ids=np.array([f"{number}/{i}" for i in range(images)]),
        origin="public",
    )


def _key(record: SplitFacts, model: str, corruption: str, severity: int) -> CellKey:
    encoding = {
        "weights": model,
        "data": record.fingerprint,
        "corruption": {"name": corruption, "severity": severity},
    }
    suite = "imagenet_c" if severity else "none"
    spec = CellSpec(model, "none", record.name, "test", suite, corruption, severity, None)
    return CellKey(spec, encoding, {"kind": "zero_shot", "name": "plain"}, record.fingerprint)


def anonymous() -> float:
    """Return the anonymous memory of this process and its children in GB (Linux)."""
    total = 0
    children = Path(f"/proc/self/task/{threading.main_thread().native_id}/children")
    for pid in ["self", *children.read_text().split()]:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return total / 1e6


def _processor() -> tuple[float, float]:
    """Return the processor seconds of this process and of its finished children."""
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system


def main(arguments: Sequence[str]) -> int:
    """Print seconds and the largest memory seen; the arguments are cells and images."""
    cells, images = (*map(int, arguments), 1000, 1000)[:2]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_store(root / "store", cells, images)
        seen, stop = [anonymous()], threading.Event()

        def watch() -> None:
            while not stop.wait(0.2):
                seen.append(anonymous())

        watcher = threading.Thread(target=watch)
        watcher.start()
        started, processor = time.perf_counter(), _processor()
        report = report_store(
            root / "store",
            root / "report",
            reference="model_00",
            interactive=False,
            figures=False,
            processes=2,
        )
        seconds = time.perf_counter() - started
        own, children = (a - b for a, b in zip(_processor(), processor, strict=True))
        stop.set()
        watcher.join()
        size = (root / "report" / "report.html").stat().st_size / 1e6
        print(f"{cells} cells of {images} images, {CLASSES} classes: report in {seconds:.1f} s")
        print(f"processor time: {own:.1f} s, and {children:.1f} s in two further processes")
        print(f"largest anonymous memory: {max(seen):.2f} GB (before: {seen[0]:.2f} GB)")
        print(f"{len(report.results)} rows of results, {len(report.summary)} of summary,")
        print(f"{len(report.comparisons)} of comparisons; page of {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
