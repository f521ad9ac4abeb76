"""Pictures that are turned, moved and scaled, against scipy and whole pixels."""

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from medrobust.corruptions import geometry
from medrobust.corruptions.config import Corruption
from medrobust.corruptions.masks import moved_classes


def plane(shape=(60, 45)):
    return np.random.default_rng(4).integers(0, 256, shape).astype(np.float64)


@pytest.mark.parametrize("scale", [1.0, 0.75, 1.3])
@pytest.mark.parametrize("angle", [0.0, 0.4, -1.7])
def test_a_picture_is_read_as_scipy_reads_it(angle, scale):
    values, shift = plane(), (0.1, -0.07)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = (np.array(values.shape) - 1) / 2
    start = middle - turn @ (middle + np.array(shift) * values.shape)
    expected = affine_transform(values, turn, start, order=1, mode="constant")
    assert np.abs(geometry.placed(values, angle, shift, scale) - expected).max() < 1e-9


def test_fixed_moves_have_their_whole_length_in_a_drawn_direction():
    values = plane((50, 50))
    images = torch.from_numpy(values.astype(np.uint8))[None, None]
    out = geometry.affine(images, shift=0.1, fixed=True, place=torch.tensor([[0.9, 0.51, 0.2]]))
    expected = np.zeros_like(values)
    expected[5:, :-5] = values[:-5, 5:]
    assert np.array_equal(out[0, 0].numpy(), expected)


def test_masks_go_with_the_picture():
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[:, 20:40, 24:44] = 1
    moved = moved_classes(
        masks, Corruption("translation", "medfm_robust"), severity=5, seed=0, stream="a",
        index=np.array([4, 9]),
    )  # fmt: skip
    assert (moved.sum(axis=(1, 2)) > 380).all()
    assert (moved != masks).any(axis=(1, 2)).all()
