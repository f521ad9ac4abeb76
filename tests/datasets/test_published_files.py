"""MedMNIST-C and the layout of RobustMedCLIP: corrupted images that were published as files."""

from pathlib import Path

import numpy as np
import pytest
from datasets import (
    medmnist_arrays,
    random_images,
    shifted,
    write_medmnist,
    write_medmnist_c,
    write_robustmedclip,
)

from medrobust.datasets import MedMNIST, MedMNISTC, RobustMedCLIPFiles
from medrobust.datasets.published.medimeta_facts import (
    CLASS_NAMES,
    FACTS,
    MEDIMETA_C,
)
from medrobust.datasets.published.medmnist_facts import FACTS as MNIST
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    UnknownNameError,
)

COUNTS = (1, 1, 14)


def entries(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.rglob("*") if p.suffix != ".lock" and p.is_file())


def medmnist_c(root: Path, flag: str, **options: object) -> MedMNISTC:
    return MedMNISTC(flag, root=str(root / "c"), clean_root=str(root), **options)


def written_medmnist_c(
    root: Path, flag: str, names: tuple[str, ...], counts: tuple[int, int, int] = COUNTS
) -> dict[str, np.ndarray]:
    write_medmnist(root, flag, counts)
    clean = medmnist_arrays(flag, counts)
    write_medmnist_c(root / "c", flag, names, clean)
    return clean


@pytest.mark.slow
@pytest.mark.parametrize("flag", sorted(MNIST))
def test_every_medmnist_c_set_is_read_as_written(tmp_path: Path, flag: str) -> None:
    written = written_medmnist_c(tmp_path, flag, ("pixelate", "contrast_down"), (1, 1, 2))
    source = medmnist_c(tmp_path, flag)
    clean = source.load()
    np.testing.assert_array_equal(clean.images, written["test_images"])
    for number, name in enumerate(("pixelate", "contrast_down")):
        for severity in (1, 5):
            found = source.corrupted(clean, name, severity)
            expected = shifted(written["test_images"], 10 * number + severity)
            np.testing.assert_array_equal(found.images, expected)
            np.testing.assert_array_equal(found.labels, clean.labels)
            assert isinstance(found.images, np.memmap)
            assert found.fingerprint == clean.fingerprint
    assert (source.name, source.suite, source.files_suite) == (flag, flag, "medmnist_c_files")


def robustmedclip(root: Path, flag: str, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Write one set in the layout, one published corruption too, and return clean arrays."""
    facts = MNIST.get(flag) or FACTS[flag]
    images = random_images(count, 224, facts.channels, seed=4)
    classes = len(MNIST[flag].class_names) if flag in MNIST else len(CLASS_NAMES[flag])
    labels = np.arange(count) % classes
    if flag == "chestmnist":
        labels = np.random.default_rng(0).integers(0, 2, (count, classes))
    write_robustmedclip(root, flag, ("zoom_blur",), images, labels)
    return images, labels


@pytest.mark.slow
@pytest.mark.parametrize("flag", [*MEDIMETA_C, *sorted(MNIST)])
def test_every_set_of_the_robustmedclip_layout_is_read_as_written(
    tmp_path: Path, flag: str
) -> None:
    images, labels = robustmedclip(tmp_path, flag, count=2)
    source = RobustMedCLIPFiles(flag, root=str(tmp_path))
    clean = source.load()
    np.testing.assert_array_equal(clean.images, images)
    np.testing.assert_array_equal(clean.labels, labels)
    for severity in range(1, 6):
        found = source.corrupted(clean, "zoom_blur", severity)
        np.testing.assert_array_equal(found.images, shifted(images, severity))
        assert isinstance(found.images, np.memmap)
    expected = "medmnist_repacked_files" if flag in MNIST else "medimeta_c_files"
    assert source.files_suite == expected
    assert RobustMedCLIPFiles(flag, root=str(tmp_path), files=False).files_suite is None


def test_labels_of_shape_n_by_1_and_an_mnist_flag_of_the_layout_mean_the_same(
    tmp_path: Path,
) -> None:
    images, labels = robustmedclip(tmp_path, "pbc")
    first = RobustMedCLIPFiles("pbc", root=str(tmp_path)).load()
    write_robustmedclip(tmp_path, "pbc", (), images, labels[:, None].astype(np.uint8))
    assert RobustMedCLIPFiles("pbc", root=str(tmp_path)).load().fingerprint == first.fingerprint


def test_the_seven_corruptions_are_those_of_the_suite() -> None:
    from medrobust.corruptions import suites

    assert suites("medimeta_c") == [
        *("gaussian_noise", "impulse_noise", "motion_blur", "zoom_blur"),
        *("brightness", "contrast", "pixelate"),
    ]


@pytest.mark.slow
def test_a_part_of_the_set_takes_the_same_part_of_each_file(tmp_path: Path) -> None:
    written = written_medmnist_c(tmp_path, "bloodmnist", ("pixelate",))
    part = medmnist_c(tmp_path, "bloodmnist", limit=5)
    clean = part.load()
    found = part.corrupted(clean, "pixelate", 3)
    rows = clean.index
    assert len(rows) == 5
    np.testing.assert_array_equal(found.images, shifted(written["test_images"], 3)[rows])
    images, _ = robustmedclip(tmp_path, "oct")
    source = RobustMedCLIPFiles("oct", root=str(tmp_path), limit=6)
    clean = source.load()
    found = source.corrupted(clean, "zoom_blur", 2)
    np.testing.assert_array_equal(found.images, shifted(images, 2)[clean.index])


def test_the_identity_knows_the_pixels_and_not_where_or_how_they_are_stored(
    tmp_path: Path,
) -> None:
    clean = written_medmnist_c(tmp_path, "octmnist", ("pixelate", "motion_blur"))
    source = medmnist_c(tmp_path, "octmnist")
    first = source.identity("pixelate", 2)
    assert first["files"] == "medmnist_c_files"
    assert first != source.identity("pixelate", 3)
    assert first != source.identity("motion_blur", 2)
    file = tmp_path / "c" / "octmnist" / "pixelate.npz"
    arrays = dict(np.load(file))
    np.savez(file, **arrays)  # not compressed now
    assert source.identity("pixelate", 2) == first
    write_medmnist_c(tmp_path / "moved", "octmnist", ("pixelate",), clean)
    moved = MedMNISTC("octmnist", root=str(tmp_path / "moved"), clean_root=str(tmp_path))
    assert moved.identity("pixelate", 2) == first
    arrays["test_images"][0, 0, 0] ^= 1
    np.savez(file, **arrays)
    assert source.identity("pixelate", 2) != first


def test_a_missing_file_names_those_there_are_before_a_run(tmp_path: Path) -> None:
    written_medmnist_c(tmp_path, "octmnist", ("pixelate",))
    with pytest.raises(DatasetNotFoundError, match=r"zoom_blur\.npz.*has: pixelate.*11471504"):
        medmnist_c(tmp_path, "octmnist").check_file("zoom_blur", 1)
    robustmedclip(tmp_path, "oct")
    source = RobustMedCLIPFiles("oct", root=str(tmp_path))
    with pytest.raises(DatasetNotFoundError, match=r"fog_severity_2\.npz.*has: zoom_blur.*hub"):
        source.check_file("fog", 2)
    with pytest.raises(DatasetNotFoundError, match=r"oct/val/clean\.npz"):
        source.load("val")


def test_files_of_another_release_are_refused(tmp_path: Path) -> None:
    clean = written_medmnist_c(tmp_path, "octmnist", ("pixelate",))
    source = medmnist_c(tmp_path, "octmnist")
    image_set = source.load()
    file = tmp_path / "c" / "octmnist" / "pixelate.npz"
    blocks = dict(np.load(file))
    turned = blocks["test_labels"].copy()
    turned[14:28] = 3 - turned[14:28]
    np.savez(file, test_images=blocks["test_images"], test_labels=turned)
    source.corrupted(image_set, "pixelate", 1)
    with pytest.raises(InvalidDataError, match="14 of 14 labels differ"):
        source.corrupted(image_set, "pixelate", 2)
    np.savez(file, **{key: array[:-1] for key, array in blocks.items()})
    with pytest.raises(InvalidDataError, match=r"69 images.*are 70"):
        source.corrupted(image_set, "pixelate", 1)
    short = {"test_images": clean["test_images"][1:], "test_labels": clean["test_labels"][1:]}
    write_medmnist_c(tmp_path / "c", "octmnist", ("pixelate",), short)
    with pytest.raises(InvalidDataError, match=r"65 images.*are 70"):
        source.corrupted(image_set, "pixelate", 1)
    color = {**clean, "test_images": np.zeros((14, 224, 224, 3), np.uint8)}
    write_medmnist_c(tmp_path / "c", "octmnist", ("pixelate",), color)
    with pytest.raises(InvalidDataError, match=r"\(224, 224, 3\)"):
        source.corrupted(image_set, "pixelate", 1)


def test_damaged_corrupted_files_leave_no_half_cache(tmp_path: Path, own_cache: Path) -> None:
    written_medmnist_c(tmp_path, "octmnist", ("pixelate",))
    source = medmnist_c(tmp_path, "octmnist")
    clean = source.load()
    before = entries(own_cache)
    file = tmp_path / "c" / "octmnist" / "pixelate.npz"
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 16
    for damaged in (content[: len(content) // 2], bytes(flipped)):
        file.write_bytes(damaged)
        with pytest.raises(InvalidDataError, match=r"pixelate\.npz is damaged"):
            source.corrupted(clean, "pixelate", 1)
    objects = np.array([{"a": 1}] * 70, dtype=object)
    np.savez(file, test_images=objects, test_labels=objects)
    with pytest.raises(InvalidDataError, match="Python objects"):
        source.corrupted(clean, "pixelate", 1)
    assert entries(own_cache) == before


def test_a_label_order_that_the_counts_contradict_stops_the_run(tmp_path: Path) -> None:
    shares = np.array([12, 31, 16, 29, 12, 14, 33, 23])  # pbc as RobustMedCLIP lists its classes
    labels = np.repeat(np.arange(8), shares)
    images = random_images(len(labels), 16, 3)
    write_robustmedclip(tmp_path, "pbc", ("contrast",), images, labels)
    source = RobustMedCLIPFiles("pbc", root=str(tmp_path), size=16)
    with pytest.raises(InvalidDataError, match=r"dataset\.label_order=robustmedclip"):
        source.load()
    asked = RobustMedCLIPFiles("pbc", root=str(tmp_path), size=16, label_order="robustmedclip")
    found = asked.load()
    assert found.class_names[0] == "basophil"
    assert any("robustmedclip, as asked for" in mark for mark in found.marks)
    labels = np.repeat([0, 1], [79, 21])  # fundus: shares are approximate, so a warning only
    write_robustmedclip(tmp_path, "fundus", (), random_images(100, 16, 3), labels)
    marks = RobustMedCLIPFiles("fundus", root=str(tmp_path), size=16).load().marks
    assert any("known approximately only" in mark for mark in marks)


def test_a_balanced_test_split_is_judged_by_the_validation_split_beside_it(
    tmp_path: Path,
) -> None:
    balanced = np.arange(20) % 4
    write_robustmedclip(tmp_path, "oct", (), random_images(20, 16, 1), balanced)
    source = RobustMedCLIPFiles("oct", root=str(tmp_path), size=16)
    source.load()
    labels = np.repeat(np.arange(4), [37, 51, 11, 9])  # CNV, NORMAL, DME, DRUSEN
    write_robustmedclip(tmp_path, "oct", (), random_images(108, 16, 1), labels, split="val")
    with pytest.raises(InvalidDataError, match=r"oct/val fit the order 'robustmedclip'"):
        source.load()
    kept = RobustMedCLIPFiles("oct", root=str(tmp_path), size=16, label_order="medimeta").load()
    assert kept.class_names[3] == "normal"
    arrays = medmnist_arrays("octmnist", (108, 4, 8), size=28)
    arrays["train_labels"] = labels[:, None].astype(np.uint8)
    np.savez(tmp_path / "octmnist.npz", **arrays)
    with pytest.raises(InvalidDataError, match=r"octmnist/train fit"):
        MedMNIST("octmnist", root=str(tmp_path), size=28).load()


def test_files_of_another_size_are_brought_to_the_sets_size(tmp_path: Path) -> None:
    images = random_images(6, 40, 1)
    write_robustmedclip(tmp_path, "oct", ("contrast",), images, np.arange(6) % 4)
    source = RobustMedCLIPFiles("oct", root=str(tmp_path), size=20)
    clean = source.load()
    assert clean.images.shape == (6, 20, 20)
    assert source.corrupted(clean, "contrast", 5).images.shape == (6, 20, 20)


def test_what_was_not_published_is_refused_before_files_are_read() -> None:
    with pytest.raises(ConfigurationError, match="test split at 224"):
        MedMNISTC("octmnist", split="val")
    with pytest.raises(ConfigurationError, match="test split at 224"):
        MedMNISTC("octmnist", size=28)
    with pytest.raises(UnknownNameError, match="aml"):
        RobustMedCLIPFiles("bus")
