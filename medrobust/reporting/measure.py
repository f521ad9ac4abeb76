"""Numbers of stored cells, each computed once, with what aggregates need of them."""

import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import InvalidDataError
from medrobust.metrics.aggregates import group_codes, share_influence
from medrobust.metrics.influence import Areas
from medrobust.metrics.intervals import Spread
from medrobust.tasks.base import AFTER, APART, Cell, Scores, Terms, deciding
from medrobust.tasks.lookup import task_of
from medrobust.types import Float32Array, Int64Array

MANY = 2000
"""Cells from which on processes of their own are worth their start."""

CHUNK = 100

Features: TypeAlias = Callable[[str], Float32Array | None]
"""Encoding fingerprint -> image features, or None where none were kept."""


class Measured:
    """Metrics of cells, and what each unit adds to them, each computed once.

    Args:
        validation: Variant of a row and data set -> its clean validation cell, on which operating
            point and temperature are fitted.
        features: Returns kept image features, for the drift.
    """

    def __init__(
        self,
        validation: Mapping[tuple[str, str], StoredCell] | None = None,
        features: Features | None = None,
    ) -> None:
        self._scores: dict[str, Scores] = {}
        self._groups: dict[str, Int64Array | None] = {}
        self._fits: dict[tuple[str, str], Any] = {}
        self._validation = dict(validation or {})
        self._features = features
        self._uneven: set[tuple[str, str, str]] = set()

    def __call__(self, cell: StoredCell) -> dict[str, float | None]:
        """Return name -> value of the cell."""
        return {name: found.value for name, found in self.scores(cell).estimates.items()}

    def scores(self, cell: StoredCell) -> Scores:
        """Return the numbers of a cell and what each unit adds to them."""
        if cell.fingerprint not in self._scores:
            self._scores[cell.fingerprint] = self._measure(cell)
        return self._scores[cell.fingerprint]

    def scores_of_part(self, cell: StoredCell, rows: NDArray[np.bool_]) -> Scores:
        """Return the numbers of some images of a cell alone, judged with what all are judged with.

        Args:
            cell: Of all images.
            rows: bool (N,), the images.
        """
        task = task_of(cell.task)
        return task.scores(task.part(self.cell(cell), rows), self._fit(cell))

    def terms(self, cell: StoredCell, loss: str) -> Terms | Areas | None:
        """Return what each unit of a cell adds to a loss; None where it is not defined."""
        found = self.scores(cell).terms.get(loss)
        uneven = (cell.data.fingerprint, cell.task, loss) in self._uneven
        if uneven and isinstance(found, Terms):
            return over_all(found, len(cell.data))
        return found

    def align(self, cells: Iterable[StoredCell]) -> None:
        """Note losses that are not over the same images in every cell of a task on a split.

        Masks that move may leave an image: what is over those that show something is then told of
        all images, so that terms of different conditions can be paired.

        Args:
            cells: Whose terms meet in a number, before any of it is asked for.
        """
        known: dict[tuple[str, str, str], Int64Array] = {}
        for cell in cells:
            for loss, found in self.scores(cell).terms.items():
                if isinstance(found, Terms) and found.rows is not None:
                    key = (cell.data.fingerprint, cell.task, loss)
                    if not np.array_equal(known.setdefault(key, found.rows), found.rows):
                        self._uneven.add(key)

    def mean_terms(self, cells: Sequence[StoredCell], loss: str) -> Terms | None:
        """Return how much each unit adds on average over cells of the same units.

        This is the one place that says how often an image is wrong.

        Returns:
            float64 terms, (U,), or (U, L) with strata (U, L); None where a cell has no terms.
        """
        return mean_of_terms([self.terms(cell, loss) for cell in cells])

    def areas(self, cells: Sequence[StoredCell], loss: str) -> list[Areas] | None:
        """Return the areas of all cells; None where one has none."""
        areas = [self.terms(cell, loss) for cell in cells]
        defined = [area for area in areas if isinstance(area, Areas)]
        return defined if defined and len(defined) == len(areas) else None

    def groups(self, data: SplitFacts, terms: Terms | None = None) -> Int64Array | None:
        """Return the number of each unit's patient, None where units stand alone.

        Args:
            data: Facts of the split.
            terms: Of the loss; None where it is over all that the split is made of.
        """
        if terms is not None and (terms.unit != data.unit or terms.rows is not None):
            return terms.groups
        if data.fingerprint not in self._groups:
            self._groups[data.fingerprint] = group_codes(data.groups)
        return self._groups[data.fingerprint]

    def features(self, cell: StoredCell) -> Float32Array | None:
        """Return the kept features of a cell, or None."""
        if self._features is None:
            return None
        return self._features(str(cell.record["encoding_fingerprint"]))

    def validation(self, cell: StoredCell) -> StoredCell | None:
        """Return the clean validation cell under the model and texts of a cell, or None."""
        return self._validation.get((variant(cell), cell.spec.dataset))

    def prepare(self, cells: Sequence[StoredCell], processes: int) -> None:
        """Measure many cells at once, in processes of their own; of few it does nothing.

        Args:
            cells: What will be asked for.
            processes: How many run side by side; they import the main module anew, so the caller
                must be a script that guards its start (`if __name__ == "__main__"`).
        """
        different = list({c.fingerprint: c for c in cells}.values())
        if len(different) < MANY or processes < 2:
            return
        parts = [different[start : start + CHUNK] for start in range(0, len(different), CHUNK)]
        work = [[(self.cell(c), self._fit(c)) for c in part] for part in parts]
        context = multiprocessing.get_context("spawn")  # torch does not survive a fork
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            for part, known in zip(parts, pool.map(scores_of, work), strict=True):
                prints = (cell.fingerprint for cell in part)
                self._scores |= dict(zip(prints, known, strict=True))

    def _measure(self, cell: StoredCell) -> Scores:
        try:
            return task_of(cell.task).scores(self.cell(cell), self._fit(cell))
        except InvalidDataError as error:
            raise InvalidDataError(f"{cell.folder}: {error}") from error

    def cell(self, cell: StoredCell) -> Cell:
        """Return what a task may know of a stored cell."""
        data = cell.data
        return Cell(cell.fingerprint, cell.arrays, cell.head, data, self.groups(data))

    def _fit(self, cell: StoredCell) -> Any:
        """Return what was fitted on the clean validation cell of a cell's row, or None."""
        key = (variant(cell), cell.spec.dataset)
        if cell.spec.split == "val" or key not in self._validation:
            return None
        if key not in self._fits:
            clean_val = self.cell(self._validation[key])
            self._fits[key] = task_of(cell.task).fit(clean_val)
        return self._fits[key]


def mean_of_terms(parts: Sequence[Terms | Areas | None]) -> Terms | None:
    """Return how much each unit adds on average; None where a part is no terms."""
    known = [part for part in parts if isinstance(part, Terms)]
    if not known or len(known) < len(parts):
        return None
    total = np.zeros(known[0].values.shape)
    for part in known:
        total += part.values
    total /= len(known)
    if known[0].strata is None and total.ndim == 2:
        total = total.mean(axis=1)
    spreads = [part.spread for part in known if part.spread is not None]
    return replace(known[0], values=total, spread=Spread.of_mean(spreads) if spreads else None)


def over_all(terms: Terms, count: int) -> Terms:
    """Return a mean over some units as a loss of first order over all units of a split.

    Args:
        terms: With values (U,) and no strata; what is over all already is returned as it is.
        count: Units of the split.
    """
    if terms.rows is None:
        return terms
    among, values = np.zeros(count, bool), np.zeros(count)
    among[terms.rows], values[terms.rows] = True, terms.values
    units = len(terms.rows) if terms.groups is None else len(np.unique(terms.groups))
    values = terms.value + share_influence(values, among)
    return Terms(
        values,
        unit=terms.unit,
        first_order=True,
        smallest=float(units),
        unbounded=terms.unbounded,
    )


def scores_of(pairs: Sequence[tuple[Cell, Any]]) -> list[Scores]:
    """Score several cells, each with what was fitted for it: the work of one call."""
    return [task_of(cell.head["kind"]).scores(cell, fitted) for cell, fitted in pairs]


def variant(cell: StoredCell) -> str:
    """Fingerprint what the cells of one row share: all but data, corruption, seed and names."""
    changing = ("corruption", "data", "seed", "stream", AFTER)
    encoding = {k: v for k, v in cell.record["encoding"].items() if k not in changing}
    head = {k: v for k, v in deciding(cell.record["head"]).items() if k != APART}  # of the split
    return fingerprint([encoding, head])


def encoding_of(cell: StoredCell) -> str:
    """Fingerprint what decides the features of an image of a set, whatever is asked of them.

    A set that is read with its texts has another fingerprint than with its labels; images are then
    the same by their ids.
    """
    encoding = {key: part for key, part in cell.record["encoding"].items() if key != "data"}
    return fingerprint([cell.spec.dataset, cell.spec.split, encoding])
