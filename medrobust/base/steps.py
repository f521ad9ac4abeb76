"""What a long computation tells of itself while it runs."""

from collections.abc import Callable
from typing import TypeAlias

OnStep: TypeAlias = Callable[[int, int], None]
"""Called after each step with the number of steps that are done, and of all."""


def nothing(_done: int, _total: int) -> None:
    """Tell nobody."""
