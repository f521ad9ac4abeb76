"""The lines of a matrix: which model each is of, and what must be said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medrobust.evaluation.store import CellSpec, StoredCell
from medrobust.tasks.lookup import task_of

from .measure import variant


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One line of a matrix: a model, adapted or not, under one configuration.

    Attributes:
        model: Name of the model.
        adapter: Name of the adaptation, or "none".
        label: Model, adapter where there is one, and the prompt set where there are several.
        variant: Fingerprint of weights, preprocessing, precision, prompts and head; empty where no
            cell is finished.
        at_chance: Whether its clean images are answered no better than by guessing.
        reference_at_chance: The same of its reference; None where that is missing.
        trained_on: Training data of its weights that hold pictures of this set's source.
    """

    model: str
    adapter: str
    label: str
    variant: str
    at_chance: bool = False
    reference_at_chance: bool | None = None
    trained_on: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, str, str]:
        """What tells its cells from those of other rows: model, adapter and variant."""
        return (self.model, self.adapter, self.variant)

    @property
    def chance_marks(self) -> tuple[str, ...]:
        """Whether the model, or its reference, is at chance on clean images, in words."""
        marks = ["at chance"] if self.at_chance else []
        if self.reference_at_chance:
            marks.append("reference at chance")
        return tuple(marks)

    @property
    def marks(self) -> tuple[str, ...]:
        """What `signs` stand for, in words."""
        return (*self.chance_marks, *(f"trained on {name}" for name in self.trained_on))

    @property
    def signs(self) -> str:
        """† at chance (it or its reference), ‡ contaminated."""
        return "†" * bool(self.chance_marks) + "‡" * bool(self.trained_on)

    @property
    def marked(self) -> str:
        """The label with its signs."""
        return self.label + self.signs


def rows_of(cells: Sequence[StoredCell], gaps: Sequence[CellSpec]) -> list[MatrixRow]:
    """List models in plan order; those with no finished cell come last."""
    heads: dict[tuple[str, str, str], tuple[str, str]] = {}
    for cell in cells:
        task, head = task_of(cell.task), cell.record["head"]
        heads.setdefault(identity(cell), (task.head_name(head), task.head_detail(head)))
    present = {key[:2] for key in heads}
    for gap in gaps:
        if (gap.model, gap.adapter) not in present:
            heads.setdefault((gap.model, gap.adapter, ""), ("", ""))
    return [
        MatrixRow(model, adapter, _label((model, adapter, own), heads), own)
        for model, adapter, own in heads
    ]


def identity(cell: StoredCell) -> tuple[str, str, str]:
    """Return the identity of the row that a cell belongs to."""
    return (cell.spec.model, cell.spec.adapter, variant(cell))


def _label(key: tuple[str, str, str], heads: Mapping[tuple[str, str, str], tuple[str, str]]) -> str:
    """Name a row by no more than tells it apart from the others."""
    model, adapter, own_variant = key
    label = model if adapter == "none" else f"{model} + {adapter}"
    twins = [head for other, head in heads.items() if other[:2] == key[:2]]
    if len(twins) == 1:
        return label
    head, detail = heads[key]
    details = [other for name, other in twins if name == head]
    if len(details) == 1:
        return f"{label} [{head}]"
    if detail and len(set(details)) > 1:
        head = f"{head}, {detail}".removeprefix(", ")
        if details.count(detail) == 1:
            return f"{label} [{head}]"
    return f"{label} [{head} {own_variant[:6]}]".replace("[ ", "[")
