"""Which losses a recipe minimises, and how much each weighs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from medrobust.exceptions import ConfigurationError, unknown_name

OBJECTIVES: Mapping[str, str] = MappingProxyType(
    {
        "class_texts": "cross-entropy against the class texts",
        "image_text": "symmetric InfoNCE of images and their texts",
        "same_patient": "contrast of images of one patient with the others",
        "same_pair": "contrast of images of one pair (tuning.pair_column) with the others",
        "measures": "squared error of a linear regression of tuning.measures",
        "consistency": "1 - cosine of an image and its corrupted self (tuning.corrupt)",
    }
)
"""Name -> what it is."""


def weights_of(given: Mapping[str, float] | Sequence[str] | None) -> dict[str, float] | None:
    """Return objective -> weight, from a mapping, or from names that weigh 1 each.

    Raises:
        UnknownNameError: If there is no such objective.
        ConfigurationError: If none has a weight above 0, or one below.

    Example:
        >>> weights_of(["class_texts", "consistency"])
        {'class_texts': 1.0, 'consistency': 1.0}
    """
    if given is None:
        return None
    if isinstance(given, str):
        given = [given]
    pairs = given.items() if isinstance(given, Mapping) else ((name, 1.0) for name in given)
    found = {name: float(weight) for name, weight in pairs}
    for name, weight in found.items():
        if name not in OBJECTIVES:
            raise unknown_name("objective of tuning", name, OBJECTIVES)
        if not 0 <= weight < float("inf"):
            raise ConfigurationError(f"tuning.objective.{name}={weight:g} is no weight.")
    kept = {name: weight for name, weight in found.items() if weight > 0}
    if not kept:
        raise ConfigurationError("tuning.objective gives no objective a weight above 0.")
    return dict(sorted(kept.items()))


@dataclass(frozen=True, slots=True)
class Settings:
    """What objectives need beside their weights.

    Attributes:
        weights: Objective -> weight.
        temperature: Of contrasts.
        pair_column: Metadata column that numbers pairs.
        measures: Metadata columns of numbers.
    """

    weights: Mapping[str, float]
    temperature: float = 0.07
    pair_column: str | None = None
    measures: Sequence[str] = ()

    def description(self) -> dict[str, Any]:
        """Return what decides the tuned weights: of what is asked for alone."""
        found: dict[str, Any] = {"objective": dict(self.weights)}
        if {"same_patient", "same_pair"} & set(self.weights):
            found["temperature"] = self.temperature
        if "same_pair" in self.weights:
            found["pair_column"] = self.pair_column
        if "measures" in self.weights:
            found["measures"] = list(self.measures)
        return found
