from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medrobust.datasets import ImageSet, Phantoms
from medrobust.datasets.phantoms import source as phantoms
from medrobust.datasets.phantoms.source import phantom
from medrobust.exceptions import ConfigurationError, UnknownNameError

COLORED = {"blood", "fundus"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture(scope="module")
def test_split(cache: str) -> ImageSet:
    return Phantoms(per_class=6, cache_dir=cache).load()


@pytest.fixture(scope="module")
def splits(cache: str) -> dict[str, ImageSet]:
    source = Phantoms(per_class=3, cache_dir=cache)
    return {split: source.load(split) for split in phantoms.SPLITS}


@pytest.fixture
def threads_of_cv2() -> Iterator[int]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield 3
    cv2.setNumThreads(before)


def families_of(images: ImageSet) -> np.ndarray:
    return np.array([name.split("/")[1] for name in images.ids])


@pytest.mark.parametrize("row", [0, 27, 46, 73, 119])
def test_an_image_drawn_alone_is_its_row_of_the_split(test_split: ImageSet, row: int) -> None:
    np.testing.assert_array_equal(phantom(row, split="test"), test_split.images[row])


def test_the_test_split_is_balanced_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = np.zeros((224, 224, 3), np.uint8)
    monkeypatch.setattr(phantoms, "phantom", lambda row, **_: blank)
    whole = Phantoms(cache_dir=str(tmp_path)).load()
    assert whole.images.shape == (420, 224, 224, 3)
    assert np.bincount(whole.labels).tolist() == [21] * 20
    assert (whole.index == np.arange(420)).all()
    assert whole.origin == "phantom"
    assert whole.stream == "phantoms/test"


def test_every_class_belongs_to_a_family_and_its_prompt_name_says_the_modality(
    test_split: ImageSet,
) -> None:
    names = [name for classes in phantoms.FAMILIES.values() for name in classes]
    assert test_split.class_names == tuple(names)
    assert len(set(names)) == 20
    assert min(len(classes) for classes in phantoms.FAMILIES.values()) >= 3
    assert test_split.prompt_names[0] == "neutrophil on blood cell microscopy"


def test_a_longer_split_begins_with_the_shorter_one(
    test_split: ImageSet, splits: dict[str, ImageSet]
) -> None:
    short = splits["test"]
    np.testing.assert_array_equal(short.images, test_split.images[:60])
    assert short.ids.tolist() == test_split.ids[:60].tolist()
    assert short.fingerprint != test_split.fingerprint


def test_no_patient_and_no_image_is_in_two_splits(splits: dict[str, ImageSet]) -> None:
    patients = [set(images.groups.tolist()) for images in splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients))
    pixels = [image.tobytes() for images in splits.values() for image in images.images]
    assert len(set(pixels)) == len(pixels)


def test_a_patient_has_one_class_except_in_the_blood_family(test_split: ImageSet) -> None:
    for patient in np.unique(test_split.groups):
        labels = test_split.labels[test_split.groups == patient]
        assert len(labels) == 3
        assert len(set(labels)) == (3 if "/blood/" in patient else 1)


def test_grey_families_have_three_equal_channels(test_split: ImageSet) -> None:
    for row, family in enumerate(families_of(test_split)[:20]):
        image = test_split.images[row]
        assert (np.ptp(image, axis=-1).max() > 0) == (family in COLORED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drawn", "family"),
    [
        *((1400, family) for family in ("blood", "fundus", "chest")),
        *(
            pytest.param(drawn, family, marks=pytest.mark.slow)
            for drawn in (1400, 6000)
            for family in phantoms.FAMILIES
            if drawn > 1400 or family in ("oct", "ultrasound")  # exposed as chest is
        ),
    ],
)
def test_brightness_and_contrast_of_the_channels_do_not_tell_the_class(
    drawn: int, family: str
) -> None:
    """One image a patient: images of one patient share their exposure and are not independent."""
    rows = [row for row in range(drawn) if is_first_of_patient(row, family)]
    images = np.stack([phantom(row, split="train") for row in rows])
    labels = [phantoms.place(row).label for row in rows]
    features = np.concatenate([images.mean((1, 2)), images.std((1, 2))], axis=1)
    guesses = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), features, labels, cv=5
    )
    chance = 1 / len(phantoms.FAMILIES[family])
    assert len(rows) >= drawn / 20
    assert balanced_accuracy_score(labels, guesses) < chance + 0.12


def is_first_of_patient(row: int, family: str) -> bool:
    at = phantoms.place(row)
    return at.family.name == family and at.image == 0


@pytest.mark.slow
def test_site_b_shows_other_patients_with_less_contrast_and_more_noise(
    test_split: ImageSet, cache: str
) -> None:
    other = Phantoms(name="phantoms_site_b", site="b", per_class=3, cache_dir=cache).load()
    here, there = (np.asarray(images.images[:60], np.float32) for images in (test_split, other))

    def noise(images: np.ndarray) -> float:
        corner = images[families_of(other) == "oct"][:, :24, :, 0]  # nothing is drawn there
        return float(np.diff(corner, axis=2).std())

    assert other.fingerprint != test_split.fingerprint
    assert other.class_names == test_split.class_names
    assert there.std((1, 2)).mean() < 0.8 * here.std((1, 2)).mean()
    assert noise(there) > 1.5 * noise(here)


def test_another_seed_has_other_patients(splits: dict[str, ImageSet]) -> None:
    other = phantom(0, split="test", seed=1)
    assert (other != splits["test"].images[0]).mean() > 0.5


def test_a_split_is_drawn_once(
    cache: str, splits: dict[str, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(phantoms, "phantom", refuse)
    again = Phantoms(per_class=3, cache_dir=cache).load("val")
    assert again.fingerprint == splits["val"].fingerprint
    assert isinstance(again.images, np.memmap)


def test_the_same_split_drawn_elsewhere_has_the_same_fingerprint(
    splits: dict[str, ImageSet], tmp_path: Path
) -> None:
    source = replace(Phantoms(per_class=3), cache_dir=str(tmp_path))
    assert source.load().fingerprint == splits["test"].fingerprint


def test_drawing_leaves_the_threads_of_cv2_as_they_were(
    threads_of_cv2: int, tmp_path: Path
) -> None:
    Phantoms(per_class=1, cache_dir=str(tmp_path)).load()
    assert cv2.getNumThreads() == threads_of_cv2


def test_a_part_is_stratified_and_marked(test_split: ImageSet, cache: str) -> None:
    part = Phantoms(per_class=6, limit=40, cache_dir=cache).load()
    assert np.bincount(part.labels).tolist() == [2] * 20
    assert part.marks
    assert part.fingerprint != test_split.fingerprint


def test_unknown_sites_splits_and_sizes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="site of the phantoms 'z'"):
        Phantoms(site="z")
    with pytest.raises(UnknownNameError, match=r"'tset'.*'test'"):
        Phantoms(split="tset")
    with pytest.raises(UnknownNameError, match="unknown split"):
        Phantoms().load("validation")
    with pytest.raises(ConfigurationError, match="224 pixels only"):
        Phantoms(size=128)
    with pytest.raises(ConfigurationError, match="at least one image"):
        Phantoms(per_class=0)


def test_training_images_have_a_measure_and_a_pair_where_that_is_asked(cache: str) -> None:
    plain, asked = (
        Phantoms(per_class=1, cache_dir=cache, metadata=one).load("train") for one in (False, True)
    )
    assert (plain.metadata, plain.fingerprint) == (None, asked.fingerprint)
    assert asked.metadata is not None
    assert asked.metadata_columns == ("brightness", "visit")
    grey, visit = asked.metadata.T
    assert float(grey[7]) == pytest.approx(asked.images[7].mean() / 255, abs=1e-4)
    number = [int(one.rpartition("/")[2]) for one in asked.ids.tolist()]
    assert [bool(one) for one in visit.tolist()] == [image < 2 for image in number]
    assert all(one.startswith(who) for one, who in zip(visit, asked.groups, strict=True) if one)
    assert Phantoms(per_class=1, cache_dir=cache, metadata=True).load("test").metadata is None
