"""Intervals over draws of shots against scipy."""

import numpy as np
import pytest
from scipy import stats

from medrobust.metrics.draws import T_975, t_interval


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
