"""Calibration errors: the worked example, the bias of bins, scaling beside scikit-learn."""

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression

from medrobust.metrics.calibration import negative_log_likelihood
from medrobust.metrics.recalibration import temperature_scaling, vector_scaling
from medrobust.metrics.reliability import bins, classwise_error, kolmogorov_smirnov_error

SURE = np.array([0.95, 0.85, 0.85, 0.65, 0.6, 0.55])
RIGHT = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])


def test_the_worked_example_has_its_numbers():
    assert bins(SURE, RIGHT, count=10).error == pytest.approx(0.2083333, abs=1e-7)
    apart = SURE + np.array([0, 0, 1e-6, 0, 0, 0])  # its order of the two equally sure images
    found = bins(apart, RIGHT, count=3, mass="equal_mass")
    assert found.error == pytest.approx(0.2416667, abs=1e-6)
    assert found.square == pytest.approx(0.0760416667, abs=1e-6)
    assert found.debiased_square == pytest.approx(-0.090625, abs=1e-6)


def test_no_calibration_error_depends_on_the_order_of_equally_sure_images():
    order = np.array([0, 2, 1, 5, 4, 3])
    for mass in ("equal_width", "equal_mass"):
        one = bins(SURE, RIGHT, count=3, mass=mass)
        other = bins(SURE[order], RIGHT[order], count=3, mass=mass)
        assert one.error == pytest.approx(other.error, abs=1e-15)
    swapped = kolmogorov_smirnov_error(SURE[order], RIGHT[order])
    assert kolmogorov_smirnov_error(SURE, RIGHT) == pytest.approx(swapped, abs=1e-15)


@pytest.mark.parametrize(("count", "level"), [(150, 0.073), (3000, 0.016)])
def test_plain_errors_of_calibrated_confidences_are_biased_and_the_debiased_one_is_not(
    count, level
):
    rng = np.random.default_rng(5)
    plain, debiased = [], []
    for _ in range(200):
        sure = rng.uniform(0.5, 1, size=count)
        right = (rng.random(count) < sure).astype(float)
        plain.append(bins(sure, right).error)
        debiased.append(bins(sure, right, mass="equal_mass").debiased_square)
    assert np.mean(plain) == pytest.approx(level, abs=0.012)
    assert abs(np.mean(debiased)) < 3 * np.std(debiased) / np.sqrt(200)


def test_classwise_error_is_the_mean_over_classes_of_binary_errors():
    rng = np.random.default_rng(6)
    chances = special.softmax(rng.normal(size=(90, 3)), axis=1)
    labels = np.arange(90) % 3
    each = [bins(chances[:, k], (labels == k).astype(float), count=5).error for k in range(3)]
    assert classwise_error(chances, labels, count=5) == pytest.approx(np.mean(each))


def test_the_error_without_bins_is_the_largest_running_gap():
    order = np.argsort(SURE, kind="stable")
    running = np.cumsum(SURE[order] - RIGHT[order])
    ends = [0, 1, 2, 4, 5]  # between the two equally sure ones there is no end
    assert kolmogorov_smirnov_error(SURE, RIGHT) == pytest.approx(np.abs(running[ends]).max() / 6)


def test_vector_scaling_is_nearly_the_likeliest_where_images_are_many():
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(20_000, 3)) * 2
    true = logits * np.array([0.4, 1.0, 1.6]) + np.array([0.5, 0.0, -0.5])
    chances = special.softmax(true, axis=1)
    labels = (rng.random((20_000, 1)) > np.cumsum(chances, axis=1)).sum(axis=1)
    found = vector_scaling(logits, labels, "multi-class")
    np.testing.assert_allclose(found.factors, [0.4, 1.0, 1.6], atol=0.05)
    np.testing.assert_allclose(found.offsets - found.offsets[1], [0.5, 0, -0.5], atol=0.06)
    own = negative_log_likelihood(found(logits), labels, "multi-class")
    assert own <= negative_log_likelihood(true, labels, "multi-class") + 1e-4


def test_vector_scaling_of_labels_is_a_logistic_regression_each():
    rng = np.random.default_rng(8)
    logits = rng.normal(size=(5000, 2)) * 3
    labels = (rng.random((5000, 2)) < special.expit(logits * [0.3, 1.2] + [1, -1])).astype(np.int64)
    found = vector_scaling(logits, labels, "multi-label, binary-class")
    for k in range(2):
        other = LogisticRegression(C=1e6).fit(logits[:, [k]], labels[:, k])
        assert found.factors[k] == pytest.approx(other.coef_[0, 0], abs=0.02)
        assert found.offsets[k] == pytest.approx(other.intercept_[0], abs=0.02)


@pytest.mark.parametrize("scaling", [temperature_scaling, vector_scaling])
@pytest.mark.parametrize("count", [2, 30])
def test_a_perfect_split_leaves_scaling_finite(scaling, count):
    labels = np.arange(count) % 2
    logits = np.where(labels[:, None] == np.arange(2), 40.0, -40.0)
    found = scaling(logits, labels, "binary-class")
    assert np.isfinite(found(logits)).all()
    assert np.abs(found.factors).max() < 1


def test_a_temperature_changes_no_prediction_and_vector_scaling_of_one_class_is_finite():
    rng = np.random.default_rng(9)
    logits = rng.normal(size=(60, 4))
    labels = rng.integers(4, size=60)
    scaled = temperature_scaling(logits, labels, "multi-class")(logits)
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()
    one = vector_scaling(logits, np.zeros(60, np.int64), "multi-class")
    assert np.isfinite(one(logits)).all()
