"""Optimal transport between images and classes, as Conf-OT has it (arXiv:2505.24693).

Plan Q (N, K) = exp(logits / epsilon); a few times in turn, Sinkhorn's way,

    each class is scaled to its share r_k of the whole,   each image to 1 / N.

The answers are the images' rows, which sum to 1. In logarithms, so that nothing underflows.
Conf-OT takes r from the labels of calibration images; here there are none: r is uniform, which is
right where classes are balanced and wrong elsewhere, or the mean of the model's own probabilities.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np

from medrobust.exceptions import ConfigurationError
from medrobust.types import Float64Array

from .base import Answered, FromAnswers, Needs, check, log_softmax

Marginal: TypeAlias = Literal["uniform", "predicted"]


@dataclass(frozen=True, slots=True)
class Transport(FromAnswers):
    """Sinkhorn's iterations between images and classes.

    Args:
        order: Not read: all images come at once.
        epsilon: What logits are divided by.
        iterations: Rounds of both scalings; 0: the model's own answers, to the bit.
        marginal: Shares of the classes: "uniform" or "predicted".
    """

    epsilon: float = 1.0
    iterations: int = 3
    marginal: Marginal = "uniform"

    method: ClassVar[str] = "transport"
    needs: ClassVar[Needs] = "logits"

    def __post_init__(self) -> None:
        """Refuse what is no plan.

        Raises:
            ConfigurationError: Naming the key.
        """
        check("transport", "iterations", self.iterations, low=0, whole=True)
        check("transport", "epsilon", self.epsilon, low=1e-6)
        if self.marginal not in get_args(Marginal):
            raise ConfigurationError(
                f"adapter.online: marginal={self.marginal!r} of transport is none of "
                f"{', '.join(get_args(Marginal))}."
            )

    def logits(self, given: Answered) -> Float64Array:
        """Return logarithms of the images' rows of N Q, float64 (N, K)."""
        if not self.iterations or not len(given.logits):
            return given.logits
        classes = given.logits.shape[1]
        shares = np.full(classes, -np.log(classes))
        if self.marginal == "predicted":
            own = log_softmax(given.logits)
            shares = np.logaddexp.reduce(own, axis=0) - np.log(len(own))
        return transported(given.logits / self.epsilon, shares, self.iterations)


def transported(plan: Float64Array, shares: Float64Array, iterations: int) -> Float64Array:
    """Scale classes to their shares and images to one, in turn, images last.

    Args:
        plan: log Q, (N, K).
        shares: log r, (K,).
        iterations: Rounds, at least one.

    Returns:
        Logarithms of the images' rows, float64 (N, K), each of which sums to 1.

    Example:
        >>> leaning = np.log(np.array([[0.9, 0.1], [0.6, 0.4]]))
        >>> np.exp(transported(leaning, np.log([0.5, 0.5]), 50)).round(3).tolist()
        [[0.71, 0.29], [0.29, 0.71]]
    """
    for _ in range(iterations):
        plan = plan - np.logaddexp.reduce(plan, axis=0) + shares + np.log(len(plan))
        plan = log_softmax(plan)
    return plan
