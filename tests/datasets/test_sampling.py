import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medrobust.datasets.image_set import ImageSet
from medrobust.datasets.sampling import draw_order, stratified_rows


def image_set(labels: list[int], classes: int = 4) -> ImageSet:
    count = len(labels)
    return ImageSet(
        name="x",
        split="train",
        images=np.zeros((count, 2, 2), np.uint8),
        labels=np.array(labels, dtype=np.int64),
        task="multi-class",
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


@settings(max_examples=60, deadline=None)
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
