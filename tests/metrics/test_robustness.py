"""Ratios of errors against hand-worked numbers and the published ImageNet-C reference."""

import numpy as np
import pytest
from medmnist.info import INFO
from sklearn.linear_model import LinearRegression

from medrobust.exceptions import UnknownNameError
from medrobust.metrics import (
    baseline,
    baselines,
    benchmark_error,
    cell_metrics,
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


EVALUATOR = {
    "bloodmnist": (7.3698798252477165, 2.321141417553172),
    "breastmnist": (1.0960542600911878, 2.2900550107946467),
    "chestmnist": (1.179479889522479, 5.430700322546473),
    "dermamnist": (0.9869289582172278, 1.3949967954258715),
    "octmnist": (1.5122975552905815, 0.3167247532511632),
    "organamnist": (3.777880595332683, 1.4169799855461245),
    "organcmnist": (3.278889459766817, 1.7218092355754329),
    "organsmnist": (1.6473495283103312, 1.4578210988178915),
    "pathmnist": (2.4919166042736487, -0.3802811561224999),
    "pneumoniamnist": (1.477558472776759, -1.5829247422116821),
    "retinamnist": (0.9014990928334687, 1.7545961002627426),
    "tissuemnist": (1.1822443616504994, 1.1651952427659618),
}
"""BE and rBE that `medmnistc.eval.Evaluator` of medmnistc 0.1.0 prints for the answers below."""


def answers(dataset):
    """Task, labels, and (turn, skill) -> logits: 60 images, without a random number."""
    label_kind, classes = INFO[dataset]["task"], len(INFO[dataset]["label"])
    several = label_kind == "multi-label, binary-class"
    index = np.arange(60)
    labels = index[:, None] * np.arange(1, classes + 1) // 7 % 2 if several else index % classes
    truth = labels if several else np.eye(classes)[labels]

    def logits(turn, skill):
        noise = np.sin(np.arange(60 * classes) * (1.7 + turn)).reshape(60, classes)
        return (2 * noise + skill * truth - several * skill / 2).astype(np.float32)

    return label_kind, labels, logits


FIRST = {INFO[dataset]["task"]: dataset for dataset in reversed(baselines(MEDMNIST_C))}
"""A dataset of each kind of labels."""


@pytest.mark.parametrize(
    "dataset",
    [
        pytest.param(one, marks=() if one in FIRST.values() else pytest.mark.slow)
        for one in baselines(MEDMNIST_C)
    ],
)
def test_be_and_rbe_equal_the_evaluator_of_medmnist_c(dataset):
    published = baseline(MEDMNIST_C, dataset)
    label_kind, labels, logits = answers(dataset)

    def error(turn, skill):
        given = logits(turn, skill)
        return cell_metrics(given, labels, label_kind=label_kind, positive=0)["balanced_error"]

    means = {
        corruption: float(np.mean([error(turn, 2 - 0.3 * s) for s in range(1, 6)]))
        for turn, corruption in enumerate(published.corruptions, start=1)
    }
    be, rbe = EVALUATOR[dataset]
    assert benchmark_error(means, published).mean_of_ratios == pytest.approx(be, abs=1e-9)
    own = relative_benchmark_error(means, error(0, 2.0), published, guard=None)
    assert own.mean_of_ratios == pytest.approx(rbe, abs=1e-9)


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
    assert baseline(MEDMNIST_C, "bloodmnist").clean == 0.018369282094266692
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
