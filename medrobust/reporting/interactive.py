"""Curves and scatter by plotly, drawn over the static ones where JavaScript runs."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from .by_metric import clean, mean, offered
from .drawing import STYLES
from .figures import drawn_rows
from .matrix import Matrix

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
DASHES = ("solid", "dash", "dashdot", "dot")

_DRAW = """
(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const ink = getComputedStyle(document.body).color;
  const metric = document.getElementById("metric");
  function draw() {
    for (const section of document.querySelectorAll("section[data-matrix]")) {
      const own = figures[Number(section.dataset.matrix)];
      for (const place of section.querySelectorAll("[data-figure]")) {
        const chosen = own[place.dataset.figure];
        const figure = chosen && chosen[metric.value || own.shown];
        let plot = place.previousElementSibling;
        if (!plot.classList.contains("plot")) {
          if (!figure) continue;
          plot = document.createElement("div");
          plot.className = "plot";
          place.before(plot);
          place.style.display = "none";
        }
        plot.hidden = !figure;
        if (!figure) continue;
        figure.layout.font = {color: ink, family: "inherit", size: 12};
        Plotly.react(plot, figure.data, figure.layout, {responsive: true, displayModeBar: false});
      }
    }
  }
  metric.addEventListener("change", draw);
  draw();
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
    names = offered(matrix)
    return {
        "shown": matrix.shown,
        "curves": {of: _curves(matrix, of) for of in names},
        "scatter": {of: _scatter(matrix, of) for of in names},
    }


def _curves(matrix: Matrix, of: str) -> dict[str, Any]:
    names = matrix.table.corruptions
    across = min(4, len(names))
    down = -(-len(names) // across)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = _layout(220 * down + 90)
    layout["grid"] = {"rows": down, "columns": across, "pattern": "independent", "ygap": 0.45}
    layout["annotations"] = []
    factor = _factor(matrix, of)
    ends = np.r_[matrix.high[of].ravel(), matrix.clean_high[of], matrix.values[of].ravel(), 0.1]
    top, low = float(np.nanmax(ends)), float(np.nanmin(np.r_[matrix.low[of].ravel(), 0.0]))
    limits = [factor * low, 1.02 * factor * top]
    for column, name in enumerate(names):
        axis = "" if column == 0 else str(column + 1)
        levels = [0, *matrix.table.severities]
        across_ = {"text": "severity", "font": {"size": 11}, "standoff": 4}
        ticks = ["clean", *levels[1:]]
        layout[f"xaxis{axis}"] = {"tickvals": levels, "ticktext": ticks, "title": across_}
        layout[f"yaxis{axis}"] = {"range": limits, "gridcolor": "rgba(128,144,160,.3)"}
        if column % across == 0:
            upward = {"text": _named(matrix, of), "font": {"size": 11}}
            layout[f"yaxis{axis}"]["title"] = upward
        layout["annotations"].append(
            {"text": name.replace("_", " "), "xref": f"x{axis} domain", "yref": f"y{axis} domain",
             "x": 0.5, "y": 1.12, "showarrow": False}
        )  # fmt: skip
        for row in drawn_rows(matrix):
            data += _line(matrix, of, row, column, axis, levels)
    return {"data": data, "layout": layout}


def _line(
    matrix: Matrix, of: str, row: int, column: int, axis: str, levels: list[int]
) -> list[dict[str, Any]]:
    """Return a band and a line of one model in one panel."""
    label, factor = matrix.rows[row].marked, _factor(matrix, of)
    values, low, high = (
        _scaled([clean[of][row], *corrupted[of][row, column]], factor)
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
        "hovertemplate": "%{y} (%{customdata[0]}–%{customdata[1]})",
    }  # fmt: skip
    return [band, line] if whole else [line]


def _scatter(matrix: Matrix, of: str) -> dict[str, Any] | None:
    data, factor = [], _factor(matrix, of)
    for row in range(len(matrix.rows)):
        sides = {"error_x": clean(matrix, of, row), "error_y": mean(matrix, of, row)}
        values = [found.value for found in sides.values()]
        if None in values:
            continue
        x, y = (_scaled([value], factor) for value in values)
        look = {"color": STYLES[row % len(STYLES)][0], "symbol": SYMBOLS[row % len(SYMBOLS)]}
        point: dict[str, Any] = {
            "x": x, "y": y, "name": matrix.rows[row].marked, "mode": "markers",
            "marker": {**look, "size": 10},
        }  # fmt: skip
        for side, found in sides.items():
            if found.value is not None and found.low is not None and found.high is not None:
                arms = (found.high - found.value, found.value - found.low)
                above, below = (_scaled([arm], factor) for arm in arms)
                point[side] = {"type": "data", "array": above, "arrayminus": below}
        data.append(point)
    if len(data) < 2:
        return None
    unit = matrix.task.metrics[of].percent_sign
    layout = _layout(420)
    layout["xaxis"] = {"title": {"text": f"{matrix.task.metrics[of].title} on clean images{unit}"}}
    layout["yaxis"] = {"title": {"text": f"mean over corruptions{unit}"}}
    return {"data": data, "layout": layout}


def _named(matrix: Matrix, of: str) -> str:
    """Name a metric with its unit, as an axis has it."""
    metric = matrix.task.metrics[of]
    return f"{metric.title}{metric.percent_sign}"


def _factor(matrix: Matrix, of: str) -> float:
    return matrix.task.metrics[of].factor


def _layout(height: int) -> dict[str, Any]:
    return {
        "height": height, "margin": {"l": 45, "r": 10, "t": 35, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top"}, "hovermode": "closest",
    }  # fmt: skip


def _scaled(values: Sequence[Any], factor: float) -> list[float | None]:
    digits = 2 if factor == 100 else 4
    return [
        None if value is None or np.isnan(value) else round(factor * float(value), digits)
        for value in values
    ]
