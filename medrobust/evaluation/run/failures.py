"""Cells that could not be computed, and why."""

import logging
from collections.abc import Iterable

from medrobust.base.reasons import named_reason
from medrobust.base.wording import counted
from medrobust.evaluation.plan import PlannedCell
from medrobust.evaluation.store import CellSpec
from medrobust.exceptions import ConfigurationError, MedRobustError, StoreError

log = logging.getLogger(__name__)


class Failures:
    """What stopped cells while the others went on.

    Args:
        alone: Whether no other process waits for this one; else every error is raised.

    Attributes:
        reasons: Cell -> one line.
    """

    def __init__(self, *, alone: bool) -> None:
        self.reasons: dict[CellSpec, str] = {}
        self._alone = alone

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
            self.reasons[cell.key.spec] = reason
            log.error("%s%s failed: %s", cell.key.spec, by, reason)
        log.debug("the cell failed by", exc_info=error)

    def complain(self) -> None:
        """Raise what stopped cells, once the others are done.

        Raises:
            MedRobustError: With the number of those cells and the first one's reason.
        """
        if self.reasons:
            spec, reason = next(iter(self.reasons.items()))
            raise MedRobustError(
                f"{counted(len(self.reasons), 'cell')} failed, {spec} first: "
                f"{reason.rstrip('.')}. The others are kept; the same command tries these again."
            )
