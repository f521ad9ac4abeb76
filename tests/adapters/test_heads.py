"""Nearest neighbours and prototypes against scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from medrobust.adapters import NearestNeighbours, Prototypes
from medrobust.adapters.nearest_neighbours import FLOOR, Neighbours, neighbours_of
from medrobust.exceptions import ConfigurationError

CLASSES = 5
MULTI: Any = "multi-class"
LABELS: Any = "multi-label, binary-class"


def clusters(count: int, seed: int, width: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit features around class means, some of them nearer to another class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    means = np.random.default_rng(99).normal(size=(CLASSES, width))
    values = means[labels] + 1.2 * rng.normal(size=(count, width))
    values = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return torch.from_numpy(values), torch.from_numpy(labels)


SHOTS, QUERIES = clusters(90, 0), clusters(60, 1)


def theirs(neighbours: int, temperature: float | None) -> KNeighborsClassifier:
    weights: Any = "uniform"
    if temperature is not None:
        weights = lambda distances: np.exp((1 - distances) / temperature)  # noqa: E731
    return KNeighborsClassifier(neighbours, metric="cosine", algorithm="brute", weights=weights)


@pytest.mark.parametrize("temperature", [0.07, 1.0, None])
@pytest.mark.parametrize("neighbours", [1, 5, 20])
def test_votes_are_those_of_scikit_learn(neighbours: int, temperature: float | None) -> None:
    recipe = NearestNeighbours(neighbours=(neighbours,), temperature=temperature)
    head = recipe.fit(*SHOTS, MULTI, CLASSES)
    expected = theirs(neighbours, temperature).fit(SHOTS[0].double().numpy(), SHOTS[1].numpy())
    queries = QUERIES[0].double().numpy()
    logits = head.logits(QUERIES[0])
    shares = logits.double().exp().numpy() - FLOOR
    np.testing.assert_allclose(shares, expected.predict_proba(queries), atol=1e-6)
    assert (logits.argmax(1).numpy() == expected.predict(queries)).all()


def test_label_sets_vote_for_each_label() -> None:
    labels = (np.random.default_rng(2).random((90, 3)) < 0.4).astype(np.int64)
    head = NearestNeighbours(neighbours=(5,)).fit(SHOTS[0], torch.from_numpy(labels), LABELS, 3)
    expected = MultiOutputClassifier(theirs(5, 0.07)).fit(SHOTS[0].double().numpy(), labels)
    queries = QUERIES[0].double().numpy()
    found = (head.logits(QUERIES[0]) > 0).numpy()
    assert (found == expected.predict(queries).astype(bool)).all()


def test_the_k_that_errs_least_beside_the_shots_is_chosen() -> None:
    beside = clusters(200, 3)
    asked = (1, 5, 20)
    head = NearestNeighbours(neighbours=asked).fit(*SHOTS, MULTI, CLASSES, beside)
    errors = []
    for k in asked:
        answers = theirs(k, 0.07).fit(SHOTS[0].double().numpy(), SHOTS[1].numpy())
        wrong = answers.predict(beside[0].double().numpy()) != beside[1].numpy()
        errors.append(np.mean([wrong[beside[1].numpy() == c].mean() for c in range(CLASSES)]))
    assert len(set(errors)) == len(asked), (
        "the values of k differ, so that choosing means something"
    )
    assert int(head.neighbours) == asked[int(np.argmin(errors))]


def test_numbers_of_neighbours_beyond_the_shots_are_no_choice() -> None:
    features, labels = SHOTS[0][:3], SHOTS[1][:3]
    head = NearestNeighbours(neighbours=(1, 5, 20)).fit(features, labels, MULTI, CLASSES)
    assert int(head.neighbours) == 1
    with pytest.raises(ConfigurationError, match="and 3 shots: ask for fewer neighbours"):
        NearestNeighbours(neighbours=(5,)).fit(features, labels, MULTI, CLASSES)


def test_a_plain_number_is_the_list_of_it() -> None:
    plain, listed = NearestNeighbours(neighbours=5), NearestNeighbours(neighbours=[5])  # type: ignore[arg-type]
    assert plain.description() == listed.description()
    assert not plain.needs_selection


def test_without_images_beside_the_shots_one_number_is_asked_for() -> None:
    with pytest.raises(ConfigurationError, match=r"tuning\.select_from=val"):
        NearestNeighbours().fit(*SHOTS, MULTI, CLASSES)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"neighbours": ()}, "at least one"),
        ({"neighbours": (0,)}, "from 1 on"),
        ({"neighbours": (2.5,)}, "whole numbers"),
        ({"temperature": 0.0}, r"adapter\.temperature=0\.0"),
    ],
)
def test_votes_that_cannot_be_counted_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        NearestNeighbours(**keys)


def test_logits_depend_neither_on_rows_at_a_time_nor_on_the_file() -> None:
    head = NearestNeighbours(neighbours=(5,)).fit(*SHOTS, MULTI, CLASSES)
    whole = head.logits(QUERIES[0])
    assert torch.equal(torch.cat([head.logits(row[None]) for row in QUERIES[0]]), whole)
    assert torch.equal(neighbours_of(head.state_dict()).logits(QUERIES[0]), whole)
    assert head.logits(QUERIES[0][:0]).shape == (0, CLASSES)


def test_parts_of_the_shots_are_widened_apart_with_the_same_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = NearestNeighbours(neighbours=(5,)).fit(*SHOTS, MULTI, CLASSES)
    whole = head.logits(QUERIES[0])
    monkeypatch.setattr("medrobust.adapters.nearest_neighbours.CELLS", 100)
    torch.testing.assert_close(head.logits(QUERIES[0]), whole, atol=1e-6, rtol=0)


def test_the_nearest_of_two_twins_gives_both_votes() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    head = Neighbours(features, torch.tensor([0, 1, 1]), 3, 0.0, 2)
    assert head.logits(torch.tensor([[1.0, 0.0]])).argmax().item() == 1


def test_euclidean_prototypes_are_the_nearest_centroid_of_scikit_learn() -> None:
    head = Prototypes(similarity="euclidean").fit(*SHOTS, MULTI, CLASSES)
    expected = NearestCentroid().fit(SHOTS[0].double().numpy(), SHOTS[1].numpy())
    found = head.logits(QUERIES[0]).argmax(1).numpy()
    assert (found == expected.predict(QUERIES[0].double().numpy())).all()


def test_cosine_prototypes_are_the_angle_to_each_mean() -> None:
    head = Prototypes(scale=7.0).fit(*SHOTS, MULTI, CLASSES)
    means = np.stack([SHOTS[0][SHOTS[1] == c].double().mean(0).numpy() for c in range(CLASSES)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    expected = 7 * QUERIES[0].double().numpy() @ means.T
    np.testing.assert_allclose(head.logits(QUERIES[0]).numpy(), expected, atol=1e-5)


def test_a_labels_prototype_is_between_the_shots_that_show_it_and_those_that_do_not() -> None:
    labels = torch.from_numpy((np.random.default_rng(2).random((90, 3)) < 0.4).astype(np.int64))
    head = Prototypes(similarity="euclidean").fit(SHOTS[0], labels, LABELS, 3)
    for column in range(3):
        expected = NearestCentroid().fit(SHOTS[0].double().numpy(), labels[:, column].numpy())
        found = (head.logits(QUERIES[0])[:, column] > 0).numpy()
        assert (found == expected.predict(QUERIES[0].double().numpy()).astype(bool)).all()


def test_a_class_without_a_shot_has_no_prototype() -> None:
    with pytest.raises(ConfigurationError, match="class 5 has no shot"):
        Prototypes().fit(*SHOTS, MULTI, CLASSES + 1)
    with pytest.raises(ConfigurationError, match=r"adapter\.similarity='l1'"):
        Prototypes(similarity="l1")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"adapter\.scale=0"):
        Prototypes(scale=0)
