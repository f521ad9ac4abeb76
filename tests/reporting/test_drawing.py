"""Charts of a page."""

import io
import warnings
from pathlib import Path

import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from stores import SEVEN, data_record, write_matrix

from medrobust.metrics import Estimate
from medrobust.metrics.reliability_points import ReliabilityPoint
from medrobust.reporting.drawing import printed, svg
from medrobust.reporting.figures import _heat_figure, curves_figure, scatter_figure
from medrobust.reporting.from_store import report_store
from medrobust.reporting.reliability import ReliabilityPanel, reliability_figure


def chart(ink: str) -> Figure:
    figure = Figure(figsize=(5, 2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    axes[0].plot([0, 1], [0.2, 0.9], marker="o", label="a long name of a model")
    axes[1].set_title("zoom blur", color=ink)
    figure.legend(loc="outside lower left")
    return figure


@pytest.mark.draws
def test_a_chart_has_the_bytes_that_savefig_writes_after_a_second_drawing() -> None:
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "chart"}):
        figure, buffer = chart("#010203"), io.StringIO()
        figure.patch.set_alpha(0)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    written = buffer.getvalue()
    expected = written[written.index("<svg") :].replace("#010203", "currentColor")
    assert svg(chart, "chart") == expected


@pytest.mark.draws
@pytest.mark.parametrize(
    ("kind", "dated"),
    [
        ("png", ["Software"]),
        pytest.param("pdf", ["CreationDate", "Producer", "Creator"], marks=pytest.mark.slow),
    ],
)
def test_a_picture_has_the_bytes_that_savefig_writes_after_a_second_drawing(
    kind: str, dated: list[str]
) -> None:
    buffer = io.BytesIO()
    chart("black").savefig(buffer, format=kind, metadata=dict.fromkeys(dated))
    assert printed(chart("black"), kind) == buffer.getvalue()


LONG = "robustmedclip_vit_large_of_2025_" * 5
PLAIN = "x" * 160


@pytest.mark.slow
@pytest.mark.draws
@pytest.mark.parametrize(
    ("name", "columns"),
    [pytest.param("phantomclip", 1, marks=pytest.mark.slow), (PLAIN, 1), (LONG, 3)],
)
def test_long_names_leave_figures_their_room_and_warn_of_nothing(
    tmp_path: Path, name: str, columns: int
) -> None:
    models = {"weak": 0.4, name: 1.0}
    write_matrix(tmp_path / "s", data_record(), models, corruptions=SEVEN[:columns])
    made = report_store(tmp_path / "s", tmp_path / "out", interactive=False, figures=False)
    (matrix,) = made.matrices
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [curves_figure(matrix), scatter_figure(matrix), _heat_figure([matrix])]
        panel = ReliabilityPanel("clean", [(name, [ReliabilityPoint(0.5, Estimate(0.5), 9)])])
        drawn.append(reliability_figure([panel]))
        for figure in drawn:
            FigureCanvasAgg(figure).draw()
            whole = figure.get_window_extent()
            for axis in figure.axes:
                if axis.get_visible():
                    box = axis.get_window_extent()
                    assert box.height > 60
                    assert box.width > 60
                    assert whole.x0 <= axis.get_tightbbox().x0
            for legend in figure.legends:
                assert legend.get_window_extent().x1 <= whole.x1
                told = "".join(text.get_text() for text in legend.get_texts()).replace("\n", "")
                assert name.rstrip("_") in told
