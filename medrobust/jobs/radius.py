"""Severities between the published ones that robustness radii want next."""

from collections.abc import Sequence

from medrobust.corruptions.at_severity import CorruptionAt, has_severities_between
from medrobust.evaluation.cells_of_searches import whole_images
from medrobust.evaluation.plan import DatasetPlan
from medrobust.evaluation.store import StoredCell
from medrobust.readings.cells.curves import Curves, by_row, shown_loss
from medrobust.readings.robustness_radius import RobustnessRadius, curve
from medrobust.reporting.measure import Measured


def next_severities(
    settings: RobustnessRadius,
    planned: DatasetPlan,
    cells: Sequence[StoredCell],
    measured: Measured,
) -> list[tuple[Curves, list[CorruptionAt]]]:
    """Return what each row wants to be computed next; nothing where all is as fine as asked.

    Args:
        settings: What is asked.
        planned: The data set, with its published columns.
        cells: Of its tables, and those that were searched so far.
        measured: Numbers of cells.
    """
    of = shown_loss(cells, measured)
    columns = {
        key: column
        for key, column in whole_images(planned.columns).items()
        if has_severities_between(column)
    }
    found = []
    for row in by_row(cells).values() if of is not None else ():
        curves = {key: curve(row, key, str(of), measured) for key in columns}
        wanted = [
            CorruptionAt(columns[key], at)
            for key, added in curves.items()
            if added
            for at in sorted(settings.wanted(added))
        ]
        found += [(row, wanted)] if wanted else []
    return found
