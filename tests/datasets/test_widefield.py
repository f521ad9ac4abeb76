"""Wide-field phantoms: boxes are those of their masks, and every patient belongs to one split."""

import numpy as np
import pytest

from medrobust.base.targets import Boxes, WindowLabels
from medrobust.datasets import ImageSet, PhantomWidefield
from medrobust.datasets.image_set import judged_by
from medrobust.datasets.phantoms.widefield import MOST, place, widefield_phantom
from medrobust.exceptions import ConfigurationError, UnknownNameError

PATIENTS = 4


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> PhantomWidefield:
    return PhantomWidefield(per_class=2, cache_dir=str(tmp_path_factory.mktemp("wide")))


@pytest.fixture(scope="module")
def whole(source: PhantomWidefield) -> ImageSet:
    found: ImageSet = judged_by(source, "boxes").load()
    return found


@pytest.mark.slow
def test_boxes_are_those_of_the_masks_of_an_image_drawn_alone(whole: ImageSet) -> None:
    boxes = whole.target
    assert isinstance(boxes, Boxes)
    for row in (0, 5, 14):
        picture, masses, kinds = widefield_phantom(row, split="test")
        np.testing.assert_array_equal(picture, whole.images[row])
        own = boxes.images == row
        assert boxes.classes[own].tolist() == list(kinds)
        assert sorted(set(np.unique(masses)) - {0}) == list(range(1, len(kinds) + 1))
        for number, (left, top, right, bottom) in enumerate(boxes.values[own].astype(int), 1):
            inside = masses[top:bottom, left:right] == number
            assert inside.sum() == (masses == number).sum() > 100
            assert inside.any(axis=0).all()
            assert inside.any(axis=1).all()


def test_images_have_one_to_five_masses_and_every_other_patient_is_ill_on_one_side(
    whole: ImageSet,
) -> None:
    boxes = whole.target
    assert isinstance(boxes, Boxes)
    counts = np.bincount(boxes.images, minlength=len(whole))
    assert counts.min() >= 1
    assert counts.max() <= MOST
    ill = np.bincount(boxes.images, weights=boxes.classes, minlength=len(whole)) > 0
    wanted = [at.ill and at.side == at.ill_side for at in map(place, range(len(whole)))]
    assert ill.tolist() == wanted
    assert whole.metadata_columns == ("side", "visit")


def test_a_mass_is_darker_than_what_surrounds_it(whole: ImageSet) -> None:
    boxes = whole.target
    assert isinstance(boxes, Boxes)
    _, masses, _ = widefield_phantom(5, split="test")
    image = np.asarray(whole.images[5])[..., 0].astype(float)
    for number in range(1, masses.max() + 1):
        left, top, right, bottom = boxes.values[boxes.images == 5][number - 1].astype(int)
        around = image[top - 6 : bottom + 6, left - 6 : right + 6]
        assert image[masses == number].mean() < 0.8 * around[0].mean()


@pytest.mark.slow
def test_windows_are_one_a_mass_and_patients_belong_to_one_split(source: PhantomWidefield) -> None:
    splits = {name: source.load(name) for name in ("val", "test")}
    assert not set(splits["val"].groups) & set(splits["test"].groups)
    test = splits["test"]
    assert isinstance(test.target, WindowLabels)
    assert len(test) == len(test.target.lesions.images)
    assert test.class_names == ("benign mass", "malignant mass")
    assert len(set(test.groups)) == PATIENTS
    assert test.metadata_columns == ("side", "visit", "image")
    grid = PhantomWidefield(per_class=2, cache_dir=source.cache_dir, grid=4).load()
    assert len(grid) == 16 * 4 * PATIENTS
    assert grid.class_names[0] == "normal breast tissue"


def test_sizes_that_are_not_drawn_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"dataset.per_class=0"):
        PhantomWidefield(per_class=0)
    with pytest.raises(ConfigurationError, match="224 pixels only"):
        PhantomWidefield(size=64)
    with pytest.raises(UnknownNameError, match="site"):
        PhantomWidefield(site="z")
