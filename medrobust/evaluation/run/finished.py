"""What the store has of a job's cells already, and what it lacks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from medrobust.evaluation.experiment import AskedModel, Where
from medrobust.evaluation.plan import DatasetPlan, PlannedCell
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.store import Store, StoredCell
from medrobust.tasks.base import Head
from medrobust.tasks.patches import PatchHead

from .encoding import Done, Encoding, OnCell


class FinishedCells:
    """Finds what is finished; with `resume=False` nothing counts as finished.

    Args:
        asked: The model.
        where: What is kept, and whether finished cells count.
        resources: Makes the classifiers of the cells that are missing.
        store: Where finished cells lie.
        on_cell: Hears of each cell that is found.
    """

    def __init__(
        self, asked: AskedModel, where: Where, resources: Resources, store: Store, on_cell: OnCell
    ) -> None:
        self._asked, self._where = asked, where
        self._resources = resources
        self._store = store
        self._on_cell = on_cell

    def missing(self, plan: DatasetPlan) -> list[Encoding]:
        """Tell of the cells that are finished, and group the others by their encoding.

        Raises:
            StoreError: If a finished cell is damaged.
        """
        missing: dict[str, list[tuple[PlannedCell, Head]]] = {}
        first: dict[str, PlannedCell] = {}
        for cell in plan.cells:
            encoding = cell.passed_as
            first.setdefault(encoding, cell)
            cells = missing.setdefault(encoding, [])
            if self._where.resume and (self._store.has(cell.key) or self._store.adopt(cell.key)):
                self._on_cell(Done(cell, computed=False, seconds=0.0))
            else:
                head = self._resources.head(self._asked, dict(cell.key.head), plan.image_set)
                cells.append((cell, head))
        return [
            Encoding(plan.image_set, first[encoding], tuple(cells))
            for encoding, cells in missing.items()
            if cells
            or (
                self._where.keep_features
                and not first[encoding].streamed
                and not self.has_features(encoding)
            )
        ]

    def patch_heads(self, plan: DatasetPlan) -> dict[str, list[tuple[PlannedCell, PatchHead]]]:
        """Return the cells of each encoding whose heads read patch features: every process does."""
        found: dict[str, list[tuple[PlannedCell, PatchHead]]] = {}
        if self._asked.task.level != "patches" and not self._asked.adapter.reads_patches:
            return found
        for cell in plan.cells:
            head = self._resources.head(self._asked, dict(cell.key.head), plan.image_set)
            if isinstance(head, PatchHead):
                found.setdefault(cell.passed_as, []).append((cell, head))
        return found

    def still_missing(self, encodings: Iterable[Encoding]) -> list[Encoding]:
        """Tell of the cells that others have finished meanwhile, and return what is left.

        Raises:
            StoreError: If a finished cell is damaged.
        """
        left = []
        for encoding in encodings:
            missing = []
            for cell, head in encoding.missing:
                if self._store.has(cell.key):
                    self._on_cell(Done(cell, computed=False, seconds=0.0))
                else:
                    missing.append((cell, head))
            rest = replace(encoding, missing=tuple(missing))
            left += [] if self.has_all(rest) else [rest]
        return left

    def has_all(self, encoding: Encoding) -> bool:
        """Say whether the store has all that an encoding is wanted for, without reading it."""
        keys = [cell.key for cell, _ in encoding.missing]
        return (
            self._where.resume
            and all(self._store.holds(key.spec, key.fingerprint) for key in keys)
            and (
                not self._where.keep_features
                or encoding.first.streamed
                or self.has_features(encoding.fingerprint)
            )
        )

    def has_features(self, encoding: str) -> bool:
        """Say whether the features of that fingerprint are kept, and may be used."""
        return self._where.resume and self._store.has_features(encoding)


def read_cells(store: Store, plans: Sequence[DatasetPlan]) -> list[StoredCell]:
    """Read the cells of plans, in their order; those that failed are left out.

    Raises:
        StoreError: If a finished cell is damaged.
    """
    keys = (cell.key for dataset in plans for cell in dataset.cells)
    known = ((key.spec, key.fingerprint) for key in keys)
    return [store.read(*names) for names in known if store.holds(*names)]
