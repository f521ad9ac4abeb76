"""Occlusion: exact shares, nested masks, the same patches for every fill, size and route."""

import itertools

import numpy as np
import pytest
import torch

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.occlusion import occlusion
from medrobust.corruptions.suites import find_entry
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key

FILLS = suites("occlusion")
ROWS = torch.tensor([3, 2**40 + 7, 11])


def noisy(side=(224, 224), channels=3, count=3):
    """Images without black, so that what is covered by black can be seen."""
    seeded = torch.Generator().manual_seed(3)
    return torch.randint(1, 256, (count, channels, *side), dtype=torch.uint8, generator=seeded)


def covered(severity, side=(224, 224), images=None, **others):
    images = noisy(side) if images is None else images
    out = corrupt(images, "occlusion", severity=severity, suite="occlusion", **others)
    return (out == 0).all(dim=1).numpy()


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_exactly_the_rounded_share_of_patches_is_covered_and_whole_patches_only(severity):
    share = find_entry("occlusion", "occlusion").parameters(severity)["share"]
    masks = covered(severity, index=ROWS).reshape(3, 14, 16, 14, 16).transpose(0, 1, 3, 2, 4)
    patches = masks.reshape(3, 196, 256)
    assert (patches.all(2) == patches.any(2)).all()
    assert (
        patches.all(2).sum(1).tolist()
        == [round(share * 196)] * 3
        == [{1: 20, 2: 39, 3: 59, 4: 78, 5: 98}[severity]] * 3
    )


@pytest.mark.parametrize("side", [(224, 224), (61, 40), (28, 33)])
def test_each_severity_covers_what_the_one_before_covers(side):
    masks = [covered(severity, side, index=ROWS) for severity in (1, 2, 3, 4, 5)]
    for fewer, more in itertools.pairwise(masks):
        assert (more | ~fewer).all()
        assert (more.sum((1, 2)) > fewer.sum((1, 2))).all()


@pytest.mark.parametrize("name", FILLS)
def test_what_a_severity_shows_of_a_covered_patch_the_next_one_shows_too(name):
    images = noisy((56, 56))
    outs = [corrupt(images, name, severity=s, suite="occlusion", index=ROWS) for s in (2, 3)]
    mask = torch.from_numpy(covered(2, images=images, index=ROWS))[:, None]
    assert torch.equal(torch.where(mask, outs[0], 0), torch.where(mask, outs[1], 0))
    assert torch.equal(torch.where(mask, 0, outs[0]), torch.where(mask, 0, images))


def test_the_patches_are_those_of_the_sorted_words_of_the_written_derivation():
    key = derive_key(5, "set/test", "occlusion", 0)
    words = Draws(key, ROWS).words(196).numpy()
    first = np.argsort(words, axis=1, kind="stable")[:, :20]
    found = covered(1, index=ROWS, seed=5, stream="set/test")[:, ::16, ::16].reshape(3, 196)
    for row, chosen in zip(found, first, strict=True):
        assert set(np.flatnonzero(row)) == set(chosen)


def test_every_size_of_an_image_has_the_same_patches():
    large, small = (covered(3, (side, side), index=ROWS) for side in (224, 56))
    assert np.array_equal(large[:, ::4, ::4], small)


def test_other_images_seeds_and_streams_have_other_patches():
    masks = covered(2, index=ROWS)
    assert not np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks, covered(2, index=ROWS, seed=1))
    assert not np.array_equal(masks, covered(2, index=ROWS, stream="other"))


@pytest.mark.parametrize("name", FILLS)
def test_a_picture_does_not_depend_on_its_batch(name):
    images = noisy((60, 72))
    whole = corrupt(images, name, severity=4, suite="occlusion", index=ROWS)
    for row in range(3):
        alone = corrupt(
            images[row : row + 1], name, severity=4, suite="occlusion", index=ROWS[row : row + 1]
        )
        assert torch.equal(alone[0], whole[row])
    turned = corrupt(images.flip(0), name, severity=4, suite="occlusion", index=ROWS.flip(0))
    assert torch.equal(turned.flip(0), whole)


def test_the_mean_is_that_of_image_and_channel_rounded():
    images = noisy((56, 70))
    out = corrupt(images, "occlusion_mean", severity=5, suite="occlusion", index=ROWS)
    mask = covered(5, images=images, index=ROWS)
    for image, plane, under in zip(images, out, mask, strict=True):
        for channel, values in zip(image, plane, strict=True):
            mean = int(np.floor(channel.numpy().astype(float).mean() + 0.5))
            assert set(values.numpy()[under]) == {mean}


def test_noise_is_grey_even_and_of_every_level():
    images = noisy()
    out = corrupt(images, "occlusion_noise", severity=5, suite="occlusion", index=ROWS)
    under = torch.from_numpy(covered(5, images=images, index=ROWS))
    values = out.movedim(1, 3)[under]
    assert torch.equal(values[:, 0], values[:, 2])
    counts = np.bincount(values[:, 0].numpy(), minlength=256)
    expected = len(values) / 256
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 160 < chi_square < 370  # 255 degrees of freedom: mean 255, sd 22.6


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("side", [(28, 30), (61, 40)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_reference_form_gives_the_bits_of_the_compiled_one(name, side, channels):
    images = noisy(side, channels)
    fast = corrupt(images, name, severity=3, suite="occlusion", index=ROWS)
    with kernels_of("torch"):
        assert torch.equal(corrupt(images, name, severity=3, suite="occlusion", index=ROWS), fast)


def test_draws_can_be_given():
    images = torch.full((1, 3, 28, 28), 9, dtype=torch.uint8)
    order = torch.tensor([[2, 0, 1, 3]])
    noise = torch.arange(28 * 28).reshape(1, 28, 28) % 251
    out = occlusion(images, 0.5, 2, "noise", order=order, noise=noise)
    assert torch.equal(out[0, 1, :, :14], noise[0, :, :14].to(torch.uint8))
    assert bool((out[0, :, :, 14:] == 9).all())


def test_nothing_or_everything_can_be_covered():
    images, order = noisy((28, 28), 1, 1), torch.arange(4)[None]
    for share, kept in ((0, True), (1, False)):
        out = occlusion(images, share, 2, order=order, noise=order)
        assert torch.equal(out, images) is kept
        assert bool((out == 0).all()) is not kept


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"share": 1.5}, "no share of patches"),
        ({"share": 0.1, "grid": 29}, "does not fit images of 28 pixels"),
        ({"share": 0.1, "fill": "white"}, "Choose black, mean, noise"),
    ],
)
def test_what_cannot_be_covered_is_refused(given, message):
    images, order = noisy((28, 28), 1, 1), torch.arange(196)[None]
    with pytest.raises(ConfigurationError, match=message):
        occlusion(images, **given, order=order, noise=order)
