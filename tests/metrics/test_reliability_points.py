"""Points of a reliability diagram: the bins of the ECE, and intervals over units."""

import numpy as np
import pytest

from medrobust.metrics.calibration import confidences, expected_calibration_error
from medrobust.metrics.intervals import wilson
from medrobust.metrics.reliability_points import calibration_gap, reliability_points

RNG = np.random.default_rng(3)
CHANCES = RNG.dirichlet(np.ones(4) / 2, 400)
LABELS = np.array([RNG.choice(4, p=row) for row in CHANCES])


def test_the_mean_distance_of_the_points_from_the_diagonal_is_the_ece() -> None:
    ((confidence, right),) = confidences(CHANCES, LABELS, "multi-class")
    bins = reliability_points(confidence, right)
    assert sum(one.count for one in bins) == 400
    ece = expected_calibration_error(CHANCES, LABELS, "multi-class")
    assert calibration_gap(bins) == pytest.approx(ece, abs=1e-12)


def test_a_point_has_the_interval_of_its_share_and_wider_for_units_that_repeat() -> None:
    confidence, right = np.full(40, 0.7), np.tile([1.0, 1.0, 1.0, 0.0], 10)
    (alone,) = reliability_points(confidence, right)
    assert (alone.confidence, alone.right.value, alone.count) == (pytest.approx(0.7), 0.75, 40)
    assert (alone.right.low, alone.right.high) == pytest.approx(wilson(0.75, 40))
    blocks = np.repeat([1.0, 0.0], [30, 10])  # four answers of a unit are all right or all wrong
    (together,) = reliability_points(confidence, blocks, np.arange(40) // 4)
    assert together.right.high - together.right.low > 1.4 * (alone.right.high - alone.right.low)
