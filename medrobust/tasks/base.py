"""What every task gives: arrays that its cells hold, numbers, and what each unit adds to a loss.

Knows numpy alone: no torch, no store, no page. Whoever gives terms gets the matrix, CE and mCE,
intervals, ranks, paired tests, subgroups and gains of adapters for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medrobust.metrics import Estimate, Metric
from medrobust.metrics.influence import Areas
from medrobust.types import Int64Array

Level: TypeAlias = Literal["image", "patches", "pixels", "text"]
"""What one pass of a model over the images must leave behind."""

HeadDescription: TypeAlias = Mapping[str, Any]
"""Plain values that decide the outputs of a head; `kind` names its task. Part of fingerprints."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """An array that a cell of a task holds.

    Attributes:
        dtype: Name of a numpy dtype ("float32").
        axes: What each axis runs over, outermost first. "image" and "class" have the sizes of the
            split; another word stands for a size of the task's own, the same wherever it occurs in
            one cell; a whole number is that size.
    """

    dtype: str
    axes: tuple[str | int, ...]

    def complaint(self, array: NDArray[Any], sizes: Mapping[str, int]) -> str | None:
        """Say why an array is not one of these, or return None where it is.

        Args:
            array: What a head gave, or what lies in a store.
            sizes: Size of each axis that is known ("image": 120, "class": 2).

        Example:
            >>> logits = ArraySpec("float32", ("image", "class"))
            >>> logits.complaint(np.zeros((5, 3), np.float32), {"image": 5, "class": 2})
            '(5, 3) is not (5, 2): image, class'
        """
        if array.dtype != np.dtype(self.dtype):
            return f"{array.dtype} is not {self.dtype}"
        wanted = tuple(sizes.get(a, a) if isinstance(a, str) else a for a in self.axes)
        fits = len(wanted) == array.ndim and all(
            isinstance(size, str) or size == given
            for size, given in zip(wanted, array.shape, strict=True)
        )
        if fits:
            return None
        shown = ", ".join(map(str, wanted))
        return f"{array.shape} is not ({shown}): {', '.join(map(str, self.axes))}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What each unit adds to a loss; the mean over the strata of their means is the loss.

    Attributes:
        values: Real (U,), or (U, L) for a loss that is the mean over L labels; bool where a unit is
            either right or wrong, which takes little memory and lets McNemar's test apply. Sums
            over cells are in float64.
        strata: int64 (U,) or (U, L), the class of each unit, for balanced means; None where all
            units count equally.
        unit: "image", "text", "lesion" or "patient".
    """

    values: NDArray[Any]
    strata: Int64Array | None = None
    unit: str = "image"

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
            columns = range(self.values.shape[1])
            each = [Terms(self.values[:, c], self.strata[:, c]).value for c in columns]
            return float(np.mean(each))
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
    """

    estimates: Mapping[str, Estimate]
    terms: Mapping[str, Terms | Areas]
    answers: NDArray[Any] | None = None


class Cell(Protocol):
    """What a task may know of a stored cell."""

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits."""
        ...

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Those that the task declares, checked."""
        ...

    @property
    def head(self) -> HeadDescription:
        """As it was planned."""
        ...


class Head(Protocol):
    """Turns what one pass left behind into the arrays of a cell."""

    def outputs(self, features: Any) -> Mapping[str, NDArray[Any]]:
        """Return exactly `Task.arrays`, from float32 features (N, D) on the CPU.

        Raises:
            NotFiniteError: If features or outputs are not finite.
        """
        ...


class Task(Protocol):
    """What is asked of a model on one split, and what the answer is worth.

    Attributes:
        kind: Name, as in conf/task and, for tasks after the first, in `head["kind"]`.
        level: What one pass must leave behind.
        arrays: Name -> what a cell holds under it.
        metrics: Name -> title, direction and unit; names are unique over all tasks.
        losses: Metrics that CE, mCE, ranks, tests and subgroups are made of; the first is shown.
    """

    kind: str
    level: Level
    arrays: Mapping[str, ArraySpec]
    metrics: Mapping[str, Metric]
    losses: tuple[str, ...]

    def heads(self, data: Any, side: Any) -> Sequence[HeadDescription]:
        """Say what answers: one description a prompt set, or the model's own alone. No weights.

        Args:
            data: Facts of the split.
            side: What planning knows of the model: whether it has a text side, its prompts.
        """
        ...

    def head(self, model: Any, description: HeadDescription) -> Head:
        """Make the head that a description stands for; imports torch inside."""
        ...

    def scores(self, cell: Cell, clean_val: Cell | None) -> Scores:
        """Compute the numbers of a cell, fitted on the clean validation cell where one is given."""
        ...
