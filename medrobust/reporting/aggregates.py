"""Numbers that are made of several cells: what each is called, whose it is, what it covers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from medrobust.evaluation.store import StoredCell
from medrobust.metrics import Estimate
from medrobust.metrics.baselines import MEDMNIST_C

OVER_REFERENCE = ("CE", "relative_CE", "mCE", "relative_mCE", "clean_error_ratio")
"""Aggregates that are divided by errors of the reference model."""

OVER_BASELINE = ("BE", "rBE")
"""How the names of those begin that are divided by the published errors of a baseline."""


class Place(NamedTuple):
    """Where a cell stands in a matrix.

    Attributes:
        row: Number of the row.
        corruption: Name of the column, or "clean".
        severity: 1 to 5; 0 for clean.
    """

    row: int
    corruption: str
    severity: int

    @classmethod
    def clean(cls, row: int) -> "Place":
        """Return the place of the clean cell of a row."""
        return cls(row, "clean", 0)


Groups: TypeAlias = Mapping[Place, Sequence[StoredCell]]
"""Where cells stand -> the cells of all seeds."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A number of one row that is made of several cells.

    Attributes:
        row: Number of the row.
        loss: What it is made of: "balanced_error".
        name: What it is called: "mCE"; the names stand in docs/metrics.md.
        estimate: The number with its interval.
        corruption: Column that it is of; None where it is of several, or of clean images.
        covers: Corruptions that it is over; none where it is of clean images alone.
    """

    row: int
    loss: str
    name: str
    estimate: Estimate
    corruption: str | None = None
    covers: tuple[str, ...] = ()

    @property
    def value(self) -> float | None:
        """The number; None where it is not defined."""
        return self.estimate.value


class Aggregates:
    """The aggregates of a matrix, found by what they are.

    Args:
        found: In the order of the tables.
    """

    def __init__(self, found: Iterable[Aggregate] = ()) -> None:
        self._known = {(one.row, one.loss, one.name, one.corruption): one for one in found}
        self._of: dict[tuple[int, str], list[Aggregate]] = {}
        for one in self:
            self._of.setdefault((one.row, one.loss), []).append(one)

    def __iter__(self) -> Iterator[Aggregate]:
        return iter(self._known.values())

    def of(self, row: int, loss: str) -> Sequence[Aggregate]:
        """Return what is made of one loss of one row."""
        return self._of.get((row, loss), ())

    def estimate(self, row: int, loss: str, name: str, corruption: str | None = None) -> Estimate:
        """Return a number with its interval; empty where it is not defined."""
        found = self._known.get((row, loss, name, corruption))
        return Estimate(None) if found is None else found.estimate


def divided_by(name: str, model: str | None) -> str:
    """Name what an aggregate of that name is divided by; empty where by nothing.

    Args:
        name: Of the aggregate.
        model: The reference model, where there is one.

    Example:
        >>> divided_by("mCE", "clip_vit_b16"), divided_by("rBE", None), divided_by("mean", "clip")
        ('clip_vit_b16', 'medmnist_c_alexnet', '')
    """
    if name.startswith(OVER_BASELINE):
        return MEDMNIST_C
    return (model or "") if name in OVER_REFERENCE else ""
