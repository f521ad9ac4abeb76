"""Corruptions of a region: nothing else changes, and masks are what they say."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from medrobust.corruptions import Corruption, Suite
from medrobust.corruptions.config import GivenMasks
from medrobust.corruptions.masks import moved_classes
from medrobust.corruptions.regions import otsu, region_masks
from medrobust.exceptions import ConfigurationError

INDEX = torch.arange(3)


def bodies(channels: int = 3) -> torch.Tensor:
    """Bright blobs of smooth grey levels on a dark ground."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randint(20, 90, (3, channels, 5, 5), generator=generator).float()
    images = functional.interpolate(coarse, (64, 64), mode="bicubic")
    images[:, :, 16:48, 12:52] += 110
    return images.clamp(0, 255).to(torch.uint8)


def disc_image(radius: int = 28, cut: int = 0) -> torch.Tensor:
    """A grey disc in the middle of black 64 x 64 pixels, rows above and below cut off."""
    row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    inside = (row - 31.5) ** 2 + (column - 31.5) ** 2 <= radius**2
    inside[:cut] = inside[64 - cut :] = False
    return (inside * 120).to(torch.uint8)[None, None].repeat(3, 3, 1, 1)


@pytest.mark.parametrize("name", ["gaussian_noise", "zoom_blur", "contrast", "pixelate"])
@pytest.mark.parametrize("of", ["foreground", "disc"])
@pytest.mark.parametrize("channels", [1, 3])
def test_only_pixels_of_the_region_change_and_they_as_in_the_whole(
    name: str, of: str, channels: int
) -> None:
    images = bodies(channels)
    (whole,) = Corruption(name).expand(None)
    corrupted = whole(images, severity=4, index=INDEX)
    mask = region_masks(images, of).expand(-1, channels, -1, -1)
    assert 0.05 < mask.float().mean() < 0.95
    for region, changed in (("mask", mask), ("outside", ~mask)):
        (part,) = Corruption(name, region=region, region_of=of).expand(None)  # type: ignore[arg-type]
        found = part(images, severity=4, index=INDEX)
        assert torch.equal(found[changed], corrupted[changed])
        assert torch.equal(found[~changed], images[~changed])
        assert not torch.equal(found, images)


def test_the_threshold_is_that_of_opencv() -> None:
    generator = np.random.default_rng(0)
    for number in range(20):
        grey = generator.integers(0, 60 + 9 * number, (40, 50)).clip(0, 255).astype(np.uint8)
        grey[5:20, 5:30] = (grey[5:20, 5:30] // 3 + 150).clip(0, 255)
        expected, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
        assert otsu(torch.from_numpy(grey)[None]).item() == int(expected)


def test_the_foreground_is_what_the_border_is_not_bright_or_dark() -> None:
    body = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    body[..., 16:48, 12:52] = True
    images = bodies()
    assert torch.equal(region_masks(images, "foreground"), body.expand(3, -1, -1, -1))
    assert torch.equal(region_masks(255 - images, "foreground"), body.expand(3, -1, -1, -1))
    level = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)
    assert region_masks(level, "foreground").all()


@pytest.mark.parametrize("cut", [0, 10])
def test_the_disc_is_the_whole_circle_even_where_it_is_cut_off(cut: int) -> None:
    found = region_masks(disc_image(28, cut), "disc")[0, 0]
    whole = disc_image(28)[0, 0] > 0
    assert (found ^ whole).float().mean() < 0.01
    noisy = disc_image(28, cut)
    noisy[..., 2, 2] = 255  # a letter or a speck outside does not widen it
    assert torch.equal(region_masks(noisy, "disc")[0, 0], found)
    assert not region_masks(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "disc").any()


def test_the_identity_and_the_suite_name_the_region_and_are_as_before_without_one() -> None:
    (plain,) = Corruption("fog").expand(None)
    (inside,) = Corruption("fog", region="mask", region_of="disc").expand(None)
    (again,) = inside.expand(None)
    assert (plain.suite, inside.suite) == ("imagenet_c", "imagenet_c@inside_disc")
    assert again == inside
    assert "region" not in plain.identity(3)
    assert inside.identity(3) == plain.identity(3) | {"region": ["mask", "disc"]}
    columns = Suite("medimeta_c", region="outside").expand(None)
    assert {column.suite for column in columns} == {"medimeta_c@outside_foreground"}
    registry = Suite("medmnist_c", region="outside").expand("bloodmnist")
    assert {column.suite for column in registry} == {"bloodmnist@outside_foreground"}
    assert registry[0].random(3) == registry[0].random(3)


def test_given_masks_are_read_by_index_and_are_part_of_the_identity() -> None:
    images = bodies()
    masks = torch.zeros(9, 1, 64, 64, dtype=torch.bool)
    masks[[2, 5, 7], :, 10:20] = True
    (column,) = Corruption("contrast", region="mask", region_of="masks").expand(None)
    with pytest.raises(ConfigurationError, match="region_of=masks takes masks of the data set"):
        column(images, severity=3, index=INDEX)
    given = column.with_masks(GivenMasks("abc", lambda index: masks[index]))
    found = given(images, severity=3, index=torch.tensor([2, 5, 7]))
    changed = (found != images).any(dim=1).any(dim=0)
    assert changed[10:20].any()
    assert not changed[:10].any()
    assert not changed[20:].any()
    assert given.identity(3)["region"] == ["mask", "masks", "abc"]


def test_what_cannot_be_is_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match=r"corruption\.region='inside' is none of"):
        Corruption("fog", region="inside")  # type: ignore[arg-type]
    (moving,) = Corruption("zoom_blur", region="mask", region_of="disc").expand(None)
    some: Any = np.ones((1, 64, 64), np.uint8)
    with pytest.raises(ConfigurationError, match="takes its masks along in part"):
        moved_classes(some, moving, severity=3, seed=0, stream="", index=np.arange(1))


def test_grey_images_kept_in_color_keep_their_clean_pixels() -> None:
    images = bodies(1)
    (column,) = Corruption("saturate", grey="rgb", region="mask").expand(None)
    found = column(images, severity=5, index=INDEX)
    outside = ~region_masks(images, "foreground").expand(-1, 3, -1, -1)
    assert found.shape == (3, 3, 64, 64)
    assert torch.equal(found[outside], images.expand(-1, 3, -1, -1)[outside])
