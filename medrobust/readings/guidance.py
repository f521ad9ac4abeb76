"""Guidance: how far an expert's class texts should be pushed away from general ones.

Logits of guided texts are a line through those of two prompt sets, so that every gamma can be read
from cells of both. Gamma is chosen on clean validation images, and kept for every corruption.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from medrobust.base.wording import counted
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.aggregates import error_terms
from medrobust.metrics.intervals import mean_interval
from medrobust.metrics.scores import predictions
from medrobust.readings.cells.pages import part_of_page
from medrobust.readings.cells.rows import CELL_COLUMNS, RowCells, rows_with_logits
from medrobust.reporting.aggregates import Place
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section
from medrobust.types import Float64Array

COLUMNS = (
    *CELL_COLUMNS, "expert", "generic", "gamma", "expert_error", "generic_error", "guided_error",
    "difference", "low", "high", "n", "cell", "generic_cell",
)  # fmt: skip


MOST_GAMMAS = 1000
"""Gammas that are tried at most."""


@dataclass(frozen=True, slots=True)
class Guidance:
    """The choice of gamma, as a run asks for it.

    Args:
        expert: Prompt set in an expert's words; null: the first of the table.
        generic: Prompt set in general words; null: the next one.
        highest: Gammas from 0 to this one are tried.
        step: From each to the next.

    Raises:
        ConfigurationError: If a number cannot be.
    """

    expert: str | None = None
    generic: str | None = None
    highest: float = 3.0
    step: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 < self.step <= self.highest <= 100:
            raise ConfigurationError(
                f"readings.guidance.highest={self.highest} and readings.guidance.step={self.step}: "
                f"write a step above 0, and a highest gamma from there to 100."
            )
        if self.highest / self.step > MOST_GAMMAS:
            raise ConfigurationError(
                f"readings.guidance.step={self.step} makes more than {MOST_GAMMAS} gammas up to "
                f"{self.highest:g}: write a larger step."
            )
        if self.expert is not None and self.expert == self.generic:
            raise ConfigurationError(
                f"readings.guidance.expert and readings.guidance.generic are both "
                f"{self.expert!r}: name two sets."
            )

    @property
    def gammas(self) -> list[float]:
        """Those that are tried: from 0 up, 1 among them."""
        steps = np.arange(0.0, self.highest + self.step / 2, self.step)
        return sorted({0.0, 1.0, *(round(float(g), 6) for g in steps)})


SETTINGS = Guidance


@dataclass(frozen=True, slots=True)
class GuidedRow:
    """What guidance makes of one model.

    Attributes:
        row: The model under the expert's texts, and its cells.
        generic: Name of the other prompt set.
        gamma: Chosen on validation.
        validation: Balanced error there by the expert's, the general and the guided texts.
        cells: Place, cell of the expert, cell of the general texts, and the terms of each error.
    """

    row: RowCells
    generic: str
    gamma: float
    validation: tuple[float, float, float]
    cells: tuple[tuple[Place, StoredCell, StoredCell, tuple[Float64Array, ...]], ...]


def section(report: Report) -> Section | None:
    """Return the choice and what it does under each corruption, where it was asked for."""
    settings = report.readings.get("guidance")
    if settings is None:
        return None
    rows = list(rows_with_logits(report.matrices))
    if not rows:
        return None
    found, left_out = [], []
    for expert, generic in _pairs(rows, settings):
        one = generic if isinstance(generic, str) else _of_pair(expert, generic, settings)
        found.append(one) if isinstance(one, GuidedRow) else left_out.append(one)
    files = {"guidance.csv": csv_bytes(list(_lines(found)), COLUMNS)} if found else {}
    about = (
        "Logits by the texts of one prompt set, pushed away from those by the texts of another: γ "
        "times the first less γ − 1 times the second. γ has the least balanced error on clean "
        "validation images (of equal ones the nearest to 1), and is kept. Below 0 the guided texts "
        "err less. In brackets: 95 % intervals of the difference."
    )
    return Section(
        "Guidance",
        order=51,
        shows="balanced error",
        html=part_of_page("Guidance", about, found, left_out, _of_matrix),
        files=files,
        rows={"guidance.csv": "a cell"} if found else {},
        curves={"guidance.csv": [("severity", "difference", "gamma")]},
    )


def _pairs(
    rows: Sequence[RowCells], settings: Guidance
) -> Iterator[tuple[RowCells, RowCells | str]]:
    """List each model under the expert's texts with itself under the general ones."""
    models: dict[tuple[int, str, str], list[RowCells]] = {}
    for row in rows:
        if "guidance" not in _head(row) and "texts" in _head(row):
            key = (id(row.matrix), row.row.model, row.row.adapter)
            models.setdefault(key, []).append(row)
    for kin in models.values():
        named = {str(_head(row).get("name")): row for row in kin}
        expert = settings.expert or next(n for n in named if n != settings.generic or len(kin) < 2)
        generic = settings.generic or next((n for n in named if n != expert), "")
        lacking = [name for name in (expert, generic) if name not in named]
        if lacking:
            which = f"of the prompt set {lacking[0]!r}" if lacking[0] else "of a second prompt set"
            yield (
                kin[0],
                (f"{kin[0].title}: there are no cells {which} (prompts=a,b runs several at once)"),
            )
        else:
            yield named[expert], named[generic]


def _head(row: RowCells) -> "dict[str, object]":
    return dict(row.places[0][1].head)


def _of_pair(expert: RowCells, generic: RowCells, settings: Guidance) -> GuidedRow | str:
    """Choose gamma on validation and apply it to every cell, or say why not."""
    for row in (expert, generic):
        if row.lacking is not None:
            return row.lacking
    assert expert.validation is not None
    assert generic.validation is not None
    others = {_images(cell): cell for _, cell in generic.places}
    sides = (expert.validation, generic.validation)
    errors = {gamma: float(_terms(expert, sides, gamma).mean()) for gamma in settings.gammas}
    gamma = min(errors, key=lambda g: (round(errors[g], 12), abs(g - 1)))
    cells = []
    for place, cell in expert.places:
        if (other := others.get(_images(cell))) is not None:
            terms = tuple(_terms(expert, (cell, other), g) for g in (1.0, 0.0, gamma))
            cells.append((place, cell, other, terms))
    name = str(_head(generic).get("name"))
    found = (errors[1.0], errors[0.0], errors[gamma])
    return GuidedRow(expert, name, gamma, found, tuple(cells))


def _images(cell: StoredCell) -> str:
    """Return what is the same for two prompt sets of one model and the same images."""
    return str(cell.record["encoding_fingerprint"])


def _terms(row: RowCells, sides: tuple[StoredCell, StoredCell], gamma: float) -> Float64Array:
    """Return terms whose mean is the balanced error of the guided logits, float64 (N,)."""
    expert, generic = (side.arrays["logits"].astype(np.float64) for side in sides)
    labels = sides[0].data.labels
    wrong = predictions(gamma * expert - (gamma - 1) * generic, row.kind) != labels
    return error_terms(wrong.astype(np.float64), labels)


def _difference(row: RowCells, terms: tuple[Float64Array, ...]) -> tuple[float, float, float]:
    apart = terms[2] - terms[0]
    value = float(apart.mean())
    low, high = mean_interval(apart, row.groups, value=value, limits=(-1.0, 1.0))
    return value, min(low, value), max(high, value)


def _lines(found: Sequence[GuidedRow]) -> Iterator[dict[str, str]]:
    for one in found:
        for place, cell, other, terms in one.cells:
            values = [float(each.mean()) for each in terms]
            names = ("expert_error", "generic_error", "guided_error", "difference", "low", "high")
            numbers = map(number, (*values, *_difference(one.row, terms)))
            yield (
                one.row.named(place, cell)
                | dict(zip(names, numbers, strict=True))
                | {
                    "expert": str(cell.head.get("name")),
                    "generic": one.generic,
                    "gamma": number(one.gamma),
                    "n": str(len(one.row.matrix.data)),
                    "cell": cell.fingerprint,
                    "generic_cell": other.fingerprint,
                }
            )


def _of_matrix(matrix: Matrix, found: Sequence[GuidedRow]) -> str:
    head = ("model", "severity", "expert, %", "general, %", "guided, %", "guided less expert")
    rows: list[tuple[str, ...]] = []
    for one in found:
        errors = [f"{100 * error:.1f}" for error in one.validation]
        rows.append((f"{one.row.row.label}, γ = {one.gamma:g}", "validation", *errors, ""))
        for level in sorted({place.severity for place, *_ in one.cells}):
            own = [terms for place, _, _, terms in one.cells if place.severity == level]
            means = tuple(np.mean([t[k] for t in own], axis=0) for k in range(3))
            value, low, high = (100 * x for x in _difference(one.row, means))
            shown = [f"{100 * each.mean():.1f}" for each in means]
            gain = f"{value:+.1f} [{low:.1f}, {high:.1f}]"
            rows.append(("", str(level or "clean"), *shown, gain))
    where = f"{matrix.table.dataset}/{matrix.table.split}"
    told = f"<p>{escape(where)}: balanced error of {counted(len(found), 'model')}.</p>"
    return told + plain_table(head, rows, tight=True)
