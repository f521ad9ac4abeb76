import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import medmnist_arrays, write_medmnist
from medmnist.info import INFO

from medrobust.datasets import MedMNIST
from medrobust.datasets.published.medmnist_facts import FACTS, RECORD, SIZES
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    UnknownNameError,
)

FLAGS = sorted(FACTS)


@pytest.mark.parametrize("flag", FLAGS)
def test_facts_are_those_of_the_medmnist_package(flag: str) -> None:
    facts, published = FACTS[flag], INFO[flag]
    assert facts.label_kind == published["task"]
    assert facts.channels == published["n_channels"]
    assert facts.license == published["license"]
    assert facts.class_names == tuple(
        published["label"][str(k)] for k in range(len(facts.class_names))
    )
    assert len(published["label"]) == len(facts.class_names)
    assert facts.counts == tuple(published["n_samples"][s] for s in ("train", "val", "test"))
    assert len(set(facts.prompt_names)) == len(facts.prompt_names)
    assert len(facts.prompt_names) in (0, len(facts.class_names))
    assert RECORD in published["url_224"]


@pytest.mark.slow
@pytest.mark.parametrize("flag", FLAGS)
def test_every_set_is_read_as_written(tmp_path: Path, flag: str) -> None:
    counts = (15, 12, 16)
    write_medmnist(tmp_path, flag, counts, size=28)
    written = medmnist_arrays(flag, counts, size=28)
    for split in ("train", "val", "test"):
        found = MedMNIST(flag, root=str(tmp_path), size=28).load(split)
        np.testing.assert_array_equal(found.images, written[f"{split}_images"])
        expected = written[f"{split}_labels"]
        if found.label_kind != "multi-label, binary-class":
            expected = expected[:, 0]
        np.testing.assert_array_equal(found.labels, expected)
        assert found.labels.dtype == np.int64
        assert found.split == split
        assert found.stream == f"{flag}/{split}"
        assert found.index.tolist() == list(range(len(expected)))
        assert (found.name, found.suite, found.origin) == (flag, flag, "public")


def test_the_positive_class_of_binary_sets_is_the_disease(tmp_path: Path) -> None:
    for flag, positive in (("breastmnist", "malignant"), ("pneumoniamnist", "pneumonia")):
        write_medmnist(tmp_path, flag, size=28)
        found = MedMNIST(flag, root=str(tmp_path), size=28).load()
        assert found.positive is not None
        assert found.class_names[found.positive] == positive


def test_images_are_mapped_and_the_fingerprint_knows_pixels_and_labels(tmp_path: Path) -> None:
    source = MedMNIST("octmnist", root=str(tmp_path), size=28)
    file = write_medmnist(tmp_path, "octmnist", size=28)
    first = source.load()
    assert isinstance(first.images, np.memmap)
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(file, moved)
    assert MedMNIST("octmnist", root=str(moved), size=28).load().fingerprint == first.fingerprint
    assert source.load("val").fingerprint != first.fingerprint
    arrays = medmnist_arrays("octmnist", size=28)
    arrays["test_labels"] = arrays["test_labels"][::-1].copy()
    np.savez(file, **arrays)
    assert source.load().fingerprint != first.fingerprint


def test_tables_say_what_differs_from_the_published_set(tmp_path: Path) -> None:
    write_medmnist(tmp_path, "octmnist", size=28)
    marks = MedMNIST("octmnist", root=str(tmp_path), size=28).load().marks
    assert any("severity is defined at 224" in mark for mark in marks)
    assert any("octmnist has 1000" in mark for mark in marks)


def test_limit_is_stratified_stable_and_marked(tmp_path: Path) -> None:
    write_medmnist(tmp_path, "bloodmnist", counts=(1, 1, 80), size=28)
    whole = MedMNIST("bloodmnist", root=str(tmp_path), size=28).load()
    part = MedMNIST("bloodmnist", root=str(tmp_path), size=28, limit=24).load()
    assert np.bincount(part.labels).tolist() == [3] * 8
    assert part.index.tolist() == sorted(part.index.tolist())
    np.testing.assert_array_equal(part.images, whole.images[part.index])
    assert "subset of 24 of 80 images" in part.marks
    smaller = MedMNIST("bloodmnist", root=str(tmp_path), size=28, limit=16).load()
    assert set(smaller.ids) < set(part.ids)
    assert len({whole.fingerprint, part.fingerprint, smaller.fingerprint}) == 3


def test_a_missing_file_is_one_sentence_that_helps(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        MedMNIST("bloodmnist", root=str(tmp_path)).load()
    for word in ("bloodmnist_224.npz", "dataset.root=", "dataset.download=true", "10519652"):
        assert word in str(caught.value)


def test_the_root_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDROBUST_DATA", str(tmp_path / "here"))
    assert MedMNIST("bloodmnist").file == tmp_path / "here" / "bloodmnist_224.npz"
    monkeypatch.delenv("MEDROBUST_DATA")
    assert MedMNIST("bloodmnist").folder == Path("~/.medmnist").expanduser()


def test_what_does_not_exist_is_refused_before_files_are_read() -> None:
    with pytest.raises(UnknownNameError, match="bloodmnist"):
        MedMNIST("bloodmnst")
    with pytest.raises(ConfigurationError, match=str(SIZES[1])):
        MedMNIST("bloodmnist", size=100)
    with pytest.raises(ConfigurationError, match="train, val, test"):
        MedMNIST("bloodmnist", split="dev")


def test_a_label_out_of_range_and_a_wrong_shape_are_refused(tmp_path: Path) -> None:
    arrays = medmnist_arrays("octmnist", size=28)
    arrays["test_labels"][3] = 4
    np.savez(tmp_path / "octmnist.npz", **arrays)
    with pytest.raises(InvalidDataError, match=r"labels span 0\.\.4"):
        MedMNIST("octmnist", root=str(tmp_path), size=28).load()
    np.savez(tmp_path / "octmnist.npz", **medmnist_arrays("bloodmnist", size=28))
    with pytest.raises(InvalidDataError, match=r"\(28, 28, 3\)"):
        MedMNIST("octmnist", root=str(tmp_path), size=28).load()


def test_checksum_compares_with_the_published_sum(tmp_path: Path) -> None:
    write_medmnist(tmp_path, "octmnist", size=28)
    with pytest.raises(InvalidDataError, match="MD5"):
        MedMNIST("octmnist", root=str(tmp_path), size=28, checksum=True).load()
