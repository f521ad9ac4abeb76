"""Operating limit: the mildest severity of each corruption at which a model errs more than it may.

Beside it, where the images were measured, their quality there: what to look for in real images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from medrobust.exceptions import ConfigurationError
from medrobust.metrics.aggregates import error_influence
from medrobust.metrics.intervals import Bounds, mean_interval
from medrobust.reporting.aggregates import Place
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section
from medrobust.types import Float64Array

BESIDE = ("ssim", "psnr", "noise_sigma", "sharpness")
"""Measures that are given at a limit, where images were measured."""

COLUMNS = (
    *("model", "adapter", "label", "dataset", "split", "suite", "corruption", "of", "tolerance"),
    *("clean", "limit", "earliest", "latest", "highest_severity", *BESIDE),
)


@dataclass(frozen=True, slots=True)
class OperatingLimit:
    """The operating limit, as a run asks for it.

    Args:
        tolerance: Points of error that a corruption may add.

    Raises:
        ConfigurationError: If it is not from 0 to 100.
    """

    tolerance: float = 5

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 100:
            raise ConfigurationError(
                f"operating_limit.tolerance={self.tolerance} must lie between 0 and 100 points."
            )


SETTINGS = OperatingLimit


def section(report: Report) -> Section | None:
    """Return the table of limits, where it was asked for."""
    settings = report.readings.get("operating_limit")
    if settings is None:
        return None
    images = [matrix for matrix in report.matrices if not matrix.task.of_models]
    rows = [
        row
        for matrix in report.matrices
        if matrix.task.of_models and matrix.ratios
        for row in _rows(matrix, settings.tolerance / 100, images)
    ]
    if not rows:
        return None
    return Section(
        "Operating limits",
        order=65,
        html=_html(rows, settings.tolerance),
        files={"operating_limit.csv": csv_bytes(rows, COLUMNS)},
        rows={"operating_limit.csv": "a model and corruption"},
    )


def _rows(matrix: Matrix, tolerance: float, images: Sequence[Matrix]) -> Iterator[dict[str, str]]:
    table, of = matrix.table, matrix.ratios[0]
    for row, named in enumerate(matrix.rows):
        for column in table.corruptions:
            added = _added(matrix, row, column, of)
            if added is None:
                continue
            limit, earliest, latest = limits(table.severities, added, tolerance)
            values = (
                named.model, named.adapter, named.label, table.dataset, table.split, table.suite,
                column, of, number(100 * tolerance), number(float(matrix.clean[of][row])),
                number(limit), number(earliest), number(latest), str(max(table.severities)),
            )  # fmt: skip
            quality = _quality(matrix, images, column, limit)
            yield {**dict(zip(COLUMNS, values, strict=False)), **quality}


def _added(
    matrix: Matrix, row: int, column: str, of: str
) -> list[tuple[float, float, float]] | None:
    """Return what each severity adds to the clean error, with its paired interval, in its order."""
    places = [Place(row, column, severity) for severity in matrix.table.severities]
    clean = matrix.groups.get(Place.clean(row))
    if clean is None or not all(place in matrix.groups for place in places):
        return None
    before = matrix.measured.mean_terms(clean, of)
    found = []
    for place in places:
        after = matrix.measured.mean_terms(matrix.groups[place], of)
        if before is None or after is None:
            return None
        groups = matrix.measured.groups(matrix.data, after.unit)
        difference = error_influence(after.values, after.strata)
        difference = difference - error_influence(before.values, before.strata)
        value = after.value - before.value
        low, high = _interval(difference, groups, value)
        found.append((value, low, high))
    return found


def _interval(influence: Float64Array, groups: "np.ndarray | None", value: float) -> Bounds:
    low, high = mean_interval(influence, groups, value=value, limits=(-1.0, 1.0))
    return min(low, value), max(high, value)


def limits(
    severities: Sequence[int], added: Sequence[tuple[float, float, float]], tolerance: float
) -> tuple[float | None, float | None, float | None]:
    """Return where the added error first exceeds the tolerance: likely, at the earliest, at latest.

    Between severities it is interpolated on a straight line, from 0 points at severity 0; None
    where it is not reached at any.

    Args:
        severities: Ascending.
        added: Value, lower and upper bound of the added error at each.
        tolerance: As a share.

    Example:
        >>> limits([1, 3], [(0.0, 0.0, 0.0), (0.5, 0.25, 1.0)], 0.25)
        (2.0, 1.5, 3.0)
    """
    value, low, high = (
        _crossing(severities, [each[part] for each in added], tolerance) for part in range(3)
    )
    return value, high, low


def _crossing(severities: Sequence[int], added: Sequence[float], level: float) -> float | None:
    place, before = 0.0, 0.0
    for severity, value in zip(severities, added, strict=True):
        if value >= level:
            return float(place + (severity - place) * (level - before) / (value - before))
        place, before = float(severity), value
    return None


def _quality(
    matrix: Matrix, images: Sequence[Matrix], column: str, limit: float | None
) -> dict[str, str]:
    """Return the mean of measures at a limit, interpolated between severities."""
    table = matrix.table
    beside = next(
        (
            one
            for one in images
            if one.data.fingerprint == matrix.data.fingerprint
            and (one.table.suite, one.table.severities) == (table.suite, table.severities)
            and column in one.table.corruptions
        ),
        None,
    )
    if beside is None or limit is None:
        return dict.fromkeys(BESIDE, "")
    place = beside.table.corruptions.index(column)
    found = {}
    for name in BESIDE:
        known = name in beside.values
        means = beside.values[name][0, place] if known else np.full(len(table.severities), np.nan)
        clean = float(beside.clean[name][0]) if known else np.nan
        at = [0.0, *map(float, table.severities)]
        if np.isnan(clean):  # PSNR of unchanged images is infinite
            at, means = at[1:], means
            value = np.nan if limit < at[0] else np.interp(limit, at, means)
        else:
            value = np.interp(limit, at, [clean, *means])
        found[name] = "" if np.isnan(value) else number(float(value))
    return found


def _html(rows: Sequence[Mapping[str, str]], tolerance: float) -> str:
    measures = [name for name in BESIDE if any(row[name] for row in rows)]
    heads = ["model", "data", "corruption", "limit (severity)", *measures]
    lines = [
        [
            row["label"],
            f"{row['dataset']}/{row['split']}",
            row["corruption"],
            _shown(row),
            *(f"{float(row[name]):.3g}" if row[name] else "–" for name in measures),
        ]
        for row in rows
    ]
    text = (
        f"The mildest severity at which a corruption adds more than {tolerance:g} points of error "
        "to that of clean images, interpolated between severities on a straight line. In brackets: "
        "from where the upper to where the lower end of the paired 95 % interval of the added "
        "error crosses the line; “none” where no severity does. Beside it the mean quality of the "
        "images there, where they were measured (quality=default)."
    )
    return (
        '\n<section aria-labelledby="limits"><h2 id="limits">Operating limits</h2>'
        f'{plain_table(heads, lines, tight=True)}<p class="soft small">{escape(text)}</p></section>'
    )


def _shown(row: Mapping[str, str]) -> str:
    highest = row["highest_severity"]
    value = f"{float(row['limit']):.1f}" if row["limit"] else f"none up to {highest}"
    ends = [f"{float(row[end]):.1f}" if row[end] else "none" for end in ("earliest", "latest")]
    return f"{value} [{ends[0]}, {ends[1]}]"
