"""Keyed draws: a random number depends on its key, its image and its place, and on nothing else.

Derivation, format 1 (changing any of it changes `FORMAT` and every stored cell):

1. The key is the first 8 bytes of SHA-256 over the canonical JSON list
   `["medrobust draws", FORMAT, seed, stream, corruption, severity]`, read as two little-endian
   32-bit words (k0, k1). Kernels whose severities share their draws put their own name there, and
   severity 0.
2. The counter of a block is (block, number, index mod 2^32, index div 2^32): `number` says which
   draw of the kernel and which channel, `index` is the image's row in its source split.
3. Philox4x32 with 7 rounds (Salmon et al., SC 2011, who find it Crush-resistant) turns key and
   counter into four 32-bit words. Word j of a draw is word j mod 4 of block j div 4.
4. A uniform is word / 2^32 in float64; an integer of [low, high) is
   low + (word * (high - low)) div 2^32; a normal is the entry of `normal_table` at a 16-bit half
   word, low half first, so normal j comes from word j div 2.

Everything is integer arithmetic, so a CPU and a GPU get the same bits. Test vectors are in
`tests/test_keys.py`; `medrobust.corruptions.numba.philox` is the same generator for numba.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from math import fsum, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import canonical_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FORMAT = 1
"""Version of the derivation above; part of the fingerprint of every random cell."""

ROUNDS = 7
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF
NORMAL_SCALE = 65536
"""Normals are multiples of 1 / NORMAL_SCALE, so that every machine has the same table."""

Key: TypeAlias = tuple[int, int]


def derive_key(seed: int, stream: str, corruption: str, severity: int) -> Key:
    """Hash what names a family of draws to the two 32-bit words of a Philox key."""
    text = canonical_json(["medrobust draws", FORMAT, seed, stream, corruption, severity])
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def philox(counter: "tuple[Tensor, Tensor, Tensor, Tensor]", key: Key) -> "tuple[Tensor, ...]":
    """Apply Philox4x32-7 to int64 tensors that hold 32-bit words.

    Args:
        counter: Four int64 tensors of one broadcastable shape, values in [0, 2^32).
        key: Two 32-bit words.

    Returns:
        Four int64 tensors, values in [0, 2^32). Products wrap in 64 bits; the low half and the
        shifted high half are right whatever the sign.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = ((p1 >> 32) & MASK) ^ c1 ^ k0, p1 & MASK
        c2, c3 = ((p0 >> 32) & MASK) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


@lru_cache(maxsize=1)
def normal_table() -> NDArray[np.int32]:
    """Tabulate the standard normal at 65536 equally likely points, times NORMAL_SCALE.

    Entry i is the quantile at (i + 1/2) / 65536, scaled so that the table has variance 1, rounded
    to an integer. Its largest value is 4.33; its kurtosis is 2.9992.
    """
    half = 1 << 15
    normal = NormalDist()
    upper = [normal.inv_cdf(0.5 + (i + 0.5) / (2 * half)) for i in range(half)]
    scale = NORMAL_SCALE / sqrt(fsum(z * z for z in upper) / half)
    positive = np.rint(np.array(upper) * scale).astype(np.int32)
    table = np.concatenate([-positive[::-1], positive])
    table.flags.writeable = False
    return table


@dataclass(frozen=True, slots=True)
class Draws:
    """One named draw of one kernel for a batch of images, not yet made.

    Attributes:
        key: From `derive_key`.
        index: int64 (N,) on the CPU, values from 0 to 2^63 - 1.
        number: Which draw; a draw with one plane a channel uses number + channel.
    """

    key: Key
    index: "Tensor"
    number: int = 0

    def words(self, count: int, device: "torch.device | str" = "cpu") -> "Tensor":
        """Make `count` 32-bit words an image: int64 (N, count), values in [0, 2^32)."""
        import torch

        index = self.index.to(device)[:, None]
        block = torch.arange(-(-count // 4), device=device)[None]
        counter = (block, torch.full_like(block, self.number), index & MASK, index >> 32)
        words = torch.stack(philox(counter, self.key), dim=2)
        return words.reshape(len(index), -1)[:, :count]

    def uniform(self, count: int, device: "torch.device | str" = "cpu") -> "Tensor":
        """Make uniforms in [0, 1): float64 (N, count), multiples of 2^-32."""
        return self.words(count, device).double() / 2**32

    def integers(
        self, low: int, high: int, count: int, device: "torch.device | str" = "cpu"
    ) -> "Tensor":
        """Make integers in [low, high): int64 (N, count). `high - low` is below 2^31."""
        return low + (self.words(count, device) * (high - low) >> 32)

    def normal(self, count: int, device: "torch.device | str" = "cpu") -> "Tensor":
        """Make standard normals: float32 (N, count), exact multiples of 1 / NORMAL_SCALE."""
        import torch

        words = self.words(-(-count // 2), device)
        halves = torch.stack([words & 0xFFFF, words >> 16], dim=2).reshape(len(words), -1)
        table = torch.from_numpy(normal_table().astype(np.float32) / NORMAL_SCALE).to(device)
        return table[halves[:, :count]]

    def normal_planes(self, images: "Tensor") -> "Tensor":
        """Make a standard normal for every value of `images`: float32 (N, C, H, W)."""
        import torch

        planes = [
            self._channel(c).normal(images[0, 0].numel(), images.device)
            for c in range(images.shape[1])
        ]
        return torch.stack(planes, dim=1).reshape(images.shape)

    def uniform_planes(self, images: "Tensor") -> "Tensor":
        """Make a uniform for every value of `images`: float64 (N, C, H, W)."""
        import torch

        planes = [
            self._channel(c).uniform(images[0, 0].numel(), images.device)
            for c in range(images.shape[1])
        ]
        return torch.stack(planes, dim=1).reshape(images.shape)

    def word_planes(
        self, count: int, height: int, width: int, device: "torch.device | str" = "cpu"
    ) -> "Tensor":
        """Make a 32-bit word for every place of `count` planes: int64 (N, count, H, W)."""
        import torch

        planes = [self._channel(c).words(height * width, device) for c in range(count)]
        return torch.stack(planes, dim=1).reshape(-1, count, height, width)

    def _channel(self, channel: int) -> "Draws":
        return replace(self, number=self.number + channel)
