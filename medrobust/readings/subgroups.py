"""Errors within the groups that metadata columns name: a table in the page and subgroups.csv."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from medrobust.base.split_facts import SplitFacts
from medrobust.base.wording import counted
from medrobust.metrics import Estimate
from medrobust.metrics.aggregates import error_interval, group_codes
from medrobust.metrics.estimates import with_bounds
from medrobust.reporting.figures import title, with_range
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import coverage, csv_bytes, number
from medrobust.reporting.uncertainty import Errors, Layout, mean_error
from medrobust.tasks.base import Section
from medrobust.types import Float64Array

FEWEST = 20
"""Images below which a group is given no number."""

SUBGROUP_COLUMNS = (
    "model", "adapter", "label", "dataset", "split", "suite", "column", "group", "images",
    "patients", "of", "clean", "clean_low", "clean_high", "mean", "mean_low", "mean_high",
    "covers", "note",
)  # fmt: skip

NOTE = (
    "Intervals are 95 % and of each group alone; differences between groups are not tested. A "
    f"group of fewer than {FEWEST} images, or of one class only, is given no number. The balanced "
    "error of a group is over the classes that it has. A column of more values than that, none of "
    "which has that many images, tells images or lesions apart, no groups, and is left out."
)


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One model on the images that share a value of a metadata column.

    Attributes:
        matrix: Its table.
        row: Its row of the table.
        column: Metadata column.
        value: Of that column.
        images: How many.
        patients: How many; None where the set names none.
        of: "error" or "balanced_error".
        clean: Error on clean images.
        mean: Mean over the corruptions that have every severity.
        note: Why there is no number, or empty.
    """

    matrix: Matrix
    row: int
    column: str
    value: str
    images: int
    patients: int | None
    of: str
    clean: Estimate
    mean: Estimate
    note: str


def section(report: Report) -> Section | None:
    """Return the tables of all groups, or None where no metadata column names any."""
    found = subgroups(report.matrices)
    if not found:
        return None
    return Section(
        "Subgroups",
        order=50,
        html=subgroup_html(found),
        files={"subgroups.csv": csv_bytes(subgroup_rows(found), SUBGROUP_COLUMNS)},
        rows={"subgroups.csv": "a model and group"},
    )


def subgroups(matrices: Sequence[Matrix]) -> list[Subgroup]:
    """Compute every group of every row, for plain and balanced errors."""
    return [
        found
        for matrix in matrices
        if matrix.data.metadata is not None
        for row in range(len(matrix.rows))
        for of in matrix.ratios
        if matrix.units(of) == len(matrix.data)
        for found in _of_row(matrix, row, of)
    ]


def _of_row(matrix: Matrix, row: int, of: str) -> Iterator[Subgroup]:
    table, data = matrix.table, matrix.data
    assert data.metadata is not None
    layout = Layout(
        table.corruptions,
        table.severities,
        len(matrix.rows),
        table.suite,
        table.dataset,
        matrix.losses,
        (),
        matrix.groups,
        {},
    )
    errors = Errors(layout, matrix.measured, row, of)
    for column, values in zip(data.metadata_columns, data.metadata.T, strict=True):
        if _tells_images_apart(values):
            continue
        for value in np.unique(values).tolist():
            chosen = values == value
            note = _too_little(data, chosen)
            patients = None if data.groups is None else len(np.unique(data.groups[chosen]))
            yield Subgroup(
                matrix,
                row,
                column,
                value,
                int(chosen.sum()),
                patients,
                of,
                Estimate(None) if note else _within(errors.clean, errors, data, chosen),
                Estimate(None) if note else _within(errors.over_columns, errors, data, chosen),
                note,
            )


def _tells_images_apart(values: NDArray[np.str_]) -> bool:
    """Say whether a column names lesions, files or the like, so that no value is a group."""
    counts = np.unique(values, return_counts=True)[1]
    return bool(len(counts) > FEWEST > counts.max())


def _too_little(data: SplitFacts, chosen: NDArray[np.bool_]) -> str:
    if chosen.sum() < FEWEST:
        return f"fewer than {FEWEST} images"
    if data.label_kind is None:
        return ""
    return "one class only" if len(np.unique(data.labels[chosen], axis=0)) < 2 else ""


def _within(
    wrong: Float64Array | None, errors: Errors, data: SplitFacts, chosen: NDArray[np.bool_]
) -> Estimate:
    """Return the error of some images, by what is used for all of them."""
    if wrong is None:
        return Estimate(None)
    strata = None if errors.strata is None else errors.strata[chosen]
    groups = group_codes(None if data.groups is None else data.groups[chosen])
    terms = wrong[chosen]
    return with_bounds(mean_error(terms, strata), error_interval(terms, strata, groups))


def subgroup_rows(found: Sequence[Subgroup]) -> list[dict[str, str]]:
    """Return the rows of subgroups.csv, every value as text."""
    return [
        {
            "model": one.matrix.rows[one.row].model,
            "adapter": one.matrix.rows[one.row].adapter,
            "label": one.matrix.rows[one.row].label,
            "dataset": one.matrix.table.dataset,
            "split": one.matrix.table.split,
            "suite": one.matrix.table.suite,
            "column": one.column,
            "group": one.value,
            "images": str(one.images),
            "patients": "" if one.patients is None else str(one.patients),
            "of": one.of,
            **_numbers("clean", one.clean),
            **_numbers("mean", one.mean),
            "covers": _covers(one),
            "note": one.note,
        }
        for one in found
    ]


def _numbers(name: str, found: Estimate) -> dict[str, str]:
    parts = {"value": name, "low": f"{name}_low", "high": f"{name}_high"}
    return {parts[part]: number(value) for part, value in asdict(found).items()}


def _covers(one: Subgroup) -> str:
    mean = one.matrix.mean(one.of, one.row)
    levels = ",".join(map(str, one.matrix.table.severities))
    return f"{mean.covered} of {counted(mean.total, 'corruption')}; severities {levels}"


def subgroup_html(found: Sequence[Subgroup]) -> str:
    """Write the tables of the page, by the metric that each matrix shows first."""
    tables = []
    for matrix in {id(one.matrix): one.matrix for one in found}.values():
        columns = matrix.data.metadata_columns
        ours = sorted(
            (one for one in found if one.matrix is matrix and one.of == matrix.shown),
            key=lambda one: (columns.index(one.column), one.value),
        )
        rows = [
            (
                one.column,
                one.value or "(empty)",
                str(one.images),
                "–" if one.patients is None else str(one.patients),
                matrix.rows[one.row].label,
                one.note or with_range(one.clean),
                with_range(one.mean) + coverage(matrix, matrix.mean(one.of, one.row)),
            )
            for one in ours
        ]
        head = (
            *("column", "group", "images", "patients", "model"),
            *("clean, %", f"mean {matrix.metric.title} over corruptions, %"),
        )
        tables.append(f"<h3>{escape(title(matrix))}</h3>{plain_table(head, rows, tight=True)}")
    return (
        '\n<section aria-labelledby="subgroups"><h2 id="subgroups">Subgroups</h2>'
        f'<p class="soft small">{NOTE}</p>{"".join(tables)}</section>'
    )
