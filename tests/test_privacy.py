"""Planted identifiers: none of them in any byte that a run writes, prints, logs or would send."""

from pathlib import Path

import numpy as np
import pytest
from dicoms import slices, write_dicom
from hydra.core.global_hydra import GlobalHydra

from medrobust import cli

UID = "1.2.826.0.1.3680043.8.498.777"
PLANTED = {
    "PatientName": "Plantedname^Given",
    "PatientBirthDate": "19610813",
    "AccessionNumber": "PLANTEDACC",
    "InstitutionName": "Plantedward",
    "StudyDescription": "Plantedstudy",
    "OtherPatientIDs": "PLANTEDOTHER",
}
OWN = ("dataset=dicom", "dataset.modality=ct", "dataset.positive=b")
SECRETS = ("Planted", "PLANTED", "19610813", UID, "Typedfolder")


def medrobust(*arguments: str) -> int:
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as done:
        cli.main(list(arguments))
    return done.value.code


def plant(folder: Path, table: str = "labels.csv") -> None:
    """Write a folder whose names, headers and table are full of identifiers."""
    lines = ["path,label,patient,sop_instance_uid,sex"]
    for number, pixels in enumerate(slices(8)):
        path = f"Plantedward/PLANTEDID{number // 2}/Plantedname_{number}.dcm"
        tags = {"SOPInstanceUID": f"{UID}.{number}", "PatientID": f"PLANTEDID{number // 2}"}
        write_dicom(folder / path, pixels, **tags, **PLANTED)
        row = (
            path,
            "ab"[number % 2],
            f"PLANTEDID{number // 2}",
            f"{UID}.{number}",
            "FM"[number % 2],
        )
        lines.append(",".join(row))
    (folder / table).write_text("\n".join(lines) + "\n")


def leaks(folder: Path, secrets: tuple[str, ...] = SECRETS) -> list[str]:
    """Name the files below a folder that hold a secret, in their bytes or their names."""
    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        content += str(path.relative_to(folder)).encode()
        for secret in secrets:
            forms = [secret.encode(code) for code in ("utf-8", "utf-16-le", "utf-32-le")]
            if any(form in content for form in forms):
                found.append(f"{secret} in {path.relative_to(folder)}")
    return found


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array(["PLANTEDID"]))
    (tmp_path / "Planted").mkdir()
    assert len(leaks(tmp_path)) == 2


@pytest.mark.parametrize("match", ["path", "instance"])
def test_no_identifier_of_a_dicom_folder_is_written_logged_or_sent(
    workplace: Path, capfd, monkeypatch: pytest.MonkeyPatch, match: str
) -> None:
    monkeypatch.setenv("MEDROBUST_CACHE", str(workplace / "cache"))
    monkeypatch.setenv("WANDB_DIR", str(workplace / "wandb"))
    plant(workplace / "data")
    sweep = ("-m", "model=phantomclip_small", "corruption=brightness", "severity=1,2")
    own = (*OWN, "dataset.csv=data/labels.csv", f"dataset.match={match}")
    kept = ("dataset.metadata_columns=[sex]", "store.features=true", "hydra.verbose=[medrobust]")
    assert medrobust(*sweep, *own, *kept, "logger=wandb", "logger.mode=offline") == 0
    printed = "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS if secret in printed]
    for place in ("outputs", "cache"):
        assert (workplace / place).exists()
    assert list((workplace / "outputs").rglob("*.wandb"))
    (workplace / "data").rename(workplace.parent / f"{workplace.name}-data")
    assert leaks(workplace) == []


def test_a_failing_job_names_the_line_in_what_it_writes_and_the_file_on_the_terminal(
    workplace: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDROBUST_CACHE", str(workplace / "cache"))
    plant(workplace / "data")
    file = next((workplace / "data").rglob("Plantedname_5.dcm"))
    file.write_bytes(file.read_bytes()[:-100])
    own = (*OWN, "dataset.csv=data/labels.csv", "corruption=brightness")
    assert medrobust("model=phantomclip_small", *own, "severity=1") == 1
    error = capfd.readouterr().err
    assert "Plantedname_5.dcm (labels.csv, line 7) cannot be read as DICOM" in error
    assert "PLANTEDID" not in error
    assert len(error.strip().splitlines()) == 1
    assert medrobust("-m", "model=phantomclip_small", *own, "severity=1,2") == 1
    printed = "".join(capfd.readouterr())
    assert "labels.csv, line 7" in printed
    assert not [secret for secret in SECRETS if secret in printed]
    assert not list((workplace / "cache").rglob("*.npy"))
    (workplace / "data").rename(workplace.parent / f"{workplace.name}-data")
    assert leaks(workplace) == []


def test_typed_paths_do_not_leave_the_machine(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDROBUST_CACHE", str(workplace / "cache"))
    plant(workplace / "Typedfolder")
    sweep = ("-m", "model=phantomclip_small", "corruption=brightness", "severity=1,2")
    own = (*OWN, "dataset.csv=Typedfolder/labels.csv", "dataset.root=./Typedfolder")
    assert medrobust(*sweep, *own, "logger=wandb", "logger.mode=offline") == 0
    sent = [path.parent for path in (workplace / "outputs").rglob("*.wandb")]
    assert len(sent) == 3
    for folder in sent:
        assert leaks(folder) == []
