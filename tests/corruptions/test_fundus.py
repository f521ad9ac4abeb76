"""Artifacts of fundus photography against their formulas at single pixels."""

import numpy as np
import torch

from medrobust.corruptions import fundus

SIDE = 80
Y, X = np.mgrid[:SIDE, :SIDE] + 0.5
RETINA = np.hypot(Y - 40, X - 40) < 36


def picture():
    flat = np.array([160, 80, 40])[:, None, None] * RETINA
    return torch.from_numpy(flat.astype(np.uint8))[None]


def changed(out):
    return out[0].double().numpy() - picture()[0].double().numpy()


def test_light_from_aside_falls_off_with_the_square_of_the_distance():
    out = fundus.fundus_illumination(picture(), 0.8, place=torch.tensor([[0.0, 0.5]]))
    square = (np.hypot(Y - 0.2 * SIDE, X - 0.5 * SIDE) / SIDE) ** 2
    expected = picture()[0].double().numpy() * (1 - 0.8 * square).clip(0, 1)
    assert np.abs(out[0].numpy() - expected).max() <= 0.5


def test_a_halo_is_a_gaussian_ring_of_its_color_on_the_retina_alone():
    ring = torch.tensor([[0.5, 0.5, 0.25, 0.0, 0.5, 1.0]])
    change = changed(fundus.fundus_halo(picture(), 0.2, ring=ring))
    far = np.hypot(Y - 40, X - 40) / SIDE
    light = np.exp(-(((far - 0.275) / 0.06) ** 2) / 2) * RETINA
    for channel, weight in enumerate((0.5, 0.75, 1.0)):
        assert np.abs(change[channel] - 51 * weight * light).max() <= 0.5


def test_a_hole_takes_a_share_of_the_mean_of_the_retina():
    change = changed(fundus.fundus_hole(picture(), 0.25, place=torch.full((1, 3), 0.5)))
    assert (change[:, 40, 40] == [-40, -20, -10]).all()
    far = np.hypot(Y - 40, X - 40) / SIDE
    assert (change[0][far > 0.42] == 0).all()
    assert -25 < change[0][np.abs(far - 0.275) < 0.01].mean() < -10  # 1/e at the rim


def test_spots_are_where_they_were_drawn_and_add_up():
    spots = torch.tensor([[0.5, 0.5, 1.0, 0.5, 0.5, 1.0]])
    change = changed(fundus.fundus_spots(picture(), 0.1, 2, spots=spots))
    far = (Y - 40) ** 2 + (X - 40) ** 2
    expected = 2 * 25.5 * np.exp(-far / (0.05 * SIDE) ** 2) * RETINA
    near = np.hypot(Y - 40, X - 40) < 12
    assert np.abs(change[1] - expected)[near].max() <= 0.5
    assert (change[:, ~RETINA] == 0).all()
