"""Noise kernels: given draws by hand, keyed draws by their statistics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from medrobust.corruptions import corrupt
from medrobust.corruptions.noise import (
    gaussian_noise,
    impulse_noise,
    poisson_table,
    shot_noise,
    speckle_noise,
)

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "imagenet_c_random_stats.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        yield file


def test_gaussian_noise_is_the_published_formula():
    values = np.random.default_rng(0)
    images = values.integers(0, 256, (2, 3, 40, 40), dtype=np.uint8)
    noise = values.normal(size=images.shape).astype(np.float32)
    expected = (np.clip(images / 255.0 + 0.18 * noise, 0, 1) * 255).astype(np.uint8)
    out = gaussian_noise(torch.from_numpy(images), 0.18, noise=torch.from_numpy(noise))
    assert np.array_equal(out.numpy(), expected)


def test_no_noise_changes_nothing():
    images = torch.arange(256).repeat(4).reshape(1, 1, 32, 32).to(torch.uint8)
    assert torch.equal(gaussian_noise(images, 0.0, noise=torch.randn(1, 1, 32, 32)), images)
    assert torch.equal(impulse_noise(images, 0.0, uniform=torch.rand(1, 1, 32, 32)), images)
    assert torch.equal(speckle_noise(images, 0.0, noise=torch.randn(1, 1, 32, 32)), images)


def test_impulse_noise_is_half_black_half_white():
    images = torch.full((1, 1, 30, 30), 99, dtype=torch.uint8)
    uniform = torch.linspace(0, 0.999, 900).reshape(images.shape)
    out = impulse_noise(images, 0.5, uniform=uniform)
    assert int((out == 0).sum()) == int((uniform < 0.25).sum())
    assert int((out == 255).sum()) == int(((uniform >= 0.25) & (uniform < 0.5)).sum())


def test_speckle_noise_is_the_published_formula():
    values = np.random.default_rng(0)
    images = values.integers(0, 256, (2, 3, 40, 40), dtype=np.uint8)
    noise = values.normal(size=images.shape).astype(np.float32)
    x = images / 255.0
    expected = (np.clip(x + x * (0.35 * noise), 0, 1) * 255).astype(np.uint8)
    out = speckle_noise(torch.from_numpy(images), 0.35, noise=torch.from_numpy(noise)).numpy()
    assert (out == expected).mean() > 0.999
    assert abs(out.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("rate", [3, 25, 500])
def test_shot_noise_is_a_poisson_count(rate):
    """The table's probabilities against those of scipy: 2^-24 a value, at every grey level."""
    table = poisson_table(rate).astype(np.int64)
    counts = np.minimum(np.arange(8 * rate + 200) / rate, 1) * 255
    for level in (0, 1, 7, 100, 254, 255):
        slots, threshold, alias = np.arange(256), table[level] >> 8, table[level] & 255
        share = np.bincount(slots, threshold, 256) + np.bincount(alias, 65536 - threshold, 256)
        pmf = poisson.pmf(np.arange(len(counts)), level * rate / 255)
        expected = np.bincount(counts.astype(int), pmf, 256)
        assert abs(share / 2**24 - expected).max() < 2**-23


def test_a_draw_of_shot_noise_is_read_from_its_slot():
    images = torch.full((1, 1, 32, 32), 90, dtype=torch.uint8)
    words = torch.arange(1024) * 4194304 + 77
    out = shot_noise(images, 12, uniform=(words.double() / 2**32).reshape(images.shape))
    entry = torch.from_numpy(poisson_table(12).astype(np.int64))[90, words >> 24]
    keep = (words >> 8 & 65535) < entry >> 8
    assert torch.equal(out.flatten().long(), torch.where(keep, words >> 24, entry & 255))


def test_little_shot_noise_changes_little():
    images = torch.arange(256).repeat(4).reshape(1, 1, 32, 32).to(torch.uint8)
    uniform = torch.linspace(0, 0.9999, 1024, dtype=torch.float64).reshape(images.shape)
    off = (shot_noise(images, 2000, uniform=uniform).double() - images).abs()
    assert float(off.max()) <= 6 * 255 * 2000**-0.5


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("kind", ["rgb", "gray"])
@pytest.mark.parametrize("name", ["gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"])
def test_keyed_noise_has_the_published_statistics(golden, name, kind, severity):
    image = golden[f"input/{kind}"]
    prefix = f"rnd/imagenet_c/{name}/{kind}/s{severity}/"
    means, maes = golden[prefix + "image_mean"], golden[prefix + "image_mae"]
    image = np.broadcast_to(image.reshape(224, 224, -1), (224, 224, 3)).transpose(2, 0, 1)
    batch = torch.from_numpy(image.copy()).expand(24, -1, -1, -1).contiguous()
    out, per_image = corrupt(batch, name, severity=severity).short(), batch[0].numel()
    totals = (one.sum((1, 2, 3), dtype=torch.int64) for one in (out, (out - batch).abs()))
    mean, mae = (total.double() / per_image for total in totals)
    for ours, theirs in ((mean.numpy(), means), (mae.numpy(), maes)):
        error = np.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs))
        assert abs(ours.mean() - theirs.mean()) < 4.5 * error
