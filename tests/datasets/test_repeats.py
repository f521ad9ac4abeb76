"""What a run finds by itself of repeated pictures, and what it leaves to the script."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import medmnist_arrays, write_robustmedclip

from medrobust.base.findings import Finding
from medrobust.datasets import MedMNIST, RobustMedCLIPFiles
from medrobust.datasets.audits import of_sets as audits
from medrobust.datasets.audits import repeats
from medrobust.datasets.audits.findings import read_findings, read_looked
from medrobust.datasets.audits.repeats import look, look_beside
from medrobust.datasets.phantoms.source import Phantoms, phantom


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8 (60, 224, 224, 3): three phantoms of each class."""
    return np.stack([phantom(row, split="test") for row in range(60)])


def write_set(root: Path, train: np.ndarray, test: np.ndarray, flag: str = "bloodmnist") -> None:
    arrays = medmnist_arrays(flag, (len(train), 4, len(test)))
    arrays["train_images"], arrays["test_images"] = train, test
    np.savez(root / f"{flag}_224.npz", **arrays)


def compared(image_set: Any) -> list[str]:
    return [name for part in read_looked(image_set).values() for name in part.compared]


@pytest.mark.slow
def test_the_evaluated_split_is_compared_once_and_again_when_the_other_changes(
    tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MedMNIST("bloodmnist", root=str(tmp_path))
    write_set(tmp_path, pictures[:8], pictures[8:16])
    looked = look(source)
    assert compared(looked) == ["test", "train", "val"]
    assert read_findings(looked) == ()
    with monkeypatch.context() as patch:
        patch.setattr(repeats, "near_repeats", None)
        assert look(replace(source, limit=4)).fingerprint == looked.fingerprint
    write_set(tmp_path, pictures[:9], pictures[8:16])
    (found,) = read_findings(look(source))
    assert found == Finding(
        "repeated images", "1 image of test nearly repeats one of train, 1 identical", ("0=8",)
    )
    assert source.load().findings[-1] == found
    assert replace(source, limit=4).load().findings.count(found) == 1


def test_a_large_split_is_left_to_the_script_and_what_it_finds_is_kept(
    tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MedMNIST("bloodmnist", root=str(tmp_path))
    write_set(tmp_path, pictures[:12], pictures[8:16])
    monkeypatch.setattr(repeats, "MOST_UNPACKED", {"public": 11})
    left_out = {"train": "its 12 images are not in the cache yet"}
    assert read_looked(look(source))[""].left_out == left_out
    arrays = tmp_path / "cache" / "arrays"
    assert not list(arrays.glob("[!.]*train_images*")), "nothing was unpacked for it"
    source.load("train")
    looked = look(source)
    assert compared(looked) == ["test", "train", "val"], "the cache has it now"
    (found,) = read_findings(looked)
    monkeypatch.setattr(repeats, "MOST_IMAGES", 11)
    assert read_findings(look(source)) == (found,)
    (tmp_path / "cache" / "audits" / f"{looked.fingerprint}.json").unlink()
    assert read_looked(look(source))[""].left_out == {
        "train": "its 12 images would take a run too long"
    }
    audits.audit(source)
    assert read_findings(look(source)) == (found,)
    assert not read_looked(looked)[""].left_out


def test_phantoms_are_not_drawn_to_be_compared() -> None:
    looked = look(Phantoms(per_class=1))
    assert compared(looked) == ["test"]
    assert read_looked(looked)[""].left_out == {
        "train": "its 20 images are not in the cache yet",
        "val": "its 20 images are not in the cache yet",
    }


@pytest.mark.slow
def test_no_phantom_repeats_another_of_its_site_or_of_the_other() -> None:
    sites = [Phantoms(name=f"site {site}", site=site, per_class=3) for site in "ab"]
    reports = [audits.audit(site) for site in sites]
    assert [report.findings for report in reports] == [(), ()]
    assert audits.between_sets(*reports) == []


def test_a_split_that_cannot_be_used_stops_nothing(tmp_path: Path, pictures: np.ndarray) -> None:
    arrays = medmnist_arrays("bloodmnist", (4, 4, 8))
    arrays["test_images"] = pictures[:8]
    arrays["train_labels"] = arrays["train_labels"] + 200
    np.savez(tmp_path / "bloodmnist_224.npz", **arrays)
    looked = look(MedMNIST("bloodmnist", root=str(tmp_path)))
    assert compared(looked) == ["test", "val"]
    assert "labels span 200" in read_looked(looked)[""].left_out["train"]


def test_a_set_is_compared_with_the_others_of_the_run_and_with_kept_hashes_of_its_source(
    tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path, pictures[:8], pictures[8:16])
    write_set(tmp_path, pictures[:2], pictures[[15, 30]], "dermamnist")
    write_robustmedclip(tmp_path, "pbc", (), pictures[[40, 9, 41]], np.arange(3))
    blood, derma = (look(MedMNIST(f, root=str(tmp_path))) for f in ("bloodmnist", "dermamnist"))
    look(RobustMedCLIPFiles("pbc", root=str(tmp_path)))
    look_beside(blood, [blood, derma])
    found = (
        "1 image of bloodmnist/test nearly repeats one of pbc/test (id=row 1=1)",
        "1 image of bloodmnist/test nearly repeats one of dermamnist/test, 1 identical (ids 7=0)",
    )
    assert tuple(map(str, read_findings(blood))) == found
    assert compared(blood)[-2:] == ["pbc/test", "dermamnist/test"]
    monkeypatch.setattr(repeats, "near_repeats", None)
    look_beside(blood, [derma])
    monkeypatch.setattr(repeats, "MOST_PAIRS", 15)
    look_beside(derma, [blood])
    assert read_looked(derma)["bloodmnist"].left_out == {
        "bloodmnist/test": "16 pairs would take a run too long"
    }
