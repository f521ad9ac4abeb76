"""Detections of a grid, FROC over patients, and thresholds at a specificity, by hand."""

import numpy as np
import pytest

from medrobust.metrics.froc import Boxes, froc
from medrobust.metrics.intervals import share_interval
from medrobust.metrics.lesions import froc_with_interval, threshold_at, unsuppressed


def drawn(seed: int, patients: int = 12) -> tuple[Boxes, np.ndarray, Boxes, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = np.repeat(np.arange(2 * patients), 6)
    corners = np.tile([[x, y, x + 10, y + 10] for x in (0, 10, 20) for y in (0, 10)], (24, 1))
    lesions = Boxes(corners[::6].astype(float), np.arange(2 * patients))
    scores = rng.normal(size=len(images)) + 2 * (np.arange(len(images)) % 6 == 0)
    return Boxes(corners.astype(float), images), scores, lesions, np.repeat(np.arange(patients), 2)


def test_the_threshold_is_the_smallest_that_leaves_enough_negatives_below() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores, positive = rng.integers(0, 20, 60) / 4, rng.random(60) < 0.4
        for specificity in (0.5, 0.9, 1.0):
            found = threshold_at(scores, positive, specificity)
            enough = [
                t for t in (*np.unique(scores), np.inf)
                if (scores[~positive] < t).mean() >= specificity - 1e-12
            ]  # fmt: skip
            assert found == enough[0]


def test_45_of_50_has_wilsons_interval() -> None:
    low, high = share_interval(np.r_[np.ones(45), np.zeros(5)])
    assert (low, high) == pytest.approx((0.7864, 0.9565), abs=1e-4)


def test_no_kept_window_covers_another_and_every_other_one_is_covered_by_a_surer() -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 40, (60, 2))
    boxes = Boxes(np.hstack([corners, corners + 12]), np.arange(60) % 3)
    scores = rng.normal(size=60)
    kept = unsuppressed(boxes, scores, 0.2)

    def iou(a: int, b: int) -> float:
        one, other = boxes.corners[a], boxes.corners[b]
        wide = min(one[2], other[2]) - max(one[0], other[0])
        tall = min(one[3], other[3]) - max(one[1], other[1])
        shared = max(wide, 0) * max(tall, 0)
        return float(shared / (288 - shared))

    near = {
        row: [k for k in kept if k != row and boxes.images[k] == boxes.images[row]]
        for row in range(60)
    }
    for row in range(60):
        covered = [k for k in near[row] if iou(row, k) >= 0.2]
        assert (row in kept) == (not [k for k in covered if scores[k] > scores[row]])
    assert unsuppressed(boxes, scores, 1.0).tolist() == list(range(60))


def test_the_interval_of_a_froc_score_holds_it_and_is_that_of_patients() -> None:
    found, scores, lesions, patients = drawn(3)
    curve, (low, high) = froc_with_interval(
        found, scores, lesions, patients, rule="centre", least_iou=0.5
    )
    assert curve.score == froc(found, scores, lesions, 24, rule="centre").score
    assert 0 < low < curve.score < high <= 1
    rng = np.random.default_rng(5)
    each = []
    for _ in range(200):  # patients drawn anew, each as images of its own
        chosen = rng.integers(0, 12, 12)
        parts = [[2 * p, 2 * p + 1] for p in chosen]
        rows = [np.flatnonzero(found.images == image) for part in parts for image in part]
        place = np.repeat(np.arange(24), [len(one) for one in rows])
        taken = np.concatenate(rows)
        again = Boxes(found.corners[taken], place)
        truth = Boxes(lesions.corners[np.concatenate(parts)], np.arange(24))
        each.append(froc(again, scores[taken], truth, 24, rule="centre").score)
    assert (low, high) == pytest.approx(tuple(np.quantile(each, (0.025, 0.975))), abs=0.03)
