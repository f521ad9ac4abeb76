"""What each image of a group adds to a loss: of a mean its own part, of others the group's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medrobust.evaluation.store import StoredCell
from medrobust.metrics.influence import Areas
from medrobust.metrics.intervals import Spread
from medrobust.reporting.aggregates import Place
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.measure import Measured, mean_of_terms, over_all
from medrobust.reporting.uncertainty import Errors, Layout
from medrobust.tasks.base import Scores, Terms
from medrobust.types import Float64Array, Int64Array

SIDES = 2
"""Groups whose scores are held at a time: one, and all other images."""


class Losing(Protocol):
    """What a model loses on each image under one condition."""

    @property
    def condition(self) -> str:
        """Which is "clean", "mean" over all corruptions, or the name of one."""
        ...

    @property
    def images(self) -> Int64Array:
        """Which images it is over, int64 (U,), ascending."""
        ...

    @property
    def strata(self) -> Int64Array | None:
        """Classes of these images where those count equally, int64 (U,) or (U, L)."""
        ...

    def of(self, chosen: NDArray[np.bool_]) -> Float64Array | None:
        """Return terms of some images, (n,) or (n, L); None where these have no such loss."""
        ...

    def smallest(self, chosen: NDArray[np.bool_]) -> float | None:
        """Return how many units the loss rests on where no image moves it; None: all of them."""
        ...

    def spread(self, chosen: NDArray[np.bool_]) -> Spread | None:
        """Return what its interval goes by over the logit; None where it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Wrong:
    """How often a model errs on each image: terms of a mean, of which a group has its part.

    Attributes:
        condition: As `Losing` has it.
        images: As `Losing` has them.
        terms: float64 (U,) or (U, L), means over severities and seeds.
        strata: As `Terms` has them.
    """

    condition: str
    images: Int64Array
    terms: Float64Array
    strata: Int64Array | None

    def of(self, chosen: NDArray[np.bool_]) -> Float64Array | None:
        """Return terms of some images; None where it is over none of them."""
        found = self.terms[chosen[self.images]]
        return found if len(found) else None

    def smallest(self, chosen: NDArray[np.bool_]) -> None:
        """Return nothing: all images that it is over."""

    def spread(self, chosen: NDArray[np.bool_]) -> None:
        """Return nothing: it is a mean."""


@dataclass
class Rescored:
    """Scores of groups of images alone, those of the last two groups held.

    Attributes:
        measured: Says what the cells are judged with.
    """

    measured: Measured
    _known: dict[bytes, dict[str, Scores]] = field(default_factory=dict)

    def __call__(self, cell: StoredCell, chosen: NDArray[np.bool_]) -> Scores:
        """Return the scores of some images of a cell."""
        key = chosen.tobytes()
        if key not in self._known and len(self._known) == SIDES:
            del self._known[next(iter(self._known))]
        known = self._known.setdefault(key, {})
        if cell.fingerprint not in known:
            known[cell.fingerprint] = self.measured.scores_of_part(cell, chosen)
        return known[cell.fingerprint]


@dataclass(frozen=True, slots=True)
class OwnLoss:
    """A loss that is no mean of images: a group is scored as a set of its own.

    Attributes:
        condition: As `Losing` has it.
        images: As `Losing` has them: all.
        loss: Its name.
        columns: Cells of each column that is meant over.
        rescored: Scores groups.
    """

    condition: str
    images: Int64Array
    loss: str
    columns: Sequence[Sequence[StoredCell]]
    rescored: Rescored
    strata: None = None

    def of(self, chosen: NDArray[np.bool_]) -> Float64Array | None:
        """Return the loss of some images plus the influence of each; None where it has none."""
        means = []
        for cells in self.columns:
            found = mean_of_terms(self._parts(cells, chosen))
            if found is None:
                return None
            means.append(found.values)
        total: Float64Array = np.mean(means, axis=0)
        return total

    def smallest(self, chosen: NDArray[np.bool_]) -> float | None:
        """Return that of the cell with the fewest; None where a cell rests on all images."""
        parts = [part for cells in self.columns for part in self._parts(cells, chosen)]
        known = [part.smallest for part in parts if part is not None]
        return None if None in known else min((one for one in known if one), default=None)

    def spread(self, chosen: NDArray[np.bool_]) -> Spread | None:
        """Return that of the mean over the cells; None where a cell has none."""
        parts = [part for cells in self.columns for part in self._parts(cells, chosen)]
        known = [getattr(part, "spread", None) for part in parts]
        spreads = [one for one in known if one is not None]
        return Spread.of_mean(spreads) if len(spreads) == len(known) else None

    def _parts(
        self, cells: Sequence[StoredCell], chosen: NDArray[np.bool_]
    ) -> list[Terms | Areas | None]:
        found = (self.rescored(cell, chosen).terms.get(self.loss) for cell in cells)
        count = int(chosen.sum())
        return [over_all(one, count) if isinstance(one, Terms) else one for one in found]


def conditions(matrix: Matrix, row: int, of: str, rescored: Rescored) -> list[Losing]:
    """Return what a model loses on each image: clean, on the mean, under each corruption."""
    table, terms = matrix.table, matrix.terms_of_one(of)
    layout = Layout(
        table.corruptions,
        table.severities,
        len(matrix.rows),
        table.suite,
        table.dataset,
        matrix.losses,
        (),
        matrix.groups,
        {},
    )
    errors = Errors(layout, matrix.measured, row, of)
    if getattr(terms, "first_order", False):
        return list(_own(layout, errors, np.arange(len(matrix.data)), rescored))
    rows = getattr(terms, "rows", None)
    images = np.arange(len(matrix.data)) if rows is None else rows
    named = (
        ("clean", errors.clean),
        ("mean", errors.over_columns),
        *zip(table.corruptions, errors.columns, strict=True),
    )
    return [Wrong(name, images, own, errors.strata) for name, own in named if own is not None]


def _own(
    layout: Layout, errors: Errors, images: Int64Array, rescored: Rescored
) -> Iterator[OwnLoss]:
    """Yield the same of a loss that is no mean, where its cells are there."""
    row, of = errors.row, errors.of
    if errors.clean is not None:
        yield OwnLoss("clean", images, of, [layout.groups[Place.clean(row)]], rescored)
    whole = {}
    for name, terms in errors.named():
        cells = layout.column(layout.groups, row, name)
        if terms is not None and cells is not None:
            whole[name] = cells
    if whole:
        yield OwnLoss("mean", images, of, list(whole.values()), rescored)
    for name, cells in whole.items():
        yield OwnLoss(name, images, of, [cells], rescored)
