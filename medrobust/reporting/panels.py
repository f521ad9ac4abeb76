"""Charts of readings: small panels of lines with bands, side by side, as SVG for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .drawing import STYLES, legend_below, plain_axes, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel.

    Attributes:
        label: In the legend; empty: in none.
        style: Which color and marker, in turn.
        x: Places.
        y: Values.
        low: Lower bounds of a band, or none.
        high: Upper bounds.
        faint: 0 to 1, how far it fades: of severities, the milder ones.
        marked: Whether its points have markers.
    """

    label: str
    style: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    faint: float = 0.0
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart.

    Attributes:
        title: Above it.
        lines: From back to front.
        x_label: Below it.
        y_label: Left of it.
        target: Height of a dotted line, or None.
        diagonal: Whether y = x is drawn, where calibrated confidences lie.
        unit: Whether both axes go from 0 to 1.
    """

    title: str
    lines: Sequence[Line]
    x_label: str = "severity"
    y_label: str = ""
    target: float | None = None
    diagonal: bool = False
    unit: bool = False


def panels_svg(panels: Sequence[Panel], salt: str) -> str:
    """Draw panels side by side, with one legend.

    Args:
        panels: At least one.
        salt: What no other figure of the page shares.
    """
    return svg(lambda ink: _figure(panels, ink), salt)


def _figure(panels: Sequence[Panel], ink: str) -> "Figure":
    from matplotlib.figure import Figure

    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(2.9 * across, 2.5 * down + 0.5), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for place, axis in enumerate(axes):
        _draw(axis, panels[place], ink) if place < len(panels) else axis.set_visible(False)
    legend_below(figure, axes[0], ink, across=across)
    return figure


def _draw(axis: "Axes", panel: Panel, ink: str) -> None:
    if panel.diagonal:
        axis.plot([0, 1], [0, 1], color="#8090a0", linewidth=0.8, linestyle=":")
    if panel.target is not None:
        axis.axhline(panel.target, color="#8090a0", linewidth=0.9, linestyle=":")
    for line in panel.lines:
        color, marker, dashes = STYLES[line.style % len(STYLES)]
        strength = 1 - 0.8 * line.faint
        if len(line.low):
            axis.fill_between(
                line.x, line.low, line.high, color=color, alpha=0.13 * strength, linewidth=0
            )
        axis.plot(
            line.x, line.y, color=color, alpha=strength, linestyle=dashes, linewidth=1.4,
            marker=marker if line.marked else None, markersize=4, label=line.label or None,
        )  # fmt: skip
    if panel.unit:
        axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.set_title(panel.title, size=9, color=ink)
    axis.set_xlabel(panel.x_label, size=8, color=ink)
    axis.set_ylabel(panel.y_label, size=8, color=ink)
    plain_axes(axis, ink)
