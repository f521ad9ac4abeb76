"""A small finding erased or moved: nothing but its place changes, and global measures miss it."""

import numpy as np
import pytest
import torch

from medrobust.exceptions import ConfigurationError
from medrobust.quality import measure
from medrobust.quality.local_change import erase_blob, move_blob, standing_out


def pictures(channels: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:160, :200]
    drawn = []
    for row, column in ((60, 50), (110, 150)):
        finding = 70 * ((x - column) ** 2 + (y - row) ** 2 < 9**2)
        drawn.append(90 + x / 8 + finding + rng.normal(size=x.shape) * 3)
    planes = torch.from_numpy(np.array(drawn).clip(0, 255).astype(np.uint8))[:, None]
    return planes.expand(-1, channels, -1, -1).contiguous()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_finding_is_found_and_erased_and_the_rest_stays(channels: int) -> None:
    images = pictures(channels)
    places, radius = standing_out(images, 0.012)
    assert (places - torch.tensor([[60, 50], [110, 150]])).abs().max() <= 2
    erased = erase_blob(images, 0.012)
    changed = (erased != images).any(1)
    assert 0.004 < changed.float().mean() < 0.013
    for image, (row, column) in zip(erased, places.tolist(), strict=True):
        around = image[0, row - 20 : row + 20, column - 20 : column + 20].float()
        assert image[0, row - 4 : row + 5, column - 4 : column + 5].float().mean() == pytest.approx(
            around.median(), abs=6
        )
    assert radius == 11


def test_a_moved_finding_stands_on_the_other_side() -> None:
    images = pictures()
    moved = move_blob(images, 0.012)
    places, _ = standing_out(moved, 0.012)
    assert (places - torch.tensor([[60, 149], [110, 49]])).abs().max() <= 3
    assert moved.float().mean() == pytest.approx(images.float().mean().item(), abs=0.2)


def test_one_channel_and_three_equal_ones_are_changed_alike() -> None:
    assert torch.equal(erase_blob(pictures(3), 0.01)[:, :1], erase_blob(pictures(1), 0.01))


def test_measures_of_the_whole_image_hardly_see_it() -> None:
    images, names = pictures(), ["ssim", "noise_sigma", "brightness", "entropy"]
    before = measure(images, names, clean=images)
    for change in (erase_blob, move_blob):
        after = measure(change(images, 0.012), names, clean=images)
        assert after["ssim"].min() > 0.96
        for name in names[1:]:
            assert after[name].tolist() == pytest.approx(before[name].tolist(), rel=0.04)


def test_a_blob_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="take a smaller share"):
        erase_blob(pictures(), 0.3)
