"""Heads on 100,000 features of 768 numbers: CPU seconds and memory of fit, in a fresh process each.

python -m benchmarks heads            # linear probe, nearest neighbours, prototypes
python -m benchmarks heads 20000      # fewer features

The features are ten overlapping clusters of unit norm (about 4 in 100 lie nearer to another
centre); k is chosen by 2,000 images beside the shots. Seconds are CPU time over the two threads,
since the wall time of a shared machine says more about its neighbours.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

WIDTH, CLASSES, BESIDE = 768, 10, 2_000
ROOT = Path(__file__).resolve().parents[1]
HEADS = ("LinearProbe", "NearestNeighbours", "Prototypes")


def measure(head: str, count: int) -> str:
    """Fit one head in this process, and say what it took."""
    import torch
    from torch.nn import functional

    from medrobust import adapters

    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)

    def drawn(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.randint(0, CLASSES, (number,), generator=generator)
        values = torch.randn(number, WIDTH, generator=generator).mul_(11).add_(centres[labels])
        return functional.normalize(values, dim=1), labels

    shots, beside, asked = drawn(count), drawn(BESIDE), drawn(BESIDE)
    before, started = _spent(), time.perf_counter()
    fitted = getattr(adapters, head)().fit(*shots, "multi-class", CLASSES, beside)
    seconds, wall = _spent() - before, time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    wrong = float((fitted.logits(asked[0]).argmax(1) != asked[1]).double().mean())
    return (
        f"{head:<18} {seconds:6.1f} CPU s, {seconds / 2:5.1f} s a core ({wall:.1f} s wall), "
        f"{peak:.2f} GiB at most, {100 * wrong:.1f} % wrong on others"
    )


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str]) -> int:
    """Measure each head in a process of its own, and print."""
    if len(arguments) == 2:
        print(measure(arguments[0], int(arguments[1])))
        return 0
    count = arguments[0] if arguments else "100000"
    for head in HEADS:
        command = [sys.executable, "-m", "benchmarks.heads", head, count]
        subprocess.run(command, cwd=ROOT, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
