"""k nearest neighbours on frozen image features, the votes weighted as in DINO (arXiv:2104.14294).

The k shots of the largest cosine vote for their classes, each with exp(cosine / temperature). k is
the one of a few that errs least on images beside the shots (mean over classes), the smallest of
those that tie.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.types import FeatureBatch, LabelKind, LogitBatch

FLOOR = 1e-6
"""Share of the votes that a class without any gets, so that its logit is a number."""

CELLS = 16_000_000
"""Cosines that are held at a time, and numbers of shots that are widened at a time."""


@dataclass(frozen=True, slots=True)
class NearestNeighbours:
    """Votes of the nearest shots.

    Args:
        name: In tables and in the store.
        neighbours: Values of k to choose from; with one (or a number) nothing is chosen.
        temperature: Of the votes' weights; None: every vote counts the same.
    """

    needs_tuning: ClassVar[bool] = True
    trains_head: ClassVar[bool] = True

    name: str = "knn"
    neighbours: Sequence[int] = (1, 5, 20)
    temperature: float | None = 0.07

    def __post_init__(self) -> None:
        """Refuse values that no vote can be counted with.

        Raises:
            ConfigurationError: Naming the key.
        """
        if isinstance(given := cast(Any, self.neighbours), int) and not isinstance(given, bool):
            object.__setattr__(self, "neighbours", (given,))
        given = self.neighbours
        asked = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
        if not asked or any(type(k) is not int or k < 1 for k in asked):
            raise ConfigurationError(
                f"adapter.neighbours={asked or given} must be whole numbers from 1 on, at least "
                f"one."
            )
        if self.temperature is not None and not self.temperature > 0:
            raise ConfigurationError(
                f"adapter.temperature={self.temperature} must be above 0, or null: every vote "
                f"counts the same."
            )

    @property
    def needs_selection(self) -> bool:
        """Whether images beside the shots choose k."""
        return len(self.neighbours) > 1

    def description(self) -> dict[str, Any]:
        """Return what decides the fit."""
        return {
            "kind": "probe",
            "head": "knn",
            "neighbours": sorted(self.neighbours),
            "temperature": self.temperature,
        }

    def fit(
        self,
        features: FeatureBatch,
        labels: Tensor,
        label_kind: LabelKind,
        classes: int,
        selection: tuple[FeatureBatch, Tensor] | None = None,
    ) -> "Neighbours":
        """Keep the shots of one data set, and choose k.

        Args:
            features: (N, D) of unit norm.
            labels: int64 (N,), or (N, L) of zeros and ones.
            label_kind: Of the data set, as MedMNIST names it.
            classes: K, or L.
            selection: Features and labels of images beside the shots; None if k is given.

        Raises:
            ConfigurationError: If there are fewer shots than the smallest k, or nothing to choose
                k by.
        """
        possible = [k for k in sorted(set(self.neighbours)) if k <= len(features)]
        if not possible:
            raise ConfigurationError(
                f"adapter.neighbours={list(self.neighbours)} and {len(features)} shots: ask for "
                f"fewer neighbours, or for more shots."
            )
        if len(possible) > 1 and selection is None:
            raise ConfigurationError(
                f"adapter=knn chooses between {possible} neighbours by images beside the shots, "
                f"and none are left: pass tuning.select_from=val, or one number "
                f"(adapter.neighbours=[5])."
            )
        head = Neighbours(features.float(), labels, possible[-1], self.temperature or 0.0, classes)
        if len(possible) > 1:
            assert selection is not None
            head.neighbours.fill_(_least_wrong(head, possible, *selection))
        return head


class Neighbours(nn.Module):
    """The shots that vote.

    Attributes:
        features: float32 (N, D).
        labels: int64 (N,), or (N, L) of zeros and ones.
        neighbours: int64 (), how many vote.
        temperature: float64 (); 0: every vote counts the same.
        classes: int64 (), K or L.
    """

    features: Tensor
    labels: Tensor
    neighbours: Tensor
    temperature: Tensor
    classes: Tensor

    def __init__(
        self, features: Tensor, labels: Tensor, neighbours: int, temperature: float, classes: int
    ) -> None:
        super().__init__()
        self.register_buffer("features", features)
        self.register_buffer("labels", labels)
        self.register_buffer("neighbours", torch.tensor(neighbours))
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float64))
        self.register_buffer("classes", torch.tensor(classes))

    def nearest(self, features: FeatureBatch, count: int) -> tuple[Tensor, Tensor]:
        """Return the largest cosines, float64 (M, count), and the shots' rows, falling."""
        rows = max(1, CELLS // len(self.features))
        found = [
            torch.topk(self._cosines(one), count, dim=1) for one in torch.split(features, rows)
        ]
        return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])

    def _cosines(self, features: Tensor) -> Tensor:
        """Return float64 (M, N), the shots widened a part at a time."""
        queries, rows = features.double(), max(1, CELLS // self.features.shape[1])
        return torch.cat(
            [queries @ part.double().T for part in torch.split(self.features, rows)], dim=1
        )

    def shares(self, cosines: Tensor, rows: Tensor) -> Tensor:
        """Return the share of the votes of each class, float64 (M, K): of label sets a yes."""
        temperature = float(self.temperature)
        weights = torch.ones_like(cosines)
        if temperature:
            weights = ((cosines - cosines[:, :1]) / temperature).exp()
        if self.labels.ndim == 2:
            votes = (weights[..., None] * self.labels[rows]).sum(dim=1)
        else:
            votes = weights.new_zeros(len(rows), int(self.classes))
            votes.scatter_add_(1, self.labels[rows], weights)
        return votes / weights.sum(dim=1, keepdim=True)

    def logits(self, features: FeatureBatch) -> LogitBatch:
        """Return float32 (N, K): logarithms of shares; of label sets log-odds."""
        if not len(features):
            return features.new_zeros(0, int(self.classes), dtype=torch.float32)
        shares = self.shares(*self.nearest(features, int(self.neighbours)))
        logits = (shares + FLOOR).log()
        if self.labels.ndim == 2:
            logits = logits - (1 - shares + FLOOR).log()
        return logits.float()

    def forward(self, features: FeatureBatch) -> LogitBatch:
        """Return `logits(features)`."""
        return self.logits(features)


def _least_wrong(
    head: Neighbours, possible: Sequence[int], features: FeatureBatch, labels: Tensor
) -> int:
    """Return the k of the smallest error, the mean over classes (or labels)."""
    cosines, rows = head.nearest(features, possible[-1])
    errors = [
        _error(head.shares(cosines[:, :k], rows[:, :k]), labels, int(head.classes))
        for k in possible
    ]
    return possible[errors.index(min(errors))]


def _error(shares: Tensor, labels: Tensor, classes: int) -> float:
    """Return the error, the mean over the classes that occur, or over labels."""
    if labels.ndim == 2:
        return float(((shares > 0.5) != (labels > 0)).double().mean())
    wrong = (shares.argmax(dim=1) != labels).double()
    counts = functional.one_hot(labels, classes).double()
    present = counts.sum(dim=0) > 0
    return float(((wrong @ counts)[present] / counts.sum(dim=0)[present]).mean())


def neighbours_of(state: dict[str, Tensor]) -> Neighbours:
    """Return the head that an artifact keeps.

    Args:
        state: What its `state_dict` gave.
    """
    numbers = (int(state["neighbours"]), float(state["temperature"]), int(state["classes"]))
    return Neighbours(state["features"], state["labels"], *numbers)
