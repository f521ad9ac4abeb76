"""Image quality against correctness: which measure of an image says that its answer is wrong.

Needs cells of images beside those of models: `quality=default` in the run. Cells of quality prompts
(`task=quality_prompts`) and distances to the own report (`task=own_report`) that judge by the
features of these answers are measures, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from medrobust.base.csv_text import ends
from medrobust.base.rows_by_id import rows_by_id
from medrobust.evaluation.store import StoredCell
from medrobust.exceptions import ConfigurationError
from medrobust.metrics.intervals import Bounds, share_interval
from medrobust.metrics.quality_curves import failure_area, isotonic, logistic, rank_correlation
from medrobust.readings.cells.measured import MEASURES, images_of, of_images
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.measure import encoding_of
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section, Terms
from medrobust.types import Float64Array, Int64Array

POOLED = "all conditions"

COLUMNS = (
    *("model", "adapter", "label", "dataset", "split", "suite", "corruption", "severity"),
    *("measure", "rank_correlation", "rank_correlation_low", "rank_correlation_high"),
    *("failure_auroc", "failure_auroc_low", "failure_auroc_high", "wrong", "n"),
)
EMPTY = {
    **dict.fromkeys(
        ends("rank_correlation"), "answers are all right or all wrong, or the measure is one value"
    ),
    **dict.fromkeys(ends("failure_auroc"), "answers are all right or all wrong"),
}
"""Why numbers are empty."""

CURVE_COLUMNS = (
    *("model", "adapter", "label", "dataset", "split", "suite", "measure", "part"),
    *("from", "to", "n", "right", "right_low", "right_high", "isotonic", "logistic"),
)
PARTS = 10
"""Equal parts of the images by a measure, of which the chance of a right answer is given."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Image quality against correctness, as a run asks for it.

    Args:
        shown: Measures in the table of the page, those that tell most first; all are in the files.

    Raises:
        ConfigurationError: If none is shown.
    """

    shown: int = 6

    def __post_init__(self) -> None:
        if self.shown < 1:
            raise ConfigurationError(f"readings.quality.shown={self.shown} must be at least 1.")


SETTINGS = Quality


@dataclass(frozen=True, slots=True)
class Seen:
    """One condition of one model: answers and measures of the same images.

    Attributes:
        names: What names the condition in a table.
        wrong: bool (N,).
        measures: Measure -> float64 (N,).
    """

    names: Mapping[str, str]
    wrong: Any
    measures: Mapping[str, Float64Array]


def section(report: Report) -> Section | None:
    """Return tables of what measures say, where that was asked for."""
    settings = report.readings.get("quality")
    if settings is None:
        return None
    images = _measured(report.matrices)
    rows: list[dict[str, str]] = []
    curves: list[dict[str, str]] = []
    texts = []
    for matrix in report.matrices:
        if not matrix.task.of_models:
            continue
        for row in range(len(matrix.rows)):
            seen = list(_seen(matrix, row, images))
            if seen:
                found, parts = _of_row(seen, matrix.measured.groups(matrix.data))
                rows, curves = rows + found, curves + parts
                texts.append(_html(matrix, row, found, settings.shown))
    if not rows:
        note = (
            "No image of these tables was measured: add quality=default to the run, or another run "
            "of the same model with task=quality_prompts or task=own_report."
        )
        return Section(
            "Image quality against correctness", order=64, html=_section(f"<p>{note}</p>")
        )
    files = {
        "quality.csv": csv_bytes(rows, COLUMNS),
        "quality_curves.csv": csv_bytes(curves, CURVE_COLUMNS),
    }
    return Section(
        "Image quality against correctness",
        order=64,
        shows="whether an answer is right (plain error)",
        html=_section("".join(texts)),
        files=files,
        empty={"quality.csv": EMPTY},
        rows={"quality.csv": "a model, condition and measure", "quality_curves.csv": "a part"},
        curves={
            "quality.csv": [("severity", "failure_auroc", "measure")],
            "quality_curves.csv": [("part", "right", "measure")],
        },
    )


def _measured(matrices: Sequence[Matrix]) -> dict[str, list[StoredCell]]:
    """Return cells of measures by what decides what was measured: images, or their features."""
    found: dict[str, list[StoredCell]] = {}
    for matrix in matrices:
        for group in () if matrix.task.of_models else matrix.groups.values():
            for cell in group:
                key = images_of(cell) if of_images(cell) else encoding_of(cell)
                found.setdefault(key, []).append(cell)
    return found


def _seen(matrix: Matrix, row: int, images: Mapping[str, list[StoredCell]]) -> Iterator[Seen]:
    named = matrix.rows[row]
    table = matrix.table
    fixed = (named.model, named.adapter, named.label, table.dataset, table.split, table.suite)
    for place, group in matrix.groups.items():
        for cell in group if place.row == row else ():
            wrong = next(
                (
                    terms.values
                    for terms in matrix.measured.scores(cell).terms.values()
                    if isinstance(terms, Terms)
                    and terms.values.dtype == bool
                    and terms.values.ndim == 1
                    and terms.rows is None
                ),
                None,
            )
            beside = [*images.get(images_of(cell), ()), *images.get(encoding_of(cell), ())]
            columns = [
                (name, values)
                for one in beside
                for rows in (rows_by_id(cell.data.ids, one.data.ids),)
                if rows is not None
                for name, values in zip(
                    one.head[MEASURES], one.arrays[MEASURES][rows].T, strict=True
                )
            ]
            if wrong is None or not columns or any(len(wrong) != len(v) for _, v in columns):
                continue
            condition = (place.corruption, str(place.severity))
            names = dict(zip(COLUMNS, (*fixed, *condition), strict=False))
            yield Seen(names, wrong, dict(columns))


def _of_row(
    seen: Sequence[Seen], patients: Int64Array | None
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return a row a measure and condition, pooled first; and parts of the images by a measure."""
    rows, curves = [], []
    images = len(seen[0].wrong)
    own = np.arange(images) if patients is None else patients
    for measure in dict.fromkeys(name for one in seen for name in one.measures):
        having = [one for one in seen if measure in one.measures]
        everyone = np.tile(own, len(having))
        wrong = np.concatenate([one.wrong for one in having])
        values = np.concatenate([one.measures[measure] for one in having])
        pooled = {**seen[0].names, "corruption": POOLED, "severity": ""}
        rows.append(_row(pooled, measure, values, wrong, everyone))
        curves += _curve(pooled, measure, values, wrong, everyone)
        rows += [
            _row(one.names, measure, one.measures[measure], one.wrong, patients) for one in having
        ]
    return rows, curves


def _row(
    names: Mapping[str, str], measure: str, values: Any, wrong: Any, groups: Int64Array | None
) -> dict[str, str]:
    known = np.isfinite(values)
    groups = None if groups is None else _codes(groups[known])
    given = (values[known], wrong[known], groups)
    found = {"measure": measure, "wrong": str(int(wrong[known].sum())), "n": str(int(known.sum()))}
    some = known.any()
    for name, one in (
        ("rank_correlation", rank_correlation(*given) if some else None),
        ("failure_auroc", failure_area(*given) if some else None),
    ):
        found |= _with_ends(name, one)
    return {**names, **found}


def _with_ends(name: str, found: tuple[float, Bounds] | None) -> dict[str, str]:
    keys = (name, f"{name}_low", f"{name}_high")
    if found is None:
        return dict.fromkeys(keys, "")
    value, (low, high) = found
    return dict(zip(keys, map(number, (value, min(low, value), max(high, value))), strict=True))


def _codes(groups: Int64Array) -> Int64Array:
    return np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _curve(
    names: Mapping[str, str], measure: str, values: Any, wrong: Any, groups: Int64Array
) -> list[dict[str, str]]:
    """Cut the images into equal parts by a measure: chance of a right answer in each."""
    known = np.isfinite(values)
    area = failure_area(values[known], wrong[known])
    if area is None or len(np.unique(values[known])) < PARTS:
        return []
    values, right, groups = values[known], ~wrong[known], groups[known]
    smooth = isotonic(values, right, rising=area[0] < 0.5), logistic(values, right)
    order = np.argsort(values, kind="stable")
    made = []
    for part, rows in enumerate(np.array_split(order, PARTS), 1):
        low, high = share_interval(right[rows].astype(np.float64), _codes(groups[rows]))
        made.append(
            {
                **{k: v for k, v in names.items() if k not in ("corruption", "severity")},
                "measure": measure,
                "part": str(part),
                "from": number(float(values[rows].min())),
                "to": number(float(values[rows].max())),
                "n": str(len(rows)),
                "right": number(float(right[rows].mean())),
                "right_low": number(low),
                "right_high": number(high),
                "isotonic": number(float(smooth[0][rows].mean())),
                "logistic": number(float(smooth[1][rows].mean())),
            }
        )
    return made


def _html(matrix: Matrix, row: int, found: Sequence[Mapping[str, str]], shown: int) -> str:
    pooled = [r for r in found if r["corruption"] == POOLED and r["failure_auroc"]]
    pooled.sort(key=lambda r: -abs(float(r["failure_auroc"]) - 0.5))
    lines = [
        (
            r["measure"],
            _ends(r, "failure_auroc"),
            "large" if float(r["failure_auroc"]) > 0.5 else "small",
            _ends(r, "rank_correlation"),
        )
        for r in pooled[:shown]
    ]
    heads = ("measure", "AUROC of failure", "wrong where it is", "rank correlation with error")
    table, label = matrix.table, matrix.rows[row].label
    title = f"{label} · {table.dataset}/{table.split} · {table.suite}, all conditions together"
    return f"<p>{escape(title)}</p>{plain_table(heads, lines, tight=True)}"


def _ends(row: Mapping[str, str], name: str) -> str:
    value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


EXPLAINED = (
    "AUROC of failure: how often the image of a wrong answer has the larger value than that of a "
    "right one; 0.5 says nothing, and below it small values go with wrong answers. In brackets: "
    "95 % intervals over patients. Over all conditions together a measure is also told apart by "
    "which corruption it sees: quality.csv has each condition alone. A measure of a whole image "
    "hardly moves when a small finding is erased: what it does not see, no limit on it catches."
)


def _section(inside: str) -> str:
    return (
        '\n<section aria-labelledby="quality"><h2 id="quality">Image quality against correctness'
        f'</h2>{inside}<p class="soft small">{escape(EXPLAINED)}</p></section>'
    )
