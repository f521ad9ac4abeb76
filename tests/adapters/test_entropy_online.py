"""Tent, ETA, EATA and SAR: steps against the published rule, written out by hand."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scenes import CLASSES, Given, answers, entropy, head, images, keys, same, train_mode, tuned
from torch.nn import functional

from medrobust.adapters.online import Eata, Eta, Sar, Tent
from medrobust.adapters.online.entropy import early_norm_weights
from medrobust.exceptions import ConfigurationError
from medrobust.models import PhantomClip

METHODS = (Tent, Eta, Eata, Sar)
LATE = ("visual_encoder.3.2", "visual_encoder.4")
"""Normalisation of the last quarter of the blocks of the small model, and behind it."""


def source(split: str, count: int) -> Iterator[torch.Tensor]:
    assert (split, count) == ("train", 2000)
    yield from (images(7), images(8), images(9, count=3))


def sgd(weights: dict[str, Any], momenta: dict[str, Any], rate: float) -> None:
    """One step with momentum .9, from the gradients at hand."""
    with torch.no_grad():
        for name, weight in weights.items():
            if weight.grad is not None:
                momenta[name] = 0.9 * momenta.get(name, 0.0) + weight.grad
                weight -= rate * momenta[name]
                weight.grad = None


def check_weights(session: Any, expected: dict[str, Any]) -> None:
    assert session.weights.keys() == expected.keys()
    for name, weight in expected.items():
        same(session.weights[name], weight)


def test_tent_goes_down_the_mean_entropy_and_answers_before_it_steps() -> None:
    scene = Given()
    session = Tent(rate=0.05).begin(scene)
    model, momenta = train_mode(scene.model), {}
    weights = tuned(model)
    for seed in (0, 1):
        found, logits = session.observe(images(seed), keys()), answers(model, images(seed))
        same(found, logits, 1e-4)
        entropy(logits).mean().backward()
        sgd(weights, momenta, 0.05)
    check_weights(session, weights)


def test_tent_with_adam_moves_every_weight_by_the_rate_at_first() -> None:
    scene = Given()
    session = Tent(rate=1e-3, optimizer="adam", statistics="training").begin(scene)
    session.observe(images(), keys())
    moved = [
        (weight - scene.model.get_parameter(name)).abs() for name, weight in session.weights.items()
    ]
    rest = torch.cat([one.flatten() for one in moved])
    assert torch.allclose(rest[rest > 0], torch.tensor(1e-3), rtol=1e-2)


def limit(margin: float) -> float:
    return margin * math.log(CLASSES)


def by_eta(
    weights: Any, model: Any, batches: Any, margin: float, similar: float, held: Any = None
) -> int:
    """The rule of the public code, image by image; returns how many were used."""
    momenta: dict[str, Any] = {}
    running, used = None, 0
    for batch in batches:
        logits = answers(model, batch)
        unsure, chances = entropy(logits), logits.detach().softmax(dim=1)
        taken = [
            row
            for row in range(len(batch))
            if unsure[row] < limit(margin)
            and (
                running is None
                or abs(functional.cosine_similarity(running, chances[row], dim=0)) < similar
            )
        ]
        if not taken:
            continue
        used += len(taken)
        mean = chances[taken].mean(dim=0)
        running = mean if running is None else 0.9 * running + 0.1 * mean
        parts = [unsure[row] / math.exp(unsure[row].item() - limit(margin)) for row in taken]
        loss = sum(parts) / len(parts)
        for name, (spread, own) in (held or {}).items():
            loss = loss + 2000 * (spread * (weights[name] - own) ** 2).sum()
        loss.backward()
        sgd(weights, momenta, 0.05)
    return used


BATCHES = tuple(images(seed) for seed in range(4))


@pytest.mark.parametrize(("margin", "similar"), [(0.9, 0.9), (0.9, 0.99), (2.0, 2.0)])
def test_eta_weighs_sure_images_that_are_new(margin: float, similar: float) -> None:
    scene = Given()
    session = Eta(rate=0.05, margin=margin, similar=similar).begin(scene)
    for batch in BATCHES:
        session.observe(batch, keys())
    model = train_mode(scene.model)
    weights = tuned(model)
    used = by_eta(weights, model, BATCHES, margin, similar)
    assert session.used == used > 0
    check_weights(session, weights)


def test_eata_is_held_by_clean_images_of_another_split() -> None:
    scene = Given(source=source)
    session = Eata(rate=0.05, margin=2.0, similar=2.0).begin(scene)
    for batch in BATCHES[:2]:
        session.observe(batch, keys())
    model = train_mode(scene.model)
    weights = tuned(model)
    spread = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for batch in source("train", 2000):
        logits = answers(model, batch)
        functional.cross_entropy(logits, logits.argmax(dim=1)).backward()
        for name, weight in weights.items():
            assert weight.grad is not None
            spread[name] += weight.grad**2 / 3
            weight.grad = None
    held = {name: (spread[name], weights[name].detach().clone()) for name in weights}
    assert by_eta(weights, model, BATCHES[:2], 2.0, 2.0, held) == 16
    check_weights(session, weights)
    once = scene.kept["eata"]
    Eata(margin=2.0).begin(scene)
    assert scene.kept["eata"] is once


def test_sar_takes_the_slope_uphill_and_leaves_late_layers() -> None:
    scene, margin, rate = Given(), 0.95, 0.05
    session = Sar(rate=rate, margin=margin, floor=0).begin(scene)
    model, momenta = train_mode(scene.model), {}
    weights = tuned(model, without=LATE)
    for batch in BATCHES[:2]:
        found, logits = session.observe(batch, keys()), answers(model, batch)
        same(found, logits, 1e-4)
        sure = entropy(logits) < limit(margin)
        entropy(logits)[sure].mean().backward()
        length = math.sqrt(sum(float((w.grad**2).sum()) for w in weights.values()))
        own = {name: weight.detach().clone() for name, weight in weights.items()}
        with torch.no_grad():
            for weight in weights.values():
                weight += 0.05 * weight.grad / length
                weight.grad = None
        there = entropy(answers(model, batch))[sure]
        there[there < limit(margin)].mean().backward()
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(own[name])
        sgd(weights, momenta, rate)
    assert 0 < session.used <= 16
    check_weights(session, weights)


def test_sar_begins_anew_when_the_loss_collapses() -> None:
    scene = Given(head=head(scale=200.0))
    session = Sar(rate=0.05, margin=1.0, floor=10.0).begin(scene)
    session.observe(images(), keys())
    assert session.mean is None
    for name, weight in session.weights.items():
        assert torch.equal(weight, scene.model.get_parameter(name))


def test_published_sar_keeps_its_momentum_and_its_mean_as_the_public_code_does() -> None:
    scene, rate = Given(), 0.05
    session = Sar(rate=rate, margin=0.95, floor=0, published=True).begin(scene)
    session.observe(images(), keys())
    before = {name: weight.detach().clone() for name, weight in session.weights.items()}
    first = {name: own - before[name] for name, own in session._own.items()}  # rate * slope
    session._sar = Sar(rate=rate, margin=1e-9, floor=0, published=True)
    session.observe(images(), keys())  # no image passes: the step is .9 of the one before
    for name, weight in session.weights.items():
        same(weight, before[name] - 0.9 * first[name])
    mean = session.mean
    session._sar = Sar(rate=rate, margin=1e-9, floor=1e9, published=True)
    session.observe(images(), keys())
    assert session.mean == mean is not None
    for name, weight in session.weights.items():
        assert torch.equal(weight, session._own[name])
    session._sar = Sar(rate=rate, margin=1e-9, floor=0, published=True)
    session.observe(images(), keys())
    moved = any(not torch.equal(weight, session._own[n]) for n, weight in session.weights.items())
    assert moved  # by the momentum of before


def test_later_parameters_are_in_descriptions_where_they_are_set() -> None:
    assert "published" not in Sar().description()
    assert Sar(published=True).description()["published"] is True
    assert (Sar().label, Sar(published=True).label) == ("sar", "sar published")


def test_late_layers_are_those_of_the_last_quarter_of_the_blocks() -> None:
    model = PhantomClip().load()
    names = early_norm_weights(model)
    assert "visual_encoder.stem.1.weight" in names
    assert "visual_encoder.blocks.1.norm_mlp.bias" in names
    assert not [name for name in names if ".blocks.2." in name or "encoder.norm." in name]


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("options", [{"steps": 0}, {"rate": 0.0}])
def test_without_a_step_it_is_the_model_to_the_bit(kind: Any, options: Any) -> None:
    scene = Given(source=source)
    session = kind(**options, statistics="training").begin(scene)
    for seed in (0, 1):
        found = session.observe(images(seed), keys())
        assert torch.equal(found, answers(scene.model, images(seed)))


@pytest.mark.parametrize("kind", METHODS)
def test_the_model_is_to_the_bit_what_it_was(kind: Any) -> None:
    scene = Given(source=source)
    before = {name: value.clone() for name, value in scene.model.state_dict().items()}
    clean = answers(scene.model, images())
    session = kind(rate=0.5).begin(scene)
    session.observe(images(3), keys())
    assert torch.equal(answers(scene.model, images()), clean)
    assert all(torch.equal(scene.model.state_dict()[n], value) for n, value in before.items())
    assert all(p.grad is None for p in scene.model.parameters())
    scene.head = None  # an error, while the model has weights of the session
    with pytest.raises(AttributeError):
        session.observe(images(3), keys())
    assert torch.equal(answers(scene.model, images()), clean)


@pytest.mark.parametrize("kind", [Eta, Eata, Sar])
def test_two_classes_hardly_ever_pass_the_margin(kind: Any) -> None:
    two = head(scale=1.0)
    two.present = two.present[:2]
    scene = Given(head=two, source=source)
    session = kind().begin(scene)
    found = session.observe(images(), keys())
    assert (found.softmax(dim=1).max(dim=1).values < 0.92).all()
    assert session.used == 0
    for name, weight in session.weights.items():
        assert torch.equal(weight, scene.model.get_parameter(name))


def test_wrong_parameters_are_refused_by_name() -> None:
    for options in ({"rate": -1}, {"steps": 1.5}, {"optimizer": "lion"}, {"statistics": "own"}):
        with pytest.raises(ConfigurationError, match=str(*options)):
            Tent(**options)
    assert np.isclose(0.4 * math.log(2), 0.277, atol=1e-3)
