"""Borders of masks against two libraries, brute force, cases by hand, and the clock."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from medrobust.exceptions import InvalidDataError, UnknownNameError
from medrobust.metrics.overlaps import count_overlaps, dice, iou
from medrobust.metrics.surfaces import surface_distances

DATA = Path(__file__).parents[1] / "data" / "surfaces"
EXPECTED = json.loads((DATA / "expected.json").read_text("utf-8"))
MASKS = np.unpackbits(np.load(DATA / "masks.npz")["masks"], axis=-1)


def square(left: int) -> np.ndarray:
    mask = np.zeros((24, 24), np.uint8)
    mask[5:15, left : left + 10] = 1
    return mask


def test_surfels_are_those_of_surface_distance_at_every_spacing() -> None:
    for case in EXPECTED["cases"]:
        found = surface_distances(*MASKS[case["pair"]], tuple(case["spacing"]))
        wanted = case["surfels"]
        assert found.directed_means == pytest.approx(wanted["means"], rel=1e-9), case
        assert found.hausdorff(95) == pytest.approx(wanted["hd95"], rel=1e-9), case
        assert found.hausdorff(100) == pytest.approx(wanted["hd100"], rel=1e-9), case
        nsd = [found.overlap(tolerance) for tolerance in EXPECTED["tolerances"]]
        assert nsd == pytest.approx(wanted["nsd"], rel=1e-9), case


def test_pixels_are_those_of_monai_at_every_spacing() -> None:
    for case in EXPECTED["cases"]:
        pair = MASKS[case["pair"]]
        found = surface_distances(*pair, tuple(case["spacing"]), elements="pixels")
        wanted = case["pixels"]
        assert found.hausdorff(95) == pytest.approx(wanted["hd95"], rel=1e-5), case
        assert found.hausdorff(100) == pytest.approx(wanted["hd100"], rel=1e-5), case
        assert found.mean == pytest.approx(wanted["assd"], rel=1e-5, abs=1e-7), case
        nsd = [found.overlap(tolerance) for tolerance in EXPECTED["tolerances"]]
        assert nsd == pytest.approx(wanted["nsd"], rel=1e-5), case


def test_a_square_that_was_moved_by_two_pixels() -> None:
    truth, predicted = square(5), square(7)
    found = surface_distances(truth, predicted, elements="pixels")
    assert len(found.of_truth) == len(found.of_prediction) == 36
    assert found.hausdorff(95) == found.hausdorff(100) == 2
    assert found.mean == 1
    assert [found.overlap(1), found.overlap(2)] == pytest.approx([20 / 36, 1])
    counts = count_overlaps(truth, predicted, 2)
    assert dice(*counts).tolist() == [0.8]
    assert iou(*counts) == pytest.approx([2 / 3])


def test_two_pixels_two_millimetres_apart() -> None:
    """Of two voxels DeepMind's tests have 1.5, 2 and a half; of two pixels the same holds."""
    truth, predicted = np.zeros((2, 9, 9), np.uint8)
    truth[4, 3] = predicted[4, 4] = 1
    found = surface_distances(truth, predicted, (3.0, 2.0))
    assert found.hausdorff(95) == found.hausdorff(100) == 2
    assert found.directed_means == (1.0, 1.0)
    assert found.overlap(1) == 0.5


def test_half_a_plane_of_one_more_row() -> None:
    """Fifty and fifty-one rows of a hundred: all of the long border is one row off."""
    truth, predicted = np.zeros((2, 100, 100), np.uint8)
    truth[:50], predicted[:51] = 1, 1
    found = surface_distances(truth, predicted, (2.0, 1.0))
    assert found.hausdorff(95) == 2
    assert found.overlap(1) < 0.9 < found.overlap(2)
    assert dice(*count_overlaps(truth, predicted, 2)) == pytest.approx([100 / 101])


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.3, 1.7)])
def test_distances_are_those_of_a_distance_transform(spacing: tuple[float, float]) -> None:
    random = np.random.default_rng(5)
    for density in (0.002, 0.05, 0.5):
        truth, predicted = (random.random((2, 61, 43)) < density).astype(np.uint8)
        truth[30, 20] = predicted[10, 40] = 1
        found = surface_distances(truth, predicted, spacing, elements="pixels")
        borders = []
        for mask in (truth, predicted):
            padded = np.pad(mask, 1)
            neighbours = [np.roll(padded, step, axis) for step in (-1, 1) for axis in (0, 1)]
            borders.append((padded & ~np.minimum.reduce(neighbours))[1:-1, 1:-1] == 1)
        first = distance_transform_edt(~borders[1], sampling=spacing)[borders[0]]
        second = distance_transform_edt(~borders[0], sampling=spacing)[borders[1]]
        np.testing.assert_allclose(found.of_truth, first, rtol=1e-12)
        np.testing.assert_allclose(found.of_prediction, second, rtol=1e-12)


def test_an_empty_mask_has_no_border_and_is_refused() -> None:
    empty = np.zeros((24, 24), np.uint8)
    for pair in ((empty, square(5)), (square(5), empty), (empty, empty)):
        with pytest.raises(InvalidDataError, match="a mask is empty"):
            surface_distances(*pair)


def test_masks_of_two_sizes_and_unknown_borders_are_refused() -> None:
    with pytest.raises(InvalidDataError, match="24x24 and 20x24 pixels"):
        surface_distances(square(5), square(5)[:20])
    with pytest.raises(UnknownNameError, match="surfels"):
        surface_distances(square(5), square(5), elements="surfel")


def test_dice_of_empty_masks_is_stated_and_the_background_is_no_class() -> None:
    truth = np.array([[0, 0, 1], [2, 2, 0]], np.uint8)
    predicted = np.array([[0, 0, 1], [0, 2, 0]], np.uint8)
    counts = count_overlaps(truth, predicted, 4)
    assert dice(*counts) == pytest.approx([1, 2 / 3, 1])
    assert iou(*counts) == pytest.approx([1, 1 / 2, 1])
    assert dice(*count_overlaps(0 * truth, predicted, 4)).tolist() == [0, 0, 1]


def test_dice_is_that_of_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.segmentation import dice_score

    random = np.random.default_rng(1)
    truth, predicted = random.integers(0, 3, (2, 5, 30, 30)).astype(np.uint8)
    wanted = dice_score(
        torch.from_numpy(predicted).long(),
        torch.from_numpy(truth).long(),
        num_classes=3,
        include_background=False,
        average="none",
        input_format="index",
    )
    found = [dice(*count_overlaps(t, p, 3)) for t, p in zip(truth, predicted, strict=True)]
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-6)


@pytest.mark.slow
def test_the_borders_of_512_pixels_take_three_milliseconds() -> None:
    y, x = np.mgrid[:512, :512]
    angle = np.arctan2(y - 250, x - 260)
    radius = np.hypot(y - 250, x - 260)
    truth = (radius < 150 + 30 * np.sin(7 * angle)).astype(np.uint8)
    predicted = (radius < 160 + 30 * np.sin(9 * angle)).astype(np.uint8)
    surface_distances(truth, predicted)  # compiled
    taken = []
    for _ in range(5):
        start = time.process_time()
        found = surface_distances(truth, predicted)
        assert found.hausdorff(95) > found.mean > 0 < found.overlap(2) < 1
        taken.append(time.process_time() - start)
    assert min(taken) <= 3e-3
