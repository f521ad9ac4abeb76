"""Reliability diagrams: how often answers of one confidence are right; knows no matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medrobust.metrics.reliability_points import ReliabilityPoint

from .drawing import STYLES, legend_below, plain_axes, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = 120.0
"""Area of the mark of a bin that holds every answer, in points squared."""

MARGIN = 6.0
"""Percent beyond 0 and 100, so that a mark at either is whole."""


@dataclass(frozen=True, slots=True)
class ReliabilityPanel:
    """One panel of a diagram.

    Attributes:
        title: What the answers are of: "clean", "severity 5".
        curves: Name -> its bins, one a model, of seven at most.
    """

    title: str
    curves: Sequence[tuple[str, Sequence[ReliabilityPoint]]]


def reliability_svg(panels: Sequence[ReliabilityPanel], salt: str) -> str:
    """Draw panels beside one another: SVG to stand in a page.

    Args:
        panels: At least one.
        salt: What the ids of its parts are made from; two of one page must not share it.
    """
    return svg(lambda ink: reliability_figure(panels, ink), f"reliability {salt}")


def reliability_figure(panels: Sequence[ReliabilityPanel], ink: str = "black") -> "Figure":
    """Draw the share of right answers over confidence; the diagonal is perfect calibration."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.9 * len(panels), 3.1), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _panel(axis, panel, ink)
    axes[0].set_ylabel("right, %", color=ink, size=8)
    legend_below(figure, axes[0], ink, across=len(panels), scale=0.7)
    return figure


def _panel(axis: "Axes", panel: ReliabilityPanel, ink: str) -> None:
    axis.plot((0, 100), (0, 100), color="#8090a0", linewidth=0.8, linestyle=":")
    for number, (name, bins) in enumerate(panel.curves):
        color, marker, dashes = STYLES[number % len(STYLES)]
        x = [100 * one.confidence for one in bins]
        y = [100 * (one.right.value or 0.0) for one in bins]
        total = sum(one.count for one in bins)
        sizes = [8 + LARGEST * one.count / total for one in bins]
        axis.plot(x, y, color=color, linestyle=dashes, linewidth=1)
        axis.scatter(
            x, y, s=sizes, color=color, marker=marker, linewidth=0, label=name, zorder=3,
            clip_on=False,
        )  # fmt: skip
        for place, one in zip(x, bins, strict=True):
            if one.right.low is not None and one.right.high is not None:
                ends = (100 * one.right.low, 100 * one.right.high)
                axis.plot((place, place), ends, color=color, alpha=0.35, linewidth=1)
    axis.set(xlim=(-MARGIN, 100 + MARGIN), ylim=(-MARGIN, 100 + MARGIN))
    axis.set_title(panel.title, size=9, color=ink)
    axis.set_xlabel("confidence, %", color=ink, size=8)
    plain_axes(axis, ink)
