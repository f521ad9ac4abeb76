"""Artifacts of magnetic resonance for the CPU, in the order of sums of their reference forms."""

from typing import Any

import numpy as np

from medrobust.base.numba_jit import native, native_inline

from .philox import BLOCKS, fill_words

_BATCH = "uint8[:,:,:,::1], uint8[:,:,:,::1], int64, int64"
_HALF_WORD, _HALF = np.uint32(0xFFFF), np.uint32(16)


@native_inline
def _grey(value: Any) -> Any:
    return min(max(np.rint(value), 0.0), 255.0)


@native(f"void({_BATCH}, int64, float64, int64[::1])")
def ghost(
    images: Any, out: Any, start: int, stop: int, ghosts: int, intensity: float, axes: Any
) -> None:
    """Take the copies of a picture off itself, where they fit its sides."""
    height, width = images.shape[2], images.shape[3]
    share = intensity / ghosts
    for n in range(start, stop):
        for c in range(images.shape[1]):
            source, target = images[n, c], out[n, c]
            if axes[n] == 0:
                step = height // ghosts
                totals = np.zeros((step, width))
                for y in range(height):
                    for x in range(width):
                        totals[y % step, x] += source[y, x]
                means = np.zeros(width)
                for y in range(step):
                    for x in range(width):
                        means[x] += totals[y, x]
                scale = intensity / height
                for x in range(width):
                    means[x] *= scale
                for y in range(height):
                    for x in range(width):
                        target[y, x] = _grey(
                            source[y, x] - (totals[y % step, x] * share - means[x])
                        )
                continue
            step = width // ghosts
            row = np.zeros(step)
            for y in range(height):
                row[:] = 0
                for j in range(ghosts):
                    for x in range(step):
                        row[x] += source[y, j * step + x]
                mean = row.sum() * (intensity / width)
                for j in range(ghosts):
                    for x in range(step):
                        value = source[y, j * step + x] - (row[x] * share - mean)
                        target[y, j * step + x] = _grey(value)


@native(f"void({_BATCH}, float64, int64[::1], int64[::1], float64[:,::1], float64[:,::1])")
def stripe(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    intensity: float,
    rows: Any,
    columns: Any,
    down: Any,
    across: Any,
) -> None:
    """Add a cosine of each plane's mean; `down` and `across` (2, side) hold a cosine and a sine."""
    height, width = images.shape[2], images.shape[3]
    cosine, sine = np.empty(width), np.empty(width)
    for n in range(start, stop):
        for x in range(width):
            place = x * columns[n] % width
            cosine[x], sine[x] = across[0, place], across[1, place]
        for c in range(images.shape[1]):
            source, target = images[n, c], out[n, c]
            total = 0
            for y in range(height):
                for x in range(width):
                    total += source[y, x]
            strength = intensity * (total / (height * width))
            for y in range(height):
                place = y * rows[n] % height
                first, second = down[0, place], down[1, place]
                for x in range(width):
                    wave = first * cosine[x] - second * sine[x]
                    target[y, x] = _grey(source[y, x] + strength * wave)


@native(f"void({_BATCH}, float64[::1], int64[::1], int64, int64, int64, int64)")
def rice(
    images: Any,
    out: Any,
    start: int,
    stop: int,
    normals: Any,
    index: Any,
    real: int,
    imaginary: int,
    key0: int,
    key1: int,
) -> None:
    """Take the magnitude after noise in both parts; `normals` (65536,) are in grey values."""
    pixels = images.shape[2] * images.shape[3]
    first, second = np.empty(4 * BLOCKS, np.uint32), np.empty(4 * BLOCKS, np.uint32)
    for n in range(start, stop):
        for begin in range(0, pixels, 8 * BLOCKS):
            fill_words(first, begin // 8, real, index[n], key0, key1)
            fill_words(second, begin // 8, imaginary, index[n], key0, key1)
            count = min(8 * BLOCKS, pixels - begin)
            for c in range(images.shape[1]):
                source, target = images[n, c].reshape(pixels), out[n, c].reshape(pixels)
                for j in range((count + 1) // 2):
                    at = begin + 2 * j
                    a = source[at] + normals[first[j] & _HALF_WORD]
                    b = normals[second[j] & _HALF_WORD]
                    target[at] = _grey(np.sqrt(a * a + b * b))
                    if 2 * j + 1 < count:
                        a = source[at + 1] + normals[first[j] >> _HALF]
                        b = normals[second[j] >> _HALF]
                        target[at + 1] = _grey(np.sqrt(a * a + b * b))


@native("void(float64[:,::1], float64[:,::1], float64[::1], int64)")
def add_weighted(space: Any, total: Any, weights: Any, axis: int) -> None:
    """Add frequencies, weighted along rows (0) or columns (1), to `total`.

    Real and imaginary parts lie one after the other, (H, 2 W).
    """
    if axis == 0:
        for y in range(space.shape[0]):
            weight = weights[y]
            if weight != 0:
                for x in range(space.shape[1]):
                    total[y, x] += space[y, x] * weight
        return
    both = np.empty(space.shape[1])
    for x in range(len(weights)):
        both[2 * x] = both[2 * x + 1] = weights[x]
    for y in range(space.shape[0]):
        for x in range(space.shape[1]):
            total[y, x] += space[y, x] * both[x]
