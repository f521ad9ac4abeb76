"""Segmentation keeps the contract; masks are judged as they moved, pixel by pixel."""

import io
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import contract
import numpy as np
import pytest
import torch
from contract import TaskContract
from PIL import Image
from run_entry import medrobust, rows
from segmented import CLASSES, GREYS, ByGrey, masks, run, segmented, without_masks
from stores import data_record
from torch import nn

from medrobust.base.targets import Masks
from medrobust.exceptions import ConfigurationError, InvalidDataError, UnknownNameError
from medrobust.metrics.overlaps import dice
from medrobust.metrics.surfaces import surface_distances
from medrobust.models import OwnSegmenter, PhantomClip
from medrobust.reporting.audit import CLASSES as CLASSES_ABSENT
from medrobust.reporting.audit import findings
from medrobust.tasks.base import Cell, ModelSide
from medrobust.tasks.map_view import View
from medrobust.tasks.other_images import batches
from medrobust.tasks.patches import Truth
from medrobust.tasks.segmentation import TASK, Segmentation
from medrobust.tasks.segmentation.border_errors import border_errors
from medrobust.tasks.segmentation.contours import contour, overlay, resized, shown_picture
from medrobust.tasks.segmentation.judging import Judge, packed, shown_rows, unpacked
from medrobust.tasks.segmentation.scores import image_dice
from medrobust.tasks.segmentation.segmenters.probe import fitted

HEAD = MappingProxyType(
    {
        "kind": "segmentation",
        "segmenter": "own",
        "classes": list(CLASSES),
        "surfaces": {"of": "surfels", "tolerance": 2.0, "unit": "px"},
    }
)


def judged(truth, predicted, *, classes=3, **chosen):
    judge = Judge(classes, "surfels", chosen.pop("unit", "px"), 2.0)
    return judge(predicted, Truth(truth, **chosen))


def drawn_arrays(count: int, skill: float, seed: int, classes: int = 3) -> dict:
    """Masks of which the less is right the less the skill, and some empty ones."""
    random = np.random.default_rng(seed)
    truth = np.minimum(masks(count), classes - 1)
    predicted = truth.copy()
    for row, mask in enumerate(predicted):
        shift = round(8 * (1 - skill) * random.random())
        predicted[row] = np.roll(mask, shift, axis=1)
        if random.random() > skill + 0.3:
            predicted[row] = 0
    predicted[1, :6, :6] = random.random() > skill  # beside nothing
    rows = shown_rows(count)
    return {
        **judged(truth, predicted, classes=classes),
        "shown_rows": rows,
        "shown_masks": predicted[rows],
        "shown_truths": truth[rows],
    }


class TestSegmentation(TaskContract):
    task = TASK
    head = HEAD

    def facts(self):
        return data_record(count=48)

    def arrays(self, data, skill, seed):
        return drawn_arrays(len(data), skill, seed)


class TestSegmentationOfOneClassAndPatients(TestSegmentation):
    head = MappingProxyType({**HEAD, "classes": ["background", "lesion"]})

    def facts(self):
        return data_record(count=48, groups=np.array([f"p{row // 3}" for row in range(48)]))

    def arrays(self, data, skill, seed):
        return drawn_arrays(len(data), skill, seed, classes=2)


def test_rood_mris_means_weigh_severities_less_the_higher_they_are(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(contract, "LEVELS", (1, 2, 3, 4, 5))
    report = TestSegmentation().report(tmp_path)
    (matrix,) = report.matrices
    assert matrix.table.corruptions == contract.CORRUPTIONS
    loss = [
        [1 - image_dice(matrix.cells[1, name, level].arrays) for level in range(1, 6)]
        for name in contract.CORRUPTIONS
    ]  # of the second row, a corruption and severity
    clean = 1 - image_dice(matrix.cells[1, "clean", 0].arrays)
    weights = np.array([2 / 3, 4 / 9, 8 / 27, 16 / 81, 32 / 243])
    rows = {
        (row["metric"], row["corruption"]): row
        for row in report.summary
        if row["metric"].startswith("weighted") and row["model"] == matrix.rows[1].model
    }
    means = [
        (clean.mean() + (weights * np.mean(each, axis=1)).sum()) / (1 + weights.sum())
        for each in loss
    ]
    lost = [(weights * (np.mean(each, axis=1) - clean.mean())).sum() for each in loss]
    for name, mean in zip(contract.CORRUPTIONS, means, strict=True):
        assert float(rows["weighted_severity_mean", name]["value"]) == pytest.approx(mean)
    assert float(rows["weighted_mean", ""]["value"]) == pytest.approx(np.mean(means))
    degraded = rows["weighted_degradation", ""]
    assert float(degraded["value"]) == pytest.approx(np.mean(lost) / weights.sum())
    assert float(degraded["low"]) < float(degraded["value"]) < float(degraded["high"])
    assert {row["of"] for row in rows.values()} == {"dice_loss"}


class Moved(TestSegmentationOfOneClassAndPatients):
    """Three masks leave their images where anything is corrupted."""

    __test__ = False

    def arrays(self, data, skill, seed):
        arrays = super().arrays(data, skill, seed)
        for name in ("overlap", "true_area") if seed else ():
            arrays[name][[0, 2, 4]] = 0
        return arrays


@pytest.mark.parametrize("case", [TestSegmentationOfOneClassAndPatients, Moved])
def test_what_is_over_some_images_is_so_wherever_it_is_counted(tmp_path, monkeypatch, case) -> None:
    monkeypatch.setattr(contract, "LEVELS", (1,))
    report = case().report(tmp_path)
    over = ("foreground_dice_loss", "missed_foreground_rate", "false_foreground_rate")
    results = {(r["model"], r["metric"], r["corruption"]): r for r in report.results}
    found = {(r["model"], r["of"], r["metric"], r["corruption"]): r for r in report.summary}
    for model, loss in product(("good", "poor"), over):
        pairs = [
            (found[model, loss, "clean", ""], results[model, loss, "clean"]),
            *(
                (found[model, loss, "severity_mean", name], results[model, loss, name])
                for name in contract.CORRUPTIONS
            ),
        ]
        for summed, single in pairs:
            assert float(summed["value"]) == pytest.approx(float(single["value"]))
            if case is not Moved:
                for column in ("low", "high", "n"):
                    assert summed[column] == single[column]
            else:  # of all images, by their influence
                assert summed["n"] == "48"
                for column in ("low", "high"):
                    assert float(summed[column]) == pytest.approx(float(single[column]), abs=0.05)


def scores_of(truth, predicted, **chosen):
    data = data_record(count=len(truth))
    return TASK.scores(Cell("0" * 64, judged(truth, predicted, **chosen), HEAD, data))


def test_empty_masks_count_as_is_stated_and_their_shares_stand_apart() -> None:
    truth, predicted = np.zeros((2, 5, 30, 30), np.uint8)
    truth[:3, 5:15, 5:15] = 1
    predicted[0, 5:15, 7:17] = 1  # two pixels off: Dice 0.8
    predicted[3, :2, :2] = 1  # image 1 and 2 missed, 3 invented, 4 rightly empty
    found = scores_of(truth, predicted, classes=2)
    values = {name: one.value for name, one in found.estimates.items()}
    assert values["dice"] == pytest.approx((0.8 + 0 + 0 + 0 + 1) / 5)
    assert values["iou"] == pytest.approx((2 / 3 + 1) / 5)
    assert values["foreground_dice_loss"] == pytest.approx(1 - 0.8 / 3)
    assert values["missed_foreground_rate"] == pytest.approx(2 / 3)
    assert values["false_foreground_rate"] == pytest.approx(1 / 2)
    assert values["hd95"] == 2  # of the one image that has both borders
    assert values["nsd"] == pytest.approx((1 + 1) / 5)
    assert found.answers.tolist() == [1, 0, 0, 1, 0]


def test_distances_that_are_all_the_same_have_no_interval() -> None:
    truth, predicted = np.zeros((2, 6, 30, 30), np.uint8)
    truth[:, 5:15, 5:15] = 1
    predicted[:, 5:15, 7:17] = 1
    alike = scores_of(truth, predicted, classes=2).estimates["hd95"]
    assert (alike.value, alike.low, alike.high) == (2, None, None)
    assert "all images have the same" in alike.note
    predicted[0] = truth[0]
    other = scores_of(truth, predicted, classes=2).estimates["hd95"]
    assert other.low < other.value < other.high


def test_an_image_counts_the_classes_that_it_has_and_the_worst_class_is_named_apart() -> None:
    truth, predicted = np.zeros((2, 2, 20, 20), np.uint8)
    truth[0, :4], truth[0, 10:14] = 1, 2
    predicted[0, :4], predicted[0, 12:16] = 1, 2
    truth[1, :4] = predicted[1, :4] = 1
    found = scores_of(truth, predicted)
    assert found.estimates["dice"].value == pytest.approx(((1 + 0.5) / 2 + 1) / 2)
    assert found.estimates["worst_class_dice"].value == pytest.approx(0.5)


def test_distances_are_in_millimetres_where_the_spacing_is_known() -> None:
    truth, predicted = np.zeros((2, 1, 30, 30), np.uint8)
    truth[0, 5:15, 5:15], predicted[0, 5:15, 7:17] = 1, 1
    spacing = np.array([[0.5, 3.0]])
    arrays = judged(truth, predicted, classes=2, unit="mm", spacing=spacing)
    wanted = surface_distances(truth[0], predicted[0], (0.5, 3.0))
    assert arrays["hd95"].item() == pytest.approx(wanted.hausdorff(95))
    assert arrays["nsd"].item() == pytest.approx(wanted.overlap(2.0))
    assert judged(truth, predicted, classes=2, spacing=spacing)["hd95"].item() == 2


def test_packed_masks_come_back_as_they_were() -> None:
    random = np.random.default_rng(3)
    for count in (2, 3, 9):
        drawn = random.integers(0, count, (4, 21, 13)).astype(np.uint8)
        np.testing.assert_array_equal(unpacked(packed(drawn, count), count, (21, 13)), drawn)


def test_a_segmenter_of_ones_own_is_judged_by_masks_that_moved_as_its_images(tmp_path) -> None:
    cells = run(tmp_path, TASK, corruption="elastic_transform", severities=(3, 5))
    clean = TASK.scores(cells["clean", 0])
    assert clean.estimates["dice"].value == 1
    assert clean.estimates["hd95"].value == 0
    for level in (3, 5):
        cell = cells["elastic_transform", level]
        assert image_dice(cell.arrays).mean() > 0.9
        moved = cell.arrays["shown_truths"]
        unmoved = masks(13)[cell.arrays["shown_rows"]]
        of_unmoved = dice((moved & unmoved > 0).sum(), (unmoved > 0).sum(), (moved > 0).sum())
        assert 0.3 < of_unmoved < 0.9
        assert set(np.unique(moved)) <= {0, 1, 2}


def test_what_moves_nothing_leaves_masks_and_a_corrupted_image_is_seen(tmp_path) -> None:
    cells = run(tmp_path, TASK, corruption="brightness", severities=(5,))
    cell = cells["brightness", 5]
    np.testing.assert_array_equal(cell.arrays["shown_truths"], masks(13)[cell.arrays["shown_rows"]])
    assert TASK.scores(cell).estimates["dice"].value < 0.9


def test_cells_are_the_same_whatever_is_read_at_a_time(tmp_path) -> None:
    given = {"corruption": "elastic_transform", "severities": (4,)}
    cells = [
        run(tmp_path / str(size), TASK, batch_size=size, **given)["elastic_transform", 4]
        for size in (3, 13)
    ]
    for name, array in cells[0].arrays.items():
        np.testing.assert_array_equal(array, cells[1].arrays[name])


def test_all_masks_are_kept_where_that_is_asked_for(tmp_path) -> None:
    cell = run(tmp_path, Segmentation(store_maps=True))["clean", 0]
    np.testing.assert_array_equal(cell.arrays["shown_masks"], masks(13))
    assert cell.arrays["shown_rows"].tolist() == list(range(13))


def test_a_probe_learns_what_stands_where_and_never_sees_the_test_split(tmp_path) -> None:
    class Cut(nn.Module):
        """A tower whose places know the mean grey of their pixels."""

        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 6, 8, 8)
            self.blocks = nn.ModuleList([nn.Identity()])
            with torch.no_grad():
                torch.nn.init.normal_(self.patch.weight, generator=torch.Generator().manual_seed(0))

        def forward(self, pixels):
            tokens = self.patch(pixels).flatten(2).transpose(1, 2)
            return self.blocks[0](tokens).mean(dim=1)

    from medrobust.models.base import LoadReport
    from medrobust.models.preprocess import Preprocess
    from medrobust.models.vision import VisionModel

    class Source:
        name, micro_batch = "cut", 4

        def weights_fingerprint(self) -> str:
            return "0" * 64

        def load(self):
            plain = Preprocess(None, (0.5,) * 3, (0.25,) * 3)
            return VisionModel(Cut(), plain, LoadReport("test", {}, 0)).eval()

    cell = run(tmp_path, Segmentation(probe_ridge=1e-4), source=Source())["clean", 0]
    assert cell.head["segmenter"] == "probe"
    assert cell.head["blocks"] == [1]
    assert image_dice(cell.arrays).mean() > 0.6
    few = run(tmp_path, Segmentation(probe_ridge=1e-4, probe_shots=3), source=Source())["clean", 0]
    assert few.fingerprint != cell.fingerprint
    pool, heads = segmented(), []
    for name in ("whole", "bordered"):
        other = replace(pool, target=replace(pool.target, ignored=255))
        if name == "bordered":
            drawn = masks(13)
            drawn[:, :8] = 255
            other = replace(pool, target=Masks(drawn, "drawn", ignored=255))
        given = replace(pool, other_split=lambda split, other=other: other)
        side = ModelSide(Source(), (), Source().load)
        heads.append(Segmentation().heads(given, side)[0]["probe"])
    assert [one.get("outside") for one in heads] == [None, "left out"]  # no border, no other number


def test_training_masks_that_show_nothing_are_refused_with_their_split() -> None:
    source = PhantomClip(name="phantomclip_small", variant="small")
    pool = segmented()
    blank = replace(pool, other_split=lambda name: without_masks(segmented(name)))
    for shots, told in ((None, "13 masks is 0"), (4, r"4 masks \(drawn by task.probe_shots\)")):
        with pytest.raises(InvalidDataError, match=f"split 'train', have no .* {told}"):
            Segmentation(probe_shots=shots).heads(blank, ModelSide(source, (), source.load))


def test_stored_grey_images_are_read_for_a_probe_without_a_warning(recwarn) -> None:
    stored = np.ascontiguousarray(segmented(count=2).images[..., 0])
    stored.flags.writeable = False
    (read,) = batches(replace(segmented(count=2), images=stored), "cpu")
    assert read.tolist() == stored[:, None].tolist()
    assert not recwarn.list


def test_a_probe_is_fitted_to_images_as_if_their_borders_were_cut_off() -> None:
    random = np.random.default_rng(5)

    def encoded(of: int, *, cut: bool) -> list:
        states = torch.from_numpy(draws[of][0])
        target = Masks(draws[of][1], "bordered", ignored=255)
        seen = target.pixels(slice(None))
        level = SimpleNamespace(states=states[:, 4:] if cut else states, grid=(3 if cut else 4, 4))
        return [((None, {1: level}), seen[:, 14:] if cut else seen)]

    draws = []
    for _ in range(2):  # a border as high as a place, over which the states of discs lie
        drawn = masks(24)[:, :56, :56]
        shows = drawn.reshape(24, 4, 14, 4, 14).mean(axis=(2, 4)).reshape(24, 16, 1)
        states = shows * [1, -1, 1, 0, 0] + random.normal(0, 0.3, (24, 16, 5))
        states[:, :4] = [3, -3, 3, 0, 0]
        drawn[:, :14] = 255
        draws.append((states.astype(np.float32), drawn))
    bordered, without = (
        fitted((1,), 3, View(), 1e-3, encoded(0, cut=cut), encoded(1, cut=cut))
        for cut in (False, True)
    )
    torch.testing.assert_close(bordered.weights, without.weights, rtol=1e-5, atol=1e-6)
    assert bordered.thresholds.tolist() == without.thresholds.tolist()
    for _, drawn in draws:
        drawn[:, :48] = 255
    with pytest.raises(ConfigurationError, match="no place to learn from"):
        fitted((1,), 3, View(), 1e-3, encoded(0, cut=False), encoded(1, cut=False))


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"segmenter": "prob"}, "probe"),
        ({"surface": "voxels"}, "surfels"),
        ({"unit": "cm"}, "mm"),
        ({"box": "loose"}, "jittered"),
        ({"probe_shots": 0}, "task.probe_shots=0 must be a whole number, 1 or more, or null: all"),
        ({"probe_shots": 2.5}, "task.probe_shots=2.5 must be a whole number"),
        ({"probe_seed": "x"}, "task.probe_seed=x must be a whole number, 0 or more"),
        ({"probe_seed": -1}, "task.probe_seed=-1 must be a whole number, 0 or more"),
        ({"blocks": 0}, "task.blocks=0 must be a list of whole numbers"),
        ({"examples": 1.5}, "task.examples=1.5 must be a whole number"),
        ({"prompt_severities": 3}, "task.prompt_severities=3 must be a list of whole numbers"),
        ({"prompt_severities": None}, r"such as \[1,2\]\.$"),
        ({"background": []}, "task.background has no words"),
        ({"background": ""}, "task.background has no words"),
        ({"background": 3}, "task.background=3 must be a list of names"),
        ({"tolerance": "x"}, "task.tolerance=x must be a number"),
        ({"tolerance": 0}, "task.tolerance=0"),
        ({"probe_ridge": float("inf")}, "task.probe_ridge=inf"),
    ],
)
def test_choices_that_do_not_exist_are_refused_by_name(chosen, sentence) -> None:
    with pytest.raises((ConfigurationError, UnknownNameError), match=sentence):
        Segmentation(**chosen)


def test_masks_that_show_nothing_or_what_no_class_has_are_refused(tmp_path) -> None:
    with pytest.raises(InvalidDataError, match="have no foreground: every pixel of 13 masks is 0"):
        run(tmp_path, TASK, without_masks(segmented()))
    wrong = masks(13)
    wrong[4, 0, 0] = 7
    odd = replace(segmented(), target=Masks(wrong, "wrong"))
    with pytest.raises(InvalidDataError, match=r"class 7 \(1 of 13 masks .*classes are 0 backgr"):
        run(tmp_path, TASK, odd)
    with pytest.raises(InvalidDataError, match="masks are 32x32 pixels and images 64x64"):
        replace(segmented(), target=Masks(wrong[:, ::2, ::2], "small"))


def test_millimetres_without_spacing_and_wrong_numbers_of_classes_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"dataset.spacing_column, or task.unit=px"):
        run(tmp_path, Segmentation(unit="mm"))
    known = segmented(spacing=np.full((13, 2), 0.5))
    assert run(tmp_path, TASK, known)["clean", 0].head["surfaces"]["unit"] == "mm"

    class Two(ByGrey):
        def forward(self, pixels):
            return super().forward(pixels)[:, :2]

    with pytest.raises(ConfigurationError, match="tells 2 classes of pixels apart and the masks"):
        run(tmp_path / "two", TASK, source=OwnSegmenter(Two()))


def test_a_module_that_returns_no_logits_of_places_is_refused(tmp_path) -> None:
    class Flat(nn.Module):
        def forward(self, pixels):
            return pixels.mean(dim=(2, 3))

    with pytest.raises(ConfigurationError, match=r"must return logits \(\d+, classes, height"):
        run(tmp_path, TASK, source=OwnSegmenter(Flat()))
    with pytest.raises(ConfigurationError, match="no torch module"):
        OwnSegmenter(GREYS)


def test_a_page_has_groups_borders_and_contours_of_a_run_on_phantoms(workplace) -> None:
    run = ("corruption=elastic_transform", "severity=5", "hydra.run.dir=out")
    small = ("dataset=phantoms", "dataset.per_class=9", "model=phantomclip_small")
    small += ("model.micro_batch=6",)
    sent = ("logger=wandb", "logger.mode=offline", "logger.images=true")
    assert medrobust(*small, "task=segmentation", *run, *sent) == 0
    overlays = [np.asarray(Image.open(one)) for one in Path("out").rglob("*.mask.png")]
    (kept,) = Path("outputs/store").rglob("imagenet_c.elastic_transform/*/shown_truths.npy")
    moved = next(one for one in np.load(kept)[::-1] if one.any())
    assert any(np.array_equal(one, moved) for one in overlays)
    page = Path("out/report.html").read_text("utf-8")
    assert 'alt="contours under elastic_transform, severity 5" src="data:image/jpeg' in page
    assert 'alt="border errors under elastic_transform, severity 5" src="data:image/jpeg' in page
    groups = rows("out/segmentation_groups.csv")
    assert {row["group"] for row in groups} == {"nothing", "small", "medium", "large"}
    assert sum(int(r["images"]) for r in groups if r["condition"] == "clean") == 18
    assert all(float(r["low"]) <= float(r["dice"]) <= float(r["high"]) for r in groups)
    borders = rows("out/segmentation_borders.csv")
    assert [row["severity"] for row in borders] == ["0", "5"]


def test_errors_of_borders_are_distances_from_the_other_border_in_both_directions() -> None:
    one, other = np.zeros((2, 40, 40), np.uint8)
    one[10:20, 10:20], other[10:20, 12:22] = 1, 1
    found = border_errors(one, other)
    assert (found[12:18, 10] == 2).all()
    assert (found[12:18, 21] == 2).all()
    assert (found[10, 13:19] == 0).all()
    assert np.isnan(found[15, 15])
    assert np.nanmax(found) == 2
    alone = border_errors(one, np.zeros_like(one))
    assert np.isinf(alone[contour(one)]).all()
    assert np.isnan(alone[~contour(one)]).all()


def test_a_page_shows_the_last_kept_image_that_has_a_lesion() -> None:
    truths = np.zeros((3, 4, 4), np.uint8)
    truths[1, 1, 1] = 1
    pictures = [SimpleNamespace(name=f"row-{row}.png") for row in (0, 5, 9)]
    arrays = {"shown_rows": np.array([0, 5, 9]), "shown_truths": truths}
    cell = SimpleNamespace(arrays=arrays, examples=pictures, picture=lambda n: b"%d" % n)
    assert shown_picture(cell) == (1, b"1")
    arrays["shown_truths"] = np.zeros_like(truths)
    assert shown_picture(cell) == (2, b"2")


def test_contours_are_drawn_where_masks_end_and_at_another_size() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[4:10, 4:10] = 1
    assert contour(mask).sum() == 20
    assert resized(mask, 40).sum() == 4 * mask.sum()
    png = io.BytesIO()
    Image.new("RGB", (20, 20), (60, 60, 60)).save(png, "PNG")
    picture = np.asarray(Image.open(io.BytesIO(overlay(png.getvalue(), mask, 0 * mask))))
    blue = picture[..., 2].astype(int) - picture[..., 0] > 100
    assert blue[29:72, 29].mean() > 0.9  # of 144 pixels, a fifth and a half
    assert not blue[:20].any()


def test_the_segmenter_of_the_package_outlines_phantoms_and_loses_under_noise(tmp_path) -> None:
    from medrobust.datasets.phantoms.lesions import PhantomLesions
    from medrobust.models import PhantomUnet

    lesions = PhantomLesions(per_class=6).load()
    cells = run(tmp_path, TASK, lesions, PhantomUnet(), corruption="zoom_blur", severities=(5,))
    clean, worst = (TASK.scores(cell).estimates["dice"].value for cell in cells.values())
    assert clean > 0.6
    assert worst < clean - 0.1


def test_an_audit_has_nothing_to_say_of_classes_of_pixels() -> None:
    assert findings(segmented())[CLASSES_ABSENT] == "none"


def test_what_is_said_in_the_border_around_an_image_does_not_count(tmp_path) -> None:
    drawn = masks(6)
    drawn[:, :8] = 255
    greys = GREYS[np.where(drawn == 255, 1, drawn)]  # a disc all over the border
    whole = replace(
        segmented(count=6),
        images=np.repeat(greys[..., None], 3, axis=3),
        target=Masks(drawn, "bordered", ignored=255),
    )
    cells = run(tmp_path / "marked", TASK, whole, corruption="elastic_transform")
    assert image_dice(cells["clean", 0].arrays).tolist() == [1.0] * 6
    assert set(np.unique(cells["clean", 0].arrays["shown_truths"])) <= {0, 1, 2}
    assert image_dice(cells["elastic_transform", 1].arrays).mean() > 0.9
    unmarked = replace(whole, target=Masks(np.where(drawn == 255, 0, drawn).astype(np.uint8), "0"))
    worse = run(tmp_path / "unmarked", TASK, unmarked)
    assert image_dice(worse["clean", 0].arrays).mean() < 0.9
