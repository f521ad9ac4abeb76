"""Boxes and points are drawn by masks, and moved by a share of the box that is stated."""

import numpy as np
import pytest

from medrobust.tasks.segmentation.segmenters.boxes import (
    SHARES,
    BoxProtocol,
    PromptMove,
    boxes_of,
    overlap_of_boxes,
    points_of,
    prompts_of,
)


def drawn(count: int = 6) -> np.ndarray:
    masks = np.zeros((count, 100, 80), np.uint8)
    for row in range(count - 1):
        masks[row, 40 + row : 60, 30 + row : 50] = 1
    return masks  # the last one shows nothing


@pytest.mark.parametrize("level", [1, 5])
def test_a_shifted_box_keeps_its_size_and_is_as_far_as_is_stated(level: int) -> None:
    masks, share = drawn(), SHARES[level - 1]
    boxes = boxes_of(masks, 2, BoxProtocol())[:5, 0]
    found = prompts_of(masks, 2, BoxProtocol(move=PromptMove("shift", level)))
    moved, sides = found.places[:5, 0], boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(moved[:, 2:] - moved[:, :2], sides, atol=1e-6)
    steps = (moved - boxes)[:, :2] / sides
    np.testing.assert_allclose(np.hypot(*steps.T), share, rtol=1e-4)
    both = (1 - np.abs(steps)).prod(axis=1)
    np.testing.assert_allclose(found.kept[:5, 0], both / (2 - both), rtol=1e-4)
    assert np.isnan(found.places[5]).all()
    assert np.isnan(found.kept[5]).all()


def test_every_mask_moves_in_its_own_direction_the_same_at_all_severities() -> None:
    masks = drawn()
    boxes = boxes_of(masks, 2, BoxProtocol())[:5, 0]
    steps = [
        prompts_of(masks, 2, BoxProtocol(move=PromptMove("shift", level))).places[:5, 0, :2]
        - boxes[:, :2]
        for level in (2, 4)
    ]
    np.testing.assert_allclose(steps[1], 3 * steps[0], rtol=1e-4)
    assert len({tuple(step) for step in np.sign(steps[0]).tolist()}) > 1
    other = PromptMove("shift", 2, seed=1)
    assert not np.allclose(
        prompts_of(masks, 2, BoxProtocol(move=other)).places[:5, 0, :2] - boxes[:, :2], steps[0]
    )


@pytest.mark.parametrize(("kind", "side"), [("enlarge", 1.4), ("shrink", 0.6)])
def test_a_box_grows_and_shrinks_about_its_middle(kind: str, side: float) -> None:
    masks = drawn()
    boxes = boxes_of(masks, 2, BoxProtocol())[:5, 0]
    found = prompts_of(masks, 2, BoxProtocol(move=PromptMove(kind, 5)))
    moved = found.places[:5, 0]
    np.testing.assert_allclose(moved[:, 2:] + moved[:, :2], boxes[:, 2:] + boxes[:, :2], rtol=1e-5)
    np.testing.assert_allclose(
        moved[:, 2:] - moved[:, :2], side * (boxes[:, 2:] - boxes[:, :2]), rtol=1e-5
    )
    np.testing.assert_allclose(found.kept[:5, 0], min(side, 1 / side) ** 2, rtol=1e-4)


def test_a_box_that_leaves_the_image_is_cut_and_its_overlap_is_of_what_is_left() -> None:
    whole = np.ones((1, 20, 20), np.uint8)
    found = prompts_of(whole, 2, BoxProtocol(move=PromptMove("enlarge", 3)))
    assert found.places.tolist() == [[[0, 0, 1, 1]]]
    assert found.kept.item() == 1
    one, apart = np.array([[0, 0, 0.2, 0.2]]), np.array([[0.5, 0.5, 1, 1]])
    assert overlap_of_boxes(one, apart).tolist() == [0]


def test_a_point_is_the_deepest_pixel_and_a_moved_one_says_whether_it_is_still_inside() -> None:
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[0, 2:9, 20:27] = 1  # middle at row 5, column 23
    masks[0, 30:34, 2:6] = 2
    masks[1, :, :9] = 1
    points = points_of(masks, 3)
    np.testing.assert_allclose(points[0, 0] * 40, [23.5, 5.5])
    assert np.isnan(points[1, 1]).all()
    assert 4 <= points[1, 0, 0] * 40 <= 5
    still = prompts_of(masks, 3, BoxProtocol(shape="points", move=PromptMove("shift", 1)))
    np.testing.assert_array_equal(still.kept, [[1, 1], [1, np.nan]])
    gone = prompts_of(masks, 3, BoxProtocol(shape="points", move=PromptMove("shift", 5)))
    for row in range(2):
        for kind in range(2):
            if not np.isnan(gone.kept[row, kind]):
                x, y = (gone.places[row, kind] * 40).astype(int)
                assert gone.kept[row, kind] == (masks[row, y, x] == kind + 1)
