"""Maps: what is counted of their pixels, how they lie over images, and what scorers make."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from run_entry import medrobust, rows

from medrobust.base.targets import MaskedLabels
from medrobust.corruptions.config import Corruption
from medrobust.evaluation.run.masks import MovedMasks
from medrobust.exceptions import NotFiniteError
from medrobust.metrics.pixels import PixelCurve, pixel_numbers
from medrobust.models.patches import PatchFeatures, PatchLevel
from medrobust.reporting.from_store import report_store
from medrobust.reporting.wandb_pictures import pictures
from medrobust.tasks.anomaly.levels import LEVELS, Scale, counted_maps, levels_of
from medrobust.tasks.anomaly.map_pictures import spread
from medrobust.tasks.anomaly.maps import (
    DistanceScorer,
    MapHead,
    MeanScorer,
    ScaledScorer,
    StateScorer,
    joined,
    scaled,
)
from medrobust.tasks.anomaly.scores import pixel_counts
from medrobust.tasks.anomaly.task import SCORERS
from medrobust.tasks.map_view import View


def lesions(draw: np.random.Generator, images: int, size: int = 32) -> NDArray[np.bool_]:
    masks = np.zeros((images, size, size), bool)
    for image in range(0, images, 2):
        top, left = draw.integers(0, size - 8, 2)
        masks[image, top : top + 8, left : left + 6] = True
    return masks


def test_numbers_of_a_cell_are_those_of_the_maps_at_the_size_of_their_pixels() -> None:
    draw = np.random.default_rng(0)
    masks = lesions(draw, 40)
    coarse = torch.nn.functional.avg_pool2d(torch.from_numpy(masks.astype(np.float32))[:, None], 4)
    maps = 2 * coarse[:, 0] + 0.5 * torch.from_numpy(draw.normal(size=(40, 8, 8))).float()
    arrays = counted_maps(maps, View(), lambda part: masks[part])
    whole = torch.nn.functional.interpolate(maps[:, None], 32, mode="bilinear")[:, 0].numpy()
    exact, found = pixel_numbers(whole, masks), PixelCurve(pixel_counts(arrays))
    np.testing.assert_allclose(found.values, exact.values, atol=2e-3)
    for value, true, bound in zip(found.values, exact.values, found.bounds, strict=False):
        assert abs(value - true) <= bound + 1e-5  # two ways to interpolate differ by rounding
    assert max(found.bounds) < 5e-3
    assert arrays["pixel_influence"].mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert pixel_counts(arrays).regions == 20


def test_levels_are_fine_around_normal_values_and_reach_far_beyond() -> None:
    z = np.array([-2000, -1, 0, 0.003, 1, 1.01, 900, 999, 5000], np.float32)
    levels = levels_of(z)
    assert (np.diff(levels) >= 0).all()
    assert levels[0] == 0
    assert levels[-1] == LEVELS - 1
    assert levels[3] > levels[2]
    assert levels[5] > levels[4]


def test_a_scale_is_that_of_normal_values() -> None:
    values = torch.from_numpy(np.random.default_rng(1).normal(3, 2, 100_000))
    z = Scale.of(values)(values).numpy()
    assert np.quantile(z, (0.5, 0.99)) == pytest.approx([0, 1], abs=1e-4)
    assert np.isfinite(Scale.of(torch.ones(5))(torch.ones(5)).numpy()).all()


def test_a_crop_of_the_model_is_where_its_map_lies() -> None:
    """A model that crops the middle half of an image gives a map of that half."""
    maps = torch.zeros(1, 4, 4)
    maps[0, 1, 1] = 1
    spread = View(zoom=2.0).spread(maps, (64, 64)).numpy()[0]
    y, x = np.unravel_index(spread.argmax(), spread.shape)
    assert 24 <= y < 32
    assert 24 <= x < 32
    beyond = View(zoom=2.0).spread(torch.eye(4)[None], (64, 64)).numpy()[0]
    assert beyond[0, 0] == pytest.approx(1)  # the nearest value holds
    padded = View(zoom=0.5).spread(torch.eye(4)[None], (64, 64)).numpy()[0]
    assert padded[0, 0] > 0.2  # the image is the middle of the map


def levels(states: torch.Tensor, block: int = 1, grid: tuple[int, int] = (2, 2)) -> PatchFeatures:
    return PatchFeatures([PatchLevel(block, states, grid, projection=lambda one: one)])


def test_sentences_give_each_place_the_softmax_of_its_two_cosines() -> None:
    draw = np.random.default_rng(2)
    states = torch.nn.functional.normalize(
        torch.from_numpy(draw.normal(size=(2, 6))).float(), dim=1
    )
    places = torch.from_numpy(draw.normal(size=(3, 4, 6))).float()
    image = torch.nn.functional.normalize(places.mean(dim=1), dim=1)
    maps, score = StateScorer(states, 10.0, [1])(image, levels(places))
    unit = torch.nn.functional.normalize(places, dim=-1)
    both = torch.softmax(10 * unit @ states.T, dim=-1)[..., 1].reshape(3, 2, 2)
    torch.testing.assert_close(maps, both)
    torch.testing.assert_close(score, 10 * (image @ states[1] - image @ states[0]))


class Nearest:
    """Distance to one place."""

    def __init__(self, place: torch.Tensor) -> None:
        self.place = place

    def to(self, _: object) -> "Nearest":
        return self

    def distances(self, states: torch.Tensor) -> torch.Tensor:
        return (states - self.place).norm(dim=-1)


def test_distances_of_levels_are_added_and_the_farthest_place_is_the_score_of_an_image() -> None:
    states = torch.arange(24.0).reshape(2, 4, 3)
    both = PatchFeatures([*levels(states, 1).values(), *levels(2 * states, 3).values()])
    origin = torch.zeros(3)
    maps, score = DistanceScorer({1: Nearest(origin), 3: Nearest(origin)})(states[:, 0], both)
    torch.testing.assert_close(maps, 3 * states.norm(dim=-1).reshape(2, 2, 2))
    torch.testing.assert_close(score, maps.amax(dim=(1, 2)))


def test_grids_of_several_levels_are_brought_to_the_finest() -> None:
    fine, coarse = torch.rand(2, 4, 4), torch.ones(2, 2, 2)
    torch.testing.assert_close(joined([coarse, fine]), (fine + 1) / 2)


def test_combined_scorers_are_scaled_by_normal_images_and_never_by_those_they_judge() -> None:
    draw = torch.Generator().manual_seed(3)
    normal = [(torch.randn(8, 3, generator=draw), levels(torch.randn(8, 4, 3, generator=draw)))]
    other = levels(100 + 50 * torch.randn(5, 4, 3, generator=draw))
    parts = [
        scaled(DistanceScorer({1: Nearest(torch.full((3,), place))}), normal)
        for place in (0.0, 9.0)
    ]
    maps, scores = MeanScorer(parts)(torch.zeros(5, 3), other)
    one_by_one = [
        MeanScorer(parts)(torch.zeros(1, 3), levels(other[1].states[[k]])) for k in range(5)
    ]
    torch.testing.assert_close(maps, torch.cat([part for part, _ in one_by_one]))
    torch.testing.assert_close(scores, torch.cat([part for _, part in one_by_one]))


def test_values_of_normal_images_that_are_not_finite_make_no_scale() -> None:
    places = torch.ones(2, 4, 3)
    places[1, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="normal validation images are not finite"):
        scaled(DistanceScorer({1: Nearest(torch.zeros(3))}), [(places[:, 0], levels(places))])


def test_a_head_keeps_few_maps_unless_all_are_asked_for() -> None:
    scorer = ScaledScorer(DistanceScorer({1: Nearest(torch.zeros(3))}), Scale(0, 1), Scale(0, 1))
    states = torch.rand(6, 4, 3)
    for keep_all, kept in ((False, [0, 3]), (True, list(range(6)))):
        head = MapHead(scorer, View(), keep_all=keep_all)
        given = head.reduce(states[:, 0], levels(states))
        arrays = head.outputs(given)
        assert arrays["map_rows"].tolist() == kept
        np.testing.assert_allclose(arrays["maps"], given["map"][kept].numpy())
        assert not len(arrays["normal_pixels"])


SMALL = (
    *("dataset=phantoms", "dataset.per_class=12", "task=anomaly"),
    *("model=phantomclip_small", "model.micro_batch=8"),
)


@pytest.mark.every_nth(3)
@pytest.mark.parametrize("scorer", SCORERS)
def test_every_scorer_makes_maps_of_phantoms(workplace, scorer: str) -> None:
    run = ("corruption=elastic_transform", "severity=5", "hydra.run.dir=out")
    compares = scorer in ("memory_bank", "gaussian", "combined")
    chosen = ("task.normal_shots=6", "task.bank=null") if compares else ()
    assert medrobust(*SMALL, f"task.scorer={scorer}", *chosen, *run) == 0
    found = {(r["metric"], r["severity"]): float(r["value"]) for r in rows("out/results.csv")}
    for metric in ("image_auroc", "pixel_auroc", "aupro", "false_alarm_rate"):
        assert 0 <= found[metric, "0"] <= 1
    assert found["aupro", "0"] == pytest.approx(1 - found["missed_overlap", "0"])
    page = Path("out/report.html").read_text("utf-8")
    assert "Maps over an image" in page
    assert 'alt="map under elastic_transform, severity 5" src="data:image/jpeg' in page


@pytest.mark.parametrize("zoom", [0.5, 1.0, 1.7])
def test_a_page_draws_a_map_where_its_pixels_were_counted(zoom: float) -> None:
    values = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    counted = View(zoom).spread(torch.from_numpy(values)[None], (64, 64)).numpy()[0]
    inside = View(zoom).spread(torch.ones(1, 7, 5), (64, 64)).numpy()[0] > 0.999
    np.testing.assert_allclose(spread(values, zoom, 64)[inside], counted[inside], atol=1e-5)


@pytest.mark.slow
def test_maps_are_pictures_of_a_wandb_run_but_never_those_of_own_images(workplace) -> None:
    few = ("dataset.per_class=2", "corruption=contrast", "severity=5")
    assert medrobust(*SMALL, *few, "hydra.run.dir=out") == 0
    (matrix,) = report_store(
        Path("outputs/store"), Path("again"), figures=False, interactive=False
    ).matrices
    for loss in ("misranked_pixels", "missed_overlap"):  # two abnormal patients tell no variance
        for number in (matrix.estimate(loss, 0, "mean"), matrix.estimate(loss, 0, "clean")):
            assert (number.low, number.note[:24]) == (None, "fewer than 5 abnormal im")
    (maps,) = (one.pictures for one in matrix.sections if one.pictures)
    captions = [caption for caption, _ in maps["maps"]]
    assert captions == ["phantomclip_small: clean s0", "phantomclip_small: contrast s5"]
    logged = pictures(Mock(matrices=[matrix]))["maps/phantoms/imagenet_c"]
    assert [image._caption for image in logged] == captions
    own = replace(matrix, data=replace(matrix.data, origin="own"))
    assert not any(one.pictures for one in own.sections)


@pytest.mark.parametrize("name", ["clean", "elastic_transform"])
def test_the_border_of_a_padded_image_moves_with_it_and_is_no_normal_pixel(name: str) -> None:
    stored = np.zeros((2, 48, 48), np.uint8)
    stored[:, :12] = stored[:, 36:] = 255
    stored[1, 20:28, 20:30] = 1
    images = Mock(
        target=MaskedLabels(np.array([0, 1]), stored, "", ignored=255),
        stream="a/test",
        index=np.arange(2),
    )
    corruption = None if name == "clean" else Corruption(name)
    found = MovedMasks(images, corruption, 0 if corruption is None else 5, 0)(slice(0, 2))
    assert set(np.unique(found[1])) == {0, 1, 255}
    lesion, outside = (int((found[1] == value).sum()) for value in (1, 255))
    assert (lesion, outside) == pytest.approx((80, 24 * 48), rel=0.25)
    if corruption is None:
        np.testing.assert_array_equal(found == 255, stored == 255)
    else:
        assert not np.array_equal(found == 255, stored == 255)
