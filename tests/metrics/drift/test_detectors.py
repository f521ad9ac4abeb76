"""Detectors and their run lengths against the tables of the field, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from medrobust.exceptions import InvalidDataError, UnknownNameError
from medrobust.metrics.drift.detectors import (
    DETECTORS,
    Cusum,
    Ewma,
    PageHinkley,
    Shewhart,
    detector_of,
)
from medrobust.metrics.drift.kernels import gaussian_kernel, median_bandwidth
from medrobust.metrics.drift.run_length import (
    alarm_rates,
    cusum_arl,
    ewma_arl,
    first_alarms,
    limit_for,
    limit_over_references,
    mean_run_length,
    online_mmd,
    online_mmd_limits,
    shewhart_arl,
    siegmund_arl,
)

TABLE = {
    3: (117.6, 17.35, 6.40, 2.68),
    4: (335.4, 26.68, 8.38, 3.34),
    5: (930.9, 38.01, 10.38, 4.01),
}


@pytest.mark.parametrize("limit", TABLE)
def test_run_lengths_of_cusum_are_those_of_the_table(limit):
    found = [cusum_arl(limit, shift=shift) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert found == pytest.approx(TABLE[limit], rel=2e-3)


def test_two_sided_run_lengths_are_montgomerys():
    assert [1 / (2 / cusum_arl(h)) for h in (4, 5)] == pytest.approx([168, 465], abs=0.6)


@pytest.mark.parametrize(("limit", "value"), [(3, 118.6), (4, 338.1), (5, 938.2)])
def test_siegmunds_formula_has_the_known_values(limit, value):
    assert siegmund_arl(limit) == pytest.approx(value, abs=0.06)
    assert siegmund_arl(limit, shift=0.5) == pytest.approx((limit + 1.166) ** 2)


def test_run_lengths_of_ewma_are_those_of_lucas_and_saccucci():
    found = [ewma_arl(2.814, 0.1, shift=shift) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert found == pytest.approx([499.5, 31.3, 10.33, 4.36], rel=2e-3)
    other = [ewma_arl(2.962, 0.2), ewma_arl(2.962, 0.2, shift=1.0)]
    assert other == pytest.approx([499.7, 10.54], abs=0.2)
    assert shewhart_arl(3.0) == pytest.approx(370.398, abs=1e-3)


@pytest.mark.parametrize(
    ("detector", "limit", "expected"),
    [
        (Cusum(), 3.0, 117.6),
        (Ewma(0.2, two_sided=True), 2.3, ewma_arl(2.3, 0.2)),
        (Shewhart(two_sided=True), 2.5, shewhart_arl(2.5)),
    ],
)
def test_simulated_streams_alarm_as_often_as_computed(detector, limit, expected):
    paths = detector.path(np.random.default_rng(0).normal(size=(1500, 1500)))
    found = first_alarms(paths, limit)
    error = found.std() / np.sqrt(len(found))
    assert found.mean() == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_limit_keeps_its_budget_on_streams_it_was_not_set_on(name):
    rng = np.random.default_rng(1)
    detector = detector_of(name)
    found = limit_for(detector.path(rng.normal(size=(600, 600))), 100)
    assert found.run_length == pytest.approx(100, rel=0.02)
    assert found.low < 100 < found.high
    fresh = first_alarms(detector.path(rng.normal(size=(2000, 600))), found.value)
    error = fresh.std() / np.sqrt(len(fresh))
    tolerance = 4 * error + 0.1 * 100 + (30 if name == "page_hinkley" else 0)  # its silent start
    assert fresh.mean() == pytest.approx(100, abs=tolerance)


def test_a_limit_from_too_short_streams_is_refused():
    with pytest.raises(InvalidDataError, match="draw more streams"):
        limit_for(np.zeros((10, 10)), 100)


def test_run_lengths_count_streams_that_never_alarm():
    paths = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    assert first_alarms(paths, 1.0).tolist() == [2, 4]
    assert mean_run_length(paths, 1.0) == 5.0
    assert mean_run_length(paths, 3.0) == np.inf


def test_cusum_and_ewma_are_their_recursions():
    series = np.array([1.0, -2.0, 3.0, 0.2])
    assert Cusum().path(series).tolist() == pytest.approx([0.5, 0.0, 2.5, 2.2])
    down = Cusum(two_sided=True).path(-series)
    assert down.tolist() == pytest.approx(Cusum(two_sided=True).path(series).tolist())
    scale = np.sqrt(0.5 / 1.5)
    assert Ewma(0.5).path(series)[:2].tolist() == pytest.approx([0.5 / scale, -0.75 / scale])


def test_page_hinkley_follows_its_definition():
    rng = np.random.default_rng(2)
    series = np.r_[rng.normal(size=60), rng.normal(2.0, size=40)]
    total, low, mean, expected = 0.0, np.inf, 0.0, []
    for step, value in enumerate(series):
        mean += (value - mean) / (step + 1)
        total = 0.9999 * total + (value - mean - 0.005)
        low = min(low, total)
        expected.append(total - low if step >= 29 else 0.0)
    assert PageHinkley().path(series).tolist() == pytest.approx(expected)


def test_unknown_detectors_are_named():
    with pytest.raises(UnknownNameError, match="cusum"):
        detector_of("cusun")


def test_online_mmd_is_the_mmd_of_each_window():
    from medrobust.metrics.drift.kernels import mmd

    rows = np.random.default_rng(3).normal(size=(30, 2))
    kernel = gaussian_kernel(rows, rows, 1.0)
    found = online_mmd(kernel, np.arange(20), np.arange(20, 30), 4)
    expected = [mmd(rows[:20], rows[20 + s : 24 + s], 1.0) for s in range(7)]
    assert found.tolist() == pytest.approx(expected)


def test_online_mmd_runs_as_long_as_asked():
    rng = np.random.default_rng(4)
    window, budget, runs = 5, 50, 240
    lengths = []
    for _ in range(6):
        reference = rng.normal(size=(300, 2))
        sigma = median_bandwidth(reference)
        kernel = gaussian_kernel(reference, reference, sigma)
        limits = online_mmd_limits(kernel, window, budget, rng, replicas=1000)
        both = np.empty((550, 550))
        both[:300, :300] = kernel
        for _ in range(runs // 6):
            rows = np.concatenate([reference, rng.normal(size=(250, 2))])
            both[300:] = gaussian_kernel(rows[300:], rows, sigma)
            both[:300, 300:] = both[300:, :300].T
            path = online_mmd(both, np.arange(300), np.arange(300, 550), window)
            over = path > np.r_[limits, np.full(len(path) - window, limits[-1])]
            lengths.append(int(over.argmax()) + 1 if over.any() else len(path))
    error = np.std(lengths) / np.sqrt(runs)
    assert np.mean(lengths) == pytest.approx(budget, abs=4 * error + 0.15 * budget)
    assert (np.median(lengths), np.std(lengths)) == pytest.approx((41, 45), rel=0.35)  # geometric
    with pytest.raises(InvalidDataError, match="shorter window"):
        online_mmd_limits(kernel[:10, :10], 5, 50, rng)


def test_a_limit_over_references_keeps_the_mean_of_false_alarms_and_says_how_far_they_differ():
    rng = np.random.default_rng(6)
    offsets = rng.normal(0, 0.15, 60)
    paths = rng.normal(size=(400, 60, 12)) + offsets[:, None]
    found = limit_over_references(paths, 100)
    exact = 1 / stats.norm.sf(found.value - offsets)
    assert 1 / (1 / exact).mean() == pytest.approx(100, rel=0.12)
    low, high = np.quantile(exact, [0.1, 0.9])
    assert (found.low, found.high) == (pytest.approx(low, rel=0.2), pytest.approx(high, rel=0.2))
    sure = limit_over_references(paths, 100, confidence=0.9)
    assert (1 / stats.norm.sf(sure.value - offsets) >= 95).mean() == pytest.approx(0.9, abs=0.08)
    with pytest.raises(InvalidDataError, match="smaller one"):
        limit_over_references(paths[:, :1, :1], 100)


def test_references_that_are_alike_have_no_spread():
    paths = np.random.default_rng(7).normal(size=(400, 40, 12))
    found = limit_over_references(paths, 100)
    assert found.value == pytest.approx(stats.norm.isf(0.01), abs=0.06)
    assert found.high / found.low < 2


@pytest.mark.parametrize("scatter", [0.4, 1.0])
def test_eight_in_ten_references_lie_in_the_range_also_where_a_detector_gathers_first(scatter):
    """Run lengths of spread `scatter` times their mean; 1: pure chance. Means differ by a third."""
    rng = np.random.default_rng(9)
    covered = []
    for _ in range(24):
        means = 60 * np.exp(0.3 * rng.normal(size=548))
        lengths = means[:48, None] * rng.gamma(scatter**-2, scatter**2, (48, 12))
        paths = (np.arange(1, 241)[:, None, None] >= lengths).astype(float)
        found = limit_over_references(paths, 50)
        covered.append(((means >= found.low) & (means <= found.high)).mean())
    assert np.mean(covered) == pytest.approx(0.8, abs=0.1)


def test_a_confidence_is_refused_where_nothing_tells_how_references_differ():
    lengths = np.tile(np.arange(1, 13) * 20.0, (48, 1))  # every reference the same
    paths = (np.arange(1, 401)[:, None, None] >= lengths).astype(float)
    found = limit_over_references(paths, 50)
    assert found.low == found.high
    with pytest.raises(InvalidDataError, match=r"a limit for --confidence 0\.9: leave it out"):
        limit_over_references(paths, 50, confidence=0.9)


def spreading(streams=40):
    """Run lengths e^(h + 0.4 z (h - 3.5)) at limit h, z standard normal over 48 references."""
    z = stats.norm.ppf((np.arange(48) + 0.5) / 48)[:, None]
    chance = np.random.default_rng(10).gamma(6.25, 0.16, (48, streams))
    days = np.arange(1, 481)[:, None, None]
    return (np.log(days / chance) + 1.4 * z) / (1 + 0.4 * z)


def test_a_confidence_holds_by_the_spread_at_its_own_limit():
    """The share c of references keeps e^(h - 0.4 z_c (h - 3.5)), by the spread at h, not below."""
    far = 0.4 * stats.norm.ppf(0.9)
    exact = (np.log(60) - 3.5 * far) / (1 - far)  # 4.72, and 4.44 by the spread below
    found = limit_over_references(spreading(), 60, confidence=0.9)
    assert found.value == pytest.approx(exact, abs=0.08)
    assert found.low == pytest.approx(60, rel=0.02)


def test_a_low_confidence_leaves_the_limit_of_the_mean():
    paths = spreading(12)
    found = limit_over_references(paths, 60)
    for confidence in (0.01, 0.5, 0.54):  # at it log R has its median s^2 / 2 above the budget
        assert limit_over_references(paths, 60, confidence=confidence) == found


def test_a_confidence_is_refused_where_false_alarms_are_too_few():
    with pytest.raises(InvalidDataError, match=r"^9\d false alarms .* too few to tell .* smaller"):
        limit_over_references(spreading(2), 60, confidence=0.9)


@pytest.mark.parametrize(("silent", "streams"), [(0, 12), (30, 6), (55, 6)])
def test_rates_of_alarms_are_right_for_few_streams_whether_alarms_come_by_chance_or_not(
    silent, streams
):
    rng = np.random.default_rng(8)
    lengths = silent + rng.exponential(60 - silent, (1500, streams))
    highest = np.arange(1, 301)[:, None, None] >= lengths + 0.5
    rates, alarms = alarm_rates(highest.astype(float), 0.5)
    assert 1 / rates.mean() == pytest.approx(60, rel=0.03)
    assert alarms.sum() == (lengths <= 299.5).sum()
