"""The linear probe: logistic regression on frozen image features, with the optimum of scikit-learn.

    min_W,b  1/2 |W|^2 + C * sum_i loss(W x_i + b, y_i)

The intercept is not penalised. Features are float64 while fitting; L-BFGS runs until the gradient
is at rounding, so that the result is that of `sklearn.linear_model.LogisticRegression` with its
tolerance at zero.

Many features of many images are centred and whitened first. That moves no optimum (the penalty goes
along, and the intercept is free) and takes tens of steps where there were thousands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.base.given import check_number
from medrobust.exceptions import ConfigurationError
from medrobust.types import FeatureBatch, LabelKind, LogitBatch

ITERATIONS = 2000

MANY = 2**23
"""Numbers of all features (10,923 images of 768) from which on they are whitened."""


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A linear classifier on the features of the model as published.

    Args:
        name: In tables and in the store.
        inverse_penalty: C above; larger fits the shots more closely. Features have unit norm, so
            that values from 10 up suit a few shots a class.
    """

    needs_tuning: ClassVar[bool] = True
    trains_head: ClassVar[bool] = True
    needs_selection: ClassVar[bool] = False

    name: str = "linear_probe"
    inverse_penalty: float = 100.0

    def __post_init__(self) -> None:
        """Refuse a penalty that has no optimum.

        Raises:
            ConfigurationError: Naming the key.
        """
        check_number("adapter.inverse_penalty", self.inverse_penalty)
        if self.inverse_penalty <= 0:
            raise ConfigurationError(
                f"adapter.inverse_penalty={self.inverse_penalty} must be above 0."
            )

    def description(self) -> dict[str, Any]:
        """Return what decides the fit."""
        return {"kind": "probe", "inverse_penalty": self.inverse_penalty}

    def fit(
        self,
        features: FeatureBatch,
        labels: Tensor,
        label_kind: LabelKind,
        classes: int,
        selection: tuple[FeatureBatch, Tensor] | None = None,
    ) -> "Probe":
        """Fit one data set.

        Args:
            features: (N, D).
            labels: int64 (N,), or (N, L) of zeros and ones.
            label_kind: Of the data set, as MedMNIST names it.
            classes: K, or L.
            selection: Not read: there is nothing to choose.

        Returns:
            The head, float32.
        """
        if labels.ndim == 2:
            target = labels.double()
        elif classes == 2:
            target = labels.double()[:, None]
        else:
            target = functional.one_hot(labels, classes).double()
        softmax = labels.ndim == 1 and classes > 2
        fit = _minimum if features.numel() < MANY else _whitened_minimum
        weight, bias = fit(features, target, self.inverse_penalty, softmax=softmax)
        if labels.ndim == 1 and classes == 2:  # one row, as scikit-learn has it, as two logits
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        return Probe(weight.float(), bias.float())


def _minimum(
    features: Tensor, target: Tensor, inverse_penalty: float, *, softmax: bool
) -> tuple[Tensor, Tensor]:
    """Return (K, D) and (K,) at the minimum."""
    return _descend(features.double(), target, inverse_penalty, lambda weight: weight, softmax)


def _whitened_minimum(
    features: Tensor, target: Tensor, inverse_penalty: float, *, softmax: bool
) -> tuple[Tensor, Tensor]:
    """Return the same where features have no mean and, but for the penalty, unit covariance.

    With S = L L^T the covariance of the features and x' = L^-1 (x - mean), the weights V of x'
    stand for W = V L^-1, whose size is what the penalty is on.
    """
    count, width = features.shape
    mean = features.mean(dim=0, dtype=torch.float64)
    values = features.double().sub_(mean)
    covariance = values.T @ values / count
    covariance.diagonal().add_(1 / (inverse_penalty * count))
    lower = torch.linalg.cholesky(covariance)
    inverse = torch.linalg.solve_triangular(
        lower, torch.eye(width, dtype=torch.float64), upper=False
    )
    for part in torch.split(values, count // 16 + 1):
        part.copy_(part @ inverse.T)
    weight, bias = _descend(values, target, inverse_penalty, lambda v: v @ inverse, softmax)
    weight = weight @ inverse
    return weight, bias - weight @ mean


def _descend(
    features: Tensor,
    target: Tensor,
    inverse_penalty: float,
    penalised: Callable[[Tensor], Tensor],
    softmax: bool,
) -> tuple[Tensor, Tensor]:
    """Return (K, D) and (K,) where the gradient is at rounding.

    Args:
        features: float64 (N, D).
        target: float64 (N, K).
        inverse_penalty: C.
        penalised: From these weights to those that the penalty is on.
        softmax: One regression over all classes, or one a class.
    """
    weight = torch.zeros(target.shape[1], features.shape[1], dtype=torch.float64)
    bias = torch.zeros(target.shape[1], dtype=torch.float64)
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=ITERATIONS,
        tolerance_grad=1e-9,
        tolerance_change=0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        logits = features @ weight.T + bias
        if softmax:
            loss = functional.cross_entropy(logits, target, reduction="sum")
        else:
            loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        # By the number of images, which changes no optimum and keeps gradients of one size.
        total = (loss + penalised(weight).square().sum() / (2 * inverse_penalty)) / len(features)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


class Probe(nn.Module):
    """Logits W x + b of unit image features.

    Attributes:
        weight: float32 (K, D).
        bias: float32 (K,).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def logits(self, features: FeatureBatch) -> LogitBatch:
        """Return float32 (N, K), summed in float64, whatever the number of rows."""
        return (features.double() @ self.weight.double().T + self.bias.double()).float()

    def forward(self, features: FeatureBatch) -> LogitBatch:
        """Return `logits(features)`."""
        return self.logits(features)
