"""Photometric kernels against scikit-image and by hand."""

import numpy as np
import pytest
import torch
from skimage.color import hsv2rgb, rgb2hsv

from medrobust.corruptions.batches import torch_kernels
from medrobust.corruptions.photometric import brightness, contrast, saturate
from medrobust.exceptions import InvalidImageError

VALUES = np.random.default_rng(2)
PICTURE = VALUES.integers(0, 256, (90, 61, 3), dtype=np.uint8)
PICTURE[:20] = VALUES.integers(0, 3, (20, 61, 3)) * 127
PICTURE[20:30] = PICTURE[20:30, :, :1]
IMAGES = torch.from_numpy(PICTURE.transpose(2, 0, 1).copy())[None]


@pytest.mark.parametrize(("factor", "shift"), [(0.3, 0), (2, 0), (5, 0.1), (20, 0.2), (1, 0.15)])
def test_saturate_is_that_of_scikit_image(factor, shift):
    hsv = rgb2hsv(PICTURE / 255.0)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + shift, 0, 1)
    expected = (np.clip(hsv2rgb(hsv), 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1)[None]
    assert np.array_equal(saturate(IMAGES, factor, shift).numpy(), expected)
    with torch_kernels():
        assert np.array_equal(saturate(IMAGES, factor, shift).numpy(), expected)


def test_factor_one_and_shift_zero_change_nothing():
    for out in (brightness(IMAGES, 0.0), contrast(IMAGES, 1.0), saturate(IMAGES, 1.0, 0.0)):
        assert int((out.int() - IMAGES.int()).abs().max()) <= 1


def test_no_saturation_leaves_the_largest_channel():
    assert torch.equal(saturate(IMAGES, 0.0, 0.0), IMAGES.amax(1, keepdim=True).expand_as(IMAGES))


def test_saturate_refuses_one_channel():
    with pytest.raises(InvalidImageError, match="3 channels"):
        saturate(IMAGES[:, :1], 2, 0)
