"""DICOM files that hold no image are called so, and those that were cut off before it are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicoms import dataset, write_dicom
from pydicom.dataset import FileDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RTPlanStorage,
)

from medrobust.datasets.own.dicom_headers import quiet_pydicom
from medrobust.datasets.own.dicom_search import header_index

CUT_OFF = "is cut off or damaged before its pixels"
NO_IMAGE = "holds no image (a report, a plan, a directory, a header alone)"
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


def reasons(folder: Path) -> dict[str, str]:
    names = sorted(file.name for file in folder.iterdir())
    with quiet_pydicom():
        return dict(header_index(folder, names, b"k" * 32).passed)


def written(file: Path, made: FileDataset) -> Path:
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file


def headed(**tags: Any) -> FileDataset:
    made = dataset(None, **tags)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    return made


def scan() -> FileDataset:
    tags: dict[str, Any] = {"StudyDate": "20240102", "StationName": "CT1", "InstanceNumber": "7"}
    return dataset(np.arange(64, dtype=np.uint16).reshape(8, 8), **tags)


@pytest.mark.slow
@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "kind",
    [
        RTPlanStorage,
        GrayscaleSoftcopyPresentationStateStorage,
        MediaStorageDirectoryStorage,
        CTImageStorage,
        "2.25.123456789",  # of no class that is known
    ],
)
def test_a_file_without_an_image_is_called_so(tmp_path: Path, syntax: str, kind: str) -> None:
    item = headed(SOPClassUID=kind)
    written(tmp_path / "a.dcm", headed(SOPClassUID=kind, TransferSyntaxUID=syntax))
    closed = headed(SOPClassUID=kind, TransferSyntaxUID=syntax, OtherPatientIDsSequence=[item])
    closed["OtherPatientIDsSequence"].is_undefined_length = True
    del closed.PatientID
    written(tmp_path / "b.dcm", closed)
    assert reasons(tmp_path) == {"a.dcm": NO_IMAGE, "b.dcm": NO_IMAGE}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_that_ends_within_an_element_or_without_its_pixels_is_cut_off(
    tmp_path: Path, syntax: str
) -> None:
    made = scan()
    made.file_meta.TransferSyntaxUID = syntax
    whole = written(tmp_path / "whole.dcm", made).read_bytes()
    station, rows = whole.index(b"CT1"), whole.index(b"MONOCHROME2")
    for cut in (station - 5, station + 1, station + 2, rows + 4, rows + 12, len(whole) - 128 - 12):
        (tmp_path / f"{cut}.dcm").write_bytes(whole[:cut])
    found = reasons(tmp_path)
    assert len(found) == 6
    assert set(found.values()) == {CUT_OFF}


def _without_rows(made: FileDataset) -> None:
    del made.Rows


def _without_uid(made: FileDataset) -> None:
    del made.SOPInstanceUID


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without_rows, "lacks the size of its pixels (Rows)"),
        (_without_uid, "lacks the SOP Instance UID"),
    ],
)
def test_a_whole_file_that_lacks_an_element_is_told_which(
    tmp_path: Path, change: Callable[[FileDataset], None], said: str
) -> None:
    made = scan()
    change(made)
    made.save_as(tmp_path / "a.dcm")
    write_dicom(tmp_path / "b.dcm", np.zeros((4, 4), np.uint8))
    assert reasons(tmp_path) == {"a.dcm": said}


def test_the_files_of_pydicom_are_passed_over_for_what_they_are() -> None:
    folder = Path(str(pydicom.__file__)).parent / "data/test_files"
    names = ["rtplan.dcm", "reportsi.dcm", "test-SR.dcm", "dicomdirtests/DICOMDIR"]
    names.append("dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000/IM000000")
    with quiet_pydicom():
        found = header_index(folder, names, b"k" * 32).passed
    assert found == dict.fromkeys(names, NO_IMAGE)
