"""Artifacts for the CPU. `out` begins as a copy, and only what a mark covers is touched."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native

_BATCH = "uint8[:,:,:,::1], uint8[:,:,:,::1]"
_ONE, _EACH = "int64[::1]", "int64[:,::1]"


@native(f"void({_BATCH}, int64, int64, uint8[:,:,::1], {_ONE}, {_EACH}, {_EACH}, {_EACH})")
def stamp_ink(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    masks: Any,
    count: Any,
    which: Any,
    left: Any,
    top: Any,
) -> None:
    """Set to 0 what lies under the first count[n] marks of image n; cut at the border."""
    _, channels, height, width = images.shape
    for n in range(start, stop):
        for k in range(count[n]):
            mask = masks[which[n, k]]
            for i in range(max(0, -top[n, k]), min(mask.shape[0], height - top[n, k])):
                for c in range(channels):
                    row = out[n, c, top[n, k] + i]
                    for j in range(max(0, -left[n, k]), min(mask.shape[1], width - left[n, k])):
                        if mask[i, j]:
                            row[left[n, k] + j] = 0


@native(
    f"void({_BATCH}, int64, int64, uint8[:,::1], int32[:,::1], int64, {_ONE}, {_EACH}, {_EACH},"
    f" {_EACH})"
)
def lay_bubbles(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    table: Any,
    halves: Any,
    rim: int,
    count: Any,
    radius: Any,
    column: Any,
    row: Any,
) -> None:
    """Mark the disks of image n on a layer, later ones over earlier ones, then look values up."""
    _, channels, height, width = images.shape
    layer = np.zeros((height, width), np.uint8)
    first, last = np.full(height, width), np.zeros(height, np.int64)
    for n in range(start, stop):
        for k in range(count[n]):
            for code in range(1, 3):
                size = radius[n, k] + (rim if code == 1 else 0)
                for y in range(max(0, row[n, k] - size), min(height, row[n, k] + size + 1)):
                    half = halves[size, abs(y - row[n, k])]
                    left = max(0, column[n, k] - half)
                    right = min(width, column[n, k] + half + 1)
                    for x in range(left, right):
                        layer[y, x] = code
                    first[y], last[y] = min(first[y], left), max(last[y], right)
        for y in range(height):
            for c in range(channels):
                source, target = images[n, c, y], out[n, c, y]
                for x in range(first[y], last[y]):
                    if layer[y, x]:
                        target[x] = table[layer[y, x], source[x]]
            for x in range(first[y], last[y]):
                layer[y, x] = 0
            first[y], last[y] = width, 0


@native(f"void({_BATCH}, int64, int64, {_ONE}, {_ONE})")
def keep_rows(images: Any, out: Any, start: int, stop: int, first: Any, last: Any) -> None:
    """Blacken each row of `out`, a copy, before column first[y] and from last[y] on."""
    _, channels, height, width = images.shape
    for n in range(start, stop):
        for c in range(channels):
            for y in range(height):
                row = out[n, c, y]
                for x in range(first[y]):
                    row[x] = 0
                for x in range(last[y], width):
                    row[x] = 0


@native(
    f"void({_BATCH}, int64, int64, uint8[:,:,:,:,::1], {_ONE}, {_EACH}, {_EACH}, {_EACH}, {_EACH},"
    f" {_EACH}, {_EACH}, {_EACH})"
)
def write_words(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    stamps: Any,
    count: Any,
    lengths: Any,
    text: Any,
    size: Any,
    left: Any,
    phase: Any,
    top: Any,
    colors: Any,
) -> None:
    """Blend letter after letter of the first count[n] words over image n.

    Letter p of word w is number w * longest + p of text, left and phase; size, top and lengths
    have one value a word, colors three. stamps[size, letter, phase] is its opacity (h, w).
    """
    _, channels, height, width = images.shape
    longest = text.shape[1] // lengths.shape[1]
    for n in range(start, stop):
        for word in range(count[n]):
            for k in range(word * longest, word * longest + lengths[n, word]):
                stamp = stamps[size[n, word], text[n, k], phase[n, k]]
                y0, x0 = top[n, word], left[n, k]
                for c in range(channels):
                    ink = colors[n, 3 * word + c]
                    for i in range(max(0, -y0), min(stamp.shape[0], height - y0)):
                        row = out[n, c, y0 + i]
                        for j in range(max(0, -x0), min(stamp.shape[1], width - x0)):
                            alpha = np.int64(stamp[i, j])
                            mixed = np.int64(row[x0 + j]) * (255 - alpha) + ink * alpha
                            row[x0 + j] = (mixed + 127) // 255
