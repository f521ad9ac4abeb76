"""What a split is judged by: subsets keep what belongs together, and what does not is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medrobust.base.split_facts import SplitFacts
from medrobust.base.targets import Boxes, Labels, Masks, Target, Texts
from medrobust.datasets.image_set import ImageSet
from medrobust.evaluation.store import Store
from medrobust.exceptions import InvalidDataError

COUNT = 5
PAIRS = np.array([[0, 0], [0, 1], [1, 1], [2, 2], [3, 3], [4, 1]])  # text 1 is of three images
TEXTS = Texts(np.array(["nodule", "effusion", "normal", "mass"]), PAIRS)
BOXES = Boxes(
    np.array([[0, 0, 4, 4], [1, 1, 3, 2], [0, 2, 4, 3]], np.float32),
    np.array([4, 1, 4]),
    np.array([0, 2, 1]),
)
MASKS = Masks(np.arange(COUNT, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8), "x")
LABELS = Labels(np.arange(COUNT) % 3)


def image_set(target: Target) -> ImageSet:
    return ImageSet(
        name="scans",
        split="test",
        fingerprint="f" * 64,
        images=np.zeros((COUNT, 4, 4), np.uint8),
        index=np.arange(COUNT),
        ids=np.array([f"i{row}" for row in range(COUNT)]),
        target=target,
        class_names=("a", "b", "c"),
        label_kind="multi-class" if isinstance(target, Labels) else None,
    )


def pairs_by_name(target: Texts, ids: list[str]) -> set[tuple[str, str]]:
    return {(ids[image], str(target.values[text])) for image, text in target.pairs}


def test_texts_follow_their_images_and_shared_ones_stay_shared() -> None:
    whole = image_set(TEXTS)
    part = whole.take([4, 0, 1], fingerprint="p")
    assert isinstance(part.target, Texts)
    kept = {"i4", "i0", "i1"}
    expected = {pair for pair in pairs_by_name(TEXTS, whole.ids.tolist()) if pair[0] in kept}
    assert pairs_by_name(part.target, part.ids.tolist()) == expected
    assert part.target.values.tolist() == ["nodule", "effusion"]
    assert part.sizes == {"image": 3, "class": 3, "text": 2}
    assert part.counted == "3 classes, 2 texts"


def test_boxes_follow_their_images() -> None:
    part = image_set(BOXES).take([4, 2, 1], fingerprint="p").target
    assert isinstance(part, Boxes)
    assert part.images.tolist() == [0, 0, 2]
    assert part.classes.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(part.values, BOXES.values[[0, 2, 1]])


def test_masks_stay_on_the_disk_until_they_are_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "masks.npy", MASKS.values)
    mapped = Masks(np.load(tmp_path / "masks.npy", mmap_mode="r"), "x")
    part = image_set(mapped).take([3, 1], fingerprint="p").target
    assert isinstance(part, Masks)
    assert not isinstance(part.values, np.ndarray)
    np.testing.assert_array_equal(np.asarray(part.values), MASKS.values[[3, 1]])


@pytest.mark.parametrize("target", [LABELS, TEXTS, BOXES])
def test_a_store_keeps_what_reports_are_made_from(target: Target, tmp_path: Path) -> None:
    Store(tmp_path).write_data(image_set(target))
    found = Store(tmp_path).data("f" * 64)
    assert type(found) is SplitFacts
    assert found.target is not None
    assert found.sizes == image_set(target).sizes
    for name, array in target.arrays().items():
        np.testing.assert_array_equal(found.target.arrays()[name], array)


def test_a_store_keeps_no_masks_as_it_keeps_no_images(tmp_path: Path) -> None:
    Store(tmp_path).write_data(image_set(MASKS))
    found = Store(tmp_path).data("f" * 64)
    assert found.target is None
    with pytest.raises(InvalidDataError, match="nothing that a store keeps"):
        _ = found.labels
    assert not list(tmp_path.rglob("mask*.npy"))


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        (Labels(np.zeros(COUNT)), "float64.*whole numbers"),
        (Labels(np.zeros(COUNT, np.int32)), "int32.*int64"),
        (Labels(np.arange(COUNT)), "span 0..4"),
        (Labels(np.zeros(4, np.int64)), "5 images, 4 labels"),
        (Masks(np.zeros((COUNT, 4, 4))), "uint8"),
        (Masks(np.zeros((3, 4, 4), np.uint8)), "5 images and 3 masks"),
        (Texts(np.array(["a"]), np.array([[0, 0], [1, 0]])), "an image has no text"),
        (Texts(np.array(["a"]), np.array([[0, 1]])), "a pair names none"),
        (Texts(np.array([1]), PAIRS), "strings"),
        (Texts(np.array(["a", 1], object), PAIRS), "strings"),
        (Boxes(BOXES.values.astype(float), BOXES.images, BOXES.classes), "float32"),
        (Boxes(BOXES.values, BOXES.images + 1, BOXES.classes), r"0\.\.4"),
        (Boxes(BOXES.values[:, ::-1].copy(), BOXES.images, BOXES.classes), "ends before"),
    ],
)
def test_a_target_that_does_not_fit_is_refused_in_one_sentence(
    target: Target, complaint: str
) -> None:
    with pytest.raises(InvalidDataError, match=f"'scans', split 'test': .*{complaint}") as told:
        image_set(target)
    assert "\n" not in str(told.value)


def test_labels_and_their_kind_may_be_given_as_release_0_1_had_it() -> None:
    now = image_set(LABELS)
    given = {"labels": LABELS.values, "task": "multi-class", "class_names": now.class_names}
    place = {"name": "scans", "split": "test", "fingerprint": "f", "ids": now.ids}
    before = ImageSet(**place, **given, images=now.images, index=now.index)
    assert (before.task, before.label_kind) == ("multi-class", "multi-class")
    np.testing.assert_array_equal(before.labels, now.labels)
    assert replace(before, labels=now.labels[::-1]).labels.tolist() == now.labels.tolist()[::-1]
