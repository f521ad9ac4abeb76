"""Cells beside the tables, planned as a search or a record asks for them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

from medrobust.corruptions.at_severity import CorruptionAt, has_severities_between
from medrobust.corruptions.composed import ComposedCorruption
from medrobust.corruptions.config import Corruption

from .columns import Column
from .plan import DatasetPlan, PlannedCell, planned_cells

if TYPE_CHECKING:
    from .experiment import Experiment
    from .resources import Resources
    from .store import StoredCell


def plan_beside(
    experiment: "Experiment",
    resources: "Resources",
    planned: DatasetPlan,
    columns: Iterable[CorruptionAt | ComposedCorruption],
    keep: Callable[[PlannedCell], bool] = lambda cell: True,
) -> DatasetPlan:
    """Plan cells of a data set under corruptions that no table has, with every head.

    Args:
        experiment: The job.
        resources: Opens data sets and loads the model, once.
        planned: The data set, with its published columns.
        columns: What is done to its images.
        keep: Which of the cells are wanted; all by default.

    Returns:
        A plan without columns of its own.
    """
    conditions = [(one, one.level) for one in columns]
    cells = planned_cells(experiment, resources, planned.image_set, conditions)
    return replace(planned, columns=(), cells=tuple(cell for cell in cells if keep(cell)))


def whole_images(columns: Iterable[Column]) -> dict[tuple[str, str], Corruption]:
    """Return the columns that are computed of whole images, by suite and name."""
    return {
        (str(one.suite), one.name): one
        for one in columns
        if isinstance(one, Corruption) and one.region is None
    }


def plans_like(
    cell: "StoredCell",
    experiment: "Experiment",
    resources: "Resources",
    plans: Iterable[DatasetPlan],
) -> list[DatasetPlan]:
    """Plan a stored cell that a search placed beside a table again; none where it is none."""
    return [
        plan_beside(experiment, resources, planned, [column])
        for planned in plans
        for column in _columns_like(cell, tuple(whole_images(planned.columns).values()))
    ]


def _columns_like(
    cell: "StoredCell", columns: Sequence[Corruption]
) -> Iterator[CorruptionAt | ComposedCorruption]:
    """Yield what may have been done to the images of a cell."""
    corruption = cell.record["encoding"].get("corruption", {})
    if "at" in corruption:
        for one in columns:
            if one.name == cell.spec.corruption and has_severities_between(one):
                yield CorruptionAt(one, float(corruption["at"]))
    if "composed" in corruption:
        levels = (int(corruption["levels"][0]), int(corruption["levels"][1]))
        for first, second in permutations(columns, 2):
            made = ComposedCorruption(first, second, levels)
            if made.name == cell.spec.corruption:
                yield made
