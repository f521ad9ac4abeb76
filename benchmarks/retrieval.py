"""Ranks of images and reports against the bare product of their features.

    python -m benchmarks retrieval [COUNT] [--width 512] [--rounds 1]

COUNT images and as many reports, each pair its own, random features of unit norm, one thread. The
bare product multiplies the same blocks and keeps nothing. Both are timed by the processor, in turn.
Asked at 50,000: at most 1.3 times the bare product, and 2 GB beyond the features.
"""

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
import torch

from medrobust.tasks.retrieval import ranks


def bare(images: torch.Tensor, texts: torch.Tensor) -> None:
    """Multiply block by block, as ranking does, and keep nothing."""
    for rows in ranks._blocks(len(images), len(texts)):
        images[rows] @ texts.T


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of a piece of work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def peak() -> float:
    """Return the largest resident memory so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main(arguments: Sequence[str]) -> int:
    """Time both, and print a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images, texts = (
        torch.nn.functional.normalize(
            torch.randn(asked.count, asked.width, generator=generator), dim=1
        )
        for _ in range(2)
    )
    pairs = np.repeat(np.arange(asked.count)[:, None], 2, axis=1)
    few = slice(0, 1000)
    ranks.found_both_ways(images[few], texts[few], pairs[few])  # compiled before it is timed
    before, times = peak(), []
    for _ in range(asked.rounds):
        alone = seconds(lambda: bare(images, texts))
        whole = seconds(lambda: ranks.found_both_ways(images, texts, pairs))
        times.append((alone, whole, whole / alone))
    alone, whole, ratio = (median(column) for column in zip(*times, strict=True))
    print(
        f"{asked.count} x {asked.count} x {asked.width}: bare product {alone:.1f} s, ranks both "
        f"ways {whole:.1f} s, {ratio:.2f} x; {peak() - before:.2f} GB beyond the features"
    )
    return 0
