"""Artifacts of computed tomography against closed forms of disks, scikit-image and scipy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import poisson

from medrobust.corruptions import ct, tomography
from medrobust.exceptions import ConfigurationError
from medrobust.keys import Draws, derive_key

SIDE = 101
MIDDLE = SIDE // 2
Y, X = np.mgrid[:SIDE, :SIDE] - MIDDLE
FAR = np.hypot(Y, X)


def disk(radius=35, value=200, down=0, right=0, fine=8):
    """A disk whose rim is grey by the share of each pixel that lies inside."""
    offsets = (np.arange(fine) + 0.5) / fine - 0.5
    inside = [np.hypot(Y - down + dy, X - right + dx) < radius for dy in offsets for dx in offsets]
    return np.rint(value * np.mean(inside, axis=0))


def as_batch(plane):
    return torch.from_numpy(plane.astype(np.uint8))[None, None]


def keyed(number=0, rows=(5,)):
    return Draws(derive_key(0, "", "ct", 1), torch.tensor(rows), 16 * number)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (9, -6)])
def test_rays_through_a_disk_are_as_long_as_its_chords(down, right):
    found = tomography.projected(disk(down=down, right=right))
    chords = 200 * ct.chords((SIDE, SIDE), (down, right), 35)
    assert np.abs(found - chords).mean() < 0.006 * chords.max()
    assert found.sum(axis=1) == pytest.approx(chords.sum(axis=1), rel=0.003)  # each view's mass


def test_the_reconstruction_of_the_chords_is_the_disk():
    views = 200 * ct.chords((SIDE, SIDE), (0, 0), 35)
    found = tomography.reconstructed(views, (SIDE, SIDE))
    assert found[FAR < 30] == pytest.approx(200, abs=4)
    assert found[FAR < 30].mean() == pytest.approx(200, rel=0.003)
    assert found[(FAR > 40) & (FAR < 50)] == pytest.approx(0, abs=4)


@pytest.mark.parametrize("size", [(40, 40), (33, 60), (64, 31)])
def test_a_slice_comes_back_from_its_projections(size):
    noise = np.random.default_rng(0).normal(size=size)
    plane = np.rint(100 + 300 * gaussian_filter(noise, 3))
    found = tomography.reconstructed(tomography.projected(plane), size)
    apart = (found - plane)[4:-4, 4:-4]
    assert np.abs(apart).mean() < 1.5


def test_projections_and_reconstruction_are_those_of_scikit_image():
    transform = pytest.importorskip("skimage.transform")
    plane = disk(20, 120, 10, -14) + disk(9, 90, -18, 6)
    angles = 180 * np.arange(tomography.VIEWS) / tomography.VIEWS
    theirs = transform.radon(plane, angles, circle=True)
    ours = tomography.projected(plane).T
    inner = slice((len(ours) - SIDE) // 2, (len(ours) + SIDE) // 2)
    turned = theirs[::-1, :0:-1]  # its angles and its detector run the other way
    assert np.abs(ours[inner, 1:] - turned).mean() < 0.0005 * theirs.max()
    back = transform.iradon(theirs, angles, circle=True, filter_name="ramp")
    found = tomography.reconstructed(tomography.projected(plane), (SIDE, SIDE))
    seen = FAR < 48
    assert np.abs(found - back)[seen].mean() < 0.002 * plane.max()


def test_counts_are_quantiles_of_the_poisson_distribution():
    means = np.array([0.01, 0.5, 3, 11.9, 12.1, 40, 900, 1e5])[:, None].repeat(64, axis=1)
    halves = np.random.default_rng(0).integers(0, 65536, means.shape)
    expected = poisson.ppf((halves + 0.5) / 65536, means)
    assert np.abs(ct.poisson(means, halves) - expected).max() <= 2
    assert (ct.poisson(means, halves)[:6] == expected[:6]).mean() > 0.98


@pytest.mark.parametrize(("photons", "depth"), [(1e4, 2.0), (3e3, 1.0)])
def test_the_logarithm_of_counts_has_the_variance_and_the_bias_of_the_physics(photons, depth):
    means = np.full((4, 60000), photons * np.exp(-depth))
    halves = np.random.default_rng(1).integers(0, 65536, means.shape)
    read = -np.log(ct.poisson(means, halves) / photons)
    assert read.var() == pytest.approx(np.exp(depth) / photons, rel=0.02)
    assert read.mean() - depth == pytest.approx(np.exp(depth) / (2 * photons), abs=2e-4)


def test_low_dose_is_the_picture_and_the_reconstruction_of_what_was_misread():
    images = as_batch(disk())
    unit, shape = 8 / (255 * SIDE), (tomography.VIEWS, tomography.rays((SIDE, SIDE)).bins)
    count = shape[0] * shape[1]
    words = keyed().words(-(-count // 2))
    halves = torch.stack([words & 0xFFFF, words >> 16], dim=2).ravel()[:count].reshape(shape)
    normals = keyed(1).normal(count)[0].double().reshape(shape).numpy()
    depth = unit * tomography.projected(disk())
    counts = ct.poisson(5000 * np.exp(-depth), halves.numpy()) + 10 * normals
    wrong = -np.log(np.maximum(counts, 1) / 5000) - depth
    expected = disk() + tomography.reconstructed(wrong, (SIDE, SIDE)) / unit
    out = ct.low_dose(images, 5000, quanta=keyed(), current=keyed(1))[0, 0].numpy()
    assert np.array_equal(out, np.rint(expected).clip(0, 255))


def test_twice_the_photons_are_less_noise_by_the_square_root_of_two():
    images = as_batch(disk(40, 120))
    stds = [
        float((ct.low_dose(images, photons, 0, quanta=keyed(), current=keyed(1)).double() - images)[
            0, 0, FAR < 25
        ].std())
        for photons in (10000, 20000)
    ]  # fmt: skip
    assert stds[0] / stds[1] == pytest.approx(2**0.5, rel=0.05)


@pytest.mark.parametrize("step", [4, 12])
def test_few_views_are_the_reconstruction_from_them_in_place_of_all(step):
    plane = disk(30, 90, 5, 8) + 60
    sinogram, size = tomography.projected(plane), (SIDE, SIDE)
    kept = np.arange(0, tomography.VIEWS, step)
    few = step * tomography.reconstructed(sinogram[kept], size, kept)
    expected = plane + few - tomography.reconstructed(sinogram, size)
    found = ct.sparse_view(as_batch(plane), step)[0, 0].numpy()
    assert np.abs(found - expected.clip(0, 255)).max() < 0.51


def test_views_that_do_not_divide_are_refused():
    with pytest.raises(ConfigurationError, match="step=7 does not divide 360"):
        ct.sparse_view(as_batch(disk()), 7)


def test_a_missing_half_turn_leaves_nothing_of_a_slice():
    out = ct.limited_angle(as_batch(disk()), 180, start=torch.tensor([[77]]))[0, 0].numpy()
    assert out[FAR < 30].max() < 6


def test_edges_along_missing_rays_fade():
    bars = 120.0 * (np.abs(X) % 20 < 10) + 40  # seen by rays down the rows, view 0
    away = [
        ct.limited_angle(as_batch(bars), 40, start=torch.tensor([[start]]))[0, 0].numpy()
        for start in (320, 140)
    ]
    contrast = [
        float(out[MIDDLE, 5:-5][bars[MIDDLE, 5:-5] > 100].mean())
        - float(out[MIDDLE, 5:-5][bars[MIDDLE, 5:-5] < 100].mean())
        for out in away
    ]
    assert contrast[0] < 0.4 * contrast[1]


def test_rings_are_round_and_no_matter_what_is_in_the_slice():
    flat, full = np.full((SIDE, SIDE), 120.0), disk(40, 60) + 90
    rings = [
        ct.ring_artifact(as_batch(plane), 0.02, gains=keyed())[0, 0].numpy() - plane
        for plane in (flat, full)
    ]
    assert np.abs(rings[0] - rings[1])[(FAR > 3) & (FAR < 48)].max() <= 1
    for turned in (np.rot90(rings[0]), rings[0][::-1]):
        assert np.corrcoef(turned.ravel(), rings[0].ravel())[0, 1] > 0.97
    assert rings[0].std() > 2


def test_metal_with_a_detector_that_reads_all_is_a_bright_disk_and_no_streak():
    plane, still = np.full((SIDE, SIDE), 40.0), torch.full((1, 4), 0.5)
    clean = ct.metal_artifact(as_batch(plane), 0.06, 0.3, 1e-30, place=still)[0, 0].numpy()
    assert clean[FAR < 4].mean() == pytest.approx(40 + 2 * 0.3 * 255, abs=3)  # both disks
    assert np.abs(clean - plane)[FAR > 9].max() <= 9
    starved = ct.metal_artifact(
        as_batch(plane), 0.06, 12, 1e-3, place=torch.tensor([[0.5, 0.1, 0.5, 0.9]])
    )[0, 0].numpy()
    assert starved[MIDDLE, MIDDLE] < 10  # dark between the two
    assert starved[[MIDDLE, MIDDLE], [MIDDLE - 20, MIDDLE + 20]].min() == 255


def test_a_hardened_disk_is_hollow_as_the_square_of_its_chords_says():
    """(R^2 - t^2) is the projection of (2 / pi) sqrt(R^2 - r^2)."""
    beta, radius, value = 0.03, 35, 200
    out = ct.beam_hardening(as_batch(disk()), beta)[0, 0].numpy()
    unit = 8 / (255 * SIDE)
    cup = beta * unit * 4 * value**2 * (2 / np.pi) * np.sqrt(np.maximum(radius**2 - FAR**2, 0))
    inside = FAR < 30
    assert np.abs(out - (value - cup))[inside].max() < 3
    assert (out - (value - cup))[inside].mean() == pytest.approx(0, abs=0.4)
