"""MedSegBench: 35 sets in the published layout of files, their masks, parts, sums and download."""

import hashlib
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from datasets import save_packed
from zenodo import serve_zenodo

from medrobust.datasets import MedSegBench
from medrobust.datasets.published import medsegbench
from medrobust.datasets.published.medsegbench_facts import FACTS
from medrobust.exceptions import (
    ConfigurationError,
    DatasetNotFoundError,
    InvalidDataError,
    UnknownNameError,
)

COUNTS = {"train": 6, "val": 4, "test": 5}


def write(folder: Path, flag: str, size: int = 128, **changed: np.ndarray) -> Path:
    """Write a set as published, its images few; parts, too."""
    facts, random = FACTS[flag], np.random.default_rng(0)
    arrays = {}
    for split, count in COUNTS.items():
        for suffix in ("", *(f"_{part}" for part in facts.parts)):
            shape = (count, size, size)
            pictures = shape if facts.channels == 1 else (*shape, 3)
            arrays[f"{split}_images{suffix}"] = random.integers(0, 256, pictures, np.uint8)
            masks = random.integers(0, len(facts.classes), shape, np.uint8)
            arrays[f"{split}_label{suffix}"] = masks * (40 if facts.one_class else 1)
    folder.mkdir(parents=True, exist_ok=True)
    if flag == "idrib":
        arrays = {k: v for k, v in arrays.items() if "images_C" not in k}
    save_packed(folder / f"{flag}_{size}.npz", **arrays | changed)
    return folder / f"{flag}_{size}.npz"


def source(folder: Path, flag: str, **chosen: object) -> MedSegBench:
    given = {"root": str(folder), "cache_dir": str(folder / "cache"), "size": 128}
    return MedSegBench(flag, **given | chosen)


@pytest.mark.parametrize("flag", ["kvasir", "busi", "wbc", "m2caiseg"])
def test_images_and_masks_are_those_of_the_file(tmp_path: Path, flag: str) -> None:
    stored = np.load(write(tmp_path, flag))
    found = source(tmp_path, flag).load()
    np.testing.assert_array_equal(found.images, stored["test_images"])
    np.testing.assert_array_equal(found.target.values, stored["test_label"])
    assert found.class_names == FACTS[flag].classes
    assert found.origin == "public"
    said = " ".join(map(str, found.findings))
    assert f"5 images in test, where {flag} has {FACTS[flag].counts[2]}" in said
    assert "128 pixels: severity is defined at 224" in said
    assert "patients are not published" in said
    assert len(source(tmp_path, flag).load("train")) == 6


def test_parts_have_arrays_of_their_own_and_findings_share_their_images(tmp_path: Path) -> None:
    stored = np.load(write(tmp_path, "polypgen"))
    centre = source(tmp_path, "polypgen", part="C3").load()
    np.testing.assert_array_equal(centre.images, stored["test_images_C3"])
    assert centre.name == "medsegbench_polypgen_C3"
    assert set(centre.metadata[:, 0]) == {"centre 3"}
    stored = np.load(write(tmp_path, "idrib"))
    finding = source(tmp_path, "idrib", part="C2").load()
    np.testing.assert_array_equal(finding.images, stored["test_images"])
    np.testing.assert_array_equal(finding.target.values, stored["test_label_C2"])
    assert finding.fingerprint != source(tmp_path, "idrib").load().fingerprint


def test_values_but_zero_are_the_foreground_where_that_is_published(tmp_path: Path) -> None:
    stored = np.load(write(tmp_path, "pandental"))
    assert stored["test_label"].max() == 40
    found = source(tmp_path, "pandental").load()
    np.testing.assert_array_equal(found.target.values, stored["test_label"] != 0)


def test_every_set_has_three_sums_and_classes_from_a_background() -> None:
    assert len(FACTS) == 35
    sums = [md5 for facts in FACTS.values() for md5 in facts.md5]
    assert len(set(sums)) == 105
    assert all(len(md5) == 32 and int(md5, 16) for md5 in sums)
    assert {facts.classes[0] for facts in FACTS.values()} == {"background", "unknown"}
    assert sum(len(facts.classes) > 2 for facts in FACTS.values()) == 6
    assert {facts.record for facts in FACTS.values()} == {"13358372", "13359660"}


def test_a_file_is_fetched_and_compared_with_its_sum(tmp_path: Path, monkeypatch) -> None:
    file = write(tmp_path / "13358372", "drive")
    digest = hashlib.md5(file.read_bytes()).hexdigest()
    told = {"drive": FACTS["drive"].__class__(**_fields(FACTS["drive"]) | {"md5": (digest,) * 3})}
    monkeypatch.setattr(medsegbench, "FACTS", MappingProxyType(told))
    with serve_zenodo(**{"13358372": tmp_path / "13358372"}) as zenodo:
        monkeypatch.setenv("MEDROBUST_ZENODO", zenodo.address)
        here = source(tmp_path / "here", "drive", download=True)
        assert len(here.load()) == 5
        assert zenodo.asked == ["/records/13358372/files/drive_128.npz"]
        assert here.fetch() == [here.file]
    here.file.write_bytes(b"x")
    with pytest.raises(InvalidDataError, match="has not the MD5 sum that MedSegBench names"):
        here.fetch()


def _fields(facts: object) -> dict[str, object]:
    return {name: getattr(facts, name) for name in facts.__slots__}


def test_what_does_not_exist_or_fit_is_a_sentence_each(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="kvasir"):
        source(tmp_path, "kvasirs")
    with pytest.raises(ConfigurationError, match="is published at"):
        source(tmp_path, "kvasir", size=224)
    with pytest.raises(ConfigurationError, match="has no parts"):
        source(tmp_path, "kvasir", part="C1")
    with pytest.raises(UnknownNameError, match="C7"):
        source(tmp_path, "polypgen", part="C7")
    with pytest.raises(DatasetNotFoundError, match="Zenodo record 13358372"):
        source(tmp_path, "kvasir").check_files()
    write(tmp_path, "busi", test_images=np.zeros((5, 64, 64), np.uint8))
    with pytest.raises(InvalidDataError, match="those of busi at 128 pixels are"):
        source(tmp_path, "busi").load()
    write(tmp_path, "dca1", test_label=np.zeros((5, 128, 128, 3), np.uint8))
    with pytest.raises(InvalidDataError, match="masks are uint8"):
        source(tmp_path, "dca1").load()
