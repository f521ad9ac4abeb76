"""Masks move with the pixels of their images, and stay where a corruption moves none."""

import numpy as np
import pytest
import torch

from medrobust.corruptions import corrupt, suites
from medrobust.corruptions.config import Corruption
from medrobust.corruptions.kernels import KERNELS
from medrobust.corruptions.masks import moved_classes, moves_pixels
from medrobust.corruptions.suites import find_entry

SIZE = 96
NAMES = sorted(suites("imagenet_c"))
MOVES = {name for name in NAMES if KERNELS[find_entry("imagenet_c", name).kernel].moves}
KEY = {"seed": 3, "stream": "toy/test"}
INDEX = np.array([4, 9, 2])


def lesions() -> np.ndarray:
    """Discs and a bar, none in the last image."""
    y, x = np.mgrid[:SIZE, :SIZE]
    masks = np.zeros((3, SIZE, SIZE), np.uint8)
    masks[0, (y - 30) ** 2 + (x - 60) ** 2 < 14**2] = 1
    masks[1, 50:75, 20:80] = 1
    return masks


def painted(masks: np.ndarray, inside: int = 220, outside: int = 40) -> torch.Tensor:
    grey = np.where(masks > 0, inside, outside).astype(np.uint8)
    return torch.from_numpy(np.repeat(grey[:, None], 3, axis=1))


def moved(name: str, severity: int = 5, masks: np.ndarray | None = None) -> np.ndarray:
    given = lesions() if masks is None else masks
    return moved_classes(given, Corruption(name), severity=severity, index=INDEX, **KEY)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", sorted(MOVES))
def test_a_mask_lies_where_the_corrupted_image_shows_the_lesion(name: str, severity: int) -> None:
    """Of a lesion of one grey on a ground of another, half way between them is its border."""
    index = torch.from_numpy(INDEX)
    out = corrupt(painted(lesions()), name, severity=severity, index=index, **KEY)
    seen = (out.numpy()[:, 0] >= 130).astype(np.uint8)
    found = moved(name, severity)
    assert overlap(found, seen) > 0.97
    assert found[:2].any(axis=(1, 2)).all()
    assert not found[2].any()


def test_masks_that_stayed_would_miss_what_has_moved() -> None:
    for name in ("elastic_transform", "motion_blur", "zoom_blur"):
        assert overlap(moved(name), lesions()) < 0.93


def test_the_suite_moves_pixels_by_four_of_its_corruptions() -> None:
    assert {"elastic_transform", "glass_blur", "motion_blur", "zoom_blur"} == MOVES
    for name in set(NAMES) - MOVES:
        assert not moves_pixels(Corruption(name), 5)
        np.testing.assert_array_equal(moved(name), lesions())


OF_WHOLE = {"saturate", "snow", "frost", "fog", "contrast", "jpeg_compression"}
"""They change the image as a whole, or flatten it until little of a lesion is left to weigh."""


@pytest.mark.parametrize("name", sorted(set(NAMES) - MOVES - OF_WHOLE))
def test_corruptions_that_are_said_to_move_nothing_leave_a_lesion_where_it_lies(name: str) -> None:
    """What a lesion changes in the corrupted image has its middle where the lesion has its own."""
    masks, index = lesions()[:2], torch.from_numpy(INDEX[:2])
    with_it, without = (
        corrupt(one, name, severity=5, index=index, **KEY).numpy().astype(float).mean(axis=1)
        for one in (painted(masks, 150, 100), painted(0 * masks, 150, 100))
    )
    y, x = np.mgrid[:SIZE, :SIZE]
    for mask, changed in zip(masks, np.abs(with_it - without), strict=True):
        weight = np.where(changed > 0.5 * changed.max(), changed, 0)
        for place in (y, x):
            middle = (place * weight).sum() / weight.sum()
            assert abs(middle - place[mask > 0].mean()) < 1.5


def test_the_key_decides_where_a_mask_goes_and_nothing_else_does() -> None:
    masks = lesions()
    whole = moved("elastic_transform")
    column = Corruption("elastic_transform")
    part = moved_classes(masks[[1]], column, severity=5, index=INDEX[[1]], **KEY)
    np.testing.assert_array_equal(part[0], whole[1])
    other = moved_classes(masks, column, severity=5, seed=4, stream="toy/test", index=INDEX)
    assert (other != whole).any()


def test_clean_masks_stay_and_a_class_moves_alike_whatever_its_number() -> None:
    masks = lesions() * 255
    clean = moved_classes(masks, None, severity=0, index=INDEX, **KEY)
    np.testing.assert_array_equal(clean, masks)
    np.testing.assert_array_equal(
        moved("elastic_transform", masks=masks), 255 * moved("elastic_transform")
    )
    assert moves_pixels(Corruption("clean"), 0) is False


def coordinates() -> np.ndarray:
    """Two images whose grey is twice the column, and twice the row, of each pixel."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.stack([2 * x, 2 * y]).astype(np.uint8)[:, None]


@pytest.mark.parametrize("name", ["elastic_transform", "zoom_blur"])
def test_a_mask_follows_an_image_of_coordinates(name: str) -> None:
    """Each pixel of the corrupted images says where it was: a mask of halves lies there, too."""
    for severity in (1, 3, 5):
        index = np.array([7, 7])  # one displacement for both
        given = {"severity": severity, "index": torch.from_numpy(index), **KEY}
        moved_to = corrupt(torch.from_numpy(coordinates()), name, **given).numpy()[:, 0] / 2
        halves = np.stack([moved_to[0] >= 40, moved_to[1] >= 40])
        masks = (coordinates()[:, 0] >= 80).astype(np.uint8)
        found = moved_classes(masks, Corruption(name), severity=severity, index=index, **KEY)
        for own, wanted, away in zip(found, halves, moved_to, strict=True):
            far = np.abs(away - 40) > (1 if name == "elastic_transform" else 8)  # of the border
            np.testing.assert_array_equal(own[far] > 0, wanted[far])


def test_classes_move_together_and_one_class_as_a_lesion_does() -> None:
    classes = lesions() * np.array([2, 3, 1], np.uint8)[:, None, None]
    classes[0, 50:75, 20:80] = 1
    for name in MOVES:
        given = {"severity": 5, "index": INDEX, **KEY}
        found = moved_classes(classes, Corruption(name), **given)
        np.testing.assert_array_equal(found[1] > 0, moved(name)[1] > 0)
        assert set(np.unique(found[0])) == {0, 1, 2}
        apart = moved_classes((classes == 2).astype(np.uint8), Corruption(name), **given)
        assert overlap((found == 2)[0], apart[0] > 0) > 0.95
