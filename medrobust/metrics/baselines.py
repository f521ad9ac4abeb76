"""Published errors that other papers divide by: facts from `baselines.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from medrobust.exceptions import unknown_name

MEDMNIST_C = "medmnist_c_alexnet"
IMAGENET_C = "imagenet_c_alexnet"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Errors of a published model on one data set.

    Attributes:
        name: Of the baseline.
        dataset: Name of the data set.
        error: "error" or "balanced_error": what the numbers are.
        clean: Error on clean images.
        corruptions: Corruption -> error, mean over severities 1 to 5.
        source: Where it was published.
    """

    name: str
    dataset: str
    error: str
    clean: float
    corruptions: Mapping[str, float]
    source: str


@cache
def _facts() -> dict[str, Any]:
    text = resources.files("medrobust.metrics").joinpath("baselines.json").read_text("utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def baselines(name: str) -> tuple[str, ...]:
    """Return the data sets that a published baseline has errors for.

    Raises:
        UnknownNameError: If there is no such baseline.
    """
    if name not in _facts():
        raise unknown_name("baseline", name, _facts())
    return tuple(_facts()[name]["sets"])


def baseline(name: str, dataset: str) -> Baseline:
    """Return a published baseline on one data set.

    Raises:
        UnknownNameError: If there is no such baseline or it lacks the data set.
    """
    if dataset not in baselines(name):
        raise unknown_name(f"data set of {name}", dataset, baselines(name))
    facts = _facts()[name]
    errors = facts["sets"][dataset]
    return Baseline(
        name,
        dataset,
        facts["error"],
        errors["clean"],
        MappingProxyType(errors["corruptions"]),
        facts["source"],
    )
