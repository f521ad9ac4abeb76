"""TDA: a cache of sure images votes for, one of unsure images against (arXiv:2403.18293).

Images come one after another; with H the entropy of an image's probabilities p,

    logit = own + alpha * sum over cached images of the predicted classes' exp(-beta (1 - x . v)),
                - the same over unsure images, for all classes k with .03 < p_v(k) < 1.

Of each predicted class the cache keeps the `capacity` images of lowest H; the cache of unsure ones
keeps `negative_capacity`, of those with .2 < H / ln K < .5 alone. An image is answered before it
comes into a cache, so that it has no vote on itself.

`published=true` is the form of the public code: the cache is filled first, so that every image
votes for its own prediction, and the window is of H / log2 K, a natural logarithm over a binary
one: from .29 to .72 of the largest entropy.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medrobust.types import Float64Array

from .base import Answered, FromAnswers, Needs, check, entropies, log_softmax

WINDOW = (0.2, 0.5)
"""Entropies, as shares of the largest, of images that come into the cache of unsure ones."""

MASK = (0.03, 1.0)
"""Probabilities of classes that an unsure image speaks against."""


@dataclass(frozen=True, slots=True)
class TDA(FromAnswers):
    """Training-free dynamic adapter.

    Args:
        order: In which images come.
        capacity: Sure images of a class.
        alpha: Weight of their votes; with `negative_alpha` 0, too, the model's own answers, to the
            bit.
        beta: How near an image must be to be voted for.
        negative_capacity: Unsure images of a class.
        negative_alpha: Weight of their votes.
        negative_beta: How near an image must be to be voted against.
        published: Own vote and window as in the public code.
    """

    capacity: int = 3
    alpha: float = 2.0
    beta: float = 5.0
    negative_capacity: int = 2
    negative_alpha: float = 0.117
    negative_beta: float = 1.0
    published: bool = False

    method: ClassVar[str] = "tda"
    needs: ClassVar[Needs] = "features"

    def __post_init__(self) -> None:
        """Refuse numbers that are no weights.

        Raises:
            ConfigurationError: Naming the key.
        """
        for key in ("capacity", "negative_capacity"):
            check("tda", key, getattr(self, key), low=1, whole=True)
        for key in ("alpha", "beta", "negative_alpha", "negative_beta"):
            check("tda", key, getattr(self, key), low=0)

    @property
    def ordered(self) -> bool:
        """What was cached before votes."""
        return True

    def logits(self, given: Answered) -> Float64Array:
        """Return the model's logits plus the votes, float64 (N, K)."""
        own, found = given.logits, given.logits.copy()
        chances, predicted = np.exp(log_softmax(own)), own.argmax(axis=1)
        entropy = entropies(own)
        count = own.shape[1]
        share = entropy / (np.log2(count) if self.published else np.log(count))
        unsure = (share > WINDOW[0]) & (share < WINDOW[1])
        against = ((chances > MASK[0]) & (chances < MASK[1])).astype(np.float64)
        sure_ones = Cache(self.capacity, given.features, np.eye(count)[predicted])
        unsure_ones = Cache(self.negative_capacity, given.features, against)

        def keep(row: int) -> None:
            sure_ones.add(int(predicted[row]), float(entropy[row]), row)
            if unsure[row]:
                unsure_ones.add(int(predicted[row]), float(entropy[row]), row)

        for row in given.order.tolist():
            if self.published:
                keep(row)
            found[row] += self.alpha * sure_ones.votes(row, self.beta)
            found[row] -= self.negative_alpha * unsure_ones.votes(row, self.negative_beta)
            if not self.published:
                keep(row)
        return found


class Cache:
    """A few images of each predicted class, those of lowest entropy.

    Args:
        capacity: Images of a class.
        features: Of all images, (N, D).
        values: What each speaks for or against, (N, K).
    """

    def __init__(self, capacity: int, features: Float64Array, values: Float64Array) -> None:
        self._capacity, self._features, self._values = capacity, features, values
        self._kept: dict[int, list[tuple[float, int]]] = {}
        self._rows: list[int] = []

    def add(self, label: int, entropy: float, row: int) -> None:
        """Keep an image, if it is surer than the least sure of a full class."""
        kept = self._kept.setdefault(label, [])
        if len(kept) == self._capacity:
            if entropy >= kept[-1][0]:
                return
            kept.pop()
        kept.append((entropy, row))
        kept.sort(key=lambda one: one[0])
        self._rows = [row for label in sorted(self._kept) for _, row in self._kept[label]]

    def votes(self, row: int, beta: float) -> Float64Array:
        """Return what the cached images say of an image, float64 (K,)."""
        near = self._features[self._rows] @ self._features[row]
        votes: Float64Array = np.exp(-beta * (1 - near)) @ self._values[self._rows]
        return votes
