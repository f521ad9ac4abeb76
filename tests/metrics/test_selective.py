"""Risk against coverage: published examples, the identity with the AUROC, ties, influence."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medrobust.metrics import selective
from medrobust.metrics.deferral import selective_risk
from medrobust.metrics.selective import risk_coverage

SURE = np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.45, 0.4, 0.3, 0.2])
WRONG = np.array([0.0, 0, 1, 0, 0, 1, 0, 1, 0, 1])


def drawn(count: int = 200, seed: int = 0, levels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Confidences with many ties, and errors that are rarer where the model is sure."""
    rng = np.random.default_rng(seed)
    sure = rng.integers(levels, size=count) / levels
    return sure, (rng.random(count) > 0.4 + 0.5 * sure).astype(float)


def test_the_published_example_of_ten_images_has_its_numbers():
    found = risk_coverage(SURE, WRONG)
    assert selective.aurc(found) == pytest.approx(0.2310714286, abs=1e-10)
    assert selective.mean_selective_risk(found) == pytest.approx(0.2510714286, abs=1e-10)
    assert selective.least_aurc(0.4) == pytest.approx(0.0935046257, abs=1e-10)
    assert selective.excess_aurc(found) == pytest.approx(0.2310714286 - 0.0935046257, abs=1e-9)
    assert selective.augrc(found) == pytest.approx(0.15, abs=1e-15)
    assert selective.failure_auroc(SURE, WRONG) == pytest.approx(0.7083333, abs=1e-7)


def test_equally_sure_images_have_the_numbers_of_the_reference():
    found = risk_coverage(np.array([0.9, 0.9, 0.5, 0.5]), np.array([0.0, 1.0, 0.0, 1.0]))
    assert found.coverages.tolist() == [0.5, 1.0]
    assert (selective.aurc(found), selective.augrc(found)) == (0.5, 0.25)


def test_the_best_order_has_the_least_augrc_and_nearly_the_least_aurc():
    wrong = np.repeat([0.0, 1.0], [6, 4])
    assert selective.augrc(risk_coverage(-np.arange(10.0), wrong)) == pytest.approx(0.08)
    hundred = np.repeat([0.0, 1.0], [80, 20])
    found = risk_coverage(-np.arange(100.0), hundred)
    assert selective.excess_aurc(found) == pytest.approx(-3.75e-6, abs=5e-8)


def test_augrc_lies_between_half_the_squared_error_and_the_error_less_that():
    sure, error = np.arange(10.0), 0.4
    for wrong, expected in (
        (sure < 4, error**2 / 2),
        (sure > 5, error - error**2 / 2),
        (np.isin(sure, [0, 3, 6, 9]), error / 2),  # as often above as below
    ):
        found = risk_coverage(sure, wrong.astype(float))
        assert selective.augrc(found) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_augrc_follows_from_accuracy_and_auroc_of_failure(seed):
    sure, wrong = drawn(seed=seed)
    error = wrong.mean()
    auroc = roc_auc_score(1 - wrong, sure)
    assert selective.failure_auroc(sure, wrong) == pytest.approx(auroc, abs=1e-12)
    expected = (1 - auroc) * (1 - error) * error + error**2 / 2
    assert selective.augrc(risk_coverage(sure, wrong)) == pytest.approx(expected, abs=1e-12)


def test_no_number_depends_on_the_order_of_images():
    sure, wrong = drawn()
    order = np.random.default_rng(9).permutation(len(sure))
    for one, other in ((sure, sure[order]),):
        first, second = risk_coverage(one, wrong), risk_coverage(other, wrong[order])
        for number in (selective.aurc, selective.augrc, selective.mean_selective_risk):
            assert number(first) == pytest.approx(number(second), abs=1e-14)
        for share in (0.1, 0.33, 0.5, 0.9):
            at = selective.risk_at_coverage(first, share)
            assert at == pytest.approx(selective.risk_at_coverage(second, share), abs=1e-14)


def test_risk_of_equally_sure_images_is_the_mean_over_their_orders():
    sure, wrong = drawn(40, levels=4)
    rng = np.random.default_rng(3)
    broken = [risk_coverage(sure + 1e-6 * rng.random(40), wrong) for _ in range(4000)]
    found = risk_coverage(sure, wrong)
    for number in (
        selective.mean_selective_risk,
        lambda one: selective.risk_at_coverage(one, 0.4),
    ):
        assert number(found) == pytest.approx(np.mean([number(one) for one in broken]), abs=3e-3)


def test_coverage_at_risk_is_the_largest_though_smaller_ones_break_it():
    found = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1.0, 0.0, 0.0, 0.0]))
    assert selective.coverage_at_risk(found, 0.26) == 1.0
    assert selective.coverage_at_risk(risk_coverage(SURE, WRONG), 0.0) == 0.2
    assert selective.coverage_at_risk(risk_coverage(SURE, 1 - WRONG), 0.1) == 0.0


def test_thresholds_accept_what_was_asked_for_on_the_images_they_were_set_on():
    sure, wrong = drawn()
    for coverage in (0.05, 0.5, 0.9, 1.0):
        threshold = selective.threshold_for_coverage(sure, coverage)
        assert (sure >= threshold).mean() >= coverage
        assert (sure > threshold).mean() < coverage
    found = risk_coverage(sure, wrong)
    threshold = selective.threshold_for_risk(found, 0.3)
    assert threshold is not None
    accepted = sure >= threshold
    assert wrong[accepted].mean() <= 0.3
    assert accepted.mean() == selective.coverage_at_risk(found, 0.3)
    assert selective.threshold_for_risk(risk_coverage(SURE, 1 - WRONG), 0.1) is None


def test_the_error_of_model_and_reader_together_weighs_both_by_coverage():
    accepted = SURE >= 0.5
    loss = selective.system_loss(WRONG, accepted, 0.05)
    assert loss.mean() == pytest.approx(0.6 * WRONG[accepted].mean() + 0.4 * 0.05)


def test_balanced_forms_are_the_plain_ones_of_equal_classes():
    sure, wrong = drawn(200)
    labels = np.arange(200) % 4
    found = risk_coverage(sure, selective.balanced_loss(wrong, labels))
    assert selective.augrc(found) == pytest.approx(selective.augrc(risk_coverage(sure, wrong)))
    everything = np.ones(200, bool)
    plain = selective.balanced_selective_risk(wrong, everything, labels)
    assert plain == pytest.approx(wrong.mean())
    uneven = np.where(np.arange(200) < 190, 0, 1)
    whole = selective.balanced_loss(wrong, uneven).mean()
    assert whole == pytest.approx((wrong[:190].mean() + wrong[190:].mean()) / 2)


@pytest.mark.parametrize(
    ("number", "influence"),
    [
        (selective.augrc, selective.augrc_influence),
        (selective.aurc, selective.aurc_influence),
    ],
)
def test_influence_says_what_leaving_an_image_out_does(number, influence):
    sure, wrong = drawn(400, levels=400)
    value = number(risk_coverage(sure, wrong))
    left = [
        number(risk_coverage(np.delete(sure, i), np.delete(wrong, i))) for i in range(len(sure))
    ]
    pseudo = (len(sure) - 1) * (value - np.array(left))
    found = influence(sure, wrong)
    assert np.corrcoef(found, pseudo - pseudo.mean())[0, 1] > 0.999
    assert found.std() == pytest.approx(pseudo.std(), rel=0.02)
    assert abs(found.mean()) < 1e-12


def test_no_loss_over_several_conditions_has_an_interval_all_the_same():
    accepted = np.tile([1.0, 0.5], 20)  # of 40 images, half of them accepted in half
    found = selective_risk(np.zeros(40), accepted, None)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(0.0876, abs=1e-3)  # Wilson's, of none of 40
