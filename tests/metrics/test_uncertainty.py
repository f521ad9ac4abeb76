"""Scores of how sure a model is, beside scipy and by hand."""

import numpy as np
import pytest
from scipy import special
from scipy.spatial.distance import cdist

from medrobust.exceptions import InvalidDataError
from medrobust.metrics import uncertainty

LOGITS = np.random.default_rng(0).normal(size=(50, 4)) * 3


def test_scores_of_logits_are_those_of_scipys_softmax():
    chances = special.softmax(LOGITS, axis=1)
    ordered = np.sort(chances, axis=1)
    expected = {
        "msp": chances.max(axis=1),
        "margin": ordered[:, -1] - ordered[:, -2],
        "entropy": -special.entr(chances).sum(axis=1),
        "gini": (chances**2).sum(axis=1),
        "max_logit": LOGITS.max(axis=1),
        "energy": special.logsumexp(LOGITS, axis=1),
    }
    assert expected.keys() == uncertainty.SCORES.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(uncertainty.SCORES[name](LOGITS), values, rtol=1e-12)
    hot = 2 * special.logsumexp(LOGITS / 2, axis=1)
    np.testing.assert_allclose(uncertainty.energy(LOGITS, temperature=2), hot)


def test_float32_logits_of_a_large_scale_do_not_tie():
    logits = np.array([[60.0, 0.0], [61.0, 0.0]], np.float32)
    one, two = uncertainty.negative_entropy(logits)
    assert two > one


def test_mutual_information_is_nothing_where_prompt_sets_agree():
    chances = special.softmax(LOGITS, axis=1)
    assert uncertainty.mutual_information(np.stack([chances] * 3)).max() < 1e-12
    other = special.softmax(-LOGITS, axis=1)
    both = uncertainty.mutual_information(np.stack([chances, other]))
    entropies = [special.entr(c).sum(axis=1) for c in (chances, other)]
    expected = special.entr((chances + other) / 2).sum(axis=1) - np.mean(entropies, axis=0)
    np.testing.assert_allclose(both, expected, atol=1e-12)


def test_mahalanobis_is_the_distance_by_the_covariance_within_classes():
    rng = np.random.default_rng(1)
    labels = np.arange(300) % 3
    features = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + labels[:, None]
    found = uncertainty.fit_distances(features, labels)
    means = np.stack([features[labels == k].mean(axis=0) for k in range(3)])
    within = np.cov((features - means[labels]).T, bias=True)
    whole = np.cov(features.T, bias=True)
    new = rng.normal(size=(20, 5)) * 3
    ridge = {
        name: c + np.eye(5) * 1e-3 * np.trace(c) / 5
        for name, c in (("within", within), ("whole", whole))
    }
    near = cdist(new, means, "mahalanobis", VI=np.linalg.inv(ridge["within"])).min(axis=1) ** 2
    np.testing.assert_allclose(found.mahalanobis(new), -near, rtol=1e-8)
    apart = cdist(new, features.mean(axis=0)[None], "mahalanobis", VI=np.linalg.inv(ridge["whole"]))
    np.testing.assert_allclose(found.relative(new), -near + apart[:, 0] ** 2, rtol=1e-6)


def test_more_dimensions_than_images_have_a_distance_and_one_image_has_none():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(6, 64))
    found = uncertainty.fit_distances(features, np.array([0, 0, 0, 1, 1, 1]))
    assert np.isfinite(found.relative(rng.normal(size=(3, 64)))).all()
    with pytest.raises(InvalidDataError, match="two clean images"):
        uncertainty.fit_distances(features[:1], np.array([0]))


def test_the_nearest_clean_image_is_that_of_unit_features():
    rng = np.random.default_rng(3)
    features, bank = rng.normal(size=(7, 8)), rng.normal(size=(30, 8)) * 5
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features, bank)]
    expected = np.sort(cdist(*unit), axis=1)
    for k in (1, 4):
        found = uncertainty.nearest_distance(features, bank, neighbor=k)
        np.testing.assert_allclose(found, -expected[:, k - 1], atol=1e-8)
    far = uncertainty.nearest_distance(features, bank, neighbor=99)
    np.testing.assert_allclose(far, -expected[:, -1], atol=1e-8)
