"""Windows are cut from images that were corrupted whole, and equal Pillow's to the bit."""

import numpy as np
import pytest
import torch

from medrobust.base.lazy_rows import WindowRows, picked
from medrobust.corruptions import corrupt
from medrobust.datasets.windows import square_windows
from medrobust.engine.loader import ImageBatch
from medrobust.engine.windows import cut


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three images, the image of each of seven windows, and the windows."""
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (3, 50, 50, 3)).astype(np.uint8)
    rows = np.array([0, 0, 0, 1, 2, 2, 2])
    corners = np.sort(rng.uniform(0, 50, (7, 2, 2)), axis=1).reshape(7, 4)
    corners[4] = [0, 0, 50, 50]
    return images, rows, square_windows(corners, 50, 0.2)


def test_a_window_is_pillows_on_either_way(drawn: tuple) -> None:
    images, rows, windows = drawn
    lazy = np.asarray(WindowRows(picked(images, rows), windows)[:])
    batch = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).contiguous()
    np.testing.assert_array_equal(cut(batch, windows).permute(0, 2, 3, 1).numpy(), lazy)
    np.testing.assert_array_equal(lazy[4], images[2])


def test_a_corruption_acts_on_the_whole_image_whatever_the_windows(drawn: tuple) -> None:
    images, rows, windows = drawn
    batch = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).contiguous()
    index = torch.tensor([7, 7, 7, 3, 9, 9, 9])
    calls = []

    def corrupted(given: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        calls.append(len(given))
        return corrupt(given, "motion_blur", severity=5, suite="imagenet_c", seed=1, index=keys)

    read = ImageBatch(batch, index, torch.arange(7), windows)
    found = read.corrupted(corrupted)
    assert calls == [3]  # each image once
    np.testing.assert_array_equal(found, cut(corrupted(batch, index), windows))
    alone = ImageBatch(batch[5:6], index[5:6], torch.arange(1), windows[5:6])
    np.testing.assert_array_equal(alone.corrupted(corrupted)[0], found[5])
    whole = ImageBatch(batch, index, torch.arange(7))
    np.testing.assert_array_equal(whole.corrupted(corrupted), corrupted(batch, index))
    np.testing.assert_array_equal(read.seen, cut(batch, windows))
