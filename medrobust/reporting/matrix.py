"""One matrix: every number of one suite on one split of one data set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import StoredCell
from medrobust.metrics import (
    Estimate,
    Metric,
    corruption_error,
    mean_corruption_error,
    relative_corruption_error,
)
from medrobust.metrics.influence import Areas
from medrobust.tasks.base import Cell, Section, Task, Terms, in_order
from medrobust.types import Float64Array

from .aggregates import Aggregates, Groups, Place
from .expected import ExpectedTable
from .measure import Measured
from .rows import MatrixRow
from .sanity import IMAGES_OF_NOTHING, SHOWING_NOTHING

DEMONSTRATION = "demonstration on synthetic phantoms: says nothing about medicine"

DEMONSTRATION_MODELS = ("phantomclip", "phantomclip_small", "phantomunet")
"""Models that were trained on synthetic phantoms and are shipped with the package."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over corruptions, with how many of how many it covers.

    Attributes:
        value: None where no corruption is whole.
        covered: Corruptions that it is over.
        planned: Corruptions of the table.
        in_store: Corruptions of the table in the store, where those of this table are chosen from
            it.
    """

    value: float | None
    covered: int
    planned: int
    in_store: int = 0

    @property
    def total(self) -> int:
        """How many there are, those that were not chosen included."""
        return max(self.planned, self.in_store)


@dataclass(frozen=True)
class Matrix:
    """Every number of one suite on one split of one data set. NaN stands for a missing cell.

    Attributes:
        table: What the plan wanted.
        data: Labels and names.
        rows: Models, in plan order.
        task: What was asked: it says what its numbers mean.
        seeds: Corruption seeds that the cells are means over.
        values: Metric -> float64 (rows, corruptions, severities).
        clean: Metric -> float64 (rows,).
        reference: Name of the reference model, or None.
        reference_values: As `values`, of the reference under the same conditions.
        reference_clean: As `clean`, of the reference.
        cells: A cell of each place.
        low: As `values`, lower 95 % bounds (means over seeds of the cells').
        high: As `values`, upper bounds.
        clean_low: As `clean`.
        clean_high: As `clean`.
        aggregates: Numbers made of several cells, with intervals.
        groups: The cells of all seeds of each place.
        reference_groups: As `groups`, of the reference.
        measured: Numbers of all these cells, each computed once.
    """

    table: ExpectedTable
    data: SplitFacts
    rows: tuple[MatrixRow, ...]
    task: Task
    seeds: tuple[int, ...]
    values: Mapping[str, Float64Array]
    clean: Mapping[str, Float64Array]
    reference: str | None
    reference_values: Mapping[str, Float64Array]
    reference_clean: Mapping[str, Float64Array]
    cells: Mapping[Place, StoredCell] = field(default_factory=dict)
    low: Mapping[str, Float64Array] = field(default_factory=dict)
    high: Mapping[str, Float64Array] = field(default_factory=dict)
    clean_low: Mapping[str, Float64Array] = field(default_factory=dict)
    clean_high: Mapping[str, Float64Array] = field(default_factory=dict)
    aggregates: Aggregates = field(default_factory=Aggregates, compare=False)
    groups: Groups = field(default_factory=dict)
    reference_groups: Groups = field(default_factory=dict)
    measured: Measured = field(default_factory=Measured, repr=False, compare=False)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """What its task shows of it alone, in the order of the page."""
        return tuple(in_order(self.task.sections(self)))

    @property
    def shown(self) -> str:
        """The metric that is printed first: the first loss of the task that all cells have."""
        return next(name for name in self.task.losses if name in self.values)

    @property
    def losses(self) -> tuple[str, ...]:
        """What means, tests and subgroups are made of, in the order of the tables."""
        return tuple(name for name in self.values if name in self.task.losses)

    @property
    def ratios(self) -> tuple[str, ...]:
        """Losses of which less is better: CE and mCE are made of them."""
        return ratios(self.task, self.losses)

    @property
    def metric(self) -> Metric:
        """What is said of the metric shown."""
        return self.task.metrics[self.shown]

    @property
    def controls(self) -> Mapping[str, str]:
        """Aggregate of what not looking at the image scores -> what people call it."""
        return {**IMAGES_OF_NOTHING, **self.task.controls}

    def terms_of_one(self, of: str) -> Terms | Areas | None:
        """Return the terms of any one cell: what units and classes there are, they all share."""
        cell = next(iter(self.cells.values()), None)
        return None if cell is None else self.measured.terms(cell, of)

    def units(self, of: str) -> int:
        """Count what a loss is over: images, or what its terms name."""
        found = self.terms_of_one(of)
        if found is None:
            return len(self.data)
        return len(found.values if isinstance(found, Terms) else found.influence)

    def mean_terms(self, row: int, condition: str, of: str) -> Terms | None:
        """Return how much each unit adds to a loss, on average over a condition.

        Args:
            row: Of the matrix.
            condition: "clean", or "mean" over all corruptions and severities.
            of: One of the losses.

        Returns:
            None where a cell is missing, or the loss is no mean of units.
        """
        cells = self.cells_of(row, condition)
        return None if cells is None else self.measured.mean_terms(cells, of)

    def cells_of(self, row: int, condition: str) -> list[StoredCell] | None:
        """Return the cells of a condition, as in `mean_terms`; None if one is missing."""
        places = [Place.clean(row)]
        if condition == "mean":
            levels = self.table.severities
            places = [
                Place(row, name, level) for name in self.table.corruptions for level in levels
            ]
        if not places or not all(place in self.groups for place in places):
            return None
        return [cell for place in places for cell in self.groups[place]]

    @property
    def name(self) -> str:
        """What tells it from the other matrices of a report."""
        table = self.table
        return "/".join((table.dataset, table.split, table.version, table.suite, self.task.kind))

    @property
    def severities(self) -> tuple[int, ...]:
        """Levels of its columns, rising."""
        return tuple(sorted(self.table.severities))

    def cells_at(self, row: int, severity: int) -> list[Cell] | None:
        """Return the cells of all corruptions at one severity, 0 for clean; None if one lacks."""
        names = self.table.corruptions if severity else ("clean",)
        places = [Place(row, name, severity) for name in names]
        if not places or not all(place in self.groups for place in places):
            return None
        return [self.measured.cell(cell) for place in places for cell in self.groups[place]]

    @property
    def demonstration(self) -> bool:
        """Whether the numbers come from synthetic phantoms."""
        return self.data.origin == "phantom"

    @property
    def asked_sanity(self) -> bool:
        """Whether images that show nothing were run: then tables have sanity rows of their own."""
        names = set(SHOWING_NOTHING.values())
        return any(one.name in names for one in self.aggregates)

    @property
    def notices(self) -> tuple[str, ...]:
        """What every table says of synthetic images, or of models that were made from them."""
        if self.demonstration:
            return (DEMONSTRATION,)
        shown = dict.fromkeys(row.model for row in self.rows if row.model in DEMONSTRATION_MODELS)
        return (f"{', '.join(shown)}: demonstration only, says nothing about medicine",) * bool(
            shown
        )

    def severity_mean(self, metric: str, row: int, corruption: int) -> float | None:
        """Mean over the planned severities, None if one of them is missing."""
        return plain(float(self.values[metric][row, corruption].mean()))

    def mean(self, metric: str, row: int) -> Mean:
        """Mean over the corruptions that have every planned severity."""
        means = [self.severity_mean(metric, row, c) for c in range(len(self.table.corruptions))]
        return Mean(*mean_corruption_error(means), planned=len(means), in_store=self.table.in_store)

    def corruption_error(self, error: str, row: int, corruption: int) -> float | None:
        """CE against the reference, None where a cell of either is missing."""
        pair = self._pair(error, row, corruption)
        return None if pair is None else corruption_error(*pair)

    def relative_corruption_error(self, error: str, row: int, corruption: int) -> float | None:
        """Relative CE against the reference, None where a cell of either is missing."""
        pair = self._pair(error, row, corruption)
        if pair is None:
            return None
        clean, reference_clean = self.clean[error][row], self.reference_clean[error][row]
        if np.isnan(clean) or np.isnan(reference_clean):
            return None
        own, reference = pair
        return relative_corruption_error(own, float(clean), reference, float(reference_clean))

    def mce(self, error: str, row: int, *, relative: bool = False) -> Mean:
        """MCE, or relative mCE: the mean over the corruptions whose ratio is defined."""
        one = self.relative_corruption_error if relative else self.corruption_error
        ratios = [one(error, row, c) for c in range(len(self.table.corruptions))]
        return Mean(
            *mean_corruption_error(ratios), planned=len(ratios), in_store=self.table.in_store
        )

    def estimate(self, of: str, row: int, metric: str, column: int | None = None) -> Estimate:
        """Return an aggregate with its interval; empty where it is not defined."""
        corruption = None if column is None else self.table.corruptions[column]
        return self.aggregates.estimate(row, of, metric, corruption)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What stands below every table: a demonstration, a part of the set, findings of audits."""
        shown = (one.sentence for one in self.data.findings if not one.audit_only)
        return (*self.notices, *shown)

    @property
    def legend(self) -> tuple[str, ...]:
        """What the signs in this table mean: a line each."""
        lines = []
        if any(row.chance_marks for row in self.rows):
            lines.append(
                "†: on clean images, model or reference cannot be told from guessing (the interval "
                "holds what guessing scores, or worse): its mCE means nothing"
            )
        names = dict.fromkeys(name for row in self.rows for name in row.trained_on)
        if names:
            lines.append(
                f"‡: the weights were trained on {', '.join(names)}, which holds pictures of the "
                f"source of {self.data.name}"
            )
        return tuple(lines)

    def _pair(
        self, error: str, row: int, corruption: int
    ) -> tuple[list[float], list[float]] | None:
        if error not in self.ratios:
            return None
        own = self.values[error][row, corruption]
        reference = self.reference_values[error][row, corruption]
        if np.isnan(own).any() or np.isnan(reference).any():
            return None
        return own.tolist(), reference.tolist()


def ratios(task: Task, losses: Iterable[str]) -> tuple[str, ...]:
    """Return the losses of which less is better."""
    return tuple(name for name in losses if not task.metrics[name].higher_is_better)


def plain(value: float) -> float | None:
    """Return the number, or None for NaN."""
    return None if np.isnan(value) else value
