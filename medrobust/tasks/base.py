"""What every task gives: arrays that its cells hold, numbers, and what each unit adds to a loss.

Knows numpy alone: no torch, no store, no page. Whoever gives terms gets the matrix, CE and mCE,
intervals, ranks, paired tests, subgroups and gains of adapters for nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.exceptions import ConfigurationError
from medrobust.metrics import Estimate, Metric
from medrobust.metrics.aggregates import group_codes
from medrobust.metrics.influence import Areas
from medrobust.metrics.intervals import Spread
from medrobust.metrics.joining import How
from medrobust.types import Int64Array

from .agreement import ALLOWED, Agreement, agreement_of_arrays
from .agreement import Move as Move
from .arrays import ArraySpec as ArraySpec
from .arrays import redeclared as redeclared
from .arrays import unlike as unlike
from .heads import AFTER as AFTER
from .heads import APART as APART
from .heads import CUT_TEXTS as CUT_TEXTS
from .heads import FOR_PEOPLE as FOR_PEOPLE
from .heads import MIXED as MIXED
from .heads import ONE_ANSWER as ONE_ANSWER
from .heads import ONLINE as ONLINE
from .heads import READ_AS as READ_AS
from .heads import Head as Head
from .heads import HeadDescription as HeadDescription
from .heads import ModelSide as ModelSide
from .heads import NotedHead as NotedHead
from .heads import SplitHead as SplitHead
from .heads import StreamHead as StreamHead
from .heads import TrainedHeads as TrainedHeads
from .heads import deciding as deciding
from .sections import Section as Section
from .sections import TextTable as TextTable
from .sections import in_order as in_order
from .sections import joined as joined
from .sections import text_tables as text_tables

Level: TypeAlias = Literal["image", "patches", "pixels", "text"]
"""What one pass of a model over the images must leave behind."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What each unit adds to a loss; the mean over the strata of their means is the loss.

    Attributes:
        values: Real (U,), or (U, L) for a loss that is the mean over L labels; bool where a unit is
            either right or wrong, which takes little memory and lets McNemar's test apply.
        strata: int64 (U,) or (U, L), the class of each unit, for balanced means; None: of none.
        unit: "image", "text", "lesion" or "patient".
        first_order: Whether the loss is no mean of units, and values are the loss plus the
            influence of each unit: their mean over all units is the loss, that over some is none.
        smallest: Units that a loss of first order rests on where none moves it; None: all.
        rows: int64 (U,), rising, which units of the split they are; None: all, or no units of it.
        groups: int64 (U,) from 0 without gaps, the patient of each unit, unless these are all units
            of the split; None where each stands alone.
        spread: Of a loss of first order whose interval goes over the logit, as that of one cell
            does; None: of all others.
        unbounded: Why no number of this loss has an interval, be it of a cell, a mean, a ratio or a
            difference; empty: they have.
    """

    values: NDArray[Any]
    strata: Int64Array | None = None
    unit: str = "image"
    first_order: bool = False
    smallest: float | None = None
    rows: Int64Array | None = None
    groups: Int64Array | None = None
    spread: Spread | None = None
    unbounded: str = ""

    @property
    def value(self) -> float:
        """The loss.

        Example:
            >>> Terms(np.array([0.0, 1.0, 1.0]), np.array([0, 0, 1])).value
            0.75
        """
        if self.strata is None:
            return float(self.values.mean())
        if self.values.ndim == 2:
            pairs = zip(self.values.T, self.strata.T, strict=True)
            return float(np.mean([Terms(*pair).value for pair in pairs]))
        counts = np.bincount(self.strata)
        sums = np.bincount(self.strata, weights=self.values)
        return float((sums[counts > 0] / counts[counts > 0]).mean())


@dataclass(frozen=True)
class Scores:
    """A cell's numbers and what each unit adds to them.

    Attributes:
        estimates: Metric -> value with interval, in the order of the tables.
        terms: Loss -> per-unit terms, or value and influence where it is no mean of units.
        answers: What is answered for each unit, (U,) or (U, L), for the share of answers that a
            corruption flips; None where nothing is answered.
        chance: Loss -> what guessing scores; the first that has an interval decides whether a
            model is at chance.
    """

    estimates: Mapping[str, Estimate]
    terms: Mapping[str, Terms | Areas]
    answers: NDArray[Any] | None = None
    chance: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a task may know of a stored cell.

    Attributes:
        fingerprint: 64 hexadecimal digits.
        arrays: Those that the task declares, checked.
        head: As it was planned.
        data: Facts and target of the split.
        patients: int64 (N,) from 0, the patient of each image; None where each stands alone.
    """

    fingerprint: str
    arrays: Mapping[str, NDArray[Any]]
    head: HeadDescription
    data: Any
    patients: Int64Array | None = None


def part_of(cell: Cell, rows: NDArray[np.bool_], specs: Mapping[str, ArraySpec]) -> Cell:
    """Take some images of a cell: of its data, its patients, and its arrays that run over images.

    Args:
        cell: Of a split.
        rows: bool (N,), the images.
        specs: `Task.arrays`.

    Example:
        >>> from medrobust.base.split_facts import SplitFacts
        >>> data = SplitFacts(name="a", split="test", fingerprint="0", ids=np.array(["x", "y"]),
        ...                   target=None)
        >>> cell = Cell("0", {"score": np.array([1.0, 2.0])}, {}, data)
        >>> specs = {"score": ArraySpec("float64", ("image",))}
        >>> found = part_of(cell, np.array([False, True]), specs)
        >>> found.arrays["score"].tolist(), found.data.ids.tolist()
        ([2.0], ['y'])
    """
    arrays = {
        name: array[rows] if specs[name].axes[:1] == ("image",) else array
        for name, array in cell.arrays.items()
    }
    data = cell.data.taken(np.flatnonzero(rows))
    return replace(cell, arrays=arrays, data=data, patients=group_codes(data.groups))


@dataclass(frozen=True, slots=True)
class Units:
    """Which images make up which patient, lesion or study, and how their answers are joined.

    Attributes:
        word: What one is: "patient".
        names: Of each unit, in the order of their first images.
        codes: int64 (N,), the unit of each image.
        how: As `metrics.joining.joined_log_odds` takes it.
    """

    word: str
    names: Sequence[str]
    codes: Int64Array
    how: How

    @property
    def first(self) -> Int64Array:
        """The first image of each unit, int64 (U,), ascending."""
        return np.unique(self.codes, return_index=True)[1]


class Task(ABC):
    """What is asked of a model on one split, and what the answer is worth.

    Attributes:
        kind: Name, as in conf/task and, for tasks after the first, in `head["kind"]`.
        level: What one pass must leave behind.
        target: What its splits are judged by: the `kind` of a target in `base/targets`, or "texts
            and labels" for texts that are matched by the labels of their images.
        arrays: Name -> what a cell holds under it.
        metrics: Name -> title, direction and unit, in the order of the tables; names are unique
            over all tasks.
        losses: Metrics that have terms: means, ranks, tests and subgroups are made of them, and CE
            and mCE of those of which less is better. The first that all cells have is shown.
        offered: Metrics that a page can switch to.
        fitted: Metrics that need a clean validation cell, in words, as a sentence lists them.
        of_all_only: Losses that no part of the images has of its own: name -> why, as a sentence
            goes on.
        controls: What answers score that were torn from their images: name -> words.
        ways: How answers of several images can be joined to one of their patient: families of ways,
            without their numbers.
        adapts_online: Whether `adapter.online` gives heads of its own.
        reads_prompts: Whether it may ask for the prompt sets of a run.
        of_models: Whether models answer, so that they are compared with one another and with a
            reference.
    """

    kind: str
    level: Level
    target: str = "labels"
    arrays: Mapping[str, ArraySpec]
    metrics: Mapping[str, Metric]
    losses: tuple[str, ...]
    offered: tuple[str, ...]
    fitted: Mapping[str, str] = MappingProxyType({})
    of_all_only: Mapping[str, str] = MappingProxyType({})
    controls: Mapping[str, str] = MappingProxyType({})
    ways: tuple[How, ...] = ()
    adapts_online: bool = False
    reads_prompts: bool = True
    of_models: bool = True

    @abstractmethod
    def heads(self, data: Any, side: ModelSide) -> Sequence[HeadDescription]:
        """Say what answers: one description a prompt set, or the model's own alone.

        Args:
            data: Facts and target of the split.
            side: The model and what was chosen for it.

        Raises:
            ConfigurationError: If the model or the prompts do not suit the data.
        """

    @abstractmethod
    def head(self, side: ModelSide, description: HeadDescription, data: Any) -> Head:
        """Make the head that a description stands for; imports torch inside.

        Args:
            side: The model that answers.
            description: One of `heads`.
            data: Facts and target of the split, whose images cannot be read; what of them decides
                the head, the description names, so that one head serves all splits of which it says
                the same. What depends on images comes from `SplitHead.outputs_of`.
        """

    @abstractmethod
    def scores(self, cell: Cell, fitted: Any = None) -> Scores:
        """Compute the numbers of a cell.

        Args:
            cell: Of the evaluated split.
            fitted: What `fit` made of its row's clean validation cell; None without one.
        """

    def fit(self, clean_val: Cell) -> Any:
        """Fit thresholds, temperatures, ... that all cells of a row are judged with, once."""
        return None

    def part(self, cell: Cell, rows: NDArray[np.bool_]) -> Cell:
        """Return a cell of some of its images alone, to be scored like any other.

        Args:
            cell: Of a split.
            rows: bool (N,), the images.
        """
        return part_of(cell, rows, self.arrays)

    def check(self, arrays: Mapping[str, NDArray[Any]], data: Any, side: ModelSide) -> None:
        """Refuse outputs that do not fit a split, before they are stored.

        Raises:
            ConfigurationError: Naming model and data set.
        """
        if complaint := unlike(self.arrays, arrays, data):
            raise ConfigurationError(
                f"what model {side.source.name!r} answers does not fit data set {data.name!r}: "
                f"{complaint}."
            )

    def agreement(self, cell: Cell, again: Mapping[str, NDArray[Any]], move: Move) -> Agreement:
        """Say whether arrays that were computed again are those of a cell, but for rounding."""
        return agreement_of_arrays(cell.arrays, again, ALLOWED[move])

    def with_text_corruption(self, corruption: Any) -> "Task":
        """Return the task with rows of corrupted texts beside those of texts as they are.

        Args:
            corruption: A `corruptions.texts.TextCorruption`.

        Raises:
            ConfigurationError: If it reads no texts.
        """
        raise ConfigurationError(
            f"text_corruption changes texts, and task={self.kind} reads none: take "
            f"task=classification or task=retrieval, or leave text_corruption out."
        )

    def facts_of(
        self, answers: Any, class_names: Sequence[str], positive: int | None
    ) -> Mapping[str, Any]:
        """Return what a split in memory is judged by, as facts of it: `target` and others.

        Raises:
            ConfigurationError: If answers are not of that kind.
        """
        raise ConfigurationError(f"{self.kind} cannot be asked of arrays in memory.")

    def head_name(self, head: HeadDescription) -> str:
        """Name a head among others of its model, whatever it was stored with; empty if it is one.

        Args:
            head: As it was planned, or as an older store keeps it.
        """
        return str(head.get("name", ""))

    def head_detail(self, head: HeadDescription) -> str:
        """Say what else tells a head from others of its model and name; empty if nothing short."""
        return ""

    def remarks(self, data: Any) -> Sequence[str]:
        """Say what the reader of a page must know of what this task takes from a split.

        Args:
            data: The split that is evaluated.
        """
        return ()

    def answers_untuned(self, side: ModelSide) -> bool:
        """Say whether the model answers without a trained head, so that gains can be counted."""
        return True

    def tuned_head(self, data: Any, side: ModelSide, *, trains_head: bool) -> HeadDescription:
        """Say what answers while an adapter is tuned.

        Args:
            data: Facts and target of the images that are tuned on.
            side: The model as published, with one prompt set.
            trains_head: Whether the adapter is a head itself.

        Raises:
            ConfigurationError: If nothing can be tuned for this task, on this data.
        """
        raise ConfigurationError(f"nothing can be tuned for the task {self.kind!r}.")

    def torn(self, cell: Cell) -> Mapping[str, Mapping[str, Estimate]]:
        """Compute what a clean cell scores without looking: name of `controls` -> loss -> value."""
        return {}

    def collapsed(self, cell: Cell) -> str | None:
        """Name what is the same for every image of a cell, which none should be; None if fine."""
        return None

    def joined_target(self, data: Any, units: Units) -> Any:
        """Return what units are judged by, from what their images are judged by.

        Raises:
            ConfigurationError: If images of one unit are to be answered otherwise; it names one.
        """
        raise NotImplementedError(f"{self.kind} has no ways of joining")

    def joined(self, cell: Cell, units: Units) -> Mapping[str, NDArray[Any]]:
        """Return the arrays of a cell with one answer a unit; of one image as they were.

        Raises:
            ConfigurationError: If answers of this head cannot be joined so.
        """
        raise NotImplementedError(f"{self.kind} has no ways of joining")

    def sections(self, matrix: "Table") -> Sequence["Section"]:
        """Return what the page shows of a matrix of this task alone, below its comparisons."""
        return ()


class Table(Protocol):
    """What a task's section may know of a matrix."""

    @property
    def data(self) -> Any:
        """Facts and target of the split."""
        ...

    @property
    def rows(self) -> Sequence[Any]:
        """Models, each with its `label`."""
        ...

    @property
    def name(self) -> str:
        """What tells it from the other matrices of a page."""
        ...

    @property
    def severities(self) -> tuple[int, ...]:
        """Levels of its columns, rising."""
        ...

    @property
    def table(self) -> Any:
        """What the plan wanted: its `corruptions` and `severities`, in the order of `values`."""
        ...

    @property
    def cells(self) -> Mapping[Any, Any]:
        """(Row, corruption or "clean", severity) -> a stored cell, with arrays and pictures."""
        ...

    @property
    def values(self) -> Mapping[str, NDArray[np.float64]]:
        """Metric -> (rows, corruptions, severities), NaN where a cell lacks."""
        ...

    @property
    def clean(self) -> Mapping[str, NDArray[np.float64]]:
        """Metric -> (rows,)."""
        ...

    def cells_at(self, row: int, severity: int) -> Sequence[Cell] | None:
        """Return the cells of all corruptions at one severity, 0 for clean; None if one lacks."""
        ...

    def mean_terms(self, row: int, condition: str, of: str) -> Terms | None:
        """Return how much each unit adds to a loss on "clean" images or on the "mean"."""
        ...
