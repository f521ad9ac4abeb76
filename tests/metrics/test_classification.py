"""Scores against scikit-learn and MedMNIST's own evaluator, on random and degenerate inputs."""

import numpy as np
import pytest
from medmnist.evaluator import getACC, getAUC
from scipy.special import logsumexp
from sklearn import metrics as sklearn_metrics

from medrobust.exceptions import InvalidDataError
from medrobust.metrics import (
    METRICS,
    auc,
    balanced_accuracy,
    cell_metrics,
    class_scores,
    fit_temperature,
    negative_log_likelihood,
    predictions,
    probabilities,
    quadratic_weighted_kappa,
)

MULTI, ORDINAL = "multi-class", "ordinal-regression"
LABELS = "multi-label, binary-class"


def sample(classes: int, count: int = 200, *, ties: bool = False):
    rng = np.random.default_rng(classes * 1000 + count)
    logits = rng.normal(size=(count, classes)).astype(np.float32) * 3
    labels = rng.integers(classes, size=count)
    logits[np.arange(count), labels] += 1
    return (np.round(logits) if ties else logits), labels


def test_fewer_images_than_classes_have_the_area_of_those_that_are_there():
    scores, labels = np.random.default_rng(3).normal(size=(3, 6)), np.array([4, 1, 1])
    parts = [sklearn_metrics.roc_auc_score(labels == k, scores[:, k]) for k in (1, 4)]
    assert auc(scores, labels, label_kind=MULTI) == (pytest.approx(np.mean(parts)), 4)


def test_fewer_images_than_grades_have_scikit_learns_kappa():
    logits, labels = np.eye(6)[[4, 1, 2]], np.array([5, 1, 1])
    expected = sklearn_metrics.cohen_kappa_score(
        labels, [4, 1, 2], labels=range(6), weights="quadratic"
    )
    found = cell_metrics(logits, labels, label_kind=ORDINAL)["quadratic_weighted_kappa"]
    assert found == pytest.approx(expected)


def test_log_odds_equal_scipys_logsumexp_of_the_others():
    logits, _ = sample(5, ties=True)
    logits[0] = [80, -80, 0, 0, 0]
    scores = class_scores(logits, MULTI)
    for k in range(5):
        others = logsumexp(np.delete(logits, k, axis=1).astype(np.float64), axis=1)
        np.testing.assert_allclose(scores[:, k], logits[:, k] - others, rtol=1e-13, atol=1e-13)


def test_scores_do_not_saturate_where_the_softmax_does():
    scores = class_scores(np.array([[100, 0, 0], [200, 0, 0]], np.float32), MULTI)
    assert scores[1, 0] > scores[0, 0]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("classes", "label_kind"), [(2, MULTI), (5, ORDINAL), (8, MULTI), (57, MULTI)]
)
def test_multi_class_numbers_equal_scikit_learn_and_medmnist(classes, label_kind, ties):
    logits, labels = sample(classes, 600, ties=ties)
    values = cell_metrics(logits, labels, label_kind=label_kind)
    predicted = logits.argmax(1)
    scores = class_scores(logits, MULTI)
    assert values["accuracy"] == pytest.approx(getACC(labels, logits, label_kind), abs=1e-12)
    assert values["error"] == pytest.approx(1 - values["accuracy"], abs=1e-12)
    assert values["balanced_accuracy"] == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, predicted), abs=1e-12
    )
    assert values["auc"] == pytest.approx(getAUC(labels, scores, label_kind), abs=1e-9)


@pytest.mark.parametrize("positive", [0, 1])
def test_binary_auc_refers_to_the_positive_class(positive):
    logits, labels = sample(2)
    values = cell_metrics(logits, labels, label_kind="binary-class", positive=positive)
    truth = labels == positive
    score = logits[:, positive].astype(float) - logits[:, 1 - positive]
    expected = sklearn_metrics.roc_auc_score(truth, score)
    assert values["auc"] == pytest.approx(expected, abs=1e-12)
    softmax = probabilities(logits, "binary-class")
    assert values["accuracy"] == getACC(labels, softmax, "binary-class")
    if positive == 1:  # the column that MedMNIST's evaluator reads
        assert values["auc"] == pytest.approx(getAUC(labels, softmax, "binary-class"), abs=1e-12)


def test_multi_label_numbers_equal_medmnist_and_mean_balanced_accuracy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 14)).astype(np.float32)
    labels = (rng.random((300, 14)) < 0.2).astype(np.int64)
    values = cell_metrics(logits, labels, label_kind=LABELS)
    sigmoid = probabilities(logits, LABELS)
    assert values["accuracy"] == pytest.approx(getACC(labels, sigmoid, LABELS), abs=1e-12)
    assert values["auc"] == pytest.approx(getAUC(labels, sigmoid, LABELS), abs=1e-12)
    expected = np.mean(
        [sklearn_metrics.balanced_accuracy_score(labels[:, i], logits[:, i] > 0) for i in range(14)]
    )
    assert values["balanced_accuracy"] == pytest.approx(expected, abs=1e-12)


def test_multi_label_without_a_natural_zero_has_the_areas_alone():
    logits, labels = np.array([[1.0, 2.0]] * 2), np.array([[0, 1], [1, 0]])
    values = cell_metrics(logits, labels, label_kind=LABELS, thresholded=False)
    assert list(values) == ["auc", "auprc"]


def test_ordinal_sets_have_kappa_and_grade_error():
    logits, labels = sample(5)
    values = cell_metrics(logits, labels, label_kind=ORDINAL)
    predicted = logits.argmax(1)
    kappa = sklearn_metrics.cohen_kappa_score(labels, predicted, weights="quadratic")
    assert values["quadratic_weighted_kappa"] == pytest.approx(kappa, abs=1e-12)
    assert values["mean_absolute_grade_error"] == np.abs(predicted - labels).mean()
    fitted = {"sensitivity", "specificity", "nll_calibrated"}
    assert set(values) == set(METRICS) - fitted


def test_kappa_is_undefined_where_chance_cannot_disagree():
    same = np.zeros(4, np.int64)
    assert quadratic_weighted_kappa(same, same, classes=3) is None


def test_an_absent_class_is_left_out_of_auc_and_counted():
    logits, labels = sample(4)
    seen = labels != 3
    scores = class_scores(logits[seen], MULTI)
    value, left_out = auc(scores, labels[seen], label_kind=MULTI)
    parts = [sklearn_metrics.roc_auc_score(labels[seen] == k, scores[:, k]) for k in range(3)]
    assert left_out == 1
    assert value == pytest.approx(np.mean(parts), abs=1e-12)


def test_a_single_class_or_sample_has_no_auc_but_an_accuracy():
    values = cell_metrics(np.array([[0.0, 1.0]]), np.array([1]), label_kind=MULTI)
    assert values["auc"] is None
    assert values["accuracy"] == values["balanced_accuracy"] == 1.0


def test_a_perfect_model_scores_one():
    labels = np.array([0, 1, 2, 2])
    values = cell_metrics(np.eye(3)[labels] * 9, labels, label_kind=MULTI)
    assert values["error"] == values["balanced_error"] == 0.0
    assert values["auc"] == 1.0


def test_a_tie_is_predicted_as_the_lowest_class():
    assert predictions(np.array([[1.0, 1.0, 0.0]]), MULTI).tolist() == [0]


def test_balanced_accuracy_leaves_out_classes_that_do_not_occur():
    assert balanced_accuracy(np.array([0, 2]), np.array([0, 0])) == 0.5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e300, 1e308, -1.7e308])
def test_logits_beyond_all_differences_are_refused_in_a_sentence(size):
    logits, labels = np.array([[0.0, size], [0.0, 1.0], [-size, size]]), np.array([0, 1, 1])
    for compute in (
        lambda kind: probabilities(logits, kind),
        lambda kind: class_scores(logits, kind),
        lambda kind: predictions(logits, kind),
        lambda kind: negative_log_likelihood(logits, labels, kind),
        lambda kind: fit_temperature(logits, labels, kind),
    ):
        with pytest.raises(InvalidDataError, match=r"of 2 of 3 images lie beyond 3\.4e"):
            compute(MULTI)


@pytest.mark.filterwarnings("error")
def test_the_largest_logits_of_float32_have_finite_numbers():
    top = float(np.finfo(np.float32).max)
    logits, labels = np.array([[-top, top], [top, -top], [0.0, 1.0]]), np.array([1, 1, 1])
    assert probabilities(logits, MULTI)[:2].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert np.isfinite(class_scores(logits, MULTI)).all()
    assert negative_log_likelihood(logits, labels, MULTI) == pytest.approx(2 * top / 3)
    assert fit_temperature(logits, labels, MULTI) > 0


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(InvalidDataError, match="1 of 2 images are not finite"):
        cell_metrics(np.array([[0.0, np.nan], [0.0, 1.0]]), np.array([0, 1]), label_kind=MULTI)
