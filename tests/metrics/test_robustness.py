"""Ratios of errors against hand-worked numbers and the published ImageNet-C reference."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from medrobust.exceptions import UnknownNameError
from medrobust.metrics import (
    baseline,
    baselines,
    benchmark_error,
    corruption_error,
    effective_robustness,
    error_ratio,
    feature_drift,
    flip_rate,
    mean_corruption_error,
    relative_benchmark_error,
    relative_corruption_error,
    severity_area,
)
from medrobust.metrics.baselines import IMAGENET_C, MEDMNIST_C

ALEXNET = (
    0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360, 0.866816,
    0.826572, 0.819324, 0.564592, 0.853204, 0.646056, 0.717840, 0.606500,
)  # fmt: skip


def test_the_imagenet_c_reference_gives_mce_of_100():
    ratios = [corruption_error([error] * 5, [error] * 5) for error in ALEXNET]
    assert mean_corruption_error(ratios) == (pytest.approx(1.0, abs=1e-12), 15)


def test_corruption_error_is_a_ratio_of_sums_not_a_mean_of_ratios():
    assert corruption_error([0.1, 0.5], [0.2, 0.4]) == pytest.approx(1.0)


def test_relative_error_takes_each_models_own_clean_error_off():
    value = relative_corruption_error([0.3, 0.5], 0.2, [0.5, 0.7], 0.4)
    assert value == pytest.approx((0.1 + 0.3) / (0.1 + 0.3))


@pytest.mark.parametrize("reference", [[0.0, 0.0], [0.2, 0.2], [0.1, 0.2]])
def test_a_ratio_over_no_loss_is_undefined_never_infinite(reference):
    assert relative_corruption_error([0.5, 0.5], 0.1, reference, 0.2) is None
    assert corruption_error([0.5, 0.5], [0.0, 0.0]) is None


def test_rounding_is_no_denominator():
    assert relative_corruption_error([0.5] * 3, 0.1, [0.1, 0.1, 0.1], 0.1) is None


def test_undefined_ratios_are_left_out_and_counted():
    assert mean_corruption_error([None, 2.0, 1.0]) == (1.5, 2)
    assert mean_corruption_error([None]) == (None, 0)


def test_unequal_severities_are_refused():
    with pytest.raises(ValueError, match="2 severities against 1"):
        corruption_error([0.1, 0.2], [0.1])


def evaluator(errors, clean, published):
    """MedMNIST-C's own sums, written out: mean over severities, ratio, mean over corruptions."""
    be = rbe = 0.0
    for corruption, base in published.corruptions.items():
        mean = float(np.mean(errors[corruption]))
        be += mean / base
        rbe += (mean - clean) / (base - published.clean)
    count = len(published.corruptions)
    return be / count, rbe / count


@pytest.mark.parametrize("dataset", baselines(MEDMNIST_C))
def test_be_and_rbe_equal_the_evaluator_of_medmnist_c(dataset):
    published = baseline(MEDMNIST_C, dataset)
    rng = np.random.default_rng(len(dataset))
    errors = {c: rng.random(5) for c in published.corruptions}
    means = {c: float(np.mean(values)) for c, values in errors.items()}
    be, rbe = evaluator(errors, 0.1, published)
    assert benchmark_error(means, published).mean_of_ratios == pytest.approx(be, abs=1e-6)
    own = relative_benchmark_error(means, 0.1, published, guard=None)
    assert own.mean_of_ratios == pytest.approx(rbe, abs=1e-6)


@pytest.mark.parametrize("dataset", baselines(MEDMNIST_C))
@pytest.mark.parametrize("guard", [None, 0.01])
def test_alexnets_own_errors_give_be_and_rbe_of_one(dataset, guard):
    published = baseline(MEDMNIST_C, dataset)
    be = benchmark_error(published.corruptions, published)
    rbe = relative_benchmark_error(published.corruptions, published.clean, published, guard=guard)
    for ratios in (be, rbe):
        assert ratios.mean_of_ratios == pytest.approx(1.0, abs=1e-12)
        assert ratios.ratio_of_sums == pytest.approx(1.0, abs=1e-12)
    assert be.covered == be.planned


def test_the_guard_leaves_out_what_alexnet_does_not_lose_by():
    published = baseline(MEDMNIST_C, "pneumoniamnist")
    worse = {c: error + 0.1 for c, error in published.corruptions.items()}
    guarded = relative_benchmark_error(worse, published.clean, published)
    assert [c for c, v in guarded.each.items() if v is None] == ["contrast_up", "gamma_corr_up"]
    assert guarded.covered == guarded.planned - 2
    as_published = relative_benchmark_error(worse, published.clean, published, guard=None)
    assert as_published.each["contrast_up"] < 0 < guarded.mean_of_ratios
    assert guarded.ratio_of_sums == as_published.ratio_of_sums > 1


def test_missing_corruptions_are_counted_not_averaged_over():
    published = baseline(MEDMNIST_C, "octmnist")
    part = benchmark_error({"pixelate": published.corruptions["pixelate"]}, published)
    assert (part.covered, part.planned, part.mean_of_ratios) == (1, 6, 1.0)
    none = benchmark_error({}, published)
    assert (none.mean_of_ratios, none.ratio_of_sums, none.covered) == (None, None, 0)


def test_published_baselines_are_found_by_name_or_refused():
    assert len(baselines(MEDMNIST_C)) == 12
    assert baseline(MEDMNIST_C, "bloodmnist").clean == 0.0184
    assert tuple(baseline(IMAGENET_C, "imagenet").corruptions.values()) == ALEXNET
    with pytest.raises(UnknownNameError, match="bloodmnist"):
        baseline(MEDMNIST_C, "bloodmnst")
    with pytest.raises(UnknownNameError, match="medmnist_c_alexnet"):
        baselines("alexnet")


def test_the_area_under_the_severity_curve_is_numpys_trapezoid():
    errors, clean = [0.2, 0.25, 0.4, 0.45, 0.7], 0.1
    expected = np.trapezoid([clean, *errors]) / 5
    assert severity_area(errors, clean) == pytest.approx(expected)


def test_effective_robustness_is_what_a_line_through_the_logits_leaves():
    clean = np.array([0.6, 0.7, 0.8, 0.9, 0.95])
    corrupted = np.array([0.4, 0.55, 0.5, 0.75, 0.8])
    logit = lambda share: np.log(share / (1 - share))  # noqa: E731
    line = LinearRegression().fit(logit(clean)[:, None], logit(corrupted))
    expected = corrupted - 1 / (1 + np.exp(-line.predict(logit(clean)[:, None])))
    assert effective_robustness(clean, corrupted) == pytest.approx(expected)
    assert effective_robustness(clean[:4], corrupted[:4]) is None
    assert effective_robustness([0.5] * 5, corrupted) is None


def test_flips_count_both_ways_and_drift_is_a_mean_of_cosines():
    clean, corrupted = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])
    assert flip_rate(clean, corrupted) == 0.5
    features = np.array([[3.0, 0.0], [0.0, 2.0]])
    turned = np.array([[0.0, 1.0], [0.0, 5.0]])
    assert feature_drift(features, turned) == 0.5
    assert feature_drift(features, features) == pytest.approx(0.0, abs=1e-12)
    assert error_ratio(0.2, 0.0) is None
