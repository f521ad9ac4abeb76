"""Ranks, areas and monotone chances against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from medrobust.metrics.comparisons import delong_variance
from medrobust.metrics.quality_curves import failure_area, isotonic, logistic, rank_correlation
from medrobust.metrics.variances import Z


def planted(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Quality with ties, and answers that are wrong more often where it is low."""
    rng = np.random.default_rng(seed)
    quality = np.round(rng.normal(size=count), 1)
    return quality, rng.random(count) < 1 / (1 + np.exp(1.5 + 1.2 * quality))


def test_rank_correlation_and_area_are_those_of_other_libraries() -> None:
    quality, wrong = planted()
    correlation, ends = rank_correlation(quality, wrong)
    assert correlation == pytest.approx(spearmanr(quality, wrong).statistic)
    assert ends[0] < correlation < ends[1] < 0
    area, ends = failure_area(quality, wrong)
    assert area == pytest.approx(roc_auc_score(wrong, quality))
    half = Z * np.sqrt(delong_variance(quality, wrong))
    assert (ends[1] - ends[0]) / 2 == pytest.approx(half, rel=0.03)


def test_intervals_of_areas_cover_the_planted_truth() -> None:
    quality, wrong = planted(200_000, seed=1)
    truth, _ = failure_area(quality, wrong)
    hits = 0
    for seed in range(2, 202):
        _, (low, high) = failure_area(*planted(200, seed))
        hits += low <= truth <= high
    assert 0.9 <= hits / 200 <= 0.99


def test_images_of_one_patient_widen_an_interval() -> None:
    quality, wrong = planted()
    twice = np.repeat(np.arange(len(wrong)), 2)
    alone = failure_area(quality, wrong)[1]
    doubled = failure_area(np.repeat(quality, 2), np.repeat(wrong, 2), twice)[1]
    assert doubled == pytest.approx(alone, abs=0.003)


def test_monotone_chances_are_those_of_scikit_learn() -> None:
    quality, wrong = planted()
    wanted = IsotonicRegression().fit_transform(quality, ~wrong)
    assert isotonic(quality, ~wrong, rising=True) == pytest.approx(wanted)
    falling = IsotonicRegression(increasing=False).fit_transform(quality, wrong)
    assert isotonic(quality, wrong, rising=False) == pytest.approx(falling)
    x = ((quality - quality.mean()) / quality.std())[:, None]
    model = LogisticRegression(C=1.0, tol=1e-10).fit(x, ~wrong)
    assert logistic(quality, ~wrong) == pytest.approx(model.predict_proba(x)[:, 1], abs=1e-5)


def test_isotonic_chances_come_nearer_to_the_planted_curve_with_more_images() -> None:
    errors = []
    for count in (200, 5000):
        rng = np.random.default_rng(count)
        quality = rng.random(count)
        right = rng.random(count) < 0.3 + 0.6 * quality
        fitted = isotonic(quality, right, rising=True)
        errors.append(float(np.sqrt(((fitted - 0.3 - 0.6 * quality) ** 2).mean())))
    assert errors[1] < errors[0] / 2  # about n ** (-1/3): a third


def test_what_is_the_same_for_all_images_has_no_number() -> None:
    quality, _ = planted(20)
    assert rank_correlation(quality, np.zeros(20, bool)) is None
    assert failure_area(quality, np.ones(20, bool)) is None
    assert rank_correlation(np.ones(20), np.arange(20) < 3) is None
    assert logistic(np.ones(4), np.array([True, False, True, True])).tolist() == [0.75] * 4
    apart = logistic(np.arange(10.0), np.arange(10) > 4)
    assert np.isfinite(apart).all()
