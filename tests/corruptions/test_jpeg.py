"""JPEG against Pillow, bit for bit."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.jpeg import jpeg_compression
from medrobust.exceptions import ConfigurationError

SIDES = [(28, 28), (29, 31), (33, 47), (64, 257), (224, 224), (1024, 28)]


def pictures(height, width):
    values = np.random.default_rng(height + width)
    noise = values.integers(0, 256, (height, width, 3), dtype=np.uint8)
    coarse = Image.fromarray(noise[: height // 6 + 1, : width // 6 + 1])
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return [noise, smooth, (noise > 127).astype(np.uint8) * np.uint8(255)]


def by_pillow(picture, quality):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("quality", [1, 7, 25, 50, 92, 100])
@pytest.mark.parametrize(("height", "width"), SIDES)
def test_jpeg_is_that_of_pillow(height, width, quality):
    for picture in pictures(height, width):
        images = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]
        out = jpeg_compression(images, quality)
        assert np.array_equal(out[0].numpy().transpose(1, 2, 0), by_pillow(picture, quality))
        with kernels_of("torch"):
            assert torch.equal(jpeg_compression(images, quality), out)


def test_one_channel_equals_three_equal_ones():
    images = torch.from_numpy(pictures(61, 45)[1][None, None, ..., 0].copy())
    grey, colour = jpeg_compression(images, 10), jpeg_compression(images.repeat(1, 3, 1, 1), 10)
    assert torch.equal(grey.expand(-1, 3, -1, -1), colour)


def test_a_constant_image_stays_constant():
    images = torch.full((1, 1, 40, 40), 131, dtype=torch.uint8)
    assert len(jpeg_compression(images, 10).unique()) == 1
    assert torch.equal(jpeg_compression(images, 100), images)


@pytest.mark.parametrize("quality", [0, 101, 7.5, True])
def test_a_quality_that_does_not_exist_is_refused(quality):
    with pytest.raises(ConfigurationError, match="Choose 1 to 100"):
        jpeg_compression(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), quality)
