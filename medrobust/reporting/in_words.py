"""What a report says, in sentences: which model, how much worse, under what, and how sure."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from medrobust.base.wording import agreeing, counted, listed
from medrobust.metrics import Estimate, compare_errors
from medrobust.metrics.estimates import written
from medrobust.tasks.base import Terms

from .by_metric import clean, mean, severity_mean
from .compare import LEVEL, Standing
from .figures import interval_text, place, with_range
from .markup import breakable
from .matrix import Matrix

if TYPE_CHECKING:
    from .report import Report

MOST_OPEN = 3
"""Tables up to which every sentence is seen at once; of more, they open on demand."""

MOST_LEVEL = 3
"""Models that are named where several do as well as one another."""


def in_words_html(report: "Report") -> str:
    """Write a paragraph a table, as a list where there are several."""
    told = [
        (f"m{number}", matrix, " ".join(in_words(report, number)))
        for number, matrix in enumerate(report.matrices)
    ]
    items = [
        f'<li><a href="#{anchor}">{breakable(place(matrix))}</a>: {escape(text)}</li>'
        for anchor, matrix, text in told
        if text
    ]
    if not items:
        return ""
    content = f"<ul>{''.join(items)}</ul>"
    if len(items) > MOST_OPEN:
        content = f"<details><summary>{counted(len(items), 'table')}</summary>{content}</details>"
    return f'<div class="words"><h2 id="words">In words</h2>{content}</div>'


def in_words(report: "Report", number: int) -> Iterator[str]:
    """Yield the sentences of one table: the best model, its worst corruption, the next best."""
    matrix = report.matrices[number]
    ranks = report.ranks[number][matrix.shown]
    row = _best(matrix, ranks)
    if row is None:
        return
    label, name = matrix.rows[row].label, matrix.metric.title
    chance = matrix.rows[row].at_chance
    one = len(matrix.rows) == 1
    level = _level_with(report, matrix, ranks, row)
    first = label if one else f"of {counted(len(matrix.rows), 'model')} {label} {_does(level)}"
    before, after = clean(matrix, matrix.shown, row), mean(matrix, matrix.shown, row)
    if after.value is None:
        yield f"{_upper(first)}: {name} {_number(matrix, before)} on clean images."
    else:
        levels = matrix.table.severities
        over = f"{agreeing(len(levels), 'severity')} {listed([str(level) for level in levels])}"
        columns = counted(len(matrix.table.corruptions), "corruption")
        yield (
            f"{_upper(first)}: {name} {_number(matrix, before)} on clean images and "
            f"{_number(matrix, after)} on average over {columns} at {over}{_change(matrix, row)}."
        )
        yield from _worst(matrix, row)
    if chance:
        yield (
            "On clean images it cannot be told from guessing: its losses and ratios mean nothing."
        )
    yield from _next(report, matrix, ranks, row)


def _best(matrix: Matrix, ranks: Sequence[Standing]) -> int | None:
    """Return the row that does best under corruption, else the only one with a number."""
    ranked = [row for row, standing in enumerate(ranks) if standing.rank is not None]
    if ranked:
        return min(ranked, key=lambda row: ranks[row].rank or 0)
    known = [r for r in range(len(matrix.rows)) if clean(matrix, matrix.shown, r).value is not None]
    return known[0] if len(known) == 1 else None


def _does(level: Sequence[str]) -> str:
    """Say how far a model is ahead of those that it cannot be told from.

    Example:
        >>> _does([]), _does(["A", "B"])
        ('does best', 'has the best number, but cannot be told from A and B')
    """
    if not level:
        return "does best"
    left = len(level) - MOST_LEVEL
    named = [*level[:MOST_LEVEL], *([counted(left, "other")] if left > 0 else [])]
    return f"has the best number, but cannot be told from {listed(named)}"


def _number(matrix: Matrix, found: Estimate) -> str:
    share = matrix.metric.share
    bounds = interval_text(found, share=share)
    value = written(found.value or 0.0, share=share) + (" %" if share else "")
    return value + (f" ({bounds})" if bounds else "")


def _change(matrix: Matrix, row: int) -> str:
    """Say by how much corruption moves the loss, paired image by image."""
    parts = [matrix.mean_terms(row, condition, matrix.shown) for condition in ("mean", "clean")]
    known = [part for part in parts if isinstance(part, Terms)]
    if len(known) < 2:
        return ""
    (found,) = compare_errors(
        np.stack([part.values for part in known]).astype(np.float64),
        np.array([[0, 1]]),
        labels=known[0].strata,
        groups=matrix.measured.groups(matrix.data, known[0]),
        key=f"medrobust turns/{matrix.data.fingerprint}",
        unbounded=known[0].unbounded,
    )
    return f": {_points(matrix, found.difference, found.low, found.high)}"


def _points(matrix: Matrix, difference: float, low: float | None, high: float | None) -> str:
    share = matrix.metric.share
    by, *ends = (written(each, share=share, sign="+") for each in (difference, low, high))
    sure = "" if low is None or high is None else f" ({' to '.join(ends)})"
    return f"{by}{' points' if share else ''}{sure}"


def _worst(matrix: Matrix, row: int) -> Iterator[str]:
    columns = range(len(matrix.table.corruptions))
    found = [(c, severity_mean(matrix, matrix.shown, row, c)) for c in columns]
    known = [(c, one) for c, one in found if one.value is not None]
    if len(known) < 2:
        return
    sign = -1 if matrix.metric.higher_is_better else 1
    c, worst = max(known, key=lambda pair: sign * (pair[1].value or 0.0))
    yield f"Worst under {matrix.table.corruptions[c]}: {_number(matrix, worst)}."


def _next(report: "Report", matrix: Matrix, ranks: Sequence[Standing], row: int) -> Iterator[str]:
    """Say how far the next model is behind, and whether chance could be why."""
    others = _others(ranks, row)
    if not others:
        return
    name = matrix.rows[others[0]].label
    value = with_range(mean(matrix, matrix.shown, others[0]), share=matrix.metric.share)
    line = _compared(report, matrix, row, others[0])
    if line is None or not line["low"]:
        yield f"Next: {name}, {value}."
        return
    turned = 1 if line["first"] == name else -1
    low, high = sorted(turned * float(line[side]) for side in ("low", "high"))
    sure = "which chance would hardly give" if _is_certain(line) else "which may be chance"
    points = _points(matrix, turned * float(line["difference"]), low, high)
    yield f"Next: {name}, {value}; {points}, {sure}."


def _others(ranks: Sequence[Standing], row: int) -> list[int]:
    """Return the ranked rows but one, the best first."""
    ranked = [r for r, standing in enumerate(ranks) if standing.rank is not None and r != row]
    return sorted(ranked, key=lambda r: ranks[r].rank or 0)


def _level_with(report: "Report", matrix: Matrix, ranks: Sequence[Standing], row: int) -> list[str]:
    """Name the models that a row cannot be told from: by their test, else by ranks that overlap."""
    level = []
    for other in _others(ranks, row):
        line = _compared(report, matrix, row, other)
        tested = line is not None and line["p_familywise"]
        if line is not None and tested:
            apart = _is_certain(line)
        else:
            apart = (ranks[row].high or 1) < (ranks[other].low or 1)
        if not apart:
            level.append(matrix.rows[other].label)
    return level


def _compared(report: "Report", matrix: Matrix, row: int, other: int) -> dict[str, str] | None:
    """Return the comparison of two rows by their means over the table, if there is one."""
    pair = {matrix.rows[row].label, matrix.rows[other].label}
    table = matrix.table
    place_ = (table.dataset, table.split, table.suite, "mean", matrix.shown)
    names = ("dataset", "split", "suite", "condition", "of")
    found = [
        line
        for line in report.comparisons
        if {line["first"], line["second"]} == pair and tuple(line[name] for name in names) == place_
    ]
    return found[0] if len(found) == 1 else None


def _is_certain(line: dict[str, str]) -> bool:
    return bool(line["p_familywise"]) and float(line["p_familywise"]) < LEVEL


def _upper(text: str) -> str:
    return text[0].upper() + text[1:] if text.startswith("of ") else text
