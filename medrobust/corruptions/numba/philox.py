"""Philox4x32-7 for numba kernels: the generator of `medrobust.keys`, one block at a time."""

from typing import Any

import numpy as np
from numba import uint32, uint64

from medrobust.base.numba_jit import native, native_helper
from medrobust.keys import MULTIPLIERS, ROUNDS, WEYL

M0, M1 = (np.uint64(m) for m in MULTIPLIERS)
W0, W1 = (np.uint32(w) for w in WEYL)
HIGH = np.uint64(32)
LOW_HALF = np.uint64(0xFFFFFFFF)

BLOCKS = 256
"""Blocks made at once: four times as many words, small enough for the first-level cache."""


@native_helper
def fill_words(words: Any, first_block: int, number: int, index: int, key0: int, key1: int) -> None:
    """Fill uint32 `words` (4 * BLOCKS,) with the words of BLOCKS blocks from `first_block` on."""
    for b in range(BLOCKS):
        c0, c1 = uint32(first_block + b), uint32(number)
        c2, c3 = uint32(uint64(index) & LOW_HALF), uint32(uint64(index) >> HIGH)
        k0, k1 = uint32(key0), uint32(key1)
        for _ in range(ROUNDS):
            p0, p1 = M0 * uint64(c0), M1 * uint64(c2)
            c0, c1 = uint32(p1 >> HIGH) ^ c1 ^ k0, uint32(p1)
            c2, c3 = uint32(p0 >> HIGH) ^ c3 ^ k1, uint32(p0)
            k0, k1 = uint32(k0 + W0), uint32(k1 + W1)
        words[4 * b] = c0
        words[4 * b + 1] = c1
        words[4 * b + 2] = c2
        words[4 * b + 3] = c3


@native("void(int64[:,::1], int64[::1], int64, int64, int64)")
def make_words(out: Any, index: Any, number: int, key0: int, key1: int) -> None:
    """Write the first words of a draw for each image: out (N, count), values in [0, 2^32)."""
    words = np.empty(4 * BLOCKS, np.uint32)
    count = out.shape[1]
    for n in range(out.shape[0]):
        for first in range(0, count, 4 * BLOCKS):
            fill_words(words, first // 4, number, index[n], key0, key1)
            for j in range(min(4 * BLOCKS, count - first)):
                out[n, first + j] = words[j]
