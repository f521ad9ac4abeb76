"""Ways to adapt answers online, against the published rules written out plainly."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from medrobust.adapters import NoAdapter
from medrobust.adapters.online import (
    METHODS,
    T3A,
    TDA,
    FromAnswers,
    Lame,
    Nuisance,
    Online,
    Prior,
    Transport,
)
from medrobust.adapters.online.base import entropies, log_softmax
from medrobust.adapters.online.chosen import chosen
from medrobust.adapters.online.lame import drawn_together
from medrobust.adapters.online.nuisance import directions, without
from medrobust.adapters.online.priors import log_frequencies
from medrobust.exceptions import ConfigurationError, UnknownNameError

COUNT, CLASSES, WIDTH = 60, 5, 16
OF_ANSWERS = {name: one for name, one in METHODS.items() if issubclass(one, FromAnswers)}


@dataclass(frozen=True)
class Given:
    logits: Any
    features: Any
    classes: Any
    scale: float
    order: Any
    sentences: Any


def unit(values: Any) -> Any:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def given(seed: int = 0, count: int = COUNT) -> Given:
    """Images around class texts, a third of them nearer to another one; in a mixed order."""
    rng = np.random.default_rng(seed)
    classes = unit(rng.normal(size=(CLASSES, WIDTH)))
    labels = rng.integers(0, CLASSES, count)
    features = unit(classes[labels] + 0.35 * rng.normal(size=(count, WIDTH)))
    logits = 8.0 * features @ classes.T
    sentences = unit(rng.normal(size=(9, WIDTH)))
    return Given(logits, features, classes, 8.0, rng.permutation(count), sentences)


def probabilities(logits: Any) -> Any:
    return np.exp(log_softmax(logits))


OFF: dict[str, Online] = {
    "lame": Lame(strength=0),
    "t3a": T3A(entries=0),
    "tda": TDA(alpha=0, negative_alpha=0),
    "tda published": TDA(alpha=0, negative_alpha=0, published=True),
    "prior": Prior(steps=0),
    "transport": Transport(iterations=0),
    "nuisance": Nuisance(directions=0),
}


@pytest.mark.parametrize("name", OFF)
def test_a_method_of_no_strength_is_the_model_to_the_bit(name: str) -> None:
    made = given()
    logits = made.logits.astype(np.float32).astype(np.float64)
    assert np.array_equal(OFF[name].logits(replace(made, logits=logits)), logits)


@pytest.mark.parametrize("name", OF_ANSWERS)
def test_a_method_moves_answers_and_stays_finite(name: str) -> None:
    made = given()
    adapted = OF_ANSWERS[name]().logits(made)
    assert adapted.shape == made.logits.shape
    assert np.isfinite(adapted).all()
    assert np.abs(probabilities(adapted) - probabilities(made.logits)).max() > 1e-3


@pytest.mark.parametrize("name", OF_ANSWERS)
def test_one_image_and_extreme_logits_have_answers(name: str) -> None:
    alone = replace(given(count=1), order=np.array([0]))
    assert np.isfinite(OF_ANSWERS[name]().logits(alone)).all()
    sure = replace(given(), logits=500 * given().logits)
    assert np.isfinite(OF_ANSWERS[name]().logits(sure)).all()


@pytest.mark.parametrize("name", OF_ANSWERS)
def test_another_order_moves_only_what_says_that_it_depends_on_it(name: str) -> None:
    made = given()
    method, other = OF_ANSWERS[name](), replace(made, order=made.order[::-1])
    same = np.allclose(method.logits(made), method.logits(other), atol=1e-9)
    assert same != method.ordered
    assert ("order" in method.description()) == method.ordered


@pytest.mark.parametrize("name", OF_ANSWERS)
def test_where_images_lie_says_nothing_to_any_method(name: str) -> None:
    made, moved = given(), np.random.default_rng(5).permutation(COUNT)
    back = np.argsort(moved)
    shuffled = replace(
        made,
        logits=made.logits[moved],
        features=made.features[moved],
        order=back[made.order],
    )
    method = OF_ANSWERS[name]()
    np.testing.assert_allclose(method.logits(shuffled)[back], method.logits(made), atol=1e-9)


def lame_in_full(made: Given, alike: Any) -> Any:
    """The rule as published, in probabilities, for as many steps as ours took."""
    own = probabilities(made.logits)
    answers = own
    for _ in range(drawn_together(made.logits, alike, 1.0, 100)[1]):
        raised = own * np.exp(alike @ answers)
        answers = raised / raised.sum(axis=1, keepdims=True)
    return answers


def test_lame_with_published_neighbours_is_the_published_rule() -> None:
    made = given()
    nearest = np.argsort(cdist(made.features, made.features), axis=1)[:, 1:6]
    alike = np.zeros((COUNT, COUNT))
    np.put_along_axis(alike, nearest, 1.0, axis=1)
    found = probabilities(Lame(symmetric=False).logits(made))
    np.testing.assert_allclose(found, lame_in_full(made, alike), atol=1e-9)
    both = probabilities(Lame().logits(made))
    np.testing.assert_allclose(both, lame_in_full(made, (alike + alike.T) / 2), atol=1e-9)


def test_lame_with_radial_affinities_is_the_published_rule() -> None:
    made = given()
    distances = cdist(made.features, made.features)
    sigma = np.sort(distances, axis=1)[:, 5].mean()
    alike = np.exp(-(distances**2) / (2 * sigma**2))
    found = probabilities(Lame(affinity="rbf").logits(made))
    np.testing.assert_allclose(found, lame_in_full(made, alike), atol=1e-9)


@pytest.mark.parametrize("affinity", ["knn", "rbf"])
@pytest.mark.parametrize("strength", [0.3, 1.0, 5.0])
def test_the_bound_of_lame_never_rises_and_rows_sum_to_one(affinity: Any, strength: float) -> None:
    for seed in range(5):
        made, bounds = given(seed), list[float]()
        alike = Lame(affinity=affinity).affinities(made.features)
        logs, steps = drawn_together(made.logits, alike, strength, 100, bounds.append)
        assert len(bounds) == steps > 1
        assert (np.diff(bounds) <= 1e-9 * np.abs(bounds[0])).all()
        np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1, atol=1e-12)


def test_equal_images_and_batches_have_answers_of_lame() -> None:
    made = given()
    blank = replace(made, features=np.repeat(made.features[:1], COUNT, axis=0))
    for affinity in ("knn", "rbf"):
        assert np.isfinite(Lame(affinity=affinity).logits(blank)).all()  # type: ignore[arg-type]
    assert np.isfinite(Lame(batch=7).logits(made)).all()
    whole = Lame(batch=COUNT).logits(made)
    np.testing.assert_allclose(whole, Lame().logits(made), atol=1e-12)


def test_the_likelihood_of_the_prior_never_falls_and_its_classes_are_found() -> None:
    rng = np.random.default_rng(1)
    labels = rng.choice(CLASSES, 4000, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    noise = rng.normal(size=(4000, CLASSES))
    own = log_softmax(2.5 * (np.eye(CLASSES)[labels] * 2.5 + noise))  # Bayes: unit Gaussians
    likelihoods = [
        np.logaddexp.reduce(own + ratio, axis=1).sum() for ratio in log_frequencies(own, 100)
    ]
    assert (np.diff(likelihoods) >= -1e-9).all()
    shares = np.exp(log_frequencies(own, 100)[-1]) / CLASSES
    np.testing.assert_allclose(shares, np.bincount(labels) / 4000, atol=0.02)
    np.testing.assert_allclose(shares.sum(), 1, atol=1e-9)


@pytest.mark.parametrize("marginal", ["uniform", "predicted"])
def test_transport_is_sinkhorn_in_probabilities(marginal: Any) -> None:
    made = given()
    own = probabilities(made.logits)
    shares = own.mean(axis=0) if marginal == "predicted" else np.full(CLASSES, 1 / CLASSES)
    plan = np.exp(made.logits)
    plan /= plan.sum()
    for _ in range(3):
        plan *= shares / plan.sum(axis=0)
        plan /= COUNT * plan.sum(axis=1, keepdims=True)
    found = np.exp(Transport(marginal=marginal).logits(made))
    np.testing.assert_allclose(found, COUNT * plan, atol=1e-10)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    settled = np.exp(Transport(marginal=marginal, iterations=2000).logits(made))
    np.testing.assert_allclose(settled.mean(axis=0), shares, atol=1e-6)


def t3a_in_full(made: Given, entries: int | None) -> Any:
    """The rule as published, everything kept and chosen anew for each image."""
    supports = list(made.classes)
    labels = list(range(CLASSES))
    sure = list(entropies(made.scale * made.classes @ made.classes.T))
    answers = np.empty_like(made.logits)
    for row in made.order:
        supports.append(made.features[row])
        labels.append(int(made.logits[row].argmax()))
        sure.append(float(entropies(made.logits[row : row + 1])[0]))
        for k in range(CLASSES):
            own = [place for place, label in enumerate(labels) if label == k]
            kept = sorted(own, key=lambda place: sure[place])[:entries]
            center = np.sum([supports[place] for place in kept], axis=0)
            answers[row, k] = made.scale * made.features[row] @ center / np.linalg.norm(center)
    return answers


@pytest.mark.parametrize("entries", [1, 5, None])
def test_t3a_is_the_published_rule(entries: int | None) -> None:
    made = given()
    np.testing.assert_allclose(
        T3A(entries=entries).logits(made), t3a_in_full(made, entries), atol=1e-9
    )


def test_t3a_answers_with_the_models_own_logit_where_a_class_has_only_its_text() -> None:
    made = given()
    first = made.order[0]
    adapted = T3A(entries=None).logits(made)[first]
    other = np.arange(CLASSES) != made.logits[first].argmax()
    assert np.array_equal(adapted[other], made.logits[first][other])


def tda_in_full(made: Given, settings: TDA) -> Any:
    """The public code's dictionaries, one image after the other."""
    sure: dict[int, list[Any]] = {}
    unsure: dict[int, list[Any]] = {}

    def update(cache: dict[int, list[Any]], label: int, item: Any, capacity: int) -> None:
        if label not in cache:
            cache[label] = [item]
            return
        if len(cache[label]) < capacity:
            cache[label].append(item)
        elif item[1] < cache[label][-1][1]:
            cache[label][-1] = item
        cache[label] = sorted(cache[label], key=lambda one: one[1])

    def fill(row: int) -> None:
        chances = probabilities(made.logits[row : row + 1])[0]
        entropy = float(-(chances * np.log(chances)).sum())
        label = int(chances.argmax())
        update(sure, label, (made.features[row], entropy), settings.capacity)
        base = np.log2(CLASSES) if settings.published else np.log(CLASSES)
        if 0.2 < entropy / base < 0.5:
            item = (made.features[row], entropy, chances)
            update(unsure, label, item, settings.negative_capacity)

    answers = made.logits.copy()
    for row in made.order:
        if settings.published:
            fill(row)
        for label, items in sure.items():
            for one in items:
                near = made.features[row] @ one[0]
                answers[row, label] += settings.alpha * np.exp(-settings.beta * (1 - near))
        for items in unsure.values():
            for one in items:
                weight = np.exp(-settings.negative_beta * (1 - made.features[row] @ one[0]))
                against = (one[2] > 0.03) & (one[2] < 1.0)
                answers[row] -= settings.negative_alpha * weight * against
        if not settings.published:
            fill(row)
    return answers


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tda_is_the_rule_of_the_public_code(published: bool, seed: int) -> None:
    made = given(seed)
    settings = TDA(published=published, capacity=2)
    adapted = settings.logits(made)
    np.testing.assert_allclose(adapted, tda_in_full(made, settings), atol=1e-9)
    plain = replace(settings, negative_alpha=0).logits(made)
    assert not np.allclose(plain, adapted), "some images are unsure, or the test tests nothing"


def test_an_image_has_no_vote_on_itself_but_in_the_published_form() -> None:
    made = given()
    first = made.order[0]
    assert np.array_equal(TDA().logits(made)[first], made.logits[first])
    voted = TDA(published=True, negative_alpha=0).logits(made)[first] - made.logits[first]
    expected = 2.0 * np.eye(CLASSES)[made.logits[first].argmax()]
    np.testing.assert_allclose(voted, expected, atol=1e-12)


def test_what_lies_along_a_nuisance_direction_moves_no_answer() -> None:
    made = given()
    method = Nuisance(directions=3)
    away = directions(made.sentences[:-1] - made.sentences[-1], 3)
    np.testing.assert_allclose(away @ away.T, np.eye(3), atol=1e-12)
    shifted = unit(made.features + 0.7 * away[0] - 0.4 * away[2])
    np.testing.assert_allclose(
        method.logits(replace(made, features=shifted)), method.logits(made), atol=1e-9
    )
    np.testing.assert_allclose(without(made.features, away) @ away.T, 0, atol=1e-12)


def test_the_first_nuisance_direction_is_that_of_the_largest_spread() -> None:
    axis = unit(np.random.default_rng(0).normal(size=(1, WIDTH)))
    differences = np.array([[3.0], [2.0], [-2.5]]) * axis
    found = directions(differences, 3)
    assert len(found) == 1, "they span one direction, and no other is made up"
    np.testing.assert_allclose(np.abs(found @ axis.T), 1, atol=1e-12)


def test_nothing_left_of_an_image_is_said() -> None:
    made = given()
    with pytest.raises(ConfigurationError, match="leave nothing of an image"):
        without(made.features[:1], made.features[:1])


def test_methods_are_built_once_however_many_cells_ask_for_them() -> None:
    adapter = NoAdapter(online=("tda", "t3a"), orders=(0, 1))
    built = adapter.methods
    assert len(built) == 4
    assert adapter.methods is built
    assert adapter.method({**built[3].description(), "source": "more"}) is built[3]
    assert adapter == replace(adapter)
    assert replace(adapter, orders=(2,)).methods != built


def test_methods_are_built_from_names_and_mappings_each_once() -> None:
    asked = ["lame", {"method": "tda", "published": True}, "lame", "t3a"]
    made = chosen(asked, [0, 3])
    assert [one.name for one in made] == [
        "lame",
        "tda published",
        "tda published order 3",
        "t3a",
        "t3a order 3",
    ]
    assert [one.label for one in made][-1] == "t3a"
    assert chosen([{"method": "t3a", "entries": None}])[0].label == "t3a entries=null"
    assert chosen([{"method": "tent", "protocol": None}])[0].label == "tent"


@pytest.mark.parametrize(
    ("asked", "orders", "error", "words"),
    [
        (["lane"], (0,), UnknownNameError, "Did you mean 'lame'"),
        ([{"published": True}], (0,), UnknownNameError, "no method 'None'"),
        ("lame", (0,), ConfigurationError, "must be a list"),
        (["t3a"], (-1,), ConfigurationError, "whole numbers from 0 on"),
        (["t3a"], (), ConfigurationError, "a list of whole numbers"),
        (["t3a"], 3, ConfigurationError, "a list of whole numbers"),
        (5, (0,), ConfigurationError, "must be a list"),
        ([{"method": "lame", "symmetric": "no"}], (0,), ConfigurationError, "true or false"),
        ([{"method": "lame", "batch": "x"}], (0,), ConfigurationError, "whole number or null"),
        ([{"method": "eta", "margin": "x"}], (0,), ConfigurationError, "margin=x of eta"),
        ([{"method": "eta", "margin": -1}], (0,), ConfigurationError, "margin=-1 of eta"),
        ([{"method": "eata", "images": 0}], (0,), ConfigurationError, "images=0 of eata"),
        ([{"method": "eata", "split": 3}], (0,), ConfigurationError, "split=3 of eata .* a text"),
        ([{"method": "sar", "floor": None}], (0,), ConfigurationError, "floor=None of sar"),
        ([{"method": "sar", "radius": -0.1}], (0,), ConfigurationError, "radius=-0.1 of sar"),
        ([{"method": "watt", "templates": [1]}], (0,), ConfigurationError, "a list of texts"),
        ([{"method": "zero", "flip": 1}], (0,), ConfigurationError, "flip=1 of zero"),
        ([{"method": "tda", "beta": "a"}], (0,), ConfigurationError, "beta=a of tda"),
        ([{"method": "tda", "gamma": 1}], (0,), ConfigurationError, "no parameter 'gamma'"),
        ([{"method": "t3a", "entries": 1.5}], (0,), ConfigurationError, "entries=1.5 of t3a"),
        ([{"method": "lame", "affinity": "x"}], (0,), ConfigurationError, "knn, rbf"),
        ([{"method": "lame", "neighbours": 0}], (0,), ConfigurationError, "from 1 on"),
        ([{"method": "transport", "marginal": "x"}], (0,), ConfigurationError, "uniform"),
        ([{"method": "transport", "epsilon": 0}], (0,), ConfigurationError, "epsilon=0"),
        ([{"method": "nuisance", "directions": 9}], (0,), ConfigurationError, "has 8 texts"),
    ],
)
def test_what_is_no_method_is_refused_in_a_sentence(
    asked: Any, orders: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        chosen(asked, orders)
