"""Charts of a page."""

import io

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from medrobust.reporting.drawing import svg


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
