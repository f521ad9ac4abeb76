"""Robustness radius: the severity at which a corruption adds a stated loss, found by halving.

Like an operating limit, but not read off published severities alone: a run computes cells between
them (`medrobust.jobs.searches`) until the severity is known to a stated resolution.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import ClassVar

from medrobust.base.given import check_kinds
from medrobust.base.wording import listed
from medrobust.evaluation.store import BETWEEN, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.bisection import Bracket, below_again, bracket
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.measure import Measured
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section, TextTable

from .cells.added_loss import Added, added_loss
from .cells.curves import ColumnKey, Curves, by_row, loss_of, task_name

COLUMNS = (
    *("model", "adapter", "label", "dataset", "split", "suite", "corruption", "of", "tolerance"),
    *("clean", "radius", "earliest", "latest", "below", "reached", "below_again"),
    *("severities", "highest_severity"),
)
EMPTY = dict.fromkeys(
    ("radius", "earliest", "latest", "below", "reached"), "no severity that was tried reaches it"
)


@dataclass(frozen=True, slots=True)
class RobustnessRadius:
    """The robustness radius, as a run asks for it.

    Args:
        tolerance: Points of loss that a corruption may add.
        resolution: Severities are halved until they lie no further apart than this.
        ends: Whether the ends of the interval are searched as finely, too.

    Raises:
        ConfigurationError: If a number cannot be.
    """

    beside: ClassVar[str] = BETWEEN

    tolerance: float = 5
    resolution: float = 0.125
    ends: bool = True

    def __post_init__(self) -> None:
        check_kinds("readings.robustness_radius", RobustnessRadius, asdict(self))
        if not 0 < self.tolerance < 100:
            raise ConfigurationError(
                f"readings.robustness_radius.tolerance={self.tolerance} must lie between 0 and 100 "
                f"points."
            )
        if not 1 / 64 <= self.resolution <= 1:
            raise ConfigurationError(
                f"readings.robustness_radius.resolution={self.resolution} must lie between 1/64 "
                f"and 1 of a severity."
            )

    def found(self, added: Mapping[float, Added]) -> "Found":
        """Read the radius off what severities add, in any order."""
        value, low, high = (
            {severity: parts[place] for severity, parts in added.items()} for place in range(3)
        )
        level = self.tolerance / 100
        return Found(
            bracket(value, level),
            bracket(high, level),
            bracket(low, level),
            below_again(value, level),
        )

    def wanted(self, added: Mapping[float, Added]) -> set[float]:
        """Return the severities to compute next; none where all is as fine as asked."""
        found = self.found(added)
        brackets = (found.radius, found.earliest, found.latest) if self.ends else (found.radius,)
        middles = (one.middle(self.resolution) for one in brackets if one is not None)
        return {middle for middle in middles if middle is not None}


SETTINGS = RobustnessRadius


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one radius.

    Attributes:
        radius: Around where the added loss first reaches the tolerance; None: nowhere.
        earliest: Around where the upper end of its interval does.
        latest: Around where the lower end does.
        below_again: Further severities at which less than the tolerance is added.
    """

    radius: Bracket | None
    earliest: Bracket | None
    latest: Bracket | None
    below_again: tuple[float, ...]


def curve(row: Curves, column: ColumnKey, of: str, measured: Measured) -> dict[float, Added] | None:
    """Return what each known severity of a column adds to the loss of clean images."""
    clean = row.get(("none", "clean"), {}).get(0.0)
    if clean is None or column not in row:
        return None
    at = {severity: row[column][severity] for severity in sorted(row[column])}
    return added_loss(measured, clean, at, of)


def section(report: Report) -> Section | None:
    """Return the table of radii, where it was asked for."""
    settings = report.readings.get("robustness_radius")
    if settings is None:
        return None
    models = [m for m in report.matrices if m.task.of_models and m.ratios]
    rows = [row for m in models for row in _rows(m, settings, report.beside)]
    if not rows:
        return None
    lines = [_line(row) for row in rows]
    title = f"Robustness radii: {settings.tolerance:g} points"
    heads = ["model", "data", "corruption", "radius (severity)", "between", "below again at"]
    return Section(
        "Robustness radii",
        order=66,
        html=_html(heads, lines, settings),
        files={"robustness_radius.csv": csv_bytes(rows, COLUMNS)},
        empty={"robustness_radius.csv": EMPTY},
        rows={"robustness_radius.csv": "a model and corruption"},
        tables=[TextTable(title, heads, lines)],
        shows=listed(list(dict.fromkeys(m.task.metrics[loss_of(m)].title for m in models))),
    )


def _rows(
    matrix: Matrix, settings: RobustnessRadius, beside: Sequence[StoredCell]
) -> Iterator[dict[str, str]]:
    """List what is known of each row and column of a table of images."""
    table, of = matrix.table, loss_of(matrix)
    if matrix.data.unit != "image":
        return
    cells = [cell for group in matrix.groups.values() for cell in group]
    curves = by_row([*cells, *beside])
    for place, named in enumerate(matrix.rows):
        own = curves.get((matrix.data.fingerprint, task_name(matrix), *named.identity), {})
        for column in table.corruptions:
            added = curve(own, (table.suite, column), of, matrix.measured)
            if added is None:
                continue
            found = settings.found(added)
            radius = found.radius
            values = (
                named.model, named.adapter, named.label, table.dataset, table.split, table.suite,
                column, of, number(settings.tolerance), number(float(matrix.clean[of][place])),
                *(_crossing(one) for one in (radius, found.earliest, found.latest)),
                "" if radius is None else number(radius.below),
                "" if radius is None else number(radius.reached),
                " ".join(f"{severity:g}" for severity in found.below_again),
                " ".join(f"{severity:g}" for severity in added),
                f"{max(added):g}",
            )  # fmt: skip
            yield dict(zip(COLUMNS, values, strict=True))


def _crossing(one: Bracket | None) -> str:
    return "" if one is None else number(one.crossing)


def _line(row: Mapping[str, str]) -> list[str]:
    ends = [f"{float(row[end]):.2f}" if row[end] else "none" for end in ("earliest", "latest")]
    radius = (
        f"{float(row['radius']):.2f}" if row["radius"] else f"none to {row['highest_severity']}"
    )
    between = f"{float(row['below']):g} and {float(row['reached']):g}" if row["radius"] else "–"
    return [
        *(row["label"], f"{row['dataset']}/{row['split']}", row["corruption"]),
        f"{radius} [{ends[0]}, {ends[1]}]",
        between,
        row["below_again"].replace(" ", ", ") or "–",
    ]


def _html(heads: Sequence[str], lines: Sequence[Sequence[str]], settings: RobustnessRadius) -> str:
    text = (
        f"The severity at which a corruption adds {settings.tolerance:g} points of loss to that of "
        "clean images; “none” where no severity that was computed does. In brackets: where the "
        "upper and where the lower end of the paired 95 % interval of the added loss first "
        "reaches it. It was searched by halving from published severities on, between the first "
        "neighbours with the tolerance in between; the column beside it names those that are left, "
        "and a straight line lies between them. That the loss rises with severity is not assumed: "
        "the last column names severities further on at which less is added again. Corruptions "
        "without severities in between are read off the published ones."
    )
    return (
        '\n<section aria-labelledby="radii"><h2 id="radii">Robustness radii</h2>'
        f'{plain_table(heads, lines, tight=True)}<p class="soft small">{escape(text)}</p></section>'
    )
