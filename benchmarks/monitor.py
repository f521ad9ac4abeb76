"""Time and memory of one update of a monitor: 10,000 studies of 768 features and 14 scores.

    python -m benchmarks.monitor

Random numbers in the layout of a ViT-B; the reference has 5,000 studies. Memory is the peak of the
process during the update, beyond what it held before with the new studies in memory.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medrobust.monitor.studies import DAY, Studies
from medrobust.monitor.watch import fit_monitor, update_monitor

KEY = b"k" * 32


def studies(first: int, days: int, per_day: int, seed: int) -> Studies:
    """Draw studies of random numbers."""
    rng = np.random.default_rng(seed)
    count = days * per_day
    return Studies(
        ids=np.array([f"{first}-{row}" for row in range(count)]),
        times=(20_000 + first + np.arange(count) // per_day) * DAY,
        patients=np.array([f"{first}-{row // 2}" for row in range(count)]),
        numbers={name: rng.normal(size=count) for name in ("age", "kvp", "exposure")},
        categories={"view": rng.choice(["PA", "AP", "LL"], count)},
        vectors={
            "embedding": rng.normal(size=(count, 768)).astype(np.float32),
            "scores": rng.random((count, 14)).astype(np.float32),
        },
    )


def peak() -> float:
    """Return the largest memory of the process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit(place: Path) -> None:
    """Fit a monitor, in a process of its own: its memory is not that of the update."""
    start = time.perf_counter(), time.process_time()
    fit_monitor(place, studies(0, 100, 50, 0), key=KEY)
    print(f"fit: {passed(start)}", flush=True)


def passed(start: tuple[float, float]) -> str:
    """Write the time since a start."""
    return f"{time.perf_counter() - start[0]:.2f} s ({time.process_time() - start[1]:.2f} s CPU)"


def main(_arguments: Sequence[str] = ()) -> int:
    """Fit, update, print."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "monitor"
        child = multiprocessing.get_context("spawn").Process(target=fit, args=(place,))
        child.start()
        child.join()
        new = studies(100, 50, 200, 1)
        before = peak()
        start = time.perf_counter(), time.process_time()
        found = update_monitor(place, new, key=KEY)
        print(
            f"update of {found.added} studies: {passed(start)}, {peak() - before:.0f} MB beyond "
            f"what the studies take"
        )
        size = sum(path.stat().st_size for path in (place / "studies").rglob("*.npy"))
        print(f"kept of them: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    main()
