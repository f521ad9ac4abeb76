"""How an adapter is tuned: recipes, shots, the training loop."""

from importlib import import_module
from typing import Any

from medrobust.base.deferred_dynamo import put_off_dynamo
from medrobust.base.parted_torchmetrics import part_torchmetrics

part_torchmetrics()  # before anything imports Lightning
put_off_dynamo()

_HOME = {
    "CorruptedShots": ".recipe",
    "FewShot": ".few_shot",
    "Tuning": ".recipe",
    "TuningError": ".recipe",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and Lightning take seconds."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
