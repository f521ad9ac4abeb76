"""Differences of groups that share no image: published examples, coverage, shared patients."""

import numpy as np
import pytest

from medrobust.metrics import Estimate
from medrobust.metrics.intervals import share_interval, wilson
from medrobust.metrics.unpaired import likeness_of, unpaired_difference

REPEATS = 500


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_shares_have_the_intervals_that_newcombe_published(first, second, low, high):
    shares = [Estimate(k / n, *wilson(k / n, n)) for k, n in (first, second)]
    found = unpaired_difference(*shares)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-4)


def estimate(terms, groups=None):
    codes = None if groups is None else np.unique(groups, return_inverse=True)[1]
    return Estimate(float(terms.mean()), *share_interval(terms.astype(float), codes))


def test_the_p_value_is_below_five_percent_where_the_interval_excludes_zero():
    rng = np.random.default_rng(5)
    found = [
        unpaired_difference(estimate(rng.random(40) < 0.5), estimate(rng.random(60) < 0.3))
        for _ in range(200)
    ]
    assert [one.p < 0.05 for one in found] == [not one.low <= 0 <= one.high for one in found]
    assert 20 < sum(one.p < 0.05 for one in found) < 180
    same = unpaired_difference(estimate(np.ones(20)), estimate(np.ones(30)))
    assert (same.difference, same.p) == (0.0, 1.0)


def alone(rng):
    return rng.random(40) < 0.3, None, rng.random(120) < 0.3, None


def patients(rng):
    shares = rng.beta(0.6, 1.4, 60)
    wrong = (rng.random((60, 4)) < shares[:, None]).ravel()
    units = np.repeat(np.arange(60), 4)
    return wrong[:80], units[:80], wrong[80:], units[80:]


def shared(rng):
    shares = rng.beta(0.6, 1.4, 40)
    both = rng.random((2, 40, 3)) < shares[None, :, None]
    units = np.repeat(np.arange(40), 3)
    return both[0].ravel(), units, both[1].ravel(), units


@pytest.mark.parametrize("draw", [alone, patients, shared])
def test_intervals_cover_no_difference_in_95_of_100_draws(draw):
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(REPEATS):
        one, own, two, theirs = draw(rng)
        likeness = 0.0
        if own is not None:
            ends = np.zeros((2, len(one) + len(two)))
            ends[0, : len(one)] = (one - one.mean()) / len(one)
            ends[1, len(one) :] = (two - two.mean()) / len(two)
            likeness = likeness_of(*ends, np.r_[own, theirs])
        found = unpaired_difference(estimate(one, own), estimate(two, theirs), likeness)
        covered += found.low <= 0 <= found.high
    assert covered / REPEATS > 0.925  # 95 % less 2.5 standard errors; 94.8 to 98.6 % of 2,500


def test_patients_in_both_groups_make_their_difference_surer():
    rng = np.random.default_rng(2)
    one, own, two, theirs = shared(rng)
    ends = np.zeros((2, 240))
    ends[0, :120], ends[1, 120:] = one - one.mean(), two - two.mean()
    likeness = likeness_of(*ends, np.r_[own, theirs])
    assert 0.3 < likeness < 1
    found = unpaired_difference(estimate(one, own), estimate(two, theirs), likeness)
    without = unpaired_difference(estimate(one, own), estimate(two, theirs))
    assert found.high - found.low < without.high - without.low
