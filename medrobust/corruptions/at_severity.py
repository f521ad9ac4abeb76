"""A corruption at one severity between the published ones, as a search asks for it."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .config import Corruption
from .continuous import HARMLESS, corrupt_at, identity_at
from .suites import BETWEEN, find_entry

if TYPE_CHECKING:
    from medrobust.types import IndexBatch, UInt8Batch

    from .shell import Grey

Images = TypeVar("Images")


def has_severities_between(column: object) -> bool:
    """Say whether a column of a table can be computed at any severity: parameters interpolate."""
    if not isinstance(column, Corruption) or column.region is not None or column.suite is None:
        return False
    return find_entry(column.suite, column.name).kernel in HARMLESS


@dataclass(frozen=True, slots=True)
class CorruptionAt:
    """A corruption at one severity in between; a column of its own, in no table.

    It has the draws of the next published severity, `level`, at which its pixels are the published
    ones.

    Attributes:
        computed: Always: from the clean images.
        of: The published one, expanded.
        at: Above 0, up to 5.
    """

    computed: ClassVar[bool] = True

    of: Corruption
    at: float

    @property
    def name(self) -> str:
        """Of the corruption."""
        return self.of.name

    @property
    def suite(self) -> str:
        """The published suite, and that it is between its severities."""
        return f"{self.of.suite}{BETWEEN}"

    @property
    def grey(self) -> "Grey":
        """How grey images are treated."""
        return self.of.grey

    @property
    def level(self) -> int:
        """The next published severity, whose draws it has."""
        return math.ceil(self.at)

    def random(self, severity: int) -> bool:
        """Say whether draws are used."""
        return self.of.random(severity)

    def identity(self, severity: int, shape: tuple[int, int] = (224, 224)) -> dict[str, Any]:
        """Give the plain values that decide the pixels, with the severity (`at`) for tables.

        Args:
            severity: `level`.
            shape: As in `Corruption.identity`.

        Raises:
            ConfigurationError: If the corruption has no such severity.
        """
        return identity_at(self.of, self.at, severity) | {"at": self.at}

    def images(self, clean: Images, severity: int) -> Images:
        """Return what is read to be corrupted: the clean images."""
        return clean

    def __call__(
        self,
        images: "UInt8Batch",
        *,
        severity: int,
        seed: int = 0,
        stream: str = "",
        index: "IndexBatch",
    ) -> "UInt8Batch":
        """Corrupt a batch; see `corrupt_at`."""
        keyed = (seed, stream, severity)
        return corrupt_at(self.of, images, self.at, keyed=keyed, index=index)
