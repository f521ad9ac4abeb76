"""Benchmarks as files: published layouts, pixels of a run, resume, refusals."""

import hashlib
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import random_images, write_medmnist
from run_entry import answer

from medrobust.corruptions import Corruption, Suite, corrupt
from medrobust.datasets import MedMNIST, PhantomWidefield
from medrobust.datasets.image_set import ImageSet
from medrobust.engine.windows import cut
from medrobust.evaluation.benchmark_files import BenchmarkWriter, benchmark_files
from medrobust.exceptions import ConfigurationError

ROOT = Path(__file__).parents[2]


def image_set(channels=3, count=5, split="test", labels=None, size=40):
    return ImageSet(
        name="toy",
        split=split,
        images=random_images(count, size, channels),
        labels=np.arange(count) % 3 if labels is None else labels,
        label_kind="multi-class" if labels is None else "multi-label, binary-class",
        class_names=("a", "b", "c"),
        ids=np.array([f"{i}" for i in range(count)]),
        index=np.arange(count, dtype=np.int64) * 7,
        fingerprint="f" * 64,
    )


def write(root, layout, data, columns, **options):
    return list(BenchmarkWriter(root, layout, data, columns, **options).run())


COLUMNS = (Corruption("gaussian_noise"), Corruption("contrast"))


@pytest.mark.parametrize("channels", [1, 3])
def test_medmnist_c_files_hold_the_severities_one_after_the_other(tmp_path, channels):
    data = image_set(channels)
    write(tmp_path, "medmnist_c", data, COLUMNS, seed=4, batch_size=2)
    assert sorted(p.name for p in (tmp_path / "toy").iterdir()) == [
        "contrast.npz", "gaussian_noise.npz", "manifest.json",
    ]  # fmt: skip
    with np.load(tmp_path / "toy" / "gaussian_noise.npz") as file:
        assert set(file) == {"test_images", "test_labels"}
        images, labels = file["test_images"], file["test_labels"]
    assert images.shape == (25, *data.images.shape[1:])
    assert images.dtype == labels.dtype == np.uint8
    assert labels.tolist() == [[0], [1], [2], [0], [1]] * 5
    batch = torch.from_numpy(data.images.reshape(5, 40, 40, -1)).movedim(3, 1).contiguous()
    for severity in (1, 5):
        expected = corrupt(
            batch, "gaussian_noise", severity=severity, seed=4, stream="toy/test",
            index=torch.arange(5) * 7,
        )  # fmt: skip
        part = images[5 * (severity - 1) : 5 * severity].reshape(5, 40, 40, channels)
        assert np.array_equal(part, expected.movedim(1, 3).numpy())


@pytest.mark.slow
def test_of_lesions_the_files_hold_windows_of_images_that_were_corrupted_whole(tmp_path):
    lesions = PhantomWidefield(per_class=1, limit=2, cache_dir=str(tmp_path)).load()
    write(tmp_path, "medimeta_c", lesions, COLUMNS[:1], levels=(5,), batch_size=3)
    place = tmp_path / lesions.name / "test"
    with np.load(place / "clean.npz") as file:
        assert np.array_equal(file["images"], lesions.images[:])
    seen = lesions.images
    whole = torch.from_numpy(np.asarray(seen.whole[:])).movedim(3, 1).contiguous()
    index = torch.from_numpy(lesions.index)
    noisy = COLUMNS[0](whole, severity=5, stream=lesions.stream, index=index)
    with np.load(place / "gaussian_noise_severity_5.npz") as file:
        assert np.array_equal(file["images"], cut(noisy, seen.windows).movedim(1, 3).numpy())


def test_medimeta_c_files_hold_one_severity_and_there_is_a_clean_one(tmp_path):
    data = image_set(1, split="val")
    write(tmp_path, "medimeta_c", data, COLUMNS, levels=(2, 5))
    place = tmp_path / "toy" / "val"
    assert sorted(p.name for p in place.glob("*.npz")) == [
        "clean.npz", "contrast_severity_2.npz", "contrast_severity_5.npz",
        "gaussian_noise_severity_2.npz", "gaussian_noise_severity_5.npz",
    ]  # fmt: skip
    with np.load(place / "clean.npz") as clean, np.load(place / "contrast_severity_5.npz") as file:
        assert set(file) == {"images", "labels"}
        assert np.array_equal(clean["images"], data.images)
        assert file["images"].shape == data.images.shape
        assert file["labels"].tolist() == [0, 1, 2, 0, 1]
        assert file["images"].std() < clean["images"].std()


def test_labels_of_multi_label_sets_keep_their_columns(tmp_path):
    labels = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    data = image_set(labels=labels)
    write(tmp_path, "medmnist_c", data, COLUMNS[1:])
    write(tmp_path, "medimeta_c", data, COLUMNS[1:], levels=(1,))
    with np.load(tmp_path / "toy" / "contrast.npz") as file:
        assert np.array_equal(file["test_labels"], np.tile(labels, (5, 1)))
    with np.load(tmp_path / "toy" / "test" / "contrast_severity_1.npz") as file:
        assert np.array_equal(file["labels"], labels)


def test_bytes_do_not_depend_on_batch_size_and_the_manifest_hashes_them(tmp_path):
    data = image_set()
    for size in (1, 3, 64):
        write(tmp_path / str(size), "medmnist_c", data, COLUMNS, batch_size=size)
    manifests = [
        json.loads((tmp_path / str(size) / "toy" / "manifest.json").read_text())
        for size in (1, 3, 64)
    ]
    assert manifests[0] == manifests[1] == manifests[2]
    entry = manifests[0]["files"]["contrast.npz"]
    path = tmp_path / "1" / "toy" / "contrast.npz"
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with np.load(path) as file:
        pixels = hashlib.sha256(file["test_images"].tobytes()).hexdigest()
    assert entry["arrays"]["test_images"] == pixels
    assert [part["severity"] for part in entry["parts"]] == [1, 2, 3, 4, 5]
    assert entry["parts"][4]["parameters"] == {"factor": 0.05}
    assert (manifests[0]["seed"], manifests[0]["stream"]) == (0, "toy/test")


def test_finished_files_are_kept_and_damaged_ones_made_again(tmp_path, caplog):
    data, seen = image_set(), []
    assert [now for _, now in write(tmp_path, "medmnist_c", data, COLUMNS)] == [True, True]
    again = write(tmp_path, "medmnist_c", data, COLUMNS, advance=seen.append)
    assert [now for _, now in again] == [False, False]
    assert sum(seen) == 50
    path = tmp_path / "toy" / "contrast.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    assert [now for _, now in write(tmp_path, "medmnist_c", data, COLUMNS)] == [False, True]
    assert "made again" in caplog.text
    assert path.read_bytes() == whole


def test_an_interrupted_file_leaves_nothing_and_the_others_stay(tmp_path):
    def stop(count):
        stop.seen = getattr(stop, "seen", 0) + count
        if stop.seen > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "medmnist_c", image_set(), COLUMNS, advance=stop)
    assert sorted(os.listdir(tmp_path / "toy")) == ["gaussian_noise.npz", "manifest.json"]
    assert [now for _, now in write(tmp_path, "medmnist_c", image_set(), COLUMNS)] == [False, True]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    def peak(count):
        data = image_set(count=count, size=64)
        tracemalloc.start()
        write(tmp_path / str(count), "medimeta_c", data, COLUMNS[1:], levels=(1,), batch_size=8)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(8)
    assert peak(400) < peak(40) + 500_000 < 400 * 64 * 64 * 3


def test_what_a_layout_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="all five severities"):
        benchmark_files("medmnist_c", image_set(split="val"), COLUMNS)
    with pytest.raises(ConfigurationError, match="all five severities"):
        benchmark_files("medmnist_c", image_set(), COLUMNS, (1, 3))
    with pytest.raises(ConfigurationError, match="contrast would be written twice"):
        benchmark_files("medimeta_c", image_set(), (*COLUMNS, Corruption("contrast", "medimeta_c")))
    with pytest.raises(ConfigurationError, match="layout='zip'"):
        benchmark_files("zip", image_set(), COLUMNS)
    write(tmp_path, "medmnist_c", image_set(), COLUMNS)
    with pytest.raises(ConfigurationError, match="made with another seed"):
        BenchmarkWriter(tmp_path, "medmnist_c", image_set(), COLUMNS, seed=1)


def test_the_command_writes_a_registry_for_a_published_set(tmp_path):
    write_medmnist(tmp_path / "data", "octmnist", (4, 4, 4))
    given = ["dataset=octmnist", f"dataset.root={tmp_path / 'data'}", "corruption=medmnist_c"]
    for word in ("written", "kept"):
        done = answer("benchmark-files", "--out", tmp_path / "out", *given)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(word) == 6
    columns = [c.name for c in Suite("medmnist_c").expand("octmnist")]
    assert {p.stem for p in (tmp_path / "out" / "octmnist").glob("*.npz")} == set(columns)
    with np.load(tmp_path / "out" / "octmnist" / "pixelate.npz") as file:
        clean = MedMNIST("octmnist", root=str(tmp_path / "data")).load("test")
        assert file["test_images"].shape == (20, 224, 224)
        assert np.array_equal(file["test_labels"][:, 0], np.tile(clean.labels, 5))


def test_a_wrong_name_is_answered_in_one_sentence(tmp_path):
    done = answer("benchmark-files", "--out", tmp_path, "dataset=octmnis")
    assert done.returncode == 1
    assert "Did you mean 'octmnist'" in done.stderr
