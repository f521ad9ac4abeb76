"""Joined probabilities against hand-computed ones, and what must hold of every way."""

import numpy as np
import pytest
from scipy.special import expit, logit

from medrobust.metrics.joining import (
    WAYS,
    bag_size_bias,
    family,
    joined_log_odds,
    joined_log_probabilities,
)

P = np.array([0.1, 0.4, 0.7])
NUMBERED_WAYS = ("top_2", "lse_5", "norm_3", "softmax_1")
SEVERAL = (*WAYS, *NUMBERED_WAYS)


def joined(p, units, how):
    return expit(joined_log_odds(logit(np.asarray(p))[:, None], np.asarray(units), how)[:, 0])


ODDS = (1 / 9) * (4 / 6) * (7 / 3)


@pytest.mark.parametrize(
    ("how", "truth"),
    [
        *[("noisy_or", 0.838), ("max", 0.7), ("mean", 0.4), ("most_confident", 0.1)],
        ("product", ODDS / (1 + ODDS)),
    ],
)
def test_three_images_of_one_patient_by_hand(how, truth):
    assert joined(P, [0, 0, 0], how) == pytest.approx([truth], abs=1e-15)


def test_ten_negatives_at_5_percent_are_40_percent_by_noisy_or():
    assert joined([0.05] * 10, [0] * 10, "noisy_or") == pytest.approx([1 - 0.95**10], abs=1e-15)


@pytest.mark.parametrize(
    ("how", "truth"),
    [
        ("lse_5", np.log(np.exp(5 * P).mean()) / 5),
        ("lse_5", 0.5285398),
        ("top_2", 0.55),
        ("top_9", 0.4),
        ("norm_3", 0.5142563),
        ("softmax_1", 0.4591172),
        ("softmax_0", 0.4),
        ("norm_1", 0.4),
    ],
)
def test_ways_with_a_number_by_hand(how, truth):
    assert joined(P, [0, 0, 0], how) == pytest.approx([truth], abs=5e-8)


@pytest.mark.parametrize("name", ["lse", "norm", "softmax"])
def test_a_large_number_comes_to_the_largest_and_a_small_one_to_the_mean(name):
    assert joined(P, [0, 0, 0], f"{name}_2000") == pytest.approx([0.7], abs=1e-3)
    small = {"lse": "lse_0.00001", "norm": "norm_1", "softmax": "softmax_0"}[name]
    assert joined(P, [0, 0, 0], small) == pytest.approx([0.4], abs=1e-5)


def test_only_some_ways_call_many_negatives_ill():
    counts = np.array([1, 2, 5, 10, 20])
    grown = {how: bag_size_bias(0.05, counts, how) for how in SEVERAL}
    assert grown["noisy_or"] == pytest.approx(1 - 0.95**counts, abs=1e-12)
    for how in ("mean", "max", "top_2", "lse_5", "norm_3", "softmax_1"):
        assert grown[how] == pytest.approx([0.05] * 5, abs=1e-12)
    assert grown["product"][-1] < 1e-20, "the product of experts becomes sure that there is none"


@pytest.mark.parametrize("how", ["median", "top", "top_0", "top_1.5", "lse_-1", "norm_0", "max_2"])
def test_ways_that_there_are_not(how):
    assert family(how) is None


def test_nothing_saturates_with_a_number_either():
    given = np.array([[-600.0], [-600.0], [-601.0]])
    three = np.zeros(3, np.int64)
    for how in NUMBERED_WAYS:
        low = joined_log_odds(given, three, how)[0, 0]
        assert -601 <= low <= -600, how
        high = joined_log_odds(-given, three, how)[0, 0]
        assert 600 <= high <= 601, how


@pytest.mark.parametrize("how", SEVERAL)
def test_units_lie_apart_in_any_order_of_their_images(how):
    units = np.array([1, 0, 1, 2, 0, 1])
    p = np.array([0.2, 0.3, 0.6, 0.9, 0.5, 0.1])
    alone = [joined(p[units == unit], [0] * (units == unit).sum(), how)[0] for unit in range(3)]
    assert joined(p, units, how) == pytest.approx(alone, abs=1e-15)
    turned = np.array([5, 3, 0, 4, 1, 2])
    assert joined(p[turned], units[turned], how) == pytest.approx(alone, abs=1e-15)


@pytest.mark.parametrize("how", SEVERAL)
def test_one_image_keeps_its_log_odds_however_extreme(how):
    given = np.array([[-900.0], [-40.0], [-1.0], [0.0], [3.0], [60.0], [900.0]])
    found = joined_log_odds(given, np.arange(7), how)
    assert found == pytest.approx(given, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("how", ["mean", "max", "most_confident", *NUMBERED_WAYS])
def test_copies_of_one_image_say_what_it_says(how):
    assert joined([0.3] * 4, [0] * 4, how) == pytest.approx([0.3], abs=1e-15)


def test_nothing_saturates_where_probabilities_would():
    given = np.array([[-800.0], [-800.0]])
    both = np.zeros(2, np.int64)
    assert joined_log_odds(given, both, "noisy_or")[0, 0] == pytest.approx(-800 + np.log(2))
    assert joined_log_odds(-given, both, "noisy_or")[0, 0] == pytest.approx(1600)
    assert joined_log_odds(given, both, "mean")[0, 0] == pytest.approx(-800)


def fused(p, units, how):
    logs = joined_log_probabilities(np.log(np.asarray(p)), np.asarray(units), how)
    return np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)


VIEWS = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]])


def test_the_product_of_experts_and_the_surest_view_by_hand():
    product = VIEWS.prod(axis=0)
    assert fused(VIEWS, [0, 0, 0], "product")[0] == pytest.approx(product / product.sum())
    assert fused(VIEWS, [0, 0, 0], "most_confident")[0] == pytest.approx(VIEWS[1])


@pytest.mark.parametrize("how", ["most_confident", "product"])
def test_one_view_is_itself_and_the_order_of_views_is_nothing(how):
    assert fused(VIEWS, [0, 1, 2], how) == pytest.approx(VIEWS)
    tied = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]])
    turned = [2, 0, 1]
    for views in (VIEWS, tied):
        assert fused(views[turned], [0, 0, 0], how) == pytest.approx(fused(views, [0, 0, 0], how))


def test_copies_of_the_surest_view_are_that_view():
    assert fused([VIEWS[0]] * 3, [0, 0, 0], "most_confident")[0] == pytest.approx(VIEWS[0])
