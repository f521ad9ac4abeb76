"""The worst pair of corruptions that a budgeted search finds, against the worst single one.

All pairs have equal means: their severities add up to what a single corruption may have alone. A
search chooses on the images that it is judged on, so that the value it finds is too high; the
interval beside it holds for all pairs there are together, tried or not, and so for the one that was
chosen, whatever the search did.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import permutations, product
from typing import ClassVar, NamedTuple, TypeVar

from medrobust.base.given import check_kinds
from medrobust.evaluation.store import PAIRS, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.measure import Measured
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section, TextTable

from .cells.added_loss import Added, difference
from .cells.curves import Curves, by_row, loss_of, task_name

COLUMNS = (
    *("model", "adapter", "label", "dataset", "split", "suite", "of", "total", "pairs", "tried"),
    *("first", "first_severity", "second", "second_severity", "added", "low", "high"),
    *("single", "single_severity", "single_added"),
    *("more_than_single", "more_low", "more_high"),
)

ROUND = 4
"""Cells that are computed before the search looks again."""


class Single(NamedTuple):
    """One corruption at one severity.

    Attributes:
        name: Of the corruption.
        severity: 1 to 5.
    """

    name: str
    severity: int


class Pair(NamedTuple):
    """Two corruptions one after the other."""

    first: Single
    second: Single


Key = TypeVar("Key", Single, Pair)


@dataclass(frozen=True, slots=True)
class WorstPair:
    """The worst pair, as a run asks for it.

    Args:
        total: What the severities of the two add up to at most; as high as that a single corruption
            is compared with.
        budget: Pairs that are tried for each row of a table.

    Raises:
        ConfigurationError: If a number cannot be.
    """

    beside: ClassVar[str] = PAIRS

    total: int = 5
    budget: int = 24

    def __post_init__(self) -> None:
        check_kinds("readings.worst_pair", WorstPair, asdict(self))
        if not 2 <= self.total <= 10:
            raise ConfigurationError(
                f"readings.worst_pair.total={self.total} must lie between 2 and 10."
            )
        if self.budget < 1:
            raise ConfigurationError(f"readings.worst_pair.budget={self.budget} must be 1 or more.")

    def pairs(self, names: Sequence[str], severities: Sequence[int]) -> list[Pair]:
        """List all pairs of a table: ordered, with the highest sum of severities allowed."""
        levels = [two for two in product(severities, repeat=2) if sum(two) <= self.total]
        highest = max(map(sum, levels), default=0)
        chosen = [two for two in levels if sum(two) == highest]
        return [
            Pair(Single(first, one), Single(second, other))
            for first, second in permutations(names, 2)
            for one, other in chosen
        ]

    def singles(self, names: Sequence[str], severities: Sequence[int]) -> list[Single]:
        """List the single corruptions that pairs are compared with."""
        return [Single(*one) for one in product(names, severities) if one[1] <= self.total]

    def wanted(
        self,
        pairs: Sequence[Pair],
        alone: Mapping[Single, float],
        tried: Mapping[Pair, float],
    ) -> list[Pair]:
        """Return the pairs to try next; none where the budget is spent.

        Half of the budget goes to the pairs whose parts add most on their own, the other half to
        neighbours of the worst pair so far: its parts turned round, its severities dealt otherwise,
        or one part another corruption. Of equals the first by name goes first,
        in whatever order a table has its columns.

        Args:
            pairs: From `pairs`.
            alone: What each single corruption adds.
            tried: What pairs add that were tried.
        """
        left = self.budget - len(tried)
        by_parts = sorted(
            (pair for pair in pairs if pair not in tried),
            key=lambda pair: (-sum(alone.get(one, 0.0) for one in pair), pair),
        )
        first_half = (self.budget + 1) // 2 - len(tried)
        if first_half > 0 or not tried:
            return by_parts[: max(first_half, 1)][: max(left, 0)]
        worst = min(pairs, key=lambda pair: (-tried.get(pair, -float("inf")), pair))
        near = [pair for pair in by_parts if _near(pair, worst)]
        return (near or by_parts)[: max(min(ROUND, left), 0)]


SETTINGS = WorstPair


def _near(pair: Pair, worst: Pair) -> bool:
    names, others = [[one.name for one in two] for two in (pair, worst)]
    return sorted(names) == sorted(others) or sum(map(str.__eq__, names, others)) == 1


@dataclass(frozen=True, slots=True)
class Tried:
    """What is known of the pairs of one row.

    Attributes:
        names: Corruptions of the table.
        severities: Those of the table.
        alone: Single corruption -> its cells.
        pairs: Pair -> its cells.
        clean: Cells of clean images.
    """

    names: tuple[str, ...]
    severities: tuple[int, ...]
    alone: Mapping[Single, Sequence[StoredCell]]
    pairs: Mapping[Pair, Sequence[StoredCell]]
    clean: Sequence[StoredCell]


def tried_of(row: Curves, suite: str, names: Sequence[str], severities: Sequence[int]) -> Tried:
    """Sort the cells of a row by what was done to the images.

    Args:
        row: From `by_row`.
        suite: Of the table.
        names: Corruptions of the table.
        severities: Those of the table.
    """
    alone = {
        Single(name, severity): cells
        for name in names
        for severity in severities
        if (cells := row.get((suite, name), {}).get(float(severity)))
    }
    pairs: dict[Pair, list[StoredCell]] = {}
    for (own, _), at in row.items():
        for cell in (one for cells in at.values() for one in cells if own == f"{suite}{PAIRS}"):
            pairs.setdefault(pair_of(cell), []).append(cell)
    clean = row.get(("none", "clean"), {}).get(0.0, ())
    return Tried(tuple(names), tuple(severities), alone, pairs, clean)


def pair_of(cell: StoredCell) -> Pair:
    """Return the two corruptions of a cell."""
    corruption = cell.record["encoding"]["corruption"]
    first, second = (
        Single(str(part["name"]), int(level))
        for part, level in zip(corruption["composed"], corruption["levels"], strict=True)
    )
    return Pair(first, second)


def section(report: Report) -> Section | None:
    """Return the worst pairs that were found, where they were asked for."""
    settings = report.readings.get("worst_pair")
    if settings is None:
        return None
    models = [m for m in report.matrices if m.task.of_models and m.ratios]
    rows = [row for m in models for row in _rows(m, settings, report.beside)]
    if not rows:
        return None
    lines = [_line(row) for row in rows]
    heads = ["model", "data", "worst pair tried", "added, points", "worst alone", "more, points"]
    return Section(
        "Worst pairs",
        order=67,
        html=_html(heads, lines, settings),
        files={"worst_pair.csv": csv_bytes(rows, COLUMNS)},
        rows={"worst_pair.csv": "a model and suite"},
        tables=[TextTable(f"Worst pairs, severities up to {settings.total} in all", heads, lines)],
    )


def _rows(
    matrix: Matrix, settings: WorstPair, beside: Sequence[StoredCell]
) -> Iterator[dict[str, str]]:
    table, of, measured = matrix.table, loss_of(matrix), matrix.measured
    if matrix.data.unit != "image":
        return
    cells = [cell for group in matrix.groups.values() for cell in group]
    rows = by_row([*cells, *beside])
    pairs = settings.pairs(table.corruptions, table.severities)
    singles = settings.singles(table.corruptions, table.severities)
    for named in matrix.rows:
        own = rows.get((matrix.data.fingerprint, task_name(matrix), *named.identity), {})
        known = tried_of(own, table.suite, table.corruptions, table.severities)
        tried = {pair: known.pairs[pair] for pair in pairs if pair in known.pairs}
        alone = {one: known.alone[one] for one in singles if one in known.alone}
        if not (tried and alone and known.clean):
            continue
        worst, added = _worst(measured, known.clean, tried, of, len(pairs))
        single, by_itself = _worst(measured, known.clean, alone, of, len(singles))
        more = difference(
            measured, alone[single], tried[worst], of, comparisons=len(pairs) * len(singles)
        )
        values = (
            named.model, named.adapter, named.label, table.dataset, table.split, table.suite, of,
            str(settings.total), str(len(pairs)), str(len(tried)),
            worst.first.name, str(worst.first.severity),
            worst.second.name, str(worst.second.severity), *map(number, added),
            single.name, str(single.severity), number(by_itself[0]), *map(number, more),
        )  # fmt: skip
        yield dict(zip(COLUMNS, values, strict=True))


def _worst(
    measured: Measured,
    clean: Sequence[StoredCell],
    among: Mapping[Key, Sequence[StoredCell]],
    of: str,
    comparisons: int,
) -> tuple[Key, Added]:
    """Return what adds most, of equals the first by name, with an interval that holds for all."""
    found = {
        key: difference(measured, clean, cells, of, comparisons=comparisons)
        for key, cells in among.items()
    }
    worst = _first_of_worst(found)
    return worst, found[worst]


def _first_of_worst(found: Mapping[Key, Added]) -> Key:
    return min(found, key=lambda key: (-found[key][0], key))


def _line(row: Mapping[str, str]) -> list[str]:
    def points(*names: str) -> str:
        value, low, high = (100 * float(row[name]) for name in names)
        return f"{value:z.1f} [{low:z.1f}, {high:z.1f}]"

    first, second = (f"{row[one]} s{row[f'{one}_severity']}" for one in ("first", "second"))
    return [
        row["label"],
        f"{row['dataset']}/{row['split']} {row['suite']}",
        f"{first}, then {second} ({row['tried']} of {row['pairs']} tried)",
        points("added", "low", "high"),
        f"{row['single']} s{row['single_severity']}",
        points("more_than_single", "more_low", "more_high"),
    ]


def _html(heads: Sequence[str], lines: Sequence[Sequence[str]], settings: WorstPair) -> str:
    text = (
        "The pair of corruptions, one after the other, that adds most to the loss of clean images "
        f"among those that were tried, severities adding up to {settings.total} at most, beside "
        "the single corruption up to that severity that adds most. The pair was chosen on these "
        "images, so that its value is too high on average; the intervals hold for all pairs that "
        "there are at once (Bonferroni, 95 %), tried or not, and so for the one that was chosen. A "
        "pair that was not tried may be worse."
    )
    return (
        '\n<section aria-labelledby="pairs-worst"><h2 id="pairs-worst">Worst pairs</h2>'
        f'{plain_table(heads, lines, tight=True)}<p class="soft small">{escape(text)}</p></section>'
    )
