"""What the gate promises, tested where the truth is known: it is kept, and broken by a shift."""

import numpy as np
import pytest
from scipy.stats import binom

from medrobust.metrics.envelope import (
    candidates,
    envelope,
    fewest_units,
    fixed_sequence,
    worth_testing,
)
from medrobust.metrics.intervals import wilson

ALPHA, DELTA = 0.1, 0.1
REPEATS = 500


def chance(distance: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """Planted: the farther from clean images, the more often the answer is wrong."""
    return np.clip(0.02 + 0.05 * distance**1.5 + shift, 0, 1)


def realised(limit: float, shift: float = 0.0) -> float:
    """Risk among accepted units of the planted truth, distances being exponential."""
    grid = (np.arange(20000) + 0.5) / 20000 * limit
    weights = np.exp(-grid / 2)
    return float((chance(grid, shift) * weights).sum() / weights.sum())


def fitted(seed: int, units: int = 300) -> float | None:
    rng = np.random.default_rng(seed)
    distances = rng.exponential(2, size=units)
    wrong = rng.random(units) < chance(distances)
    limits = candidates(rng.exponential(0.7, size=100))
    steps = fixed_sequence(distances, wrong, limits, alpha=ALPHA, delta=DELTA)
    proven = [step for step in steps if step.p <= DELTA]
    return proven[-1].limit if proven else None


@pytest.fixture(scope="module")
def limits() -> list[float]:
    return [limit for seed in range(REPEATS) if (limit := fitted(seed)) is not None]


def test_the_risk_of_accepted_units_is_kept_as_often_as_promised(limits: list[float]) -> None:
    assert len(limits) > 0.8 * REPEATS  # it does not keep it by refusing everything
    broken = sum(realised(limit) > ALPHA for limit in limits)
    low, _ = wilson(broken / REPEATS, REPEATS)
    assert low <= DELTA
    assert broken / REPEATS <= DELTA  # 500 repeats, none of them chosen


def test_a_shift_that_the_fit_did_not_see_breaks_it(limits: list[float]) -> None:
    broken = sum(realised(limit, shift=0.1) > ALPHA for limit in limits)
    assert broken / len(limits) > 0.9


def test_p_values_are_tails_of_the_binomial_and_the_first_failure_stops() -> None:
    distances = np.repeat([1.0, 2.0, 3.0, 4.0], 50)
    wrong = np.zeros(200, bool)
    wrong[[0, 60, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112]] = True
    steps = fixed_sequence(distances, wrong, np.array([1.0, 2, 3, 4]), alpha=0.1, delta=0.05)
    assert [(step.count, step.errors) for step in steps] == [(50, 1), (100, 2), (150, 15)]
    for step in steps:
        assert step.p == pytest.approx(binom.cdf(step.errors, step.count, 0.1))
    assert [step.p <= 0.05 for step in steps] == [True, True, False]


def test_limits_that_accept_too_few_to_prove_anything_are_passed_over() -> None:
    assert fewest_units(0.1, 0.05) == 29  # ln .05 / ln .9
    assert not worth_testing(45, 0.1, 0.05)  # one error of 45 would end it
    assert worth_testing(46, 0.1, 0.05)
    distances = np.concatenate([np.zeros(45), np.ones(100)])
    limits = np.array([0.0, 1.0])
    steps = fixed_sequence(distances, np.zeros(145, bool), limits, alpha=0.1, delta=0.05)
    assert [step.count for step in steps] == [145]


def test_distances_are_standard_deviations_of_normal_measures_on_either_side() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(10, 2, 20000), np.exp(rng.normal(1, 0.5, 20000))], axis=1)
    found = envelope(["a", "b"], values, logs=["b"])
    distances = found.distances(np.array([[14.0, np.e], [10, np.exp(2)], [np.nan, 1]]))
    assert distances[0] == pytest.approx([2, 0], abs=0.05)
    assert distances[1] == pytest.approx([0, 2], abs=0.06)
    assert distances[2, 0] == np.inf
    low, high = found.limits(2.0)
    assert low == pytest.approx([6, np.exp(0)], rel=0.03)
    assert high == pytest.approx([14, np.exp(2)], rel=0.03)


def test_an_envelope_of_equal_images_accepts_them_alone() -> None:
    found = envelope(["a"], np.full((30, 1), 5.0))
    assert found.distances(np.array([[5.0], [5.1]]))[:, 0].tolist() == [0, np.inf]


def test_no_limit_reaches_beyond_what_was_tested() -> None:
    clean = np.random.default_rng(0).normal(10, 1, (400, 1))
    found = envelope(["a"], clean, tested=np.array([[4.0], [np.nan], [30.0]]))
    assert np.ravel(found.limits(1e6)) == pytest.approx([4, 30], rel=1e-5)
    distances = found.distances(np.array([[4.0], [3.9], [30.0], [30.1]]))[:, 0]
    assert np.isinf(distances).tolist() == [False, True, False, True]
