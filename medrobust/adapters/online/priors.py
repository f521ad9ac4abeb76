"""Prior correction: how often classes occur is read off the answers, and answers are moved to it.

Saerens, Latinne and Decaestecker (2002), by expectation and maximisation over all images, with p
the model's probabilities and s the frequencies of classes that it takes for granted:

    q_i(k) = p_i(k) pi(k) / s(k) / (sum over k),    pi(k) = mean over i of q_i(k).

The likelihood sum_i log sum_k p_i(k) pi(k) / s(k) never falls. A zero-shot classifier was told no
frequencies: s is uniform. The answers are the q_i.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medrobust.types import Float64Array

from .base import Answered, FromAnswers, Needs, check, log_softmax

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Prior(FromAnswers):
    """Frequencies of classes by expectation and maximisation.

    Args:
        order: Not read: all images come at once.
        steps: At most so many; 0: the model's own answers, to the bit.
    """

    steps: int = 100

    method: ClassVar[str] = "prior"
    needs: ClassVar[Needs] = "logits"

    def __post_init__(self) -> None:
        """Refuse a number of steps that is none.

        Raises:
            ConfigurationError: Naming the key.
        """
        check("prior", "steps", self.steps, low=0, whole=True)

    def logits(self, given: Answered) -> Float64Array:
        """Return the model's logits plus log(pi / s), float64 (N, K)."""
        if not self.steps or not len(given.logits):
            return given.logits
        return given.logits + log_frequencies(given.logits, self.steps)[-1]


def log_frequencies(logits: Float64Array, steps: int) -> list[Float64Array]:
    """Return log(pi / s) after each step, float64 (K,), until no pi moves; s is uniform.

    Example:
        >>> sure = np.array([[9.0, -9.0], [9.0, -9.0], [9.0, -9.0], [-9.0, 9.0]])
        >>> (np.exp(log_frequencies(sure, 100)[-1]) / 2).round(4).tolist()
        [0.75, 0.25]
    """
    own = log_softmax(logits)
    found = [np.zeros(own.shape[1])]
    for _ in range(steps):
        moved = log_softmax(own + found[-1])
        mean = np.logaddexp.reduce(moved, axis=0) - np.log(len(moved))
        found.append(mean + np.log(own.shape[1]))
        if np.abs(np.exp(found[-1]) - np.exp(found[-2])).max() <= TOLERANCE:
            break
    return found[1:]
