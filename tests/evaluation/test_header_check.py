"""The modality in headers of DICOM files against what is declared and what is computed."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_table
from dicoms import write_dicom
from run_entry import medrobust

from medrobust.base.once import begin_again
from medrobust.corruptions import Corruption, Suite
from medrobust.corruptions.modality import device_of
from medrobust.datasets import Dicom, ImageSet, Phantoms
from medrobust.evaluation.header_check import check_headers
from medrobust.exceptions import ConfigurationError

LOW_DOSE = Corruption("low_dose", suite="ct_physics", domain="stored")
NOISE = Corruption("gaussian_noise").expand(None)


@pytest.fixture(autouse=True)
def _said_anew() -> None:
    begin_again()


def written(folder: Path, codes: Sequence[str]) -> Path:
    """A folder of CT-like values, the given modality in each header; none where it is "-"."""
    drawn = np.random.default_rng(0).integers(0, 900, (len(codes), 16, 16)).astype(np.int16)
    for number, (pixels, code) in enumerate(zip(drawn, codes, strict=True)):
        tags = {} if code == "-" else {"Modality": code}
        shown = {"WindowCenter": 400, "WindowWidth": 800, "PatientID": f"P{number}"}
        write_dicom(folder / f"{number}.dcm", pixels, **tags, **shown)
    rows = [{"path": f"{n}.dcm", "label": "ab"[n % 2]} for n in range(len(codes))]
    return write_table(folder / "labels.csv", rows)


def opened(folder: Path, codes: Sequence[str], modality: str = "", **keys: Any) -> ImageSet:
    table = written(folder, codes)
    keys |= {"size": 16, "cache_dir": str(folder / "cache")}
    return Dicom(csv=str(table), modality=modality, **keys).load()


def test_artifacts_of_another_device_than_headers_name_are_refused(tmp_path: Path) -> None:
    declared = opened(tmp_path / "a", ["MR"] * 2, "CT")
    stored, shown = LOW_DOSE.expand(None, "CT"), replace(LOW_DOSE, domain="picture")
    with pytest.raises(ConfigurationError) as told:
        check_headers(stored, declared)
    sentence = str(told.value)
    assert (
        "'low_dose' is an artifact of CT, but the header of 0.dcm (labels.csv, line 2)" in sentence
    )
    assert "says MR as Modality (0008,0060), 2 of 2 images of test are MR" in sentence
    assert "dataset.modality is 'CT': their values would be taken for Hounsfield units" in sentence
    assert "dataset.modality=MR" in sentence
    assert "0.dcm" not in told.value.for_records
    with pytest.raises(ConfigurationError, match=r"artifact of CT.*says MR") as told:
        check_headers(shown.expand(None, "CT"), declared)
    assert "Hounsfield" not in str(told.value)
    with pytest.raises(ConfigurationError, match=r"says MR.*dataset.modality is not given"):
        check_headers(stored, opened(tmp_path / "b", ["MR"] * 2))
    with pytest.raises(ConfigurationError, match=r"4.dcm .*1 of 5 images .* is PT.*one device at"):
        check_headers(stored, opened(tmp_path / "c", [*["CT"] * 4, "PT"], "CT"))


def test_forced_artifacts_and_noise_are_computed_and_the_contradiction_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    declared = opened(tmp_path, ["CT", "-", "MR"], "abdominal CT")
    for columns in (replace(LOW_DOSE, force=True).expand(None, "CT"), NOISE, (), NOISE):
        (found,) = check_headers(columns, declared)
    assert "dataset.modality is 'abdominal CT', but the headers of 1 of 3 images" in found.sentence
    assert "say MR" in found.sentence
    assert "first that of labels.csv, line 4" in found.sentence
    assert [one.levelno for one in caplog.records if "headers" in one.message] == [logging.WARNING]


def test_images_of_several_devices_are_said(tmp_path: Path) -> None:
    (found,) = check_headers(NOISE, opened(tmp_path / "a", ["CT", "MR", "-", "MR"]))
    assert "the 4 images of test come from several devices" in found.sentence
    assert "1 of CT (CT, first labels.csv, line 2)" in found.sentence
    assert "2 of MRI (MR, first labels.csv, line 3)" in found.sentence
    for number, same in enumerate((["CR", "DX", "MG", "XA"], ["SM", "GM"])):
        assert check_headers(NOISE, opened(tmp_path / str(number), same)) == ()


@pytest.mark.parametrize(
    ("codes", "words", "artifact"),
    [
        (["CT", "CT"], "CT", LOW_DOSE),
        (["CT", "-", "OT", "SR", "DOE JANE"], "CT", LOW_DOSE),
        (["CR", "DX", "MG"], "chest x-ray", Suite("xray_physics", domain="stored")),
        (["US", "IVUS"], "US", Suite("ultrasound_physics")),
        (["SM", "GM"], "blood cell microscopy", Suite("imagenet_c")),
        (["OPT", "OPT"], "retinal OCT", Suite("imagenet_c")),
        (["MR", "-"], "knee", Suite("mri_physics")),
    ],
)
def test_what_is_no_contradiction_is_let_be(
    codes: list[str], words: str, artifact: Any, tmp_path: Path
) -> None:
    assert check_headers(artifact.expand(None, words), opened(tmp_path, codes, words)) == ()


def test_headers_that_name_the_device_check_what_is_not_declared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    named = opened(tmp_path / "a", ["CT", "CT"])
    caplog.clear()
    assert check_headers(LOW_DOSE.expand(None, ""), named) == ()
    assert caplog.text == ""
    check_headers(LOW_DOSE.expand(None, ""), opened(tmp_path / "b", ["CT", "OT"]))
    assert "CT artifacts on a data set that does not say" in caplog.text
    check_headers(Suite("mri_physics").expand(None, ""), Phantoms(per_class=1).load())
    assert "MRI artifacts" in caplog.text


def test_headers_follow_the_images_and_what_is_no_code_is_not_kept(tmp_path: Path) -> None:
    whole = opened(tmp_path, ["CT", "MR", "DOE JANE", "XC"])
    assert whole.headers is not None
    assert list(whole.headers().codes) == ["CT", "MR", "", ""]
    part = whole.take([3, 1], fingerprint="part")
    assert part.headers is not None
    said = part.headers()
    assert (said.codes, said.files) == (["", "MR"], ["3.dcm", "1.dcm"])
    kept = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert kept
    assert not any(b"JANE" in file.read_bytes() for file in kept)


def test_another_modality_in_headers_moves_no_fingerprint(tmp_path: Path) -> None:
    first = opened(tmp_path, ["CT", "CT"], key_file=str(tmp_path / "key"))
    again = opened(tmp_path, ["MR", "MR"], key_file=str(tmp_path / "key"))
    assert again.headers is not None
    assert list(again.headers().codes) == ["MR", "MR"]
    assert again.fingerprint == first.fingerprint
    assert again.stored is not None
    assert first.stored is not None
    assert again.stored().digest == first.stored().digest


def test_codes_of_headers_are_words_for_devices() -> None:
    found = {code: device_of(code) for code in ("XA", "SM", "PT", "ivus", "IVOCT", "OT")}
    expected = {"XA": "x-ray", "SM": "histopathology", "PT": "PET", "ivus": "ultrasound"}
    assert found == {**expected, "IVOCT": "OCT", "OT": ""}


def test_a_run_is_refused_before_stored_values_are_unpacked(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(Path(), ["MR", "MR"])
    asked = ("dataset=dicom", "dataset.csv=labels.csv", "dataset.modality=CT", "dataset.size=16")
    asked = (*asked, "corruption=ct_physics", "corruption.domain=stored", "dry_run=true")
    assert medrobust(*asked, "model=phantomclip_small", "validation=false", "audit=false") == 1
    assert "the header of 0.dcm (labels.csv, line 2) says MR" in capsys.readouterr().err
    assert not list(workplace.rglob("*-stored*"))


def test_no_file_of_a_benchmark_is_written_of_images_of_another_device(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(Path(), ["MR", "MR"])
    asked = ("dataset=dicom", "dataset.csv=labels.csv", "dataset.modality=CT", "dataset.size=16")
    assert medrobust("benchmark-files", "--out", "files", *asked, "corruption=ct_physics") == 1
    assert "the header of 0.dcm (labels.csv, line 2) says MR" in capsys.readouterr().err
    assert not list(Path("files").rglob("*"))
