"""Artifacts of endoscopy and of dermatoscopy where they were drawn, and nowhere else."""

import numpy as np
import pytest
import torch

from medrobust.corruptions import dermatoscopy, endoscopy

SIDE = 100
Y, X = np.mgrid[:SIDE, :SIDE] + 0.5


def picture(value=120):
    return torch.full((1, 3, SIDE, SIDE), value, dtype=torch.uint8)


def test_a_reflection_is_a_white_ellipse_of_its_axes():
    spots = torch.tensor([[0.5, 0.5, 1.0, 0.0, 0.0]])  # long along the columns
    out = endoscopy.glare(picture(), 1, 0.2, spots=spots)[0, 0].numpy()
    far = np.hypot((X - 50) / 20, (Y - 50) / 6)
    assert (out[far < 0.8] == 255).all()
    assert (out[far > 1.2] == 120).all()
    assert (out == 255).sum() == pytest.approx(np.pi * 0.8**2 * 20 * 6, rel=0.05)


def test_blood_covers_its_share_in_its_color():
    seeds = torch.rand(1, 18, generator=torch.Generator().manual_seed(0))
    out = endoscopy.endoscopy_blood(picture(), 0.2, 1.0, seeds=seeds)[0].numpy()
    covered = (out == np.array(endoscopy.BLOOD)[:, None, None]).all(axis=0).mean()
    assert 0.08 < covered < 0.2  # the rim is soft
    assert (out == 120).all(axis=0).mean() > 0.65


def test_bubbles_have_bright_rims_at_their_radius():
    places = torch.tensor([[0.5, 0.5, 1.0]])
    out = endoscopy.lens_bubbles(picture(), 1, 0.2, places=places)[0, 0].numpy()
    far = np.hypot(Y - 50, X - 50)
    assert out[np.abs(far - 20) < 0.3].min() >= 195
    assert (out[far > 28] == 120).all()


def test_hair_is_dark_along_its_curve_alone():
    ends = (torch.tensor([[0.1, 0.5, 0.5, 0.5, 0.9, 0.5]]) + 0.1) / 1.2
    out = dermatoscopy.hair(picture(), 1, 0.03, 1.0, ends=ends)[0].numpy()
    assert np.abs(out[:, 50, 49:51] - np.array(dermatoscopy.HAIR)[:, None]).max() <= 1
    assert (out[:, :, :44] == 120).all()
    assert (out[:, :5] == 120).all()


def test_the_border_darkens_with_the_square_of_the_distance():
    out = dermatoscopy.vignette(picture(200), 0.6)[0, 0].numpy()
    square = ((Y - 50) ** 2 + (X - 50) ** 2) / (2 * 50**2)
    assert np.abs(out - 200 * (1 - 0.6 * square)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("side", "edge"), [(0.0, "top"), (0.25, "right"), (0.5, "bottom")])
def test_a_ruler_lies_along_the_side_that_was_drawn(side, edge):
    out = dermatoscopy.ruler(picture(), 1.0, side=torch.tensor([[side, 0.0]]))[0, 0].numpy()
    strips = {"top": out[:12], "bottom": out[-12:], "right": out[:, -12:]}
    assert (strips[edge] != 120).all()
    assert (out != 120).sum() == 12 * SIDE
    assert (out == 20).sum() > 100
