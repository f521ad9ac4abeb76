"""Batches of shots depend on seed, epoch and sample, and on nothing else."""

import numpy as np
import pytest
import torch
from tuning import tuning

from medrobust.corruptions import Corruption, Suite
from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError
from medrobust.tuning import CorruptedShots
from medrobust.tuning.shots import Place, SelectionOrder, ShotOrder, Shots


def image_set(count: int = 6, *, grey: bool = False, name: str = "x") -> ImageSet:
    rng = np.random.default_rng(len(name))
    shape = (count, 32, 32) if grey else (count, 32, 32, 3)
    return ImageSet(
        name=name,
        split="train",
        images=rng.integers(0, 256, shape, dtype=np.uint8),
        labels=np.arange(count) % 2,
        label_kind="multi-class",
        class_names=("a", "b"),
        ids=np.array([f"{name}{row}" for row in range(count)]),
        index=np.arange(count) + 100,
        fingerprint="0" * 64,
    )


@pytest.mark.parametrize("world", [2, 3, 7])
def test_processes_share_the_batches_of_one(world: int) -> None:
    settings = {"batch_size": 4, "epochs": 2, "seed": 1}
    alone = list(ShotOrder(10, **settings))
    parts = [list(ShotOrder(10, **settings, rank=r, world=world)) for r in range(world)]
    assert len(alone) == 6
    for number, whole in enumerate(alone):
        shared = [place for part in parts for place in part[number] if place.weight]
        assert sorted(p.row for p in shared) == sorted(p.row for p in whole)
        assert sum(p.weight for p in shared) == pytest.approx(1.0)
    rows = [place.row for batch in alone[:3] for place in batch]
    assert sorted(rows) == list(range(10))
    assert rows != [place.row for batch in alone[3:] for place in batch]


def test_an_order_goes_on_where_it_was_left() -> None:
    settings = {"batch_size": 4, "epochs": 3, "seed": 0}
    whole = list(ShotOrder(10, **settings))
    for start in range(9):
        assert list(ShotOrder(10, **settings, start=start)) == whole[start:]


def test_selection_is_read_once_by_all_processes_together() -> None:
    parts = [SelectionOrder(7, batch_size=4, rank=r, world=3) for r in range(3)]
    read = [p.row for part in parts for batch in part for p in batch if p.weight]
    assert sorted(read) == list(range(7))
    assert {len(list(part)) for part in parts} == {2}


def test_augmentation_depends_on_the_sample_and_the_epoch_alone() -> None:
    import albumentations

    transforms = [
        albumentations.RandomResizedCrop(size=[32, 32], scale=[0.5, 1.0]),
        albumentations.HorizontalFlip(p=0.5),
    ]
    sets = [image_set(), image_set(4, grey=True, name="grey")]
    shots = Shots(sets, augment=transforms, seed=3)
    both = shots.__getitems__([Place(1, 0, 0.5), Place(8, 0, 0.5)])
    assert [part.dataset for part in both.parts] == [0, 1]
    assert [tuple(part.images.shape) for part in both.parts] == [(1, 3, 32, 32), (1, 1, 32, 32)]
    assert both.parts[1].ids == ("grey2",)
    again = Shots(sets, augment=transforms, seed=3).__getitems__(
        [Place(2, 0, 0.3), Place(8, 0, 0.3), Place(1, 0, 0.3)]
    )
    assert torch.equal(again.parts[0].images[1], both.parts[0].images[0])
    assert torch.equal(again.parts[1].images, both.parts[1].images)
    later = shots.__getitems__([Place(1, 1, 1.0)])
    assert not torch.equal(later.parts[0].images, both.parts[0].images)


def test_corrupted_shots_are_keyed_and_as_many_as_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (100, 1, 28, 28), dtype=torch.uint8, generator=generator)
    index = torch.arange(100)
    corrupt = CorruptedShots([Corruption("brightness"), Corruption("contrast")], probability=0.6)
    out = corrupt(images, index, stream="x/train/0", seed=0)
    changed = (out != images).flatten(1).any(dim=1)
    assert 0.45 < changed.double().mean() < 0.75
    few = torch.tensor([7, 50, 3])
    assert torch.equal(corrupt(images[few], few, stream="x/train/0", seed=0), out[few])
    assert not torch.equal(corrupt(images, index, stream="x/train/1", seed=0), out)
    assert torch.equal(
        CorruptedShots([Suite("medimeta_c")], probability=0.0)(images, index, stream="", seed=0),
        images,
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"pool": "test"}, "only ever evaluated"),
        ({"select_from": "test"}, "only ever evaluated"),
        ({"epochs": 0}, "epochs=0"),
        ({"label_space": "all"}, "per_dataset, joint"),
        ({"warmup": 1.0}, "below 1"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(options: dict, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        tuning(**options)


def test_the_rate_rises_and_falls_and_is_never_zero_at_first() -> None:
    recipe = tuning(warmup=0.2)
    rates = [recipe.rate(step, 10) for step in range(10)]
    assert 0 < rates[0] < rates[1] < rates[2] == 1.0
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert tuning(schedule="constant").rate(9, 10) == 1.0


def test_a_recipe_says_what_decides_the_weights() -> None:
    import albumentations

    flips = [albumentations.HorizontalFlip(p=0.5)]
    plain, flipped = tuning().description(), tuning(augment=flips).description()
    assert plain["optimizer"] == {"name": "AdamW", "lr": 1e-3}
    assert flipped["augment"][0]["p"] == 0.5
    assert tuning(save_every=3).description() == plain
    assert tuning(fraction=None, shots=None).description()["fraction"] == 0.1
