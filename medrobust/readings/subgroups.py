"""Errors within the groups that metadata columns name: a table in the page and subgroups.csv."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np
from numpy.typing import NDArray

from medrobust.base.csv_text import ends
from medrobust.base.missing import MISSING
from medrobust.base.split_facts import SplitFacts, are_hashes
from medrobust.base.wording import counted
from medrobust.metrics import Estimate, Metric
from medrobust.metrics.estimates import written
from medrobust.reporting.figures import place, with_range
from medrobust.reporting.markup import by_metric, details, plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.rank_tables import p_value
from medrobust.reporting.report import Report
from medrobust.reporting.tables import coverage, csv_bytes, number
from medrobust.tasks.base import Section, Terms

from .group_order import in_reading_order
from .subgroup_differences import (
    UNDEFINED,
    GroupDifference,
    columns_of,
    corrected,
    differences,
    within,
)
from .subgroup_terms import Losing, Rescored, conditions

FEWEST = 20
"""Images below which a group is given no number."""

SUBGROUP_COLUMNS = (
    "model", "adapter", "label", "dataset", "split", "suite", "column", "group", "images",
    "patients", "of", "clean", "clean_low", "clean_high", "mean", "mean_low", "mean_high",
    "covers", "note",
)  # fmt: skip

DIFFERENCE_COLUMNS = (
    "model", "adapter", "label", "dataset", "split", "suite", "column", "group", "images",
    "images_others", "of", "condition", "value", "others", "difference", "low", "high", "p",
    "p_holm", "note",
)  # fmt: skip

NOTE = (
    "Intervals are 95 % and of each group alone. A "
    f"group of fewer than {FEWEST} images, or of one class only, is given no number. The balanced "
    "error of a group is over the classes that it has. Images without a value are a group called "
    "missing, which no difference counts. A column of more values than that, none of "
    "which has that many images, tells images or lesions apart, no groups, and is left out."
)

MEANS = ("clean", "mean")
"""Conditions that are not one corruption."""

SIGNIFICANCE = ("difference, points", "95 %", "p", "p, Holm")

COMPARED = (
    "A group's error less that of all other images with a value in the column, in points: above 0, "
    "the model errs more on the group. A group may be harder, or of other classes, whatever the "
    "model: a difference is no proof of unfairness. Intervals join those of both groups (MOVER), "
    "patients in both count; p is below .05 where the interval excludes 0, and Holm's p bounds the "
    "chance of any false finding among the lines of a table of the same column."
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
        differences: From all other images, under each condition.
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
    differences: tuple[GroupDifference, ...] = ()


def section(report: Report) -> Section | None:
    """Return the tables of all groups, or None where no metadata column names any."""
    found = subgroups(report.matrices)
    if not found:
        return None
    return Section(
        "Subgroups",
        order=50,
        html=subgroup_html(found),
        files={
            "subgroups.csv": csv_bytes(subgroup_rows(found), SUBGROUP_COLUMNS),
            "subgroup_differences.csv": csv_bytes(difference_rows(found), DIFFERENCE_COLUMNS),
        },
        rows={
            "subgroups.csv": "a model and group",
            "subgroup_differences.csv": "a model, group and condition, less all other images",
        },
        empty={
            "subgroups.csv": dict.fromkeys(ends("clean", "mean"), "cells of it are missing"),
            "subgroup_differences.csv": dict.fromkeys(
                ("value", "others", "difference", "low", "high", "p", "p_holm"),
                "it is not defined for this group and the others",
            ),
        },
    )


def subgroups(matrices: Sequence[Matrix]) -> list[Subgroup]:
    """Compute every group of every row, for each loss over images, and their differences."""
    found = [
        found
        for matrix in matrices
        if matrix.data.metadata is not None
        for row in range(len(matrix.rows))
        for found in _of_row(matrix, row)
    ]
    return _corrected(found)


def _of_row(matrix: Matrix, row: int) -> list[Subgroup]:
    """Return the groups of a row, loss after loss; of one group all losses are computed at once."""
    losses = [of for of in matrix.ratios if _of_images(matrix, of)]
    rescored = Rescored(matrix.measured)
    losing = {of: conditions(matrix, row, of, rescored) for of in losses}
    found = list(_groups(matrix, row, losing))
    return sorted(found, key=lambda one: losses.index(one.of))


def _of_images(matrix: Matrix, of: str) -> bool:
    """Say whether a loss is over what the metadata describe, and not over texts or lesions."""
    terms = matrix.terms_of_one(of)
    if isinstance(terms, Terms) and terms.rows is not None:
        return terms.unit == matrix.data.unit
    alike = not isinstance(terms, Terms) or terms.unit == matrix.data.unit
    return alike and matrix.units(of) == len(matrix.data)


def _groups(matrix: Matrix, row: int, losing: Mapping[str, Sequence[Losing]]) -> Iterator[Subgroup]:
    data = matrix.data
    assert data.metadata is not None
    for column, values in zip(data.metadata_columns, data.metadata.T, strict=True):
        if _tells_images_apart(values):
            continue
        groups = in_reading_order(np.unique(values).tolist())
        notes = {value: _too_little(data, values == value) for value in groups}
        named = [value for value in groups if value.strip()]
        told = [value for value in named if not notes[value]]
        for value in groups:
            chosen = values == value
            patients = None if data.groups is None else len(np.unique(data.groups[chosen]))
            rest = ~chosen & (np.char.strip(values) != "")
            # of two groups in all, the second's differences are the first's with the other sign
            compared = value in told and (len(named) > 2 or value == told[0])
            compared = compared and not _too_little(data, rest)
            for of, every in losing.items():
                note = notes[value] or matrix.task.of_all_only.get(of, "")
                share = matrix.task.metrics[of].share
                clean, mean = _means(data, chosen, () if note else every, share=share)
                undefined = every and not note and clean.value is None and mean.value is None
                yield Subgroup(
                    matrix,
                    row,
                    column,
                    value,
                    int(chosen.sum()),
                    patients,
                    of,
                    clean,
                    mean,
                    UNDEFINED if undefined else note,
                    tuple(differences(data, chosen, rest, every, share=share))
                    if compared and not note and not undefined
                    else (),
                )


def _means(
    data: SplitFacts, chosen: NDArray[np.bool_], every: Sequence[Losing], *, share: bool
) -> tuple[Estimate, Estimate]:
    """Return the loss of a group on clean images and on the mean, empty where it has none."""
    known = {losing.condition: losing for losing in every}
    clean, mean = (
        within(known[name], data, chosen, share=share) if name in known else Estimate(None)
        for name in MEANS
    )
    return clean, mean


def _corrected(found: Sequence[Subgroup]) -> list[Subgroup]:
    """Correct p-values over the models and groups of a column, corruptions apart from means."""
    families: dict[tuple[int, str, str, bool], list[tuple[int, int]]] = {}
    for group, one in enumerate(found):
        for line, difference in enumerate(one.differences):
            single = difference.condition not in MEANS
            key = (id(one.matrix), one.column, one.of, single)
            families.setdefault(key, []).append((group, line))
    changed = [list(one.differences) for one in found]
    for places in families.values():
        family = corrected([changed[group][line] for group, line in places])
        for (group, line), difference in zip(places, family, strict=True):
            changed[group][line] = difference
    return [replace(one, differences=tuple(own)) for one, own in zip(found, changed, strict=True)]


def _tells_images_apart(values: NDArray[np.str_]) -> bool:
    """Say whether a column names lesions, files or the like, so that no value is a group."""
    counts = np.unique(values, return_counts=True)[1]
    return bool(len(counts) > FEWEST > counts.max()) or are_hashes(values)


def _too_little(data: SplitFacts, chosen: NDArray[np.bool_]) -> str:
    if chosen.sum() < FEWEST:
        return f"fewer than {FEWEST} images"
    if data.label_kind is None:
        return ""
    return "one class only" if len(np.unique(data.labels[chosen], axis=0)) < 2 else ""


def subgroup_rows(found: Sequence[Subgroup]) -> list[dict[str, str]]:
    """Return the rows of subgroups.csv, every value as text."""
    return [
        {
            **_place(one),
            "patients": "" if one.patients is None else str(one.patients),
            **_numbers("clean", one.clean),
            **_numbers("mean", one.mean),
            "covers": _covers(one),
            "note": one.note,
        }
        for one in found
    ]


def difference_rows(found: Sequence[Subgroup]) -> list[dict[str, str]]:
    """Return the rows of subgroup_differences.csv, every value as text."""
    return [{**_place(one), **columns_of(each)} for one in found for each in one.differences]


def _place(one: Subgroup) -> dict[str, str]:
    row, table = one.matrix.rows[one.row], one.matrix.table
    return {
        "model": row.model,
        "adapter": row.adapter,
        "label": row.label,
        "dataset": table.dataset,
        "split": table.split,
        "suite": table.suite,
        "column": one.column,
        "group": one.value or MISSING,
        "images": str(one.images),
        "of": one.of,
    }


def _numbers(name: str, found: Estimate) -> dict[str, str]:
    parts = {"value": name, "low": f"{name}_low", "high": f"{name}_high"}
    return {column: number(getattr(found, part)) for part, column in parts.items()}


def _covers(one: Subgroup) -> str:
    mean = one.matrix.mean(one.of, one.row)
    levels = ",".join(map(str, one.matrix.table.severities))
    return f"{mean.covered} of {counted(mean.total, 'corruption')}; severities {levels}"


def subgroup_html(found: Sequence[Subgroup]) -> str:
    """Write the tables of the page, for each metric that they are made of."""
    tables = []
    for matrix in {id(one.matrix): one.matrix for one in found}.values():
        ours = [one for one in found if one.matrix is matrix]
        parts = {of: _of_metric(matrix, of, ours) for of in matrix.ratios}
        none = "No subgroups: {metric} is no error."
        tables.append(f"<h3>{escape(place(matrix))}</h3>")
        tables.append(by_metric(parts, matrix.shown, none=none))
    return (
        '\n<section aria-labelledby="subgroups"><h2 id="subgroups">Subgroups</h2>'
        f'<p class="soft small">{NOTE}</p>{"".join(tables)}</section>'
    )


def _of_metric(matrix: Matrix, of: str, found: Sequence[Subgroup]) -> str:
    columns, order = matrix.data.metadata_columns, _order(found)
    metric = matrix.task.metrics[of]
    ours = sorted(
        (one for one in found if one.of == of),
        key=lambda one: (columns.index(one.column), order[one.column, one.value]),
    )
    rows = [
        (
            one.column,
            one.value or MISSING,
            str(one.images),
            "–" if one.patients is None else str(one.patients),
            matrix.rows[one.row].label,
            one.note or with_range(one.clean, share=metric.share),
            with_range(one.mean, share=metric.share) + coverage(matrix, matrix.mean(of, one.row)),
        )
        for one in ours
    ]
    unit = metric.percent_sign
    head = (
        *("column", "group", "images", "patients", "model"),
        *(f"{metric.title}, clean{unit}", f"mean over corruptions{unit}"),
    )
    return plain_table(head, rows, tight=True) + _compared(matrix, metric, ours)


def _order(found: Sequence[Subgroup]) -> dict[tuple[str, str], int]:
    values: dict[str, dict[str, None]] = {}
    for one in found:
        values.setdefault(one.column, {})[one.value] = None
    return {
        (column, value): number_
        for column, own in values.items()
        for number_, value in enumerate(in_reading_order(own))
    }


def _compared(matrix: Matrix, metric: Metric, ours: Sequence[Subgroup]) -> str:
    """Write differences on clean images and on the mean, and those of each corruption apart."""
    lines: dict[bool, list[tuple[str, ...]]] = {False: [], True: []}
    for one in ours:
        for each in one.differences:
            numbers = _difference(each, share=metric.share)
            line = (one.column, one.value, matrix.rows[one.row].label, *numbers)
            lines[each.condition not in MEANS].append(line)
    sides = (f"{side}{metric.percent_sign}" for side in ("group", "others"))
    head = ("column", "group", "model", "images", *sides, *SIGNIFICANCE)
    note = f'<p class="soft small">{COMPARED}</p>'
    means = plain_table(head, lines[False], tight=True)
    every = plain_table(head, lines[True], tight=True)
    shown = details("Differences between groups", note + means) if lines[False] else ""
    return shown + (details("Differences under each corruption", every) if lines[True] else "")


def _difference(one: GroupDifference, *, share: bool) -> tuple[str, ...]:
    sides = (with_range(side, share=share) for side in (one.group, one.others))
    values = (one.condition, *sides)
    found = one.found
    if found is None or found.low is None or found.high is None:
        return (*values, one.reason or "–", "", "", "")
    by, low, high = (
        written(each, share=share, sign="+") for each in (found.difference, found.low, found.high)
    )
    p = (p_value(number(value)) for value in (found.p, one.p_holm))
    return (*values, by, f"{low} to {high}", *p)
