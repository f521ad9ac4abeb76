"""Tests of vectors against hand-worked numbers, theory, scipy and their own level."""

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from medrobust.exceptions import InvalidDataError
from medrobust.metrics.drift.kernels import (
    energy,
    energy_test,
    median_bandwidth,
    mmd,
    mmd_test,
    squared_distances,
)
from medrobust.metrics.drift.multivariate import (
    accuracy_p,
    classifier_test,
    hotelling_test,
    mahalanobis_test,
)
from medrobust.metrics.drift.permutation import bonferroni, max_statistic, permuted_windows
from medrobust.metrics.drift.transport import (
    earth_movers,
    matched,
    random_directions,
    sliced_wasserstein,
    transport_cost,
    transport_plan,
)
from medrobust.metrics.drift.univariate import energy_distance, wasserstein

X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
Y = np.array([[2.0, 2.0], [3.0, 2.0]])


def test_mmd_has_the_hand_worked_values():
    assert mmd(X, Y, 1.0) == pytest.approx(1.0638300262, abs=1e-10)
    far = 3 + 2 * (2 * np.exp(-0.5) + np.exp(-1))
    across = 2 * np.exp(-4) + np.exp(-6.5) + 2 * np.exp(-2.5) + np.exp(-5)
    expected = far / 9 + (1 + np.exp(-0.5)) / 2 - across / 3
    # to 40 digits 1.41823794513869797497 (mpmath), not 1.4182379457
    assert expected == pytest.approx(1.4182379451387, abs=1e-13)
    assert mmd(X, Y, 1.0, unbiased=False) == pytest.approx(expected, abs=1e-12)


def test_mmd_of_shifted_gaussians_is_the_population_value():
    rng = np.random.default_rng(0)
    shift = np.array([1.0, 0, 0, 0, 0])
    found = [
        mmd(rng.normal(size=(200, 5)), rng.normal(size=(200, 5)) + shift, 2.0) for _ in range(60)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(0.0580297441, abs=4 * error)


def test_the_energy_of_one_column_is_that_of_numbers():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=30), rng.normal(1.0, size=20)
    assert energy(first[:, None], second[:, None]) == pytest.approx(energy_distance(first, second))


def test_bandwidth_is_of_pairs_off_the_diagonal():
    points = np.array([[0.0], [1.0], [3.0]])  # squared distances 1, 4, 9
    assert median_bandwidth(points) == pytest.approx(np.sqrt(2.0))
    with pytest.raises(InvalidDataError, match="no scale"):
        median_bandwidth(np.zeros((5, 2)))


def test_distances_keep_their_digits_far_from_the_origin():
    rows = np.array([[1e8, 0.0], [1e8 + 1, 0.0]])
    assert squared_distances(rows, rows)[0, 1] == pytest.approx(1.0)


def uniform(p_values):
    """Share at or below each level, which a valid test never exceeds by more than chance."""
    found = np.asarray(p_values)
    for level in (0.05, 0.1, 0.25, 0.5):
        share = (found <= level).mean()
        assert share == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / len(found)))


@pytest.mark.parametrize("test", [mmd_test, energy_test])
def test_permutation_p_values_are_uniform_under_the_null(test):
    rng = np.random.default_rng(2)
    found = [
        test(rng.normal(size=(25, 3)), rng.normal(size=(12, 3)), rng, permutations=99).p
        for _ in range(400)
    ]
    uniform(found)


def test_p_values_are_uniform_with_patients_of_several_images():
    rng = np.random.default_rng(3)
    kept, torn = [], []
    for _ in range(250):
        patients = np.repeat(np.arange(30), 4)
        rows = rng.normal(size=(30, 2))[patients] + 0.2 * rng.normal(size=(120, 2))
        first, second = rows[:80], rows[80:]
        kept.append(mmd_test(first, second, rng, permutations=99, groups=patients).p)
        torn.append(mmd_test(first, second, rng, permutations=99).p)
    uniform(kept)
    assert np.mean(np.asarray(torn) <= 0.05) > 0.3  # images taken for independent: false alarms


def test_a_shift_is_found_and_p_is_never_zero():
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(60, 4)), rng.normal(size=(40, 4)) + 1
    for test in (mmd_test, energy_test):
        assert test(first, second, rng, permutations=199).p == 1 / 200


def test_permuted_windows_keep_patients_whole():
    groups = np.array([0, 0, 1, 1, 1, 2, 2, 3])
    for row in permuted_windows(5, 3, 50, np.random.default_rng(0), groups):
        assert all(len(set(row[groups == g])) == 1 for g in range(4))
        assert sum(row[groups == g][0] for g in range(4)) == 2


def test_max_statistic_keeps_the_level_for_dependent_streams():
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(500):
        every = rng.normal(size=(100, 1)) + 0.3 * rng.normal(size=(100, 8))
        alarms += max_statistic(every[0], every[1:]).min() <= 0.05
    assert alarms / 500 == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 500))


def test_bonferroni_multiplies():
    assert bonferroni([0.01, 0.4, 0.03]) == [0.03, 1.0, 0.09]


def test_sliced_wasserstein_of_a_shift_is_theory_and_one_column_that_of_numbers():
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(300, 8))
    shift = np.full(8, 0.5)
    found = sliced_wasserstein(rows, rows + shift, random_directions(8, 20_000, rng))
    assert found == pytest.approx(np.linalg.norm(shift) / np.sqrt(8), rel=0.02)
    first, second = rng.normal(size=30), rng.normal(size=45)
    squared = stats.wasserstein_distance(first, first + 2.0) ** 2
    one = np.ones((1, 1))
    assert sliced_wasserstein(first[:, None], first[:, None] + 2.0, one) ** 2 == pytest.approx(
        squared
    )
    quantiles = (np.arange(90) + 0.5) / 90  # of both sizes a whole number of steps
    steps = [np.sort(v)[(quantiles * len(v)).astype(int)] for v in (first, second)]
    expected = np.sqrt(((steps[0] - steps[1]) ** 2).mean())
    assert sliced_wasserstein(first[:, None], second[:, None], one) == pytest.approx(expected)


def test_transport_is_the_best_of_all_permutations_and_of_unequal_sizes():
    rng = np.random.default_rng(7)
    cost = rng.random((5, 5))
    best = min(sum(cost[i, p[i]] for i in range(5)) for p in itertools.permutations(range(5))) / 5
    assert transport_cost(cost) == pytest.approx(best)
    first, second = rng.normal(size=6), rng.normal(size=9)
    apart = np.abs(first[:, None] - second[None])
    assert transport_cost(apart) == pytest.approx(wasserstein(first, second))


@pytest.mark.parametrize("kind", ["numbers", "ties", "equal", "copies", "large", "negative"])
def test_the_least_total_of_an_assignment_is_that_of_scipy(kind):
    rng = np.random.default_rng(3)
    for size in (1, 2, 7, 63, 64, 65, 130):
        rows, columns = rng.normal(size=(size, 3)), rng.normal(size=(size, 3))
        if kind == "copies":  # as draws with replacement have them
            rows = columns = rows[rng.integers(0, max(size // 2, 1), size)]
        cost = squared_distances(rows, columns)
        cost = np.round(cost) if kind == "ties" else np.ones_like(cost) if kind == "equal" else cost
        cost = cost * 1e12 if kind == "large" else cost - 9 if kind == "negative" else cost
        plan = transport_plan(cost)
        assert (plan.sum(axis=0) == 1 / size).all()
        assert (plan.sum(axis=1) == 1 / size).all()
        best = cost[optimize.linear_sum_assignment(cost)].mean()
        assert transport_cost(cost) == pytest.approx(best, rel=1e-12, abs=1e-12)
        assert (cost * plan).sum() == pytest.approx(best, rel=1e-12, abs=1e-12)
    with pytest.raises(InvalidDataError, match="no finite number"):
        transport_cost(np.array([[1.0, np.nan], [2.0, 3.0]]))


def test_large_transport_is_subsampled_with_a_stated_error():
    rng = np.random.default_rng(8)
    first, second = rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + 3
    exact = earth_movers(first, second, rng)
    assert (exact.error, exact.size) == (0.0, 400)
    part = earth_movers(first, second, rng, most=100)
    assert part.error > 0
    assert part.value == pytest.approx(exact.value, abs=6 * part.error)


def test_the_published_difference_is_above_zero_without_drift_and_the_unbiased_is_not():
    rng = np.random.default_rng(9)
    published, unbiased = [], []
    for _ in range(300):
        reference, window = rng.normal(size=200), rng.normal(size=40)
        published.append(matched(wasserstein, reference, window, rng, repeats=5).mean())
        own = matched(wasserstein, reference, window, rng, repeats=5, published=False)
        unbiased.append(own.mean())
    assert min(published) >= 0
    assert np.mean(published) > 0.02
    assert np.mean(unbiased) == pytest.approx(0.0, abs=3 * np.std(unbiased) / np.sqrt(300))
    with pytest.raises(InvalidDataError, match="longer reference"):
        matched(wasserstein, np.arange(9.0), np.arange(5.0), rng, published=False)


def test_the_published_difference_is_the_formula_for_given_draws():
    reference, window = np.array([1.0, 2.0, 5.0]), np.array([4.0, 9.0])
    found = matched(wasserstein, reference, window, np.random.default_rng(0), repeats=2)
    rng = np.random.default_rng(0)
    for value in found:
        first, second = reference[rng.integers(0, 3, 2)], reference[rng.integers(0, 3, 2)]
        far = np.abs(np.sort(first) - window).mean()
        own = np.abs(np.sort(first) - np.sort(second)).mean()
        assert value == pytest.approx(max(far - own, 0.0))


def test_mean_tests_are_uniform_under_the_null_and_hotelling_of_one_column_is_t():
    rng = np.random.default_rng(10)
    mean, covariance = np.array([1.0, 2.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    windows = [rng.multivariate_normal(mean, covariance, 20) for _ in range(800)]
    uniform([mahalanobis_test(mean, covariance, window).p for window in windows])
    pairs = itertools.pairwise(windows)
    uniform([hotelling_test(first, second).p for first, second in pairs])
    first, second = rng.normal(size=(15, 1)), rng.normal(size=(9, 1))
    t = stats.ttest_ind(first.ravel(), second.ravel())
    found = hotelling_test(first, second)
    assert found.statistic == pytest.approx(t.statistic**2)
    assert found.p == pytest.approx(t.pvalue)
    with pytest.raises(InvalidDataError, match="fewer components"):
        hotelling_test(np.zeros((2, 5)), np.zeros((3, 5)))


def test_a_classifier_tells_a_shift_and_nothing_else():
    rng = np.random.default_rng(11)
    found = [
        classifier_test(rng.normal(size=(60, 3)), rng.normal(size=(60, 3)), rng).p
        for _ in range(300)
    ]
    uniform(found)
    shifted = classifier_test(rng.normal(size=(80, 3)), rng.normal(size=(80, 3)) + 1, rng)
    assert shifted.statistic > 0.8
    assert shifted.p < 1e-4


def test_a_classifier_does_not_know_patients_again():
    rng = np.random.default_rng(12)
    leaking, kept = [], []
    for _ in range(12):
        patients = np.repeat(np.arange(40), 4)
        rows = rng.normal(size=(40, 12))[patients] + 0.1 * rng.normal(size=(160, 12))
        first, second = rows[:80], rows[80:]
        leaking.append(classifier_test(first, second, rng).statistic)
        kept.append(classifier_test(first, second, rng, groups=patients, permutations=19))
    assert np.mean(leaking) > 0.65
    assert np.mean([one.statistic for one in kept]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([one.p <= 0.1 for one in kept]) < 0.3


def test_guessing_is_binomial():
    assert accuracy_p(9, 10) == pytest.approx(stats.binom.sf(8, 10, 0.5))
