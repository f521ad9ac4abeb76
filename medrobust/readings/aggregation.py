"""One answer a patient, lesion or study from those of its images: tables beside the images' own.

Cells of units are made from stored ones by their task (`Task.joined`) and go through the report
like any other: means, CE and mCE against the reference's units, intervals, ranks and comparisons.
They lie in no store; tables call their data set "NAME by patient".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medrobust.base.fingerprints import fingerprint
from medrobust.base.missing import names_nobody
from medrobust.base.split_facts import SplitFacts
from medrobust.base.wording import agreeing, counted
from medrobust.evaluation.store import CellSpec, StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.joining import NUMBERED, WAYS, How, family
from medrobust.readings.cells.views import mixed, one_a_unit
from medrobust.reporting.expected import ExpectedTable
from medrobust.reporting.measure import variant
from medrobust.reporting.parts import Parts
from medrobust.tasks.base import Cell, Units
from medrobust.tasks.lookup import task_of

GROUPS = "groups"
"""The patients that a data set names itself, where no metadata column is."""

CLEAN = "clean"


def check_way(key: str, how: object) -> None:
    """Refuse a way of joining that there is not.

    Raises:
        ConfigurationError: Naming key and value.
    """
    if not isinstance(how, str) or family(how) is None:
        numbered = ", ".join(f"{name}_NUMBER" for name in NUMBERED)
        raise ConfigurationError(f"{key}={how!r} is none of {', '.join(WAYS)}, {numbered}.")


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Which images belong together, and how their answers become one.

    Attributes:
        unit: What they are joined to, in tables: "patient", "lesion", "study".
        by: "groups" (the patients that the set names), or the metadata column that tells units.
        how: "mean", "max", "noisy_or", "most_confident" or "product" of the probabilities of the
            images; or "top_2" (any number: the mean of the two largest), "lse_5" (log-sum-exp),
            "norm_3" (a norm), "softmax_1" (weighted by itself).
        corrupted_views: "all" images of a unit are corrupted under a corruption; or "one" of them,
            which the name of the unit chooses, beside the clean answers of the others.
    """

    unit: str = "patient"
    by: str = GROUPS
    how: How = "mean"
    corrupted_views: Literal["all", "one"] = "all"

    def __post_init__(self) -> None:
        """Refuse a way that there is not, and a unit without a name.

        Raises:
            ConfigurationError: Naming the key.
        """
        check_way("aggregate.how", self.how)
        if self.corrupted_views not in ("all", "one"):
            raise ConfigurationError(
                f"aggregate.corrupted_views={self.corrupted_views!r} is none of all, one."
            )
        if self.unit in ("", "image"):
            raise ConfigurationError(
                f"aggregate.unit={self.unit!r}: name what images are joined to, such as lesion."
            )

    @property
    def words(self) -> list[str]:
        """What is typed for it, in a run or after `medrobust report`."""
        usual = Aggregation()
        values = ((each.name, getattr(self, each.name)) for each in fields(self))
        typed = [f"aggregate.{k}={value}" for k, value in values if value != getattr(usual, k)]
        return ["aggregate=patient", *typed]

    def named(self, dataset: str) -> str:
        """Name the units of a data set in tables.

        Example:
            >>> Aggregation().named("ward"), Aggregation("lesion", "lesion_id", "max").named("skin")
            ('ward by patient', 'skin by lesion (max)')
            >>> Aggregation("study", "study", corrupted_views="one").named("ward")
            'ward by study (one corrupted)'
        """
        own = self.how if self.how != "mean" else ""
        remarks = list(filter(None, (own, "one corrupted" * (self.corrupted_views == "one"))))
        return f"{dataset} by {self.unit}" + (f" ({', '.join(remarks)})" if remarks else "")

    @property
    def _asked(self) -> str:
        """Begin a sentence with the column that tells units apart, which may not be their name."""
        return "" if self.by in (GROUPS, self.unit) else f"aggregate.by={self.by}: "

    def lacking(self, data: SplitFacts, task: str) -> str | None:
        """Say why images of a split cannot be joined, or return None."""
        if family(self.how) not in task_of(task).ways:
            return f"answers of the task {task!r} on {data.name} cannot be joined by {self.how}."
        if self.by == GROUPS and data.groups is None:
            return (
                f"data set {data.name}/{data.split} names no patients, and aggregate.by=groups "
                f"joins their images: name them, or a metadata column (aggregate.by=COLUMN)."
            )
        if self.by != GROUPS and self.by not in data.metadata_columns:
            there = ", ".join(data.metadata_columns) or "none"
            return (
                f"data set {data.name}/{data.split} has no metadata column {self.by!r} to join "
                f"images by (it has: {there}): see dataset.unit_columns and aggregate.by."
            )
        return None

    def check(self, asked: Iterable[tuple[SplitFacts, str]]) -> None:
        """Refuse what could not be reported, before anything is computed.

        Args:
            asked: Split and task of each table.

        Raises:
            ConfigurationError: If no split names its units, or one has several right answers.
        """
        pairs = list(asked)
        complaints = [self.lacking(data, task) for data, task in pairs]
        if pairs and None not in complaints:
            raise ConfigurationError(str(complaints[0]))
        for (data, task), complaint in zip(pairs, complaints, strict=True):
            if complaint is None:
                try:
                    task_of(task).joined_target(data, self.units(data))
                except ConfigurationError as error:
                    raise ConfigurationError(f"{self._asked}{error}") from error

    def units(self, data: SplitFacts) -> Units:
        """Sort the images of a split into units, which stand in the order of their first images.

        A unit is of one patient: study 1 of two patients is two, named after them.

        Raises:
            ConfigurationError: If images have no value in the column.
        """
        values = self.values(data)
        bare = np.array([names_nobody(str(value)) for value in np.unique(values).tolist()])
        empty = int(np.isin(values, np.unique(values)[bare]).sum())
        how = "empty" if (values == "").sum() == empty else "empty, -1 or a word for unknown"
        if empty:
            raise ConfigurationError(
                f"{self.by} is {how} for {counted(empty, 'image')} of "
                f"{data.name}/{data.split}, so that nothing says which {self.unit} is shown: "
                f"fill the column in."
            )
        if (again := self.in_several(data)).any():
            assert data.groups is not None
            own = np.char.add(np.char.add(data.groups, "/"), values)
            values = np.where(again, own, values)
        _, first, sorted_codes = np.unique(values, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        codes = rank[sorted_codes.reshape(-1)].astype(np.int64)
        names = values[np.sort(first)].tolist()
        return Units(self.unit, names, codes, self.how)

    def in_several(self, data: SplitFacts) -> NDArray[np.bool_]:
        """Say which images have a value of the column that images of another patient have: (N,)."""
        if self.by == GROUPS or data.groups is None:
            return np.zeros(len(data), bool)
        values = self.values(data)
        _, first, codes = np.unique(values, return_index=True, return_inverse=True)
        other: NDArray[np.bool_] = data.groups != data.groups[first][codes]
        return np.isin(codes, codes[other])

    def values(self, data: SplitFacts) -> NDArray[np.str_]:
        """Return what tells units apart, of each image: (N,)."""
        if self.by == GROUPS:
            assert data.groups is not None
            return data.groups
        assert data.metadata is not None
        column: NDArray[np.str_] = data.metadata[:, data.metadata_columns.index(self.by)]
        return column

    def beside(self, parts: Parts) -> Parts:
        """Make the tables of units that stand beside those of images.

        Raises:
            ConfigurationError: If no split names its units, or one has several right answers.
        """
        self.check({(c.data.fingerprint, c.task): (c.data, c.task) for c in parts.cells}.values())
        return _Joiner(self).beside(parts)


@dataclass
class _Joiner:
    """Joins the cells of one report; facts and units of a split are made once."""

    way: Aggregation
    known: dict[str, tuple[SplitFacts, Units]] = field(default_factory=dict)
    clean: dict[tuple[str, str], StoredCell] = field(default_factory=dict)
    said: dict[str, None] = field(default_factory=dict)

    def beside(self, parts: Parts) -> Parts:
        for cell in (*parts.cells, *parts.reference_cells, *parts.untuned):
            if cell.spec.corruption == CLEAN:
                self.clean[variant(cell), cell.data.fingerprint] = cell
        cells = self.joined(parts.cells)
        validation, left_out = self._validation(parts)
        names = {cell.spec.dataset for cell in parts.cells if self._takes(cell)}
        return Parts(
            cells=cells,
            expected=[self._table(table) for table in parts.expected if table.dataset in names],
            missing=[self._spec(spec) for spec in parts.missing if spec.dataset in names],
            reference={self.way.named(name): parts.reference_of(name) for name in sorted(names)},
            reference_cells=self.joined(parts.reference_cells),
            untuned=self.joined(parts.untuned),
            sanity=self.joined(parts.sanity),
            validation=validation,
            notes=[*self._notes(cells), *self._lacking(parts.cells), *left_out, *self.said],
        )

    def joined(self, cells: Iterable[StoredCell]) -> list[StoredCell]:
        return [self._cell(cell) for cell in cells if self._takes(cell) and self._has_clean(cell)]

    def _has_clean(self, cell: StoredCell) -> bool:
        """Say whether there are clean answers beside corrupted ones, where those are needed."""
        if self.way.corrupted_views == "all" or not cell.spec.severity:
            return True
        if (variant(cell), cell.data.fingerprint) in self.clean:
            return True
        self.said[
            f"{cell.spec.model} on {cell.spec.dataset}: there is no clean cell, whose answers "
            f"aggregate.corrupted_views=one puts beside a corrupted view"
        ] = None
        return False

    def _takes(self, cell: StoredCell) -> bool:
        """Say whether a cell can be joined; facts that came after it may be known of another."""
        if cell.data.fingerprint in self.known:
            return family(self.way.how) in task_of(cell.task).ways
        return self.way.lacking(cell.data, cell.task) is None

    def _cell(self, cell: StoredCell) -> StoredCell:
        data, units = self._facts(cell)
        deciding = [cell.fingerprint, data.fingerprint, self.way.how]
        if self.way.corrupted_views == "one":
            deciding.append("one corrupted")
        own = fingerprint(deciding)
        given = Cell(cell.fingerprint, self._arrays(cell, units), cell.head, cell.data)
        return replace(
            cell,
            spec=self._spec(cell.spec),
            fingerprint=own,
            arrays=task_of(cell.task).joined(given, units),
            data=data,
            record={**cell.record, "encoding_fingerprint": own},  # features are of images
            examples=(),
        )

    def _arrays(self, cell: StoredCell, units: Units) -> Mapping[str, NDArray[Any]]:
        """Return a cell's arrays, with the clean answers of all views but one where so asked."""
        if self.way.corrupted_views == "all" or not cell.spec.severity:
            return cell.arrays
        clean = self.clean[variant(cell), cell.data.fingerprint]
        rows = one_a_unit(units.names, units.codes)
        return mixed(task_of(cell.task).arrays, clean.arrays, cell.arrays, rows)

    def _facts(self, cell: StoredCell) -> tuple[SplitFacts, Units]:
        """Return what is known of the units that a cell's images are joined to."""
        of = cell.data.fingerprint
        if of not in self.known:
            units = self.way.units(cell.data)
            self._say_taken_apart(cell.data)
            self.known[of] = (self._joined_facts(cell.data, cell.task, units), units)
        return self.known[of]

    def _say_taken_apart(self, data: SplitFacts) -> None:
        """Say how many values of the column are units of several patients, each one of its own."""
        shared = len(np.unique(self.way.values(data)[self.way.in_several(data)]))
        if shared:
            self.said[
                f"{self.way.named(data.name)}: {counted(shared, 'value')} of {self.way.by} "
                f"{agreeing(shared, 'stands')} in several patients: a {self.way.unit} is that of "
                f"its patient"
            ] = None

    def _joined_facts(self, data: SplitFacts, task: str, units: Units) -> SplitFacts:
        patients = None if self.way.by == GROUPS else data.groups
        return replace(
            data,
            fingerprint=fingerprint([data.fingerprint, units.word, units.codes.tolist()]),
            ids=np.array(units.names),
            target=task_of(task).joined_target(data, units),
            groups=None if patients is None else patients[units.first],
            metadata=None,
            metadata_columns=(),
            unit=units.word,
        )

    def _spec(self, spec: CellSpec) -> CellSpec:
        return replace(spec, dataset=self.way.named(spec.dataset))

    def _table(self, table: ExpectedTable) -> ExpectedTable:
        version = self.known[table.version][0].fingerprint if table.version else ""
        named = self.way.named(table.dataset)
        return replace(table, dataset=named, version=version, unit=self.way.unit)

    def _validation(self, parts: Parts) -> tuple[dict[tuple[str, str], StoredCell], list[str]]:
        """Join clean validation cells, with a line for each split whose units have no answer."""
        found: dict[tuple[str, str], StoredCell] = {}
        complaints: dict[str, None] = {}
        for (row, dataset), cell in parts.validation.items():
            if self._takes(cell):
                try:
                    found[row, self.way.named(dataset)] = self._cell(cell)
                except ConfigurationError as error:
                    complaints[str(error)] = None
        return found, list(complaints)

    def _notes(self, cells: Sequence[StoredCell]) -> Iterable[str]:
        """Say what the tables of units are of."""
        of = {cell.data.fingerprint: cell.spec.dataset for cell in cells}
        for data, units in self.known.values():
            if data.fingerprint not in of:
                continue
            sizes = np.bincount(units.codes)
            low, high = int(sizes.min()), int(sizes.max())
            each = str(high) if low == high else f"{low} to {high}"
            grows = low < high and units.how in ("noisy_or", "product")
            yield (
                f"{of[data.fingerprint]}: probabilities of {counted(len(units.codes), 'image')} "
                f"({each} each) joined to {counted(len(sizes), units.word)} by {units.how}"
                + (", one image of each corrupted" if self.way.corrupted_views == "one" else "")
                + (f"; {units.how} grows with the number of images" if grows else "")
            )

    def _lacking(self, cells: Iterable[StoredCell]) -> list[str]:
        complaints = (self.way.lacking(cell.data, cell.task) for cell in cells)
        return list(dict.fromkeys(complaint for complaint in complaints if complaint))
