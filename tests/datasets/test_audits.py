import io
from pathlib import Path

import numpy as np
import pytest
from datasets import medmnist_arrays, write_medimeta, write_medmnist, write_robustmedclip
from PIL import Image
from run_entry import answer

from medrobust.datasets import MedIMeta, MedMNIST, RobustMedCLIPFiles
from medrobust.datasets.audits.of_sets import audit, between_sets
from medrobust.datasets.audits.perceptual import (
    SIGNS,
    area_means,
    near_repeats,
    perceptual_hashes,
)
from medrobust.datasets.phantoms.source import phantom


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8 (60, 224, 224, 3): three phantoms of each class."""
    return np.stack([phantom(row, split="test") for row in range(60)])


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(image: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 8, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda a: jpeg(a, 75),
        lambda a: jpeg(a, 25),
        lambda a: resized(resized(a, 100), 224),
        lambda a: resized(a, 64),
        lambda a: resized(a, 333),
        noisy,
    ],
    ids=["jpeg75", "jpeg25", "there and back", "64", "333", "noise"],
)
def test_a_picture_is_known_again_and_no_other_is_taken_for_it(
    pictures: np.ndarray, change: object
) -> None:
    first = perceptual_hashes(np.stack([change(image) for image in pictures[:20]]))
    found = near_repeats(first, perceptual_hashes(pictures))
    assert found.rows.tolist() == found.partners.tolist() == list(range(20))
    assert near_repeats(perceptual_hashes(pictures)).rows.tolist() == []


def test_area_means_are_means_of_areas() -> None:
    image = np.arange(64.0).reshape(8, 8)
    half = area_means(8, 4) @ image @ area_means(8, 4).T
    np.testing.assert_allclose(half, image.reshape(4, 2, 4, 2).mean(axis=(1, 3)))
    np.testing.assert_allclose(area_means(224, 32).sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(area_means(28, 32).sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(area_means(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], rtol=1e-6)


def test_signs_are_those_of_a_cosine_transform(pictures: np.ndarray) -> None:
    from scipy.fft import dctn

    grey = pictures[:4].astype(np.float64) @ [0.299, 0.587, 0.114]
    fine = grey.reshape(4, 32, 7, 32, 7).mean(axis=(2, 4))
    low = dctn(fine, axes=(1, 2))[:, :8, :8].reshape(4, -1)
    # scipy's rows have one common factor but for the first ones, which have another
    low = low[:, 1:]
    expected = np.where(low > np.median(low, axis=1, keepdims=True), 1, -1)
    found = perceptual_hashes(pictures[:4])[:, :SIGNS]
    assert (found == expected).mean() > 0.99


def test_a_picture_that_shows_nothing_repeats_nothing() -> None:
    blank = np.full((3, 40, 40), 7, np.uint8)
    assert not perceptual_hashes(blank).any()
    assert len(near_repeats(perceptual_hashes(blank))) == 0


def test_comparison_in_blocks_finds_what_one_comparison_finds(
    pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = perceptual_hashes(pictures)[[*range(60), 5, 59, 0]]
    whole = near_repeats(hashes)
    assert whole.rows.tolist() == [60, 61, 62]
    assert whole.partners.tolist() == [5, 59, 0]
    monkeypatch.setattr("medrobust.datasets.audits.perceptual.COMPARED", 16)
    assert near_repeats(hashes).partners.tolist() == [5, 59, 0]
    assert near_repeats(hashes[60:], hashes[:60]).partners.tolist() == [5, 59, 0]


def planted(root: Path, pictures: np.ndarray) -> Path:
    """Write dermamnist with test images 0 and 1 in train, one re-encoded, one resized."""
    arrays = medmnist_arrays("dermamnist", (20, 10, 20))
    arrays["train_images"] = pictures[:20].copy()
    arrays["val_images"] = pictures[20:30].copy()
    arrays["test_images"] = pictures[30:50].copy()
    arrays["train_images"][7] = jpeg(pictures[30], 40)
    arrays["train_images"][8] = resized(resized(pictures[31], 110), 224)
    arrays["val_images"][2] = pictures[32]
    arrays["test_images"][19] = pictures[33]
    np.savez(root / "dermamnist_224.npz", **arrays)
    return root


def test_repeated_pictures_are_found_and_later_tables_say_so(
    tmp_path: Path, pictures: np.ndarray
) -> None:
    source = MedMNIST("dermamnist", root=str(planted(tmp_path, pictures)))
    before = source.load()
    report = audit(source)
    said = [one for one in map(str, report.findings) if "repeat" in one]
    assert said == [
        "1 image of test nearly repeats an earlier one of test, 1 identical (ids 19=3)",
        "2 images of test nearly repeat one of train, 0 identical (ids 0=7, 1=8)",
        "1 image of test nearly repeats one of val, 1 identical (ids 2=2)",
    ]
    after = source.load()
    assert after.marks == (*before.marks, *said)
    assert after.fingerprint == before.fingerprint
    assert audit(source).findings == report.findings
    assert source.load().marks == after.marks
    assert not [f for f in audit(source, pictures=False).findings if "repeat" in str(f)]


def test_pictures_shared_by_two_sets_are_found(tmp_path: Path, pictures: np.ndarray) -> None:
    arrays = medmnist_arrays("bloodmnist", (8, 8, 8))
    arrays["train_images"], arrays["val_images"] = pictures[:8], pictures[8:16]
    arrays["test_images"] = pictures[16:24]
    np.savez(tmp_path / "bloodmnist_224.npz", **arrays)
    theirs = np.stack([jpeg(image, 60) for image in pictures[[3, 40, 17, 50]]])
    write_robustmedclip(tmp_path, "pbc", (), theirs, np.arange(4))
    one = audit(MedMNIST("bloodmnist", root=str(tmp_path)))
    other = audit(RobustMedCLIPFiles("pbc", root=str(tmp_path)))
    assert list(map(str, between_sets(one, other))) == [
        "bloodmnist and pbc hold the same 17,092 blood cells, split differently",
        "1 image of bloodmnist/train nearly repeats one of pbc/test, 0 identical (ids 3=0)",
        "1 image of bloodmnist/test nearly repeats one of pbc/test, 0 identical (ids 1=2)",
    ]


def test_what_two_sets_share_is_kept_and_carried_by_later_tables_of_both(
    tmp_path: Path, pictures: np.ndarray
) -> None:
    arrays = medmnist_arrays("bloodmnist", (8, 8, 8))
    arrays["test_images"] = pictures[16:24]
    np.savez(tmp_path / "bloodmnist_224.npz", **arrays)
    write_robustmedclip(tmp_path, "pbc", (), pictures[[17, 40, 18]], np.arange(3))
    sources = (
        MedMNIST("bloodmnist", root=str(tmp_path)),
        RobustMedCLIPFiles("pbc", root=str(tmp_path)),
    )
    before = [source.load().marks for source in sources]
    between_sets(*map(audit, sources))
    kept = [
        "2 images of bloodmnist/test nearly repeat one of pbc/test, 2 identical (ids 1=0, 2=2)",
        "2 images of pbc/test nearly repeat one of bloodmnist/test, 2 identical (ids 0=1, 2=2)",
    ]
    carried = [
        source.load().marks[len(marks) :] for source, marks in zip(sources, before, strict=True)
    ]
    assert carried == [(sentence,) for sentence in kept]
    reports = [audit(source) for source in sources]
    assert [source.load().marks[-1] for source in sources] == kept, "an audit of one set keeps it"
    assert not [f for report in reports for f in report.findings if "/test nearly" in str(f)]
    write_robustmedclip(tmp_path, "pbc", (), pictures[[40, 41, 42]], np.arange(3))
    between_sets(*map(audit, sources))
    assert [source.load().marks for source in sources] == before, "another comparison replaces it"


def test_patients_in_two_splits_and_absent_classes_are_found(tmp_path: Path) -> None:
    write_medimeta(tmp_path, "pbc", size=16, patients=[f"p{row % 14}" for row in range(15)])
    report = audit(MedIMeta("pbc", root=str(tmp_path), size=16), pictures=False)
    assert any("1 patient is in two splits: " in str(finding) for finding in report.findings)
    assert any(str(finding).startswith("no image of") for finding in report.findings)
    assert any(fact.startswith("test: 5 images of 16×16×3, ") for fact in report.facts)
    assert any("patients, multi-class" in fact for fact in report.facts)


def test_swapped_labels_and_missing_splits_are_said_not_raised(tmp_path: Path) -> None:
    arrays = medmnist_arrays("breastmnist", (60, 8, 60), size=28)
    for split in ("train", "test"):
        arrays[f"{split}_labels"] = np.repeat([0, 1], [45, 15])[:, None].astype(np.uint8)
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    report = audit(MedMNIST("breastmnist", root=str(tmp_path), size=28))
    refused = [one for one in map(str, report.findings) if "cannot be used" in one]
    assert [f.split()[0] for f in refused] == ["train", "test"]
    assert all("dataset.label_order=reversed" in f for f in refused)
    assert list(report.splits) == ["val"]
    write_robustmedclip(tmp_path, "oct", (), np.zeros((8, 16, 16), np.uint8), np.arange(8) % 4)
    report = audit(RobustMedCLIPFiles("oct", root=str(tmp_path), size=16))
    assert [fact for fact in report.facts if fact.startswith("split ")] != []
    assert "8 images of test show one grey only" in map(str, report.findings)


def test_the_report_says_how_the_counts_fit_the_known_orders(tmp_path: Path) -> None:
    arrays = medmnist_arrays("pneumoniamnist", (4, 4, 40), size=28)
    arrays["test_labels"] = np.repeat([0, 1], [12, 28])[:, None].astype(np.uint8)
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    facts = audit(MedMNIST("pneumoniamnist", root=str(tmp_path), size=28), pictures=False).facts
    # 1,349 normal of 5,232: log10 of (1349/3883)^(28-12)
    assert "test: likelihood of known label orders, own order = 1: medmnist 10^0.0, reversed " in (
        "\n".join(facts)
    )
    assert any(fact.endswith("reversed 10^-7.3") for fact in facts)
    assert "test: furthest from the known shares: normal, +4.2 points" in facts


@pytest.mark.slow
def test_the_command_prints_the_whole_report(tmp_path: Path, pictures: np.ndarray) -> None:
    planted(tmp_path, pictures)
    write_medmnist(tmp_path, "retinamnist", (5, 5, 5))
    root = f"dataset.root={tmp_path}"
    whole = answer("audit", "dermamnist", "retinamnist", root)
    assert whole.returncode == 0
    for part in (
        "test: 20 images of 224×224×3, multi-class",
        "! 2 images of test nearly repeat one of train",
        "melanoma 3 (15.0 %)",
        "ordinal-regression",
    ):
        assert part in whole.stdout
    absent = answer("audit", "octmnist", root, "--fast")
    assert absent.returncode == 1
    assert "split test is left out: octmnist_224.npz not found" in absent.stdout
    unknown = answer("audit", "octmnst", root)
    assert unknown.returncode == 1
    assert "Did you mean 'octmnist'" in unknown.stderr
    misspelt = answer("audit", "octmnist", "dataset.siz=28")
    assert misspelt.returncode == 1
    assert misspelt.stderr.startswith("error: ")
