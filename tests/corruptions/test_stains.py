"""Stains: amounts of dyes by hand, from densities whose dyes are known."""

import numpy as np
import pytest
import torch

from medrobust.corruptions import corrupt, stains
from medrobust.keys import Draws, derive_key

ROWS = torch.tensor([3, 2**40 + 7, 11])
UNIT = np.array(stains.DYES) / np.linalg.norm(stains.DYES, axis=1, keepdims=True)


def slides(count=3):
    """Pictures of known amounts of hematoxylin and eosin, and those amounts."""
    amounts = np.random.default_rng(1).uniform(0.1, 0.8, (count, 30, 40, 3)) * [1, 1, 0]
    light = 256 * np.exp(-amounts @ UNIT) - 1
    return torch.from_numpy(np.rint(light).astype(np.uint8).transpose(0, 3, 1, 2).copy()), amounts


def test_nothing_changes_where_nothing_is_jittered():
    values = np.arange(3 * 28 * 32).reshape(1, 3, 28, 32) % 256
    images, half = torch.from_numpy(values.astype(np.uint8)), torch.full((1, 3), 0.5)
    assert torch.equal(stains.hed_jitter(images, 0.2, scale=half, shift=half), images)


@pytest.mark.parametrize("dye", [0, 1])
def test_amounts_of_dyes_are_scaled_and_shifted(dye):
    images, amounts = slides()
    scale, shift = torch.full((3, 3), 0.5), torch.full((3, 3), 0.5)
    scale[:, dye], shift[:, dye] = 1.0, 0.75
    out = stains.hed_jitter(images, 0.2, scale=scale, shift=shift).numpy()
    amounts[..., dye] = 1.2 * amounts[..., dye] + 0.1
    expected = (256 * np.exp(-amounts @ UNIT) - 1).transpose(0, 3, 1, 2)
    assert np.abs(out - expected).max() < 2  # of which the rounding of the slide is most


def test_keyed_draws_are_even_and_of_the_written_derivation():
    images, _ = slides()
    key = derive_key(2, "s", "hed_jitter", 4)
    scale, shift = (Draws(key, ROWS, 16 * d).uniform(3) for d in (0, 1))
    expected = stains.hed_jitter(images, 0.15, scale=scale, shift=shift)
    given = {"severity": 4, "suite": "histopathology_physics", "seed": 2, "stream": "s"}
    out = corrupt(images, "hed_jitter", index=ROWS, **given)
    assert torch.equal(out, expected)
    for row in range(3):
        one = slice(row, row + 1)
        assert torch.equal(corrupt(images[one], "hed_jitter", index=ROWS[one], **given), out[one])


def test_grey_pictures_stay_grey():
    images = slides()[0][:, :1]
    out = corrupt(images, "hed_jitter", severity=5, suite="histopathology_physics")
    assert out.shape == images.shape


def test_another_stain_has_its_dyes_and_its_amounts():
    dyes, most = (np.array(part) for part in stains.TARGETS[1])
    amounts = np.random.default_rng(2).uniform(0.2, 1, (60, 60, 2))
    amounts[:20, :, 0] = amounts[20:40, :, 1] = 0.0
    light = (256 * np.exp(-amounts @ np.array(stains.TARGETS[2][0])) - 1).transpose(2, 0, 1)
    images = torch.from_numpy(np.rint(light).astype(np.uint8))[None]
    swapped = stains.stain_swap(images, 1.0, target=torch.tensor([[1]])).numpy()[0]
    densities = -np.log((light + 1) / 256)
    stained = (densities >= 0.15).all(axis=0)
    factor = most / np.percentile(amounts[stained], 99, axis=0)
    expected = 256 * np.exp(-(amounts * factor) @ dyes) - 1
    assert np.abs(swapped - expected.transpose(2, 0, 1)).mean() < 3
    still = stains.stain_swap(images, 0.0, target=torch.tensor([[2]]))
    assert torch.equal(still, images)


def test_the_dyes_of_a_slide_are_found_by_their_angles():
    rng = np.random.default_rng(3)
    for dyes, most in stains.TARGETS:
        amounts = rng.uniform(0, 1, (2, 4000)) * np.array(most)[:, None]
        found = stains.find_dyes(np.array(dyes).T @ amounts)
        cosines = (found * np.array(dyes)).sum(axis=1) / np.linalg.norm(dyes, axis=1)
        assert cosines.min() > 0.999


def test_half_of_a_swap_is_the_geometric_mean_of_light():
    images = slides()[0]
    half, whole = (
        stains.stain_swap(images, share, target=torch.zeros(3, 1)).double() + 1
        for share in (0.5, 1.0)
    )
    seen = (whole > 2) & (whole < 255)  # not cut off
    apart = (half - ((images.double() + 1) * whole).sqrt()).abs()[seen]
    assert float(apart.max()) < 1.5


def test_a_harsher_severity_changes_more():
    images = slides(24)[0]
    outs = [
        corrupt(images, "hed_jitter", severity=s, suite="histopathology_physics")
        for s in (1, 2, 3, 4, 5)
    ]
    change = [float((out.double() - images).abs().mean()) for out in outs]
    assert change == sorted(change)
    assert change[0] > 0.5
