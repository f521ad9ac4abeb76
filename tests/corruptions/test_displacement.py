"""Kernels that move pixels, against loops and scipy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from medrobust.corruptions import corrupt
from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.displacement import (
    elastic_transform,
    elastic_transform_affine,
    glass_blur,
)
from medrobust.corruptions.smoothing import gaussian_blur

VALUES = np.random.default_rng(4)
IMAGES = torch.from_numpy(VALUES.integers(0, 256, (2, 3, 36, 41), dtype=np.uint8))
WORDS = torch.from_numpy(VALUES.integers(0, 2**32, (2, 2, 36, 41)))


@pytest.mark.parametrize("swap", [False, True])
def test_glass_blur_takes_neighbours_from_the_last_pixel_to_the_first(swap):
    delta, (height, width) = 2, IMAGES.shape[2:]
    expected = gaussian_blur(IMAGES, 0.6).numpy().copy()
    for image, words in zip(expected, WORDS.numpy(), strict=True):
        for plane in words:
            for y in range(height - delta, delta, -1):
                for x in range(width - delta, delta, -1):
                    dx, dy = (plane[y, x] >> np.array([0, 16]) & 65535) * 2 * delta // 65536 - delta
                    own, other = image[:, y, x].copy(), image[:, y + dy, x + dx].copy()
                    image[:, y, x] = other
                    if swap:
                        image[:, y + dy, x + dx] = own
    expected = gaussian_blur(torch.from_numpy(expected), 0.6)
    assert torch.equal(glass_blur(IMAGES, 0.6, delta, 2, swap, words=WORDS), expected)


def test_keyed_glass_draws_are_those_of_both_paths_when_pixels_are_swapped(tmp_path):
    suite = tmp_path / "swap.yaml"
    suite.write_text(
        "corruptions:\n  glass_blur: {sigma: 0.5, delta: 2, iterations: 2, swap: true}\n"
    )
    native = corrupt(IMAGES, "glass_blur", severity=1, suite=str(suite))
    with kernels_of("torch"):
        assert torch.equal(corrupt(IMAGES, "glass_blur", severity=1, suite=str(suite)), native)


def by_scipy(image, moves):
    y, x = np.mgrid[: image.shape[1], : image.shape[2]]
    planes = [
        map_coordinates(plane.astype(float), [y + moves[1], x + moves[0]], order=1, mode="reflect")
        for plane in image
    ]
    return np.stack(planes)


def uniform(words):
    return np.stack([2 * (words & 65535) - 65535.0, 2 * (words >> 16) - 65535.0]) / 65536


def test_elastic_transform_is_that_of_scipy():
    words = WORDS[:, 0]
    out = elastic_transform(IMAGES, 0.12, words=words).numpy()
    for image, word, result in zip(IMAGES.numpy(), words.numpy(), out, strict=True):
        raw = uniform(word) * 0.005 * 36
        smooth = [gaussian_filter(f, (0.36, 0.41), mode="reflect", truncate=3) for f in raw]
        expected = by_scipy(image, 30 * np.array(smooth))
        assert abs(result - expected.astype(np.uint8).astype(int)).max() <= 1
        assert (result == expected.astype(np.uint8)).mean() > 0.99


def test_affine_elastic_without_a_field_moves_the_corners():
    """Moving all three corners by (2, -1) shifts the image by as much."""
    still = torch.full((2, 36, 41), (32768 << 16) + 32768)
    corners = torch.tensor([[0.9, 0.3] * 3]).expand(2, -1).double()
    out = elastic_transform_affine(IMAGES, 0.0, 2.0, 2.5, words=still, corners=corners)
    inside = out[:, :, 4:30, 4:36].int() - IMAGES[:, :, 5:31, 2:34].int()
    assert int(inside.abs().max()) <= 1


def test_affine_elastic_field_is_that_of_scipy():
    words, middle = WORDS[:, 0], torch.full((2, 6), 0.5, dtype=torch.float64)
    out = elastic_transform_affine(IMAGES, 12.2, 2.44, 4.88, words=words, corners=middle).numpy()
    for image, word, result in zip(IMAGES.numpy(), words.numpy(), out, strict=True):
        smooth = [gaussian_filter(f, 2.44, mode="reflect", truncate=3) for f in uniform(word)]
        expected = by_scipy(image, 12.2 * np.array(smooth)).astype(np.uint8)
        assert (abs(result - expected.astype(int)) <= 1).mean() > 0.999


@pytest.mark.parametrize("level", [0, 77, 255])
def test_constant_images_stay_as_they_are(level):
    images = torch.full((1, 1, 40, 33), level, dtype=torch.uint8)
    for name in ("glass_blur", "elastic_transform"):
        assert torch.equal(corrupt(images, name, severity=5), images)
