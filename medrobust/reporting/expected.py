"""What a plan, or a store, wants of each table: its columns, severities and data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medrobust.evaluation.store import CellSpec, StoredCell, placed_at

STANDARD_SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class ExpectedTable:
    """What a plan wants of one suite on one data set.

    Attributes:
        dataset: Name of the data set.
        split: "train", "val" or "test".
        suite: Suite of the columns.
        corruptions: Columns, in order, without "clean".
        severities: Planned severities, in order, without 0.
        version: Fingerprint of the data, where a store holds several of one name; empty: of any.
        in_store: How many corruptions the table has in the store, of which these are chosen; 0:
            these are all.
        task: Name of the task, where several are asked of the data; empty: of any, a matrix each.
        unit: What its numbers are over: "image", or what images were joined to.
    """

    dataset: str
    split: str
    suite: str
    corruptions: tuple[str, ...]
    severities: tuple[int, ...] = STANDARD_SEVERITIES
    version: str = ""
    in_store: int = 0
    task: str = ""
    unit: str = "image"

    @property
    def placed(self) -> list[float]:
        """Where its levels lie in published severities."""
        return [placed_at(self.suite, level) for level in self.severities]

    def is_of(self, cell: StoredCell) -> bool:
        """Say whether a cell is of the data and the task of this table."""
        same_set = (cell.spec.dataset, cell.spec.split) == (self.dataset, self.split)
        same_set = same_set and cell.data.unit == self.unit
        same_task = self.task in ("", cell.task)
        return same_set and same_task and self.version in ("", cell.data.fingerprint)

    def holds(self, cell: StoredCell) -> bool:
        """Say whether a cell belongs into this table."""
        return self.is_of(cell) and belongs(cell.spec, self)


def belongs(spec: CellSpec, table: ExpectedTable) -> bool:
    """Say whether a cell of that name belongs into a table of any version of its data."""
    same_set = (spec.dataset, spec.split) == (table.dataset, table.split)
    in_column = (
        spec.suite == table.suite
        and spec.corruption in table.corruptions
        and spec.severity in table.severities
    )
    return same_set and (spec.severity == 0 or in_column)


def versions_of(cells: Iterable[StoredCell]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what a table of a data set and split is made for: each of several versions, or ""."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        key = (cell.spec.dataset, cell.spec.split)
        found.setdefault(key, {})[cell.data.fingerprint] = None
    return {key: tuple(prints) if len(prints) > 1 else ("",) for key, prints in found.items()}


def tasks_of(cells: Iterable[StoredCell]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what a table of a data set and split is asked: each of several tasks, or ""."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        found.setdefault((cell.spec.dataset, cell.spec.split), {})[cell.task] = None
    return {key: tuple(tasks) if len(tasks) > 1 else ("",) for key, tasks in found.items()}


def expected_from_cells(cells: Sequence[StoredCell]) -> list[ExpectedTable]:
    """Derive tables from cells alone: every suite that occurs, columns in alphabetical order."""
    versions, tasks = versions_of(cells), tasks_of(cells)
    columns: dict[tuple[str, str, str, str, str], set[tuple[str, int]]] = {}
    for cell in cells:
        spec = cell.spec
        if spec.severity:
            version = cell.data.fingerprint
            version = version if version in versions[spec.dataset, spec.split] else ""
            task = cell.task if cell.task in tasks[spec.dataset, spec.split] else ""
            key = (spec.dataset, spec.split, spec.suite, version, task)
            columns.setdefault(key, set()).add((spec.corruption, spec.severity))
    return [
        ExpectedTable(
            *key[:3],
            corruptions=tuple(sorted({name for name, _ in found})),
            severities=tuple(sorted({severity for _, severity in found})),
            version=key[3],
            task=key[4],
        )
        for key, found in columns.items()
    ]
