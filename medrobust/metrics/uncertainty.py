"""How sure a model is of each answer: scores of which higher means surer, from stored arrays.

From logits (N, K): `msp`, `margin`, `negative_entropy`, `gini`, `max_logit`, `energy`, `mcm`, and
over several prompt sets `mutual_information`. From features (N, D), beside those of clean images:
`Distances` (Mahalanobis, relative Mahalanobis) and `nearest_distance`. All in float64, since a CLIP
with a logit scale of 100 and two classes has chances that differ beyond the digits of float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import InvalidDataError
from medrobust.metrics.scores import probabilities
from medrobust.types import Float64Array, Int64Array

Logits = NDArray[np.floating[Any]]

SHRINKAGE = 1e-3
"""Share of the mean variance that is added to each feature's own: few images span few
directions."""


def msp(logits: Logits) -> Float64Array:
    """Return the largest chance of a softmax (Hendrycks and Gimpel, arXiv:1610.02136).

    Example:
        >>> msp(np.log(np.array([[0.7, 0.2, 0.1]]))).round(3).tolist()
        [0.7]
    """
    highest: Float64Array = _chances(logits).max(axis=1)
    return highest


def margin(logits: Logits) -> Float64Array:
    """Return the largest chance less the second.

    Example:
        >>> margin(np.log(np.array([[0.7, 0.2, 0.1]]))).round(3).tolist()
        [0.5]
    """
    ordered = np.sort(_chances(logits), axis=1)
    return ordered[:, -1] - ordered[:, -2]


def negative_entropy(logits: Logits) -> Float64Array:
    """Return sum p log p in nats: 0 is certain, -log K a guess.

    Example:
        >>> negative_entropy(np.zeros((1, 4))).round(4).tolist()
        [-1.3863]
    """
    return -entropy(_chances(logits))


def gini(logits: Logits) -> Float64Array:
    """Return sum p^2, what DOCTOR accepts by (Granese et al., arXiv:2106.02395).

    Example:
        >>> gini(np.zeros((1, 4))).tolist()
        [0.25]
    """
    squares: Float64Array = (_chances(logits) ** 2).sum(axis=1)
    return squares


def max_logit(logits: Logits) -> Float64Array:
    """Return the largest logit (Hendrycks et al., arXiv:1911.11132).

    Example:
        >>> max_logit(np.array([[3.0, -1.0]])).tolist()
        [3.0]
    """
    highest: Float64Array = logits.astype(np.float64).max(axis=1)
    return highest


def energy(logits: Logits, *, temperature: float = 1.0) -> Float64Array:
    """Return T log sum exp(logit / T), the negative energy (Liu et al., arXiv:2010.03759).

    Example:
        >>> energy(np.zeros((1, 2))).round(4).tolist()
        [0.6931]
    """
    scaled = logits.astype(np.float64) / temperature
    top = scaled.max(axis=1, keepdims=True)
    total: Float64Array = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=1))
    return temperature * total


def mcm(cosines: Logits, *, temperature: float = 1.0) -> Float64Array:
    """Return the largest chance of the cosines of image and texts themselves, not scaled.

    Args:
        cosines: (N, K), logits over the logit scale.
        temperature: Of the softmax.

    References:
        Ming et al., Delving into out-of-distribution detection with vision-language
        representations, arXiv:2211.13445.

    Example:
        >>> mcm(np.array([[0.3, 0.1]])).round(4).tolist()
        [0.5498]
    """
    return msp(cosines.astype(np.float64) / temperature)


def mutual_information(chances: Float64Array) -> Float64Array:
    """Return the entropy of the mean of members' chances less the mean of their entropies.

    How much the members (prompt sets, views, seeds) disagree: 0 where they say the same. This is an
    uncertainty; its negative is a score of which higher means surer.

    Args:
        chances: float64 (M, N, K), M members.

    Returns:
        float64 (N,), in nats.

    Example:
        >>> two = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
        >>> mutual_information(two).round(4).tolist()
        [0.6931, 0.0]
    """
    apart = np.mean([entropy(member) for member in chances], axis=0)
    found: Float64Array = np.maximum(entropy(chances.mean(axis=0)) - apart, 0.0)
    return found


def entropy(chances: Float64Array) -> Float64Array:
    """Return the entropy of each row of chances (N, K), in nats."""
    terms = np.where(chances > 0, chances * np.log(np.where(chances > 0, chances, 1.0)), 0.0)
    total: Float64Array = -terms.sum(axis=1)
    return total


def _chances(logits: Logits) -> Float64Array:
    return probabilities(logits, "multi-class")


SCORES: Mapping[str, Callable[[Logits], Float64Array]] = MappingProxyType(
    {
        "msp": msp,
        "margin": margin,
        "entropy": negative_entropy,
        "gini": gini,
        "max_logit": max_logit,
        "energy": energy,
    }
)
"""Name -> score from logits alone."""


@dataclass(frozen=True, slots=True)
class Distances:
    """Normal distributions of clean features: one mean a class, one covariance for all.

    Attributes:
        means: float64 (K, D), of the classes that occur.
        center: float64 (D,), mean of all.
        within: float64 (D, D), whitens what is left of features within classes.
        around: float64 (D, D), whitens features around `center`.
    """

    means: Float64Array
    center: Float64Array
    within: Float64Array
    around: Float64Array

    def mahalanobis(self, features: Logits) -> Float64Array:
        """Return minus the squared distance to the nearest class mean: float64 (N,).

        References:
            Lee et al., arXiv:1807.03888.
        """
        whitened, means = features.astype(np.float64) @ self.within, self.means @ self.within
        each = [((whitened - mean) ** 2).sum(axis=1) for mean in means]
        nearest: Float64Array = -np.min(each, axis=0)
        return nearest

    def relative(self, features: Logits) -> Float64Array:
        """Return `mahalanobis` less that of a single class of all images: float64 (N,).

        References:
            Ren et al., arXiv:2106.09022.
        """
        apart = (features.astype(np.float64) - self.center) @ self.around
        whole: Float64Array = (apart**2).sum(axis=1)
        return self.mahalanobis(features) + whole


def fit_distances(features: Logits, labels: Int64Array) -> Distances:
    """Fit `Distances` to clean features.

    The covariance has a thousandth of its mean variance added on the diagonal, so that features of
    more dimensions than images have one.

    Args:
        features: (N, D).
        labels: int64 (N,).

    Raises:
        InvalidDataError: If there are fewer than two images.
    """
    if len(features) < 2:
        raise InvalidDataError(f"distances need two clean images at least, there are {len(labels)}")
    exact = features.astype(np.float64)
    classes, codes = np.unique(labels, return_inverse=True)
    means = np.stack([exact[labels == k].mean(axis=0) for k in classes])
    center = exact.mean(axis=0)
    return Distances(
        means, center, _whitening(exact - means[codes.reshape(-1)]), _whitening(exact - center)
    )


def _whitening(centered: Float64Array) -> Float64Array:
    covariance = centered.T @ centered / len(centered)
    added = SHRINKAGE * float(np.trace(covariance)) / len(covariance)
    values, vectors = np.linalg.eigh(covariance)
    scale = np.sqrt(np.maximum(values, 0.0) + max(added, 1e-12))
    found: Float64Array = vectors / scale
    return found


def nearest_distance(features: Logits, bank: Logits, *, neighbor: int = 5) -> Float64Array:
    """Return minus the distance to the k-th nearest clean image, features of unit length.

    Args:
        features: (N, D).
        bank: (M, D), of clean images; fewer than k make the farthest count.
        neighbor: k; 50 suits banks of the size of ImageNet, 1 to 10 small ones.

    References:
        Sun et al., Out-of-distribution detection with deep nearest neighbors, arXiv:2204.06507.

    Example:
        >>> bank = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> nearest_distance(np.array([[2.0, 0.0]]), bank, neighbor=1).tolist()
        [-0.0]
    """
    own, other = _unit(features), _unit(bank)
    place = min(neighbor, len(other)) - 1
    cosine = -np.partition(-(own @ other.T), place, axis=1)[:, place]
    found: Float64Array = -np.sqrt(np.maximum(2 - 2 * cosine, 0.0))
    return found


def _unit(features: Logits) -> Float64Array:
    exact = features.astype(np.float64)
    found: Float64Array = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return found
