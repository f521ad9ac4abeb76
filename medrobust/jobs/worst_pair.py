"""Pairs of corruptions that the search for the worst one wants next."""

from collections.abc import Mapping, Sequence

from medrobust.corruptions.composed import ComposedCorruption
from medrobust.corruptions.config import Corruption
from medrobust.evaluation.cells_of_searches import whole_images
from medrobust.evaluation.plan import DatasetPlan
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.readings.cells.added_loss import difference
from medrobust.readings.cells.curves import Curves, by_row, shown_loss
from medrobust.readings.worst_pair import Pair, WorstPair, tried_of
from medrobust.reporting.measure import Measured


def check_pairs(settings: WorstPair, plans: Sequence[DatasetPlan]) -> None:
    """Refuse a search where there is nothing to search.

    Args:
        settings: What is asked.
        plans: Of the tables.

    Raises:
        ConfigurationError: If no two corruptions of a data set may come together.
    """
    for planned in plans:
        columns = whole_images(planned.columns)
        if planned.columns and not columns:
            raise ConfigurationError(
                f"readings=worst_pair joins corruptions of whole images at published severities, "
                f"and there is none on {planned.record.name}: leave corruption.region out, and "
                f"choose severities as severity=2,3."
            )
        severities = sorted({cell.key.spec.severity for cell in planned.cells} - {0})
        suites = {suite: [n for own, n in columns if own == suite] for suite, _ in columns}
        if not any(settings.pairs(names, severities) for names in suites.values()):
            raise ConfigurationError(
                f"readings=worst_pair finds no two corruptions of one suite on "
                f"{planned.record.name} whose severities add up to at most "
                f"total={settings.total}: name a suite (corruption=medimeta_c), lower severities, "
                f"or raise readings.worst_pair.total."
            )


def next_pairs(
    settings: WorstPair,
    planned: DatasetPlan,
    cells: Sequence[StoredCell],
    measured: Measured,
) -> list[tuple[Curves, list[ComposedCorruption]]]:
    """Return the pairs that each row wants to be computed next; nothing once the budget is spent.

    Args:
        settings: What is asked.
        planned: The data set, with its published columns.
        cells: Of its tables, and those that were searched so far.
        measured: Numbers of cells.
    """
    of = shown_loss(cells, measured)
    columns = whole_images(planned.columns)
    severities = sorted({cell.spec.severity for cell in cells} - {0})
    found = []
    for row in by_row(cells).values() if of is not None else ():
        wanted = [
            ComposedCorruption(*_both(columns, suite, pair), (pair.first[1], pair.second[1]))
            for suite in dict.fromkeys(suite for suite, _ in columns)
            for pair in _next(settings, row, suite, columns, severities, str(of), measured)
        ]
        found += [(row, wanted)] if wanted else []
    return found


def _both(
    columns: Mapping[tuple[str, str], Corruption], suite: str, pair: Pair
) -> tuple[Corruption, Corruption]:
    return columns[suite, pair.first.name], columns[suite, pair.second.name]


def _next(
    settings: WorstPair,
    row: Curves,
    suite: str,
    columns: Mapping[tuple[str, str], Corruption],
    severities: Sequence[int],
    of: str,
    measured: Measured,
) -> list[Pair]:
    """Return what one row wants of one suite."""
    names = [name for own, name in columns if own == suite]
    known = tried_of(row, suite, names, severities)
    if not known.clean:
        return []

    def added(cells: Sequence[StoredCell]) -> float:
        return difference(measured, known.clean, cells, of)[0]

    pairs = settings.pairs(names, severities)
    tried = {pair: added(known.pairs[pair]) for pair in pairs if pair in known.pairs}
    alone = {one: added(cells) for one, cells in known.alone.items()}
    return settings.wanted(pairs, alone, tried)
