"""Operating limit: the mildest severity of a corruption at which a model errs more than it may.

Or at which it finds a class less often than it must.

Beside it, where the images were measured, their quality there: what to look for in real images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product

import numpy as np

from medrobust.base.wording import listed
from medrobust.exceptions import ConfigurationError, unknown_name
from medrobust.metrics.intervals import share_interval
from medrobust.reporting.aggregates import Place
from medrobust.reporting.markup import plain_table
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.report import Report
from medrobust.reporting.tables import csv_bytes, number
from medrobust.tasks.base import Section

from .cells.added_loss import added_loss

BESIDE = ("ssim", "psnr", "noise_sigma", "sharpness")
"""Measures that are given at a limit, where images were measured."""

COLUMNS = (
    *("model", "adapter", "label", "dataset", "split", "suite", "corruption", "of", "tolerance"),
    *("clean", "limit", "earliest", "latest", "highest_severity", *BESIDE),
)
OF_CLASSES = (
    *("model", "adapter", "label", "dataset", "split", "suite", "corruption", "class", "images"),
    *("sensitivity", "clean", "limit", "earliest", "latest", "highest_severity", *BESIDE),
)
EMPTY = {
    **dict.fromkeys(("limit", "earliest", "latest"), "it is reached at no severity of the table"),
    **dict.fromkeys(BESIDE, "there is no limit, or no such measure of the images there"),
}
"""Why numbers are empty."""


@dataclass(frozen=True, slots=True)
class OperatingLimit:
    """The operating limit, as a run asks for it.

    Args:
        tolerance: Points of error that a corruption may add.
        sensitivity: Least share of the images of a class that must be answered by it, in percent;
            null: not asked.
        classes: Names of the classes that it is asked of; null: of each.

    Raises:
        ConfigurationError: If a number is not from 0 to 100.
    """

    tolerance: float = 5
    sensitivity: float | None = None
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 100:
            raise ConfigurationError(
                f"readings.operating_limit.tolerance={self.tolerance} must lie between 0 and 100 "
                f"points."
            )
        if self.sensitivity is not None and not 1 <= self.sensitivity < 100:
            raise ConfigurationError(
                f"readings.operating_limit.sensitivity={self.sensitivity} must be from 1 to below "
                f"100: it is in percent, such as 90."
            )
        if self.classes is not None and (isinstance(self.classes, str) or not self.classes):
            raise ConfigurationError(
                f"readings.operating_limit.classes={self.classes!r}: write names of classes as a "
                f"list."
            )


SETTINGS = OperatingLimit


def section(report: Report) -> Section | None:
    """Return the table of limits, where it was asked for."""
    settings = report.readings.get("operating_limit")
    if settings is None:
        return None
    beside = (matrix for matrix in report.matrices if not matrix.task.of_models)
    images = [matrix for matrix in beside if not matrix.values.keys().isdisjoint(BESIDE)]
    models = [m for m in report.matrices if m.task.of_models and m.ratios]
    rows = [row for m in models for row in _rows(m, settings.tolerance / 100, images)]
    found = [row for m in models for row in _of_classes(m, settings, images)]
    if not rows:
        return None
    files = {"operating_limit.csv": csv_bytes(rows, COLUMNS)}
    says = {"operating_limit.csv": "a model and corruption"}
    html = _html(rows, settings.tolerance)
    if settings.sensitivity is not None:
        _check_classes(settings, models)
        files["operating_limit_classes.csv"] = csv_bytes(found, OF_CLASSES)
        says["operating_limit_classes.csv"] = "a model, corruption and class"
        html = html.replace("</section>", f"{_html_of_classes(found, settings)}</section>")
    shows = listed(list(dict.fromkeys(m.task.metrics[m.ratios[0]].title for m in models)))
    return Section(
        "Operating limits",
        order=65,
        html=html,
        files=files,
        rows=says,
        empty=dict.fromkeys(files, EMPTY),
        shows=shows,
    )


def _rows(matrix: Matrix, tolerance: float, images: Sequence[Matrix]) -> Iterator[dict[str, str]]:
    table, of = matrix.table, matrix.ratios[0]
    for row, named in enumerate(matrix.rows):
        for column in table.corruptions:
            added = _added(matrix, row, column, of)
            if added is None:
                continue
            limit, earliest, latest = limits(table.placed, added, tolerance)
            values = (
                named.model, named.adapter, named.label, table.dataset, table.split, table.suite,
                column, of, number(100 * tolerance), number(float(matrix.clean[of][row])),
                number(limit), number(earliest), number(latest), f"{max(table.placed):g}",
            )  # fmt: skip
            quality = _quality(matrix, images, column, limit)
            yield {**dict(zip(COLUMNS, values, strict=False)), **quality}


def _of_classes(
    matrix: Matrix, settings: OperatingLimit, images: Sequence[Matrix]
) -> Iterator[dict[str, str]]:
    """List the limits of each class that is asked of, by row and corruption."""
    table = matrix.table
    if settings.sensitivity is None or matrix.data.label_kind is None:
        return
    wanted = [
        (k, name)
        for k, name in enumerate(matrix.data.class_names)
        if settings.classes is None or name in settings.classes
    ]
    for row, column, (k, name) in product(range(len(matrix.rows)), table.corruptions, wanted):
        places = [Place.clean(row), *(Place(row, column, level) for level in table.severities)]
        found = [_sensitivity(matrix, place, k) for place in places]
        if any(one is None for one in found):
            continue
        shares = [one for one in found if one is not None]
        limit, earliest, latest = falls_below(table.placed, shares, settings.sensitivity / 100)
        named = matrix.rows[row]
        values = (
            named.model, named.adapter, named.label, table.dataset, table.split, table.suite,
            column, name, str(int(_own(matrix, k).sum())), number(settings.sensitivity),
            number(shares[0][0]), number(limit), number(earliest), number(latest),
            f"{max(table.placed):g}",
        )  # fmt: skip
        quality = _quality(matrix, images, column, limit)
        yield {**dict(zip(OF_CLASSES, values, strict=False)), **quality}


def _own(matrix: Matrix, k: int) -> "np.ndarray":
    """Return which units are of a class, bool (N,)."""
    labels = matrix.data.labels
    own: np.ndarray = labels[:, k] == 1 if labels.ndim == 2 else labels == k
    return own


def _sensitivity(matrix: Matrix, place: Place, k: int) -> tuple[float, float, float] | None:
    """Return the share of a class that is answered by it, with its interval; None without one."""
    cells, own = matrix.groups.get(place), _own(matrix, k)
    terms = matrix.measured.mean_terms(cells, "error") if cells and own.any() else None
    if terms is None:
        return None
    right = 1 - (terms.values[own, k] if terms.values.ndim == 2 else terms.values[own])
    groups = matrix.measured.groups(matrix.data, terms)
    low, high = share_interval(right, None if groups is None else groups[own])
    return float(right.mean()), low, high


def falls_below(
    severities: Sequence[float], shares: Sequence[tuple[float, float, float]], least: float
) -> tuple[float | None, float | None, float | None]:
    """Return where a share first falls below what it must be: likely, at the earliest, at latest.

    Interpolated as in `limits`; 0 where it is too small on clean images already.

    Args:
        severities: Ascending.
        shares: Value, lower and upper bound on clean images and at each severity.
        least: As a share.

    Example:
        >>> found = falls_below([2, 4], [(0.9, 0.8, 1.0), (0.7, 0.6, 0.8), (0.3, 0.2, 0.4)], 0.8)
        >>> tuple(round(severity, 6) for severity in found)
        (1.0, 0.0, 2.0)
    """
    value, low, high = (
        _crossing([0, *severities], [1 - each[part] for each in shares], 1 - least)
        for part in range(3)
    )
    return value, low, high


def _check_classes(settings: OperatingLimit, models: Sequence[Matrix]) -> None:
    """Refuse a class that no data set has.

    Raises:
        UnknownNameError: With the near misses.
    """
    known = {name for matrix in models for name in matrix.data.class_names}
    for name in settings.classes or ():
        if name not in known:
            raise unknown_name("class", str(name), sorted(known))


def _added(
    matrix: Matrix, row: int, column: str, of: str
) -> list[tuple[float, float, float]] | None:
    """Return what each severity adds to the clean error, with its paired interval, in its order."""
    places = [Place(row, column, severity) for severity in matrix.table.severities]
    clean = matrix.groups.get(Place.clean(row))
    if clean is None or not all(place in matrix.groups for place in places):
        return None
    at = {float(place.severity): matrix.groups[place] for place in places}
    found = added_loss(matrix.measured, clean, at, of)
    return None if found is None else list(found.values())


def limits(
    severities: Sequence[float], added: Sequence[tuple[float, float, float]], tolerance: float
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


def _crossing(severities: Sequence[float], added: Sequence[float], level: float) -> float | None:
    place, before = 0.0, 0.0
    for severity, value in zip(severities, added, strict=True):
        if value >= level:
            if severity == place:  # clean images themselves
                return place
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
        at = [0.0, *table.placed]
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


def _html_of_classes(rows: Sequence[Mapping[str, str]], settings: OperatingLimit) -> str:
    """Write the table of classes, or say that none has images."""
    if not rows:
        return "<p>No class that was asked for has images in these cells.</p>"
    measures = [name for name in BESIDE if any(row[name] for row in rows)]
    heads = ["model", "data", "class", "images", "corruption", "clean, %", "limit (severity)"]
    lines = [
        [
            *(row["label"], f"{row['dataset']}/{row['split']}", row["class"], row["images"]),
            *(row["corruption"], f"{100 * float(row['clean']):.1f}", _shown(row)),
            *(f"{float(row[name]):.3g}" if row[name] else "–" for name in measures),
        ]
        for row in rows
    ]
    text = (
        f"The mildest severity at which fewer than {settings.sensitivity:g} % of the images of a "
        "class are answered by it; 0 where that is so on clean images. In brackets: where the "
        "lower and where the upper end of the 95 % interval of that share crosses the line."
    )
    table = plain_table([*heads, *measures], lines, tight=True)
    return f'<h3>By class</h3>{table}<p class="soft small">{escape(text)}</p>'


def _shown(row: Mapping[str, str]) -> str:
    highest = row["highest_severity"]
    value = f"{float(row['limit']):.1f}" if row["limit"] else f"none up to {highest}"
    ends = [f"{float(row[end]):.1f}" if row[end] else "none" for end in ("earliest", "latest")]
    return f"{value} [{ends[0]}, {ends[1]}]"
