"""Metadata that came later than the cells: joined to stored images by their ids, for a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medrobust.base.split_facts import SplitFacts
from medrobust.base.wording import agreeing, listed, part_of
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.types import Int64Array


@dataclass(frozen=True)
class JoinedMetadata:
    """Columns of a table of own data, by the ids that a store has for its images.

    Attributes:
        dataset: Name of the data set.
        columns: Names of the columns.
        values: Split -> ids (N,) and values (N, M).
        words: What was typed for it after `medrobust report`.
    """

    dataset: str
    columns: tuple[str, ...]
    values: Mapping[str, tuple[NDArray[np.str_], NDArray[np.str_]]]
    words: tuple[str, ...] = ()

    def join(self, cells: Sequence[StoredCell]) -> list[StoredCell]:
        """Give the cells of the data set these columns, beside those that they have.

        Raises:
            ConfigurationError: If no image of a split is in the table.
        """
        known: dict[str, SplitFacts] = {}
        found = []
        for cell in cells:
            if cell.data.name != self.dataset or cell.data.split not in self.values:
                found.append(cell)
                continue
            if cell.data.fingerprint not in known:
                known[cell.data.fingerprint] = self._joined(cell.data)
            found.append(replace(cell, data=known[cell.data.fingerprint]))
        if not known:
            raise ConfigurationError(
                f"the store has no cell of the data set {self.dataset!r}: pass dataset.name=NAME "
                f"as the runs had it, and dataset.split=SPLIT."
            )
        return found

    def note(self, cells: Sequence[StoredCell]) -> str:
        """Say what was joined, and how many images the table does not know."""
        data = next(cell.data for cell in cells if cell.data.name == self.dataset)
        lacking = int((self._rows(data) < 0).sum())
        without = (
            f"; {part_of(lacking, len(data), 'image')} {agreeing(lacking, 'is')} not in the table"
        )
        return (
            f"metadata of {self.dataset} joined for this report: {listed(self.columns)}"
            f"{without if lacking else ''}"
        )

    def _rows(self, data: SplitFacts) -> Int64Array:
        """Return the row of each image in the table, -1 where it has none: int64 (N,)."""
        ids = self.values[data.split][0]
        rows = {name: row for row, name in enumerate(ids.tolist())}
        return np.array([rows.get(name, -1) for name in data.ids.tolist()], np.int64)

    def _joined(self, data: SplitFacts) -> SplitFacts:
        rows = self._rows(data)
        if (rows < 0).all():
            raise ConfigurationError(
                f"no image of {data.name}/{data.split} is in the table that dataset.csv names. "
                f"Pass the folder and the key file that the runs had (dataset.root, "
                f"dataset.key_file): ids are hashes made with that key."
            )
        new = np.where(rows[:, None] < 0, "", self.values[data.split][1][rows])
        columns, values = list(self.columns), [new]
        for name, old in zip(data.metadata_columns, _columns(data), strict=True):
            if name not in self.columns:
                columns.append(name)
                values.append(old[:, None])
        return replace(
            data, metadata=np.concatenate(values, axis=1), metadata_columns=tuple(columns)
        )


def _columns(data: SplitFacts) -> Sequence[NDArray[np.str_]]:
    return () if data.metadata is None else list(data.metadata.T)
