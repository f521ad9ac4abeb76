"""What people type."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from .module_order import standard_library_first

if TYPE_CHECKING:
    from .joint_report import JointReport

__all__ = ["JointReport", "main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `medrobust ARGUMENTS`, see `medrobust.cli.entry.main`."""
    standard_library_first()
    from .entry import main as run

    run(arguments)


def __getattr__(name: str) -> Any:
    """Import the callback when Hydra asks for it: it needs Hydra, and help does not."""
    if name != "JointReport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .joint_report import JointReport

    return JointReport
