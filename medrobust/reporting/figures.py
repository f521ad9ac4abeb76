"""Static figures by matplotlib, on Figure objects: no global state, no display."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medrobust.metrics import METRICS

from .matrix import Matrix
from .tables import coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEMONSTRATION = "demonstration on synthetic phantoms: says nothing about medicine"
STYLES = (
    ("#0072b2", "o", "-"),
    ("#d55e00", "s", "--"),
    ("#009e73", "^", "-."),
    ("#8a4f7d", "D", ":"),
    ("#8c6d00", "v", "-"),
    ("#3f83a8", "P", "--"),
    ("#595959", "X", "-."),
)
"""Color (Okabe and Ito, darkened for thin lines), marker and dash of each model in turn."""

_STOPS = (
    (0.0, (247, 250, 252)),
    (0.35, (178, 208, 226)),
    (0.7, (62, 126, 170)),
    (1.0, (12, 52, 92)),
)
"""Light to dark in one hue: lightness falls all the way, so it reads in grey and colour-blind."""

_INK = "#010203"
"""Replaced by `currentColor` in SVG, so that text follows the page in light and dark."""


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


def title(matrix: Matrix) -> str:
    """Name the table: data set, split, suite and metric."""
    table = matrix.table
    suite = "" if table.suite == "none" else f" · {table.suite}"
    return f"{table.dataset}/{table.split}{suite} · {METRICS[matrix.shown].title}, %"


def scale_top(matrix: Matrix) -> float:
    """Return the value that is darkest: the largest shown, up to the next tenth."""
    shown = matrix.clean[matrix.shown]
    if matrix.table.corruptions:
        shown = np.r_[shown, matrix.values[matrix.shown].mean(axis=2).ravel()]
    largest = float(np.nanmax(shown)) if np.isfinite(shown).any() else 1.0
    return min(1.0, max(0.1, float(np.ceil(largest * 10 - 1e-9)) / 10))


def matrix_png(matrices: Sequence[Matrix]) -> bytes:
    """Draw all matrices below one another as a heat map: PNG bytes."""
    from matplotlib.figure import Figure

    heights = [1.9 + 0.42 * len(m.rows) for m in matrices]
    width = max(5.0, *(3.2 + 0.78 * (len(m.table.corruptions) + 3) for m in matrices))
    figure = Figure(figsize=(width, sum(heights)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(matrices), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, matrix in zip(axes, matrices, strict=True):
        _heat_map(axis, matrix)
    return _png(figure)


def _heat_map(axis: "Axes", matrix: Matrix) -> None:
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
    axis.set_yticks(range(len(matrix.rows)), [row.label for row in matrix.rows], size=9)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(title(matrix), loc="left", size=10, weight="bold", pad=10)
    marks = [*([DEMONSTRATION] if matrix.demonstration else []), *matrix.data.marks]
    if marks:
        axis.set_xlabel("\n".join(marks), size=8, loc="left", style="italic")


def _square(column: int, row: int, color: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=color, edgecolor="none")


def heat_cells(matrix: Matrix) -> list[list[tuple[str, float | None]]]:
    """Return for each row (text, value to shade by or None): clean, corruptions, mean, mCE."""
    return [_heat_row(matrix, row) for row in range(len(matrix.rows))]


def _heat_row(matrix: Matrix, row: int) -> list[tuple[str, float | None]]:
    shown = matrix.shown
    clean = float(matrix.clean[shown][row])
    values = [None if np.isnan(clean) else clean]
    values += [matrix.severity_mean(shown, row, c) for c in range(len(matrix.table.corruptions))]
    cells = [(percent(value), value) for value in values]
    mean, mce = matrix.mean(shown, row), matrix.mce(shown, row)
    cells.append((percent(mean.value) + _partly(matrix, mean), mean.value))
    cells.append((percent(mce.value) + _partly(matrix, mce), None))
    return cells


def _partly(matrix: Matrix, mean: Any) -> str:
    return "" if mean.value is None else coverage(matrix, mean)


def percent(value: float | None) -> str:
    """Print a fraction in percent with one decimal, a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}"


def curves_svg(matrix: Matrix) -> str:
    """Draw a panel a corruption, error over severity, a line a model: SVG to stand in a page."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = matrix.table.corruptions
    across = min(4, len(names))
    down = -(-len(names) // across)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title(matrix)}):
        figure = Figure(figsize=(2.55 * across, 2.1 * down + 0.5), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
        for column, axis in enumerate(axes):
            _panel(axis, matrix, column) if column < len(names) else axis.set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower left", ncols=across, frameon=False, fontsize=8,
            labelcolor=_INK,
        )  # fmt: skip
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    return drawing[drawing.index("<svg") :].replace(_INK, "currentColor")


def _panel(axis: "Axes", matrix: Matrix, column: int) -> None:
    severities = (0, *matrix.table.severities)
    for row, line in enumerate(matrix.rows):
        color, marker, dashes = STYLES[row % len(STYLES)]
        values = np.r_[matrix.clean[matrix.shown][row], matrix.values[matrix.shown][row, column]]
        axis.plot(
            severities, 100 * values, color=color, marker=marker, linestyle=dashes,
            markersize=4, linewidth=1.5, label=line.label,
        )  # fmt: skip
    axis.set_title(matrix.table.corruptions[column].replace("_", " "), size=9, color=_INK)
    axis.set_xticks(severities, ["clean", *map(str, matrix.table.severities)], size=8)
    axis.patch.set_alpha(0)
    axis.tick_params(colors=_INK, labelsize=8, length=2)
    axis.grid(axis="y", color="#8090a0", alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#8090a0")
    axis.set_ylim(
        0, 100 * max(scale_top(matrix), float(np.nanmax(matrix.values[matrix.shown]))) + 2
    )


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()
