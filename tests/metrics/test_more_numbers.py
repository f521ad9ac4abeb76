"""Macro F1, AUPRC, calibration, operating points against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional import classification as torchmetrics

from medrobust.exceptions import InvalidDataError
from medrobust.metrics import (
    Reading,
    adaptive_calibration_error,
    auprc,
    average_precision,
    cell_estimates,
    cell_metrics,
    class_scores,
    expected_calibration_error,
    fit_temperature,
    macro_f1,
    negative_log_likelihood,
    operating_point,
    predictions,
    probabilities,
    sensitivity_specificity,
)
from medrobust.metrics.curves import curves
from medrobust.tasks.classification.fits import Fit

MULTI, LABELS = "multi-class", "multi-label, binary-class"


def sample(classes, count=300, *, ties=False, seed=0):
    rng = np.random.default_rng([classes, count, seed])
    logits = 2 * rng.normal(size=(count, classes)).astype(np.float32)
    labels = rng.integers(classes, size=count)
    logits[np.arange(count), labels] += 1
    return (np.round(logits) if ties else logits), labels


def labelled(seed=0, count=250, classes=6):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes)).astype(np.float32)
    labels = (rng.random((count, classes)) < 0.3).astype(np.int64)
    return (logits + labels).astype(np.float32), labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 9])
def test_multi_class_numbers_equal_scikit_learn_and_torchmetrics(classes, ties):
    logits, labels = sample(classes, ties=ties)
    values = cell_metrics(logits, labels, label_kind=MULTI)
    predicted, chances = predictions(logits, MULTI), probabilities(logits, MULTI)
    scores = class_scores(logits, MULTI)
    parts = [
        sklearn_metrics.average_precision_score(labels == k, scores[:, k]) for k in range(classes)
    ]
    areas = [sklearn_metrics.roc_auc_score(labels == k, scores[:, k]) for k in range(classes)]
    assert values["macro_f1"] == pytest.approx(
        sklearn_metrics.f1_score(labels, predicted, average="macro"), abs=1e-12
    )
    assert values["auprc"] == pytest.approx(np.mean(parts), abs=1e-12)
    assert values["auc"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert values["brier"] == pytest.approx(
        ((chances - np.eye(classes)[labels]) ** 2).sum(1).mean(), abs=1e-12
    )
    expected = torchmetrics.multiclass_calibration_error(
        torch.tensor(chances), torch.tensor(labels), classes, n_bins=15, norm="l1"
    )
    assert values["ece"] == pytest.approx(float(expected), abs=1e-6)
    nll = sklearn_metrics.log_loss(labels, chances, labels=range(classes))
    assert negative_log_likelihood(logits, labels, MULTI) == pytest.approx(nll, abs=1e-9)


def test_binary_brier_score_and_auprc_equal_scikit_learn():
    logits, labels = sample(2)
    chances = probabilities(logits, "binary-class")
    values = cell_metrics(logits, labels, label_kind="binary-class", positive=0)
    assert values["brier"] == pytest.approx(
        sklearn_metrics.brier_score_loss(labels == 0, chances[:, 0]), abs=1e-12
    )
    score = class_scores(logits, "binary-class")[:, 0]
    expected = sklearn_metrics.average_precision_score(labels == 0, score)
    assert values["auprc"] == pytest.approx(expected, abs=1e-12)


def test_multi_label_numbers_equal_scikit_learn_and_torchmetrics():
    logits, labels = labelled()
    values = cell_metrics(logits, labels, label_kind=LABELS)
    chances = probabilities(logits, LABELS)
    predicted = predictions(logits, LABELS)
    assert values["macro_f1"] == pytest.approx(
        sklearn_metrics.f1_score(labels, predicted, average="macro"), abs=1e-12
    )
    assert values["auprc"] == pytest.approx(
        sklearn_metrics.average_precision_score(labels, chances, average="macro"), abs=1e-12
    )
    gaps = [
        float(
            torchmetrics.binary_calibration_error(
                torch.tensor(chances[:, c]), torch.tensor(labels[:, c]), n_bins=15, norm="l1"
            )
        )
        for c in range(labels.shape[1])
    ]
    assert values["ece"] == pytest.approx(np.mean(gaps), abs=1e-6)
    parts = [sklearn_metrics.log_loss(labels[:, c], chances[:, c]) for c in range(labels.shape[1])]
    nll = negative_log_likelihood(logits, labels, LABELS)
    assert nll == pytest.approx(np.mean(parts), abs=1e-9)


def test_macro_f1_leaves_out_labels_that_are_neither_there_nor_predicted():
    labels = np.array([[1, 0], [0, 0]])
    assert macro_f1(labels, labels) == 1.0
    assert macro_f1(labels[:, 1:], labels[:, 1:]) is None


def test_labels_that_no_image_has_or_is_given_leave_macro_f1_empty_without_a_warning():
    labels = np.zeros((5, 3), np.int64)
    found = cell_estimates(Reading(np.full((5, 3), -1.0), labels, LABELS))
    assert (found["macro_f1"].value, found["macro_f1"].low) == (None, None)
    assert (found["error"].value, found["auc"].value) == (0.0, None)


@pytest.mark.parametrize("groups", [None, np.zeros(200, np.int64)], ids=["alike", "one patient"])
def test_what_no_image_or_patient_varies_has_a_number_and_no_point_for_an_interval(groups):
    labels = np.arange(200) % 2
    logits = np.where(labels[:, None] == np.arange(2), 4.0, -4.0)
    if groups is not None:
        logits += np.random.default_rng(0).normal(size=logits.shape)
    given = Reading(logits, labels, "binary-class", 1, groups=groups)
    found = cell_estimates(given) | Fit(given).estimates(given)
    for name in ("brier", "nll_calibrated", "ece"):
        assert found[name].value > 0
        assert (found[name].low, found[name].high) == (None, None)
    assert all(e.low is None or e.low < e.high for e in found.values())


def test_the_average_precision_of_a_perfect_order_is_one_whatever_its_sums_round_to():
    for positives in range(1, 60):
        truth = np.arange(60) >= 60 - positives
        found = curves(np.arange(60.0)[:, None], truth[:, None]).precisions[0]
        assert 1 - 1e-12 < found <= 1.0


def test_a_temperature_at_its_upper_limit_leaves_the_nll_of_guessing_without_bounds():
    labels = np.arange(300) % 3
    wrong = np.eye(3, dtype=np.float32)[(labels + 1) % 3] * 4
    fit = Fit(Reading(wrong, labels, "multi-class"))
    found = fit.estimates(Reading(wrong, labels, "multi-class"))["nll_calibrated"]
    assert fit.temperature == pytest.approx(1e4)
    assert found.value == pytest.approx(np.log(3), abs=1e-3)
    assert found.lacks == ("low", "high")
    assert "upper limit, 10,000" in found.note


@pytest.mark.parametrize(
    "truth", [np.zeros(4, bool), np.ones(4, bool)], ids=["no positives", "no negatives"]
)
def test_one_class_alone_has_no_area_and_no_operating_point(truth):
    scores = np.arange(4.0)
    assert average_precision(scores, truth) is None
    assert operating_point(scores, truth) is None
    labels = truth.astype(np.int64)
    assert auprc(np.c_[scores, -scores], labels, label_kind=MULTI) == (None, 2)


def test_degenerate_cells_have_numbers_or_none_but_no_nan():
    perfect = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]] * 50
    values = cell_metrics(perfect, np.array([0, 1, 2, 2]), label_kind=MULTI)
    assert (values["macro_f1"], values["auprc"], round(values["brier"], 9)) == (1.0, 1.0, 0.0)
    assert values["ece"] == pytest.approx(values["adaptive_ece"], abs=1e-12)
    one = cell_metrics(np.array([[0.0, 1.0]]), np.array([0]), label_kind=MULTI)
    assert one["auc"] is one["auprc"] is None
    assert one["macro_f1"] == 0.0
    tied = cell_metrics(np.zeros((6, 2)), np.array([0, 1] * 3), label_kind=MULTI)
    assert (tied["auc"], tied["auprc"], tied["ece"]) == (0.5, 0.5, 0.0)


def test_adaptive_bins_hold_equally_many_images_and_spread_what_is_left_over():
    rng = np.random.default_rng(3)
    for count, sizes in (
        (150, [10] * 15),
        (157, [11, 10, 11, 10, 11, 10, 11, 10, 11, 10, 11, 10, 11, 10, 10]),
    ):
        chances = rng.dirichlet([0.4] * 4, size=count)
        labels = rng.integers(4, size=count)
        confidence, right = chances.max(1), chances.argmax(1) == labels
        order, total, first = np.argsort(confidence), 0.0, 0
        for size in sizes:
            own = order[first : first + size]
            total += abs(confidence[own].sum() - right[own].sum()) / count
            first += size
        assert first == count
        assert adaptive_calibration_error(chances, labels, MULTI) == pytest.approx(total, abs=1e-14)


def test_calibration_does_not_depend_on_the_order_of_images_with_equal_confidence():
    chances = np.tile([[0.75, 0.25]], (40, 1))
    labels = np.array([0] * 10 + [1] * 30)
    there, back = (
        adaptive_calibration_error(chances, given, MULTI) for given in (labels, labels[::-1])
    )
    assert there == pytest.approx(back, abs=1e-15)
    assert expected_calibration_error(chances, labels, MULTI) == pytest.approx(0.5)


@pytest.mark.parametrize("label_kind", [MULTI, LABELS])
def test_the_temperature_is_that_of_least_nll(label_kind):
    logits, labels = sample(4, 500) if label_kind == MULTI else labelled(count=500)
    best = fit_temperature(logits * 3, labels, label_kind)
    assert best == pytest.approx(3 * fit_temperature(logits, labels, label_kind), rel=1e-6)
    targets = smoothed_by_hand(labels, 4)

    def smoothed(temperature):
        chances = probabilities(logits * 3 / temperature, label_kind)
        if label_kind == MULTI:
            return -(targets * np.log(chances)).sum(axis=1).mean()
        return -(targets * np.log(chances) + (1 - targets) * np.log(1 - chances)).mean()

    assert min(smoothed(best * 0.98), smoothed(best * 1.02)) > smoothed(best)
    least = negative_log_likelihood(logits * 3, labels, label_kind, temperature=best)
    for factor in (0.9, 1.1):  # 500 images: the plain optimum is near
        more = negative_log_likelihood(logits * 3, labels, label_kind, temperature=best * factor)
        assert more > least


def smoothed_by_hand(labels, classes):
    """Platt's targets: what N right answers tell, with one more image right and one wrong."""
    right, wrong = (len(labels) + 1) / (len(labels) + 2), 1 / (len(labels) + 2)
    if labels.ndim == 2:
        return labels * right + (1 - labels) * wrong
    return np.array(
        [[right if k == y else wrong / (classes - 1) for k in range(classes)] for y in labels]
    )


def test_a_perfectly_answered_split_has_a_temperature_that_its_size_allows():
    labels = np.repeat([0, 1, 2], 100)
    logits = np.eye(3)[labels] * 5
    temperature = fit_temperature(logits, labels, MULTI)
    # 301 of 302 are right, and half a wrong answer goes to each other class: 5 / T = log(602)
    assert temperature == pytest.approx(5 / np.log(602), rel=1e-6)
    wrong = negative_log_likelihood(logits, (labels + 1) % 3, MULTI, temperature=temperature)
    assert wrong == pytest.approx(np.log(604), rel=1e-6)
    with pytest.raises(InvalidDataError, match="above 0"):
        negative_log_likelihood(logits, labels, MULTI, temperature=0.0)


@pytest.mark.parametrize("label_kind", [MULTI, LABELS])
def test_logits_that_tell_nothing_apart_leave_the_temperature_at_one(label_kind):
    labels = np.array([0, 1, 1]) if label_kind == MULTI else np.array([[0, 1], [1, 1], [0, 0]])
    assert fit_temperature(np.zeros((3, 2)), labels, label_kind) == 1.0


def test_votes_that_tie_have_the_same_score_whatever_the_order_of_classes():
    rng = np.random.default_rng(11)
    votes = rng.multinomial(9, np.full(7, 1 / 7), size=400).astype(np.float32)
    labels = rng.integers(7, size=400)
    plain = cell_metrics(votes, labels, label_kind=MULTI)
    scores = class_scores(votes, MULTI)
    rows = np.sort(votes, axis=1)
    known = {}
    for row, k in ((row, k) for row in range(400) for k in range(7)):  # the same votes, one score
        known.setdefault((rows[row].tobytes(), votes[row, k]), set()).add(scores[row, k])
    assert {len(found) for found in known.values()} == {1}
    for _ in range(5):
        order = rng.permutation(7)
        moved = cell_metrics(votes[:, order], np.argsort(order)[labels], label_kind=MULTI)
        assert moved["auc"] == pytest.approx(plain["auc"], abs=1e-14)
        assert moved["auprc"] == pytest.approx(plain["auprc"], abs=1e-14)
    assert class_scores(votes + 3, MULTI).tolist() == scores.tolist()


def test_youdens_point_and_a_wanted_sensitivity_equal_scikit_learns_curve():
    rng = np.random.default_rng(5)
    truth = rng.random(200) < 0.3
    scores = np.round(rng.normal(size=200) + truth, 1)  # with ties
    false, hit, thresholds = sklearn_metrics.roc_curve(truth, scores, drop_intermediate=False)
    point = operating_point(scores, truth)
    assert point.threshold == thresholds[np.argmax(hit - false)]
    assert point.n == 200
    wanted = operating_point(scores, truth, sensitivity=0.9)
    assert wanted.threshold == thresholds[np.argmax(hit >= 0.9)]
    found = sensitivity_specificity(scores, truth, wanted.threshold)
    assert found[0] >= 0.9
    assert found == pytest.approx(
        (
            sklearn_metrics.recall_score(truth, scores >= wanted.threshold),
            sklearn_metrics.recall_score(~truth, scores < wanted.threshold),
        )
    )


def test_a_sensitivity_outside_of_its_range_is_refused():
    with pytest.raises(InvalidDataError, match=r"sensitivity=1\.5"):
        operating_point(np.arange(3.0), np.array([True, False, True]), sensitivity=1.5)


def test_no_positive_means_no_sensitivity():
    assert sensitivity_specificity(np.arange(2.0), np.zeros(2, bool), 0.5) == (None, 0.5)
