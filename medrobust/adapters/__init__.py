"""How a model is changed before it is evaluated."""

from importlib import import_module
from typing import Any

from .base import Adaptation, Adapter, HeadRecipe, NoAdapter, Recipe, Tunable

_HOME = {
    "AttentionMil": "attention",
    "AttentionProbe": "attention",
    "BatchStatistics": "batch_statistics",
    "LinearProbe": "linear_probe",
    "Lora": "lora",
    "NearestNeighbours": "nearest_neighbours",
    "Prototypes": "prototypes",
    "Intervene": "intervention",
    "Mvfa": "residual",
    "NuisanceProjection": "nuisance_projection",
    "Tuned": "artifact",
    "WeightTuning": "weights",
}
"""Public name -> module; imported at first use."""

__all__ = [
    "Adaptation",
    "Adapter",
    "AttentionMil",
    "AttentionProbe",
    "BatchStatistics",
    "HeadRecipe",
    "Intervene",
    "LinearProbe",
    "Lora",
    "Mvfa",
    "NearestNeighbours",
    "NoAdapter",
    "NuisanceProjection",
    "Prototypes",
    "Recipe",
    "Tunable",
    "Tuned",
    "WeightTuning",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
