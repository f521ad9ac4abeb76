"""Artifacts of radiography against the statistics of quanta and sums by hand."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import poisson

from medrobust.corruptions import corrupt, suites, xray
from medrobust.corruptions.dispatch import kernels_of
from medrobust.keys import Draws, derive_key

NAMES = suites("xray_physics")
ROWS = torch.tensor([3, 2**40 + 7, 11])
GREY = 255 / xray.DENSITY
"""Grey values a unit of the logarithm."""


def pictures(side=(60, 44), channels=1, count=3):
    values = np.random.default_rng(5).integers(0, 256, (count, channels, *side), dtype=np.uint8)
    return torch.from_numpy(values)


def keyed(count, name="quantum"):
    return Draws(derive_key(0, "", name, 1), torch.arange(count))


@pytest.mark.parametrize("factor", [0.25, 0.8, 1.6, 4])
def test_exposure_shifts_the_logarithm_until_the_detector_is_full(factor):
    values = np.arange(28 * 28).reshape(28, 28) % 256
    images = torch.from_numpy(values.astype(np.uint8))[None, None]
    expected = np.rint(values - GREY * np.log(factor)).clip(0, 255)
    assert np.array_equal(xray.xray_exposure(images, factor)[0, 0].numpy(), expected)
    full = xray.xray_exposure(images, 8, saturation=0.5)
    assert int(full.min()) == round(GREY * np.log(2))


def test_a_wrong_window_is_a_straight_line_cut_off_at_black_and_white():
    values = (np.arange(28 * 28).reshape(28, 28) % 256).astype(np.float64)
    images = torch.from_numpy(values.astype(np.uint8))[None, None]
    out = xray.window_error(images, 0.4, 0.2, level=torch.tensor([[0.75]]))[0, 0].numpy()
    low, high = 255 * (0.6 - 0.2), 255 * (0.6 + 0.2)
    expected = np.interp(values, [low, high], [0, 255])
    assert np.abs(out - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("level", [0, 60, 120])
def test_the_variance_of_counted_quanta_is_their_mean(level):
    quanta = 4000
    flat = torch.full((4, 1, 224, 224), level, dtype=torch.uint8)
    out = xray.xray_quantum_noise(flat, quanta, uniform=keyed(4)).double().numpy()
    if level == 0:
        assert out.min() == 0  # brighter than the open beam is black, too
        return
    mean = quanta * np.exp(-level / GREY)
    counts = quanta * np.exp(-out / GREY)
    step = (mean / GREY) ** 2 / 12  # of rounding to grey values
    assert counts.mean() == pytest.approx(mean, rel=0.002)
    assert counts.var() == pytest.approx(mean + step, rel=0.02)


def test_chances_of_grey_values_are_sums_of_poisson_chances():
    quanta, old = 50, 100
    mean = quanta * np.exp(-old / GREY)
    counts = np.arange(400)
    greys = np.rint(-GREY * np.log(np.maximum(counts, 1) / quanta)).clip(0, 255).astype(int)
    expected = np.bincount(greys, weights=poisson.pmf(counts, mean), minlength=256)
    assert np.abs(xray.quantum_shares(quanta)[old] - expected).max() < 1e-12


def test_quantum_noise_is_grey_and_in_steps_of_its_shares():
    images = torch.full((40, 3, 56, 56), 140, dtype=torch.uint8)
    out = corrupt(images, "xray_quantum_noise", severity=4, suite="xray_physics")
    assert torch.equal(out[:, 0], out[:, 2])
    found = np.bincount(out[:, 0].numpy().ravel(), minlength=256) / out[:, 0].numel()
    assert np.abs(found - xray.quantum_shares(300)[140]).max() < 0.005


def test_scatter_is_the_blurred_intensity_added():
    values = np.random.default_rng(2).integers(0, 200, (12, 10)).repeat(8, 0).repeat(8, 1)
    images = torch.from_numpy(values.astype(np.uint8))[None, None]
    primary = np.exp(-values / GREY)
    veil = gaussian_filter(primary, 9.6, mode="nearest", truncate=8)
    expected = -GREY * np.log((primary + 1.5 * veil) / 2.5)
    out = xray.xray_scatter(images, 1.5)[0, 0].numpy()
    assert np.abs(out - expected).max() < 0.52


def test_grid_lines_are_a_cosine_of_the_intensity():
    images = torch.full((2, 1, 40, 60), 100, dtype=torch.uint8)
    lines = torch.tensor([[0.5, 0.25, 0.2], [0.0, 0.0, 0.9]], dtype=torch.float64)
    out = xray.grid_lines(images, 0.2, line=lines).numpy()
    along = 100 - GREY * np.log(1 + 0.2 * np.cos(2 * np.pi * (np.arange(60) / 6 + 0.25)))
    down = 100 - GREY * np.log(1 + 0.2 * np.cos(2 * np.pi * np.arange(40) / 4))
    assert np.array_equal(out[0, 0], np.rint(along)[None].repeat(40, 0))
    assert np.array_equal(out[1, 0], np.rint(down)[:, None].repeat(60, 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_does_not_depend_on_its_batch(name):
    images = pictures((44, 52), 3)
    whole = corrupt(images, name, severity=4, suite="xray_physics", index=ROWS)
    for row in range(3):
        one = slice(row, row + 1)
        alone = corrupt(images[one], name, severity=4, suite="xray_physics", index=ROWS[one])
        assert torch.equal(alone[0], whole[row])


@pytest.mark.parametrize("name", NAMES)
def test_equal_channels_stay_equal_and_are_what_one_channel_gives(name):
    grey = pictures((44, 52))
    one = corrupt(grey, name, severity=3, suite="xray_physics", index=ROWS)
    three = corrupt(grey.expand(-1, 3, -1, -1), name, severity=3, suite="xray_physics", index=ROWS)
    assert torch.equal(three, one.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("name", NAMES)
def test_every_route_is_the_same(name):
    images = pictures((40, 36), 3)
    fast = corrupt(images, name, severity=5, suite="xray_physics", index=ROWS)
    with kernels_of("torch"):
        slow = corrupt(images, name, severity=5, suite="xray_physics", index=ROWS)
    assert torch.equal(slow, fast)


@pytest.mark.parametrize("name", NAMES)
def test_a_harsher_severity_changes_more(name):
    coarse = np.random.default_rng(8).integers(60, 200, (32, 1, 6, 6), dtype=np.uint8)
    images = torch.from_numpy(coarse.repeat(8, axis=2).repeat(8, axis=3))
    outs = [corrupt(images, name, severity=s, suite="xray_physics") for s in (1, 2, 3, 4, 5)]
    change = [float((out.double() - images).abs().mean()) for out in outs]
    assert change == sorted(change)
    assert change[0] > (0.05 if name == "laterality_marker" else 0.5)  # a marker is small
