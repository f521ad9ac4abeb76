"""Reports of own tables: whose they are, which column they stand in, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write_folder, write_table
from dicoms import write_dicom

from medrobust.base.once import begin_again
from medrobust.datasets import Dicom, Folder
from medrobust.exceptions import ConfigurationError, InvalidDataError

ROWS = (
    ("P1", "1", "Normal chest."),
    ("P1", "1", "Normal chest."),
    ("P1", "2", "Normal chest."),
    ("P2", "1", "Normal chest."),
    ("P2", "1", "Effusion."),
)


def reports(root: Path, **options: Any) -> Folder:
    """Five pictures of two patients, who both have a study 1."""
    write_folder(root)
    named = [
        {"path": f"images/scan{place:03d}.png", "patient": patient, "study": study, "report": said}
        for place, (patient, study, said) in enumerate(ROWS)
    ]
    table = write_table(root / "reports.csv", named)
    given = {"csv": str(table), "target": "texts", "size": 32, "cache_dir": str(root / "cache")}
    return Folder(**{**given, **options})


@pytest.mark.parametrize(
    ("study", "patient", "pairs"),
    [
        (None, "patient", [0, 0, 0, 0, 1]),
        ("study", "patient", [0, 0, 1, 2, 3]),
        ("study", None, [0, 0, 1, 0, 2]),
    ],
)
def test_images_share_a_report_within_a_study_of_one_patient(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    study: str | None,
    patient: str | None,
    pairs: list[int],
) -> None:
    begin_again()
    found = reports(tmp_path, study_column=study, patient_column=patient).load().target
    assert found.pairs.tolist() == [[image, text] for image, text in enumerate(pairs)]
    assert found.merged == (study is None)
    told = {"patient": "1 of 3 studies has", None: "1 of 2 studies has"}[patient]
    assert (f"{told} images with different reports" in caplog.text) == (study is not None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"text_column": 3}, r"text_column=3 must be a list of names"),
        ({"text_column": None}, r"text_column=None must be a list of names"),
        ({"text_column": ()}, r"text_column=\[\] names no column of reports"),
        ({"study_column": ["study"]}, r"study_column=\['study'\] must be one name, or null"),
        ({"study_column": 3}, r"study_column=3 must be one name, or null"),
        ({"metadata_columns": ["report"]}, "'report', which is dataset.text_column: its values"),
    ],
)
def test_columns_of_reports_that_are_none_or_would_be_stored_in_clear_are_refused(
    tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        reports(tmp_path, **given).load()


def test_patients_of_headers_keep_studies_apart_that_a_table_of_dicom_files_numbers_alike(
    tmp_path: Path,
) -> None:
    lines = ["path,report,study"]
    for place, patient in enumerate(("A", "A", "B")):
        pixels = np.random.default_rng(place).integers(0, 4000, (40, 40)).astype(np.uint16)
        write_dicom(tmp_path / f"{place}.dcm", pixels, PatientID=patient)
        lines.append(f"{place}.dcm,Normal chest.,1")
    table = tmp_path / "reports.csv"
    table.write_text("\n".join(lines) + "\n")
    given = {"target": "texts", "study_column": "study", "cache_dir": str(tmp_path / "cache")}
    found = Dicom(csv=str(table), **given).load().target
    assert found.pairs.tolist() == [[0, 0], [1, 0], [2, 1]]


def test_a_row_without_a_report_or_a_study_is_refused_and_dropped_by_its_name(
    tmp_path: Path,
) -> None:
    source = reports(tmp_path, unlabelled="drop", study_column="study")
    table = tmp_path / "reports.csv"
    whole = table.read_text()
    table.write_text(whole.replace("Effusion.", " "))
    said = " ".join(map(str, source.load().findings))
    assert "1 row of test has no report and was left out" in said
    table.write_text(whole.replace("P2,1,Effusion.", "P2,,Effusion."))
    with pytest.raises(InvalidDataError, match=r"line 6: the row names no study\. Fill it in"):
        source.load()
