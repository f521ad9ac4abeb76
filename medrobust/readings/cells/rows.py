"""The cells of a model in a matrix, beside the clean validation cell that limits are set on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medrobust.base.csv_text import Why
from medrobust.evaluation.store import StoredCell
from medrobust.reporting.aggregates import Place
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.rows import MatrixRow
from medrobust.tasks.base import Cell
from medrobust.types import Float64Array, Int64Array, LabelKind

ON_CLEAN = "it compares with clean images, which these are"
"""Why a number is empty in the row of a clean cell."""


def corrupted_only(why: str) -> Why:
    """Say why a number that compares with clean images is empty: of these, or of others.

    Example:
        >>> corrupted_only("no features were kept")({"severity": "0"}) == ON_CLEAN
        True
    """
    return lambda row: ON_CLEAN if row["severity"] == "0" else why


NO_FEATURES = "image features were not kept (store.features=true)"

MULTI_LABEL = "multi-label, binary-class"

CELL_COLUMNS = (
    "model", "adapter", "label", "dataset", "split", "suite", "corruption", "severity", "seed",
)  # fmt: skip
"""What names a cell in the tables of readings."""


@dataclass(frozen=True, slots=True)
class RowCells:
    """The cells of one row, clean first, then corruption by corruption.

    Attributes:
        matrix: Its table.
        number: Of the row.
        places: Where each cell stands, and the cell; a place has one a seed.
        validation: Clean validation cell under the same model and texts; None without one.
    """

    matrix: Matrix
    number: int
    places: tuple[tuple[Place, StoredCell], ...]
    validation: StoredCell | None

    @property
    def row(self) -> MatrixRow:
        """Names of model and adapter."""
        return self.matrix.rows[self.number]

    @property
    def kind(self) -> LabelKind:
        """Kind of labels, as MedMNIST names it."""
        kind = self.matrix.data.label_kind
        assert kind is not None  # `rows_with_logits` lists no others
        return kind

    @property
    def title(self) -> str:
        """Model and data set, as a sentence names them."""
        return f"{self.row.label} on {self.matrix.table.dataset}/{self.matrix.table.split}"

    @property
    def groups(self) -> Int64Array | None:
        """Patient of each evaluated image, None where each stands alone."""
        return self.matrix.measured.groups(self.matrix.data)

    def seen(self, cell: StoredCell) -> Cell:
        """Return what may be known of a stored cell."""
        return self.matrix.measured.cell(cell)

    def named(self, place: Place, cell: StoredCell) -> dict[str, str]:
        """Return the columns that name a cell."""
        table = self.matrix.table
        values = (
            self.row.model, self.row.adapter, self.row.label, table.dataset, table.split,
            table.suite, place.corruption, str(place.severity),
            "" if cell.spec.seed is None else str(cell.spec.seed),
        )  # fmt: skip
        return dict(zip(CELL_COLUMNS, values, strict=True))

    @property
    def lacking(self) -> str | None:
        """Say why nothing can be set on clean validation images, or None where it can."""
        if self.matrix.table.split == "val":
            return f"{self.title}: these are the validation images themselves"
        if self.validation is None:
            return (
                f"{self.title}: there are no clean validation images under the same model and "
                f"texts (validation=true runs them where the set has a validation split)"
            )
        if self.kind == MULTI_LABEL and not self.validation.head.get("absent", True):
            return f"{self.title}: its logits have no zero (the prompt set has no absent texts)"
        labels = self.validation.data.labels
        if self.kind != MULTI_LABEL and len(np.unique(labels)) < 2:
            return f"{self.title}: all validation images are of one class"
        return None


def rows_with_logits(matrices: Sequence[Matrix]) -> Iterator[RowCells]:
    """List the rows whose cells hold logits of labelled images, in the order of the tables."""
    for matrix in matrices:
        if "logits" not in matrix.task.arrays or matrix.data.label_kind is None:
            continue
        for number in range(len(matrix.rows)):
            places = tuple(_of_row(matrix, number))
            if places:
                validation = matrix.measured.validation(places[0][1])
                yield RowCells(matrix, number, places, validation)


def _of_row(matrix: Matrix, number: int) -> Iterator[tuple[Place, StoredCell]]:
    table = matrix.table
    columns = [(name, level) for name in table.corruptions for level in table.severities]
    for place in (Place.clean(number), *(Place(number, *column) for column in columns)):
        for cell in matrix.groups.get(place, ()):
            yield place, cell


def losses(cell: Cell, predicted: Int64Array) -> Float64Array:
    """Return how wrong each image is: 0 or 1; with several labels the share that is wrong: (N,)."""
    wrong = (predicted != cell.data.labels).astype(np.float64)
    found: Float64Array = wrong.mean(axis=1) if wrong.ndim == 2 else wrong
    return found


def rows_with_features(matrices: Sequence[Matrix]) -> Iterator[RowCells]:
    """List the rows of models on images, each encoder once, whatever it is asked."""
    known = set()
    for matrix in matrices:
        if matrix.data.unit != "image" or not matrix.task.of_models:
            continue
        for number in range(len(matrix.rows)):
            places = tuple(_of_row(matrix, number))
            encoder = tuple(cell.record["encoding_fingerprint"] for _, cell in places)
            if places and encoder not in known:
                known.add(encoder)
                yield RowCells(matrix, number, places, None)
