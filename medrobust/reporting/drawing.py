"""How charts are drawn: colors, plain axes, and SVG that follows the page; knows no matrix."""

import io
import re
from collections.abc import Callable, Iterator, Mapping
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

LETTER = 0.068
"""Width of a letter of 8 points on average, in inches."""

KEY = 0.55
"""Width of a legend's sign and of the space around it, in inches."""

LINE = 0.16
"""Height of a line of a legend, in inches."""

LONGEST = 44
"""Letters of a name that stand in one line."""

_METADATA: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
"""What a file would say of the day and the version."""

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
    with own_settings(svg_fonttype="none", svg_hashsalt=salt):
        figure = draw(_INK)
        figure.patch.set_alpha(0)
        drawing = printed(figure, "svg").decode()
    return drawing[drawing.index("<svg") :].replace(_INK, "currentColor")


def printed(figure: "Figure", kind: str) -> bytes:
    """Return a file of a figure, the bytes that `savefig` writes.

    That would draw everything twice, the first time for nothing but the layout.

    Args:
        figure: At its own resolution; it is laid out anew.
        kind: "png", "svg" or "pdf".
    """
    from matplotlib.backend_bases import get_registered_canvas_class

    canvas, buffer = get_registered_canvas_class(kind)(figure), io.BytesIO()
    getattr(canvas, f"print_{kind}")(buffer, metadata=_METADATA[kind])
    return buffer.getvalue()


def plain_axes(axis: "Axes", ink: str) -> None:
    """Leave of a frame two thin lines, and faint ones across."""
    axis.patch.set_alpha(0)
    axis.tick_params(colors=ink, labelsize=8, length=2)
    axis.grid(axis="y", color="#8090a0", alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#8090a0")


def broken(name: str, longest: int) -> str:
    """Break a long name over lines, behind a sign where it has one.

    Example:
        >>> broken("robustmedclip_vit_of_a_friend", 18).splitlines()
        ['robustmedclip_vit_', 'of_a_friend']
    """
    lines = [""]
    for part in re.findall(rf"[^\s_/.,-]{{1,{longest}}}[\s_/.,-]?|[\s_/.,-]", name):
        if len(lines[-1]) + len(part.rstrip()) > longest:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines if line.strip())


def legend_below(
    figure: "Figure", axis: "Axes", ink: str, *, across: int, scale: float = 1
) -> None:
    """Name what an axis shows below all panels; long names take lines, and the figure grows.

    Args:
        figure: With room for a line or two.
        axis: Whose lines have labels; without any there is no legend.
        ink: Color of text.
        across: Names beside one another, where they are short.
        scale: Of the marks.
    """
    handles, labels = axis.get_legend_handles_labels()
    if not labels:
        return
    width, height = figure.get_size_inches()
    names = [broken(label, min(LONGEST, int((width - KEY) / LETTER))) for label in labels]
    widest = max(len(line) for name in names for line in name.split("\n"))
    columns = max(1, min(across, int(width / (KEY + LETTER * widest))))
    down = -(-len(names) // columns) * max(name.count("\n") + 1 for name in names)
    usual = -(-len(names) // across)
    figure.set_size_inches(width, height + LINE * (down - usual))
    figure.legend(
        handles, names, loc="outside lower left", ncols=columns, frameon=False, fontsize=8,
        labelcolor=ink, markerscale=scale,
    )  # fmt: skip
