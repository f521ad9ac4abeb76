"""Pairs: do images of one patient stand closer than those of others, and still under corruption?

From the features that a store keeps (`store.features=true`), whatever a model is asked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from medrobust.base.csv_text import ends
from medrobust.base.missing import names_nobody
from medrobust.base.numbering import numbered
from medrobust.base.split_facts import SplitFacts
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics import Estimate
from medrobust.metrics.aggregates import bounded_interval
from medrobust.metrics.estimates import with_bounds
from medrobust.metrics.feature_pairs import PairedImages, Pairing, paired_images
from medrobust.metrics.intervals import share_interval
from medrobust.readings.cells.pages import part_of_page
from medrobust.readings.cells.rows import CELL_COLUMNS, ON_CLEAN, RowCells, rows_with_features
from medrobust.reporting.aggregates import Place
from medrobust.reporting.figures import place as table_name
from medrobust.reporting.figures import with_range
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section
from medrobust.types import Float64Array, Int64Array

GROUPS = "groups"
LABELS = "labels"
NUMBERS = ("pair_auroc", "auroc_drop", "normalized_rank", "first")
COLUMNS = (
    *CELL_COLUMNS, *(f"{name}{end}" for name in NUMBERS for end in ("", "_low", "_high")),
    "pooled_auroc", "images", "pairs", "cell",
)  # fmt: skip
EMPTY = dict.fromkeys(ends("auroc_drop"), ON_CLEAN)
"""Why numbers of a cell are empty."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which images belong together.

    Args:
        by: "groups", images of one patient; or the metadata column that numbers pairs.
        between: Metadata column in which the images of a pair differ ("visit", "laterality"); only
            images that differ in it are compared. null: all are.
        within: Metadata column, or "labels": an image is compared only with others of its value.
            null: with all of other patients.

    Raises:
        ConfigurationError: If nothing says what belongs together.
    """

    by: str = GROUPS
    between: str | None = None
    within: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.by:
            raise ConfigurationError("readings.pairs.by is empty: name a column, or groups.")


SETTINGS = Pairs


@dataclass(frozen=True, slots=True)
class OfCell:
    """What is found of one cell."""

    place: Place
    cell: StoredCell
    found: PairedImages
    numbers: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class RowPairs:
    """What is found of one model, cell by cell."""

    row: RowCells
    cells: tuple[OfCell, ...]


def section(report: Report) -> Section | None:
    """Return how close pairs stand, where it was asked for."""
    settings = report.readings.get("pairs")
    if settings is None:
        return None
    found, left_out = [], []
    for row in rows_with_features(report.matrices):
        one = _of_row(row, settings)
        found.append(one) if isinstance(one, RowPairs) else left_out.append(one)
    if not found and not left_out:
        return None
    about = (
        "Of an image, another of its own patient or pair, and one of another patient: how often is "
        "its own closer (AUROC of the cosine of features, mean over images; ½ is chance)? Drop: of "
        "the same images, clean less corrupted. Normalised rank: of the closest own image among "
        "the others, 0 for the first. In brackets: 95 % intervals over patients, or pairs."
    )
    return Section(
        "Pairs of images",
        order=54,
        shows="how close images of one patient stand",
        html=part_of_page("Pairs of images", about, found, left_out, _of_matrix),
        files={"pairs.csv": csv_bytes(list(_lines(found)), COLUMNS)} if found else {},
        empty={"pairs.csv": EMPTY},
        rows={"pairs.csv": "a cell"} if found else {},
        curves={"pairs.csv": [("severity", name, "") for name in ("pair_auroc", "auroc_drop")]},
    )


def _of_row(row: RowCells, settings: Pairs) -> RowPairs | str:
    """Read one model, or say why it is left out."""
    try:
        pairing = pairing_of(row.matrix.data, settings)
    except ConfigurationError as error:
        return f"{row.title}: {error}"
    features = [row.matrix.measured.features(cell) for _, cell in row.places]
    known = [one for one in features if one is not None]
    if len(known) < len(features):
        return f"{row.title}: its features are not kept (store.features=true keeps them)"
    each = [paired_images(one, pairing) for one in known]
    if not len(each[0].rows):
        return f"{row.title}: no image has another of its own, and one to compare it with"
    clean = next((e for e, (p, _) in zip(each, row.places, strict=True) if not p.severity), None)
    units = pairing.pairs if row.groups is None else row.groups
    cells = (
        OfCell(place, cell, found, _numbers(found, clean if place.severity else None, units))
        for found, (place, cell) in zip(each, row.places, strict=True)
    )
    return RowPairs(row, tuple(cells))


def pairing_of(data: SplitFacts, settings: Pairs) -> Pairing:
    """Say which images of a split belong together.

    Raises:
        ConfigurationError: If the split has not what says so.
    """
    if settings.by == GROUPS and data.groups is None:
        raise ConfigurationError(
            "it names no patients: name them, or a metadata column (readings.pairs.by=COLUMN)"
        )
    alone = np.arange(len(data), dtype=np.int64)
    patients = alone if data.groups is None else numbered(data.groups)
    pairs = patients
    if settings.by != GROUPS:
        values = _column(data, settings.by, "by")
        empty = np.array([names_nobody(value) for value in values.tolist()])
        # a pair is of one patient: visit 1 of two patients is two
        pairs = numbered(patients, values) if data.groups is not None else numbered(values)
        pairs = np.where(empty, len(data) + alone, pairs)  # belongs to no other
    if data.groups is None:
        patients = pairs
    between = None if settings.between is None else _column(data, settings.between, "between")
    within = None if settings.within is None else _within(data, settings.within)
    return Pairing(pairs, patients, None if between is None else numbered(between), within)


def _within(data: SplitFacts, name: str) -> Int64Array:
    if name != LABELS:
        return numbered(_column(data, name, "within"))
    if data.label_kind is None:
        raise ConfigurationError("it has no labels (readings.pairs.within=labels)")
    return np.unique(data.labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _column(data: SplitFacts, name: str, key: str) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    if name not in data.metadata_columns:
        there = ", ".join(data.metadata_columns) or "none"
        raise ConfigurationError(
            f"it has no metadata column {name!r} (readings.pairs.{key}); it has: {there}"
        )
    assert data.metadata is not None
    return data.metadata[:, data.metadata_columns.index(name)]


def _numbers(
    found: PairedImages, clean: PairedImages | None, units: Int64Array
) -> dict[str, Estimate]:
    """Return the numbers of a cell, with intervals over units of images."""
    groups = np.unique(units[found.rows], return_inverse=True)[1].reshape(-1).astype(np.int64)
    shares: dict[str, Float64Array] = {
        "pair_auroc": found.auroc,
        "normalized_rank": found.normalized_rank,
        "first": (found.rank == 1).astype(np.float64),
    }
    numbers = {
        name: with_bounds(float(values.mean()), share_interval(values, groups))
        for name, values in shares.items()
    }
    if clean is None:
        return numbers | {"auroc_drop": Estimate(None)}
    drop = clean.auroc - found.auroc
    bounds = bounded_interval(drop, groups, limits=(-1.0, 1.0), most=1.0)
    return numbers | {"auroc_drop": with_bounds(float(drop.mean()), bounds)}


def _lines(found: Sequence[RowPairs]) -> Iterator[dict[str, str]]:
    for one in found:
        for own in one.cells:
            line = one.row.named(own.place, own.cell) | {
                "pooled_auroc": number(own.found.pooled_auroc),
                "images": str(len(own.found.rows)),
                "pairs": str(int(own.found.partners.sum())),
                "cell": own.cell.fingerprint,
            }
            for name in NUMBERS:
                for end, value in (("", "value"), ("_low", "low"), ("_high", "high")):
                    line[f"{name}{end}"] = number(getattr(own.numbers[name], value))
            yield line


def _of_matrix(matrix: Matrix, found: Sequence[RowPairs]) -> str:
    head = (
        "model", "corruption", "severity", "AUROC, %", "drop, %", "normalised rank, %",
        "own image first, %", "AUROC of all pairs, %",
    )  # fmt: skip
    rows = [
        (
            one.row.row.label if place is one.cells[0] else "",
            place.place.corruption if place.place.severity else "clean",
            str(place.place.severity or ""),
            *(with_range(place.numbers[name]) for name in NUMBERS),
            f"{100 * place.found.pooled_auroc:.1f}",
        )
        for one in found
        for place in one.cells
        if place.place.severity in (0, max(own.place.severity for own in one.cells))
    ]
    return (
        f"<h3>{escape(table_name(matrix))}</h3><p>Clean and the highest severity, all others in "
        f"pairs.csv.</p>{plain_table(head, rows, tight=True)}"
    )
