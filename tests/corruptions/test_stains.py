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


def test_a_harsher_severity_changes_more():
    images = slides(24)[0]
    outs = [
        corrupt(images, "hed_jitter", severity=s, suite="histopathology_physics")
        for s in (1, 2, 3, 4, 5)
    ]
    change = [float((out.double() - images).abs().mean()) for out in outs]
    assert change == sorted(change)
    assert change[0] > 0.5
