"""Perceptual hashes: pictures that show the same, whatever their encoding and size.

A hash is the signs of the low frequencies of a 32 × 32 thumbnail (pHash), and beside it the 16 × 16
thumbnail itself, standardized. Two pictures nearly repeat each other when few signs differ and the
thumbnails correlate. On 2,400 phantoms, where other pictures correlate up to 0.9875, a picture and
its copy as JPEG of quality 30, at half size and back, at 64 pixels or with noise of 10 grey levels
correlate above 0.9996, at 28 pixels above 0.993; signs differ at no more than 4 places.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medrobust.datasets.cache import ArrayWriter, CachedArray, cached_array, cached_arrays
from medrobust.datasets.image_set import ImageSet
from medrobust.types import Float32Array, Int64Array, UInt8Array

VERSION = 1
"""Raised whenever a picture gets another hash."""

HASHES = "-hashes"
"""What the names of cached hashes end with, after set and split."""

LOW = 8
"""Frequencies a side that are looked at; the constant one is left out."""

SIGNS = LOW * LOW - 1
COARSE = 16
FINE = 32
WIDTH = SIGNS + COARSE * COARSE
"""Numbers a picture: its signs as -1 and 1, then its thumbnail."""

MOST_SIGNS = 6
"""Signs that may differ between a picture and its repetition."""

LEAST_CORRELATION = 0.99
BLANK = 1.0
"""Standard deviation of the thumbnail, in grey levels, below which a picture shows nothing."""

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
BLOCK = 8
"""Pictures hashed at once: few enough for the processor's cache."""

COMPARED = 4096


def perceptual_hashes(images: UInt8Array) -> Float32Array:
    """Hash a block of pictures.

    Args:
        images: uint8 (n, H, W) or (n, H, W, 3).

    Returns:
        float32 (n, 319): 63 signs (-1 or 1), then 256 values of mean 0 and norm 1. All zero for a
        picture that shows nothing.
    """
    grey = np.asarray(images, dtype=np.float32)
    if grey.ndim == 4:
        grey = grey @ GREY
    fine = area_means(grey.shape[1], FINE) @ grey @ area_means(grey.shape[2], FINE).T
    coarse = fine.reshape(-1, COARSE, 2, COARSE, 2).mean(axis=(2, 4)).reshape(-1, COARSE * COARSE)
    centred = coarse - coarse.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = cosine_table(FINE, LOW)
    low = (cosines @ fine @ cosines.T).reshape(-1, LOW * LOW)[:, 1:]
    signs = np.where(low > np.median(low, axis=1, keepdims=True), 1.0, -1.0)
    shows = norm > BLANK * COARSE
    hashes: Float32Array = np.concatenate(
        [np.where(shows, signs, 0), np.where(shows, centred / np.maximum(norm, BLANK), 0)], axis=1
    ).astype(np.float32)
    return hashes


def area_means(size: int, cells: int) -> Float32Array:
    """Return the matrix (cells, size) that averages equal parts, cutting pixels where needed.

    Example:
        >>> area_means(4, 2).tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    edges = np.linspace(0, size, cells + 1)
    pixel = np.arange(size)
    cover = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights: Float32Array = (np.maximum(cover, 0) * cells / size).astype(np.float32)
    return weights


def cosine_table(size: int, low: int) -> Float32Array:
    """Return the first `low` rows of the cosine transform (DCT-II) of `size` values.

    Example:
        >>> cosine_table(4, 2)[1].round(2).tolist()[:2]
        [0.9200000166893005, 0.3799999952316284]
    """
    angles = np.pi / size * (np.arange(size) + 0.5) * np.arange(low)[:, None]
    table: Float32Array = np.cos(angles).astype(np.float32)
    return table


def hashes_of(image_set: ImageSet, cache_dir: str | os.PathLike[str] | None = None) -> CachedArray:
    """Hash a split once; afterwards its hashes are found in the cache.

    Returns:
        The entry of float32 (N, 319).

    Raises:
        StoreError: If the cache cannot be written.
    """

    def write(target: Path) -> str:
        with ArrayWriter(target, np.dtype(np.float32), (len(image_set), WIDTH)) as writer:
            for start in range(0, len(image_set), BLOCK):
                block = perceptual_hashes(image_set.images[start : start + BLOCK])
                writer.write(block.tobytes())
            return writer.close()

    key = {"kind": "perceptual", "version": VERSION, "data": image_set.fingerprint}
    name = f"{image_set.name}-{image_set.split}{HASHES}"
    return cached_array(name, key, write, cache_dir=cache_dir)


def kept_hashes(
    name: str, cache_dir: str | os.PathLike[str] | None = None
) -> dict[str, CachedArray]:
    """Return the hashes that the cache has of a set: split -> entry. Nothing is hashed."""
    found = {}
    for entry, array in cached_arrays(f"{name}-*{HASHES}-*", cache_dir=cache_dir):
        split = entry.removeprefix(f"{name}-").rsplit(HASHES, 1)[0]
        if array.open().shape[1:] == (WIDTH,):
            found[split] = array
    return found


@dataclass(frozen=True, slots=True)
class Repeats:
    """Pictures of one split that nearly repeat a picture of another one.

    Attributes:
        rows: int64 (n,), in the first split, ascending.
        partners: int64 (n,), the best match of each in the second split.
        correlations: float32 (n,), of their thumbnails.
    """

    rows: Int64Array
    partners: Int64Array
    correlations: Float32Array

    def __len__(self) -> int:
        return len(self.rows)


def near_repeats(first: Float32Array, second: Float32Array | None = None) -> Repeats:
    """Compare every picture of one split with every picture of another, or of its own.

    Args:
        first: float32 (n, 319) of `perceptual_hashes`.
        second: Of the other split; None compares each picture with the ones before it.
    """
    best = np.full(len(first), -1, dtype=np.int64)
    match = np.zeros(len(first), dtype=np.float32)
    for (a, b), close in _blocks(first, second):
        found = close.max(axis=1)
        rows = np.arange(a, a + len(close))
        better = found > match[rows]
        best[rows[better]] = b + close.argmax(axis=1)[better]
        match[rows] = np.maximum(match[rows], found)
    rows = np.flatnonzero(best >= 0)
    return Repeats(rows, best[rows], match[rows])


def _blocks(
    first: Float32Array, second: Float32Array | None
) -> Iterator[tuple[tuple[int, int], Float32Array]]:
    """Yield the starts of two blocks and the correlations of close pairs, 0 for the others.

    Blocks without a pair that is close by its signs are left out.
    """
    other = first if second is None else second
    ours, theirs = _sign_bits(first), _sign_bits(other)
    for a in range(0, len(first), COMPARED):
        for b in range(0, len(other) if second is not None else a + 1, COMPARED):
            differing = np.bitwise_count(ours[a : a + COMPARED, None] ^ theirs[b : b + COMPARED])
            close = differing <= MOST_SIGNS
            if second is None and a == b:
                close &= np.tri(len(close), close.shape[1], -1, dtype=bool)
            rows = np.flatnonzero(close.any(axis=1))
            if len(rows):
                left, right = first[a + rows, SIGNS:], other[b : b + COMPARED, SIGNS:]
                correlation = np.zeros(close.shape, dtype=np.float32)
                correlation[rows] = left @ right.T
                close &= correlation >= LEAST_CORRELATION
                yield (a, b), np.where(close, correlation, np.float32(0))


def _sign_bits(hashes: Float32Array) -> NDArray[np.uint64]:
    """Pack the signs of each picture into one number."""
    bits = np.zeros((len(hashes), SIGNS + 1), dtype=bool)
    bits[:, :SIGNS] = hashes[:, :SIGNS] > 0
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def equal_pictures(first: ImageSet, second: ImageSet, repeats: Repeats) -> int:
    """Count the pairs that are equal in every pixel."""
    if first.images.shape[1:] != second.images.shape[1:]:
        return 0
    return sum(
        bool(np.array_equal(first.images[row], second.images[partner]))
        for row, partner in zip(repeats.rows.tolist(), repeats.partners.tolist(), strict=True)
    )
