"""Tests between models against scipy, hand-worked numbers, and their level on permuted models."""

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from medrobust.exceptions import InvalidDataError
from medrobust.metrics import (
    benjamini_hochberg,
    compare_errors,
    delong_test,
    delong_variance,
    holm,
    mcnemar,
    rank_intervals,
    variance_split,
)
from medrobust.metrics.aggregates import error_terms
from medrobust.metrics.comparisons import resample_counts


def pair(rng, count=300, effect=0.0, patients=None):
    """Errors of two models that are equal but for the effect, on images of shared difficulty."""
    groups = np.arange(count) if patients is None else np.arange(count) % patients
    hard = rng.normal(size=count)[groups]
    first, second = (hard + rng.normal(size=count)[groups] > 0.8 for _ in range(2))
    return first.astype(float), np.maximum(second, rng.random(count) < effect).astype(float), groups


def test_mcnemar_is_the_binomial_test_of_discordant_pairs():
    rng = np.random.default_rng(0)
    first, second, _ = pair(rng, effect=0.1)
    better, worse = ((first > second).sum(), (first < second).sum())
    expected = stats.binomtest(int(better), int(better + worse)).pvalue
    assert mcnemar(first == 1, second == 1) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(first == 1, first == 1) == 1.0


def test_mcnemar_of_many_pairs_is_the_corrected_normal_form():
    first = np.arange(40_000) < 20_300
    expected = stats.chi2.sf((20_300 - 19_700 - 1) ** 2 / 40_000, 1)
    assert mcnemar(first, ~first) == pytest.approx(expected, rel=1e-6)


def worked():
    truth = np.array([True, True, True, False, False])
    return np.array([0.9, 0.7, 0.4, 0.5, 0.3]), np.array([0.8, 0.3, 0.6, 0.5, 0.4]), truth


def test_delong_equals_values_worked_by_hand():
    first, second, truth = worked()
    # V10 of the first: 1, 1, 1/2; V01: 2/3, 1. S10 = 1/12, S01 = 1/18
    assert delong_variance(first, truth) == pytest.approx(1 / 36 + 1 / 36)
    found = delong_test(first, second, truth)
    # second: V10 1, 0, 1; V01 2/3, 2/3; differences 0, 1, -1/2 and 0, 1/3
    variance = np.var([0, 1, -0.5], ddof=1) / 3 + np.var([0, 1 / 3], ddof=1) / 2
    assert found.difference == pytest.approx(5 / 6 - 4 / 6)
    assert found.p == pytest.approx(2 * stats.norm.sf((1 / 6) / np.sqrt(variance)))
    assert found.high - found.low == pytest.approx(2 * 1.959964 * np.sqrt(variance), rel=1e-6)


def test_delong_equals_a_published_variance():
    """The test of yandexdataschool/roc_comparison: logistic regression on a part of iris."""
    data = load_iris()
    split = train_test_split(data.data, data.target == 1, test_size=0.8, random_state=42)
    train, test, train_truth, truth = split
    scores = LogisticRegression().fit(train, train_truth).predict_proba(test)[:, 1]
    assert delong_variance(scores, truth) == pytest.approx(0.0015359814789736538, rel=1e-9)


def test_delong_equals_the_double_sum_of_its_definition():
    rng = np.random.default_rng(1)
    truth = rng.random(90) < 0.4
    scores = np.round(rng.normal(size=90) + truth, 1)
    wins = np.sign(scores[truth][:, None] - scores[~truth]) / 2 + 0.5
    expected = wins.mean(1).var(ddof=1) / truth.sum() + wins.mean(0).var(ddof=1) / (~truth).sum()
    assert delong_variance(scores, truth) == pytest.approx(expected)


def test_delong_without_two_of_each_is_refused():
    with pytest.raises(InvalidDataError, match="two positives"):
        delong_variance(np.arange(3.0), np.array([True, False, False]))
    with pytest.raises(InvalidDataError, match="positives and negatives"):
        delong_test(np.arange(3.0), np.arange(3.0), np.zeros(3, bool))


def compared(wrong, pairs, *, labels=None, groups=None):
    return compare_errors(
        np.asarray(wrong, dtype=float), np.array(pairs), labels=labels, groups=groups, key="k"
    )


@pytest.mark.parametrize("patients", [None, 60])
def test_a_comparison_keeps_its_level_where_models_are_the_same(patients):
    rng = np.random.default_rng(2)
    drawn = [pair(rng, patients=patients) for _ in range(400)]
    groups = None if patients is None else drawn[0][2]
    wrong = [errors for first, second, _ in drawn for errors in (first, second)]
    found = compared(wrong, np.arange(800).reshape(400, 2), groups=groups)
    rejected = np.mean([comparison.p < 0.05 for comparison in found])
    covered = np.mean([comparison.low <= 0 <= comparison.high for comparison in found])
    assert 0.025 <= rejected <= 0.08
    assert 0.93 <= covered <= 1 - rejected  # a p-value is that of the interval, or larger


def traded(rng, count=60, images=2):
    """Two models of equal balanced error, of which each is right where the other is wrong."""
    groups = np.repeat(np.arange(count), images)
    labels = rng.permutation(np.arange(count) < count // 3).astype(int)[groups]
    chances = np.where(labels == 1, 0.1, 0.8), np.where(labels == 1, 0.8, 0.1)
    hard = rng.normal(size=count)[groups] + rng.normal(size=(2, len(groups)))
    cuts = [stats.norm.ppf(chance) * np.sqrt(2) for chance in chances]
    first, second = (hard < np.stack(cuts)).astype(float)
    return first, second, labels, groups


@pytest.mark.slow
def test_the_balanced_error_keeps_its_level_where_models_trade_classes():
    rng = np.random.default_rng(9)
    draws = resample_counts("level", 60, resamples=400)
    found, bootstrapped = [], []
    for trial in range(400):
        first, second, labels, groups = traded(rng)
        found += compared([first, second], [(0, 1)], labels=labels, groups=groups)
        if trial < 20:  # the same by its definition: recalls of each resample, classes drawn too
            classes = [labels == 0, labels == 1]
            weights = draws[:, groups]
            gains = [(weights[:, k] @ (first - second)[k]) / weights[:, k].sum(1) for k in classes]
            bootstrapped.append(np.mean(gains, axis=0).std())
            expected = np.mean([(first - second)[k].mean() for k in classes])
            assert found[-1].difference == pytest.approx(expected)
    rejected = np.mean([comparison.p < 0.05 for comparison in found])
    assert 0.025 <= rejected <= 0.08
    halves = [(one.high - one.low) / 2 / 1.96 for one in found[:20]]
    assert np.mean(halves) == pytest.approx(np.mean(bootstrapped), rel=0.12)


def test_terms_of_several_labels_have_the_mean_over_labels_of_balanced_errors():
    rng = np.random.default_rng(10)
    labels = (rng.random((50, 3)) < [0.2, 0.5, 0.0]).astype(int)
    wrong = rng.random((50, 3)).round(1)
    expected = [
        np.mean([wrong[labels[:, c] == k, c].mean() for k in np.unique(labels[:, c])])
        for c in range(3)
    ]
    assert error_terms(wrong, labels).mean() == pytest.approx(np.mean(expected))
    assert error_terms(wrong, None) == pytest.approx(wrong.mean(axis=1))


def test_images_of_a_patient_do_not_count_as_independent():
    rng = np.random.default_rng(3)
    wrong = [errors for _ in range(200) for errors in pair(rng, patients=60)[:2]]
    naive = compared(wrong, np.arange(400).reshape(200, 2))
    assert np.mean([one.p < 0.05 for one in naive]) > 0.15


def test_mcnemar_and_delong_keep_their_level_on_permuted_models():
    rng = np.random.default_rng(4)
    rejected = np.zeros(2)
    for _ in range(400):
        first, second, _ = pair(rng)
        swap = rng.random(300) < 0.5
        one, two = np.where(swap, second, first), np.where(swap, first, second)
        truth = rng.random(300) < 0.4
        scores = rng.normal(size=(2, 300)) + truth
        rejected += [
            mcnemar(one == 1, two == 1) < 0.05,
            delong_test(*scores, truth).p < 0.05,
        ]
    assert (rejected / 400 <= 0.075).all()
    assert rejected[1] / 400 >= 0.025


def test_a_difference_that_is_there_is_found_and_equal_models_differ_by_nothing():
    first, second, _ = pair(np.random.default_rng(5), effect=0.2)
    (found,) = compared([first, second], [(0, 1)])
    assert found.p < 0.01
    assert found.low < found.difference < found.high < 0
    assert [found] == compared([first, second], [(0, 1)])
    (same,) = compared([first, first], [(0, 1)])
    assert (same.difference, same.p, same.p_familywise) == (0.0, 1.0, 1.0)


def test_corrections_equal_scipys():
    values = np.random.default_rng(6).random(12) ** 3
    expected = stats.false_discovery_control(values, method="bh")
    assert benjamini_hochberg(values) == pytest.approx(expected)
    order = np.argsort(values)
    step = np.minimum(np.maximum.accumulate(values[order] * np.arange(12, 0, -1)), 1)
    assert np.array(holm(values))[order] == pytest.approx(step)
    assert holm([]) == []


def test_ranks_are_open_where_no_pair_is_told_apart():
    assert rank_intervals([0.1, 0.3, 0.3, 0.6], []) == [(1, 1, 4), (2, 1, 4), (2, 1, 4), (4, 1, 4)]
    apart = [(0, 1), (2, 0), (3, 0), (1, 3), (2, 3)]
    assert rank_intervals([0.1, 0.3, 0.3, 0.6], apart) == [
        (1, 1, 1), (2, 2, 3), (2, 2, 3), (4, 4, 4),
    ]  # fmt: skip


def test_variance_of_a_full_grid_is_split_exactly():
    grid = [{"seed": s, "prompts": p, "split": "test"} for s in range(3) for p in "ab"]
    values = [entry["seed"] + (3 if entry["prompts"] == "b" else 0) for entry in grid]
    shares = variance_split(grid, values)
    seeds, prompts = 2 / 3, 9 / 4
    assert shares["seed"] == pytest.approx(seeds / (seeds + prompts))
    assert shares["prompts"] == pytest.approx(prompts / (seeds + prompts))
    assert shares["rest"] == pytest.approx(0.0, abs=1e-12)
    assert "split" not in shares
    assert variance_split(grid, [1.0] * 6) == {"seed": 0.0, "prompts": 0.0, "rest": 0.0}
    with pytest.raises(InvalidDataError, match="no variance"):
        variance_split(grid[:1], [1.0])


def test_draws_depend_on_the_key_alone_and_keep_the_size_of_strata():
    strata = np.array([0, 0, 0, 1, 1])
    counts = resample_counts("a", 5, resamples=50, strata=strata)
    assert (counts[:, :3].sum(axis=1) == 3).all()
    np.testing.assert_array_equal(counts, resample_counts("a", 5, resamples=50, strata=strata))
    assert (counts != resample_counts("b", 5, resamples=50, strata=strata)).any()
