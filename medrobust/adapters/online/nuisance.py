"""What texts say of how an image was taken is projected out of images and class texts.

With d_j the difference of the text of a nuisance ("a blurred fundus photograph") and a plain one,
and v_1 ... v_r the first right singular vectors of the matrix of all d_j (D columns),

    x' = (x - sum_i v_i v_i . x) / | . |,   the same for class texts,   logit_k = scale * x' . t'_k.

With r = 0 the model's own answers stay, to the bit. No image changes the answer to another one.
The sentence that an image is nearest to says, without a label, what is wrong with it: the record of
a cell has the share of its images for each. After the confounder directions of MCDRL
(arXiv:2508.05008), which finds them with a language model; these are read off a list of sentences.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from medrobust.base.wording import counted
from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array, Int64Array

from .base import Answered, FromAnswers, Needs, check

TEXTS = (
    "a noisy {modality}",
    "a blurred {modality}",
    "a {modality} out of focus",
    "a dark {modality}",
    "an overexposed {modality}",
    "a {modality} of low contrast",
    "a pixelated {modality}",
    "a {modality} with compression artifacts",
)


@dataclass(frozen=True, slots=True)
class Nuisance(FromAnswers):
    """Projects nuisance directions out.

    Args:
        order: Not read: no image changes the answer to another one.
        directions: How many, r; 0: the model's own answers, to the bit.
        texts: A sentence for each nuisance, `{modality}` where the data set's stands.
        plain: The sentence that they are compared with.
    """

    directions: int = 2
    texts: tuple[str, ...] = TEXTS
    plain: str = "a {modality}"

    method: ClassVar[str] = "nuisance"
    needs: ClassVar[Needs] = "class texts"

    def __post_init__(self) -> None:
        """Refuse more directions than there are texts.

        Raises:
            ConfigurationError: Naming the key.
        """
        check("nuisance", "directions", self.directions, low=0, whole=True)
        if self.directions > len(self.texts):
            raise ConfigurationError(
                f"adapter.online: directions={self.directions} of nuisance, and it has "
                f"{counted(len(self.texts), 'text')}: give more, or ask for fewer directions."
            )

    @property
    def sentences(self) -> tuple[str, ...]:
        """The nuisances, and last the plain one."""
        return (*self.texts, self.plain) if self.directions else ()

    def logits(self, given: Answered) -> Float64Array:
        """Return logits of what is left, float64 (N, K)."""
        if not self.directions:
            return given.logits
        away = directions(given.sentences[:-1] - given.sentences[-1], self.directions)
        images, classes = (without(one, away) for one in (given.features, given.classes))
        return given.scale * (images @ classes.T)

    def notes(self, given: Answered) -> dict[str, Any]:
        """Return which share of the images is nearest to each sentence: what it recognises."""
        if not self.directions:
            return {}
        shares = nearest(given.features, given.sentences) / len(given.features)
        return {"recognised": dict(zip(self.sentences, shares.round(6).tolist(), strict=True))}


def nearest(images: Float64Array, sentences: Float64Array) -> Int64Array:
    """Count the images (N, D) that are nearest to each sentence (S, D), int64 (S,).

    Example:
        >>> nearest(np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), np.eye(2)).tolist()
        [2, 1]
    """
    closest = (images @ sentences.T).argmax(axis=1)
    return np.bincount(closest, minlength=len(sentences)).astype(np.int64)


def directions(differences: Float64Array, count: int) -> Float64Array:
    """Return the first right singular vectors of differences (T, D), orthonormal (r, D).

    Fewer than asked where the differences span fewer.

    Example:
        >>> np.abs(directions(np.array([[0.0, 2.0, 0.0], [0.0, 1.0, 0.0]]), 2)).round(3).tolist()
        [[0.0, 1.0, 0.0]]
    """
    _, sizes, vectors = np.linalg.svd(differences, full_matrices=False)
    there = int((sizes > sizes[:1] * 1e-6).sum())
    found: Float64Array = vectors[: min(count, there)]
    return found


def without(vectors: Float64Array, away: Float64Array) -> Float64Array:
    """Project orthonormal directions (r, D) out of vectors (N, D), to unit norm.

    Raises:
        ConfigurationError: If nothing is left of one.

    Example:
        >>> without(np.array([[0.6, 0.8]]), np.array([[0.0, 1.0]])).round(3).tolist()
        [[1.0, 0.0]]
    """
    left = vectors - (vectors @ away.T) @ away
    lengths = np.linalg.norm(left, axis=1, keepdims=True)
    if (lengths < 1e-6).any():
        raise ConfigurationError(
            "nuisance directions leave nothing of an image or a class text: ask for fewer."
        )
    found: Float64Array = left / lengths
    return found
