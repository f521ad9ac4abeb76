"""Cells between the published severities, planned as a search or a record asks for them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from medrobust.corruptions.at_severity import CorruptionAt, has_severities_between
from medrobust.corruptions.config import Corruption

from .columns import Column
from .plan import DatasetPlan, PlannedCell, planned_cells

if TYPE_CHECKING:
    from .experiment import Experiment
    from .resources import Resources
    from .store import StoredCell


def moved_plan(
    experiment: "Experiment",
    resources: "Resources",
    planned: DatasetPlan,
    wanted: Iterable[tuple[Column, float]],
    keep: Callable[[PlannedCell], bool] = lambda cell: True,
) -> DatasetPlan:
    """Plan cells of a data set under corruptions at severities in between, with every head.

    Args:
        experiment: The job.
        resources: Opens data sets and loads the model, once.
        planned: The data set, with its published columns.
        wanted: Columns that have severities in between, and severities above 0, up to 5.
        keep: Which of the cells are wanted; all by default.

    Returns:
        A plan without columns of its own: no table has these cells.
    """
    moved = [CorruptionAt(of, at) for of, at in wanted if isinstance(of, Corruption)]
    conditions = [(one, one.level) for one in moved]
    cells = planned_cells(experiment, resources, planned.image_set, conditions)
    return replace(planned, columns=(), cells=tuple(cell for cell in cells if keep(cell)))


def plans_like(
    cell: "StoredCell",
    experiment: "Experiment",
    resources: "Resources",
    plans: Iterable[DatasetPlan],
) -> list[DatasetPlan]:
    """Plan a stored cell between published severities again; none where it is none of these."""
    at = cell.record["encoding"].get("corruption", {}).get("at")
    if at is None:
        return []
    return [
        moved_plan(experiment, resources, planned, [(column, float(at))])
        for planned in plans
        for column in planned.columns
        if column.name == cell.spec.corruption and has_severities_between(column)
    ]
