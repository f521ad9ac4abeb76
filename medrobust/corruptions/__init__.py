"""Corruptions: uint8 batch in, uint8 batch out, keyed draws in between."""

from typing import TYPE_CHECKING, Any

from .config import Corruption, Suite
from .suites import suites

if TYPE_CHECKING:
    from .shell import corrupt

__all__ = ["Corruption", "Suite", "corrupt", "suites"]


def __getattr__(name: str) -> Any:
    """Import `corrupt`, and torch with it, when it is first asked for."""
    if name == "corrupt":
        from .shell import corrupt

        return corrupt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
