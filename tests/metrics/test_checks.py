"""Shares that a caller states are refused in a sentence where they are none."""

from collections.abc import Callable

import numpy as np
import pytest

from medrobust.exceptions import ConfigurationError
from medrobust.metrics import bisection, conformal, envelope, selective, surfaces
from medrobust.metrics.drift.univariate import ks_critical

SCORES = np.arange(1.0, 41.0)
LABELS = np.zeros(40, np.int64)
CURVE = selective.risk_coverage(SCORES, np.zeros(40))
MASK = np.eye(4, dtype=bool)
ALPHAS: dict[str, Callable[[float], object]] = {
    "fewest": conformal.fewest,
    "conformal_quantile": lambda a: conformal.conformal_quantile(SCORES, a),
    "class_quantiles": lambda a: conformal.class_quantiles(SCORES, LABELS, 1, a),
    "weighted_quantiles": lambda a: conformal.weighted_quantiles(SCORES, SCORES, SCORES, a),
    "controlled_place": lambda a: conformal.controlled_place(SCORES[:, None], a),
    "coverage_band": lambda a: conformal.coverage_band(40, 40, a),
    "coverage_band level": lambda a: conformal.coverage_band(40, 40, 0.1, level=a),
    "coverage_deviation": lambda a: conformal.coverage_deviation(40, a),
    "exact_tail": lambda a: conformal.exact_tail(40, 1, a),
    "hoeffding_bentkus": lambda a: conformal.hoeffding_bentkus(40, 0.1, a),
    "class_gap": lambda a: conformal.set_facts(MASK, LABELS[:4]).class_gap(a),
    "fewest_units alpha": lambda a: envelope.fewest_units(a, 0.1),
    "fewest_units delta": lambda a: envelope.fewest_units(0.1, a),
    "worth_testing": lambda a: envelope.worth_testing(40, 0.1, a),
    "fixed_sequence": lambda a: envelope.fixed_sequence(
        SCORES, SCORES > 30, SCORES, alpha=a, delta=0.1
    ),
    "ks_critical": lambda a: ks_critical(40, 40, a),
}
ENDED: dict[str, tuple[Callable[[float], object], float]] = {
    "risk_at_coverage": (lambda c: selective.risk_at_coverage(CURVE, c), 0.0),
    "threshold_for_coverage": (lambda c: selective.threshold_for_coverage(SCORES, c), 0.0),
    "coverage_at_risk": (lambda r: selective.coverage_at_risk(CURVE, r), -0.1),
    "threshold_for_risk": (lambda r: selective.threshold_for_risk(CURVE, r), -0.1),
    "system_loss": (lambda e: selective.system_loss(SCORES, SCORES > 1, e), -0.1),
}


@pytest.mark.parametrize("name", ALPHAS)
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 10, float("nan")])
def test_an_alpha_that_is_no_share_is_refused(name: str, value: float) -> None:
    ALPHAS[name](0.2)
    with pytest.raises(ConfigurationError, match=rf"={value} must lie between 0 and 1\."):
        ALPHAS[name](value)


@pytest.mark.parametrize("name", ENDED)
def test_a_coverage_or_risk_that_is_no_share_is_refused(name: str) -> None:
    function, below = ENDED[name]
    function(1.0)
    for value in (below, 1.1, float("nan")):
        with pytest.raises(ConfigurationError, match="must lie between 0 and 1, or be"):
            function(value)


def test_tolerances_and_levels_below_their_range_are_refused() -> None:
    found = surfaces.surface_distances(MASK, MASK)
    assert found.overlap(0) == 1
    with pytest.raises(ConfigurationError, match="tolerance=-1 must be 0 or more"):
        found.overlap(-1)
    with pytest.raises(ConfigurationError, match="level=0 must be above 0"):
        bisection.bracket({1: 0.5}, 0)


def test_too_few_scores_have_an_infinite_quantile_and_nan_none() -> None:
    assert conformal.conformal_quantile(SCORES[:8], 0.1) == np.inf
    assert conformal.conformal_quantile(SCORES[:0], 0.1) == np.inf
    assert conformal.coverage_band(8, 10, 0.1) == (1.0, 1.0)
    with pytest.raises(ConfigurationError, match="1 of 40 scores are NaN"):
        conformal.conformal_quantile(np.where(SCORES == 3, np.nan, SCORES), 0.1)
