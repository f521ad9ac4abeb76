"""Smoothing against scipy, scikit-image, torchvision and OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from skimage.filters import gaussian
from torchvision.transforms.v2.functional import gaussian_blur as torchvision_blur

from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.smoothing import defocus_blur, gaussian_blur, gaussian_blur_kernel

PICTURE = np.random.default_rng(3).integers(0, 256, (61, 83, 3), dtype=np.uint8)
PICTURE[20:40, 30:60] = 255
IMAGES = torch.from_numpy(PICTURE.transpose(2, 0, 1).copy())[None]


def assert_near(out, expected, exact):
    off = abs(out[0].permute(1, 2, 0).numpy().astype(int) - expected.astype(int))
    assert off.max() <= 1
    assert (off == 0).mean() >= exact


@pytest.mark.parametrize("sigma", [0.4, 0.9, 1.1, 3, 6])
def test_gaussian_blur_is_that_of_scikit_image_on_noise_ramps_and_flat_zones(sigma):
    picture = np.concatenate([PICTURE, PICTURE], 1)
    picture[:, 83:] = np.arange(40, 123)[:, None]
    picture[40:, 83:] = 170
    expected = gaussian(picture / 255.0, sigma, channel_axis=-1, mode="nearest", truncate=4)
    expected = (np.clip(expected, 0, 1) * 255).astype(np.uint8)
    images = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]
    assert_near(gaussian_blur(images, sigma), expected, 1)
    with kernels_of("torch"):
        assert_near(gaussian_blur(images, sigma), expected, 1)


@pytest.mark.parametrize("kernel", [3, 11, 25])
def test_gaussian_blur_kernel_is_that_of_torchvision(kernel):
    expected = torchvision_blur(IMAGES, [kernel, kernel])[0].permute(1, 2, 0).numpy()
    assert_near(gaussian_blur_kernel(IMAGES, kernel), expected, 0.999)


@pytest.mark.parametrize(
    ("radius", "alias"), [(0.5, 0.6), (1.5, 0.1), (2.5, 0.01), (4, 0.5), (8, 0.5), (9, 0.6)]
)
def test_defocus_blur_is_that_of_opencv(radius, alias):
    axis = np.arange(-8, 9) if radius <= 8 else np.arange(-radius, radius + 1)
    disk = np.float32(axis[:, None] ** 2 + axis[None] ** 2 <= radius**2)
    side = 3 if radius <= 8 else 5
    disk = cv2.GaussianBlur(disk / disk.sum(), (side, side), sigmaX=alias)
    planes = [cv2.filter2D(PICTURE[..., c] / 255.0, -1, disk) for c in range(3)]
    expected = (np.clip(np.stack(planes, -1), 0, 1) * 255).astype(np.uint8)
    assert_near(defocus_blur(IMAGES, radius, alias), expected, 0.94)


@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_constant_images_stay_as_they_are(level):
    images = torch.full((1, 1, 40, 33), level, dtype=torch.uint8)
    for out in (
        gaussian_blur(images, 6), gaussian_blur_kernel(images, 25), defocus_blur(images, 6, 0.5),
    ):  # fmt: skip
        assert torch.equal(out, images)


def test_no_blur_changes_nothing():
    assert torch.equal(gaussian_blur(IMAGES, 0.01), IMAGES)
    assert torch.equal(defocus_blur(IMAGES, 0.5, 0.01), IMAGES)
