"""NIQE against clean images of a site: fits, distances, and what is refused."""

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import gennorm

from medrobust.exceptions import ConfigurationError, InvalidImageError
from medrobust.quality import measure
from medrobust.quality.niqe import (
    SMALLEST,
    asymmetric_fit,
    fit_site,
    niqe,
    patch_statistics,
)


def pictures(seed: int, count: int, size: int = 176) -> torch.Tensor:
    """Draw textured discs on gradients, float32 (N, H, W) of whole numbers."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    drawn = []
    for _ in range(count):
        cx, cy, r = *rng.uniform(size / 3, 2 * size / 3, 2), rng.uniform(20, 45)
        texture = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), 1.2) * 25
        plane = 70 + x * 0.3 + 60 * (np.hypot(x - cx, y - cy) < r) + texture
        drawn.append((plane + rng.normal(size=plane.shape) * 2).clip(0, 255))
    return torch.from_numpy(np.array(drawn)).round().float()


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0, 4.0])
def test_the_fit_finds_shape_and_scale_of_drawn_numbers(shape: float) -> None:
    values = gennorm.rvs(shape, scale=3.0, size=(1, 1_000_000), random_state=0)
    found, left, right = asymmetric_fit(values)
    assert found == pytest.approx([shape], rel=0.03)
    assert left == pytest.approx([3.0], rel=0.03)
    assert right == pytest.approx([3.0], rel=0.03)


def test_the_fit_tells_both_sides_apart() -> None:
    rng = np.random.default_rng(0)
    halves = np.abs(rng.normal(size=(1, 400_000)))
    values = np.where(rng.random(halves.shape) < 1 / 3, -1.0 * halves, 2.0 * halves)
    shape, left, right = asymmetric_fit(values)  # sides weigh as their widths: 1 and 2
    assert shape == pytest.approx([2.0], rel=0.03)
    assert right / left == pytest.approx([2.0], rel=0.02)
    assert left == pytest.approx([np.sqrt(2)], rel=0.03)


def test_clean_images_of_the_site_are_near_and_noise_and_blur_far() -> None:
    site, clean = fit_site(pictures(0, 24)), pictures(1, 8)
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=tuple(clean.shape)))
    noisy = (clean + 20 * noise).clamp(0, 255).round().float()
    blurred = torch.from_numpy(
        np.stack([cv2.GaussianBlur(plane, (0, 0), 3) for plane in clean.numpy()])
    )
    near, *far = (niqe(planes, site) for planes in (clean, noisy, blurred))
    assert near.shape == (8,)
    for planes in far:
        assert planes.min() > near.max()


def test_a_measured_image_does_not_depend_on_the_others_and_statistics_are_36() -> None:
    planes, site = pictures(1, 3), fit_site(pictures(0, 24))
    assert patch_statistics(planes)[0].shape[2] == 36
    images = planes.to(torch.uint8)[:, None]
    together = measure(images, ["niqe"], site=site)["niqe"]
    alone = [measure(images[k : k + 1], ["niqe"], site=site)["niqe"].item() for k in range(3)]
    assert together.tolist() == pytest.approx(alone, rel=1e-9)
    assert niqe(planes, site).tolist() == pytest.approx(alone, rel=1e-9)


def test_the_smallest_images_and_odd_ones_have_a_value() -> None:
    site = fit_site(pictures(0, 24))
    for size in (SMALLEST, SMALLEST + 1, 133, 177):
        assert niqe(pictures(3, 1, size), site).isfinite().all()


def test_what_cannot_be_measured_is_refused() -> None:
    images = pictures(1, 1).to(torch.uint8)[:, None]
    with pytest.raises(ConfigurationError, match="against clean images of the site"):
        measure(images, ["niqe"])
    with pytest.raises(InvalidImageError, match="take more images, or leave niqe out"):
        fit_site(pictures(1, 2))
    with pytest.raises(InvalidImageError, match=f"at least {SMALLEST} pixels"):
        measure(images[..., :60, :60], ["niqe"], site=fit_site(pictures(0, 24)))
