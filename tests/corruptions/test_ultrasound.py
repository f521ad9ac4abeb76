"""Artifacts of ultrasound against the statistics of speckle and sums on the envelope by hand."""

import numpy as np
import pytest
import torch

from medrobust.corruptions import corrupt, suites, ultrasound
from medrobust.corruptions.dispatch import kernels_of
from medrobust.keys import Draws, derive_key

NAMES = suites("ultrasound_physics")
ROWS = torch.tensor([3, 2**40 + 7, 11])
GREYS = 255 / 60
"""Grey values a decibel."""


def pictures(side=(60, 44), channels=1, count=3):
    values = np.random.default_rng(5).integers(0, 256, (count, channels, *side), dtype=np.uint8)
    return torch.from_numpy(values)


def test_one_look_is_fully_developed_speckle():
    intensity = ultrasound.speckle_intensity(1)
    amplitude = np.sqrt(intensity)
    assert amplitude.mean() / amplitude.std() == pytest.approx(1.9131, abs=0.001)
    assert intensity.mean() / intensity.std() == pytest.approx(1, abs=0.001)
    assert intensity.mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("looks", [2, 4, 16])
def test_looks_average_the_intensity(looks):
    intensity = ultrasound.speckle_intensity(looks)
    assert intensity.mean() == pytest.approx(1, abs=1e-4)
    assert intensity.mean() / intensity.std() == pytest.approx(np.sqrt(looks), rel=0.001)


def test_pixels_of_a_flat_picture_have_the_ratio_of_rayleigh_amplitudes():
    flat = torch.full((4, 1, 224, 224), 170, dtype=torch.uint8)
    draws = Draws(derive_key(0, "", "ultrasound_speckle", 1), torch.arange(4))
    out = ultrasound.ultrasound_speckle(flat, 1, grain=draws).double().numpy()
    amplitude = 10 ** ((out - 170) / GREYS / 20)
    assert amplitude.mean() / amplitude.std() == pytest.approx(1.9131, rel=0.005)
    assert (amplitude**2).mean() == pytest.approx(1, rel=0.01)


def test_the_grain_is_that_of_the_written_derivation_and_grey():
    images = pictures(channels=3)
    key = derive_key(6, "s", "ultrasound_speckle", 5)
    words = Draws(key, ROWS).words(60 * 44 // 2)
    halves = torch.stack([words & 0xFFFF, words >> 16], dim=2).reshape(3, 1, 60, 44).numpy()
    steps = GREYS * 10 * np.log10(ultrasound.speckle_intensity(1))[halves]
    values = images.double().numpy()
    expected = np.rint(np.where(values > 0, values + steps, 0)).clip(0, 255)
    out = corrupt(
        images, "ultrasound_speckle", severity=5, suite="ultrasound_physics", seed=6, stream="s",
        index=ROWS,
    )  # fmt: skip
    assert np.array_equal(out.numpy(), expected)


def test_a_shadow_attenuates_below_a_depth_and_fades_to_its_sides():
    images = torch.full((1, 1, 100, 80), 200, dtype=torch.uint8)
    place = torch.tensor([[0.0, 0.25]])  # from column 0 to 20 (middle 10), below row 20
    out = ultrasound.acoustic_shadow(images, 0.85, 0.25, place=place)[0, 0].numpy()
    assert (out[:20] == 200).all()
    assert (out[:, 20:] == 200).all()
    t = (np.arange(20, 100) + 0.5 - 20) / 80
    expected = 200 + GREYS * 20 * np.log10(1 - 0.85 * (1 - np.exp(-3 * t)))
    assert np.array_equal(out[20:, 10], np.rint(expected))
    assert (np.diff(out[90, :6].astype(int)) <= 0).all()


def test_echoes_are_added_to_the_envelope_at_equal_steps():
    values = np.random.default_rng(3).integers(1, 160, (80, 30))
    images = torch.from_numpy(values.astype(np.uint8))[None, None]
    out = ultrasound.reverberation(images, 0.3, 0.6, 4, spacing=torch.tensor([[0.5]]))
    step = round(80 * 0.175)
    amplitude = 10 ** ((values / GREYS - 60) / 20)
    total = amplitude.copy()
    for k in range(1, 5):
        total[k * step :] += 0.3 * 0.6 ** (k - 1) * amplitude[: 80 - k * step]
    expected = GREYS * (20 * np.log10(total) + 60)
    bright = expected > 60  # the table of envelopes is coarser in the dark
    assert np.abs(out[0, 0].numpy() - expected)[bright].max() < 0.55
    assert np.array_equal(out[0, 0, :step].numpy(), values[:step])


def test_gain_is_a_curve_of_decibels_over_depth():
    images = torch.full((1, 1, 101, 30), 120, dtype=torch.uint8)
    out = ultrasound.ultrasound_gain(images, 10, 3, curve=torch.tensor([[0.5, 1.0, 0.25]]))
    assert out[0, 0, ::25, 0].tolist() == [120, 141, 162, 131, 99]
    assert (out[0, 0] == out[0, 0, :, :1]).all()


@pytest.mark.parametrize("name", ["ultrasound_speckle", "ultrasound_gain", "acoustic_shadow"])
def test_black_stays_black(name):
    images = pictures()
    images[:, :, 10:20] = 0
    out = corrupt(images, name, severity=5, suite="ultrasound_physics", index=ROWS)
    assert int(out[:, :, 10:20].max()) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_does_not_depend_on_its_batch(name):
    images = pictures((44, 52), 3)
    whole = corrupt(images, name, severity=4, suite="ultrasound_physics", index=ROWS)
    for row in range(3):
        one = slice(row, row + 1)
        alone = corrupt(images[one], name, severity=4, suite="ultrasound_physics", index=ROWS[one])
        assert torch.equal(alone[0], whole[row])


@pytest.mark.parametrize("name", NAMES)
def test_equal_channels_stay_equal_and_every_route_is_the_same(name):
    grey = pictures((44, 52))
    one = corrupt(grey, name, severity=3, suite="ultrasound_physics", index=ROWS)
    with kernels_of("torch"):
        three = corrupt(
            grey.expand(-1, 3, -1, -1), name, severity=3, suite="ultrasound_physics", index=ROWS
        )
    assert torch.equal(three, one.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("name", NAMES)
def test_a_harsher_severity_changes_more(name):
    coarse = np.random.default_rng(8).integers(60, 200, (64, 1, 6, 6), dtype=np.uint8)
    images = torch.from_numpy(coarse.repeat(8, axis=2).repeat(8, axis=3))
    outs = [corrupt(images, name, severity=s, suite="ultrasound_physics") for s in (1, 2, 3, 4, 5)]
    change = [float((out.double() - images).abs().mean()) for out in outs]
    assert change == sorted(change)
    assert change[0] > 0.5
