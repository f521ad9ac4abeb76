"""Photometric kernels against scikit-image and by hand."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from skimage.color import hsv2rgb, rgb2hsv

from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.photometric import (
    brightness,
    brightness_factor,
    contrast,
    contrast_factor,
    gamma_correction,
    hue,
    saturate,
)
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
    with kernels_of("torch"):
        assert np.array_equal(saturate(IMAGES, factor, shift).numpy(), expected)


def test_factor_one_and_shift_zero_change_nothing():
    for out in (brightness(IMAGES, 0.0), contrast(IMAGES, 1.0), saturate(IMAGES, 1.0, 0.0)):
        assert int((out.int() - IMAGES.int()).abs().max()) <= 1


def test_no_saturation_leaves_the_largest_channel():
    assert torch.equal(saturate(IMAGES, 0.0, 0.0), IMAGES.amax(1, keepdim=True).expand_as(IMAGES))


def test_saturate_refuses_one_channel():
    with pytest.raises(InvalidImageError, match="3 channels"):
        saturate(IMAGES[:, :1], 2, 0)


@pytest.mark.parametrize("factor", [0.15, 0.5, 0.85, 1.0, 1.25, 2])
@pytest.mark.parametrize("picture", [PICTURE, PICTURE[..., 0]], ids=["rgb", "grey"])
def test_factors_are_those_of_pillow(picture, factor):
    images = torch.from_numpy(picture.reshape(90, 61, -1).transpose(2, 0, 1).copy())[None]
    for kernel, enhance in (
        (brightness_factor, ImageEnhance.Brightness),
        (contrast_factor, ImageEnhance.Contrast),
    ):
        expected = np.asarray(enhance(Image.fromarray(picture)).enhance(factor))
        expected = expected.reshape(90, 61, -1).transpose(2, 0, 1)[None]
        assert np.array_equal(kernel(images, factor).numpy(), expected)
        with kernels_of("torch"):
            assert np.array_equal(kernel(images, factor).numpy(), expected)


def test_gamma_is_a_power_and_one_changes_nothing():
    assert torch.equal(gamma_correction(IMAGES, 1.0), IMAGES)
    expected = (255.999 * (PICTURE / 255.0) ** 1.6).astype(np.uint8).transpose(2, 0, 1)[None]
    assert np.array_equal(gamma_correction(IMAGES, 1.6).numpy(), expected)
    with kernels_of("torch"):
        assert np.array_equal(gamma_correction(IMAGES, 1.6).numpy(), expected)


def test_hue_is_turned_as_colorsys_turns_it():
    values = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    images = torch.from_numpy(values.transpose(2, 0, 1).copy())[None]
    for shift in (0.02, 0.1, 0.7):
        found = hue(images, shift)[0].numpy().transpose(1, 2, 0)
        turned = [colorsys.rgb_to_hsv(*pixel) for pixel in values.reshape(-1, 3) / 255]
        expected = [colorsys.hsv_to_rgb((h + shift) % 1, s, v) for h, s, v in turned]
        apart = 255 * np.array(expected).reshape(values.shape) - found
        assert apart.min() > -1e-6
        assert apart.max() < 1
    grey = torch.full((1, 3, 28, 28), 77, dtype=torch.uint8)
    assert torch.equal(hue(grey, 0.3), grey)
