"""Measures that are no shares: printed as they are, with intervals that hold them."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats
from stores import CONFIG, VERSIONS, data_record

from medrobust.evaluation.store import CellKey, CellSpec, Store, StoredCell
from medrobust.metrics.aggregates import error_interval
from medrobust.metrics.estimates import Metric
from medrobust.reporting import expected_from_cells
from medrobust.reporting.by_metric import mean_at, printed_estimates
from medrobust.reporting.export import latex, markdown
from medrobust.reporting.figures import curves_figure, scale_top, scatter_figure
from medrobust.reporting.matrices import build_matrices
from medrobust.reporting.matrix import Matrix
from medrobust.reporting.rank_tables import unit_of_differences
from medrobust.reporting.sections import matrix_section
from medrobust.reporting.tables import matrix_csv
from medrobust.reporting.terminal import matrix_table
from medrobust.reporting.wandb import _curve, _heat_map, _matrix_table

COUNT = 40
RNG = np.random.default_rng(0)
NIQE = {0: RNG.normal(4.83, 0.5, COUNT), 1: RNG.normal(7.25, 0.5, COUNT)}
"""Severity -> a value an image."""


def cell(store: Store, severity: int, measures: Mapping[str, NDArray[np.float64]]) -> StoredCell:
    data = data_record(count=COUNT)
    corruption = "contrast" if severity else "clean"
    suite = "imagenet_c" if severity else "none"
    spec = CellSpec("images", "none", data.name, "test", suite, corruption, severity, None)
    encoding = {
        "data": data.fingerprint,
        "corruption": {"name": corruption, "severity": severity},
    }
    head = {"kind": "image_quality", "measures": list(measures), "version": 1}
    key = CellKey(spec, encoding, head, data.fingerprint)
    store.write_data(data)
    arrays = {"measures": np.stack(list(measures.values()), axis=1)}
    store.write(key, arrays, {"status": "done", "config": CONFIG, "versions": VERSIONS})
    return store.read(key.spec, key.fingerprint)


def matrix_of(folder: Path, name: str, values: Mapping[int, NDArray[np.float64]]) -> Matrix:
    cells = [cell(Store(folder), severity, {name: own}) for severity, own in values.items()]
    expected = expected_from_cells(cells)
    (matrix,) = build_matrices(cells, expected=expected, reference=None, reference_cells=[])
    return matrix


@pytest.fixture(scope="module")
def niqe(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return matrix_of(tmp_path_factory.mktemp("niqe"), "niqe", NIQE)


def t_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = stats.t.interval(0.95, COUNT - 1, values.mean(), stats.sem(values))
    return float(low), float(high)


def test_the_interval_of_a_measure_holds_it_as_that_of_a_mean(niqe: Matrix) -> None:
    clean, contrast, mean, _ = printed_estimates(niqe)[0]
    assert (clean.low, clean.high) == pytest.approx(t_interval(NIQE[0]), rel=0.01)
    for found in (contrast, mean, mean_at(niqe, "niqe", 0, 0)):
        assert found.value == pytest.approx(NIQE[1].mean())
        assert (found.low, found.high) == pytest.approx(t_interval(NIQE[1]), rel=0.01)


def test_an_interval_of_shares_is_as_it_was() -> None:
    wrong = np.array([0.0, 1.0, 1.0, 1.0] * 25)
    assert error_interval(wrong, None, None) == pytest.approx((0.657, 0.825), abs=5e-4)
    low, high = error_interval(10 * wrong, None, None, share=False)
    assert low < 7.5 < high < 9


def test_no_table_multiplies_a_measure_by_a_hundred(niqe: Matrix) -> None:
    clean, noisy = (f"{values.mean():.3f}" for values in NIQE.values())
    found = printed_estimates(niqe)[0][0]
    low, high = (f"{end:.3f}" for end in (found.low, found.high))
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(matrix_table(niqe, 200))
    page = matrix_section(0, niqe, {}, (), own_examples=True).split("<svg")[0]
    for text in (console.export_text(), markdown(niqe), latex(niqe), page):
        assert clean in text
        assert noisy in text
        assert low in text
        assert high in text
        assert f"{100 * NIQE[0].mean():.1f}" not in text
        assert ", %" not in text
    assert "in percent" not in page
    lines = list(csv.DictReader(io.StringIO(matrix_csv([niqe]).decode())))
    assert [line["images"] for line in lines] == [clean, noisy, noisy, ""]
    assert "%" not in lines[0]["of"]


def test_figures_draw_a_measure_on_its_own_scale(niqe: Matrix) -> None:
    assert scale_top(niqe) == pytest.approx(NIQE[1].mean())
    (panel, *_) = curves_figure(niqe).axes
    (line,) = panel.lines
    assert line.get_ydata() == pytest.approx([values.mean() for values in NIQE.values()])
    assert 7.25 < panel.get_ylim()[1] < 9
    (axis, *_) = scatter_figure(niqe).axes
    low, high = axis.get_xlim()
    assert 4 < low < NIQE[0].mean() < NIQE[1].mean() < high < 8
    assert "%" not in axis.get_xlabel() + axis.get_ylabel()


def test_psnr_below_no_noise_is_printed_in_its_decibels(tmp_path: Path) -> None:
    of_images = {0: np.full(COUNT, np.inf), 1: np.full(COUNT, 15.703)}
    psnr = matrix_of(tmp_path, "psnr", of_images)
    (clean, contrast, *_) = (
        line for line in csv.DictReader(matrix_csv([psnr]).decode().split("\n"))
    )
    assert (clean["images"], contrast["images"]) == ("", "15.703")
    assert contrast["of"] == "PSNR [dB]"


def test_wandb_gets_a_measure_and_its_bounds_as_they_are(
    niqe: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setattr(wandb, "Plotly", lambda figure: figure)
    monkeypatch.setattr(wandb.plot, "line_series", lambda **given: given)
    table = _matrix_table(niqe, "niqe")
    line = dict(zip(table.columns, table.data[0], strict=True))
    assert line["clean"] == pytest.approx(NIQE[0].mean(), abs=1e-4)
    ends = [line[f"contrast {end}"] for end in ("low", "high")]
    assert ends == pytest.approx(t_interval(NIQE[1]), rel=0.01)
    clean, noisy = (values.mean() for values in NIQE.values())
    drawn, curve = _heat_map(niqe, "niqe"), _curve(niqe, "niqe")
    assert drawn.data[0].z[0] == pytest.approx([clean, noisy, noisy], abs=1e-4)
    assert curve["ys"][0] == pytest.approx([clean, noisy], abs=1e-4)
    assert "%" not in drawn.layout.title.text + curve["title"]


def test_the_note_above_pairs_names_points_where_differences_are_printed_in_them() -> None:
    share, plain = Metric("error", False), Metric("NIQE", False, share=False)
    assert unit_of_differences([share]) == ", in points"
    assert unit_of_differences([plain]) == ""
    assert unit_of_differences([share, plain]) == ", of shares in points"
