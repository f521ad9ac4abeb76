"""Prototypes: the mean of each class's shots answers for it, as class texts do elsewhere.

    cosine       logit_c = scale * x . m_c / |m_c|
    euclidean    logit_c = scale * (2 x . m_c - |m_c|^2), which differs from -scale * |x - m_c|^2
                 by the same number for every class: scikit-learn's NearestCentroid

with m_c the mean of unit features. Of label sets a label's logit is that of the shots that show it
less that of the shots that do not. Both are linear, so the head is kept as weights and bias.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from torch import Tensor
from torch.nn import functional

from medrobust.exceptions import ConfigurationError
from medrobust.types import FeatureBatch, LabelKind

from .linear_probe import Probe

Similarity: TypeAlias = Literal["cosine", "euclidean"]


@dataclass(frozen=True, slots=True)
class Prototypes:
    """The mean of each class.

    Args:
        name: In tables and in the store.
        similarity: "cosine" or "euclidean".
        scale: Multiplier of the logits, which decides no answer and every probability.
    """

    needs_tuning: ClassVar[bool] = True
    trains_head: ClassVar[bool] = True
    needs_selection: ClassVar[bool] = False

    name: str = "prototypes"
    similarity: Similarity = "cosine"
    scale: float = 100.0

    def __post_init__(self) -> None:
        """Refuse choices that do not exist.

        Raises:
            ConfigurationError: Naming the key.
        """
        if self.similarity not in get_args(Similarity):
            raise ConfigurationError(
                f"adapter.similarity={self.similarity!r} is none of {get_args(Similarity)}."
            )
        if not self.scale > 0:
            raise ConfigurationError(f"adapter.scale={self.scale} must be above 0.")

    def description(self) -> dict[str, Any]:
        """Return what decides the fit."""
        return {
            "kind": "probe",
            "head": "prototypes",
            "similarity": self.similarity,
            "scale": self.scale,
        }

    def fit(
        self,
        features: FeatureBatch,
        labels: Tensor,
        label_kind: LabelKind,
        classes: int,
        selection: tuple[FeatureBatch, Tensor] | None = None,
    ) -> Probe:
        """Average the shots of each class of one data set.

        Args:
            features: (N, D) of unit norm.
            labels: int64 (N,), or (N, L) of zeros and ones.
            label_kind: Of the data set, as MedMNIST names it.
            classes: K, or L.
            selection: Not read: there is nothing to choose.

        Raises:
            ConfigurationError: If a class, or one side of a label, has no shot.
        """
        if labels.ndim == 1:
            weight, bias = self._linear(features, functional.one_hot(labels, classes))
        else:
            present, absent = self._linear(features, labels), self._linear(features, 1 - labels)
            weight, bias = present[0] - absent[0], present[1] - absent[1]
        return Probe(weight.float(), bias.float())

    def _linear(self, features: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return (K, D) and (K,) of the means of the members (N, K)."""
        counts = members.sum(dim=0)
        if not counts.all():
            raise ConfigurationError(
                f"adapter=prototypes: class {int((counts == 0).nonzero()[0])} has no shot on one "
                f"side, and a mean needs one. Ask for more shots."
            )
        means = members.double().T @ features.double() / counts[:, None]
        if self.similarity == "cosine":
            bias = means.new_zeros(len(means))
            return self.scale * functional.normalize(means, dim=1), bias
        return 2 * self.scale * means, -self.scale * means.square().sum(dim=1)
