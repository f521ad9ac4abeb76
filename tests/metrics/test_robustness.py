"""Ratios of errors against hand-worked numbers and the published ImageNet-C reference."""

import pytest

from medrobust.metrics import (
    corruption_error,
    mean_corruption_error,
    relative_corruption_error,
)

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
