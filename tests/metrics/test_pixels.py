"""Numbers of maps are those that are counted by hand, and what a grid can cost them is said."""

from itertools import pairwise
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_curve, roc_auc_score

from medrobust.exceptions import InvalidDataError
from medrobust.metrics.aggregates import share_influence
from medrobust.metrics.anomaly import f1_max
from medrobust.metrics.pixels import (
    LIMIT,
    PixelCurve,
    count_pixels,
    pixel_influence,
    pixel_numbers,
)
from medrobust.tasks.anomaly.levels import LEVELS, Scale, levels_of
from medrobust.tasks.anomaly.sections import what_levels_hide


def lesions(draw: np.random.Generator, images: int = 6, size: int = 24) -> NDArray[np.bool_]:
    """Rectangles that touch at corners, edges of the image, and none in every third image."""
    masks = np.zeros((images, size, size), bool)
    for image in range(images):
        for _ in range(0 if image % 3 == 2 else int(draw.integers(1, 4))):
            top, left = draw.integers(0, size - 4, 2)
            height, width = draw.integers(1, 7, 2)
            masks[image, top : top + height, left : left + width] = True
    masks[0, 0, 0] = masks[0, 1, 1] = True
    return masks


def maps_of(draw: np.random.Generator, masks: NDArray[np.bool_], skill: float = 1.0) -> NDArray:
    return skill * masks + draw.normal(size=masks.shape)


def connected(mask: NDArray[np.bool_]) -> list[set[tuple[int, int]]]:
    """Parts of a mask, eight neighbours a pixel, by flooding."""
    left = set(map(tuple, np.argwhere(mask).tolist()))
    parts = []
    while left:
        grown, border = set(), {left.pop()}
        while border:
            grown |= border
            around = {(y + a, x + b) for y, x in border for a in (-1, 0, 1) for b in (-1, 0, 1)}
            border = around & left
            left -= border
        parts.append(grown)
    return parts


def aupro_by_hand(maps: NDArray, masks: NDArray[np.bool_], limit: float = LIMIT) -> float:
    """Sweep every threshold, by the definition."""
    regions = [
        np.array([maps[image][place] for place in part])
        for image in range(len(maps))
        for part in connected(masks[image])
    ]
    thresholds = np.unique(maps)[::-1, None]
    overlaps = np.mean([(region >= thresholds).mean(axis=1) for region in regions], axis=0)
    false = (maps[~masks] >= thresholds).mean(axis=1)
    curve = [(0.0, 0.0), *zip(false.tolist(), overlaps.tolist(), strict=True)]
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 >= limit:
            break
        end = min(x1, limit)
        top = y1 if x1 == end else y0 + (y1 - y0) * (end - x0) / (x1 - x0)
        area += (end - x0) * (y0 + top) / 2
    return area / limit


@pytest.mark.parametrize("seed", range(4))
def test_aupro_is_that_of_a_sweep_over_connected_parts(seed: int) -> None:
    draw = np.random.default_rng(seed)
    masks = lesions(draw)
    maps = maps_of(draw, masks, skill=seed / 2)
    if seed == 3:
        maps = maps.round(1)  # many ties
    assert pixel_numbers(maps, masks).aupro == pytest.approx(aupro_by_hand(maps, masks), abs=1e-9)


def whole_numbers(apart: int, skill: int) -> tuple[NDArray, NDArray[np.bool_]]:
    """Maps of whole numbers, so that no library rounds them, and their lesions; few are apart."""
    masks = np.zeros((6, 20, 24), bool)
    masks[0, 2:9, 3:8] = masks[0, 9:12, 8:15] = True  # touch at a corner: one region
    masks[1, 0:4, 0:4] = masks[1, 15:20, 20:24] = masks[1, 8, 10] = True
    masks[3, 5:18, 4:20] = masks[4, 10:12, :] = True
    place = np.arange(masks.size).reshape(masks.shape)
    return ((place * 7919 % 2897 + skill * masks) // apart).astype(np.float64), masks


@pytest.mark.parametrize(
    ("apart", "skill", "theirs"),
    [
        (1, 0, 0.12078131),
        (1, 700, 0.31836200),
        (1, 2000, 0.83199596),
        (150, 700, 0.31686977),
        (1000, 2000, 0.76056707),
    ],
)
def test_aupro_is_anomalibs(apart: int, skill: int, theirs: float) -> None:
    """`theirs` is that of anomalib 2.7.0, `AUPRO(fpr_limit=0.3)`, which sums in single precision.

    It takes every distinct value for a threshold, lets regions touch at corners, and goes on a line
    to the limit, as we do.
    """
    assert pixel_numbers(*whole_numbers(apart, skill)).aupro == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("digits", [1, 8])
def test_pixel_numbers_are_those_of_scikit_learn_on_concatenated_pixels(digits: int) -> None:
    draw = np.random.default_rng(5)
    masks = lesions(draw)
    maps = maps_of(draw, masks).round(digits)
    found = pixel_numbers(maps, masks)
    truth, values = masks.ravel(), maps.ravel()
    assert found.auroc == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
    precision, recall, _ = precision_recall_curve(truth, values)
    best = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert found.f1_max == pytest.approx(best, abs=1e-12)
    threshold = np.unique(values)[found.f1_level]
    assert f1_score(truth, values >= threshold) == pytest.approx(found.f1_max)


def test_a_perfect_map_has_one_and_noise_has_what_chance_gives() -> None:
    draw = np.random.default_rng(0)
    masks = lesions(draw, images=60, size=40)
    assert pixel_numbers(masks.astype(float), masks).values == (1.0, 1.0, 1.0)
    assert pixel_numbers(np.ones(masks.shape), masks).values[:2] == pytest.approx((0.5, 0.15))
    noise = pixel_numbers(draw.random(masks.shape), masks)
    assert noise.auroc == pytest.approx(0.5, abs=0.02)
    assert noise.aupro == pytest.approx(LIMIT / 2, abs=0.02)


@pytest.mark.parametrize("bins", [4, 32, 500])
def test_a_grid_is_off_by_no_more_than_it_says(bins: int) -> None:
    draw = np.random.default_rng(bins)
    masks = lesions(draw, images=12)
    maps = 1 / (1 + np.exp(-maps_of(draw, masks)))
    exact = pixel_numbers(maps, masks)
    found = PixelCurve(count_pixels((maps * bins).astype(int), masks, bins))
    for value, true, bound in zip(found.values, exact.values, found.bounds, strict=False):
        assert abs(value - true) <= bound + 1e-12
    assert max(exact.bounds) < 1e-4  # distinct values, in a level of their own


def test_chunks_of_images_add_up_to_the_counts_of_all() -> None:
    draw = np.random.default_rng(2)
    masks = lesions(draw, images=7)
    levels = (draw.random(masks.shape) * 50).astype(int)
    whole = count_pixels(levels, masks, 50)
    parts = [count_pixels(levels[rows], masks[rows], 50) for rows in (slice(3), slice(3, 7))]
    joined = parts[0] + parts[1]
    np.testing.assert_array_equal(joined.normal, whole.normal)
    np.testing.assert_allclose(joined.overlap, whole.overlap)
    assert joined.regions == whole.regions == sum(len(connected(mask)) for mask in masks)


def test_pixels_of_no_image_count_as_nothing() -> None:
    draw = np.random.default_rng(4)
    masks = lesions(draw, images=6)
    levels = np.clip((maps_of(draw, masks) * 20 + 60).astype(int), 0, 149)
    whole = count_pixels(levels, masks, 150)
    influence = pixel_influence(PixelCurve(whole), levels, masks, images=6)
    border = ((0, 0), (5, 3), (0, 2))
    bordered = np.pad(masks.astype(np.uint8), border, constant_values=255)
    wider = np.pad(levels, border, constant_values=140)
    again = count_pixels(wider, bordered, 150)
    for name in ("normal", "lesion", "overlap"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    moved = pixel_influence(PixelCurve(again), wider, bordered, images=6)
    np.testing.assert_allclose(moved, influence, atol=1e-12)


def test_influence_is_what_a_little_more_of_an_image_adds() -> None:
    draw = np.random.default_rng(8)
    masks = lesions(draw, images=9)
    levels = np.clip((maps_of(draw, masks) * 20 + 60).astype(int), 0, 149)
    own = [count_pixels(levels[[row]], masks[[row]], 150) for row in range(9)]
    whole = PixelCurve(count_pixels(levels, masks, 150))
    influence = pixel_influence(whole, levels, masks, images=9)
    assert influence.mean(axis=0) == pytest.approx(0, abs=1e-9)
    for row in range(9):
        moved = [_numbers_with(own, row, step) for step in (-1e-4, 1e-4)]
        slope = (np.array(moved[1]) - moved[0]) / 2e-4
        # a weight of 1 + e on one image moves a mean by e / 9 of its influence
        np.testing.assert_allclose(influence[row] / 9, slope, atol=2e-4)


def _numbers_with(own: list, row: int, step: float) -> tuple[float, ...]:
    """Numbers of all images of which one counts `1 + step` times."""
    weights = np.ones(len(own))
    weights[row] += step
    parts = [
        type(one)(w * one.normal, w * one.lesion, w * one.overlap, w * one.regions)
        for one, w in zip(own, weights, strict=True)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return PixelCurve(total).values


def test_what_has_no_numbers_is_refused_in_a_sentence() -> None:
    masks = np.zeros((2, 3, 3), bool)
    with pytest.raises(InvalidDataError, match="need normal pixels and lesions"):
        pixel_numbers(np.ones((2, 3, 3)), masks)
    with pytest.raises(InvalidDataError, match="need normal pixels and lesions"):
        pixel_numbers(np.ones((2, 3, 3)), ~masks)
    with pytest.raises(InvalidDataError, match="one shape"):
        pixel_numbers(np.ones((2, 3, 4)), masks)
    with pytest.raises(InvalidDataError, match="finite"):
        pixel_numbers(np.full((2, 3, 3), np.nan), masks)


def test_f1_max_is_the_best_of_all_thresholds() -> None:
    draw = np.random.default_rng(3)
    abnormal = draw.random(200) < 0.3
    scores = (abnormal + draw.normal(size=200)).round(1)
    value, threshold = f1_max(scores, abnormal)
    swept = [f1_score(abnormal, scores >= each) for each in np.unique(scores)]
    assert value == pytest.approx(max(swept))
    assert f1_score(abnormal, scores >= threshold) == pytest.approx(value)
    assert f1_max(scores, np.zeros(200, bool)) is None


def test_the_variance_of_a_share_is_that_of_the_images_it_is_over() -> None:
    draw = np.random.default_rng(1)
    among = draw.random(400) < 0.25
    hit = draw.random(400) < 0.2
    influence = share_influence(hit, among)
    share, count = hit[among].mean(), among.sum()
    assert influence.mean() == pytest.approx(0)
    assert (influence**2).sum() / 400**2 == pytest.approx(share * (1 - share) / (count - 1))


@pytest.mark.parametrize("crowded", ["sure", "far", "heavy"])
def test_the_bound_of_levels_holds_where_values_crowd(crowded: str) -> None:
    draw = np.random.default_rng(3)
    masks = lesions(draw, images=12)
    noise = draw.normal(size=masks.shape)
    values = {
        "sure": 1 / (1 + np.exp(-(8 * noise + 6 * masks))),
        "far": 1e-4 * (noise + masks) + (draw.random(masks.shape) < 0.02),
        "heavy": np.exp(3 * (noise + masks)),
    }[crowded]
    z = Scale.of(torch.from_numpy(values[~masks.any(axis=(1, 2))]))(torch.from_numpy(values))
    exact = pixel_numbers(z.numpy().astype(np.float64), masks)
    found = PixelCurve(count_pixels(levels_of(z.numpy()), masks, LEVELS))
    for value, true, bound in zip(found.values, exact.values, found.bounds, strict=False):
        assert abs(value - true) <= bound + 1e-12
    assert max(found.bounds) > 0.005
    arrays = {"normal_pixels": found.counts.normal, "lesion_pixels": found.counts.lesion}
    arrays["region_overlap"] = found.counts.overlap
    said = what_levels_hide(Mock(cells={"cell": Mock(arrays=arrays)}))
    assert f"AUPRO by up to {found.bounds[1]:.3f}" in said
