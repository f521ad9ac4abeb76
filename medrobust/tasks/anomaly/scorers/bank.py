"""Memory banks: the distance of a place to the nearest place of normal images.

References:
    Roth et al., Towards total recall in industrial anomaly detection, arXiv:2106.08265.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.tasks.chosen import Kept, check_batch, generator
from medrobust.types import Int64Array

from . import DISTANCES, Distance

AT_ONCE = 1 << 24
"""Distances that are computed at a time: 64 MiB of them."""

PROJECTED = 128
"""Random directions in which a coreset is chosen."""


@dataclass(frozen=True)
class MemoryBank:
    """Places of normal images.

    Attributes:
        vectors: float32 (M, D); of unit norm for cosines.
        metric: "cosine", 1 − cos, or "euclidean".
    """

    vectors: Tensor
    metric: Distance

    def to(self, device: torch.device | str) -> "MemoryBank":
        """Return the bank on a device."""
        return MemoryBank(self.vectors.to(device), self.metric)

    def distances(self, states: Tensor) -> Tensor:
        """Return the distance of each place to the nearest of the bank, float32 (n, P).

        Args:
            states: (n, P, D), on the device of the bank.
        """
        queries = prepared(states.flatten(0, 1).to(self.vectors.dtype), self.metric)
        step = max(1, AT_ONCE // len(self.vectors))
        starts = range(0, len(queries), step)
        found = torch.cat([self._nearest(queries[start : start + step]) for start in starts])
        return found.view(states.shape[:2])

    def _nearest(self, queries: Tensor) -> Tensor:
        """Return the distance to the nearest item of each query, from their difference."""
        near = self.vectors[self._between(queries, self.vectors).argmin(dim=1)]
        squared = (queries - near).square().sum(dim=-1)
        return squared / 2 if self.metric == "cosine" else squared.sqrt()

    def _between(self, queries: Tensor, items: Tensor) -> Tensor:
        """Rank pairs, (q, M): in the order of their distances but for rounding."""
        products = queries @ items.T
        if self.metric == "cosine":
            return -products
        return (items * items).sum(dim=1) - 2 * products + (queries * queries).sum(dim=1)[:, None]


def prepared(states: Tensor, metric: Distance) -> Tensor:
    """Return what distances are taken of; for cosines unit vectors: 1 − cos is half a square."""
    return functional.normalize(states, dim=-1) if metric == "cosine" else states


class BankBuilder:
    """Collects places of normal images, and chooses those that a bank keeps.

    Neither the order nor the batches in which images come decide anything: of each image, a draw
    of its own says which places are candidates, and candidates are ordered by their index. With so
    many candidates a block, memory is bounded whatever the number of images.

    Args:
        index: int64 (N,), of all normal images, each once.
        size: Items of a bank: a number; a share of its candidates, below 1; None for all of them.
        candidates: At most so many of each block; at least one an image.
        seed: Of all draws.
        metric: "cosine" or "euclidean".
    """

    def __init__(
        self,
        index: Int64Array,
        *,
        size: float | None = None,
        candidates: int = 20_000,
        seed: int = 0,
        metric: Distance = "cosine",
    ) -> None:
        if metric not in DISTANCES:
            raise unknown_name("distance of a memory bank", metric, DISTANCES)
        if candidates < len(index) or (size is not None and size <= 0):
            raise ConfigurationError(
                f"a memory bank takes at least one candidate from each image ({len(index)}) and "
                f"keeps at least one; candidates={candidates} and size={size} were asked for."
            )
        self._each = candidates // max(1, len(index))
        self._size, self._seed, self._metric = size, seed, metric
        self._kept = Kept(index)

    def add(self, index: Sequence[int], states: Mapping[int, Tensor]) -> None:
        """Take normal images.

        Args:
            index: Of each, (n,).
            states: Block -> (n, P, D).

        Raises:
            ConfigurationError: If an image was not announced, or added before.
        """
        for block, of_block in states.items():
            check_batch(index, of_block)
            for one, places in zip(index, of_block, strict=True):
                self._add(block, int(one), places)

    def _add(self, block: int, index: int, places: Tensor) -> None:
        if not self._kept.wants(index):
            raise ConfigurationError(f"the image {index} is none of the normal ones of this bank.")
        if len(places) > self._each:
            drawn = generator(self._seed, index).permutation(len(places))[: self._each]
            places = places[torch.from_numpy(drawn).sort().values.to(places.device)]
        self._kept.put(block, index, places)

    def finish(self) -> dict[int, MemoryBank]:
        """Return the bank of each block.

        Raises:
            ConfigurationError: If an image is missing.
        """
        banks = {}
        for block, images in self._kept.ordered().items():
            vectors = prepared(torch.cat(images), self._metric)
            wanted = self._wanted(len(vectors))
            if wanted < len(vectors):
                vectors = vectors[coreset(vectors, wanted, self._seed)]
            banks[block] = MemoryBank(vectors.contiguous(), self._metric)
        return banks

    def _wanted(self, count: int) -> int:
        if self._size is None:
            return count
        return max(1, int(self._size * count)) if self._size < 1 else min(count, int(self._size))


def coreset(vectors: Tensor, size: int, seed: int) -> Tensor:
    """Choose rows that leave no other far away: greedy k-centre, int64 (size,) ascending.

    The first is drawn; each further one is the row farthest from all chosen, the first of equals.
    Distances are Euclidean, in 128 random directions where there are more.

    Args:
        vectors: float32 (M, D).
        size: Rows, at most M.
        seed: Of the first row and the directions.
    """
    random = generator(seed, -1)
    first = int(random.integers(len(vectors)))
    if vectors.shape[1] > PROJECTED:
        directions = random.standard_normal((vectors.shape[1], PROJECTED), dtype="float32")
        vectors = vectors @ torch.from_numpy(directions) / PROJECTED**0.5
    chosen = [first]
    nearest = (vectors - vectors[first]).square().sum(dim=1)
    while len(chosen) < size:
        nearest[chosen[-1]] = -1  # equal rows: each once
        chosen.append(int(nearest.argmax()))
        further = (vectors - vectors[chosen[-1]]).square().sum(dim=1)
        nearest = torch.minimum(nearest, further)
    return torch.tensor(sorted(chosen))
