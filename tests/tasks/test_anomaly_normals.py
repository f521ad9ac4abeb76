"""Normal images that a head is made from: which they are, and what is said where there are few."""

from dataclasses import replace

import numpy as np
import pytest

from medrobust.base.targets import Labels
from medrobust.datasets.image_set import ImageSet
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, UnknownNameError
from medrobust.tasks.anomaly import Anomaly
from medrobust.tasks.anomaly.normals import drawn, shots
from medrobust.tasks.other_images import batches, other_split

NORMAL = ["normal"]


def split(name: str, labels: list[int], grey: bool = True) -> ImageSet:
    count = len(labels)
    shape = (count, 8, 8) if grey else (count, 8, 8, 3)
    return ImageSet(
        name="scans",
        split=name,
        fingerprint=name.ljust(64, "f"),
        images=np.arange(np.prod(shape)).reshape(shape).astype(np.uint8),
        index=np.arange(count) * 7,
        ids=np.array([f"{name}{row}" for row in range(count)]),
        target=Labels(np.array(labels)),
        class_names=("normal", "abnormal"),
        label_kind="binary-class",
        positive=1,
    )


TRAIN = split("train", [0, 1, 0, 0, 1, 0, 0])
TEST = replace(split("test", [0, 1]), other_split=lambda name: {"train": TRAIN}[name])


def test_few_shots_lie_among_more_and_are_normal() -> None:
    four, two = (shots(TEST, NORMAL, count, seed=3) for count in (4, 2))
    assert set(two.ids) < set(four.ids) <= {"train0", "train2", "train3", "train5", "train6"}
    assert set(shots(TEST, NORMAL, 2, seed=4).ids) != set(two.ids)
    assert len(shots(TEST, NORMAL, None, seed=0)) == 5


def test_shots_are_of_as_many_patients_as_there_are_and_the_fewer_among_the_more() -> None:
    patients = np.array([f"p{row // 5}" for row in range(20)])
    train = replace(split("train", [0] * 20), groups=patients)
    test = replace(split("test", [0, 1]), other_split=lambda name: {"train": train}[name])
    drawn_rows: set[str] = set()
    for count in (1, 3, 4, 7, 12):
        found = shots(test, NORMAL, count, seed=5)
        assert drawn_rows < set(found.ids)
        drawn_rows = set(found.ids)
        each = np.unique(found.groups, return_counts=True)[1]
        assert len(found) == count
        assert len(each) == min(count, 4)
        assert each.max() - each.min() <= 1


def test_fewer_shots_than_asked_for_are_all_used_and_it_is_said() -> None:
    assert len(shots(TEST, NORMAL, 16, seed=0)) == 5
    for scorer in ("memory_bank", "combined", "gaussian"):
        (said,) = Anomaly(scorer, normal_shots=16, maps=False).remarks(TEST)
        assert said.startswith("task.normal_shots=16: the train split of data set 'scans' has 5")
    assert not Anomaly("memory_bank", normal_shots=5).remarks(TEST)
    assert not Anomaly("prompts", normal_shots=16).remarks(TEST)


def test_a_gaussian_of_one_image_is_said_to_have_no_covariance() -> None:
    (said,) = Anomaly("gaussian", normal_shots=1).remarks(TEST)
    assert "no covariance" in said
    assert not Anomaly("gaussian", normal_shots=2).remarks(TEST)
    assert not Anomaly("memory_bank", normal_shots=1).remarks(TEST)


def test_labels_of_abnormal_training_images_decide_nothing_but_that_they_are_left_out() -> None:
    with_others = drawn(TRAIN, NORMAL, 3, seed=0)
    rows = np.flatnonzero(TRAIN.labels == 0)
    alone = drawn(TRAIN.take(rows, fingerprint="n" * 64), NORMAL, 3, seed=0)
    assert with_others.ids.tolist() == alone.ids.tolist()


def test_what_cannot_be_compared_with_is_said() -> None:
    with pytest.raises(ConfigurationError, match="split 'val' of data set 'scans' has no normal"):
        drawn(split("val", [1, 1]), NORMAL, None, 0)
    with pytest.raises(ConfigurationError, match=r"needs the val split .* only split 'train'"):
        other_split(TRAIN, "val", "anomaly")
    assert other_split(TRAIN, "train", "anomaly") is TRAIN

    def lacking(name: str) -> ImageSet:
        raise DatasetNotFoundError(f"t.csv has no row of split {name!r}.")

    said = r"needs the val split of data set 'scans', beside split 'train': t\.csv has no row of"
    with pytest.raises(ConfigurationError, match=said):
        other_split(replace(TRAIN, other_split=lacking), "val", "anomaly")


@pytest.mark.parametrize("grey", [True, False])
def test_images_are_read_channels_first_as_the_engine_reads_them(grey: bool) -> None:
    given = split("train", [0] * 40, grey)
    read = list(batches(given, "cpu"))
    assert [len(part) for part in read] == [32, 8]
    assert tuple(read[0].shape[1:]) == ((1, 8, 8) if grey else (3, 8, 8))
    stored = given.images[33] if grey else np.moveaxis(given.images[33], -1, 0)
    np.testing.assert_array_equal(read[1][1].numpy().squeeze(), stored)


@pytest.mark.parametrize("shots", ["many", [1], 0, 1.5, True])
def test_settings_of_the_wrong_kind_are_refused_by_name(shots: object) -> None:
    with pytest.raises(ConfigurationError, match=r"task\.normal_shots=.* must be a whole number"):
        Anomaly("memory_bank", normal_shots=shots)
    with pytest.raises(
        ConfigurationError, match=r"task\.blocks=.* must be a list of whole numbers"
    ):
        Anomaly(blocks=shots if isinstance(shots, str) else [shots])
    with pytest.raises(ConfigurationError, match=r"task\.bank=.* must be a share"):
        Anomaly("memory_bank", bank=shots)
    if shots is not True:
        with pytest.raises(ConfigurationError, match=r"task\.maps=.* must be true or false"):
            Anomaly(maps=shots)
        with pytest.raises(ConfigurationError, match=r"store\.maps=.* must be true or false"):
            Anomaly(store_maps=shots)
    with pytest.raises(UnknownNameError, match="There are: cosine, euclidean"):
        Anomaly(metric=shots)
