"""Cells that could not be computed, and why."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from medrobust.base.reasons import named_reason
from medrobust.base.wording import counted
from medrobust.evaluation.plan import PlannedCell
from medrobust.evaluation.store import CellSpec
from medrobust.exceptions import ConfigurationError, MedRobustError, StoreError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FailedCell:
    """A cell that could not be computed.

    Attributes:
        spec: Of the cell.
        name: As people are told of it, other than that of any other failed cell of the job.
        reason: One line.
    """

    spec: CellSpec
    name: str
    reason: str


class Failures:
    """What stopped cells while the others went on.

    Args:
        alone: Whether no other process waits for this one; else every error is raised.
    """

    def __init__(self, *, alone: bool) -> None:
        self._reasons: dict[tuple[CellSpec, str], tuple[PlannedCell, str]] = {}
        self._alone = alone

    @property
    def cells(self) -> list[FailedCell]:
        """All that failed so far, each once; those of one spec are told apart."""
        alike = Counter(str(spec) for spec, _ in self._reasons)
        return [
            FailedCell(spec, _name(cell, found) if alike[str(spec)] > 1 else str(spec), reason)
            for (spec, found), (cell, reason) in self._reasons.items()
        ]

    def note(self, cells: Iterable[PlannedCell], error: Exception, head: str = "") -> None:
        """Note that cells failed, and why; what fails every cell alike is raised instead.

        Args:
            cells: Which.
            error: What stopped them.
            head: Name of the one that answers, where several do.

        Raises:
            StoreError: As it was raised, likewise a ConfigurationError.
            Exception: As it was raised, if other processes wait for this one.
        """
        if isinstance(error, StoreError | ConfigurationError) or not self._alone:
            raise error
        reason = error.for_records if isinstance(error, MedRobustError) else named_reason(error)
        by = f" ({head})" if head else ""
        for cell in cells:
            self._reasons[cell.key.spec, cell.key.fingerprint] = cell, reason
            log.error("%s%s failed: %s", cell.key.spec, by, reason)
        log.debug("the cell failed by", exc_info=error)

    def complain(self) -> None:
        """Raise what stopped cells, once the others are done.

        Raises:
            MedRobustError: With the number of those cells and reasons, and the first one's reason.
        """
        if cells := self.cells:
            first, reasons = cells[0], {cell.reason for cell in cells}
            several = f" for {counted(len(reasons), 'reason')}" if len(reasons) > 1 else ""
            raise MedRobustError(
                f"{counted(len(cells), 'cell')} failed{several}, {first.name} first: "
                f"{first.reason.rstrip('.')}. The others are kept; the same command tries these "
                f"again."
            )


def _name(cell: PlannedCell, fingerprint: str) -> str:
    """Name a cell whose spec reads like another one's."""
    spec, prompts = cell.key.spec, str(cell.key.head.get("name") or "")
    suite = "" if spec.severity == 0 else spec.suite
    return " · ".join(filter(None, (str(spec), suite, prompts, f"cell {fingerprint[:8]}")))
