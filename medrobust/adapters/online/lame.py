"""LAME: answers of images that lie beside one another are drawn together (arXiv:2201.05718).

With p the model's probabilities and W how alike two images are, over all images at once,

    Y_0 = p,    Y_{t+1} = softmax(log p + strength * W Y_t)    row by row,

until the bound

    E(Y', Y) = - sum log p (Y' + Y) + sum Y' log Y' + sum Y log Y - strength * sum Y' (W Y)

of two successive steps changes by less than one part in 1e8. W is symmetric, so that a step
minimises E(. , Y_t), and E never rises. The published code takes neighbours without making W
symmetric (`symmetric=false`), and then nothing says that it converges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np

from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array

from .base import Answered, FromAnswers, Needs, check, log_softmax

Affinity: TypeAlias = Literal["knn", "rbf"]

TOLERANCE = 1e-8
CELLS = 16_000_000
"""Cosines that are held at a time."""

DENSE = 16_384
"""Images whose full matrix of affinities is held: 2 GiB."""


@dataclass(frozen=True, slots=True)
class Lame(FromAnswers):
    """Laplacian adjusted maximum likelihood.

    Args:
        order: Of the images, where they come in batches.
        affinity: "knn": W is 1 between an image and its nearest, else 0 (the mean of both
            directions); "rbf": exp(-d^2 / (2 sigma^2)), sigma the mean distance to the nearest of
            that number.
        neighbours: How many nearest images, those of the same distance too.
        strength: Multiplier of W; 0: the model's own answers, to the bit.
        steps: At most so many.
        symmetric: Whether both directions of "knn" are averaged.
        batch: Images that come together; None: the whole split, whose order then says nothing.
    """

    affinity: Affinity = "knn"
    neighbours: int = 5
    strength: float = 1.0
    steps: int = 100
    symmetric: bool = True
    batch: int | None = None

    method: ClassVar[str] = "lame"
    needs: ClassVar[Needs] = "features"

    def __post_init__(self) -> None:
        """Refuse what no answers can be drawn together with.

        Raises:
            ConfigurationError: Naming the key.
        """
        if self.affinity not in get_args(Affinity):
            raise ConfigurationError(
                f"adapter.online: affinity={self.affinity!r} of lame is none of "
                f"{', '.join(get_args(Affinity))}."
            )
        check("lame", "neighbours", self.neighbours, low=1, whole=True)
        check("lame", "strength", self.strength, low=0)
        check("lame", "steps", self.steps, low=1, whole=True)
        if self.batch is not None:
            check("lame", "batch", self.batch, low=1, whole=True)

    @property
    def ordered(self) -> bool:
        """Where images come in batches, the order says which come together."""
        return self.batch is not None

    def logits(self, given: Answered) -> Float64Array:
        """Return logarithms of Y, float64 (N, K); at strength 0 the model's logits."""
        if not self.strength:
            return given.logits
        found = np.empty_like(given.logits)
        size = self.batch or max(1, len(given.order))
        for start in range(0, len(given.order), size):
            rows = np.sort(given.order[start : start + size])
            alike = self.affinities(given.features[rows])
            found[rows] = drawn_together(given.logits[rows], alike, self.strength, self.steps)[0]
        return found

    def affinities(self, features: Float64Array) -> Any:
        """Return W of unit features (N, D), (N, N): sparse for "knn".

        Raises:
            ConfigurationError: If "rbf" is asked of more images than memory should hold.
        """
        from scipy.sparse import csr_matrix

        count = len(features)
        nearest = min(self.neighbours, count - 1)
        if self.affinity == "rbf":
            return _radial(features, nearest)
        if not nearest:
            return csr_matrix((count, count))
        places = [(cosines >= _kth(cosines, nearest)).nonzero() for cosines in _others(features)]
        starts = np.cumsum([0, *(len(one) for one in _chunks(count))])
        rows = np.concatenate([r + s for (r, _), s in zip(places, starts, strict=False)])
        columns = np.concatenate([c for _, c in places])
        found = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
        return (found + found.T) / 2 if self.symmetric else found


def drawn_together(
    logits: Float64Array,
    alike: Any,
    strength: float,
    steps: int,
    hear: Callable[[float], None] = lambda bound: None,
) -> tuple[Float64Array, int]:
    """Repeat the step of the module's head.

    Args:
        logits: (N, K).
        alike: W, (N, N), dense or sparse.
        strength: Multiplier of W.
        steps: At most so many.
        hear: Is told the bound after each step.

    Returns:
        Logarithms of Y, float64 (N, K), and how many steps were taken.
    """
    own = log_softmax(logits)
    before, bounds = own, list[float]()
    for step in range(1, steps + 1):
        pull = strength * (alike @ np.exp(before))
        after = log_softmax(own + pull)
        bounds.append(_bound(own, before, after, pull))
        hear(bounds[-1])
        if step > 1 and abs(bounds[-1] - bounds[-2]) <= TOLERANCE * abs(bounds[-2]):
            return after, step
        before = after
    return before, steps


def _bound(
    own: Float64Array, before: Float64Array, after: Float64Array, pull: Float64Array
) -> float:
    """Return E(Y', Y) of logarithms of Y' (`after`) and Y (`before`)."""
    new, old = np.exp(after), np.exp(before)
    return float((new * (after - own - pull)).sum() + (old * (before - own)).sum())


def _chunks(count: int) -> list[range]:
    rows = max(1, CELLS // max(1, count))
    return [range(start, min(start + rows, count)) for start in range(0, count, rows)]


def _others(features: Float64Array) -> Any:
    """Yield cosines of a part of the images with all, (n, N), none with itself."""
    for rows in _chunks(len(features)):
        cosines = features[rows.start : rows.stop] @ features.T
        cosines[np.arange(len(rows)), np.arange(rows.start, rows.stop)] = -np.inf
        yield cosines


def _kth(cosines: Float64Array, nearest: int) -> Float64Array:
    """Return the k-th largest of each row, (n, 1)."""
    place = cosines.shape[1] - nearest
    found: Float64Array = np.partition(cosines, place, axis=1)[:, place : place + 1]
    return found


def _radial(features: Float64Array, nearest: int) -> Float64Array:
    count = len(features)
    if count > DENSE:
        raise ConfigurationError(
            f"affinity=rbf of lame holds {count} x {count} numbers: give batch, at most {DENSE}, "
            f"or affinity=knn."
        )
    squares = np.maximum(2 - 2 * features @ features.T, 0.0)
    np.fill_diagonal(squares, 0.0)
    if not nearest:
        return np.ones((count, count))
    sigma = float(np.sqrt(np.sort(squares, axis=1)[:, nearest]).mean())
    found: Float64Array = np.exp(-squares / (2 * sigma**2)) if sigma else 1.0 * (squares == 0)
    return found
