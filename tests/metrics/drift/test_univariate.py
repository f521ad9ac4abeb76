"""Distances of one number a study against scipy, published values and hand-worked numbers."""

import numpy as np
import pytest
from scipy import special, stats

from medrobust.exceptions import InvalidDataError
from medrobust.metrics.drift.univariate import (
    MISSING,
    category_counts,
    chi2_test,
    energy_distance,
    hellinger,
    ks_critical,
    ks_distance,
    ks_test,
    population_stability,
    resampled_ks,
    wasserstein,
)

FIRST, SECOND = np.arange(5.0), np.array([0.5, 1.5, 2.5, 7.0])


def test_the_small_example_has_the_numbers_of_scipy():
    assert ks_test(FIRST, SECOND) == pytest.approx((0.25, 0.9920634921), abs=1e-10)
    assert wasserstein(FIRST, SECOND) == pytest.approx(1.175)
    assert energy_distance(FIRST, SECOND) ** 0.5 == pytest.approx(0.6982120022, abs=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_distances_equal_scipys_with_ties(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 9, 70).astype(float), rng.normal(3, 2, 41).round(1)
    assert ks_distance(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic)
    assert wasserstein(first, second) == pytest.approx(stats.wasserstein_distance(first, second))
    squared = stats.energy_distance(first, second) ** 2
    assert energy_distance(first, second) == pytest.approx(squared)


@pytest.mark.parametrize(("level", "value"), [(0.1, 1.2238478702), (0.05, 1.3580986393)])
def test_critical_values_are_kolmogorovs(level, value):
    assert special.kolmogi(level) == pytest.approx(value, abs=1e-10)
    assert ks_critical(1000, 150, 0.1) == pytest.approx(0.1071595120, abs=1e-10)


def test_shifted_gaussians_are_as_far_apart_as_theory_says():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=200_000), rng.normal(1.0, size=200_000)
    assert ks_distance(first, second) == pytest.approx(0.3829249225, abs=0.005)
    assert energy_distance(first, second) == pytest.approx(0.5418065793, abs=0.01)
    assert wasserstein(first, second) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("first", "second", "corrected", "statistic", "p"),
    [
        ([30, 20], [10, 15], True, 1.9352678571, 0.1641832653),
        ([30, 20], [10, 15], False, 2.6785714286, 0.1017069300),
        ([30, 20, 5], [10, 15, 5], True, 3.6796536797, 0.1588449293),
    ],
)
def test_chi_squared_has_the_published_numbers(first, second, corrected, statistic, p):
    found = chi2_test(np.array(first), np.array(second), corrected=corrected)
    assert found[:2] == pytest.approx((statistic, p), abs=1e-10)
    assert found[2] == len(first) - 1


def test_a_category_that_never_occurs_or_is_alone_changes_nothing():
    assert chi2_test(np.array([30, 20, 0]), np.array([10, 15, 0])) == chi2_test(
        np.array([30, 20]), np.array([10, 15])
    )
    assert chi2_test(np.array([30]), np.array([10])) == (0.0, 1.0, 0)


def test_shares_give_the_published_hellinger_and_stability_index():
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    assert hellinger(p, q) == pytest.approx(0.2598931857, abs=1e-10)
    assert population_stability(p, q) == pytest.approx(0.5497744391, abs=1e-10)
    assert hellinger(np.array([1, 0]), np.array([0, 1])) == pytest.approx(1.0)
    assert population_stability(np.array([1, 0]), np.array([1, 1])) == np.inf
    assert population_stability(np.array([1, 0]), np.array([1, 1]), added=0.5) < 1


def test_missing_values_are_a_category_of_their_own_and_new_ones_come_last():
    names, counts = category_counts(["b", "", "new", "b"], ["a", "b"])
    assert names == ("a", "b", MISSING, "new")
    assert counts.tolist() == [0, 2, 1, 1]


def test_an_empty_sample_is_refused():
    with pytest.raises(InvalidDataError, match="at least one"):
        hellinger(np.array([0, 0]), np.array([1, 2]))
    with pytest.raises(InvalidDataError, match="count the same ones"):
        chi2_test(np.array([1, 2]), np.array([1, 2, 3]))


def test_distances_of_resamples_are_those_of_each_alone():
    rng = np.random.default_rng(3)
    reference, window = np.sort(rng.normal(size=60).round(1)), rng.normal(size=25).round(1)
    window[:4] = np.nan
    drawn = rng.integers(0, 25, (30, 40))
    found = resampled_ks(reference, window, drawn)
    for rows, value in zip(drawn, found, strict=True):
        own = window[rows]
        assert value == pytest.approx(ks_distance(reference, own[np.isfinite(own)]))
    assert np.isnan(resampled_ks(reference, np.full(5, np.nan), drawn[:, :3] % 5)).all()
