"""Planted identifiers: none of them in any byte that a run writes, prints, logs or would send."""

import base64
import gzip
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dicoms import slices, write_dicom
from run_entry import medrobust

from medrobust.cli import entry, surroundings
from medrobust.evaluation.resources import Resources
from medrobust.jobs import run as jobs

UID = "1.2.826.0.1.3680043.8.498.777"
PLANTED = {
    "PatientName": "Plantedname^Given",
    "PatientBirthDate": "19610813",
    "AccessionNumber": "PLANTEDACC",
    "InstitutionName": "Plantedward",
    "StudyDescription": "Plantedstudy",
    "OtherPatientIDs": "PLANTEDOTHER",
}
OWN = ("dataset=dicom", "dataset.modality=ct", "dataset.positive=b", "model.micro_batch=4")
SECRETS = ("Planted", "PLANTED", "19610813", UID, "Typedfolder")


def plant(folder: Path, table: str = "labels.csv") -> None:
    """Write a folder whose names, headers and table are full of identifiers."""
    lines = ["path,label,patient,sop_instance_uid,sex,referred_by"]
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
            "Planteddoctor",
        )
        lines.append(",".join(row))
    (folder / table).write_text("\n".join(lines) + "\n")


def written_as(secret: str) -> set[bytes]:
    """Spell a secret in the encodings of texts, in hexadecimal digits and in base64."""
    plain = secret.encode()
    codes = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    shifted = (base64.b64encode(b"\0" * shift + plain)[shift + 1 :] for shift in range(3))
    return {
        *(secret.encode(code) for code in codes),
        plain.hex().encode(),
        plain.hex().upper().encode(),
        # The letters that the bytes around a secret have no part in.
        *(text.rstrip(b"=")[:-1] for text in shifted),
    }


def unpacked(content: bytes) -> Iterator[bytes]:
    """Yield the bytes of a file, and those inside it where it is an archive."""
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield from unpacked(gzip.decompress(content))
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield from unpacked(archive.read(name))


def leaks(folder: Path, secrets: tuple[str, ...] = SECRETS) -> list[str]:
    """Name the files below a folder that hold a secret, in their bytes or their names."""
    found = []
    forms = {secret: written_as(secret) for secret in secrets}
    for path in folder.rglob("*"):
        parts = [str(path.relative_to(folder)).encode()]
        parts += unpacked(path.read_bytes()) if path.is_file() else []
        found += [
            f"{secret} in {path.relative_to(folder)}"
            for secret in secrets
            if any(form in part for part in parts for form in forms[secret])
        ]
    return found


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array(["PLANTEDID"]))
    (tmp_path / "Planted").mkdir()
    np.savez_compressed(tmp_path / "packed.npz", ids=np.array(["PLANTEDID"]))
    (tmp_path / "log.gz").write_bytes(gzip.compress(b"of PLANTEDID"))
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + b"PLANTEDID and more")
        (tmp_path / f"base64-{shift}").write_bytes(text)
    (tmp_path / "hex").write_text(b"PLANTEDID".hex())
    (tmp_path / "clean").write_text("nothing planted here")
    assert len(leaks(tmp_path)) == 8


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


@pytest.mark.slow
@pytest.mark.parametrize("logger", ["csv", "tensorboard"])
def test_no_identifier_reaches_the_series_of_other_loggers(
    workplace: Path, capfd, monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    monkeypatch.setenv("MEDROBUST_CACHE", str(workplace / "cache"))
    monkeypatch.setattr(jobs, "RESOURCES", Resources())  # paths repeat, folders do not
    plant(workplace / "data")
    own = (*OWN, "dataset.csv=data/labels.csv", "corruption=brightness", "severity=1")
    assert medrobust("model=phantomclip_small", *own, f"logger={logger}") == 0
    printed = "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS if secret in printed]
    assert list((workplace / "outputs").rglob(f"{logger}/*"))
    assert list((workplace / "outputs").rglob("report.html"))
    (workplace / "data").rename(workplace.parent / f"{workplace.name}-data")
    assert leaks(workplace) == []


def test_what_would_tell_the_makers_of_libraries_is_off_unless_the_user_switches_it_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in surroundings.QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    with pytest.raises(SystemExit):
        entry.leave(lambda: 0)
    quiet = {name: os.environ[name] for name in surroundings.QUIET}
    assert quiet == {
        **surroundings.QUIET,
        "WANDB_ERROR_REPORTING": "true",
    }  # switched on by the user


@pytest.mark.slow
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


@pytest.mark.slow
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
