"""What headers of DICOM files say of studies, and what does not stop a monitor."""

import numpy as np
import pytest
from dicoms import write_dicom

from medrobust.cli.encode_studies import _listed
from medrobust.exceptions import ConfigurationError, InvalidDataError, InvalidImageError
from medrobust.monitor.dicom_studies import headers
from medrobust.monitor.studies import seconds_of
from medrobust.monitor.tables import Columns, studies_of_table

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)
DICOM = ["model=phantomclip_small", "dataset=dicom"]


def scan(file, number, **tags):
    given = {"StudyDate": "20260131", "StudyTime": "083005.25", "PatientID": f"P{number // 2}"}
    write_dicom(file, PIXELS, SOPInstanceUID=f"1.2.{number}", **{**given, **tags})


@pytest.fixture
def folder(tmp_path):
    scan(tmp_path / "a/IM1", 1, PatientAge="018M", KVP="110.50", Manufacturer="Acme")
    scan(tmp_path / "a/IM2.dcm", 2, WindowCenter=[40, 400], WindowWidth=[80, 900], StudyTime="0830")
    scan(tmp_path / "b.dcm", 3, StudyDate="", AcquisitionDate="20260201", PatientID="unknown")
    write_dicom(tmp_path / "report.dcm", None)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_headers_say_when_whose_and_what_the_published_monitors_watch(folder):
    found, passed = headers(folder)
    assert [one.path for one in found] == ["a/IM1", "a/IM2.dcm", "b.dcm"]
    assert [one.instance for one in found] == ["1.2.1", "1.2.2", "1.2.3"]
    times = ["2026-01-31T08:30:05", "2026-01-31T08:30", "2026-02-01"]
    assert [seconds_of(one.time) for one in found] == [seconds_of(text) for text in times]
    assert [one.patient for one in found] == ["P0", "P1", ""]
    first, second, _ = (one.values for one in found)
    assert (first["PatientAge"], first["KVP"], first["Rows"]) == ("1.5", "110.5", "8")
    assert (first["Manufacturer"], second["Manufacturer"]) == ("Acme", "")
    assert (second["WindowCenter"], second["WindowWidth"]) == ("40", "80")
    assert list(passed) == ["report.dcm"]


def test_a_folder_is_a_table_of_its_headers(folder, tmp_path, capsys):
    table = _listed(folder, Columns(), tmp_path / "studies.csv", DICOM)
    assert "1 file in the folder was passed over: report.dcm (it holds no image" in (
        capsys.readouterr().err
    )
    fitted = studies_of_table(table, Columns(ignored=("path",)))
    assert fitted.ids.tolist() == ["1.2.1", "1.2.2", "1.2.3"]
    assert fitted.patients.tolist()[:2] == ["P0", "P1"]
    assert "Doe" not in table.read_text()
    assert "Exposure" not in fitted.categories  # nowhere in the reference
    known = Columns(numeric=("KVP",), categorical=("Exposure",), ignored=("path",))
    later = studies_of_table(_listed(folder, known, tmp_path / "later.csv", DICOM), known)
    assert later.categories["Exposure"].tolist() == ["", "", ""]
    np.testing.assert_array_equal(later.numbers["KVP"], [110.5, np.nan, np.nan])


def test_numbers_that_are_none_count_as_missing(tmp_path):
    scan(tmp_path / "a.dcm", 1, PatientAge="018Y", Exposure="3", KVP="1")
    damaged = (tmp_path / "a.dcm").read_bytes().replace(b"018Y", b"oldY")
    place = damaged.index(b"\x18\x00\x60\x00DS")  # KVP
    (tmp_path / "a.dcm").write_bytes(damaged[: place + 8] + b"x " + damaged[place + 10 :])
    values = headers(tmp_path)[0][0].values
    assert (values["KVP"], values["PatientAge"], values["Exposure"]) == ("", "", "3")


def test_what_cannot_be_a_study_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="holds no DICOM images"):
        _listed(tmp_path, Columns(), tmp_path / "t.csv", DICOM)
    scan(tmp_path / "undated.dcm", 1, StudyDate="")
    with pytest.raises(InvalidDataError, match=r"undated\.dcm states no date"):
        headers(tmp_path)
    scan(tmp_path / "undated.dcm", 1)
    whole = (tmp_path / "undated.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: whole.index(b"\xe0\x7f\x10\x00") - 20])
    with pytest.raises(InvalidImageError, match=r"cut\.dcm"):
        headers(tmp_path)
