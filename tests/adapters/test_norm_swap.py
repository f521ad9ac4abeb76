"""Group, layer and instance normalisation in the place of batch normalisation, on clean images."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from scenes import Given, answers, images, keys, same
from torch import nn

from medrobust.adapters.online import NormSwap
from medrobust.exceptions import ConfigurationError


def source(split: str, count: int) -> Iterator[torch.Tensor]:
    assert (split, count) == ("train", 256)
    yield from (images(5), images(6))


def group_norm(layer: nn.BatchNorm2d, groups: int) -> nn.GroupNorm:
    made = nn.GroupNorm(groups, layer.num_features)
    made.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    return made


@pytest.mark.parametrize(("to", "groups"), [("group", 3), ("layer", 1), ("instance", 6)])
def test_the_plain_swap_keeps_scale_and_shift(to: Any, groups: int) -> None:
    scene = Given()
    found = NormSwap(to=to, images=0).begin(scene).observe(images(), keys())
    model = copy.deepcopy(scene.model)
    model.visual_encoder[1] = group_norm(model.visual_encoder[1], groups)
    model.visual_encoder[2][1] = group_norm(model.visual_encoder[2][1], groups)
    same(found, answers(model, images()))


def test_scale_and_shift_give_clean_images_the_spread_that_they_had() -> None:
    scene = Given(source=source)
    layer = scene.model.visual_encoder[1]
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2.0)
        layer.bias.normal_()
    session = NormSwap(to="group").begin(scene)
    pixels = scene.model.preprocess(torch.cat([*source("train", 256)]))
    normal = nn.functional.group_norm(scene.model.visual_encoder[0](pixels), 3)
    name = "visual_encoder.1"
    scale, shift = session.affine[f"{name}.weight"], session.affine[f"{name}.bias"]
    made = normal * scale[:, None, None] + shift[:, None, None]
    same(made.mean(dim=(0, 2, 3)), layer.bias, 1e-4)
    same(made.std(dim=(0, 2, 3), correction=0), layer.weight.abs(), 1e-3)


def test_steps_bring_features_nearer_to_those_of_the_model() -> None:
    scene = Given(source=source)
    batch = images(5)
    own = scene.model.encode_image(scene.model.preprocess(batch))

    def away(**options: Any) -> float:
        session = NormSwap(to="layer", **options).begin(scene)
        logits = session.observe(batch, keys()).detach()
        return float((logits - scene.head.logits(own).detach()).abs().mean())

    assert away(steps=30, rate=0.02) < away()


def test_batch_stays_the_model_to_the_bit_and_nothing_of_it_changes() -> None:
    scene = Given(source=source)
    before = copy.deepcopy(scene.model.state_dict())
    found = NormSwap(to="batch").begin(scene).observe(images(), keys())
    assert torch.equal(found, answers(scene.model, images()))
    NormSwap(to="instance", steps=2).begin(scene).observe(images(), keys())
    after = scene.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(answers(scene.model, images()), found)


def test_an_image_stands_alone_and_scale_and_shift_are_found_once() -> None:
    scene = Given(source=source)
    whole = NormSwap().begin(scene).observe(images(), keys())
    (kept,) = scene.kept.values()
    scene.source = lambda split, count: pytest.fail("it reads again")
    session = NormSwap().begin(scene)
    assert session.affine is kept
    same(session.observe(images()[3:5], keys(2)), whole[3:5])


def test_wrong_parameters_and_other_towers_are_refused() -> None:
    for options in ({"to": "weight"}, {"groups": 0}, {"images": 0, "steps": 3}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            NormSwap(**options)
    tower = nn.Module()
    tower.visual_encoder = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    with pytest.raises(ConfigurationError, match="needs layers of batch normalisation"):
        NormSwap().check(tower)
