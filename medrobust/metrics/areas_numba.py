"""Kernel: the AUROC of many draws of the same images at once."""

from typing import Any

from medrobust.base.numba_jit import native


@native("void(int64[::1], float64[::1], float64[:,::1], float64[:,::1])", any_order=True)
def drawn_pairs(order: Any, chances: Any, drawn: Any, out: Any) -> None:
    """Sum over draws of images what an AUROC is made of, the chances of a hit known.

    Args:
        order: (N,), images from the lowest score on; of equal scores the order decides.
        chances: (N,), that each is positive: of labels 0 or 1.
        drawn: (N, B), how often each is drawn.
        out: (3, B), zeros; set to pairs in which the hit is above the miss (an image with itself
            half), to hits and to misses.
    """
    won, hits, misses = out[0], out[1], out[2]
    for place in order:
        row, chance = drawn[place], chances[place]
        for b in range(len(row)):
            hit = row[b] * chance
            miss = row[b] - hit
            won[b] += hit * (misses[b] + 0.5 * miss)
            hits[b] += hit
            misses[b] += miss
