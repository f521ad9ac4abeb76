"""Corruptions: uint8 batch in, uint8 batch out, keyed draws in between."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import Corruption, Suite
from .continuous import Between, Equalisation
from .suites import suites
from .texts import TextCorruption

if TYPE_CHECKING:
    from .pipeline import CorruptionTransform
    from .shell import corrupt
    from .training import RandomCorruption

__all__ = [
    "Between",
    "Corruption",
    "CorruptionTransform",
    "Equalisation",
    "RandomCorruption",
    "Suite",
    "TextCorruption",
    "corrupt",
    "suites",
]

_LATE = {
    "CorruptionTransform": ".pipeline",
    "RandomCorruption": ".training",
    "corrupt": ".shell",
}
"""Names that need torch (or albumentations) and are imported when first asked for."""


def __getattr__(name: str) -> Any:
    """Import a late name, and what it needs with it."""
    if name in _LATE:
        return getattr(import_module(_LATE[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
