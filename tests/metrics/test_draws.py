"""Intervals over draws of shots against scipy."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import Drawn, drawn
from medrobust.metrics.draws import T_975, hierarchical_interval, t_interval


def test_the_table_is_that_of_scipy() -> None:
    np.testing.assert_allclose(T_975, stats.t.ppf(0.975, np.arange(1, 31)), atol=5e-5)


@pytest.mark.parametrize("count", [2, 5, 12])
def test_bounds_are_those_of_scipy(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    found = t_interval(values.tolist())
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert found == pytest.approx((values.mean(), low, high), rel=1e-4)


def test_one_draw_has_no_interval() -> None:
    assert t_interval([0.3]) is None


def test_five_draws_are_covered_as_often_as_said() -> None:
    values = np.random.default_rng(0).normal(size=(4000, 5))
    bounds = [t_interval(row.tolist()) for row in values]
    covered = np.mean([low <= 0 <= high for _, low, high in bounds])
    assert covered == pytest.approx(0.95, abs=0.012)


def test_one_draw_has_the_interval_of_the_images_and_no_images_that_of_the_draws() -> None:
    assert hierarchical_interval([0.3], (0.2, 0.45)) == (0.3, pytest.approx(0.2), 0.45)
    values = [0.1, 0.15, 0.05]
    mean = sum(values) / 3
    assert hierarchical_interval(values, (mean, mean)) == pytest.approx(t_interval(values))
    assert hierarchical_interval(values, (0.0, 0.3), limits=(0, 1))[1] == 0.0


@pytest.mark.parametrize(
    "setting",
    [
        Drawn(420, 0.05, draws=0.002, images=0.5),
        Drawn(420, 0.6, draws=0.002, images=0.6),
        Drawn(60, 0.2, draws=0.0, images=0.5),
    ],
    ids=str,
)
def test_draws_and_images_together_are_covered_as_often_as_said(setting: Drawn) -> None:
    together, over_draws = drawn(setting, 400)
    assert 0.935 <= together <= 0.995
    assert over_draws < 0.9, "an interval over draws alone does not hold the sampling of images"
