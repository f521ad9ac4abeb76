"""Batch normalisation by the images at hand: against numpy, train mode and the model itself."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grouped import changed
from torch import nn
from tuning import experiment

from medrobust.adapters import BatchStatistics, NoAdapter
from medrobust.corruptions import Corruption, Suite
from medrobust.evaluation.plan import plan
from medrobust.evaluation.resources import Resources
from medrobust.evaluation.run import CellRunner, read_cells
from medrobust.evaluation.store import Store
from medrobust.exceptions import ConfigurationError
from medrobust.models import PhantomClip
from medrobust.models.encoding import MicroBatcher

INFINITE = float("inf")
SOURCE = PhantomClip(name="phantomclip_small", variant="small", micro_batch=8)
IMAGES = torch.from_numpy(
    np.random.default_rng(0).integers(0, 256, (13, 3, 224, 224), dtype=np.uint8)
)


@pytest.fixture(scope="module")
def model() -> Any:
    return SOURCE.load()


def adapted(model: Any, **options: Any) -> Any:
    return BatchStatistics(**options).attach(copy.deepcopy(model)).eval()


def features(model: Any, images: torch.Tensor = IMAGES, size: int = 8) -> torch.Tensor:
    batcher = MicroBatcher(model, size)
    return torch.cat([*batcher.push(images), *batcher.flush()])


def test_an_infinite_prior_is_the_model_to_the_bit(model: Any) -> None:
    assert torch.equal(features(adapted(model, prior=INFINITE)), features(model))


def test_no_prior_is_train_mode(model: Any) -> None:
    training = copy.deepcopy(model)
    for module in training.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    full = IMAGES[:8]  # train mode would count what pads
    expected, own = features(training, full), features(model, full)
    assert torch.allclose(features(adapted(model, prior=0), full), expected, atol=1e-5)
    assert not torch.allclose(expected, own, atol=1e-2)


@pytest.mark.parametrize("between", [False, True])
def test_statistics_are_those_of_the_published_rule(between: bool) -> None:
    random = np.random.default_rng(1)
    source = random.normal(1.0, 2.0, (16, 4, 5, 5))
    batch = random.normal(-0.5, 0.7, (6, 4, 5, 5))
    (mean, spread), (own, own_spread) = (
        (one.mean(axis=(0, 2, 3)), one.var(axis=(0, 2, 3))) for one in (source, batch)
    )
    method = BatchStatistics(prior=16, between=between)
    found = method.mixed(*(torch.from_numpy(one).float() for one in (batch, mean, spread)))
    np.testing.assert_allclose(found[0], (16 * mean + 6 * own) / 22, rtol=1e-5)
    expected = (16 * spread + 6 * own_spread) / 22
    if between:  # 16 images of training and these, taken together
        expected = np.concatenate([source, batch]).var(axis=(0, 2, 3))
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)


def test_clean_images_are_encoded_after_others_as_before_and_statistics_stay(model: Any) -> None:
    changed_ = adapted(model)
    state = {name: value.clone() for name, value in changed_.state_dict().items()}
    before = features(changed_)
    features(changed_, 255 - IMAGES)
    assert torch.equal(features(changed_), before)
    after = changed_.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(after[name], value) for name, value in state.items())


def test_what_pads_the_last_micro_batch_does_not_count(model: Any) -> None:
    method = adapted(model, prior=2)
    alone = features(method, IMAGES[8:], size=5)
    assert torch.allclose(features(method)[8:], alone, atol=1e-5)
    assert not torch.allclose(features(method, IMAGES[8:], size=4)[:4], alone[:4], atol=1e-4)


def test_an_error_within_a_layer_leaves_its_statistics(model: Any) -> None:
    method = adapted(model, prior=0)
    before = features(method)
    with pytest.raises(RuntimeError):
        method.encode_image(torch.zeros(2, 5, 224, 224))
    layer = next(m for m in method.modules() if isinstance(m, nn.BatchNorm2d))
    with pytest.raises((RuntimeError, IndexError)):
        layer(torch.zeros(2, 3))
    assert torch.equal(features(method), before)


def test_a_model_without_such_layers_is_refused() -> None:
    tower = nn.Module()
    tower.visual_encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))
    with pytest.raises(ConfigurationError, match="needs layers of batch normalisation"):
        BatchStatistics().attach(tower)


@pytest.mark.parametrize("prior", [-1, "many", float("nan")])
def test_a_prior_that_is_no_number_of_images_is_refused(prior: Any) -> None:
    with pytest.raises(ConfigurationError, match="number of images from 0 on"):
        BatchStatistics(prior=prior)


def test_its_name_says_what_differs_from_the_defaults() -> None:
    named = [BatchStatistics(), BatchStatistics(prior=0), BatchStatistics(between=True)]
    assert [one.name for one in named] == ["bn_adapt", "bn_adapt prior=0", "bn_adapt between"]


@pytest.mark.slow
def test_a_cell_alone_equals_the_same_cell_as_the_last_of_a_job(tmp_path: Path) -> None:
    def cells(folder: str, **options: Any) -> list[Any]:
        given = experiment(tmp_path / folder, adapter=NoAdapter(), tuning=None)
        job = changed(given, adapter=BatchStatistics(), **options)
        resources, store = Resources(), Store(job.where.store)
        plans = plan(job, resources)
        runner = CellRunner(job, resources, store)
        runner.run(plans)
        runner.complain()
        return read_cells(store, plans)

    some = Suite("local_change")
    many = cells("many", corruption=some)
    name = many[-1].spec.corruption
    alone = cells("alone", corruption=Corruption(name, suite="local_change"), batch_size=7)
    for cell, twin in zip(alone, (many[0], many[-1]), strict=True):
        assert cell.fingerprint == twin.fingerprint
        assert np.array_equal(cell.arrays["logits"], twin.arrays["logits"])
        assert cell.record["adaptation"]["label"] == "bn_adapt"
