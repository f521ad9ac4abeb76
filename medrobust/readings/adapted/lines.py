"""Adaptations of a table: which rows are draws of one recipe, and what their gains count from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medrobust.base.fingerprints import fingerprint
from medrobust.evaluation.store import StoredCell
from medrobust.reporting.aggregates import Groups, Place
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.reference import as_published, is_probe, without_adapter
from medrobust.tasks.base import MIXED, ONLINE, HeadDescription, Terms
from medrobust.types import Float64Array

PUBLISHED = "as published"
"""Label of the row that gains are counted from."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw on one table: its numbers, and how often it errs on each image.

    Attributes:
        numbers: Metric -> value, those that every cell is there for.
        clean: What each unit adds.
        columns: float64 (C, U) or (C, U, L), mean over severities.
        reference: As `columns`, of the reference; None where a cell of it is missing.
    """

    numbers: Mapping[str, float]
    clean: Terms
    columns: Float64Array | None
    reference: Float64Array | None


@dataclass(frozen=True, slots=True)
class Line:
    """One adaptation on one table.

    Attributes:
        model: Name of the base model.
        label: Of the recipe, or `PUBLISHED`.
        prompts: Name of the prompt set; empty for probes.
        variant: Fingerprint of the row; of several draws of one recipe, of what they share.
        cell: A clean cell of it.
        draws: Draw (None: no draw of several) -> its numbers.
        rows: Rows of the matrix that it joins.
    """

    model: str
    label: str
    prompts: str
    variant: str
    cell: StoredCell
    draws: dict[Any, Draw]
    rows: list[int]

    @property
    def adapted(self) -> bool:
        """Whether it was tuned."""
        return bool(self.cell.record.get("adaptation"))

    @property
    def published(self) -> bool:
        """Whether gains are counted from it."""
        return self.label == PUBLISHED


def lines_of(matrix: Matrix) -> list[Line]:
    """Join the rows of a matrix that are draws of one recipe under one prompt set.

    Where a method saw images of several conditions mixed, other conditions are another line.
    """
    found: dict[tuple[str, ...], Line] = {}
    alone: dict[tuple[str, ...], str] = {}
    for index, row in enumerate(matrix.rows):
        cell = matrix.cells.get(Place.clean(index))
        if cell is None:
            continue
        made = cell.record.get("adaptation") or {}
        label = str(made.get("label") or (row.adapter if row.adapter != "none" else PUBLISHED))
        head = cell.record["head"]
        prompts = str(head.get("name", ""))
        draw = made.get("draw")
        parts = [without_adapter(cell), "" if is_probe(cell) else _any_order(head)]
        shared = fingerprint([*parts, *filter(None, [cell.record["encoding"].get(MIXED)])])
        key = (row.model, label, prompts, row.variant if draw is None else shared)
        line = found.setdefault(key, Line(*key, cell=cell, draws={}, rows=[]))
        line.draws[draw] = _draw(matrix, index)
        line.rows.append(index)
        alone[key] = row.variant
    return [
        replace(line, variant=alone[key]) if len(line.draws) == 1 else line
        for key, line in found.items()
    ]


def _any_order(head: HeadDescription) -> dict[str, Any]:
    """Return a head without the order that its images come in: orders are draws of one method."""
    if ONLINE not in head:
        return dict(head)
    return {**head, ONLINE: {k: v for k, v in head[ONLINE].items() if k != "order"}}


def _draw(matrix: Matrix, row: int) -> Draw:
    names, severities = matrix.table.corruptions, matrix.table.severities

    def columns(groups: Groups) -> Float64Array | None:
        keys = [[Place(row, name, severity) for severity in severities] for name in names]
        if not keys or not all(key in groups for column in keys for key in column):
            return None
        return np.stack(
            [_terms(matrix, [c for k in column for c in groups[k]]).values for column in keys]
        )

    return Draw(
        numbers=_numbers(matrix, row),
        clean=_terms(matrix, matrix.groups[Place.clean(row)]),
        columns=columns(matrix.groups),
        reference=columns(matrix.reference_groups),
    )


def _terms(matrix: Matrix, cells: Sequence[StoredCell]) -> Terms:
    """Return how much each unit adds to the error shown, on average over cells."""
    found = matrix.measured.mean_terms(cells, matrix.shown)
    assert found is not None  # it is a number of every cell of the matrix
    return found


def _numbers(matrix: Matrix, row: int) -> dict[str, float]:
    of = matrix.shown
    numbers = {"clean error": float(matrix.clean[of][row])}
    values = matrix.values[of][row]  # (corruptions, severities)
    if values.size:
        numbers["mean corruption error"] = float(values.mean(axis=1).mean())
        reference = matrix.reference_values[of][row].sum(axis=1)
        if not np.isnan(reference).any() and (reference > 0).all():
            numbers["mCE"] = float((values.sum(axis=1) / reference).mean())
    return {name: value for name, value in numbers.items() if not np.isnan(value)}


def told_apart(line: Line, lines: Sequence[Line]) -> str:
    """Return the label of a line, with no more than tells it from the others."""
    same = [o for o in lines if (o.model, o.label) == (line.model, line.label)]
    if len(same) == 1:
        return line.label
    twins = [o for o in same if o.prompts == line.prompts]
    name = line.prompts if len(twins) == 1 else f"{line.prompts} {line.variant[:6]}"
    return f"{line.label} [{name.strip()}]"


def base_of(line: Line, lines: Sequence[Line], added: Sequence[Line]) -> Draw | None:
    """Return the model as published that a line is compared with, the report's own before others.

    None where there is none, or several between which nothing decides.
    """
    if line.published:
        return None
    for known in (lines, added):
        published = {o.cell.fingerprint: o for o in known if o.published}
        same = as_published(line.cell, [o.cell for o in published.values()])
        if same:
            return published[same[0].fingerprint].draws[None] if len(same) == 1 else None
    return None
