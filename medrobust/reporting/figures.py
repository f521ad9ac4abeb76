"""Static figures by matplotlib, on Figure objects: no global state, no display."""

from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from medrobust.base.wording import counted
from medrobust.corruptions.suites import suites
from medrobust.metrics import Estimate
from medrobust.metrics.estimates import DOUBTFUL, written

from .by_metric import printed_estimates
from .drawing import STYLES, broken, legend_below, own_settings, plain_axes, printed, svg
from .expected import ExpectedTable
from .matrix import Matrix
from .tables import coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 7
"""Models whose curves are drawn: one a style."""

FEW_COLUMNS = 3
"""Corruptions up to which a part of a suite is named one by one."""

MOST_NAMES = 14
"""Models that a legend names."""

LONGEST_BESIDE = 20
"""Letters of a name that stands beside a plot."""

LONGEST_ROW = 34
"""Letters of a row's name in one line of a heat map."""

_STOPS = (
    (0.0, (247, 250, 252)),
    (0.35, (178, 208, 226)),
    (0.7, (62, 126, 170)),
    (1.0, (12, 52, 92)),
)
"""Light to dark in one hue: lightness falls all the way, so it reads in grey and colour-blind."""


def shade(share: float) -> tuple[str, str]:
    """Return background and text color, "#rrggbb", of a share of the scale in [0, 1]."""
    share = min(max(share, 0.0), 1.0)
    places = [place for place, _ in _STOPS]
    red, green, blue = (
        round(float(np.interp(share, places, [color[i] for _, color in _STOPS]))) for i in range(3)
    )
    linear = (((level / 255 + 0.055) / 1.055) ** 2.4 for level in (red, green, blue))
    luminance = sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    dark = luminance < 0.2  # where white and dark ink have the same contrast (WCAG 2)
    return f"#{red:02x}{green:02x}{blue:02x}", "#ffffff" if dark else "#101820"


def title(matrix: Matrix, of: str | None = None) -> str:
    """Name the table: data set, split, corruptions and metric.

    Args:
        matrix: The table.
        of: Metric; None: the one that is shown.
    """
    metric = matrix.task.metrics[of or matrix.shown]
    return f"{place(matrix)} · {metric.title}{metric.percent_sign}"


def place(matrix: Matrix) -> str:
    """Name the table without its metric, which tells it from another task's."""
    table = matrix.table
    over = f" · {columns_named(table)}" if table.corruptions else ""
    version = f" (data {table.version[:8]})" if table.version else ""
    return f"{table.dataset}/{table.split}{version}{over}"


def columns_named(table: ExpectedTable) -> str:
    """Name the columns: by their suite where all of it is there, else by themselves or counted."""
    if table.suite not in suites():
        return table.suite
    whole = suites(table.suite)
    if set(table.corruptions) >= set(whole):
        return table.suite
    if len(table.corruptions) <= FEW_COLUMNS:
        return ", ".join(table.corruptions)
    return f"{len(table.corruptions)} of {counted(len(whole), 'corruption')} of {table.suite}"


def scale_top(matrix: Matrix) -> float:
    """Return the value that is darkest: the largest shown; of a share up to the next tenth."""
    shown = matrix.clean[matrix.shown]
    if matrix.table.corruptions:
        shown = np.r_[shown, matrix.values[matrix.shown].mean(axis=2).ravel()]
    largest = float(np.nanmax(shown)) if np.isfinite(shown).any() else 1.0
    if not matrix.metric.share:
        return largest if largest > 0 else 1.0
    return min(1.0, max(0.1, float(np.ceil(largest * 10 - 1e-9)) / 10))


def matrix_png(matrices: Sequence[Matrix]) -> bytes:
    """Draw all matrices below one another as a heat map: PNG bytes."""
    with own_settings():
        return _png(_heat_figure(matrices))


def _heat_figure(matrices: Sequence[Matrix]) -> "Figure":
    from matplotlib.figure import Figure

    width = max(5.0, *(3.2 + 0.78 * (len(m.table.corruptions) + 3) for m in matrices))
    heights = [
        1.54
        + 0.16 * len(_title_lines(m))
        + _row_height(m) * len(m.rows)
        + 0.13 * len(_below(m, width))
        for m in matrices
    ]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(matrices), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, matrix in zip(axes, matrices, strict=True):
        _heat_map(axis, matrix, width)
    return figure


def _heat_map(axis: "Axes", matrix: Matrix, width: float) -> None:
    columns = ["clean", *matrix.table.corruptions, "mean", "mCE"]
    top = scale_top(matrix)
    for row, line in enumerate(heat_cells(matrix)):
        for column, (text, value) in enumerate(line):
            back, ink = ("white", "#101820") if value is None else shade(value / top)
            axis.add_patch(_square(column, row, back))
            lines = text.replace(" [", "\n[").replace("; ", "\n")
            axis.text(
                column,
                row,
                lines,
                ha="center",
                va="center",
                color=ink,
                size=9 - 2 * ("\n" in lines),
            )
    axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(matrix.rows) - 0.5, -0.5))
    axis.set_xticks(range(len(columns)), [c.replace("_", "\n") for c in columns], size=8)
    labels = _row_names(matrix)
    axis.set_yticks(range(len(matrix.rows)), labels, size=9)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title("\n".join(_title_lines(matrix)), loc="left", size=10, weight="bold", pad=10)
    if marks := _below(matrix, width):
        axis.set_xlabel("\n".join(marks), size=8, loc="left", style="italic")


def _title_lines(matrix: Matrix) -> list[str]:
    """Break the title of a heat map into lines that its columns are as wide as."""
    return wrap(title(matrix), int(8.4 * (len(matrix.table.corruptions) + 3)))


def _row_names(matrix: Matrix) -> list[str]:
    """Return the names of the rows, long ones over several lines."""
    return [broken(row.marked, LONGEST_ROW) for row in matrix.rows]


def _row_height(matrix: Matrix) -> float:
    """Return the height of a row, in inches: of two lines, or of the longest name."""
    lines = max((name.count("\n") + 1 for name in _row_names(matrix)), default=1)
    return max(0.42, 0.16 * lines)


def _below(matrix: Matrix, width: float) -> list[str]:
    """Break what stands below a table into lines that fit a picture of that width, in inches."""
    broken = (wrap(mark, int(14 * width)) for mark in (*matrix.remarks, *matrix.legend))
    return [line for lines in broken for line in lines]


def _square(column: int, row: int, color: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=color, edgecolor="none")


def heat_cells(matrix: Matrix) -> list[list[tuple[str, float | None]]]:
    """Return for each row (text, value to shade by or None): clean, corruptions, mean, mCE."""
    return [_heat_row(matrix, row, line) for row, line in enumerate(printed_estimates(matrix))]


def interval_text(found: Estimate, *, share: bool = True) -> str:
    """Print an interval, that of a share in percent, or nothing; § where it is to be doubted."""
    if found.low is None or found.high is None:
        return ""
    mark = DOUBTFUL if found.doubtful else ""
    return f"{written(found.low, share=share)}–{written(found.high, share=share)}{mark}"


def with_range(found: Estimate, *, share: bool = True) -> str:
    """Print a number and its interval, of a share in percent; a dash where there is none."""
    bounds = interval_text(found, share=share) if found.value is not None else ""
    return written(found.value, share=share) + (f" ({bounds})" if bounds else "")


def _heat_row(
    matrix: Matrix, row: int, printed: Sequence[Estimate]
) -> list[tuple[str, float | None]]:
    values = [found.value for found in printed]
    covers, shares = parts(matrix, row), printed_shares(matrix)
    texts = [
        written(value, share=share) + part
        for value, share, part in zip(values, shares, covers, strict=True)
    ]
    return list(zip(texts, [*values[:-1], None], strict=True))


def parts(matrix: Matrix, row: int, of: str | None = None) -> list[str]:
    """Return what each of `printed_estimates` covers where that is not all, such as " [s1,3]"."""
    name = of or matrix.shown
    means = (matrix.mean(name, row), matrix.mce(name, row))
    covers = ["" if mean.value is None else coverage(matrix, mean) for mean in means]
    return [*[""] * (1 + len(matrix.table.corruptions)), *covers]


def printed_shares(matrix: Matrix, of: str | None = None) -> list[bool]:
    """Say which of `printed_estimates` are in percent: mCE always, the others where shares are."""
    share = matrix.task.metrics[of or matrix.shown].share
    return [share] * (2 + len(matrix.table.corruptions)) + [True]


def curves_svg(matrix: Matrix) -> str:
    """Draw a panel a corruption, error over severity, a line a model: SVG to stand in a page."""
    return svg(lambda ink: curves_figure(matrix, ink), f"curves {title(matrix)}")


def scatter_svg(matrix: Matrix) -> str:
    """Draw each model's mean on corrupted images over that on clean ones: SVG for a page."""
    return svg(lambda ink: scatter_figure(matrix, ink), f"scatter {title(matrix)}")


def drawn_rows(matrix: Matrix) -> list[int]:
    """Return the rows that curves show: all, or of many the reference and the best."""
    rows = list(range(len(matrix.rows)))
    if len(rows) <= MOST_LINES:
        return rows
    sign = -1 if matrix.metric.higher_is_better else 1
    means = {row: matrix.mean(matrix.shown, row).value for row in rows}
    losses = {row: sign * mean for row, mean in means.items() if mean is not None}
    known = sorted(losses, key=lambda row: (losses[row], row))
    own = [row for row in rows if matrix.rows[row].label == matrix.reference]
    return sorted(dict.fromkeys([*own, *known[: MOST_LINES - len(own)]]))


def curves_figure(matrix: Matrix, ink: str = "black") -> "Figure":
    """Draw curves with 95 % bands; of more than seven models the best seven."""
    from matplotlib.figure import Figure

    names = matrix.table.corruptions
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(2.55 * across, 2.3 * down + 0.5), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for column, axis in enumerate(axes):
        _panel(axis, matrix, column, ink) if column < len(names) else axis.set_visible(False)
    legend_below(figure, axes[0], ink, across=across)
    return figure


def _panel(axis: "Axes", matrix: Matrix, column: int, ink: str) -> None:
    severities = (0, *matrix.table.severities)
    shown, factor = matrix.shown, matrix.metric.factor
    for row in drawn_rows(matrix):
        color, marker, dashes = STYLES[row % len(STYLES)]
        values, low, high = (
            factor * np.r_[clean[shown][row], corrupted[shown][row, column]]
            for clean, corrupted in (
                (matrix.clean, matrix.values),
                (matrix.clean_low, matrix.low),
                (matrix.clean_high, matrix.high),
            )
        )
        axis.fill_between(severities, low, high, color=color, alpha=0.13, linewidth=0)
        axis.plot(
            severities, values, color=color, marker=marker, linestyle=dashes,
            markersize=4, linewidth=1.5, label=matrix.rows[row].marked,
        )  # fmt: skip
    axis.set_title(matrix.table.corruptions[column].replace("_", " "), size=9, color=ink)
    axis.set_xticks(severities, ["clean", *map(str, matrix.table.severities)], size=8)
    axis.set_xlabel("severity", color=ink, size=8)
    plain_axes(axis, ink)
    axis.tick_params(axis="x", labelbottom=True)
    largest = float(np.nanmax(matrix.high[shown])) if np.isfinite(matrix.high[shown]).any() else 1.0
    top = max(scale_top(matrix), largest)
    if matrix.metric.share:
        axis.set_ylim(0, 100 * top + 2)
    else:
        axis.set_ylim(min(0.0, float(np.nanmin(np.r_[matrix.low[shown].ravel(), 0.0]))), 1.02 * top)


def scatter_figure(matrix: Matrix, ink: str = "black") -> "Figure":
    """Draw clean against corrupted with 95 % intervals; the diagonal is no loss."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    axis = figure.subplots()
    ends, factor, unit = [], matrix.metric.factor, matrix.metric.percent_sign
    for row in range(len(matrix.rows)):
        clean = matrix.estimate(matrix.shown, row, "clean")
        mean = matrix.estimate(matrix.shown, row, "mean")
        if clean.value is None or matrix.mean(matrix.shown, row).value is None:
            continue
        color, marker, _ = STYLES[row % len(STYLES)]
        axis.errorbar(
            factor * clean.value, factor * (mean.value or 0.0),
            xerr=_arms(clean, factor), yerr=_arms(mean, factor),
            color=color, marker=marker, markersize=6, linewidth=1, linestyle="none",
            label=matrix.rows[row].marked if len(matrix.rows) <= MOST_NAMES else None,
        )  # fmt: skip
        ends += [factor * end for e in (clean, mean) for end in (e.low, e.high) if end is not None]
    if ends:
        edge = 2.0 if matrix.metric.share else 0.05 * (max(ends) - min(ends)) or 0.5
        low = min(ends) - edge
        limits = (max(0.0, low) if matrix.metric.share else low, max(ends) + edge)
        axis.plot(limits, limits, color="#8090a0", linewidth=0.8, linestyle=":")
        axis.set(xlim=limits, ylim=limits)
    name = matrix.metric.title
    axis.set_xlabel(f"{name} on clean images{unit}", color=ink, size=9)
    axis.set_ylabel(f"mean over corruptions{unit}", color=ink, size=9)
    plain_axes(axis, ink)
    axis.grid(axis="x", color="#8090a0", alpha=0.25, linewidth=0.6)
    if ends and len(matrix.rows) <= MOST_NAMES:
        _name_rows(figure, axis, ink)
    return figure


def _name_rows(figure: "Figure", axis: "Axes", ink: str) -> None:
    """Name the models beside a plot, or below it where a name would take its room."""
    _, labels = axis.get_legend_handles_labels()
    if max(map(len, labels), default=0) > LONGEST_BESIDE:
        legend_below(figure, axis, ink, across=1)
    else:
        figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelcolor=ink)


def _arms(found: Estimate, factor: float) -> "list[list[float]] | None":
    if found.value is None or found.low is None or found.high is None:
        return None
    return [[factor * (found.value - found.low)], [factor * (found.high - found.value)]]


def static_figures(matrices: Sequence[Matrix]) -> dict[str, bytes]:
    """Draw heat map, curves and scatter of each matrix for a paper: name -> bytes.

    Each as PNG, SVG and PDF, on white, text as text, the same bytes for the same numbers.
    """
    files: dict[str, bytes] = {}
    for number, matrix in enumerate(matrices):
        drawn: dict[str, Callable[[Matrix], Figure]] = {"matrix": _matrix_figure}
        if matrix.table.corruptions:
            drawn |= {"curves": curves_figure, "scatter": scatter_figure}
        for what, draw in drawn.items():
            name = f"{what}-{number}-{matrix.table.dataset}-{matrix.table.suite}"
            with own_settings(svg_fonttype="none", svg_hashsalt=name, pdf_fonttype=42):
                figure = draw(matrix)
                figure.patch.set_facecolor("white")
                files[f"{name}.png"] = _png(figure)
                for kind in ("svg", "pdf"):
                    files[f"{name}.{kind}"] = printed(figure, kind)
    return files


def _matrix_figure(matrix: Matrix) -> "Figure":
    return _heat_figure([matrix])


def _png(figure: "Figure") -> bytes:
    figure.set_dpi(160)
    return printed(figure, "png")
