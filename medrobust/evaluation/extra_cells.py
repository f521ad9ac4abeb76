"""Cells beside the tables: clean validation images for fits, images that show nothing."""

from dataclasses import dataclass, field

from medrobust.corruptions.blank import SANITY_IMAGES
from medrobust.exceptions import DatasetNotFoundError

from .experiment import Experiment
from .plan import DatasetPlan, planned_cells
from .resources import Resources

VALIDATION = "val"


@dataclass(frozen=True, slots=True)
class Beside:
    """What a job runs besides the cells of its tables.

    Attributes:
        validation: The clean validation split of each data set that has one: operating points and
            temperatures are fitted on it. No table has a row of it.
        sanity: Blank and noise images of each data set, where they were asked for.
        without_validation: Data set -> why it has no such cell.
    """

    validation: tuple[DatasetPlan, ...] = ()
    sanity: tuple[DatasetPlan, ...] = ()
    without_validation: dict[str, str] = field(default_factory=dict)

    @property
    def plans(self) -> tuple[DatasetPlan, ...]:
        """All of them, in the order they run in."""
        return (*self.validation, *self.sanity)


def beside(experiment: Experiment, resources: Resources) -> Beside:
    """Name the cells that a job needs beside its tables, by the same texts and weights.

    Args:
        experiment: The job.
        resources: Opens data sets and loads the model, once.

    Raises:
        MedRobustError: As a data set or the model raises it; a set without a validation split is
            no error.
    """
    validation, sanity, without = [], [], {}
    for source in experiment.data.datasets:
        if experiment.data.sanity:
            image_set = resources.image_set(source)
            conditions = [(column, 1) for column in SANITY_IMAGES]
            cells = planned_cells(experiment, resources, image_set, conditions)
            sanity.append(DatasetPlan(image_set, image_set, SANITY_IMAGES, cells))
        if not experiment.data.validation:
            without[source.name] = "validation=false"
            continue
        if source.split == VALIDATION:
            without[source.name] = "the validation split is what is evaluated"
            continue
        try:
            image_set = resources.image_set(source, VALIDATION)
        except DatasetNotFoundError:
            without[source.name] = "it has no validation split"
            continue
        cells = planned_cells(experiment, resources, image_set, [(None, 0)])
        validation.append(DatasetPlan(image_set, image_set, (), cells))
    return Beside(tuple(validation), tuple(sanity), without)
