"""From stored cells to matrices: one for each data set, split and suite, never merged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import CellSpec, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics import (
    Estimate,
    Metric,
    corruption_error,
    mean_corruption_error,
    relative_corruption_error,
)
from medrobust.metrics.influence import Areas
from medrobust.tasks.base import Task, Terms
from medrobust.tasks.lookup import task_of
from medrobust.types import Float64Array

from .contamination import seen
from .measure import Measured, variant
from .reference import References, choose_reference, conditions, reference_of
from .sanity import IMAGES_OF_NOTHING, SHOWING_NOTHING, Nothing, nothing_shown, sanity
from .uncertainty import Groups, Key, Layout, aggregates, at_chance

STANDARD_SEVERITIES = (1, 2, 3, 4, 5)
DEMONSTRATION = "demonstration on synthetic phantoms: says nothing about medicine"


@dataclass(frozen=True, slots=True)
class ExpectedTable:
    """What a plan wants of one suite on one data set.

    Attributes:
        dataset: Name of the data set.
        split: "train", "val" or "test".
        suite: Suite of the columns.
        corruptions: Columns, in order, without "clean".
        severities: Planned severities, in order, without 0.
        version: Fingerprint of the data, where a store holds several of one name; empty: of any.
        in_store: How many corruptions the table has in the store, of which these are chosen; 0:
            these are all.
        task: Name of the task, where several are asked of the data; empty: of any, a matrix each.
    """

    dataset: str
    split: str
    suite: str
    corruptions: tuple[str, ...]
    severities: tuple[int, ...] = STANDARD_SEVERITIES
    version: str = ""
    in_store: int = 0
    task: str = ""

    def is_of(self, cell: StoredCell) -> bool:
        """Say whether a cell is of the data and the task of this table."""
        same_set = (cell.spec.dataset, cell.spec.split) == (self.dataset, self.split)
        same_task = self.task in ("", cell.task)
        return same_set and same_task and self.version in ("", cell.data.fingerprint)

    def holds(self, cell: StoredCell) -> bool:
        """Say whether a cell belongs into this table."""
        return self.is_of(cell) and belongs(cell.spec, self)


DEMONSTRATION_MODELS = ("phantomclip", "phantomclip_small")
"""Models that were trained on synthetic phantoms and are shipped with the package."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a matrix: a model, adapted or not, under one configuration.

    Attributes:
        model: Name of the model.
        adapter: Name of the adaptation, or "none".
        label: Model, adapter where there is one, and the prompt set where there are several.
        variant: Fingerprint of weights, preprocessing, precision, prompts and head.
    """

    model: str
    adapter: str
    label: str
    variant: str


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
        cells: (row, corruption, severity) -> a cell, clean under corruption "clean", severity 0.
        low: As `values`, lower 95 % bounds (means over seeds of the cells').
        high: As `values`, upper bounds.
        clean_low: As `clean`.
        clean_high: As `clean`.
        aggregates: (of, row, metric, column) -> number with interval, from `aggregates`.
        at_chance: For each row, whether its clean images are answered no better than by guessing.
        reference_at_chance: The same of the reference, row by row; None where it is missing.
        groups: (row, corruption, severity) -> the cells of all seeds.
        seen: For each row, training data of its weights that hold pictures of this set's source.
        reference_groups: As `groups`, of the reference.
        measured: Numbers of all these cells, each computed once.
    """

    table: ExpectedTable
    data: SplitFacts
    rows: tuple[Row, ...]
    task: Task
    seeds: tuple[int, ...]
    values: Mapping[str, Float64Array]
    clean: Mapping[str, Float64Array]
    reference: str | None
    reference_values: Mapping[str, Float64Array]
    reference_clean: Mapping[str, Float64Array]
    cells: Mapping[tuple[int, str, int], StoredCell] = field(default_factory=dict)
    low: Mapping[str, Float64Array] = field(default_factory=dict)
    high: Mapping[str, Float64Array] = field(default_factory=dict)
    clean_low: Mapping[str, Float64Array] = field(default_factory=dict)
    clean_high: Mapping[str, Float64Array] = field(default_factory=dict)
    aggregates: Mapping[Key, Estimate] = field(default_factory=dict)
    at_chance: tuple[bool, ...] = ()
    reference_at_chance: tuple[bool | None, ...] = ()
    groups: Groups = field(default_factory=dict)
    seen: tuple[tuple[str, ...], ...] = ()
    reference_groups: Groups = field(default_factory=dict)
    measured: Measured = field(default_factory=Measured, repr=False, compare=False)

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
        keys = [(row, "clean", 0)]
        if condition == "mean":
            levels = self.table.severities
            keys = [(row, name, level) for name in self.table.corruptions for level in levels]
        if not keys or not all(key in self.groups for key in keys):
            return None
        return [cell for key in keys for cell in self.groups[key]]

    @property
    def demonstration(self) -> bool:
        """Whether the numbers come from synthetic phantoms."""
        return self.data.origin == "phantom"

    @property
    def asked_sanity(self) -> bool:
        """Whether images that show nothing were run: then tables have sanity rows of their own."""
        names = set(SHOWING_NOTHING.values())
        return any(metric in names for _, _, metric, _ in self.aggregates)

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
        return self.aggregates.get((of, row, metric, column), Estimate(None))

    def signs(self, row: int) -> str:
        """Return the signs of a row: † at chance (it or its reference), ‡ contaminated."""
        contaminated = bool(self.seen) and bool(self.seen[row])
        return "†" * bool(self.chance_marks(row)) + "‡" * contaminated

    def marked(self, row: int) -> str:
        """Return the label of a row with its signs."""
        return self.rows[row].label + self.signs(row)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What stands below every table: a demonstration, a part of the set, findings of audits."""
        shown = (one.sentence for one in self.data.findings if not one.audit_only)
        return (*self.notices, *shown)

    @property
    def legend(self) -> tuple[str, ...]:
        """What the signs in this table mean: a line each."""
        rows = range(len(self.rows))
        lines = []
        if any(self.chance_marks(row) for row in rows):
            lines.append(
                "†: model or reference no better than guessing on clean images: its mCE means "
                "nothing"
            )
        names = dict.fromkeys(name for row in self.seen for name in row)
        if names:
            lines.append(
                f"‡: the weights were trained on {', '.join(names)}, which holds pictures of the "
                f"source of {self.table.dataset}"
            )
        return tuple(lines)

    def row_marks(self, row: int) -> tuple[str, ...]:
        """Return what `signs` stand for, in words."""
        known = self.seen[row] if self.seen else ()
        return (*self.chance_marks(row), *(f"trained on {name}" for name in known))

    def chance_marks(self, row: int) -> tuple[str, ...]:
        """Say whether the model, or its reference, is at chance on clean images."""
        marks = ["at chance"] if self.at_chance and self.at_chance[row] else []
        if self.reference_at_chance and self.reference_at_chance[row]:
            marks.append("reference at chance")
        return tuple(marks)

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


def versions_of(cells: Iterable[StoredCell]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what a table of a data set and split is made for: each of several versions, or ""."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        key = (cell.spec.dataset, cell.spec.split)
        found.setdefault(key, {})[cell.data.fingerprint] = None
    return {key: tuple(prints) if len(prints) > 1 else ("",) for key, prints in found.items()}


def tasks_of(cells: Iterable[StoredCell]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what a table of a data set and split is asked: each of several tasks, or ""."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        found.setdefault((cell.spec.dataset, cell.spec.split), {})[cell.task] = None
    return {key: tuple(tasks) if len(tasks) > 1 else ("",) for key, tasks in found.items()}


def expected_from_cells(cells: Sequence[StoredCell]) -> list[ExpectedTable]:
    """Derive tables from cells alone: every suite that occurs, columns in alphabetical order."""
    versions, tasks = versions_of(cells), tasks_of(cells)
    columns: dict[tuple[str, str, str, str, str], set[tuple[str, int]]] = {}
    for cell in cells:
        spec = cell.spec
        if spec.severity:
            version = cell.data.fingerprint
            version = version if version in versions[spec.dataset, spec.split] else ""
            task = cell.task if cell.task in tasks[spec.dataset, spec.split] else ""
            key = (spec.dataset, spec.split, spec.suite, version, task)
            columns.setdefault(key, set()).add((spec.corruption, spec.severity))
    return [
        ExpectedTable(
            *key[:3],
            corruptions=tuple(sorted({name for name, _ in found})),
            severities=tuple(sorted({severity for _, severity in found})),
            version=key[3],
            task=key[4],
        )
        for key, found in columns.items()
    ]


def build_matrices(
    cells: Sequence[StoredCell],
    *,
    expected: Sequence[ExpectedTable],
    missing: Sequence[CellSpec] = (),
    reference: References = None,
    reference_cells: Sequence[StoredCell] = (),
    sanity_cells: Sequence[StoredCell] = (),
    measured: Measured | None = None,
) -> list[Matrix]:
    """Lay cells out as one matrix for each expected table, task and data fingerprint.

    Args:
        cells: The plan's cells that are finished, in plan order.
        expected: What the plan wanted, in plan order.
        missing: The plan's cells that are not finished.
        reference: Name of the reference model, or one for each data set.
        reference_cells: From `medrobust.reporting.reference_cells`.
        sanity_cells: Cells of images that show nothing.
        measured: Metrics already computed.

    Raises:
        ConfigurationError: If a cell belongs to no expected table.
    """
    _check_expected(cells, expected)
    measured = measured or Measured()
    matrices = []
    for table in expected:
        ours = [c for c in cells if table.holds(c)]
        gaps = [spec for spec in missing if belongs(spec, table)]
        if table.version or _shares_its_place(table, expected):  # a gap may be the other's
            there = {(c.spec.model, c.spec.adapter) for c in ours}
            gaps = [spec for spec in gaps if (spec.model, spec.adapter) in there]
        name = reference_of(reference, table.dataset)
        for alike in _by_data_and_task(ours):
            nothing = nothing_shown(sanity_cells, alike[0].data.fingerprint)
            matrices.append(_matrix(table, alike, gaps, name, reference_cells, nothing, measured))
    return matrices


def _by_data_and_task(cells: Sequence[StoredCell]) -> list[list[StoredCell]]:
    """Part cells of other images, or of another question to the model: they share no number."""
    found: dict[tuple[str, str], list[StoredCell]] = {}
    for cell in cells:
        key = (cell.data.fingerprint, cell.task)
        found.setdefault(key, []).append(cell)
    return list(found.values())


def _shares_its_place(table: ExpectedTable, expected: Sequence[ExpectedTable]) -> bool:
    """Say whether another task has a table of the same data and suite."""
    place = (table.dataset, table.split, table.suite)
    same = (t for t in expected if (t.dataset, t.split, t.suite) == place)
    return any(other.task != table.task for other in same)


def belongs(spec: CellSpec, table: ExpectedTable) -> bool:
    """Say whether a cell of that name belongs into a table of any version of its data."""
    same_set = (spec.dataset, spec.split) == (table.dataset, table.split)
    in_column = (
        spec.suite == table.suite
        and spec.corruption in table.corruptions
        and spec.severity in table.severities
    )
    return same_set and (spec.severity == 0 or in_column)


def _check_expected(cells: Sequence[StoredCell], expected: Sequence[ExpectedTable]) -> None:
    stray = next((c for c in cells if not any(t.holds(c) for t in expected)), None)
    if stray is not None:
        raise ConfigurationError(
            f"the cell {stray.spec} belongs to none of the expected tables. Pass an ExpectedTable "
            f"for its data set, split, suite, corruption and severity."
        )


def _matrix(
    table: ExpectedTable,
    cells: Sequence[StoredCell],
    gaps: Sequence[CellSpec],
    reference: str | None,
    reference_cells: Sequence[StoredCell],
    nothing: Nothing,
    measured: Measured,
) -> Matrix:
    data, task = cells[0].data, task_of(cells[0].task)
    rows = _rows(cells, gaps)
    place = {(row.model, row.adapter, row.variant): index for index, row in enumerate(rows)}
    candidates = conditions(reference_cells)
    groups: dict[tuple[int, str, int], list[StoredCell]] = {}
    for cell in cells:
        row = place[cell.spec.model, cell.spec.adapter, variant(cell)]
        groups.setdefault((row, cell.spec.corruption, cell.spec.severity), []).append(cell)
    groups = {key: group for key, group in groups.items() if not _gap(rows, key, group, gaps)}
    partners = {
        key: [choose_reference(cell, candidates) for cell in group] for key, group in groups.items()
    }
    complete = {
        key: [cell for cell in group if cell is not None]
        for key, group in partners.items()
        if None not in group
    }
    names = _metric_names(cells, measured)
    values, clean = _arrays(table, len(rows), groups, names, measured, "value")
    low, clean_low = _arrays(table, len(rows), groups, names, measured, "low")
    high, clean_high = _arrays(table, len(rows), groups, names, measured, "high")
    losses = tuple(name for name in names if name in task.losses)
    divided = ratios(task, losses)
    reference_values, reference_clean = _arrays(
        table, len(rows), complete, divided, measured, "value"
    )
    layout = Layout(
        table.corruptions,
        table.severities,
        len(rows),
        table.suite,
        table.dataset,
        losses,
        divided,
        groups,
        complete,
    )
    return Matrix(
        table=table,
        data=data,
        rows=rows,
        task=task,
        seeds=tuple(sorted({c.spec.seed for c in cells if c.spec.seed is not None})),
        values=values,
        clean=clean,
        reference=reference,
        reference_values=reference_values,
        reference_clean=reference_clean,
        cells={key: group[0] for key, group in groups.items()},
        low=low,
        high=high,
        clean_low=clean_low,
        clean_high=clean_high,
        aggregates={
            **aggregates(layout, measured),
            **sanity(groups, list(place), nothing, measured, losses),
        },
        at_chance=tuple(_chance(groups, row, measured) is True for row in range(len(rows))),
        reference_at_chance=tuple(_chance(complete, row, measured) for row in range(len(rows))),
        groups=groups,
        seen=tuple(_seen(table.dataset, groups, row) for row in range(len(rows))),
        reference_groups=complete,
        measured=measured,
    )


def _seen(dataset: str, groups: Groups, row: int) -> tuple[str, ...]:
    """Return the contaminating training data that the load reports of a row name."""
    names = (
        name
        for (own, _, _), cells in groups.items()
        if own == row
        for name in (cells[0].record.get("load_report") or {}).get("trained_on", ())
    )
    return seen(dataset, dict.fromkeys(map(str, names)))


def _chance(groups: Groups, row: int, measured: Measured) -> bool | None:
    """Say whether the first clean cell of a row is at chance; None without one."""
    found = groups.get((row, "clean", 0))
    if found is None:
        return None
    return at_chance(measured.scores(found[0]), task_of(found[0].task).metrics)


def _gap(
    rows: Sequence[Row],
    key: tuple[int, str, int],
    group: Sequence[StoredCell],
    gaps: Sequence[CellSpec],
) -> bool:
    """Say whether a seed of this group is missing: then its mean would be over fewer seeds."""
    row, corruption, severity = key
    seeds = {cell.spec.seed for cell in group}
    return None not in seeds and any(
        (gap.model, gap.adapter) == (rows[row].model, rows[row].adapter)
        and (gap.corruption, gap.severity) == (corruption, severity)
        and gap.seed not in seeds
        for gap in gaps
    )


def _rows(cells: Sequence[StoredCell], gaps: Sequence[CellSpec]) -> tuple[Row, ...]:
    """List models in plan order; those with no finished cell come last."""
    found: dict[tuple[str, str, str], str] = {}
    for cell in cells:
        key = (cell.spec.model, cell.spec.adapter, variant(cell))
        found.setdefault(key, str(cell.record["head"].get("name", "")))
    present = {key[:2] for key in found}
    for gap in gaps:
        if (gap.model, gap.adapter) not in present:
            found.setdefault((gap.model, gap.adapter, ""), "")
    return tuple(
        Row(model, adapter, _label(key, found), key[2])
        for key in found
        for model, adapter in [key[:2]]
    )


def _label(key: tuple[str, str, str], found: Mapping[tuple[str, str, str], str]) -> str:
    """Name a row by no more than tells it apart from the others."""
    model, adapter, own_variant = key
    label = model if adapter == "none" else f"{model} + {adapter}"
    twins = [head for other, head in found.items() if other[:2] == key[:2]]
    if len(twins) == 1:
        return label
    head = found[key]
    if twins.count(head) == 1:
        return f"{label} [{head}]"
    return f"{label} [{head} {own_variant[:6]}]".replace("[ ", "[")


def _metric_names(cells: Sequence[StoredCell], measured: Measured) -> list[str]:
    """List the metrics that every cell has, in the order of the first."""
    estimates = [measured.scores(cell).estimates for cell in cells]
    shared = set.intersection(*map(set, estimates))
    return [name for name in estimates[0] if name in shared]


def _arrays(
    table: ExpectedTable,
    rows: int,
    groups: Mapping[tuple[int, str, int], Sequence[StoredCell]],
    names: Sequence[str],
    measured: Measured,
    part: str,
) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
    shape = (rows, len(table.corruptions), len(table.severities))
    values = {name: np.full(shape, np.nan) for name in names}
    clean = {name: np.full(rows, np.nan) for name in names}
    columns = {name: index for index, name in enumerate(table.corruptions)}
    levels = {severity: index for index, severity in enumerate(table.severities)}
    for (row, corruption, severity), group in groups.items():
        for name in names:
            found = [measured.scores(cell).estimates[name] for cell in group]
            mean = _mean([getattr(estimate, part) for estimate in found])
            if severity == 0:
                clean[name][row] = mean
            else:
                values[name][row, columns[corruption], levels[severity]] = mean
    return values, clean


def _mean(values: Sequence[Any]) -> float:
    return float("nan") if None in values else float(np.mean(values))
