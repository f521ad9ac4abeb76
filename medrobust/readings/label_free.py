"""Accuracy estimated without labels, per cell against the truth: label_free.csv and a section.

Every method learns on the clean validation cell of its row, sees a cell of the evaluated split
without its labels, and is then judged by them. What counts is whether it errs less than "no change"
does, which says that accuracy is what it was on the validation images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from medrobust.evaluation.store import StoredCell
from medrobust.metrics.label_free import mean_absolute_error, nuclear_norm
from medrobust.reporting.figures import place
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section
from medrobust.types import Float64Array

from .cells.label_free_source import Estimate, Source

FEWEST_CELLS = 3
"""Cells of other corruptions that a line over nuclear norms needs."""

METHODS: Mapping[str, str] = {
    "no_change": "no change",
    "ac": "AC",
    "doc": "DoC",
    "atc_mc": "ATC-MC",
    "atc_ne": "ATC-NE",
    "cbpe": "CBPE",
    "cot": "COT",
    "cott": "COTT",
    "mandoline": "Mandoline",
    "nuclear_norm": "nuclear norm",
    "gde": "GDE (prompt sets)",
}
"""Method -> what tables call it."""

METRICS = {"accuracy": "accuracy", "auroc": "AUROC"}

COLUMNS = (
    "model", "label", "dataset", "split", "suite", "corruption", "severity", "metric", "method",
    "estimate", "low", "high", "truth", "error", "nuclear_norm", "n", "cell",
)  # fmt: skip

EMPTY = dict.fromkeys(("low", "high"), "a line through other cells is not drawn anew")

EXPLAINED = (
    "Mean absolute error, in points, of accuracy and AUROC estimated without labels, over all "
    "corrupted cells of a row; in brackets 95 % over images (validation and test drawn anew, each "
    "apart). Learned on clean validation images, at the temperature fitted there. Beyond no "
    'change: the error less that of "no change" on the same draws and cells; a method is of use '
    "where its whole bracket lies below 0. AC: mean confidence; DoC: difference of confidences; "
    "ATC: share above a threshold; CBPE: calibrated chance of the answer; COT, COTT: optimal "
    "transport; Mandoline: validation images weighted until confidences and answers occur as "
    "often; nuclear norm: a line through the cells of the other corruptions, whose accuracy it is "
    "told; GDE: how often prompt sets agree. No method is right under every change."
)


@dataclass(frozen=True, slots=True)
class LabelFree:
    """What may be asked.

    Args:
        transport: Also COT and COTT, which solve an assignment for every cell.
    """

    transport: bool = True


SETTINGS = LabelFree


@dataclass(frozen=True, slots=True)
class Estimated:
    """What one method says of one cell.

    Attributes:
        row: Of the matrix.
        place: Corruption and severity.
        cell: What was estimated.
        found: The estimate and the truth.
        norm: Nuclear norm of the probabilities, a score that goes with accuracy.
    """

    row: int
    place: tuple[str, int]
    cell: StoredCell
    found: Estimate
    norm: float


def section(report: Report) -> Section | None:
    """Return the table of errors where it was asked for and a row has a clean validation cell."""
    asked = report.readings.get("label_free")
    if asked is None:
        return None
    found = [
        (matrix, one)
        for matrix in report.matrices
        for one in estimates(matrix, transport=asked.transport)
    ]
    if not found:
        return None
    rows = [_csv_row(matrix, one) for matrix, one in found]
    return Section(
        "Accuracy without labels",
        order=58,
        shows="accuracy",
        html=_html(report.matrices, found),
        files={"label_free.csv": csv_bytes(rows, COLUMNS)},
        empty={"label_free.csv": EMPTY},
        rows={"label_free.csv": "a cell, metric and method"},
    )


def estimates(matrix: Matrix, *, transport: bool = True) -> Iterator[Estimated]:
    """Estimate every corrupted cell of every row that has a clean validation cell."""
    kind = matrix.data.label_kind
    if matrix.task.kind != "classification" or kind is None or matrix.data.labels.ndim != 1:
        return
    sources: dict[int, Source] = {}
    found: dict[int, list[Estimated]] = {}
    ordered = sorted(matrix.cells.items(), key=lambda pair: tuple(map(str, pair[0])))
    for (row, name, level), cell in ordered:
        known = matrix.measured.validation(cell)
        if known is None or level == 0 or cell.spec.split == "val":
            continue
        if row not in sources:
            sources[row] = Source(known, kind, transport)
        twins = [
            other
            for (r, *rest), other in matrix.cells.items()
            if r != row and rest == [name, level] and _same_model(other, cell)
        ]
        norm = nuclear_norm(sources[row].read(cell.arrays["logits"]).chances)
        for one in sources[row].estimate(cell, twins):
            found.setdefault(row, []).append(Estimated(row, (name, level), cell, one, norm))
    for own in found.values():
        yield from own
        yield from _by_norm(own)


def _by_norm(found: Sequence[Estimated]) -> Iterator[Estimated]:
    """Estimate the cells of each corruption by a line through those of all others.

    References:
        Deng et al., arXiv:2302.01094, who fit it on sets with labels, corrupted in known ways.
    """
    cells = [one for one in found if one.found.method == "no_change"]
    cells = [one for one in cells if one.found.metric == "accuracy"]
    for one in cells:
        others = [other for other in cells if other.place[0] != one.place[0]]
        norms = np.array([other.norm for other in others])
        if len(others) < FEWEST_CELLS or np.ptp(norms) < 1e-9:
            continue
        slope, start = np.polyfit(norms, [other.found.truth for other in others], 1)
        value = float(np.clip(start + slope * one.norm, 0.0, 1.0))
        estimate = replace(one.found, method="nuclear_norm", value=value, draws=np.empty(0))
        yield replace(one, found=estimate)


def _same_model(first: StoredCell, other: StoredCell) -> bool:
    """Say whether two cells differ in their prompts alone."""
    return bool(first.record["encoding_fingerprint"] == other.record["encoding_fingerprint"])


def _csv_row(matrix: Matrix, one: Estimated) -> dict[str, str]:
    low, high = _bounds(one.found.draws)
    return {
        "model": matrix.rows[one.row].model,
        "label": matrix.rows[one.row].label,
        "dataset": matrix.table.dataset,
        "split": matrix.table.split,
        "suite": matrix.table.suite,
        "corruption": one.place[0],
        "severity": str(one.place[1]),
        "metric": one.found.metric,
        "method": one.found.method,
        "estimate": number(one.found.value),
        "low": number(low),
        "high": number(high),
        "truth": number(one.found.truth),
        "error": number(one.found.value - one.found.truth),
        "nuclear_norm": number(one.norm),
        "n": str(len(one.cell.data)),
        "cell": one.cell.fingerprint,
    }


def _bounds(draws: Float64Array) -> tuple[float | None, float | None]:
    if not len(draws):
        return None, None
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def mean_errors(
    found: Sequence[Estimated], metric: str = "accuracy"
) -> dict[str, tuple[float, float | None, float | None]]:
    """Return method -> mean absolute error over cells, with its interval over images."""
    drawn = _drawn_errors(found, metric)
    return {method: (value, *_bounds(draws)) for method, (value, draws) in drawn.items()}


def beyond_no_change(
    found: Sequence[Estimated], metric: str = "accuracy"
) -> dict[str, tuple[float, float | None, float | None]]:
    """Return method -> mean error less that of "no change", with its interval over images.

    Both err on the same draws of images and the same cells: intervals of the two alone overlap
    long before that of their difference holds 0.
    """
    errors = {}
    for method in list(METHODS)[1:]:
        cells = [o.place for o in found if (o.found.method, o.found.metric) == (method, metric)]
        if not cells:
            continue
        both = _drawn_errors([one for one in found if one.place in cells], metric)
        (value, draws), (base, base_draws) = both[method], both["no_change"]
        errors[method] = value - base, *_bounds(draws - base_draws if len(draws) else draws)
    return errors


def _drawn_errors(found: Sequence[Estimated], metric: str) -> dict[str, tuple[float, Float64Array]]:
    """Return method -> mean absolute error over cells, and that of each draw."""
    errors = {}
    for method in METHODS:
        own = [o.found for o in found if (o.found.method, o.found.metric) == (method, metric)]
        if not own:
            continue
        value = mean_absolute_error([o.value for o in own], [o.truth for o in own])
        drawn = [np.abs(o.draws - o.truth_draws) for o in own if len(o.draws)]
        errors[method] = value, np.mean(drawn, axis=0) if drawn else np.empty(0)
    return errors


def _html(matrices: Sequence[Matrix], found: Sequence[tuple[Matrix, Estimated]]) -> str:
    parts = []
    for matrix in matrices:
        own = [one for other, one in found if other is matrix]
        for metric, called in METRICS.items():
            errors = []
            for index in sorted({one.row for one in own if one.found.metric == metric}):
                of_row = [one for one in own if one.row == index]
                errors.append((matrix.rows[index].label, mean_errors(of_row, metric)))
                errors.append(("beyond no change", beyond_no_change(of_row, metric)))
            if not errors:
                continue
            methods = [name for name in METHODS if any(name in one for _, one in errors)]
            rows = [[label, *(_shown(one.get(name)) for name in methods)] for label, one in errors]
            head = ["model", *(METHODS[name] for name in methods)]
            about = f"{place(matrix)} · {called}"
            parts.append(f"<h3>{escape(about)}</h3>{plain_table(head, rows, tight=True)}")
    return (
        '\n<section aria-labelledby="label-free"><h2 id="label-free">Accuracy without labels</h2>'
        f'<p class="soft small">{escape(EXPLAINED)}</p>{"".join(parts)}</section>'
    )


def _shown(error: tuple[float, float | None, float | None] | None) -> str:
    if error is None:
        return "–"
    value, low, high = error
    text = f"{100 * value:.1f}"
    return text if low is None or high is None else f"{text} [{100 * low:.1f}, {100 * high:.1f}]"
