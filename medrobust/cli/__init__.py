"""What people type."""

from typing import TYPE_CHECKING, Any

from .entry import main

if TYPE_CHECKING:
    from .joint_report import JointReport

__all__ = ["JointReport", "main"]


def __getattr__(name: str) -> Any:
    """Import the callback when Hydra asks for it: it needs Hydra, and help does not."""
    if name != "JointReport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .joint_report import JointReport

    return JointReport
