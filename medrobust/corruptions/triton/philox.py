"""Philox4x32-7 for Triton kernels: the generator of `medrobust.keys`, block after block."""

import triton.language as tl

from medrobust.keys import MULTIPLIERS, ROUNDS, WEYL

from .launch import fused

M0, M1 = (tl.constexpr(multiplier) for multiplier in MULTIPLIERS)
W0, W1 = (tl.constexpr(step) for step in WEYL)
TURNS = tl.constexpr(ROUNDS)


@fused
def make_words(first, number, index, key0, key1, BLOCKS: tl.constexpr):
    """Give the words of BLOCKS blocks from block `first` on: uint32 (4 * BLOCKS,), in order."""
    c0 = (first + tl.arange(0, BLOCKS)).to(tl.uint32)
    c1 = tl.zeros_like(c0) + number.to(tl.uint32)
    c2 = tl.zeros_like(c0) + (index & 0xFFFFFFFF).to(tl.uint32)
    c3 = tl.zeros_like(c0) + (index >> 32).to(tl.uint32)
    k0, k1 = key0.to(tl.uint32, bitcast=True), key1.to(tl.uint32, bitcast=True)
    m0, m1 = tl.full((1,), M0, tl.uint32), tl.full((1,), M1, tl.uint32)
    for _ in tl.static_range(TURNS):
        high0, low0 = tl.umulhi(c0, m0), c0 * m0
        high1, low1 = tl.umulhi(c2, m1), c2 * m1
        c0, c1 = high1 ^ c1 ^ k0, low1
        c2, c3 = high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + W0, k1 + W1
    return tl.interleave(tl.interleave(c0, c2), tl.interleave(c1, c3))


@fused
def make_halves(first, number, index, key0, key1, BLOCKS: tl.constexpr):
    """Give their 16-bit halves, the low one of a word first: int32 (8 * BLOCKS,)."""
    words = make_words(first, number, index, key0, key1, BLOCKS)
    return tl.interleave((words & 0xFFFF).to(tl.int32), (words >> 16).to(tl.int32))
