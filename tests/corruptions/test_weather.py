"""Weather against numpy, scipy and OpenCV, and what it does to simple images."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from medrobust.corruptions import corrupt
from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.frost_textures import frost_textures
from medrobust.corruptions.weather import fog, frost, snow, spatter
from medrobust.exceptions import ConfigurationError, InvalidImageError

VALUES = np.random.default_rng(5)
IMAGES = torch.from_numpy(VALUES.integers(0, 256, (2, 3, 64, 64), dtype=np.uint8))


def test_snow_is_the_published_recipe():
    small = VALUES.normal(size=(2, 22, 22)).astype(np.float32)
    settings = {"mean": 0.2, "std": 0.3, "zoom": 3, "threshold": 0.5, "radius": 5, "sigma": 4}
    out = snow(
        IMAGES, **settings, mix=0.7, layer=torch.from_numpy(small), angle=torch.full((2,), -90.0)
    )
    for image, field, result in zip(IMAGES.numpy(), small, out.numpy(), strict=True):
        layer = zoom((0.2 + 0.3 * field)[..., None], (3, 3, 1), order=1)[..., 0]
        layer = np.where(layer < 0.5, 0, layer).clip(0, 1)
        weights = np.exp(-(np.arange(11) ** 2) / 32)
        weights /= weights.sum()
        rows = np.arange(66)[:, None] - np.ceil(np.arange(11) - 0.5).astype(int)
        smeared = (weights[:, None] * layer[rows.clip(0)]).sum(1)
        smeared = (np.round(smeared * 255) / 255)[:64, :64]
        x = image / 255.0
        grey = np.tensordot([0.299, 0.587, 0.114], x, 1)
        white = 0.7 * x + 0.3 * np.maximum(x, 1.5 * grey + 0.5)
        expected = ((white + smeared + smeared[::-1, ::-1]).clip(0, 1) * 255).astype(np.uint8)
        off = abs(result - expected.astype(int))
        assert (off <= 1).mean() > 0.999
        assert (off == 0).mean() > 0.9


def plasma(side, decay, uniform):
    """Diamond-square as published, with the draws in the order that `fog` states."""
    grid, step, wibble = np.zeros((side, side)), side, 100.0

    def wave(total, number, points):
        first = points * points - 1 + number * points * points
        noise = uniform[first : first + points * points].reshape(points, points)
        return total / 4 + wibble * (2 * wibble * noise - wibble)

    while step >= 2:
        half, points = step // 2, side // step
        corner = grid[::step, ::step]
        total = corner + np.roll(corner, -1, 0)
        grid[half::step, half::step] = wave(total + np.roll(total, -1, 1), 0, points)
        middle = grid[half::step, half::step]
        beside = middle + np.roll(middle, 1, 0) + corner + np.roll(corner, -1, 1)
        below = middle + np.roll(middle, 1, 1) + corner + np.roll(corner, -1, 0)
        grid[::step, half::step] = wave(beside, 1, points)
        grid[half::step, ::step] = wave(below, 2, points)
        step //= 2
        wibble /= decay
    grid -= grid.min()
    return grid / grid.max()


def test_fog_is_the_published_recipe():
    uniform = VALUES.random((2, 64 * 64))
    out = fog(IMAGES, 2.5, 1.7, uniform=torch.from_numpy(uniform)).numpy()
    for image, draws, result in zip(IMAGES.numpy(), uniform, out, strict=True):
        x = image / 255.0
        hazy = (x + 2.5 * plasma(64, 1.7, draws)) * x.max() / (x.max() + 2.5)
        expected = (hazy.clip(0, 1) * 255).astype(np.uint8)
        off = abs(result - expected.astype(int))
        assert off.max() <= 1
        assert (off == 0).mean() > 0.99


def test_spatter_of_mud_is_the_published_recipe():
    field = VALUES.normal(size=(2, 64, 64)).astype(np.float32)
    layer = torch.from_numpy(field)
    out = spatter(IMAGES, 0.65, 0.3, 1, 0.65, 1.5, "mud", layer=layer).numpy()
    for image, draws, result in zip(IMAGES.numpy(), field, out, strict=True):
        smooth = gaussian_filter(0.65 + 0.3 * draws.astype(float), 1, mode="nearest")
        mask = gaussian_filter((smooth > 0.65).astype(float), 1.5, mode="nearest")
        mask[mask < 0.8] = 0
        mud = np.array([63, 42, 20])[:, None, None] / 255
        expected = ((image / 255 * (1 - mask) + mud * mask).clip(0, 1) * 255).astype(np.uint8)
        off = abs(result - expected.astype(int))
        assert (off <= 1).mean() > 0.999


def test_spatter_of_water_is_the_published_recipe():
    field = VALUES.normal(size=(1, 64, 64)).astype(np.float32)
    settings = (0.65, 0.3, 2, 0.68, 0.5)
    out = spatter(IMAGES[:1], *settings, "water", layer=torch.from_numpy(field)).numpy()[0]
    layer = gaussian_filter(0.65 + 0.3 * field[0].astype(float), 2, mode="nearest")
    layer[layer < 0.68] = 0
    layer = (layer * 255).astype(np.uint8)
    relief = cv2.distanceTransform(255 - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5)
    relief = cv2.blur(np.minimum(relief, 20), (3, 3)).astype(np.uint8)
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    relief = cv2.filter2D(cv2.equalizeHist(relief), cv2.CV_8U, emboss)
    mask = layer * cv2.blur(relief, (3, 3)).astype(float)
    mask *= 0.5 / mask.max()
    water = np.array([175, 238, 238])[:, None, None] / 255
    expected = ((IMAGES[0].numpy() / 255 + mask * water).clip(0, 1) * 255).astype(np.uint8)
    off = abs(out - expected.astype(int))
    assert (off <= 1).mean() > 0.999


def test_frost_is_a_weighted_sum_with_a_crop():
    first = torch.tensor([7, 0]), torch.tensor([9, 30]), torch.tensor([1, 4])
    out = frost(IMAGES, 0.8, 0.6, texture=first[2], top=first[0], left=first[1]).numpy()
    for n, (y, x, t) in enumerate(zip(*(f.tolist() for f in first), strict=True)):
        crop = frost_textures(64, 1.1)[t][:, y : y + 64, x : x + 64]
        total = 0.8 * IMAGES[n].numpy() + 0.6 * crop
        assert np.array_equal(out[n], total.clip(0, 255).astype(np.uint8))


def test_frost_of_ones_own_pictures(tmp_path):
    Image.new("RGB", (300, 200), (10, 200, 30)).save(tmp_path / "green.png")
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        f"corruptions:\n  frost: {{image_weight: 0, frost_weight: 1, textures: {tmp_path}}}\n"
    )
    out = corrupt(IMAGES, "frost", severity=1, suite=str(suite))
    assert out.amax((0, 2, 3)).tolist() == out.amin((0, 2, 3)).tolist() == [10, 200, 30]
    with kernels_of("torch"):
        assert torch.equal(corrupt(IMAGES, "frost", severity=1, suite=str(suite)), out)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no PNG"):
        frost_textures(64, 1.1, str(tmp_path))


def test_textures_fit_the_largest_images():
    assert min(min(t.shape[1:]) for t in frost_textures(1024, 1.1)) > 1024


@pytest.mark.parametrize("name", ["frost", "spatter"])
def test_colored_weather_refuses_one_channel(name):
    draws = {"frost": {"texture": None, "top": None, "left": None}, "spatter": {"layer": None}}
    settings = {"frost": (1, 0.4), "spatter": (0.65, 0.3, 4, 0.69, 0.6, "water")}
    kernel = {"frost": frost, "spatter": spatter}[name]
    with pytest.raises(InvalidImageError, match="3 channels"):
        kernel(IMAGES[:, :1], *settings[name], **draws[name])


def test_a_black_image_stays_black_in_fog():
    black = torch.zeros(1, 1, 40, 40, dtype=torch.uint8)
    assert torch.equal(corrupt(black, "fog", severity=5), black)
