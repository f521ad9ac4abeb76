"""AdaBN, alpha-BN and EMA-BN against rules computed by hand."""

from typing import Any

import pytest
import torch
from scenes import Given, answers, images, keys, same, train_mode
from torch import nn

from medrobust.adapters.online import AdaBN, AlphaBN, EmaBN
from medrobust.exceptions import ConfigurationError
from medrobust.models.encoding import MicroBatcher


def first_layer(model: Any) -> tuple[Any, nn.BatchNorm2d]:
    return model.visual_encoder[0], model.visual_encoder[1]


def moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flat = values.transpose(0, 1).flatten(1)
    return flat.mean(dim=1), flat.var(dim=1, correction=0)


def test_alpha_bn_mixes_the_statistics_of_training_and_of_the_micro_batch() -> None:
    scene = Given()
    session = AlphaBN(alpha=0.3).begin(scene)
    session.observe(images(5), keys())
    convolution, layer = first_layer(scene.model)
    found = session._mixed("visual_encoder.1", convolution(scene.model.preprocess(images())))
    mean, variance = moments(convolution(scene.model.preprocess(images())))
    same(found[0], 0.7 * layer.running_mean + 0.3 * mean)
    same(found[1], 0.7 * layer.running_var + 0.3 * variance)
    again = AlphaBN(alpha=0.3).begin(scene).observe(images(), keys())
    assert torch.equal(session.observe(images(), keys()), again)


def test_alpha_one_is_train_mode() -> None:
    scene = Given()
    expected = answers(train_mode(scene.model), images())
    same(AlphaBN(alpha=1).begin(scene).observe(images(), keys()), expected, 1e-4)


@pytest.mark.parametrize("method", [AlphaBN(alpha=0), EmaBN(momentum=0)])
def test_a_share_of_nothing_is_the_model_to_the_bit(method: Any) -> None:
    scene = Given()
    found = method.begin(scene).observe(images(), keys())
    assert torch.equal(found, answers(scene.model, images()))


def test_ema_bn_follows_the_micro_batches_from_training_on() -> None:
    scene, momentum = Given(), 0.2
    session = EmaBN(momentum=momentum).begin(scene)
    convolution, layer = first_layer(scene.model)
    expected = [layer.running_mean, layer.running_var]
    for seed in (0, 1, 2):
        session.observe(images(seed), keys())
        new = moments(convolution(scene.model.preprocess(images(seed))))
        expected = [(1 - momentum) * a + momentum * b for a, b in zip(expected, new, strict=True)]
    for found, wanted in zip(session.statistics["visual_encoder.1"], expected, strict=True):
        same(found, wanted)


def test_adabn_takes_mean_and_variance_of_all_images_of_the_cell() -> None:
    scene = Given()
    session = AdaBN().begin(scene)
    parts = [(images(0), 8), (images(1), 8), (images(2, count=3), 3)]
    for part, count in parts:
        session.look(part, keys(count))
    convolution, _ = first_layer(scene.model)
    every = convolution(scene.model.preprocess(torch.cat([part for part, _ in parts])))
    found = session.statistics("visual_encoder.1", every)
    for one, wanted in zip(found, moments(every), strict=True):
        same(one, wanted)
    alone = session.observe(images(0), keys())
    assert torch.equal(alone, session.observe(images(0), keys()))
    assert not torch.allclose(alone, answers(scene.model, images(0)), atol=1e-3)


def test_adabn_of_one_micro_batch_is_train_mode() -> None:
    scene = Given()
    session = AdaBN().begin(scene)
    session.look(images(), keys())
    same(session.observe(images(), keys()), answers(train_mode(scene.model), images()), 1e-4)


@pytest.mark.parametrize("method", [AlphaBN(alpha=0.5), EmaBN(momentum=0.5)])
def test_what_pads_a_micro_batch_does_not_count(method: Any) -> None:
    scene = Given()

    class Through:
        """Encodes by the session, as a pass does."""

        preprocess = staticmethod(lambda pictures: pictures)
        device = torch.device("cpu")

        def __init__(self) -> None:
            self.session = method.begin(scene)

        def encode_image(self, pictures: torch.Tensor) -> torch.Tensor:
            return self.session.observe(pictures, keys(5))

    padded, whole = MicroBatcher(Through(), 8), MicroBatcher(Through(), 5)
    found = [*padded.push(images(count=5)), *padded.flush()]
    expected = [*whole.push(images(count=5)), *whole.flush()]
    same(torch.cat(found), torch.cat(expected))


@pytest.mark.parametrize("method", [AlphaBN, EmaBN, AdaBN])
def test_a_tower_without_batch_normalisation_is_refused(method: Any) -> None:
    tower = nn.Module()
    tower.visual_encoder = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    with pytest.raises(ConfigurationError, match="needs layers of batch normalisation"):
        method().check(tower)


def test_a_share_beyond_one_is_refused() -> None:
    for make in (lambda: AlphaBN(alpha=1.5), lambda: EmaBN(momentum=-0.1)):
        with pytest.raises(ConfigurationError, match="must be"):
            make()


def test_the_model_keeps_its_statistics() -> None:
    scene = Given()
    before = {name: value.clone() for name, value in scene.model.state_dict().items()}
    for method in (AlphaBN(), EmaBN(), AdaBN()):
        session = method.begin(scene)
        if method.looks:
            session.look(images(), keys())
        session.observe(images(3), keys())
    after = scene.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
