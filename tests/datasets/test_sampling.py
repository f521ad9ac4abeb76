from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medrobust.base.lazy_rows import PickedRows
from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.sampling import FewShots, draw_order, few_shots, limited, stratified_rows
from medrobust.exceptions import ConfigurationError

FIXED_SHOTS = ["train0", "train1", "train6", "train7"]
FIXED_SELECTION = ["train12", "train13", "train14", "train15"]
"""Written down once; a change here changes every few-shot result."""


def image_set(labels: list[int], classes: int = 4) -> ImageSet:
    count = len(labels)
    return ImageSet(
        name="x",
        split="train",
        images=np.zeros((count, 2, 2), np.uint8),
        labels=np.array(labels, dtype=np.int64),
        label_kind="multi-class",
        class_names=tuple("abcdefgh"[:classes]),
        ids=np.array([f"id{i}" for i in range(count)]),
        index=np.arange(count),
        fingerprint="0" * 64,
    )


def test_the_order_of_a_draw_is_fixed_for_ever() -> None:
    order = draw_order(["a", "b", "c"], seed=0, purpose="subset")
    assert order.tolist() == [0.1442576097665098, 0.02840742656326456, 0.9737336915819155]
    assert not np.array_equal(order, draw_order(["a", "b", "c"], seed=1, purpose="subset"))
    assert not np.array_equal(order, draw_order(["a", "b", "c"], seed=0, purpose="shots"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 5), st.data())
def test_a_stratified_part_keeps_shares_and_nests(
    labels: list[int], seed: int, data: st.DataObject
) -> None:
    whole = image_set(labels)
    count = data.draw(st.integers(1, len(labels)))
    rows = stratified_rows(whole, count, seed)
    assert len(set(rows.tolist())) == count
    assert rows.tolist() == sorted(rows.tolist())
    taken = np.bincount(whole.labels[rows], minlength=4)
    share = np.bincount(whole.labels, minlength=4) * count / len(labels)
    assert np.abs(taken - share).max() <= 1
    assert set(stratified_rows(whole, max(1, count - 1), seed)) <= set(rows)


def few_shot_set(
    labels: list[int] | np.ndarray, groups: list[int] | None, split: str = "train"
) -> ImageSet:
    given = np.asarray(labels, dtype=np.int64)
    several = given.ndim == 2
    return ImageSet(
        name="x",
        split=split,
        images=np.zeros((len(given), 2, 2), np.uint8),
        labels=given,
        label_kind="multi-label, binary-class" if several else "multi-class",
        class_names=tuple("abcdefgh"[: given.shape[1] if several else 4]),
        ids=np.array([f"{split}{i}" for i in range(len(given))]),
        index=np.arange(len(given)),
        fingerprint=split.ljust(64, "0"),
        groups=None if groups is None else np.array([f"p{g}" for g in groups]),
    )


@st.composite
def pools(draw: st.DrawFn) -> ImageSet:
    labels = draw(st.lists(st.integers(0, 3), min_size=2, max_size=50))
    patients = draw(
        st.none() | st.lists(st.integers(0, 12), min_size=len(labels), max_size=len(labels))
    )
    return few_shot_set(labels, patients)


def check_apart(drawn: FewShots) -> None:
    assert len(set(drawn.shots.ids)) == len(drawn.shots)
    if drawn.selection is None:
        return
    assert not set(drawn.shots.ids) & set(drawn.selection.ids)
    if drawn.shots.groups is not None and drawn.selection.groups is not None:
        assert not set(drawn.shots.groups) & set(drawn.selection.groups)


@settings(max_examples=40, deadline=None)
@given(pools(), st.floats(0.01, 1.0), st.integers(0, 3))
def test_a_fraction_keeps_the_shares_of_the_classes_and_its_parts_apart(
    pool: ImageSet, fraction: float, seed: int
) -> None:
    drawn = few_shots(pool, fraction=fraction, seed=seed)
    check_apart(drawn)
    taken = np.bincount(drawn.shots.labels, minlength=4)
    there = np.bincount(pool.labels, minlength=4)
    assert (np.abs(taken - fraction * there)[there > 0] <= 1).all()
    assert (taken[there > 0] >= 1).all()
    less = few_shots(pool, fraction=fraction / 2, seed=seed)
    assert set(less.shots.ids) <= set(drawn.shots.ids)


@settings(max_examples=40, deadline=None)
@given(pools(), st.integers(1, 6), st.integers(0, 3), st.randoms(use_true_random=False))
def test_k_shots_a_class_are_k_and_do_not_depend_on_the_order_of_rows(
    pool: ImageSet, k: int, seed: int, random: Random
) -> None:
    drawn = few_shots(pool, shots=k, seed=seed)
    check_apart(drawn)
    there = np.bincount(pool.labels, minlength=4)
    assert np.bincount(drawn.shots.labels, minlength=4).tolist() == np.minimum(there, k).tolist()
    assert len(drawn.notes) >= (there < k).sum()
    rows = list(range(len(pool)))
    random.shuffle(rows)
    shuffled = few_shots(pool.take(rows, fingerprint="1" * 64), shots=k, seed=seed)
    assert set(shuffled.shots.ids) == set(drawn.shots.ids)
    if k > 1:
        assert set(few_shots(pool, shots=k - 1, seed=seed).shots.ids) <= set(drawn.shots.ids)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=2, max_size=40),
    st.integers(1, 4),
    st.floats(0.05, 1.0),
)
def test_label_sets_show_every_label_k_times(
    rows: list[tuple[int, ...]], k: int, fraction: float
) -> None:
    pool = few_shot_set(np.array(rows), None)
    drawn = few_shots(pool, shots=k)
    check_apart(drawn)
    assert (drawn.shots.labels.sum(axis=0) >= np.minimum(pool.labels.sum(axis=0), k)).all()
    part = few_shots(pool, fraction=fraction)
    check_apart(part)
    assert len(part.shots) == max(1, int(fraction * len(rows) + 0.5))


@settings(max_examples=40, deadline=None)
@given(pools(), st.integers(1, 3))
def test_selection_from_val_leaves_out_the_patients_of_the_shots(pool: ImageSet, k: int) -> None:
    patients = [i % 13 for i in range(30)]
    val = few_shot_set([i % 4 for i in range(30)], patients, split="val")
    drawn = few_shots(pool, shots=k, select_from=val)
    check_apart(drawn)
    assert drawn.selection is None or drawn.selection.split == "val"


def test_the_ids_of_a_seed_are_the_same_on_every_machine() -> None:
    pool = few_shot_set([0, 1, 2, 3] * 6, [i // 2 for i in range(24)])
    record = few_shots(pool, shots=1, seed=7).record()
    assert record == {
        "dataset": "x",
        "pool": "train",
        "shots": FIXED_SHOTS,
        "selection_split": "train",
        "selection": FIXED_SELECTION,
        "notes": [],
    }
    assert few_shots(pool, shots=1, seed=8).record()["shots"] != record["shots"]


def test_a_fraction_takes_patients_whole_and_shots_take_many_patients() -> None:
    pool = few_shot_set([0, 1] * 60, [i // 12 for i in range(120)])  # 10 patients of 12 images
    tenth = few_shots(pool, fraction=0.1).shots
    assert tenth.groups is not None
    assert len(set(tenth.groups)) == 1
    five = few_shots(pool, shots=5).shots
    assert five.groups is not None
    assert [len(set(five.groups[five.labels == kind])) for kind in (0, 1)] == [5, 5]


def test_when_nothing_is_left_for_selection_it_is_said() -> None:
    pool = few_shot_set([0, 1, 2, 3] * 5, None)
    drawn = few_shots(pool, fraction=1.0)
    assert len(drawn.shots) == 20
    assert drawn.selection is None
    assert drawn.notes == ("no image of train is left for selection",)
    assert few_shots(pool, shots=6).notes[0] == "a: 5 of 6 images in train"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "give one of the two"),
        ({"fraction": 0.1, "shots": 2}, "give one of the two"),
        ({"fraction": 0.0}, "above 0"),
        ({"fraction": 1.1}, "at most 1"),
        ({"shots": 0}, "at least 1"),
    ],
)
def test_a_request_that_means_nothing_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        few_shots(few_shot_set([0, 1], None), **options)


def test_the_test_split_is_never_drawn_from() -> None:
    pool, test = few_shot_set([0, 1] * 4, None), few_shot_set([0, 1] * 4, None, split="test")
    with pytest.raises(ConfigurationError, match=r"tuning\.pool=test"):
        few_shots(test, shots=1)
    with pytest.raises(ConfigurationError, match=r"tuning\.select_from=test"):
        few_shots(pool, shots=1, select_from=test)


def test_a_part_of_a_set_reads_no_image_before_it_is_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2))
    stored = np.load(tmp_path / "a.npy", mmap_mode="r")
    whole = replace(few_shot_set([0, 1, 2, 3] * 3, None), images=stored)
    part = limited(whole, 4)
    assert isinstance(part.images, PickedRows)
    assert part.images.source is stored
    rows = part.index
    np.testing.assert_array_equal(part.images, stored[rows])
    np.testing.assert_array_equal(part.images[1], stored[rows[1]])
    np.testing.assert_array_equal(part.images[1:3], stored[rows[1:3]])
    np.testing.assert_array_equal(part.images[[3, 0]], stored[rows[[3, 0]]])
    np.testing.assert_array_equal(part.images[:, 0, 1], stored[rows][:, 0, 1])
    np.testing.assert_array_equal(part.images[2, 1], stored[rows[2], 1])
    smaller = part.take([2, 0], fingerprint="2" * 64)
    np.testing.assert_array_equal(smaller.images, stored[rows[[2, 0]]])
    neighbours = whole.take([4, 5, 6], fingerprint="3" * 64)
    assert isinstance(neighbours.images, np.memmap)
