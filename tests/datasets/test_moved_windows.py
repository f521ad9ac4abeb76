"""Windows that miss: by how much, in which direction, and that they stay inside the image."""

import numpy as np
import pytest

from medrobust.base.lazy_rows import windows_of
from medrobust.base.targets import Labels
from medrobust.datasets import ImageSet, MovedWindows, PhantomWidefield
from medrobust.datasets.moved_windows import STEPS
from medrobust.exceptions import ConfigurationError, UnknownNameError


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return PhantomWidefield(per_class=1, cache_dir=str(tmp_path_factory.mktemp("w"))).load()


def centers(windows: np.ndarray) -> np.ndarray:
    return (windows[:, :2] + windows[:, 2:]) / 2


def moved(lesions: ImageSet, name: str, severity: int, **more: int) -> np.ndarray:
    found = windows_of(MovedWindows(name, **more).images(lesions, severity).images)
    assert found is not None
    assert found.windows.min() >= 0
    assert found.windows.max() <= 224
    return found.windows


@pytest.mark.parametrize("severity", [1, 5])
def test_windows_are_moved_by_a_share_of_their_side_each_in_its_own_direction(
    lesions: ImageSet, severity: int
) -> None:
    clean = windows_of(lesions.images).windows
    found = moved(lesions, "crop_shift", severity)
    side = clean[:, 2] - clean[:, 0]
    np.testing.assert_array_equal(found[:, 2] - found[:, 0], side)
    way = centers(found) - centers(clean)
    free = (found > 0).all(axis=1) & (found < 224).all(axis=1)
    far = np.hypot(*way.T)[free]
    np.testing.assert_allclose(far, (STEPS["crop_shift"][severity - 1] * side)[free], atol=0.8)
    assert len(np.unique(np.sign(way), axis=0)) > 3
    part = lesions.take(np.arange(4, 1, -1), fingerprint="f")
    np.testing.assert_array_equal(moved(part, "crop_shift", severity), found[4:1:-1])
    assert (moved(lesions, "crop_shift", severity, direction_seed=1) != found).any()


def test_windows_grow_and_shrink_about_their_centre(lesions: ImageSet) -> None:
    clean = windows_of(lesions.images).windows
    for name in ("crop_wide", "crop_tight"):
        for severity, factor in enumerate(STEPS[name], 1):
            found = moved(lesions, name, severity)
            sides = np.clip(np.rint(factor * (clean[:, 2] - clean[:, 0])), 8, 224)
            np.testing.assert_array_equal(found[:, 2] - found[:, 0], sides)
            free = (found > 0).all(axis=1) & (found < 224).all(axis=1)
            np.testing.assert_allclose(centers(found)[free], centers(clean)[free], atol=0.51)


def test_each_step_is_another_cell_and_labels_stay(lesions: ImageSet) -> None:
    told = [MovedWindows(n).identity(s) for n in STEPS for s in range(1, 6)]
    assert len({str(one) for one in told}) == 15
    again = MovedWindows("crop_wide").images(lesions, 2)
    assert again.fingerprint == lesions.fingerprint
    np.testing.assert_array_equal(again.labels, lesions.labels)
    assert (np.asarray(again.images[0]) != np.asarray(lesions.images[0])).any()


def test_images_that_are_no_windows_of_boxes_and_other_names_are_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    plain = ImageSet(
        name="toy", split="test", fingerprint="f", ids=np.array(["a"]), index=np.array([0]),
        target=Labels(np.array([0])), images=np.zeros((1, 8, 8), np.uint8),
        class_names=("a", "b"), label_kind="multi-class",
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="moves the windows of lesions"):
        MovedWindows("crop_shift").images(plain, 1)
    cache = str(tmp_path_factory.getbasetemp() / "grid")
    grid = PhantomWidefield(per_class=1, grid=2, cache_dir=cache).load()
    with pytest.raises(ConfigurationError, match=r"windows of boxes, and those of .* are"):
        MovedWindows("crop_wide").check(grid)
    with pytest.raises(UnknownNameError, match="crop_shift"):
        MovedWindows("crop_shfit")  # type: ignore[arg-type]
