"""How charts are drawn: colors, plain axes, and SVG that follows the page; knows no matrix."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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

_INK = "#010203"
"""Replaced by `currentColor` in SVG, so that text follows the page in light and dark."""


@contextmanager
def own_settings(**settings: object) -> Iterator[None]:
    """Draw with matplotlib's defaults and these, whatever the caller's matplotlibrc says.

    Args:
        settings: By their names with an underscore for the first dot: `svg_fonttype="none"`.
    """
    from matplotlib import rc_context, rcdefaults, rcParams

    with rc_context():
        rcdefaults()
        rcParams.update({name.replace("_", ".", 1): value for name, value in settings.items()})
        yield


def svg(draw: "Callable[[str], Figure]", salt: str) -> str:
    """Draw a figure as SVG to stand in a page, the same bytes for the same figure.

    Args:
        draw: Makes it, given the color of its text.
        salt: What the ids of its parts are made from; two of one page must not share it.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with own_settings(svg_fonttype="none", svg_hashsalt=salt):
        figure = draw(_INK)
        figure.patch.set_alpha(0)
        buffer = io.StringIO()
        # `savefig` would draw everything twice, the first time for nothing but the layout
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    return drawing[drawing.index("<svg") :].replace(_INK, "currentColor")


def plain_axes(axis: "Axes", ink: str) -> None:
    """Leave of a frame two thin lines, and faint ones across."""
    axis.patch.set_alpha(0)
    axis.tick_params(colors=ink, labelsize=8, length=2)
    axis.grid(axis="y", color="#8090a0", alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#8090a0")
