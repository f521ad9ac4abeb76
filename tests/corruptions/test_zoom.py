"""`zoom_blur` against the published arithmetic: scipy's zoom, factors of `numpy.arange`."""

from math import ceil

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from medrobust.corruptions import Corruption, corrupt
from medrobust.corruptions.blur import zoom_blur, zoom_unchanged
from medrobust.corruptions.dispatch import kernels_of
from medrobust.corruptions.suites import find_entry

FACTORS = [
    np.arange(1, 1.11, 0.01),
    np.arange(1, 1.16, 0.01),
    np.arange(1, 1.21, 0.02),
    np.arange(1, 1.26, 0.02),
    np.arange(1, 1.31, 0.03),
]
"""Of severities 1 to 5, as the generator of ImageNet-C writes them."""
EVEN = {"count": 16, "step": 0.01, "spacing": "even"}


def by_scipy(plane, factors, trim="corner"):
    """Average a (H, W) plane with its magnifications, then clip and truncate."""
    shape = plane.shape
    total = np.zeros(shape, np.float32)
    for factor in factors:
        crop = [ceil(side / float(factor)) for side in shape]
        first = [(side - inner) // 2 for side, inner in zip(shape, crop, strict=True)]
        inner = plane[first[0] : first[0] + crop[0], first[1] : first[1] + crop[1]]
        large = zoom(inner[..., None], (factor, factor, 1), order=1)[..., 0]
        cut = [(big - side) // 2 for big, side in zip(large.shape, shape, strict=True)]
        cut = cut if trim == "centre" else [0, 0]
        total += large[cut[0] : cut[0] + shape[0], cut[1] : cut[1] + shape[1]]
    mean = (plane + total) / (len(factors) + 1)
    return np.clip(mean * 255, 0, 255).astype(np.uint8)


@pytest.mark.every_nth(7)
@pytest.mark.parametrize("route", ["numba", "torch"])
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(28, 28), (36, 71), (64, 57), (78, 136), (128, 224), (224, 448)])
@pytest.mark.parametrize("suite", ["imagenet_c", "imagenet_c_original"])
def test_the_published_code_gives_these_pixels_at_every_size(suite, shape, severity, route) -> None:
    plane = np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)
    images = torch.from_numpy(plane)[None, None].expand(1, 3, *shape).contiguous()
    trim = "centre" if suite == "imagenet_c_original" else "corner"
    wanted = by_scipy((plane / 255).astype(np.float32), FACTORS[severity - 1], trim)
    with kernels_of(route):
        found = corrupt(images, "zoom_blur", severity=severity, suite=suite)
    apart = np.abs(found[0].numpy().astype(int) - wanted)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.002  # truncation at a level, float32 in another order


def test_even_factors_are_another_picture_where_the_published_ones_drift() -> None:
    image = torch.randint(0, 256, (1, 1, 448, 448), generator=torch.Generator().manual_seed(0))
    image = image.to(torch.uint8)
    published = zoom_blur(image, 16, 0.01)
    assert (published != zoom_blur(image, **EVEN)).double().mean() > 0.3
    small = image[..., :224, :224]
    assert torch.equal(zoom_blur(small, 16, 0.01), zoom_blur(small, **EVEN))


def test_a_row_that_the_published_code_loses_is_darker_and_the_even_form_keeps_it() -> None:
    white = torch.full((1, 1, 36, 36), 255, dtype=torch.uint8)
    published = corrupt(white, "zoom_blur", severity=3)[0, 0]
    assert published[-1, 0] < 255
    assert published[:-1, :-1].min() == 255
    assert zoom_blur(white, 11, 0.02, spacing="even").min() == 255


def test_cells_keep_their_version_where_no_pixel_changed() -> None:
    column = Corruption("zoom_blur", "imagenet_c")
    assert column.identity(2)["version"] == 1  # at 224 pixels
    assert column.identity(2, (448, 448))["version"] == 2
    assert zoom_unchanged((224, 224), 16, 0.01)
    assert not zoom_unchanged((224, 448), 16, 0.01)


@pytest.mark.parametrize("suite", ["imagenet_c_32", "imagenet_c_64"])
def test_the_small_suites_have_as_many_factors_as_the_published_ranges(suite) -> None:
    ends = (1.06, 1.11, 1.16, 1.21, 1.26)
    entry = find_entry(suite, "zoom_blur")
    counts = [entry.parameters(severity)["count"] for severity in (1, 2, 3, 4, 5)]
    assert counts == [len(np.arange(1, end, 0.01)) for end in ends]
