"""Artifacts of magnetic resonance against sums by hand over the spectrum, before any rounding."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from medrobust.corruptions import corrupt, mri, mri_motion, suites
from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.geometry import placed
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key

NAMES = suites("mri_physics")
ROWS = torch.tensor([3, 2**40 + 7, 11])


def planes(shape):
    return np.random.default_rng(4).integers(0, 256, shape).astype(np.float64)


def pictures(side=(60, 44), channels=1, count=3):
    values = np.random.default_rng(5).integers(0, 256, (count, channels, *side), dtype=np.uint8)
    return torch.from_numpy(values)


def centred(plane):
    return np.fft.fftshift(np.fft.fftn(plane))


def back(spectrum):
    return np.fft.ifftn(np.fft.ifftshift(spectrum)).real


@pytest.mark.parametrize(
    ("shape", "ghosts"),
    [((224, 48), 4), ((48, 96), 8), ((28, 30), 4), ((45, 33), 5), ((30, 31), 7)],
)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("intensity", [0.3, 1])
def test_ghosts_are_every_nth_plane_of_the_centred_spectrum_weakened(
    shape, ghosts, axis, intensity
):
    plane = planes(shape)
    spectrum = np.moveaxis(centred(plane), axis, 0).copy()
    middle = spectrum[shape[axis] // 2].copy()
    spectrum[::ghosts] *= 1 - intensity
    spectrum[shape[axis] // 2] = middle
    expected = back(np.moveaxis(spectrum, 0, axis))
    assert np.abs(mri.ghosted(plane, ghosts, intensity, axis) - expected).max() < 1e-9


def test_ghosts_that_fit_are_copies_that_are_taken_off():
    plane = planes((40, 32))
    copies = sum(np.roll(plane, j * 10, axis=0) for j in range(4))
    expected = plane - 0.5 / 4 * copies + 0.5 * plane.mean(axis=0)
    assert np.abs(mri.ghosted(plane, 4, 0.5, 0) - expected).max() < 1e-11


def test_ghosts_more_than_pixels_are_refused():
    with pytest.raises(ConfigurationError, match="does not suit images of 28 pixels"):
        mri.ghosting(pictures((28, 30)), 29, 1, axis=torch.zeros(3, 1))


@pytest.mark.parametrize("shape", [(224, 224), (45, 60), (28, 33)])
@pytest.mark.parametrize("cycles", [(0, 0), (3, 27), (22, 5), (14, 0)])
def test_a_spike_is_a_point_of_k_space_raised_by_the_largest(shape, cycles):
    plane = planes(shape)
    spectrum = centred(plane)
    at = tuple((side // 2 + count) % side for side, count in zip(shape, cycles, strict=True))
    spectrum[at] += 1.7 * np.abs(spectrum).max()
    assert np.abs(mri.striped(plane, 1.7, cycles) - back(spectrum)).max() < 1e-9


def test_rician_noise_has_the_moments_of_the_rice_distribution():
    std, level = 0.1, 100
    grey = torch.full((4, 1, 224, 224), level, dtype=torch.uint8)
    draws = [Draws(derive_key(0, "", "rician_noise", 1), torch.arange(4), 16 * d) for d in (0, 1)]
    out = mri.rician_noise(grey, std, real=draws[0], imaginary=draws[1]).double()
    second = level**2 + 2 * (255 * std) ** 2
    assert float((out**2).mean()) == pytest.approx(second + 1 / 12, rel=0.003)
    black = mri.rician_noise(grey * 0, std, real=draws[0], imaginary=draws[1]).double()
    assert float(black.mean()) == pytest.approx(255 * std * np.sqrt(np.pi / 2), rel=0.003)


def test_rician_noise_of_a_picture_is_in_proportion_to_its_deviation():
    images = pictures()
    draws = [Draws(derive_key(0, "", "rician_noise", 1), ROWS, 16 * d) for d in (0, 1)]
    own = mri.rician_noise(images, 0.3, True, real=draws[0], imaginary=draws[1])
    for n in range(3):
        std = float(images[n].double().std(correction=0)) * 0.3 / 255
        one = [Draws(draw.key, ROWS[n : n + 1], draw.number) for draw in draws]
        same = mri.rician_noise(images[n : n + 1], std, real=one[0], imaginary=one[1])
        assert torch.equal(own[n], same[0])


def test_rician_noise_uses_the_normals_of_the_written_derivation_in_every_channel():
    images = pictures(channels=3)
    keys = derive_key(6, "set/test", "rician_noise", 2)
    real, imaginary = (
        Draws(keys, ROWS, 16 * d).normal(60 * 44).double().reshape(3, 1, 60, 44) for d in (0, 1)
    )
    scale = 255 * 0.08
    expected = torch.sqrt((images + scale * real) ** 2 + (scale * imaginary) ** 2)
    out = corrupt(
        images, "rician_noise", severity=2, suite="mri_physics", seed=6, stream="set/test",
        index=ROWS,
    )  # fmt: skip
    assert torch.equal(out, expected.round().clamp(0, 255).to(torch.uint8))


def test_the_bias_field_is_the_exponential_of_its_polynomial():
    coefficients = np.random.default_rng(1).uniform(-0.5, 0.5, 10)
    field = mri.field_of(coefficients, 3, (40, 31))
    y, x = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 31), indexing="ij")
    powers = [(i, j) for i in range(4) for j in range(4 - i)]
    terms = [c * y**i * x**j for c, (i, j) in zip(coefficients, powers, strict=True)]
    assert np.abs(field - np.exp(sum(terms))).max() < 1e-12
    assert np.allclose(mri.field_of(np.zeros(10), 3, (40, 31)), 1)


def test_coefficients_of_the_bias_field_are_even_up_to_the_largest():
    draws = Draws(derive_key(0, "", "bias_field", 1), torch.arange(2000))
    grey = torch.full((2000, 1, 28, 28), 100, dtype=torch.uint8)
    out = mri.bias_field(grey, 0.4, 0, coefficients=draws)[:, 0, 0, 0].double()
    logs = (out / 100).log()
    assert float(logs.mean()) == pytest.approx(0, abs=0.02)
    assert float(logs.std()) == pytest.approx(0.4 / np.sqrt(3), rel=0.03)
    assert float(logs.abs().max()) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("shape", [(48, 48), (40, 31), (33, 60)])
@pytest.mark.parametrize("alpha", [0, 0.4, 0.7])
def test_gibbs_keeps_a_disk_of_the_centred_spectrum(shape, alpha):
    plane = planes(shape)
    y, x = (np.arange(side) - side // 2 for side in shape)
    outside = np.hypot(y[:, None], x) > (1 - alpha) * max(shape) * np.sqrt(2) / 2
    spectrum = centred(plane)
    spectrum[outside] = 0
    kept = mri.disk(shape, alpha)
    half = np.zeros((shape[0], shape[1] // 2 + 1), bool)
    half[:, : kept.shape[1]] = kept
    found = np.fft.irfft2(np.fft.rfft2(plane) * half, shape)
    assert np.abs(found - back(spectrum)).max() < 1e-9
    assert np.array_equal(mri.low_pass(plane, kept), found)
    images = torch.from_numpy(plane.astype(np.uint8))[None, None]
    expected = np.rint(back(spectrum)).clip(0, 255).astype(np.uint8)
    assert np.array_equal(mri.gibbs(images, alpha)[0, 0].numpy(), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_motion_by_whole_pixels_is_a_spectrum_of_shifted_pictures(axis):
    plane = np.zeros((60, 40))
    plane[20:40, 12:28] = planes((20, 16))  # nothing that moves leaves the picture
    path = np.array([[0.5, 1, 0.25, 0.5], [0.5, 0, 0.75, 0.5]])
    expected = np.moveaxis(centred(plane), axis, 0).copy()
    edges = mri_motion.segment_edges(plane.shape[axis], path[:, 3])
    for shift, first, last in (((6, -2), 0, edges[1]), ((-6, 2), edges[2], edges[3])):
        other = np.moveaxis(centred(np.roll(plane, shift, (0, 1))), axis, 0)
        expected[first:last] = other[first:last]
    found = mri_motion.moved(plane, 0, 0.1, axis, path)
    assert np.abs(found - back(np.moveaxis(expected, 0, axis))).max() < 1e-9


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("moves", [1, 4, 60])  # of 60 some have no plane of 36 or 25
def test_motion_shows_the_real_part_of_segments_at_their_positions(moves, axis):
    plane = planes((36, 25)).astype(np.float64)
    path = np.random.default_rng(moves).random((moves, 4))
    edges = mri_motion.segment_edges(plane.shape[axis], path[:, 3])
    spectrum = np.moveaxis(centred(plane), axis, 0).copy()
    positions = iter(2 * path - 1)
    for first, last in pairwise(edges):
        if first <= plane.shape[axis] // 2 < last:
            continue
        turn, down, right, _ = next(positions)
        other = placed(plane, np.deg2rad(30 * turn), (0.2 * down, 0.2 * right))
        spectrum[first:last] = np.moveaxis(centred(other), axis, 0)[first:last]
    found = mri_motion.moved(plane, 30, 0.2, axis, path)
    assert np.abs(found - back(np.moveaxis(spectrum, 0, axis))).max() < 1e-9


def test_motion_turns_about_the_middle():
    plane = np.zeros((31, 31))
    plane[5, 15] = 200
    quarter = np.array([[1.0, 0.5, 0.5, 0.5]])
    turned = placed(plane, np.deg2rad(90), (0, 0))
    assert np.argwhere(turned > 100).tolist() in ([[15, 25]], [[15, 5]])
    assert np.allclose(mri_motion.moved(plane, 0, 0, 0, quarter), plane)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_does_not_depend_on_its_batch_or_its_threads(name):
    images = pictures((44, 52))
    whole = corrupt(images, name, severity=4, suite="mri_physics", index=ROWS)
    for row in range(3):
        one = slice(row, row + 1)
        alone = corrupt(images[one], name, severity=4, suite="mri_physics", index=ROWS[one])
        assert torch.equal(alone[0], whole[row])
    turned = corrupt(images.flip(0), name, severity=4, suite="mri_physics", index=ROWS.flip(0))
    assert torch.equal(turned.flip(0), whole)


@pytest.mark.parametrize("name", NAMES)
def test_equal_channels_stay_equal_and_are_what_one_channel_gives(name):
    grey = pictures((44, 52))
    one = corrupt(grey, name, severity=3, suite="mri_physics", index=ROWS)
    three = corrupt(grey.expand(-1, 3, -1, -1), name, severity=3, suite="mri_physics", index=ROWS)
    assert torch.equal(three, one.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("name", NAMES)
def test_every_route_is_the_same(name):
    images = pictures((40, 36), 3)
    fast = corrupt(images, name, severity=5, suite="mri_physics", index=ROWS)
    with kernels_of("torch"):
        assert torch.equal(corrupt(images, name, severity=5, suite="mri_physics", index=ROWS), fast)


@pytest.mark.parametrize("name", NAMES)
def test_a_harsher_severity_changes_more(name):
    coarse = np.random.default_rng(8).integers(30, 200, (64, 1, 6, 6), dtype=np.uint8)
    images = torch.from_numpy(coarse.repeat(8, axis=2).repeat(8, axis=3))
    change = [
        float(
            (corrupt(images, name, severity=s, suite="mri_physics").double() - images).abs().mean()
        )
        for s in (1, 2, 3, 4, 5)
    ]
    assert change == sorted(change)
    assert change[0] > 0.3
