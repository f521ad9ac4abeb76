"""A corruption at one severity between the published ones, as a search asks for it."""

import math
from dataclasses import dataclass
from typing import Any

from .config import Corruption
from .continuous import HARMLESS, InBetween, identity_at
from .suites import BETWEEN


def has_severities_between(column: object) -> bool:
    """Say whether a column of a table can be computed at any severity: parameters interpolate."""
    if not isinstance(column, Corruption) or column.region is not None or column.suite is None:
        return False
    return column.entry.kernel in HARMLESS


@dataclass(frozen=True, slots=True)
class CorruptionAt(InBetween):
    """A corruption at one severity in between, in no table.

    It has the draws of the next published severity, `level`, at which its pixels are the published
    ones.

    Attributes:
        at: Above 0, up to 5.
    """

    at: float

    @property
    def suite(self) -> str:
        """The published suite, and that it is between its severities."""
        return f"{self.of.suite}{BETWEEN}"

    @property
    def level(self) -> int:
        """The next published severity, whose draws it has."""
        return math.ceil(self.at)

    def lies_at(self, level: int) -> float:
        """Return the severity, whatever the level."""
        return self.at

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give the plain values that decide the pixels, with the severity (`at`) for tables.

        Args:
            severity: `level`.
            shape: As in `Corruption.identity`.

        Raises:
            ConfigurationError: If the corruption has no such severity.
        """
        return identity_at(self.of, self.at, severity) | {"at": self.at}
