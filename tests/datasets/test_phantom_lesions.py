"""Phantoms with lesions: what a mask covers is what the lesion has changed, and nothing else."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from medrobust.base.targets import MaskedLabels, Masks
from medrobust.datasets import ImageSet, PhantomLesions, Phantoms
from medrobust.datasets.image_set import judged_by
from medrobust.datasets.phantoms.lesions import FAMILIES, STATES, lesion_phantom, place
from medrobust.datasets.phantoms.render import Family
from medrobust.exceptions import ConfigurationError, InvalidDataError, UnknownNameError


@pytest.fixture(scope="module")
def test_split(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    cache = str(tmp_path_factory.mktemp("phantoms"))
    return PhantomLesions(per_class=24, cache_dir=cache).load()


def masks_of(images: ImageSet) -> np.ndarray:
    assert isinstance(images.target, MaskedLabels)
    return np.asarray(images.target.masks)


@pytest.mark.slow
def test_half_of_every_family_is_normal_and_the_other_half_has_lesions(
    test_split: ImageSet,
) -> None:
    covered = masks_of(test_split).any(axis=(1, 2))
    np.testing.assert_array_equal(covered, test_split.labels == 1)
    assert test_split.class_names == STATES
    for family in FAMILIES:
        own = test_split.metadata[:, 0] == family.name
        assert np.bincount(test_split.labels[own]).tolist() == [6, 6]
    assert set(np.unique(masks_of(test_split))) == {0, 1}


def test_an_image_drawn_alone_is_its_row_of_the_split(test_split: ImageSet) -> None:
    for row in (0, 5, 47):
        image, mask = lesion_phantom(row, split="test")
        np.testing.assert_array_equal(image, test_split.images[row])
        np.testing.assert_array_equal(mask, masks_of(test_split)[row])


def test_patients_have_one_state_and_every_kind_of_lesion_occurs(test_split: ImageSet) -> None:
    for patient in set(test_split.groups):
        assert len(set(test_split.labels[test_split.groups == patient])) == 1
    kinds = {place(row).kind for row in range(1, 240, 2)}
    assert kinds == {kind for family in FAMILIES for kind in family.lesions}


@pytest.mark.parametrize(
    ("family", "kind"),
    [(f, kind) for f in FAMILIES if f.name in ("fundus", "chest") for kind in f.lesions],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_lesion_changes_what_its_mask_covers_and_leaves_the_rest(
    family: Family, kind: str
) -> None:
    """These families draw the lesion last: without it the same draws give the same image."""
    lesion = np.zeros((224, 224), np.float32)
    with_it = family.draw(np.random.default_rng(4), kind, lesion)
    without = family.draw(np.random.default_rng(4), family.normal)
    changed = np.abs(with_it - without).max(axis=0)
    assert (changed[lesion == 0] == 0).all()
    inside = changed[lesion >= 0.5]  # the base of an effusion lies where it was bright before
    assert np.median(inside) > 0.04
    assert (inside > 0.004).mean() > 0.95


@pytest.mark.parametrize("name", ["oct", "ultrasound"])
def test_cysts_and_masses_are_darker_than_what_lies_around_them(name: str) -> None:
    (family,) = (one for one in FAMILIES if one.name == name)
    for kind in ("cystoid fluid",) if name == "oct" else family.lesions:
        lesion = np.zeros((224, 224), np.float32)
        image = family.draw(np.random.default_rng(6), kind, lesion)[0]
        around = cv2.dilate((lesion >= 0.5).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
        assert image[lesion >= 0.5].mean() < 0.6 * image[around & (lesion < 0.5)].mean()


def test_drawing_masks_changes_no_pixel_of_the_phantoms_that_there_were() -> None:
    for family in FAMILIES:
        lesion = np.zeros((224, 224), np.float32)
        for kind in family.classes:
            drawn = family.draw(np.random.default_rng(1), kind, lesion)
            np.testing.assert_array_equal(drawn, family.draw(np.random.default_rng(1), kind))


def test_phantoms_give_lesions_where_a_task_wants_masks(tmp_path) -> None:
    plain = Phantoms(per_class=8, cache_dir=str(tmp_path))
    judged = judged_by(plain, "masks or labels")
    found = judged.load()
    assert (found.name, len(found)) == ("phantoms", 16)
    assert isinstance(found.target, MaskedLabels)
    own = PhantomLesions(name="phantoms", per_class=8, cache_dir=str(tmp_path)).load()
    assert found.fingerprint == own.fingerprint
    other = PhantomLesions(per_class=8, cache_dir=str(tmp_path)).load()
    np.testing.assert_array_equal(other.images, own.images)
    assert other.fingerprint != own.fingerprint  # a store knows a split by one name alone
    assert judged_by(plain, "labels") is plain


def test_masks_follow_their_images(test_split: ImageSet) -> None:
    part = test_split.take([7, 3], fingerprint="p")
    np.testing.assert_array_equal(masks_of(part), masks_of(test_split)[[7, 3]])
    assert part.labels.tolist() == [1, 1]


def test_masks_of_another_size_or_number_are_refused(test_split: ImageSet) -> None:
    masks = masks_of(test_split)
    small = MaskedLabels(test_split.labels, masks[:, ::2], "x")
    with pytest.raises(InvalidDataError, match="masks are 112x224 pixels and images 224x224"):
        replace(test_split, target=small)
    with pytest.raises(InvalidDataError, match="48 images and 9 masks"):
        replace(test_split, target=MaskedLabels(test_split.labels, masks[:9], "x"))
    with pytest.raises(InvalidDataError, match="must be uint8"):
        replace(test_split, target=MaskedLabels(test_split.labels, masks > 0, "x"))
    with pytest.raises(InvalidDataError, match="masks are 224x112"):
        replace(test_split, target=Masks(masks[..., ::2]), label_kind=None, positive=None)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="site of the phantoms"):
        PhantomLesions(site="z")
    with pytest.raises(UnknownNameError, match="split"):
        PhantomLesions().load("tests")
    with pytest.raises(ConfigurationError, match="224 pixels only"):
        PhantomLesions(size=128)
    with pytest.raises(ConfigurationError, match="at least one image"):
        PhantomLesions(per_class=0)
