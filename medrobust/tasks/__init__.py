"""LightningModules and the loaders that feed them."""

from importlib import import_module
from typing import Any

_HOME = {
    "CorruptedShots": "medrobust.tasks.tuning",
    "FewShot": "medrobust.tasks.few_shot",
    "Tuning": "medrobust.tasks.tuning",
    "TuningError": "medrobust.tasks.tuning",
    "ZeroShot": "medrobust.tasks.zero_shot",
    "evaluation_loader": "medrobust.tasks.datamodule",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and Lightning take seconds."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
