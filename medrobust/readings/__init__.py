"""What stored cells say further, without a model: one file a reading."""

from importlib import import_module
from typing import Any

_HOME = {
    "Aggregation": "aggregation",
    "Calibration": "calibration",
    "Conformal": "cells.answer_sets",
    "Consistency": "consistency",
    "Guidance": "guidance",
    "LabelFree": "label_free",
    "Lesions": "lesions",
    "OperatingLimit": "operating_limit",
    "Pairs": "pairs",
    "Quality": "quality",
    "RobustnessRadius": "robustness_radius",
    "Selective": "selective",
    "Views": "views",
    "WorstPair": "worst_pair",
}
"""Public name -> module, imported at first use."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
