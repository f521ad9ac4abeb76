"""Paired score intervals by their definition, sign flips by counting, families by simulation."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import optimize, stats

from medrobust.metrics import compare_areas, compare_errors
from medrobust.metrics.flips import error_scores, flip_tests
from medrobust.metrics.influence import areas
from medrobust.metrics.paired import (
    bounds_of,
    paired,
    parts_of,
    score_statistic,
    tango,
    too_few_of,
)
from medrobust.metrics.pairs import t_tail

Z = stats.norm.ppf(0.975)


def family(wrong, *, labels=None, groups=None):
    """Compare all pairs: {(first, second): Comparison}."""
    pairs = list(combinations(range(len(wrong)), 2))
    found = compare_errors(
        np.asarray(wrong, dtype=float), np.array(pairs), labels=labels, groups=groups, key="k"
    )
    return dict(zip(pairs, found, strict=True))


def answers(errors, count, rng, shared=0.5):
    """Errors of models on images of shared difficulty: bool (M, count)."""
    hard = np.sqrt(shared) * rng.normal(size=count)
    noise = np.sqrt(1 - shared) * rng.normal(size=(len(errors), count))
    return hard + noise < stats.norm.ppf(errors)[:, None]


@pytest.mark.parametrize(
    ("only_first", "only_second", "count"), [(9, 1, 44), (1, 3, 1000), (0, 3, 100), (12, 12, 60)]
)
def test_at_its_bounds_tangos_statistic_is_the_quantile(only_first, only_second, count):
    low, high = (
        bound[0]
        for bound in tango(
            *(np.array([v]) for v in (only_first / count, only_second / count, count, Z))
        )
    )
    rest = count - only_first - only_second
    for bound, sign in ((low, 1), (high, -1)):

        def loss(second, bound=bound):  # likelihood of the share of the second's own errors
            first = second + bound
            parts = ((only_first, first), (only_second, second), (rest, 1 - first - second))
            return -sum(n * np.log(max(p, 1e-300)) for n, p in parts if n)

        inside = (max(0.0, -bound), min(1.0, (1 - bound) / 2))
        best = optimize.minimize_scalar(loss, bounds=inside, options={"xatol": 1e-12}).x
        variance = (2 * best + bound - bound**2) / count
        statistic = ((only_first - only_second) / count - bound) / np.sqrt(variance)
        assert statistic == pytest.approx(sign * Z, rel=1e-3)


@pytest.mark.parametrize(("errors", "count"), [((1, 3), 1000), ((0, 3), 100), ((0, 0), 50)])
@pytest.mark.parametrize("balanced", [False, True])
def test_bounds_of_models_that_hardly_differ_are_neither_points_nor_endless(
    errors, count, balanced
):
    """0.1: bounds of a million, or of 6, and [0, 0] where models never differ."""
    wrong = [np.arange(count) < number for number in errors]
    labels = np.arange(count) % 2 if balanced else None
    found = family(wrong, labels=labels)[0, 1]
    assert found.low < found.difference < found.high
    assert -9 / count < found.low
    assert found.high < 9 / count
    assert found.p > 0.05
    if errors == (0, 0) and not balanced:
        assert found.high == pytest.approx(Z**2 / (count + Z**2), abs=1e-6)


def test_patients_widen_an_interval_and_copies_of_an_image_are_no_information():
    rng = np.random.default_rng(0)
    first, second = answers([0.35, 0.25], 80, rng)
    alone = family([first, second])[0, 1]
    rows = np.repeat(np.arange(80), 6)
    copies = family([first[rows], second[rows]], groups=rows)[0, 1]
    assert copies.high - copies.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert copies.p == pytest.approx(alone.p, rel=0.3)


@pytest.mark.parametrize(("better", "worse"), [(9, 1), (6, 0), (7, 5)])
def test_few_units_are_counted_to_the_last_turn(better, worse):
    differences = np.repeat([1.0, -1.0], [better, worse])[None]
    parts = parts_of(None, None, better + worse)
    wrong = np.vstack([np.maximum(differences, 0), np.maximum(-differences, 0)])
    scores = error_scores(wrong, np.array([[0, 1]]), paired(differences, parts), parts)
    expected = stats.binomtest(better, better + worse).pvalue
    assert flip_tests(scores, "any")[0][0] == pytest.approx(expected)


def test_the_family_is_westfall_and_youngs_step_down_by_brute_force():
    rng = np.random.default_rng(1)
    wrong = rng.random((4, 11)).round(1)
    pairs = np.array(list(combinations(range(4), 2)))
    gaps = wrong[pairs[:, 0]] - wrong[pairs[:, 1]]
    parts = parts_of(None, None, 11)
    alone, adjusted = flip_tests(error_scores(wrong, pairs, paired(gaps, parts), parts), "any")
    turns = np.array(list(product([1, -1], repeat=11)))
    turned = np.abs(turns @ gaps.T) / np.sqrt((gaps**2).sum(axis=1))
    seen = turned[0]
    for place in range(6):
        assert alone[place] == pytest.approx(np.mean(turned[:, place] > seen[place] - 1e-3))
        steps = []
        for other in np.flatnonzero(seen >= seen[place] - 1e-12):
            left = turned[:, seen <= seen[other] + 1e-12].max(axis=1)
            steps.append(np.mean(left > seen[other] - 1e-3))
        assert adjusted[place] == pytest.approx(max(steps))


def test_forty_models_hide_no_difference_of_twenty_against_fifty_percent():
    """0.1 found none from eight models on."""
    rng = np.random.default_rng(2)
    labels = np.arange(200) % 4
    errors = np.r_[0.5, np.full(39, 0.2)]
    for given in (None, labels):
        found = family(answers(errors, 200, rng), labels=given)
        different = [found[0, k].p_familywise < 0.05 for k in range(1, 40)]
        assert np.mean(different) > 0.95
        others = [one.p_familywise for (first, _), one in found.items() if first > 0]
        assert min(others) > 0.01
        assert all(one.p_familywise >= one.p for one in found.values())


@pytest.mark.every_nth(2)
@pytest.mark.parametrize("patients", [None, 20])
def test_the_chance_of_any_false_finding_is_kept_by_a_family_with_a_bad_model(patients):
    rng = np.random.default_rng(3)
    errors, wrong = np.r_[0.6, np.full(5, 0.2)], 0
    groups = None if patients is None else np.repeat(np.arange(patients), 4)
    for _ in range(120):
        rows = np.arange(80) if groups is None else groups
        found = family(answers(errors, 80, rng)[:, rows], groups=groups)
        wrong += min(one.p_familywise for (a, _), one in found.items() if a > 0) < 0.05
    assert wrong / 120 <= 0.09


@pytest.mark.parametrize(
    ("sizes", "groups", "reason"),
    [
        ((60, 1), None, "a class has 1 image, 5 are needed"),
        ((60, 4), None, "a class has 4 images, 5 are needed"),
        ((60, 20), np.r_[np.arange(60), 60 + np.arange(20) // 5], "a class has 4 patients"),
    ],
)
def test_a_class_of_few_units_has_no_p_value_but_a_reason(sizes, groups, reason):
    labels = np.repeat([0, 1], sizes)
    wrong = answers([0.3, 0.3], len(labels), np.random.default_rng(4))
    found = family(wrong, labels=labels, groups=groups)[0, 1]
    assert (found.low, found.high, found.p, found.p_familywise) == (None,) * 4
    assert reason in found.reason
    assert family(wrong, groups=groups)[0, 1].p is not None  # the plain error has no classes


def test_fewer_than_five_patients_have_no_difference_of_plain_errors_but_a_reason():
    wrong = answers([0.3, 0.4], 40, np.random.default_rng(4))
    few, enough = (family(wrong, groups=np.arange(40) % count)[0, 1] for count in (4, 5))
    assert (few.low, few.high, few.p, few.p_familywise) == (None,) * 4
    assert "there are 4 patients, 5 are needed" in few.reason
    assert None not in (enough.low, enough.high, enough.p)
    assert too_few_of(None, np.zeros(9, int), 9) == "there is 1 patient, 5 are needed"
    assert too_few_of(None, None, 4) == "there are 4 images, 5 are needed"
    assert too_few_of(None, None, 5) == ""


def test_patients_of_uneven_size_are_counted_by_an_effective_number_that_says_so():
    labels = np.repeat([0, 1, 2], 20)
    groups = np.r_[np.repeat([0, 1, 2, 3, 4], [10, 4, 3, 2, 1]), 5 + np.arange(40) // 4]
    draws = np.random.default_rng(0).normal(size=(2, 60, 3))
    own = [areas(one, labels, label_kind="multi-class", groups=groups) for one in draws]
    pair = compare_areas(own, np.array([[0, 1]]), labels=labels, groups=groups, key="k")[0]
    assert "has an effective number of 3.08 patients" in pair.reason  # 1 / (.5^2 + .2^2 + ...)


@pytest.mark.parametrize("recalls", [((0.2, 0.2), (0.2, 0.2)), ((0.1, 0.8), (0.3, 0.6))])
@pytest.mark.parametrize("sizes", [(100, 10), (200, 5)])
def test_the_balanced_error_keeps_its_level_with_a_rare_class(sizes, recalls):
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1], sizes)
    edges = stats.norm.ppf(np.array(recalls))[:, labels]
    hard = rng.normal(size=(300, 1, len(labels)))
    wrong = (hard + rng.normal(size=(300, 2, len(labels))) < edges * np.sqrt(2)).reshape(600, -1)
    pairs = np.arange(600).reshape(300, 2)
    found = compare_errors(wrong.astype(float), pairs, labels=labels, groups=None, key="k")
    assert np.mean([one.p < 0.05 for one in found]) <= 0.075


def test_the_test_that_is_named_is_the_one_whose_p_is_shown():
    """Patients of unequal sizes: sign flips, all turned by hand, are not always the larger."""
    rng = np.random.default_rng(3)
    named = set()
    for _ in range(20):
        sizes = rng.integers(1, 9, size=8)
        groups = np.repeat(np.arange(8), sizes)
        wrong = rng.random((2, len(groups))) < np.array([[0.5], [0.3]])
        one = family(wrong, groups=groups)[0, 1]
        parts = parts_of(None, groups, len(groups))
        found = paired((wrong[:1].astype(float) - wrong[1:]), parts)
        score = t_tail(score_statistic(found)[0], found.degrees[0])
        flips = by_hand(wrong[0].astype(float) - wrong[1], groups)
        assert one.p == pytest.approx(max(score, flips))
        assert one.test == ("sign flips" if flips > score else "score")
        named.add(one.test)
    assert named == {"sign flips", "score"}


def by_hand(difference, groups):
    """Return the share of all turns of patients that differ as much."""
    sums = np.bincount(groups, difference)
    turned = np.abs(np.array(list(product((-1, 1), repeat=len(sums)))) @ sums)
    return np.mean(turned >= abs(sums.sum()) - 1e-9)


def test_a_p_value_below_five_percent_has_an_interval_without_zero():
    rng = np.random.default_rng(6)
    labels = np.arange(150) % 3
    found = family(answers(np.linspace(0.2, 0.4, 12), 150, rng), labels=labels).values()
    assert {one.p < 0.05 for one in found} == {True, False}
    assert all(one.low > 0 or one.high < 0 for one in found if one.p < 0.05)


@pytest.mark.parametrize("labels", [None, np.arange(60) % 3])
def test_the_statistic_is_the_quantile_where_the_interval_meets_zero(labels):
    rng = np.random.default_rng(7)
    gaps = np.diff(answers([0.2, 0.4], 60, rng).astype(float), axis=0)
    found = paired(gaps, parts_of(labels, None, 60))
    at = np.abs(score_statistic(found))
    low, high = tango(found.ups, found.downs, found.images, at)
    assert min(abs(low[0]), abs(high[0])) == pytest.approx(0, abs=1e-6)
    assert bounds_of(found)[0][0] < found.difference[0] < bounds_of(found)[1][0]


@pytest.mark.parametrize("degrees", [4.0, 7.5, 30.0, 3e4, 1e9])
@pytest.mark.parametrize("statistic", [0.0, 0.3, 2.0, 4.5, 30.0])
def test_tails_are_those_of_students_t(statistic, degrees):
    expected = 2 * stats.t.sf(statistic, degrees)
    assert t_tail(statistic, degrees) == pytest.approx(expected, rel=1e-6)


def scored(positives, negatives, area, rng, models=2):
    labels = np.repeat([1, 0], [positives, negatives])
    shift = np.sqrt(2) * stats.norm.ppf(area) * labels
    hard = rng.normal(size=len(labels))
    found = []
    for _ in range(models):
        scores = np.sqrt(0.5) * (hard + rng.normal(size=len(labels))) + shift
        found.append(areas(np.c_[-scores, scores], labels, label_kind="binary-class", positive=1))
    return found, labels


@pytest.mark.parametrize(
    ("positives", "missing"), [(4, {"low", "p"}), (5, {"low"}), (9, {"low"}), (12, set())]
)
def test_few_positives_leave_an_auc_without_interval_or_test_and_say_so(positives, missing):
    found, labels = scored(positives, 200, 0.8, np.random.default_rng(8))
    (one,) = compare_areas(found, np.array([[0, 1]]), labels=labels, groups=None, key="k")
    assert {name for name in ("low", "p") if getattr(one, name) is None} == missing
    assert bool(one.reason) == bool(missing)


@pytest.mark.every_nth(3)
@pytest.mark.parametrize(("positives", "area"), [(5, 0.7), (15, 0.99), (60, 0.8)])
def test_aucs_of_equal_models_keep_their_level(positives, area):
    rng = np.random.default_rng(9)
    found, labels = scored(positives, 100, area, rng, models=2)
    rejected = held = 0
    for _ in range(200):
        found, labels = scored(positives, 100, area, rng)
        (one,) = compare_areas(found, np.array([[0, 1]]), labels=labels, groups=None, key="k")
        rejected += one.p < 0.05
        held += one.low is None or one.low <= 0 <= one.high
    assert rejected / 200 <= 0.08
    assert held / 200 >= 0.91


@pytest.mark.parametrize(
    ("counts", "said"),
    [([20] * 12 + [1] * 8, "has 1 image, 5 are needed"), ([5] * 8, "")],
)
def test_a_mean_of_aucs_needs_five_images_of_each_class(counts: list[int], said: str) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    draws = np.random.default_rng(0).normal(size=(2, len(labels), len(counts)))
    own = [areas(scores, labels, label_kind="multi-class") for scores in draws]
    pair = compare_areas(own, np.array([[0, 1]]), labels=labels, groups=None, key="k")[0]
    assert said in pair.reason
    assert (pair.p is None) == bool(said)


def test_three_images_of_one_patient_are_one_of_the_five_that_a_class_needs() -> None:
    labels, groups = np.repeat(np.arange(3), 15), np.arange(45) // 5
    draws = np.random.default_rng(0).normal(size=(2, 45, 3))
    own = [areas(one, labels, label_kind="multi-class", groups=groups) for one in draws]
    pair = compare_areas(own, np.array([[0, 1]]), labels=labels, groups=groups, key="k")[0]
    assert pair.p is pair.low is None
    assert "has 3 patients" in pair.reason
