"""Accuracy without labels against closed checks, hand-worked numbers and scipy."""

import itertools

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment, linprog
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from medrobust.metrics.label_free import (
    Answers,
    average_confidence,
    calibrated,
    calibration,
    class_shares,
    difference_of_confidences,
    expected_accuracy,
    expected_area,
    isotonic,
    mean_absolute_error,
    nuclear_norm,
    slice_weights,
    threshold,
    thresholded_confidence,
    transport,
    weighted_accuracy,
    whole_shares,
)


def honest(count, rng, sharpness=2.0):
    """Answers whose chances are true by construction."""
    logits = sharpness * rng.normal(size=(count, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return Answers(chances, chances.argmax(axis=1) == labels), labels


def by_transport(source, target, marginal):
    """COTT by hand: ATC with costs as scores."""
    known, own = (transport(one.chances, marginal) for one in (source, target))
    return thresholded_confidence(-known.costs, source.right, -own.costs)


@pytest.mark.slow
def test_honest_chances_give_the_accuracy_by_every_method():
    rng = np.random.default_rng(0)
    (source, labels), (target, _) = honest(4000, rng), honest(4000, rng)
    truth = target.right.mean()
    marginal = class_shares(labels, 3)
    found = [
        average_confidence(target),
        difference_of_confidences(source, target),
        thresholded_confidence(source.confidence, source.right, target.confidence),
        thresholded_confidence(source.negative_entropy, source.right, target.negative_entropy),
        expected_accuracy(
            calibrated(calibration(source.chances, labels), target.chances), target.predicted
        ),
        by_transport(source, target, marginal),
    ]
    assert found == pytest.approx([truth] * len(found), abs=0.03)


def test_average_confidence_follows_a_shift_of_honest_chances():
    rng = np.random.default_rng(1)
    target, _ = honest(20_000, rng, sharpness=0.7)
    assert average_confidence(target) == pytest.approx(target.right.mean(), abs=0.01)


def test_the_source_itself_is_estimated_exactly():
    source, labels = honest(500, np.random.default_rng(2))
    accuracy = source.right.mean()
    assert difference_of_confidences(source, source) == pytest.approx(accuracy)
    for scores in (source.confidence, source.negative_entropy):
        assert thresholded_confidence(scores, source.right, scores) == pytest.approx(accuracy)
    marginal = class_shares(labels, 3)
    assert by_transport(source, source, marginal) == pytest.approx(accuracy, abs=1 / 500)


def test_the_threshold_is_exact_and_knows_perfect_and_hopeless_sources():
    scores = np.array([0.9, 0.6, 0.8, 0.7])
    assert threshold(scores, np.array([True, False, True, False])) == 0.8
    target = np.array([-2.0, 0.5, 3.0])
    perfect, hopeless = np.ones(4, dtype=bool), np.zeros(4, dtype=bool)
    assert thresholded_confidence(-scores, perfect, target) == 1.0
    assert thresholded_confidence(scores, hopeless, target) == 0.0


def test_difference_of_confidences_stays_a_share():
    source = Answers(np.array([[0.5, 0.5]]), np.array([True]))
    assert difference_of_confidences(source, Answers(np.array([[1.0, 0.0]]))) == 1.0


def test_sure_answers_of_the_same_shares_cost_nothing_and_others_what_must_move():
    sure = np.eye(3)[[0, 1, 2, 0]]
    marginal = np.array([0.5, 0.25, 0.25])
    assert transport(sure, marginal).costs.tolist() == [0.0] * 4
    assert transport(sure, np.array([0.25, 0.5, 0.25])).costs.mean() == 0.25


def test_transport_is_the_best_of_all_assignments():
    chances = np.random.default_rng(3).dirichlet(np.ones(3), 6)
    labels = [0, 0, 0, 1, 1, 2]
    best = min(
        sum(1 - chances[i, k] for i, k in enumerate(order))
        for order in set(itertools.permutations(labels))
    )
    found = transport(chances, np.array([0.5, 1 / 3, 1 / 6])).costs
    assert found.sum() == pytest.approx(best)
    assert whole_shares(np.array([1 / 3, 1 / 3, 1 / 3]), 7).sum() == 7


def test_potentials_add_up_to_the_cost_and_follow_it_when_images_are_drawn_anew():
    rng = np.random.default_rng(8)
    chances, marginal = rng.dirichlet(np.ones(4), 300), np.array([0.4, 0.35, 0.25, 0.0])
    found = transport(chances, marginal)
    assert found.images.mean() + marginal @ found.classes == pytest.approx(found.costs.mean())
    assert (found.images[:, None] <= 1 - chances[:, :3] - found.classes[:3] + 1e-12).all()
    drawn = rng.integers(0, 300, (40, 300))
    exact = np.array([transport(chances[rows], marginal).costs.mean() for rows in drawn])
    first = found.images[drawn].mean(axis=1) + marginal @ found.classes
    assert first.std() == pytest.approx(exact.std(), rel=0.1)
    assert np.corrcoef(first, exact)[0, 1] > 0.98


def sorted_by_class(count, rng, classes=20):
    """Chances whose surest class runs 0, 1, .., as in a table that goes through its classes."""
    labels = np.arange(count) % classes
    logits = rng.normal(size=(count, classes)) + 3 * np.eye(classes)[labels]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [600, 1100])
def test_many_images_in_order_of_their_classes_are_transported_whole(count):
    rng = np.random.default_rng(count)
    chances, shares = sorted_by_class(count, rng), np.full(20, 1 / 20)
    costs = 1 - chances[:, np.repeat(np.arange(20), whole_shares(shares, count))]
    found = transport(chances, shares).costs
    assert found.sum() == pytest.approx(costs[linear_sum_assignment(costs)].sum())
    order = rng.permutation(count)
    assert transport(chances[order], shares).costs == pytest.approx(found[order])


@pytest.mark.slow  # linear programming takes seconds
@pytest.mark.parametrize("count", [600, 1100])
def test_many_images_in_order_of_their_classes_cost_what_linear_programming_says(count):
    chances = sorted_by_class(count, np.random.default_rng(count))
    shares, images, classes = np.full(20, 1 / 20), sparse.eye(count), sparse.eye(20)
    sums = [sparse.kron(images, np.ones((1, 20))), sparse.kron(np.ones((1, count)), classes)]
    each = np.r_[np.ones(count), whole_shares(shares, count)]
    solved = linprog((1 - chances).ravel(), A_eq=sparse.vstack(sums).tocsr(), b_eq=each)
    assert transport(chances, shares).costs.sum() == pytest.approx(solved.fun, rel=1e-9)


def test_uneven_and_tied_transports_cost_what_a_square_assignment_says():
    rng = np.random.default_rng(4)
    for count, classes in ((1, 2), (7, 3), (300, 2), (211, 9), (40, 60)):
        shares = rng.dirichlet(np.ones(classes) / 2)
        chances = rng.dirichlet(np.ones(classes), count)
        for own in (chances, chances.round(1), np.eye(classes)[chances.argmax(axis=1)]):
            costs = 1 - own[:, np.repeat(np.arange(classes), whole_shares(shares, count))]
            whole = costs[linear_sum_assignment(costs)].sum()
            assert transport(own, shares).costs.sum() == pytest.approx(whole, abs=1e-9)


def test_isotonic_calibration_is_sklearns():
    rng = np.random.default_rng(5)
    scores = rng.random(200).round(2)
    truth = rng.random(200) < scores**2
    places, steps = isotonic(scores, truth)
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, truth)
    grid = np.linspace(0, 1, 101)
    assert np.interp(grid, places, steps) == pytest.approx(fitted.predict(grid))


def test_chances_that_vanish_become_equal():
    source = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8]])
    found = calibrated(calibration(source, np.array([1, 1, 0])), np.array([[0.95, 0.0]]))
    assert found.sum() == pytest.approx(1.0)


def test_the_expected_area_is_the_area_where_chances_are_truths():
    rng = np.random.default_rng(6)
    scores = rng.random(100).round(1)
    truth = rng.random(100) < scores
    assert expected_area(scores, truth.astype(float)) == pytest.approx(roc_auc_score(truth, scores))
    assert expected_area(scores, np.zeros(100)) is None


def test_nuclear_norm_and_mean_error_have_their_ends():
    assert nuclear_norm(np.eye(4)[[0, 1, 2, 3] * 5]) == pytest.approx(1.0)
    assert nuclear_norm(np.eye(4)[[0] * 20]) == pytest.approx(0.5)
    assert mean_absolute_error([0.5, 0.7], [0.6, 0.5]) == pytest.approx(0.15)


def test_mandoline_weights_give_the_slices_of_the_target_and_its_accuracy():
    rng = np.random.default_rng(7)
    source = np.where(rng.random((3000, 2)) < 0.5, 1.0, -1.0)
    target = np.where(rng.random((3000, 2)) < [0.9, 0.5], 1.0, -1.0)
    weights = slice_weights(source, target)
    assert weights.sum() == pytest.approx(1.0)
    assert weights @ source == pytest.approx(target.mean(axis=0), abs=1e-3)
    sure = slice_weights(source, np.array([[1.0, 1.0], [1.0, 1.0]]))  # as no mixture of all is
    assert sure[(source == 1).all(axis=1)].sum() == pytest.approx(1.0, abs=0.01)
    assert np.isfinite(slice_weights(np.ones((5, 2)), -np.ones((3, 2)))).all()
    right = rng.random(3000) < np.where(source[:, 0] > 0, 0.5, 0.9)
    expected = 0.9 * 0.5 + 0.1 * 0.9
    assert weighted_accuracy(right, weights) == pytest.approx(expected, abs=0.03)
