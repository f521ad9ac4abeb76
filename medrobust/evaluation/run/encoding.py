"""One encoding and the cells that it serves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from medrobust.datasets.image_set import ImageSet
from medrobust.evaluation.plan import PlannedCell
from medrobust.tasks.base import Head, StreamHead
from medrobust.tasks.patches import PatchHead


@dataclass(frozen=True, slots=True)
class Done:
    """One cell, finished now or found in the store."""

    cell: PlannedCell
    computed: bool
    seconds: float


OnCell: TypeAlias = Callable[[Done], None]
"""Called with each cell once it is in the store, from whatever thread has put it there."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """What one encoding serves: cells that differ in their head, or in the name of their suite.

    Where a method sees images of several conditions mixed, it is the cells of all of them.

    Attributes:
        image_set: Clean images of the split.
        first: Any cell of it: names its images and its corruption.
        missing: The cells that are not finished, each with its classifier.
    """

    image_set: ImageSet
    first: PlannedCell
    missing: tuple[tuple[PlannedCell, Head], ...]

    @property
    def fingerprint(self) -> str:
        """Under which its features lie, and processes claim it."""
        return self.first.passed_as

    @property
    def patch_heads(self) -> Mapping[str, PatchHead]:
        """Fingerprint of a cell -> its head, of those that read patch features."""
        heads = {cell.key.fingerprint: head for cell, head in self.missing}
        return {name: head for name, head in heads.items() if isinstance(head, PatchHead)}

    @property
    def stream_head(self) -> StreamHead | None:
        """The head whose method answers the images while they come; None: the model encodes."""
        heads = (head for _, head in self.missing)
        return next((head for head in heads if isinstance(head, StreamHead)), None)

    @property
    def cells(self) -> tuple[PlannedCell, ...]:
        """The cells that it is wanted for; any of its cells where only its features are."""
        return tuple(cell for cell, _ in self.missing) or (self.first,)
