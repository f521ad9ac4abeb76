"""Coverage of strands, patches and bubbles against lengths and areas that are known."""

import numpy as np
import pytest

from medrobust.corruptions import shapes


@pytest.mark.parametrize(("width", "angle"), [(2, 0.0), (4, 0.6), (7, 1.57)])
def test_a_straight_strand_covers_its_length_times_its_width(width, angle):
    step = 0.3 * np.array([np.sin(angle), np.cos(angle)])
    points = np.array([[0.5 - step, [0.5, 0.5], 0.5 + step]])
    cover = shapes.strands((120, 120), points, width)
    assert cover.sum() == pytest.approx(0.6 * 120 * width, rel=0.12)
    assert cover.max() == 1


def test_a_bent_strand_follows_its_curve():
    points = np.array([[[0.2, 0.1], [0.9, 0.5], [0.2, 0.9]]])
    cover = shapes.strands((100, 100), points, 3)
    assert cover[55, 50] > 0.9  # its lowest point: the mean of both ends and the bend twice
    assert cover[60:].max() < 0.1
    assert np.allclose(cover, cover[:, ::-1])


@pytest.mark.parametrize("share", [0.02, 0.18, 0.5])
def test_patches_cover_the_share_that_was_asked(share):
    seeds = np.random.default_rng(2).uniform(0, 1, (6, 3))
    cover = shapes.patches((80, 60), seeds, share)
    assert (cover >= 0.5).mean() == pytest.approx(share, abs=0.001)
    assert not shapes.patches((80, 60), seeds, 0.0).any()


def test_bubbles_beyond_the_border_are_cut_off():
    image = np.full((1, 50, 50), 100.0)
    places = np.array([[0.0, 0.0, 1.0], [0.99, 0.5, 0.2]])
    out = shapes.bubbles(image, places, 0.2)
    assert out.shape == image.shape
    assert np.abs(out - image)[0, 20:30, 20:30].max() < 1e-3
    assert out.max() > 180
    assert (image == 100).all()
