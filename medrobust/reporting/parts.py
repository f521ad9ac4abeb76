"""What a report is made of once everything is looked up: cells of images, and of their units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from medrobust.evaluation.store import CellSpec, StoredCell

from .expected import ExpectedTable
from .reference import References, reference_of


@dataclass(frozen=True, slots=True)
class Parts:
    """Cells that are reported, and those that stand beside them.

    Attributes:
        cells: Finished ones, in plan order.
        expected: Tables, in plan order.
        missing: Planned cells that are not finished.
        reference: One reference model, or one for each data set.
        reference_cells: Those of the reference models.
        untuned: Of models as published, that gains are counted from.
        validation: (variant, data set) -> clean validation cell.
        sanity: Cells of images that show nothing.
        notes: Lines for the reader.
    """

    cells: Sequence[StoredCell]
    expected: Sequence[ExpectedTable]
    missing: Sequence[CellSpec] = ()
    reference: References = None
    reference_cells: Sequence[StoredCell] = ()
    untuned: Sequence[StoredCell] = ()
    validation: Mapping[tuple[str, str], StoredCell] = field(default_factory=dict)
    sanity: Sequence[StoredCell] = ()
    notes: Sequence[str] = ()

    def reference_of(self, dataset: str) -> str | None:
        """Return the reference model of a data set."""
        return reference_of(self.reference, dataset)

    def __add__(self, other: "Parts") -> "Parts":
        """Let the tables of `other` follow; every data set has its own reference then."""
        sets = [*self.expected, *other.expected]
        known = {t.dataset: self.reference_of(t.dataset) for t in self.expected}
        known |= {t.dataset: other.reference_of(t.dataset) for t in other.expected}
        return Parts(
            cells=[*self.cells, *other.cells],
            expected=sets,
            missing=[*self.missing, *other.missing],
            reference=known,
            reference_cells=[*self.reference_cells, *other.reference_cells],
            untuned=[*self.untuned, *other.untuned],
            validation={**self.validation, **other.validation},
            sanity=[*self.sanity, *other.sanity],
            notes=[*self.notes, *other.notes],
        )


class Joining(Protocol):
    """What `conf/aggregate` builds: it makes cells of patients or lesions from those of images."""

    @property
    def words(self) -> list[str]:
        """What is typed for it."""
        ...

    def beside(self, parts: Parts) -> Parts:
        """Return tables of units, to stand beside those of images.

        Raises:
            ConfigurationError: If the images name no units.
        """
        ...
