"""Parity with POT and river where they are installed (pip install POT river): no dependencies."""

import numpy as np
import pytest

from medrobust.metrics.drift.detectors import PageHinkley
from medrobust.metrics.drift.kernels import squared_distances
from medrobust.metrics.drift.transport import (
    random_directions,
    sliced_wasserstein,
    transport_cost,
    transport_plan,
)
from medrobust.metrics.drift.univariate import wasserstein


@pytest.mark.parametrize(("first", "second"), [(40, 40), (30, 47)])
def test_transport_is_that_of_pot(first, second):
    ot = pytest.importorskip("ot", exc_type=ImportError)
    rng = np.random.default_rng(first)
    x, y = rng.normal(size=(first, 5)), rng.normal(0.4, 1.2, size=(second, 5))
    cost = squared_distances(x, y)
    assert cost == pytest.approx(ot.dist(x, y), abs=1e-9)  # squared Euclidean is its default
    weights = np.full(first, 1 / first), np.full(second, 1 / second)
    plan = ot.emd(*weights, cost, numItermax=1_000_000)
    assert transport_cost(cost) == pytest.approx((plan * cost).sum(), rel=1e-9)
    assert transport_plan(cost).sum(axis=1) == pytest.approx(weights[0])
    one = ot.wasserstein_1d(x[:, 0], y[:, 0], p=1)
    assert wasserstein(x[:, 0], y[:, 0]) == pytest.approx(float(one), rel=1e-9)
    directions = random_directions(5, 50, rng)
    theirs = ot.sliced_wasserstein_distance(x, y, projections=directions.T)
    assert sliced_wasserstein(x, y, directions) == pytest.approx(float(theirs), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_page_hinkley_alarms_where_rivers_does(seed):
    drift = pytest.importorskip("river.drift", exc_type=ImportError)
    rng = np.random.default_rng(seed)
    series = np.r_[rng.normal(size=300), rng.normal(1.5, 1, size=200)]
    theirs = drift.PageHinkley(
        min_instances=30, delta=0.005, threshold=50.0, alpha=0.9999, mode="up"
    )
    step = -1
    while not theirs.drift_detected:
        step += 1
        theirs.update(float(series[step]))
    path = PageHinkley().path(series)
    assert int((path > 50).argmax()) == step
    assert path[:step].max() <= 50
