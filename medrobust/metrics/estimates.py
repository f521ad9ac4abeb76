"""A number with its interval, and what tables say of a metric."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .intervals import Bounds


@dataclass(frozen=True, slots=True)
class Metric:
    """What tables say of a metric.

    Attributes:
        title: In words, for headings.
        higher_is_better: Direction.
        share: True for a number in [0, 1] that is printed in percent.
        unit: What it is over: "image", or an axis of the task's arrays.
        weighted: Whether means that weigh severities less the higher they are stand beside the
            others; for a loss whose terms count alike.
    """

    title: str
    higher_is_better: bool
    share: bool = True
    unit: str = "image"
    weighted: bool = False

    @property
    def factor(self) -> float:
        """What a value is multiplied by where it is shown."""
        return 100.0 if self.share else 1.0

    @property
    def percent_sign(self) -> str:
        """What stands behind its title where its values are in percent."""
        return ", %" if self.share else ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; None where it is not defined, or has no interval.

    Attributes:
        value: The number.
        low: Lower bound.
        high: Upper bound.
        note: Why the number or a bound is empty; of a whole interval, why it holds less often than
            it says. A clause without a full stop; empty where nothing is to be said.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def lacks(self) -> tuple[str, ...]:
        """Which of value, low and high are empty.

        Example:
            >>> Estimate(0.5).lacks, Estimate(0.5, 0.4, 0.6).lacks
            (('low', 'high'), ())
        """
        parts = {"value": self.value, "low": self.low, "high": self.high}
        return tuple(name for name, part in parts.items() if part is None)

    @property
    def doubtful(self) -> bool:
        """Whether there is an interval, and it holds less often than it says.

        Example:
            >>> Estimate(0.5, 0.4, 0.6, "few").doubtful, Estimate(0.5, note="few").doubtful
            (True, False)
        """
        return bool(self.note) and not self.lacks


DOUBTFUL = "§"
"""Stands behind an interval that holds less often than it says."""


def written(value: float | None, *, share: bool = True, sign: str = "") -> str:
    """Print a value: a share in percent with one decimal, another as it is; a dash for None.

    Args:
        value: As it is stored.
        share: Of its metric.
        sign: "+" to print the sign of a positive number, too.

    Example:
        >>> written(0.157), written(15.703, share=False), written(0.01, sign="+"), written(None)
        ('15.7', '15.703', '+1.0', '–')
    """
    if value is None:
        return "–"
    return f"{100 * value:{sign}.1f}" if share else f"{value:{sign}.3f}"


def with_bounds(value: float | None, bounds: Bounds | None, note: str = "") -> Estimate:
    """Join a value and its interval; rounding may not put the value outside.

    Args:
        value: The number.
        bounds: Its interval, where it has one.
        note: As `Estimate` has it.

    Example:
        >>> with_bounds(0.5, (0.5000000001, 0.6)).low
        0.5
    """
    if value is None or bounds is None:
        return Estimate(value, note=note)
    return Estimate(value, min(bounds[0], value), max(bounds[1], value), note)


def label_parts(labels: NDArray[np.int64]) -> tuple[list[NDArray[np.bool_]], list[int]]:
    """List the parts of multi-label balanced accuracy, present and absent of each label.

    A label without one of the two counts its only part twice, as the mean over labels does.
    """
    parts, columns = [], []
    for c in range(labels.shape[1]):
        present = labels[:, c] == 1
        both = [mask for mask in (present, ~present) if mask.any()]
        parts += both if len(both) == 2 else both * 2
        columns += [c, c]
    return parts, columns
