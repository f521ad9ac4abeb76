"""The linear probe against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from medrobust.adapters import LinearProbe
from medrobust.adapters.linear_probe import Probe


def unit_features(count: int, width: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("penalty", [1.0, 100.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_weights_are_those_of_scikit_learn(classes: int, penalty: float) -> None:
    features = unit_features(80, 12)
    labels = np.random.default_rng(1).integers(0, classes, 80)
    theirs = LogisticRegression(C=penalty, tol=1e-12, max_iter=20_000).fit(
        features.astype(np.float64), labels
    )
    head = LinearProbe(inverse_penalty=penalty).fit(
        torch.from_numpy(features), torch.from_numpy(labels), "multi-class", classes
    )
    scores = theirs.decision_function(features.astype(np.float64))
    ours = head.logits(torch.from_numpy(features)).numpy()
    if classes == 2:
        np.testing.assert_allclose(ours[:, 1] - ours[:, 0], scores, atol=1e-5)
    else:
        np.testing.assert_allclose(
            ours - ours.mean(axis=1, keepdims=True),
            scores - scores.mean(axis=1, keepdims=True),
            atol=1e-5,
        )
        np.testing.assert_allclose(head.weight.numpy(), theirs.coef_, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
def test_many_features_are_whitened_and_reach_the_same_optimum(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales = np.geomspace(0.01, 1, 12)  # so that whitening means something
    features = (unit_features(300, 12) * scales + 0.3).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, classes, 300)
    theirs = LogisticRegression(C=30.0, tol=1e-12, max_iter=500, solver="newton-cg")
    scores = theirs.fit(features.astype(np.float64), labels).decision_function(features)
    monkeypatch.setattr("medrobust.adapters.linear_probe.MANY", 1)
    head = LinearProbe(inverse_penalty=30.0).fit(
        torch.from_numpy(features), torch.from_numpy(labels), "multi-class", classes
    )
    ours = head.logits(torch.from_numpy(features)).numpy()
    if classes == 2:
        np.testing.assert_allclose(ours[:, 1] - ours[:, 0], scores, atol=1e-5)
    else:
        apart = [values - values.mean(axis=1, keepdims=True) for values in (ours, scores)]
        np.testing.assert_allclose(*apart, atol=1e-5)
        np.testing.assert_allclose(head.weight.numpy(), theirs.coef_, atol=1e-5)


def test_label_sets_get_one_regression_a_label() -> None:
    features = unit_features(60, 6)
    labels = (np.random.default_rng(2).random((60, 3)) < 0.4).astype(np.int64)
    head = LinearProbe(inverse_penalty=10.0).fit(
        torch.from_numpy(features), torch.from_numpy(labels), "multi-label, binary-class", 3
    )
    for column in range(3):
        theirs = LogisticRegression(C=10.0, tol=1e-12, max_iter=20_000)
        theirs.fit(features.astype(np.float64), labels[:, column])
        np.testing.assert_allclose(head.weight[column].numpy(), theirs.coef_[0], atol=1e-5)


def test_logits_do_not_depend_on_how_many_rows_come_at_a_time() -> None:
    features = torch.from_numpy(unit_features(33, 64))
    head = Probe(torch.randn(7, 64), torch.randn(7))
    whole = head.logits(features)
    assert torch.equal(torch.cat([head.logits(row[None]) for row in features]), whole)
