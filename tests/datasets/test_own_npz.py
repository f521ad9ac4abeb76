"""A `.npz` file of one's own as a data set."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import random_images
from PIL import Image

from medrobust.datasets import Npz
from medrobust.datasets.own.pseudonyms import read_key
from medrobust.exceptions import ConfigurationError, DatasetNotFoundError, InvalidDataError


def npz(file: Path, **options: Any) -> Npz:
    return Npz(**({"file": str(file), "class_names": ["a", "b", "c"], "size": 32} | options))


def save(file: Path, **arrays: Any) -> Path:
    np.savez_compressed(file, **arrays)
    return file


def test_one_pair_of_arrays_is_the_evaluated_split(tmp_path: Path) -> None:
    images, labels = random_images(6, 32, 3), np.array([0, 1, 2, 2, 1, 0])
    found = npz(save(tmp_path / "a.npz", images=images, labels=labels)).load()
    np.testing.assert_array_equal(found.images, images)
    assert isinstance(found.images, np.memmap)
    assert found.labels.tolist() == labels.tolist()
    assert found.index.tolist() == list(range(6))
    assert (found.label_kind, found.origin, found.groups) == ("multi-class", "own", None)
    assert not (tmp_path / ".medrobust_key").exists()
    with pytest.raises(DatasetNotFoundError, match="neither train_images nor one array"):
        npz(tmp_path / "a.npz").load("train")


def test_splits_are_told_by_the_names_of_arrays(tmp_path: Path) -> None:
    arrays = {}
    for number, split in enumerate(("train", "val", "test")):
        arrays[f"{split}_x"] = random_images(4 + number, 32, 1, seed=number)
        arrays[f"{split}_y"] = np.arange(4 + number)[:, None] % 2
    source = npz(
        save(tmp_path / "a.npz", **arrays), images="x", labels="y", class_names=["no", "yes"]
    )
    assert [len(source.load(split)) for split in ("train", "val", "test", None)] == [4, 5, 6, 6]
    found = source.load("val")
    np.testing.assert_array_equal(found.images, arrays["val_x"])
    assert (found.label_kind, found.positive, found.stream) == ("binary-class", 1, "npz/val")
    with pytest.raises(DatasetNotFoundError, match="it has: train_x, train_y, val_x"):
        source.load("dev")


def test_other_sizes_are_brought_to_the_sets_size_once(tmp_path: Path) -> None:
    images = random_images(3, 40, 1)[:, :20]
    file = save(tmp_path / "a.npz", images=images, labels=np.arange(3))
    found = npz(file).load()
    assert found.images.shape == (3, 32, 32)
    assert found.images[:, :8].max() == found.images[:, -8:].max() == 0
    whole = Image.fromarray(images[1]).resize((32, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found.images[1, 8:24], np.asarray(whole))
    assert npz(file).load().images.filename == found.images.filename
    assert npz(file, fit="squash").load().fingerprint != found.fingerprint
    assert found.marks == ("32 pixels: severity is defined at 224",)


def test_columns_of_flags_make_a_multi_label_set(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    file = save(tmp_path / "a.npz", images=random_images(2, 32, 1), labels=labels)
    found = npz(file).load()
    assert found.label_kind == "multi-label, binary-class"
    assert found.labels.tolist() == labels.tolist()


def test_patients_in_two_splits_are_said(tmp_path: Path) -> None:
    arrays = {}
    for split, who in (
        ("train", ["a", "b", "", "c"]),
        ("val", ["d"]),
        ("test", ["b", "b", "f", "e"]),
    ):
        arrays |= {
            f"{split}_images": random_images(len(who), 224, 1),
            f"{split}_labels": np.arange(len(who)) % 3,
            f"{split}_who": np.array(who),
        }
    file = save(tmp_path / "a.npz", **arrays)
    assert npz(file, size=224, patients="who").load().marks == (
        "1 patient is in two splits: train (1 image) and test (2 images)",
    )
    assert npz(file, size=224, patients="who").load("val").marks == ()
    assert npz(file, size=224).load().marks == ()


@pytest.mark.parametrize("nobody", ["", " ", "nan"])
def test_an_empty_patient_is_an_error_and_no_patient_of_its_own(
    tmp_path: Path, nobody: str
) -> None:
    arrays = {"images": random_images(3, 32, 1), "labels": np.arange(3)}
    file = save(tmp_path / "a.npz", **arrays, who=np.array(["a", nobody, nobody]))
    with pytest.raises(InvalidDataError, match=r"a\.npz: patient 1 of who is empty\. Fill it in"):
        npz(file, patients="who").load()
    assert npz(file).load().groups is None


@pytest.mark.parametrize("patients", [np.array([7, 7, 8]), np.array(["MRN-7", "MRN-7", "MRN-8"])])
def test_patients_are_kept_as_keyed_hashes(
    tmp_path: Path, own_cache: Path, patients: np.ndarray
) -> None:
    arrays = {"images": random_images(3, 32, 1), "labels": np.arange(3), "who": patients}
    found = npz(save(tmp_path / "a.npz", **arrays), patients="who").load()
    assert found.groups is not None
    assert found.groups[0] == found.groups[1] != found.groups[2]
    assert (tmp_path / ".medrobust_key").exists()
    rows = npz(tmp_path / "a.npz", patients="who").identities(read_key(tmp_path / ".medrobust_key"))
    assert [row.group for row in rows] == found.groups.tolist()
    assert [row.patient for row in rows] == [str(one) for one in patients]
    assert rows[2].file == "images[2]"
    cached = b"".join(path.read_bytes() for path in own_cache.rglob("*") if path.is_file())
    assert b"MRN" not in cached
    assert "MRN-7".encode("utf-32-le") not in cached


WRONG: list[tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = [
    ({"labels": np.array([0, 1, 3])}, {}, InvalidDataError, "labels from 0 to 3"),
    ({"labels": np.array([0, -1, 2])}, {}, InvalidDataError, "labels from -1 to 2"),
    ({"labels": np.arange(2)}, {}, InvalidDataError, "3 images and 2 labels"),
    ({"labels": np.zeros((3, 2), int)}, {}, ConfigurationError, "3 names for 2 label columns"),
    ({"labels": np.full((3, 3), 2)}, {}, InvalidDataError, "labels from 2 to 2"),
    ({"labels": np.array([0.0, 1.0, 2.0])}, {}, InvalidDataError, "labels are whole numbers"),
    ({"labels": np.array([None] * 3)}, {}, InvalidDataError, "never loaded"),
    ({"images": np.zeros((3, 3, 32, 32), np.uint8)}, {}, InvalidDataError, "images are uint8"),
    ({"images": np.zeros((3, 32, 32), np.uint16)}, {}, InvalidDataError, "images are uint8"),
    ({"who": np.array([None] * 3)}, {"patients": "who"}, InvalidDataError, "never loaded"),
    ({"who": np.zeros((3, 2))}, {"patients": "who"}, InvalidDataError, "whole numbers or text"),
    ({}, {"patients": "who"}, InvalidDataError, "no array 'who'"),
    ({}, {"class_names": ["a"]}, ConfigurationError, "at least two classes"),
    ({}, {"positive": "z", "class_names": ["a", "b"]}, InvalidDataError, "labels from 0 to 2"),
    ({}, {"label_kind": "binary-class"}, ConfigurationError, "needs two classes"),
]


@pytest.mark.parametrize(("arrays", "options", "kind", "complaint"), WRONG)
def test_what_does_not_fit_is_said(
    tmp_path: Path,
    arrays: dict[str, Any],
    options: dict[str, Any],
    kind: type[Exception],
    complaint: str,
) -> None:
    good = {"images": random_images(3, 32, 1), "labels": np.arange(3)}
    file = save(tmp_path / "mine.npz", **(good | arrays))
    with pytest.raises(kind, match=complaint) as caught:
        npz(file, **options).load()
    assert "\n" not in str(caught.value)
    assert "mine.npz" in str(caught.value) or kind is ConfigurationError


def test_a_damaged_file_leaves_no_half_cache(tmp_path: Path, own_cache: Path) -> None:
    file = save(tmp_path / "mine.npz", images=random_images(9, 40, 3), labels=np.arange(9) % 3)
    content = file.read_bytes()
    for broken in (content[: len(content) // 2], content[:-1], b"", b"PK"):
        file.write_bytes(broken)
        with pytest.raises(InvalidDataError, match=r"mine\.npz is damaged"):
            npz(file).load()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 16
    file.write_bytes(bytes(flipped))
    with pytest.raises(InvalidDataError, match=r"mine\.npz is damaged"):
        npz(file).load()
    assert not [path for path in own_cache.rglob("*.npy") if "images" in path.parent.name]
    assert not list(own_cache.rglob("*partial"))
    with pytest.raises(DatasetNotFoundError, match=r"dataset\.file"):
        npz(tmp_path / "gone.npz").load()


@pytest.mark.slow
def test_labels_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "a.npz", images=random_images(3, 32, 1))
    with (
        zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("labels.npy", "w") as stream,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": ((1 << 28) + 1,)}
        np.lib.format.write_array_header_1_0(stream, header)
        for _ in range(1 << 6):
            stream.write(bytes(1 << 22))
        stream.write(b"\0")
    assert file.stat().st_size < 1 << 20
    with pytest.raises(InvalidDataError, match="more than 256 MiB"):
        npz(file).load()
