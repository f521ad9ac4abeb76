"""Do features of images that belong together stand closer than those of others?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medrobust.types import Float32Array, Float64Array, Int64Array

TIE = 1e-6
"""Cosines that differ by no more count as equal."""

WIDTH = 1e-6
"""Of the bins that the cosines of all pairs are counted in."""

BLOCK = 1 << 23
"""Cosines that are held at once: 32 MiB."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which images belong together, and which may be compared with them.

    Attributes:
        pairs: int64 (N,), images of one number belong together.
        patients: int64 (N,), images of one patient that do not belong together are no others.
        between: int64 (N,), only images that differ in it make a pair or are compared; or None.
        within: int64 (N,), only images that share it are compared; or None.
    """

    pairs: Int64Array
    patients: Int64Array
    between: Int64Array | None = None
    within: Int64Array | None = None

    def of(self, rows: slice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return partners and others of some images: bool (B, N) each."""
        own = _same(self.pairs, rows)
        others = ~own & ~_same(self.patients, rows)
        own[np.arange(len(own)), np.arange(rows.start, rows.stop)] = False
        if self.between is not None:
            differs = ~_same(self.between, rows)
            own, others = own & differs, others & differs
        if self.within is not None:
            others &= _same(self.within, rows)
        return own, others


def _same(codes: Int64Array, rows: slice) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = codes[rows, None] == codes[None]
    return found


@dataclass(frozen=True, slots=True)
class PairedImages:
    """How well each image finds its partners, of the Q images that have some and others.

    Attributes:
        rows: int64 (Q,), the images.
        auroc: float64 (Q,), share of its partners and others of which the partner is closer; equal
            ones count half.
        pooled: float64 (Q,), likewise, with the cosines of all images and their others.
        partners: int64 (Q,), how many it has.
        others: int64 (Q,), how many it is compared with.
        rank: int64 (Q,), of its closest partner among the others, 1 for the first; of equal ones
            the last.
    """

    rows: Int64Array
    auroc: Float64Array
    pooled: Float64Array
    partners: Int64Array
    others: Int64Array
    rank: Int64Array

    @property
    def pooled_auroc(self) -> float:
        """AUROC of all pairs that belong together against all others."""
        return float(np.average(self.pooled, weights=self.partners))

    @property
    def normalized_rank(self) -> Float64Array:
        """Rank from 0 for the first place to 1 for the last: (Q,)."""
        found: Float64Array = (self.rank - 1) / self.others
        return found


def paired_images(features: Float32Array, pairing: Pairing) -> PairedImages:
    """Compare the cosine of each image and its partners with those of it and the others.

    Args:
        features: float32 (N, D).
        pairing: What belongs together.

    Example:
        >>> features = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
        >>> found = paired_images(features, Pairing(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])))
        >>> found.auroc.tolist(), found.normalized_rank.tolist(), found.pooled_auroc
        ([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], 1.0)
    """
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = (features / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    count = len(unit)
    step = max(1, BLOCK // count)
    found: list[tuple[int, float, int, int, int]] = []
    of_own: list[Float64Array] = []
    seen = np.zeros(round(2 / WIDTH) + 3, np.int64)
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        cosines = unit[rows] @ unit.T
        partners, others = pairing.of(rows)
        asks = np.flatnonzero(partners.any(axis=1) & others.any(axis=1))
        for row in asks:
            own, rest = cosines[row, partners[row]], cosines[row, others[row]]
            found.append((start + int(row), *_one(own, rest)))
            of_own.append(own.astype(np.float64))
        seen += np.bincount(_bins(cosines[asks][others[asks]]), minlength=len(seen))
    return _collected(found, of_own, seen)


def _one(own: Float32Array, rest: Float32Array) -> tuple[float, int, int, int]:
    """Return AUROC, partners, others and rank of one image."""
    below = (rest[None] < own[:, None] - TIE).sum()
    above = (rest[None] > own[:, None] + TIE).sum()
    total = len(own) * len(rest)
    rank = 1 + int((rest >= own.max() - TIE).sum())
    return float(total + below - above) / (2 * total), len(own), len(rest), rank


def _bins(cosines: NDArray[np.floating]) -> Int64Array:
    return ((cosines.astype(np.float64) + 1) / WIDTH).clip(0).astype(np.int64)


def _collected(
    found: list[tuple[int, float, int, int, int]], of_own: list[Float64Array], seen: Int64Array
) -> PairedImages:
    rows, auroc, partners, others, rank = (
        (np.array(part) for part in zip(*found, strict=True))
        if found
        else [np.zeros(0, np.int64)] * 5
    )
    below = (np.cumsum(seen) - seen / 2) / max(1, int(seen.sum()))
    pooled = np.array([below[_bins(own)].mean() for own in of_own])
    return PairedImages(rows, auroc.astype(np.float64), pooled, partners, others, rank)
