"""Pairs against others: scikit-learn's AUROC, loops by hand, and the truths of both ends."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medrobust.metrics import feature_pairs
from medrobust.metrics.feature_pairs import Pairing, paired_images


def drawn(count: int = 40) -> tuple[np.ndarray, Pairing]:
    draw = np.random.default_rng(5)
    patients = draw.integers(0, 12, count)
    pairs = patients * 2 + draw.integers(0, 2, count)
    side, kind = draw.integers(0, 2, count), draw.integers(0, 3, count)
    centers = draw.normal(size=(12, 8))
    features = (centers[patients] + draw.normal(size=(count, 8))).astype(np.float32)
    features[3] = features[4]
    return features, Pairing(pairs, patients, side, kind)


def by_hand(features: np.ndarray, given: Pairing) -> dict[int, tuple]:
    unit = features.astype(np.float64) / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = np.round(unit @ unit.T, 6)
    found = {}
    for a in range(len(unit)):
        own, rest = [], []
        for b in range(len(unit)):
            if a == b or (given.between is not None and given.between[a] == given.between[b]):
                continue
            if given.pairs[a] == given.pairs[b]:
                own.append(cosines[a, b])
            elif given.patients[a] != given.patients[b] and (
                given.within is None or given.within[a] == given.within[b]
            ):
                rest.append(cosines[a, b])
        if own and rest:
            found[a] = own, rest
    return found


@pytest.mark.parametrize("simple", [True, False])
def test_each_image_and_all_pairs_have_the_auroc_of_scikit_learn(simple, monkeypatch) -> None:
    monkeypatch.setattr(feature_pairs, "BLOCK", 7 * 40)
    features, given = drawn()
    if simple:
        given = Pairing(given.patients, given.patients)
    found, hand = paired_images(features, given), by_hand(features, given)
    assert found.rows.tolist() == list(hand)
    for row, (own, rest) in enumerate(hand.values()):
        truth = [1] * len(own) + [0] * len(rest)
        assert found.auroc[row] == pytest.approx(roc_auc_score(truth, own + rest))
        assert found.rank[row] == 1 + sum(one >= max(own) for one in rest)
        assert (found.partners[row], found.others[row]) == (len(own), len(rest))
    own, rest = (np.concatenate([part[side] for part in hand.values()]) for side in (0, 1))
    truth = np.r_[np.ones(len(own)), np.zeros(len(rest))]
    assert found.pooled_auroc == pytest.approx(roc_auc_score(truth, np.r_[own, rest]), abs=1e-4)


def test_features_that_say_the_same_are_at_chance_and_last() -> None:
    patients = np.repeat(np.arange(5), 2)
    found = paired_images(np.ones((10, 3), np.float32), Pairing(patients, patients))
    assert found.auroc.tolist() == [0.5] * 10
    assert found.pooled_auroc == pytest.approx(0.5)
    assert found.normalized_rank.tolist() == [1.0] * 10


def test_random_features_are_at_chance() -> None:
    patients = np.repeat(np.arange(400), 2)
    features = np.random.default_rng(0).normal(size=(800, 16)).astype(np.float32)
    found = paired_images(features, Pairing(patients, patients))
    assert found.auroc.mean() == pytest.approx(0.5, abs=0.03)
    assert found.normalized_rank.mean() == pytest.approx(0.5, abs=0.03)
    assert found.pooled_auroc == pytest.approx(0.5, abs=0.03)


def test_where_nobody_has_a_second_image_nothing_is_found() -> None:
    alone = np.arange(6)
    found = paired_images(np.eye(6, dtype=np.float32), Pairing(alone, alone))
    assert len(found.rows) == 0
