"""FROC against curves that are counted by hand, and against a plain form of the definition."""

import numpy as np
import pytest

from medrobust.exceptions import ConfigurationError
from medrobust.metrics.froc import CAMELYON16, LUNA16, Boxes, froc, hits

# Two images with a lesion of 10 x 10, a third with two, a fourth with none.
LESIONS = Boxes(
    np.array([[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10], [40, 40, 50, 50]], float),
    np.array([0, 1, 2, 2]),
)
# hit .9; second in the same lesion .8; FP .7; hit .6; hit .5; FP .4 in the healthy image; FP .3
FOUND = Boxes(
    np.array(
        [
            [1, 1, 9, 9],
            [2, 2, 10, 10],
            [60, 60, 70, 70],
            [22, 22, 30, 30],
            [0, 0, 8, 10],
            [0, 0, 10, 10],
            [30, 30, 41, 41],
        ],
        float,
    ),
    np.array([0, 0, 1, 1, 2, 3, 2]),
)
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])


@pytest.mark.parametrize("rule", ["centre", "iou"])
def test_what_each_detection_hits_by_hand(rule):
    found = hits(FOUND, SCORES, LESIONS, rule=rule, least_iou=0.5)
    assert found.tolist() == [0, -2, -1, 1, 2, -1, -1]


def test_the_curve_and_its_score_by_hand():
    curve = froc(FOUND, SCORES, LESIONS, 4, rule="centre")
    assert curve.thresholds.tolist() == SCORES.tolist()
    assert curve.sensitivity.tolist() == [0.25, 0.25, 0.25, 0.5, 0.75, 0.75, 0.75]
    assert curve.false_positives.tolist() == [0, 0, 0.25, 0.25, 0.25, 0.5, 0.75]
    assert curve.range == (0.0, 0.75)
    # at 1/4 the most sensitive of three points, .75; beyond .75 the curve does not go
    assert curve.score == pytest.approx(0.75)


def test_between_two_points_the_sensitivity_is_linear():
    lesions = Boxes(np.array([[0, 0, 4, 4], [0, 0, 4, 4]], float), np.array([0, 1]))
    found = Boxes(
        np.array([[0, 0, 4, 4], [9, 9, 12, 12], [0, 0, 4, 4], [9, 9, 12, 12]], float),
        np.array([0, 0, 1, 1]),
    )
    # (0, .5), (.5, .5), (.5, 1), (1, 1) over two images
    curve = froc(found, np.array([0.9, 0.8, 0.7, 0.6]), lesions, 2, rule="centre", at=[0.25, 0.5])
    assert curve.score == pytest.approx(((0.5 + 1) / 2 + 1) / 2)


def test_the_smaller_overlap_and_the_centre_tell_two_rules_apart():
    lesion = Boxes(np.array([[0, 0, 10, 10]], float), np.array([0]))
    beside = Boxes(np.array([[5, 0, 16, 10]], float), np.array([0]))  # IoU 50/160, centre outside
    one = np.array([1.0])
    assert hits(beside, one, lesion, rule="centre").tolist() == [-1]
    assert hits(beside, one, lesion, rule="iou", least_iou=0.5).tolist() == [-1]
    assert hits(beside, one, lesion, rule="iou", least_iou=0.1).tolist() == [0]


def test_the_order_of_detections_and_lesions_is_nothing():
    turned = np.array([4, 2, 6, 0, 3, 1, 5])
    first = froc(FOUND, SCORES, LESIONS, 4, rule="iou", least_iou=0.1)
    again = froc(
        Boxes(FOUND.corners[turned], FOUND.images[turned]),
        SCORES[turned],
        Boxes(LESIONS.corners[::-1].copy(), LESIONS.images[::-1].copy()),
        4,
        rule="iou",
        least_iou=0.1,
    )
    assert again.score == first.score
    assert again.sensitivity.tolist() == first.sensitivity.tolist()


def plain(scores: np.ndarray, lesion: np.ndarray, lesions: int, images: int) -> float:
    """Score single detections by the definition: a threshold at a time, points and a mean."""
    points = [(0.0, 0.0)]
    for least in sorted(set(scores), reverse=True):
        kept = scores >= least
        points.append(((kept & (lesion < 0)).sum() / images, kept[lesion >= 0].sum() / lesions))
    best = {}
    for x, y in points:
        best[x] = max(y, best.get(x, 0.0))
    xs, ys = zip(*sorted(best.items()), strict=True)
    return float(np.interp(CAMELYON16, xs, ys).mean())


@pytest.mark.parametrize("seed", range(5))
def test_random_detections_give_what_the_definition_gives(seed):
    rng = np.random.default_rng(seed)
    lesions = Boxes(np.tile([[0.0, 0, 4, 4]], (30, 1)), np.arange(30))
    hit = rng.permutation(40)[:25]  # images with a detection in the place of the lesion
    rest = rng.integers(0, 40, 60)  # others far away
    corners = np.r_[np.tile([[0.0, 0, 4, 4]], (25, 1)), np.tile([[50.0, 50, 54, 54]], (60, 1))]
    scores = rng.random(85).round(2)
    truth = np.r_[np.where(hit < 30, hit, -1), np.full(60, -1)]
    curve = froc(Boxes(corners, np.r_[hit, rest]), scores, lesions, 40, rule="centre")
    assert curve.score == pytest.approx(plain(scores, truth, 30, 40), abs=1e-12)


def test_no_detection_finds_nothing():
    nothing = Boxes(np.zeros((0, 4)), np.zeros(0, np.int64))
    curve = froc(nothing, np.zeros(0), LESIONS, 4, rule="centre", at=LUNA16)
    assert (curve.score, curve.range, len(curve.thresholds)) == (0.0, (0.0, 0.0), 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": "nearest"}, "rule 'nearest' is none of"),
        ({"rule": "iou", "least_iou": 0}, "least_iou=0 must be above 0"),
        ({"scores": np.full(7, np.nan)}, "one score, which is a finite number"),
        ({"images": 3}, "beyond the 3 that there are"),
        ({"lesions": Boxes(np.zeros((0, 4)), np.zeros(0, np.int64))}, "no image has one"),
    ],
)
def test_what_cannot_be_counted_is_a_sentence(change, said):
    given = {"scores": SCORES, "lesions": LESIONS, "images": 4, "rule": "centre"} | change
    rest = {key: given[key] for key in given.keys() - {"scores", "lesions", "images"}}
    with pytest.raises(ConfigurationError, match=said):
        froc(FOUND, given["scores"], given["lesions"], given["images"], **rest)


def test_an_empty_box_is_refused_by_number():
    with pytest.raises(ConfigurationError, match=r"box 1 \(4, 0, 4, 9\) is empty"):
        Boxes(np.array([[0, 0, 1, 1], [4, 0, 4, 9]], float), np.array([0, 0]))
