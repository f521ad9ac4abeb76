import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from datasets import MEDIMETA_TASKS, SPLITS, write_medimeta

from medrobust.datasets import MedIMeta
from medrobust.datasets.published.medimeta_facts import FACTS
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    UnknownNameError,
)

FLAGS = sorted(MEDIMETA_TASKS)
TASKS = {
    "BINARY_CLASSIFICATION": "binary-class",
    "MULTICLASS_CLASSIFICATION": "multi-class",
    "MULTILABEL_CLASSIFICATION": "multi-label, binary-class",
    "ORDINAL_REGRESSION": "ordinal-regression",
}


def entries(cache: Path) -> list[str]:
    """Names of what lies in the cache, but for small files that were parsed before."""
    assert not list(cache.rglob("*.partial"))
    folders = (p.name for p in cache.glob("arrays/*") if p.is_dir())
    return sorted(name for name in folders if not re.search("-(rows|patient|tasks-)", name))


def test_there_are_the_nineteen_sets_with_their_main_task() -> None:
    assert sorted(FACTS) == FLAGS
    assert len(FLAGS) == 19
    assert {flag: FACTS[flag].task_name for flag in FLAGS} == {
        flag: MEDIMETA_TASKS[flag][0] for flag in FLAGS
    }
    totals = {"aml": 18365, "oct": 109309, "pbc": 17092, "cxr": 112120, "crc": 107180}
    assert {flag: sum(FACTS[flag].counts) for flag in totals} == totals


@pytest.mark.slow
@pytest.mark.parametrize("flag", FLAGS)
def test_every_set_is_read_as_written(tmp_path: Path, flag: str) -> None:
    written = write_medimeta(tmp_path, flag, (6, 4, 5))
    for split in SPLITS:
        found = MedIMeta(flag, root=str(tmp_path)).load(split)
        rows = written["rows"][split]
        np.testing.assert_array_equal(found.images, written["images"][rows])
        np.testing.assert_array_equal(found.labels, written["labels"][rows])
        assert found.labels.dtype == np.int64
        assert found.label_kind == TASKS[MEDIMETA_TASKS[flag][1]]
        assert len(found.class_names) == len(MEDIMETA_TASKS[flag][2])
        assert isinstance(found.images, np.memmap)
        assert (found.name, found.stream) == (flag, f"{flag}/{split}")
        assert (found.suite, found.origin, found.license) == (None, "public", FACTS[flag].license)


def test_tiff_files_give_the_same_set_as_hdf5(tmp_path: Path) -> None:
    for flag in ("pbc", "oct"):
        write_medimeta(tmp_path / "a", flag)
        write_medimeta(tmp_path / "b", flag, stacked=False)
        one = MedIMeta(flag, root=str(tmp_path / "a")).load()
        other = MedIMeta(flag, root=str(tmp_path / "b")).load()
        np.testing.assert_array_equal(one.images, other.images)
        assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("chunks", [(1, 16, 16, 3), (4, 8, 16, 1), (15, 16, 16, 3), True])
def test_chunked_and_compressed_files_give_the_same_set(
    tmp_path: Path, chunks: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_medimeta(tmp_path, "pbc", size=16)
    source = MedIMeta("pbc", root=str(tmp_path), size=16)
    plain = [source.load(split) for split in SPLITS]
    monkeypatch.setattr("medrobust.datasets.published.hdf5.SLAB", 3 * 16 * 16 * 3)
    with h5py.File(tmp_path / "pbc" / "images.hdf5", "w") as file:
        file.create_dataset("images", data=written["images"], chunks=chunks, compression="gzip")
    packed = [source.load(split) for split in SPLITS]
    assert packed[0].images.filename != plain[0].images.filename
    for one, other in zip(plain, packed, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        assert one.fingerprint == other.fingerprint


def test_classes_come_in_the_order_of_the_file_and_in_our_spelling(tmp_path: Path) -> None:
    write_medimeta(tmp_path, "oct")
    found = MedIMeta("oct", root=str(tmp_path)).load()
    assert found.class_names[:2] == ("choroidal neovascularization", "diabetic macular edema")
    info = tmp_path / "oct" / "info.yaml"
    content = yaml.safe_load(info.read_text())
    content["tasks"][0]["labels"] = {0: "NORMAL", 1: "CNV", 2: "DME", 3: "DRUSEN"}
    info.write_text(yaml.safe_dump(content))
    again = MedIMeta("oct", root=str(tmp_path)).load()
    assert again.class_names[0] == "normal"
    assert again.fingerprint != found.fingerprint
    content["tasks"][0]["labels"] = {0: "a", 1: "b", 2: "c", 3: "d"}
    info.write_text(yaml.safe_dump(content))
    assert MedIMeta("oct", root=str(tmp_path)).load().class_names == ("a", "b", "c", "d")


def test_the_positive_class_is_the_disease_and_prompts_read_well(tmp_path: Path) -> None:
    write_medimeta(tmp_path, "mammo_mass")
    found = MedIMeta("mammo_mass", root=str(tmp_path)).load()
    assert found.positive == 1
    assert found.texts == ("benign mass", "malignant mass")
    turned = MedIMeta("mammo_mass", root=str(tmp_path), label_order="robustmedclip").load()
    assert (turned.class_names, turned.positive) == (("malignant", "benign"), 0)
    assert turned.texts == ("malignant mass", "benign mass")
    assert any("as asked for" in mark for mark in turned.marks)


def test_another_task_is_another_set(tmp_path: Path) -> None:
    written = write_medimeta(tmp_path, "pbc")
    found = MedIMeta("pbc", root=str(tmp_path), task_name="odd row").load()
    assert (found.name, found.class_names) == ("pbc_odd_row", ("even", "odd"))
    assert found.labels.tolist() == (written["rows"]["test"] % 2).tolist()
    with pytest.raises(UnknownNameError, match="cell class"):
        MedIMeta("pbc", root=str(tmp_path), task_name="cel class").load()


def test_images_of_another_size_are_brought_to_the_sets_size_once(tmp_path: Path) -> None:
    write_medimeta(tmp_path, "pbc", size=96)
    small = MedIMeta("pbc", root=str(tmp_path), size=48).load()
    assert small.images.shape == (5, 48, 48, 3)
    assert any("severity is defined at 224" in mark for mark in small.marks)
    write_medimeta(tmp_path / "tiff", "pbc", size=96, stacked=False)
    same = MedIMeta("pbc", root=str(tmp_path / "tiff"), size=48).load()
    np.testing.assert_array_equal(small.images, same.images)


def test_patients_are_groups_and_shared_ones_are_said(tmp_path: Path) -> None:
    written = write_medimeta(tmp_path, "pbc", patients=[f"p{row % 14}" for row in range(15)])
    found = MedIMeta("pbc", root=str(tmp_path)).load()
    assert found.groups is not None
    assert found.groups.tolist() == [f"p{row % 14}" for row in written["rows"]["test"]]
    where = {row: split for split in SPLITS for row in written["rows"][split].tolist()}
    assert where[0] != where[14], "the builder's order puts this patient into two splits"
    first, last = sorted((where[0], where[14]), key=SPLITS.index)
    for split in (first, last):
        marks = MedIMeta("pbc", root=str(tmp_path)).load(split).marks
        assert f"1 patient is in two splits: {first} (1 image) and {last} (1 image)" in marks


def test_a_file_that_was_changed_is_parsed_again(tmp_path: Path) -> None:
    written = write_medimeta(tmp_path, "pbc", patients=[f"p{row}" for row in range(15)])
    source = MedIMeta("pbc", root=str(tmp_path))
    assert source.load().marks == source.load().marks
    test = tmp_path / "pbc" / "splits" / "test.txt"
    test.write_text("".join(reversed(test.read_text().splitlines(keepends=True))))
    table = tmp_path / "pbc" / "annotations.csv"
    table.write_text(re.sub(r"\bp\d+$", "same", table.read_text(), flags=re.MULTILINE))
    found = source.load()
    np.testing.assert_array_equal(found.images, written["images"][written["rows"]["test"][::-1]])
    assert found.groups.tolist() == ["same"] * 5
    assert "1 patient is in two splits: train (6 images) and test (5 images)" in found.marks


def test_an_image_in_two_splits_is_said(tmp_path: Path) -> None:
    written = write_medimeta(tmp_path, "pbc")
    train = tmp_path / "pbc" / "splits" / "train.txt"
    train.write_text(train.read_text() + f"images/{written['rows']['test'][0]:06d}.tiff\n")
    marks = MedIMeta("pbc", root=str(tmp_path)).load().marks
    assert "1 image of test stands in train too" in marks


def test_windows_line_ends_and_a_bom_do_no_harm(tmp_path: Path) -> None:
    written = write_medimeta(tmp_path, "pbc")
    for name in ("splits/test.txt", "annotations.csv"):
        file = tmp_path / "pbc" / name
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    found = MedIMeta("pbc", root=str(tmp_path)).load()
    np.testing.assert_array_equal(found.images, written["images"][written["rows"]["test"]])


def test_the_full_hash_finds_the_entry_of_a_file_that_has_moved(
    tmp_path: Path, own_cache: Path
) -> None:
    write_medimeta(tmp_path / "a", "pbc")
    first = MedIMeta("pbc", root=str(tmp_path / "a"), full_hash=True).load()
    shutil.move(tmp_path / "a", tmp_path / "b")
    second = MedIMeta("pbc", root=str(tmp_path / "b"), full_hash=True).load()
    assert second.images.filename == first.images.filename
    assert len(entries(own_cache)) == 1


def all_prints(source: MedIMeta) -> list[str]:
    return [source.load(split).fingerprint for split in SPLITS]


def test_only_the_full_hash_sees_a_change_that_leaves_size_time_and_ends_alone(
    tmp_path: Path,
) -> None:
    write_medimeta(tmp_path, "pbc")
    file = tmp_path / "pbc" / "images.hdf5"
    quick, full = (MedIMeta("pbc", root=str(tmp_path), full_hash=whole) for whole in (False, True))
    before = all_prints(quick)
    assert all_prints(full) == before
    times = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert all_prints(quick) == before
    changed = [a != b for a, b in zip(all_prints(full), before, strict=True)]
    assert sum(changed) == 1, "one pixel of one image of one split"


def test_a_missing_folder_and_missing_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no folder 'pbc'.*7884735.*dataset\.root"):
        MedIMeta("pbc", root=str(tmp_path)).load()
    write_medimeta(tmp_path, "pbc", stacked=False)
    for name in ("info.yaml", "splits/test.txt", "task_labels/cell class.npy"):
        file = tmp_path / "pbc" / name
        file.rename(tmp_path / "away")
        with pytest.raises(DatasetNotFoundError, match=file.name):
            MedIMeta("pbc", root=str(tmp_path)).load()
        (tmp_path / "away").rename(file)
    for file in (tmp_path / "pbc" / "images").iterdir():
        file.unlink()
    with pytest.raises(DatasetNotFoundError, match=r"5 of 5 files are not in images/"):
        MedIMeta("pbc", root=str(tmp_path)).load()


def test_what_does_not_exist_is_refused_before_files_are_read() -> None:
    with pytest.raises(UnknownNameError, match="pbc"):
        MedIMeta("pcb")
    with pytest.raises(ConfigurationError, match="medimeta, robustmedclip"):
        MedIMeta("pbc", label_order="rmc")
    with pytest.raises(ConfigurationError, match="none but its own"):
        MedIMeta("aml", label_order="robustmedclip")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("splits/test.txt", "images/000001.tiff\nimages/000001.tiff\n", "stands there twice"),
        ("splits/test.txt", "../../etc/passwd\n", "line 1: .* is not the path of an image"),
        ("splits/test.txt", "\n", "names no image"),
        ("splits/test.txt", "images/000099.tiff\n", "names image 99"),
        ("info.yaml", "tasks: 3", "does not describe its tasks"),
        ("info.yaml", "a: [", "does not describe its tasks"),
        ("info.yaml", "!!python/object/apply:os.mkdir ['sprung']", "does not describe its tasks"),
        ("task_labels/cell class.npy", "not an array", "damaged or holds more than plain numbers"),
        (
            "annotations.csv",
            "filepath,tasks/cell class\nimages/000000.tiff,5\n",
            "000000 is 5, but",
        ),
        ("annotations.csv", "a,b\n1,2\n", "no column 'filepath'"),
        ("annotations.csv", "", "no column 'filepath'"),
        ("annotations.csv", "filepath,patient_id\n", "no rows"),
        ("annotations.csv", "filepath,patient_id\nimages/000000.tiff\n", "rows of unequal length"),
        ("annotations.csv", "filepath,patient_id\nMRN-12,2\n", "is not that of an image"),
        ("annotations.csv", "filepath,patient_id\n4294967295.tiff,2\n", "is not that of an image"),
        ("annotations.csv", "filepath,tasks/cell class\n000000.tiff,x\n", "more than numbers"),
        ("annotations.csv", "filepath,patient_id\n000000.tiff,x\n", "the patient of each image"),
    ],
)
def test_a_damaged_small_file_is_one_sentence_that_names_it(
    tmp_path: Path, own_cache: Path, name: str, content: str, complaint: str
) -> None:
    write_medimeta(tmp_path, "pbc")
    (tmp_path / "pbc" / name).write_text(content)
    with pytest.raises(InvalidDataError, match=complaint):
        MedIMeta("pbc", root=str(tmp_path)).load()
    assert not (Path.cwd() / "sprung").exists()
    assert entries(own_cache) == []


def test_labels_are_never_unpickled_and_must_be_whole_numbers(tmp_path: Path) -> None:
    write_medimeta(tmp_path, "pbc")
    file = tmp_path / "pbc" / "task_labels" / "cell class.npy"
    np.save(file, np.array([{"a": 1}] * 15, dtype=object))
    with pytest.raises(InvalidDataError, match="more than plain numbers"):
        MedIMeta("pbc", root=str(tmp_path)).load()
    np.save(file, np.zeros(15))
    with pytest.raises(InvalidDataError, match="float64"):
        MedIMeta("pbc", root=str(tmp_path)).load()


def test_an_hdf5_file_that_is_not_one_leaves_nothing_in_the_cache(
    tmp_path: Path, own_cache: Path
) -> None:
    write_medimeta(tmp_path, "pbc")
    file = tmp_path / "pbc" / "images.hdf5"
    content = file.read_bytes()
    for part in (0, 100, len(content) // 2):
        file.write_bytes(content[:part])
        with pytest.raises(InvalidDataError, match=r"images\.hdf5 is damaged"):
            MedIMeta("pbc", root=str(tmp_path)).load()
    assert entries(own_cache) == []


@pytest.mark.slow
def test_a_flipped_bit_of_an_hdf5_file_is_found_or_changes_one_pixel_of_one_image(
    tmp_path: Path, own_cache: Path
) -> None:
    written = write_medimeta(tmp_path, "bus", size=16)
    file = tmp_path / "bus" / "images.hdf5"
    content = file.read_bytes()
    source = MedIMeta("bus", root=str(tmp_path), size=16)
    good = source.load()
    for position in [*range(0, 2048, 13), *range(2048, len(content), 197)]:
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        file.write_bytes(flipped)
        try:
            found = source.load()
        except InvalidDataError as error:
            assert "images.hdf5" in str(error) or "channels" in str(error)  # noqa: PT017
        else:
            same = np.array_equal(found.images, good.images)
            assert same == (found.fingerprint == good.fingerprint)
            assert len(found.images) == len(written["rows"]["test"])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda f: f.create_dataset("pictures", data=np.zeros((15, 8, 8), "u1")), "no array"),
        (lambda f: f.create_dataset("images", data=np.zeros((15, 8, 8), "f4")), "float32"),
        (lambda f: f.create_dataset("images", data=np.zeros((15, 8, 8, 4), "u1")), r"8, 8, 4"),
        (lambda f: f.create_dataset("images", data=np.zeros((3, 8, 8, 3), "u1")), "has 3 images"),
        (lambda f: f.create_dataset("images", data=np.zeros((16, 8, 8, 3), "u1")), "15 labels"),
        (lambda f: f.create_dataset("images", data=np.zeros((15, 8, 8), "u1")), "1 channels"),
        (
            lambda f: f.create_dataset("images", (15, 2**20, 2**20), "u1", chunks=(1, 64, 64)),
            "1048576",
        ),
        (lambda f: f.__setitem__("images", h5py.ExternalLink("other.hdf5", "x")), "of its own"),
        (
            lambda f: f.create_dataset("images", (15, 8, 8), "u1", external="/etc/hostname"),
            "points to other files",
        ),
    ],
)
def test_an_hdf5_file_with_other_contents_is_refused_by_name(
    tmp_path: Path, own_cache: Path, make: object, complaint: str
) -> None:
    write_medimeta(tmp_path, "pbc")
    file = tmp_path / "pbc" / "images.hdf5"
    with h5py.File(file, "w") as opened:
        make(opened)
    with pytest.raises(InvalidDataError, match=complaint):
        MedIMeta("pbc", root=str(tmp_path), size=16).load()


def test_the_labels_of_oct_in_the_other_order_stop_the_run(tmp_path: Path) -> None:
    shares = np.array([37, 51, 11, 9])  # CNV, NORMAL, DME, DRUSEN: as RobustMedCLIP lists them
    labels = np.repeat(np.arange(4), shares)
    write_medimeta(tmp_path, "oct", (106, 1, 1), size=16, labels=labels)
    source = MedIMeta("oct", root=str(tmp_path), size=16, split="train")
    with pytest.raises(InvalidDataError, match=r"10\^\d+\. Pass dataset\.label_order=robustmedcl"):
        source.load()
    asked = MedIMeta(
        "oct", root=str(tmp_path), size=16, split="train", label_order="robustmedclip"
    ).load()
    assert asked.class_names[1] == "normal"
    kept = MedIMeta(
        "oct", root=str(tmp_path), size=16, split="train", label_order="medimeta"
    ).load()
    assert kept.class_names[3] == "normal"
