"""Intervals against published values, the plain bootstrap, and a small coverage simulation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from medrobust.metrics import Reading, cell_estimates, cell_metrics
from medrobust.metrics.aggregates import (
    change_interval,
    error_influence,
    error_interval,
    group_codes,
    mce_interval,
    relative_mce_interval,
)
from medrobust.metrics.classification import macro_f1
from medrobust.metrics.comparisons import resample_counts
from medrobust.metrics.curves import curves
from medrobust.metrics.f1_bounds import f1_interval
from medrobust.metrics.influence import (
    areas,
    balanced_influence,
    f1_influence,
    mean_precision,
    unseen_variance,
)
from medrobust.metrics.intervals import (
    around_logit,
    balanced_interval,
    logit_interval,
    mean_interval,
    mean_of_shares_interval,
    recovered,
    resting_on,
    share_interval,
    wilson,
)
from medrobust.metrics.paired import bounds_of, paired, parts_of
from medrobust.metrics.variances import t_quantile, variance_of_mean
from medrobust.tasks.classification.answers import metrics_of
from medrobust.tasks.classification.fits import Fit
from medrobust.tasks.classification.intervals import cost_interval, precision_interval

TASKS = ("multi-class", "ordinal-regression", "binary-class", "multi-label, binary-class")


def reading(label_kind="multi-class", count=400, seed=0, groups=None, skill=1.0):
    rng = np.random.default_rng([count, seed])
    classes = 2 if label_kind == "binary-class" else 4
    labels = rng.integers(classes, size=count)
    truth = np.eye(classes)[labels]
    if label_kind.startswith("multi-label"):
        truth = labels = (rng.random((count, classes)) < 0.4).astype(np.int64)
    logits = rng.normal(size=(count, classes)) + skill * truth
    positive = 0 if label_kind == "binary-class" else None
    return Reading(logits.astype(np.float32), labels, label_kind, positive, groups=groups)


def taken(given, rows):
    return Reading(given.logits[rows], given.labels[rows], given.label_kind, given.positive)


@pytest.mark.parametrize("degrees", [4, 5, 8, 30, 1000])
def test_t_quantiles_are_scipys(degrees):
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=2e-3)


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (153, 156), (7, 20), (156, 156)])
def test_wilson_is_scipys(hits, count):
    expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-9)
    terms = np.r_[np.ones(hits), np.zeros(count - hits)]
    assert share_interval(terms) == wilson(hits / count, count)


@pytest.mark.every_nth(2)
@pytest.mark.parametrize("label_kind", TASKS)
def test_every_interval_agrees_with_the_plain_bootstrap(label_kind):
    given = reading(label_kind)
    found = cell_estimates(given)
    rng = np.random.default_rng(1)
    drawn = [
        metrics_of(taken(given, rng.integers(len(given.labels), size=len(given.labels))))
        for _ in range(200)
    ]
    plain = cell_metrics(given.logits, given.labels, label_kind=label_kind, positive=given.positive)
    for name, estimate in found.items():
        assert estimate.value == plain[name]
        spread = np.std([values[name] for values in drawn])
        assert estimate.low < estimate.value < estimate.high
        if "ece" in name:  # not smooth; the lower side holds what chance adds to the value, too
            half, rough = estimate.high - estimate.value, 0.4
            assert estimate.value - estimate.low >= half or estimate.low == 0
        else:
            half, rough = (estimate.high - estimate.low) / 2, 0.2
        assert half == pytest.approx(1.96 * spread, rel=rough), name


def test_the_area_over_all_classes_is_scikit_learns_mean_over_them():
    given = reading()
    found = areas(given.scores, given.labels, label_kind="multi-class")
    truths = given.labels[:, None] == np.arange(4)
    assert found.value == pytest.approx(roc_auc_score(truths, given.scores, average="macro"))
    assert len(found.influence) == 400


@pytest.mark.parametrize("label_kind", TASKS)
def test_the_interval_of_the_errors_under_one_condition_is_that_of_the_cell(label_kind):
    """Which agrees with the bootstrap, above."""
    given = reading(label_kind)
    cell, wrong = cell_estimates(given), (given.predicted != given.labels).astype(float)
    balanced = error_interval(wrong, given.labels, None)
    expected = cell["balanced_accuracy"]
    assert balanced == pytest.approx((1 - expected.high, 1 - expected.low))
    center = error_influence(wrong, given.labels)
    assert center.shape == (400,)
    half = 1.96 * variance_of_mean(center)[0] ** 0.5
    assert (balanced[1] - balanced[0]) / 2 == pytest.approx(half, rel=0.05)


def test_no_cell_has_a_point_interval_even_if_it_is_perfect_or_single():
    perfect = Reading(np.eye(3)[[0, 1, 2, 2, 1]] * 9.0, np.array([0, 1, 2, 2, 1]), "multi-class")
    one = Reading(np.array([[0.0, 1.0]]), np.array([1]), "multi-class")
    for given in (perfect, one):
        for name, estimate in cell_estimates(given).items():
            if name in ("auprc", "ece", "adaptive_ece"):
                assert estimate.low is estimate.high is None  # too few images to know
            elif estimate.value is not None and name != "brier":
                assert estimate.high - estimate.low > 0.1, name
    assert cell_estimates(one)["auc"].low is None
    graded = Reading(np.eye(2)[[0]], np.array([0]), "ordinal-regression")
    assert cell_estimates(graded)["mean_absolute_grade_error"].high == 1.0  # off by all grades


def test_groups_of_one_image_change_nothing_and_copies_are_no_more_information():
    single = reading(groups=np.arange(400))
    alone = cell_estimates(reading())
    for name, estimate in cell_estimates(single).items():
        assert (estimate.low, estimate.high) == pytest.approx(
            (alone[name].low, alone[name].high), abs=4e-3
        ), name
    rows = np.repeat(np.arange(400), 4)
    copies = Reading(reading().logits[rows], reading().labels[rows], "multi-class", groups=rows)
    for name, estimate in cell_estimates(copies).items():
        width = (estimate.high - estimate.low) / (alone[name].high - alone[name].low)
        assert width == pytest.approx(1.0, abs=0.05), name


def test_the_influence_of_an_image_on_the_auprc_is_the_slope_of_scikit_learns_weights():
    rng = np.random.default_rng(8)
    labels, scores = rng.integers(3, size=60), rng.integers(9, size=(60, 3)) / 8  # with ties
    truths = labels[:, None] == np.arange(3)
    found = curves(scores, truths)
    for k, row in ((0, 5), (1, 17), (2, 40)):
        weights, step = np.ones(60), 1e-6
        weights[row] += step
        moved = average_precision_score(truths[:, k], scores[:, k], sample_weight=weights)
        slope = 60 * (moved - found.precisions[k]) / step
        assert found.precision_influence[k, row] == pytest.approx(slope, abs=1e-3)
    assert found.precision_influence.sum(axis=1) == pytest.approx(0, abs=1e-9)


def test_the_auprc_interval_holds_the_truth_over_patients_too():
    """Coverage at one place of the grid of `benchmarks.coverage`: images of a patient are alike."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(150), 4)

    def drawn(units, of):
        labels = (rng.random(units) < 0.3).astype(np.int64)[of]
        own = rng.normal(size=(units, 2))[of]
        logits = 0.7 * own + 0.7 * rng.normal(size=(len(of), 2)) + 1.5 * np.eye(2)[labels]
        return logits, labels

    logits, labels = drawn(50_000, np.repeat(np.arange(50_000), 4))
    truth = average_precision_score(labels, logits[:, 1] - logits[:, 0])
    held = dict.fromkeys(("patients", "images"), 0)
    for _ in range(300):
        logits, labels = drawn(150, groups)
        for name, given in (("patients", groups), ("images", None)):
            bounds = precision_interval(Reading(logits, labels, "binary-class", 1, groups=given))
            held[name] += bounds[0] <= truth <= bounds[1]
    assert 0.93 <= held["patients"] / 300 <= 0.98
    assert held["images"] / 300 < 0.88


def test_a_patients_images_weigh_together():
    groups = np.repeat(np.arange(50), 4)
    terms = np.repeat(np.arange(50) % 5 == 0, 4).astype(float)  # a patient is right or wrong whole
    low, high = share_interval(terms, groups)
    assert (low, high) == pytest.approx(wilson(0.2, 50, t_quantile(49)), abs=0.01)
    assert high - low > 1.8 * np.subtract(*wilson(0.2, 200)[::-1])
    assert group_codes(np.array(["a", "b"])) is None
    assert group_codes(np.array(["b", "a", "b"])).tolist() == [1, 0, 1]


def test_patients_are_counted_anew_where_an_array_of_them_was_written_over():
    terms, groups = np.arange(8.0), np.repeat(np.arange(4), 2)
    before = variance_of_mean(terms, groups)
    groups[:] = np.repeat(np.arange(2), 4)
    after = variance_of_mean(terms, groups)
    assert after != before
    assert after == variance_of_mean(terms, groups.astype(np.int32))  # which are not remembered


def test_equal_shares_of_equal_classes_have_the_interval_of_all_their_images():
    right = (np.random.default_rng(7).random(200) < 0.7).astype(float)
    labels = np.repeat([0, 1], 200)
    found = balanced_interval(np.r_[right, right[::-1]], labels)
    assert found == pytest.approx(wilson(right.mean(), 400), abs=1e-9)
    assert balanced_interval(np.ones(400), labels) == pytest.approx(wilson(1.0, 400), abs=1e-9)
    pairs = np.arange(400) // 2
    of_pairs = wilson(1.0, 200, t_quantile(199))
    assert balanced_interval(np.ones(400), labels, pairs) == pytest.approx(of_pairs)


def test_a_perfect_patient_counts_once_in_however_many_classes():
    """Ten patients with an image of each of eight classes say what ten patients say."""
    labels, groups = np.tile(np.arange(8), 10), np.repeat(np.arange(10), 8)
    plain = share_interval(np.ones(80), groups)
    assert balanced_interval(np.ones(80), labels, groups) == pytest.approx(plain)
    either = (np.arange(50)[:, None] + np.arange(14)) % 2  # half of the images have each label
    assert error_interval(np.zeros((50, 14)), either, None) == pytest.approx(wilson(0.0, 50))
    uneven = [np.arange(100), np.arange(1)]  # one patient is all of a class: (.5 + .005)^2 is his
    assert resting_on(uneven) == pytest.approx(1 / (0.505**2 + 99 * 0.005**2))


def test_sensitivity_and_specificity_rest_on_patients_not_on_what_each_has_of_every_class():
    labels, groups = np.tile(np.arange(8), 10), np.repeat(np.arange(10), 8)
    given = Reading(9.0 * np.eye(8)[labels], labels, "multi-class", groups=groups)
    found = Fit(given).estimates(given)
    of_patients = pytest.approx(share_interval(np.ones(80), groups))
    for name in ("sensitivity", "specificity"):
        assert (found[name].low, found[name].high) == of_patients
    told = np.where(groups[:, None] == 0, -9.0, 9.0) * np.eye(8)[labels]  # one patient as a whole
    failed = Reading(told, labels, "multi-class", groups=groups)
    one = Fit(given).estimates(failed)["sensitivity"]
    plain = share_interval((groups > 0).astype(float), groups)
    assert (one.value, one.low) == pytest.approx((0.9, plain[0]), abs=0.02)


def test_errors_of_a_patient_that_exclude_each_other_make_the_mean_over_classes_surer():
    def draw(sets, rng):  # an image of each of four classes a patient
        own = rng.normal(size=(sets, 60, 1, 4)) + 0.5 * rng.normal(size=(sets, 60, 4, 4))
        said = (own + np.eye(4)).argmax(axis=3)[..., None]
        return ((said == np.arange(4)) == np.eye(4)).astype(float).reshape(sets, 240, 4)

    sides = np.tile(np.eye(4) == 0, (60, 1))
    groups = np.repeat(np.arange(60), 4)
    specificity = (draw(1000, np.random.default_rng(5)) * sides).sum(axis=1).mean(axis=1) / 180
    bounds = [
        mean_of_shares_interval(right, list(sides.T), groups)
        for right in draw(25, np.random.default_rng(6))
    ]
    length = np.mean([high - low for low, high in bounds])
    assert length == pytest.approx(2 * 1.96 * specificity.std(), rel=0.25)  # it was 1.5 times


def test_ratios_of_balanced_errors_count_the_patients_of_a_class():
    """Five of eight classes each, four images a patient: jackknifed, class by class."""
    rng = np.random.default_rng(8)
    labels, groups = np.repeat(np.arange(8), 20), np.repeat(np.arange(40), 4)
    wrong = (rng.normal(size=40)[groups] + rng.normal(size=160) > 0.5).astype(float)
    means = wrong.reshape(8, 5, 4).mean(axis=2)
    expected = (means.var(axis=1, ddof=1) / 5).sum() / 64
    found = variance_of_mean(error_influence(wrong, labels, groups), groups)[0]
    assert found == pytest.approx(expected * 40 / 39)


@pytest.mark.parametrize("patients", [False, True])
def test_macro_f1_of_few_is_drawn_towards_each_of_them(patients):
    """Slopes of scikit-learn's weighted F1; apart within a class, larger by 1 / sqrt(1 - share)."""
    rng = np.random.default_rng(4)
    labels, groups = np.repeat(np.arange(4), 6), np.repeat(np.arange(12), 2)
    said = np.where(rng.random(24) < 0.6, labels, rng.integers(4, size=24))
    step = 1e-6 * np.eye(24)
    slopes = [
        (f1_score(labels, said, average="macro", sample_weight=1 + own) - macro_f1(said, labels))
        / 1e-6
        for own in step
    ]
    plain = 24 * np.array(slopes).reshape(4, 6)
    mean = plain.mean(axis=1, keepdims=True)
    larger = np.sqrt(3 / 2 if patients else 6 / 5)
    found = f1_influence(said, labels, groups if patients else None)
    assert found == pytest.approx((mean + larger * (plain - mean)).ravel(), abs=1e-3)
    both = f1_influence(np.eye(4, dtype=int)[said], np.eye(4, dtype=int)[labels])
    assert both.sum() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("recalls", [(0.98, 0.2), (0.98, 0.15), (0.98, 0.05), (0.9, 0.4)])
@pytest.mark.parametrize("size", [5, 8])
def test_macro_f1_of_a_model_that_answers_mostly_one_class_is_covered(size, recalls):
    """Exactly: all answers to two classes of so many images, by their binomial chances."""
    first, second = recalls
    true = first / (2 + first - second) + second / (2 + second - first)
    labels, covers = np.repeat([0, 1], size), 0.0
    for hits in np.ndindex(size + 1, size + 1):
        said = np.repeat([0, 1, 1, 0], [hits[0], size - hits[0], hits[1], size - hits[1]])
        low, high = f1_interval(macro_f1(said, labels), said, labels, None, smallest=size)
        covers += (low <= true <= high) * stats.binom.pmf(hits, size, recalls).prod()
    assert covers >= 0.95


def test_macro_f1_of_classes_that_are_answered_has_the_bounds_of_its_influence():
    labels = np.repeat([0, 1], [10, 5])
    said = np.r_[np.ones(4, int), np.zeros(6, int), np.ones(5, int)]
    value, influence = macro_f1(said, labels), f1_influence(said, labels)
    own = logit_interval(value, influence, None, smallest=5)
    assert f1_interval(value, said, labels, None, smallest=5) == own
    said[-1] = 0  # four answers of the class are right: the wider on each side
    value, influence = macro_f1(said, labels), f1_influence(said, labels)
    low, high = f1_interval(value, said, labels, None, smallest=5)
    own = logit_interval(value, influence, None, smallest=5)
    ends = np.array([wilson(6 / 11, 11), wilson(4 / 9, 9)])
    ends = 2 * ends / (1 + ends)
    scores = np.array([12 / 17, 8 / 13])
    below, above = np.sqrt(((ends.T - scores) ** 2).sum(axis=1)) / 2
    assert low == pytest.approx(min(own[0], value - below))
    assert high == pytest.approx(max(own[1], value + above))


def test_macro_f1_of_labels_that_are_hardly_found_reaches_as_far_as_that_of_classes():
    labels, said = np.repeat([0, 1], 5), np.zeros(10, int)
    classes = f1_interval(1 / 3, said, labels, None, smallest=5)
    both = np.eye(2, dtype=int)[said], np.eye(2, dtype=int)[labels]
    assert f1_interval(1 / 3, *both, None, smallest=5)[1] == pytest.approx(classes[1])
    patients = f1_interval(1 / 3, said, labels, np.arange(10) // 5, smallest=1)
    assert patients[1] > classes[1]  # two patients say less than ten images
    none = f1_interval(0.0, 0 * both[0], both[0], None, smallest=5)
    assert 0 == none[0] < none[1] < 1


def test_a_rare_class_that_shows_no_variance_borrows_it():
    labels = np.repeat([0, 1], [300, 5])
    wrong = np.r_[np.arange(300) % 5 == 0, np.zeros(5)].astype(float)
    influence, own = balanced_influence(wrong, labels), 0.16 * 300 / 299
    pool = own * 299 / (299 + 4)
    hidden = 4 * pool / (5 + 4) / 5 + 4 * (pool - own) / (300 + 4) / 300
    assert unseen_variance(influence, labels) == pytest.approx(hidden / 2**2)
    assert unseen_variance(influence[:300], np.arange(300) % 3) == 0.0  # equally many of each


def test_classes_that_share_their_patients_are_not_independent():
    right = (np.random.default_rng(7).random(200) < 0.7).astype(float)
    patients, labels = np.tile(np.arange(200), 2), np.repeat([0, 1], 200)
    alike = balanced_interval(np.r_[right, right], labels, patients)
    assert alike == pytest.approx(wilson(right.mean(), 200, t_quantile(199)), abs=4e-3)
    apart = balanced_interval(np.r_[right, right[::-1]], labels, np.arange(400))
    assert apart == pytest.approx(wilson(right.mean(), 400, t_quantile(398)), abs=4e-3)


def test_three_values_that_hardly_differ_are_drawn_to_the_variance_of_three_answers():
    """Two degrees of freedom of no variance and one of p (1 - p) / 3: that of nine images."""
    low, high = share_interval(np.array([0.5, 0.5, 0.5001]))
    assert (low, high) == pytest.approx(wilson(0.5, 9, stats.t.ppf(0.975, 8)), abs=1e-3)


def test_degrees_of_freedom_are_those_of_all_samples_that_could_be_drawn():
    terms = np.array([0.0, 0.1, 0.0, 0.2, 1.0])
    drawn = terms[np.indices((5,) * 5).reshape(5, -1)]
    expected = 2 * terms.var() ** 2 / drawn.var(axis=0, ddof=1).var()
    assert expected < 4
    found = variance_of_mean(terms)
    assert found == pytest.approx((terms.var(ddof=1) / 5, expected, 5))


def test_joined_intervals_shrink_by_the_root_of_their_number():
    low, high = recovered([0.5] * 4, [(0.4, 0.6)] * 4)
    assert (low, high) == pytest.approx((0.45, 0.55))


def test_a_class_with_one_error_counts_its_images_as_one_with_none():
    labels = np.repeat([0, 1], 60)
    right = np.r_[np.ones(59), 0.0, 1.0, np.zeros(59)]  # one class taken for all
    shares, arms = (59 / 60, 1 / 60), [wilson(59 / 60, 60), wilson(1 / 60, 60)]
    below = np.hypot(*(share - low for share, (low, _) in zip(shares, arms, strict=True))) / 2
    assert balanced_interval(right, labels) == pytest.approx((0.5 - below, 0.5 + below), abs=0.002)
    _, high = balanced_interval(np.r_[np.ones(60), np.zeros(60)], labels)
    assert 0.5 + below < high + 0.03


def test_the_variance_of_balanced_error_is_that_of_a_stratified_bootstrap():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], [200, 60, 40])
    wrong = (rng.random(300) < np.array([0.1, 0.3, 0.5])[labels]).astype(float)
    counts = resample_counts("a", 300, resamples=4000, strata=labels)
    means = np.mean(
        [(counts[:, labels == k] @ wrong[labels == k]) / (labels == k).sum() for k in range(3)],
        axis=0,
    )
    variance = variance_of_mean(balanced_influence(wrong, labels))[0]
    assert variance == pytest.approx(means.var(), rel=0.08)


def test_the_mce_interval_is_that_of_a_paired_bootstrap_where_errors_are_many():
    rng = np.random.default_rng(5)
    hard = rng.normal(size=(1, 1, 1500))
    wrong = (hard + rng.normal(size=(2, 3, 1500)) > 0.4).astype(float)
    means, influence = wrong.mean(axis=2), error_influence(wrong, None)
    low, high = mce_interval(means[0], influence[0], means[1], influence[1])
    counts = resample_counts("a", 1500, resamples=3000) / 1500
    drawn = (wrong[0] @ counts.T / (wrong[1] @ counts.T)).mean(axis=0)
    expected = np.quantile(drawn, [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.01)
    apart = error_influence(wrong[:, :, ::-1], None)  # pairs torn apart
    torn = mce_interval(means[0], influence[0], means[1], apart[1])
    assert torn[1] - torn[0] > 1.2 * (high - low)


def test_a_model_without_errors_has_an_mce_above_zero_within_reach():
    none, some = np.zeros((1, 100)), (np.arange(100) < 20).astype(float)[None]
    low, high = mce_interval(
        none.mean(1), error_influence(none, None), some.mean(1), error_influence(some, None)
    )
    assert low == 0.0
    assert high == pytest.approx(wilson(0.0, 100)[1] / 0.2)


def test_a_model_that_errs_as_its_reference_does_has_no_certain_ratio():
    wrong = (np.arange(100) < 20).astype(float)[None]
    moved = error_influence(wrong, None)
    top = wilson(0.0, 100)[1] / 0.2
    alike = mce_interval(wrong.mean(1), moved, wrong.mean(1), moved)
    assert alike == pytest.approx((1 - top, 1 + top))
    still = np.zeros(1), np.zeros((1, 100))  # it loses nothing, the reference 20 points
    assert relative_mce_interval(*still, wrong.mean(1), moved) == pytest.approx((-top, top))
    every = np.ones((1, 30))  # all wrong, and so is the reference
    nothing, top = error_influence(every, None), wilson(0.0, 30)[1]
    found = mce_interval(every.mean(1), nothing, every.mean(1), nothing)
    assert found == pytest.approx((1 - top, 1 + top))


def test_limits_hold():
    assert mean_interval(np.array([0.0, 1.0]), limits=(0.0, 1.0)) == (0.0, 1.0)
    assert logit_interval(0.5, np.zeros(4), None, smallest=4) == wilson(0.5, 4)


@pytest.mark.parametrize(("count", "error", "grouped"), [(156, 0.02, False), (600, 0.2, True)])
def test_intervals_cover_the_truth_on_a_part_of_the_grid(count, error, grouped):
    rng = np.random.default_rng(6)
    held = np.zeros(3)
    repetitions = 300
    for _ in range(repetitions):
        groups = np.arange(count) // 4 if grouped else np.arange(count)
        labels = rng.integers(2, size=count)[groups]
        shared = rng.normal(size=count)[groups]
        noise = np.sqrt(0.4) * shared + np.sqrt(0.6) * rng.normal(size=count)
        right = (noise < stats.norm.ppf(1 - error)).astype(float)
        scores = np.where(labels == 1, 1, -1) * (stats.norm.ppf(1 - error) - noise)
        given = groups if grouped else None
        area = areas(
            np.c_[-scores, scores], labels, label_kind="binary-class", positive=1, groups=given
        )
        truth = stats.norm.cdf(stats.norm.ppf(1 - error) * np.sqrt(2))
        bounds = (
            share_interval(right, given),
            balanced_interval(right, labels, given),
            logit_interval(
                area.value, area.influence, given, smallest=area.smallest, degrees=area.degrees
            ),
        )
        held += [
            low <= t <= high
            for (low, high), t in zip(bounds, (1 - error, 1 - error, truth), strict=True)
        ]
    assert (held / repetitions >= 0.92).all(), held / repetitions


@pytest.mark.parametrize("area", [1e-12, 1 - 1e-12])
def test_an_area_next_to_a_border_has_an_interval_without_overflow(area):
    low, high = around_logit(area, 0.5)
    assert 0 <= low <= area <= high <= 1
    assert (low, high) == pytest.approx((0, 1))


def graded(count, off, rng, shares=(0.5, 0.2, 0.15, 0.1, 0.05)):
    """Grades, and answers of which a share is off by one."""
    labels = rng.choice(5, size=count, p=shares)
    step = np.where(labels == 0, 1, np.where(labels == 4, -1, rng.choice([-1, 1], size=count)))
    return labels, labels + step * (rng.random(count) < off)


@pytest.mark.every_nth(3)
@pytest.mark.parametrize(("count", "off"), [(60, 0.005), (200, 0.02), (200, 0.3)])
def test_intervals_of_kappa_and_grade_error_hold_the_truth_and_are_no_points(count, off):
    rng = np.random.default_rng(1)
    names = ("quadratic_weighted_kappa", "mean_absolute_grade_error")
    labels, answers = graded(400_000, off, rng)
    known = cell_metrics(np.eye(5)[answers], labels, label_kind="ordinal-regression")
    held = dict.fromkeys(names, 0)
    for _ in range(120):
        labels, answers = graded(count, off, rng)
        found = cell_estimates(Reading(np.eye(5)[answers], labels, "ordinal-regression"))
        for name in names:
            assert found[name].high > found[name].low
            held[name] += found[name].low <= known[name] <= found[name].high
    assert min(held.values()) / 120 >= 0.93


def test_a_calibrated_model_may_have_no_calibration_error():
    """Its value is above 0 by chance alone; the interval of 0.1 covered 0 to 5 times of 10."""
    rng = np.random.default_rng(2)
    held = {"ece": 0, "adaptive_ece": 0}
    for _ in range(120):
        chances = rng.dirichlet([1.0, 1.0, 1.0], size=300)
        labels = (chances.cumsum(axis=1) < rng.random((300, 1))).sum(axis=1)
        found = cell_estimates(Reading(np.log(chances), labels, "multi-class"))
        for name in held:
            assert found[name].value > 0
            held[name] += found[name].low == 0
    assert min(held.values()) / 120 >= 0.93


@pytest.mark.parametrize(("count", "empty"), [(149, True), (150, False)])
def test_calibration_errors_of_few_images_have_no_interval(count, empty):
    found = cell_estimates(reading(count=count))
    assert (found["ece"].low is None) == (found["adaptive_ece"].high is None) == empty


def test_the_auprc_of_few_positives_has_no_interval_and_the_excess_of_others_is_taken_off():
    few = cell_estimates(reading(count=40))
    assert few["auprc"].low is None
    rng = np.random.default_rng(3)
    values, excess = [], []
    for _ in range(150):  # eight classes told hardly apart: the value is too large by .02
        labels = rng.integers(8, size=300)
        logits = rng.normal(size=(300, 8)) + 0.3 * np.eye(8)[labels]
        given = Reading(logits, labels, "multi-class")
        found = mean_precision(given.curves, given.truths)
        values.append(found.value)
        excess.append(found.excess)
    labels = rng.integers(8, size=200_000)
    logits = rng.normal(size=(200_000, 8)) + 0.3 * np.eye(8)[labels]
    known = cell_metrics(logits, labels, label_kind="multi-class")["auprc"]
    assert np.mean(values) - known > 0.01
    assert np.mean(excess) == pytest.approx(np.mean(values) - known, rel=0.25)


def test_a_patient_with_a_quarter_of_the_images_does_not_shorten_the_interval_of_accuracy():
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(120), np.r_[np.full(119, 4), 160])
    held = 0
    for _ in range(400):
        hard = np.sqrt(0.6) * rng.normal(size=120)[groups] + np.sqrt(0.4) * rng.normal(size=636)
        low, high = share_interval((hard < stats.norm.ppf(0.8)).astype(float), groups)
        held += low <= 0.8 <= high
    assert held / 400 >= 0.93


def test_the_auc_over_patients_of_uneven_size_holds_the_truth():
    rng = np.random.default_rng(5)
    sizes = np.maximum(1, 20 * 0.85 ** np.arange(60)).astype(int)
    groups = np.repeat(np.arange(60), sizes)
    held = 0
    for _ in range(300):
        ill = (rng.random(60) < 0.3)[groups]
        own = np.sqrt(0.3) * rng.normal(size=60)[groups]
        scores = own + np.sqrt(0.7) * rng.normal(size=len(groups)) + 0.954 * ill  # AUC .75
        labels = ill.astype(int)
        area = areas(
            np.c_[-scores, scores], labels, label_kind="binary-class", positive=1, groups=groups
        )
        low, high = logit_interval(
            area.value,
            area.influence,
            groups,
            smallest=area.smallest,
            degrees=area.degrees,
            unseen=area.unseen,
        )
        held += low <= 0.75 <= high
    assert held / 300 >= 0.93


@pytest.mark.parametrize("count", [2, 3, 4, 40])
def test_means_of_few_units_have_the_interval_of_scipys_t_test(count):
    sums = np.random.default_rng(count).normal(size=count)
    true = stats.ttest_1samp(sums, 0.0).confidence_interval()
    for groups in (None, np.repeat(np.arange(count), 3)):
        terms = sums if groups is None else np.repeat(sums, 3)
        known = 1e-6 if count < 5 else 2e-2  # degrees of more come from the kurtosis
        assert mean_interval(terms, groups) == pytest.approx(tuple(true), rel=known, abs=known)


@pytest.mark.parametrize("count", [5, 20])
def test_scores_and_losses_of_few_patients_hold_the_truth(count):
    def draw(times, patients, rng):
        own = np.repeat(1.3 * rng.normal(size=(times, patients)), 5, axis=1)
        return own + 0.7 * rng.normal(size=own.shape)

    def loss(own):
        return 1 / (1 + np.exp(3 - own))

    many, few = (
        draw(1, 50_000, np.random.default_rng(1)),
        draw(250, count, np.random.default_rng(2)),
    )
    groups = np.repeat(np.arange(count), 5)
    brier = np.array([share_interval(one**2, groups) for one in loss(few)]).T
    costs = np.array([cost_interval(one, groups) for one in np.log1p(np.exp(few))]).T
    lost = bounds_of(paired(loss(few), parts_of(None, groups, len(groups))))
    alone = change_interval(loss(few)[0], groups)
    assert alone == pytest.approx((lost[0][0], lost[1][0]))
    true = (loss(many) ** 2).mean(), np.log1p(np.exp(many)).mean(), loss(many).mean()
    for truth, (low, high) in zip(true, (brier, costs, lost), strict=True):
        assert ((low <= truth) & (truth <= high)).mean() >= 0.92


def test_the_brier_score_of_patients_has_the_interval_of_a_share_and_the_nll_of_few_none():
    for kind, most in (("multi-class", 2), ("binary-class", 1)):
        few, some = (reading(kind, 60, groups=np.arange(60) % count) for count in (4, 9))
        low, high = share_interval(some.brier_terms / most, some.groups)
        found = cell_estimates(some)["brier"]
        assert (found.low, found.high) == pytest.approx((low * most, high * most))
        nll = Fit(few).estimates(few)["nll_calibrated"]
        assert (nll.low, nll.note) == (None, "4 patients, and 5 are needed")
        assert Fit(some).estimates(some)["nll_calibrated"].low > 0


def test_a_loss_that_no_image_moves_is_no_point():
    low, high = change_interval(np.zeros(50), None)
    assert low < -0.05
    assert high > 0.05
    assert cost_interval(np.ones(20), np.arange(20) // 2) is None
