"""What adapting answers online took: the share of images that it used, and time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medrobust.base.wording import counted
from medrobust.evaluation.store import StoredCell
from medrobust.reporting.expected import ExpectedTable
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.tables import number
from medrobust.tasks.base import ONLINE

from .lines import lines_of, told_apart

HEADS = ("model", "adaptation", "images used", "least in a cell", "seconds a cell")


def effort_rows(matrices: Sequence[Matrix]) -> list[dict[str, str]]:
    """Return one row a table and adaptation: means over its cells and orders.

    The share is that of images that changed what a method knew; it is empty where none are chosen.
    Seconds are those of the machine that computed the cells, encoding included.

    Args:
        matrices: Tables of the report.
    """
    rows = []
    for matrix in matrices:
        lines = lines_of(matrix)
        for line in lines:
            if ONLINE in line.cell.record["head"]:
                named = {"model": line.model, "adaptation": told_apart(line, lines)}
                cells = [c for place, c in matrix.cells.items() if place.row in line.rows]
                rows.append({"table": _title(matrix.table), **named, **_effort(cells)})
    return rows


def _title(table: ExpectedTable) -> str:
    parts = (f"{table.dataset}/{table.split}", table.version[:6], table.suite)
    return " · ".join(filter(None, parts))


def _effort(cells: Sequence[StoredCell]) -> dict[str, str]:
    shares = [made["used"] for cell in cells if "used" in (made := cell.record["adaptation"])]
    seconds = [float(cell.record.get("seconds", 0.0)) for cell in cells]
    return {
        "used": number(float(np.mean(shares)) if shares else None),
        "least": number(min(shares, default=None)),
        "seconds": number(float(np.mean(seconds))),
    }


def effort_lines(rows: Sequence[Mapping[str, str]], table: str) -> list[list[str]]:
    """Lay the rows of one table out: a line each, shares in percent."""
    return [
        [
            row["model"],
            row["adaptation"],
            *(f"{100 * float(row[key]):.1f} %" if row[key] else "–" for key in ("used", "least")),
            f"{float(row['seconds']):.2g}",
        ]
        for row in rows
        if row["table"] == table
    ]


def nothing_learned(matrices: Sequence[Matrix]) -> list[str]:
    """Say which methods learned nothing in how many of their cells, and why: a sentence each."""
    cells: dict[tuple[str, str], dict[str, bool]] = {}
    why: dict[tuple[str, str], str] = {}
    for matrix in matrices:
        for cell in matrix.cells.values():
            method, made = cell.record["head"].get(ONLINE), cell.record.get("adaptation") or {}
            if method is None or not {"used", "learned"} & made.keys():
                continue
            row = cell.spec.model, cell.spec.adapter
            idle = 0 in (made.get("used"), made.get("learned"))
            cells.setdefault(row, {})[cell.fingerprint] = idle
            if idle:
                why.setdefault(row, _why_nothing(method, len(matrix.data)))
    return [
        f"{row[1]} of {row[0]} learned nothing in {sum(cells[row].values())} of "
        f"{counted(len(cells[row]), 'cell')}: {reason}."
        for row, reason in why.items()
    ]


def _why_nothing(method: Mapping[str, Any], images: int) -> str:
    if method["method"] == "rotta":
        had = f"a cell has {images}" if method["protocol"] == "per_cell" else "fewer came at a time"
        return f"it learns after every {method['memory']} images (memory), and {had}"
    if method["method"] in ("clipartt", "watt"):
        return "of a micro-batch of one image there is nothing to learn"
    return "its filter let no image through"


RECOGNIZED_HEADS = ("model", "condition", "nearest to", "images", "then", "images")


def recognized_lines(matrix: Matrix) -> list[list[str]]:
    """Return which sentences of nuisances the images of each condition are nearest to.

    A line a cell of the method `nuisance`, the two sentences with most images each.

    Args:
        matrix: One table of the report.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    for cell in matrix.cells.values():
        found = (cell.record.get("adaptation") or {}).get("recognised") or {}
        first = sorted(found.items(), key=lambda one: -one[1])[:2]
        spec = cell.spec
        condition = f"{spec.corruption} s{spec.severity}" if spec.severity else "clean"
        named = [part for text, share in first for part in (text, f"{100 * share:.0f} %")]
        if len(named) == 4:
            lines.setdefault((spec.model, condition), [spec.model, condition, *named])
    return list(lines.values())
