"""Corruptions as augmentation: what is drawn, from which key, and inside albumentations."""

import albumentations
import numpy as np
import pytest
import torch

from medrobust.corruptions import CorruptionTransform, RandomCorruption, corrupt, suites
from medrobust.corruptions.suites import REGISTRIES, find_entry
from medrobust.corruptions.training import parameters_between
from medrobust.exceptions import ConfigurationError, InvalidImageError, UnknownNameError

IMAGES = torch.randint(
    0, 256, (12, 3, 48, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)
ROWS = torch.arange(12) * 31 + 2


def test_an_image_is_the_same_in_any_batch_and_another_in_another_epoch():
    augment = RandomCorruption("dermamnist", seed=3, stream="dermamnist/train")
    whole = augment(IMAGES, index=ROWS, epoch=2)
    order = torch.tensor([7, 0, 11, 3])
    assert torch.equal(augment(IMAGES[order], index=ROWS[order], epoch=2), whole[order])
    one = [augment(IMAGES[i : i + 1], index=ROWS[i : i + 1], epoch=2) for i in range(12)]
    assert torch.equal(torch.cat(one), whole)
    assert not torch.equal(augment(IMAGES, index=ROWS, epoch=3), whole)
    other = RandomCorruption("dermamnist", seed=4, stream="dermamnist/train")
    assert not torch.equal(other(IMAGES, index=ROWS, epoch=2), whole)


@pytest.mark.parametrize("strength", ["range", "levels"])
def test_every_corruption_and_clean_are_drawn_equally_often(strength):
    augment = RandomCorruption("bloodmnist", strength=strength)
    choices = augment.choose(torch.arange(12_000))
    names, counts = np.unique([choice.name for choice in choices], return_counts=True)
    assert set(names) == {*suites("bloodmnist"), "clean"}
    assert abs(counts - 1000).max() < 4.5 * np.sqrt(1000)


def test_strengths_fill_the_range_between_the_first_and_the_last_published_value():
    choices = RandomCorruption("chestmnist", clean=False).choose(torch.arange(20_000))
    values = {}
    for choice in choices:
        for parameter, value in choice.parameters.items():
            values.setdefault((choice.name, parameter), []).append(value)
    assert set(values["gaussian_blur", "taps"]) == {3, 5, 7, 9, 11}
    quality = np.array(values["jpeg_compression", "quality"])
    assert set(range(8, 50)) <= set(quality) <= set(range(7, 51))
    factor = np.array(values["brightness_up", "factor"])
    assert 1.1 <= factor.min() < 1.11
    assert 1.49 < factor.max() < 1.5
    assert abs(factor.mean() - 1.3) < 0.02


def test_the_sixth_published_value_is_the_far_end():
    entry = find_entry("retinamnist", "defocus_blur")
    far = parameters_between(entry, 1 - 2**-32)
    assert far["alias"] == pytest.approx(0.6)
    assert far["radius"] == 8  # a whole number, truncated: 9 itself has no chance
    assert parameters_between(entry, 0.0) == {"radius": 4, "alias": 0.1}


def test_values_that_are_no_numbers_are_taken_as_published():
    entry = find_entry("imagenet_c", "spatter")
    assert [parameters_between(entry, p)["liquid"] for p in (0, 0.59, 0.61, 1)] == [
        "water", "water", "mud", "mud",
    ]  # fmt: skip
    assert parameters_between(find_entry("imagenet_c", "pixelate"), 0.5)["upsample"] == "nearest"


def test_levels_are_the_published_severities():
    augment = RandomCorruption(
        "octmnist", names=["speckle_noise"], strength="levels", levels=(2, 5), clean=False, seed=1,
        stream="octmnist/train",
    )  # fmt: skip
    out = augment(IMAGES, index=ROWS, epoch=4)
    levels = [choice.severity for choice in augment.choose(ROWS, 4)]
    assert set(levels) == {2, 5}
    for level in (2, 5):
        same = torch.tensor([x == level for x in levels])
        expected = corrupt(
            IMAGES[same], "speckle_noise", severity=level, suite="octmnist", seed=1,
            stream="octmnist/train/4", index=ROWS[same],
        )  # fmt: skip
        assert torch.equal(out[same], expected)


@pytest.mark.parametrize("suite", [*REGISTRIES[:9], "imagenet_c"])
def test_every_corruption_runs_at_strengths_between_the_published_ones(suite):
    for name in suites(suite):
        augment = RandomCorruption(suite, names=[name], clean=False)
        out = augment(IMAGES[:2], index=torch.tensor([4, 5]))
        assert out.shape == IMAGES[:2].shape
        assert not torch.equal(out, IMAGES[:2])


def test_grey_images_stay_grey_or_become_rgb():
    grey = IMAGES[:, :1].contiguous()
    assert RandomCorruption("octmnist")(grey).shape == grey.shape
    assert RandomCorruption("octmnist", grey="rgb")(grey).shape == IMAGES.shape


def test_inside_albumentations_the_key_alone_decides():
    augment = RandomCorruption("bloodmnist", seed=1, stream="bloodmnist/train")
    for seed in (1, 2):
        pipeline = albumentations.Compose([CorruptionTransform(augment)], seed=seed)
        for row in range(6):
            image = IMAGES[row].movedim(0, -1).contiguous().numpy()
            out = pipeline(image=image, index=row, epoch=2)["image"]
            expected = augment(IMAGES[row : row + 1], index=torch.tensor([row]), epoch=2)
            assert np.array_equal(out, expected[0].movedim(0, -1).numpy())


def test_without_an_index_the_seed_of_the_pipeline_decides():
    image = IMAGES[0].movedim(0, -1).contiguous().numpy()
    augment = RandomCorruption("imagenet_c", names=["gaussian_noise"], clean=False)

    def run(seed):
        pipeline = albumentations.Compose([CorruptionTransform(augment)], seed=seed)
        return [pipeline(image=image)["image"] for _ in range(3)]

    first, again, other = run(5), run(5), run(6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_grey_images_and_floats_inside_albumentations():
    pipeline = albumentations.Compose([CorruptionTransform(RandomCorruption("octmnist"))])
    grey = IMAGES[0, 0].numpy()
    assert pipeline(image=grey, index=1)["image"].shape == grey.shape
    with pytest.raises(InvalidImageError, match="before the transform that scales"):
        pipeline(image=grey.astype(np.float32), index=1)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'bubble'"):
        RandomCorruption("bloodmnist", names=["buble"])
    with pytest.raises(UnknownNameError, match="Did you mean 'bloodmnist'"):
        RandomCorruption("bloodmist")
    with pytest.raises(ConfigurationError, match="Choose 1 to 5"):
        RandomCorruption("bloodmnist", strength="levels", levels=(0,))
    with pytest.raises(ConfigurationError, match="range or levels"):
        RandomCorruption("bloodmnist", strength="strong")
    with pytest.raises(ConfigurationError, match="no corruption to draw"):
        RandomCorruption("bloodmnist", names=[])
