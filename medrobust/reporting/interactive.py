"""Curves and scatter by plotly, drawn over the static ones where JavaScript runs."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from .figures import STYLES, drawn_rows
from .matrix import Matrix

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
DASHES = ("solid", "dash", "dashdot", "dot")

_DRAW = """
(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const ink = getComputedStyle(document.body).color;
  for (const section of document.querySelectorAll("section[data-matrix]")) {
    const own = figures[Number(section.dataset.matrix)];
    for (const place of section.querySelectorAll("[data-figure]")) {
      const figure = own[place.dataset.figure];
      if (!figure) continue;
      const plot = document.createElement("div");
      plot.className = "plot";
      place.before(plot);
      figure.layout.font = {color: ink, family: "inherit", size: 12};
      Plotly.newPlot(plot, figure.data, figure.layout, {responsive: true, displayModeBar: false})
        .then(function () { place.hidden = true; place.style.display = "none"; });
    }
  }
})();
"""


def figures_script(matrices: Sequence[Matrix]) -> str:
    """Return plotly, the figures of every matrix as JSON, and the lines that draw them."""
    from plotly.offline import get_plotlyjs

    figures = [_figures(matrix) for matrix in matrices]
    text = json.dumps(figures, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        f"<script>{get_plotlyjs()}</script>\n"
        f'<script type="application/json" id="figures">{text}</script>\n'
        f"<script>{_DRAW}</script>"
    )


def _figures(matrix: Matrix) -> dict[str, Any]:
    if not matrix.table.corruptions:
        return {}
    return {"curves": _curves(matrix), "scatter": _scatter(matrix)}


def _curves(matrix: Matrix) -> dict[str, Any]:
    names = matrix.table.corruptions
    across = min(4, len(names))
    down = -(-len(names) // across)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = _layout(200 * down + 90)
    layout["grid"] = {"rows": down, "columns": across, "pattern": "independent", "ygap": 0.35}
    layout["annotations"] = []
    top = float(np.nanmax(np.r_[matrix.high[matrix.shown].ravel(), 0.1]))
    for column, name in enumerate(names):
        axis = "" if column == 0 else str(column + 1)
        levels = [0, *matrix.table.severities]
        layout[f"xaxis{axis}"] = {"tickvals": levels, "ticktext": ["clean", *levels[1:]]}
        layout[f"yaxis{axis}"] = {"range": [0, 100 * top + 2], "gridcolor": "rgba(128,144,160,.3)"}
        layout["annotations"].append(
            {"text": name.replace("_", " "), "xref": f"x{axis} domain", "yref": f"y{axis} domain",
             "x": 0.5, "y": 1.12, "showarrow": False}
        )  # fmt: skip
        for row in drawn_rows(matrix):
            data += _line(matrix, row, column, axis, levels)
    return {"data": data, "layout": layout}


def _line(
    matrix: Matrix, row: int, column: int, axis: str, levels: list[int]
) -> list[dict[str, Any]]:
    """Return a band and a line of one model in one panel."""
    shown, label = matrix.shown, matrix.rows[row].marked
    values, low, high = (
        _percent([clean[shown][row], *corrupted[shown][row, column]])
        for clean, corrupted in (
            (matrix.clean, matrix.values),
            (matrix.clean_low, matrix.low),
            (matrix.clean_high, matrix.high),
        )
    )
    color = STYLES[row % len(STYLES)][0]
    shared = {"xaxis": f"x{axis}", "yaxis": f"y{axis}", "legendgroup": label}
    whole = None not in low and None not in high
    band = {
        **shared, "x": [*levels, *levels[::-1]], "y": [*high, *low[::-1]], "fill": "toself",
        "fillcolor": color, "opacity": 0.13, "line": {"width": 0}, "hoverinfo": "skip",
        "showlegend": False, "mode": "lines",
    }  # fmt: skip
    line = {
        **shared, "x": levels, "y": values, "name": label, "showlegend": column == 0,
        "mode": "lines+markers", "customdata": list(zip(low, high, strict=True)),
        "line": {"color": color, "dash": DASHES[row % len(DASHES)], "width": 2},
        "marker": {"symbol": SYMBOLS[row % len(SYMBOLS)], "size": 7},
        "hovertemplate": "%{y:.1f} (%{customdata[0]:.1f}–%{customdata[1]:.1f})",
    }  # fmt: skip
    return [band, line] if whole else [line]


def _scatter(matrix: Matrix) -> dict[str, Any] | None:
    data = []
    for row in range(len(matrix.rows)):
        clean = matrix.estimate(matrix.shown, row, "clean")
        mean = matrix.estimate(matrix.shown, row, "mean")
        if clean.value is None or matrix.mean(matrix.shown, row).value is None:
            continue
        point: dict[str, Any] = {
            "x": _percent([clean.value]), "y": _percent([mean.value]),
            "name": matrix.rows[row].marked, "mode": "markers", "marker": {
                "color": STYLES[row % len(STYLES)][0], "symbol": SYMBOLS[row % len(SYMBOLS)],
                "size": 10,
            },
        }  # fmt: skip
        for side, found in (("error_x", clean), ("error_y", mean)):
            if found.value is not None and found.low is not None and found.high is not None:
                arms = (found.high - found.value, found.value - found.low)
                point[side] = {
                    "type": "data", "array": _percent([arms[0]]), "arrayminus": _percent([arms[1]])
                }  # fmt: skip
        data.append(point)
    if len(data) < 2:
        return None
    name = matrix.metric.title
    layout = _layout(420)
    layout["xaxis"] = {"title": {"text": f"{name} on clean images, %"}}
    layout["yaxis"] = {"title": {"text": "mean over corruptions, %"}}
    return {"data": data, "layout": layout}


def _layout(height: int) -> dict[str, Any]:
    return {
        "height": height, "margin": {"l": 45, "r": 10, "t": 35, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top"}, "hovermode": "closest",
    }  # fmt: skip


def _percent(values: Sequence[Any]) -> list[float | None]:
    return [
        None if value is None or np.isnan(value) else round(100 * float(value), 2)
        for value in values
    ]
